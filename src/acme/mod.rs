//! CERTIFICATES THAT GET THEMSELVES: ordered from a certificate authority, proved, kept and renewed (RFC 8555).
//!
//! Started by `daemon/`. Writes files below the state directory, which the listeners watch as they watch
//! any certificate; never touches a listener itself. One host, one certificate: a name that cannot be
//! proved does not keep the others from theirs. All waiting is bounded, all failures are tried again later.

mod account;
mod error;
mod files;
mod keeper;
mod order;
mod schedule;

pub use error::AcmeError;
pub use files::Files;
pub use keeper::{Keeper, Known};
