//! How well a slot is, as its probes find over time.

/// How well a whole slot is: every member, every endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SlotHealth {
    /// Not enough probes yet to say; never good enough to move traffic to by itself.
    #[default]
    Unknown,
    Healthy,
    /// The reason is a probe's own words.
    Unhealthy {
        reason: String,
    },
    /// There is no such slot to ask: the names of its addresses do not exist. Of an idle slot that is no
    /// trouble, of the active one it is.
    Absent {
        reason: String,
    },
}

impl SlotHealth {
    /// What is wrong; none of a slot that is healthy, or not known yet.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Self::Unhealthy { reason } | Self::Absent { reason } => Some(reason),
            Self::Unknown | Self::Healthy => None,
        }
    }

    /// As the API, the logs and the metrics spell it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy { .. } => "unhealthy",
            Self::Absent { .. } => "absent",
        }
    }
}
