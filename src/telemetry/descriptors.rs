//! How far the file descriptors of the process go.

use super::samples::About;
use super::samples::Sample;
use super::samples::gauge;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

#[derive(Debug, Clone, Copy, Default)]
pub struct DescriptorFigures {
    /// What the process may open.
    pub limit: u64,
    /// Client connections that are served at once.
    pub connections: u64,
}

impl DescriptorFigures {
    pub(super) fn encode(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let one = |value| [Sample::new(&[], value)];
        let about = About(
            "file_descriptors_limit",
            "File descriptors that the process may open",
        );
        gauge(out, &about, one(self.limit))?;
        let about = About(
            "connections_limit",
            "Client connections served at once: limits.connections, or as many as the file descriptors are enough for",
        );
        gauge(out, &about, one(self.connections))
    }
}
