//! WHAT CHANGES IN CONTENT, AND WHO GETS WHICH PART OF IT: codings, ranges, validators.
//!
//! Called by `cache/` and `proxy/`. Never reads a socket or a file, and knows nothing of slots.
//! Rules: a client gets what it accepts or the content as it is, never an error; nothing is
//! encoded twice; an encoder's memory is bounded, and whoever makes one counts it.

mod coding;
mod conditions;
mod encoder;
mod range;

pub use coding::best;
pub use conditions::{Conditions, Outcome, Validators, weaken};
pub use encoder::Encoder;
pub use range::{ByteRange, Ranged, requested};
