//! Who is at the other end of the socket.

use crate::net::user_in_words;
use crate::switch::Actor;

/// `uid 1000 (alice)`; without the name where it is not a local one.
pub(super) fn actor(user: u32) -> Actor {
    Actor(user_in_words(user))
}
