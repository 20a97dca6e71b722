//! Figures of the clients' side.

use super::bodies::BodyFigures;
use super::certificates::HandshakeFigures;
use super::prometheus::CLASSES;
use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use super::samples::gauge;
use super::unwelcome;
use super::unwelcome::UnwelcomeCounts;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// What the clients' side counts.
#[derive(Debug, Clone, Default)]
pub struct ClientFigures {
    pub connections: u64,
    pub accepted: u64,
    /// Above the limit of connections.
    pub turned_away: u64,
    pub unwelcome: UnwelcomeCounts,
    /// Requests that reached no slot, by first digit of their status; index 0 is "no answer".
    pub unrouted: [u64; 6],
    pub access_log_dropped: u64,
    pub handshakes: HandshakeFigures,
    /// Requests of HTTP/2 connections, open now.
    pub streams: u64,
    /// Those that were too many for their worker.
    pub streams_refused: u64,
    /// HTTP/2 connections sent away because they kept us busy without asking for anything.
    pub floods: u64,
    pub bodies: BodyFigures,
}

impl ClientFigures {
    pub(super) fn encode(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let one = |value| [Sample::new(&[], value)];
        let about = About("connections", "Open client connections");
        gauge(out, &about, one(self.connections))?;
        let about = About("connections_accepted", "Client connections that were taken");
        counter(out, &about, one(self.accepted))?;
        let about = About("connections_refused", "Client connections above the limit");
        counter(out, &about, one(self.turned_away))?;
        let about = About(
            "unrouted_requests",
            "Requests that reached no slot (bad, too slow, unknown host)",
        );
        let by_class = CLASSES.iter().zip(self.unrouted);
        let by_class = by_class.map(|(class, count)| Sample::new(&[("class", class)], count));
        counter(out, &about, by_class)?;
        let about = About("access_log_dropped", "Access records that were not written");
        counter(out, &about, one(self.access_log_dropped))?;
        let about = About("http2_streams", "Requests under way on HTTP/2 connections");
        gauge(out, &about, one(self.streams))?;
        let about = About(
            "http2_streams_refused",
            "Requests on HTTP/2 connections above the limit of connections",
        );
        counter(out, &about, one(self.streams_refused))?;
        let about = About(
            "http2_floods",
            "HTTP/2 connections ended because of their frames or resets",
        );
        counter(out, &about, one(self.floods))?;
        unwelcome::encode(&self.unwelcome, out)?;
        self.bodies.encode(out)
    }
}
