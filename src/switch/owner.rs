//! Whose fault an observation speaks of.

/// Who has to mend what a probe, a dial, an answer or a handshake met.
///
/// Only [`Owner::Slot`] speaks against a slot: traffic does not leave one, and nobody quarantines one, for what
/// the other slot would meet as well, for what a client did, or for what this machine lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The slot itself: refused connections, wrong answers, silence.
    Slot,
    /// What all slots depend on: a database, a name server, the network to both.
    Shared,
    /// Whoever asked: requests that no slot would serve, answers that nobody waited for.
    Client,
    /// This process and its machine: descriptors, ports, memory, disk.
    Ours,
}

impl Owner {
    /// As the API, the logs and the metrics spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Shared => "shared",
            Self::Client => "client",
            Self::Ours => "ours",
        }
    }
}
