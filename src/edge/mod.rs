//! THE CLIENTS' SIDE.

use crate::api::RequestStatus;
use crate::config::Settings;
use crate::live::Live;
use crate::telemetry::AccessLog;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub struct Edge {
    listeners: Vec<SocketAddr>,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct EdgeCounts {
    pub connections: u64,
    pub accepted: u64,
    pub refused: u64,
    pub bad_requests: u64,
    pub timeouts: u64,
}

#[allow(
    clippy::unused_async,
    clippy::missing_errors_doc,
    reason = "stands in until the edge is merged"
)]
impl Edge {
    pub fn start(settings: &Settings, _: Arc<Live>, _: Arc<AccessLog>) -> io::Result<Self> {
        let listeners = settings.listeners.iter().map(|it| it.address).collect();
        Ok(Self { listeners })
    }

    #[must_use]
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    pub async fn list(&self) -> Vec<RequestStatus> {
        Vec::new()
    }

    pub async fn kill(&self, _: u64) -> bool {
        false
    }

    #[must_use]
    pub fn counts(&self) -> EdgeCounts {
        EdgeCounts::default()
    }

    pub async fn stop(&self, _: Duration, _: Duration) -> usize {
        0
    }

    pub async fn failed(&self) {
        std::future::pending().await
    }
}
