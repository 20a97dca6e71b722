//! BYTES AND SOCKETS: addresses, listeners, streams, buffers. No HTTP.
//!
//! Called by every folder that opens a socket; knows nothing of slots or services.
//! Rules: every socket is non-blocking, close-on-exec and without Nagle's delay;
//! a connection without bytes under way holds no buffer.

mod address;
mod buffer;
mod descriptors;
mod dial;
mod lack;
mod listen;
mod listening;
mod pipe;
mod proxy_protocol;
mod resolver;
mod stream;
mod users;

pub use address::{AddressError, EndpointAddr};
pub use buffer::{Buffer, LARGE, SMALL};
pub use descriptors::{descriptor_limit, hard_descriptor_limit, raise_descriptor_limit};
pub use dial::{Dial, connect_tcp};
pub use lack::{Lack, is_ours};
pub use listen::{close, listen, listen_alone};
pub use listening::{may_be_local, users_listening};
pub use pipe::Remote;
pub use proxy_protocol::{
    Introduction, NoIntroduction, ProxyVersion, introduction, nowhere, write_introduction,
};
pub use resolver::{
    Name, NameCounts, NameFailure, NameReport, NameState, NameTrouble, Resolver, ResolverSettings,
    resolver,
};
pub use stream::Stream;
pub use users::{user_called, user_in_words};
