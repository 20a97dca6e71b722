//! What a client says of itself: for the access log.

/// What a client says of itself and of where it goes.
#[derive(Debug, Default)]
pub struct Said {
    pub host: Vec<u8>,
    pub referer: Vec<u8>,
    pub agent: Vec<u8>,
    /// By whose name it comes in; empty where none is needed.
    pub user: Vec<u8>,
}
