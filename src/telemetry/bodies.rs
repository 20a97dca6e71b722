//! Bodies at rest on the metrics page: kept because one side is faster than the other.

use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use super::samples::gauge;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// All bodies together.
#[derive(Debug, Clone, Copy, Default)]
pub struct BodyFigures {
    /// Bytes now.
    pub memory: u64,
    pub disk: u64,
    pub requests: KeptFigures,
    pub answers: KeptFigures,
}

/// Bodies so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeptFigures {
    /// Went to disk.
    pub spooled: u64,
    /// Found no room there.
    pub without_room: u64,
}

impl BodyFigures {
    pub(super) fn encode(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let about = About("bodies_bytes", "Bytes of bodies that are kept now");
        let by_place = [("memory", self.memory), ("disk", self.disk)];
        let by_place = by_place.map(|(place, bytes)| Sample::new(&[("place", place)], bytes));
        gauge(out, &about, by_place)?;
        let by_body = |of: fn(&KeptFigures) -> u64| {
            let both = [("request", self.requests), ("answer", self.answers)];
            both.map(|(body, figures)| Sample::new(&[("body", body)], of(&figures)))
        };
        let about = About("bodies_spooled", "Bodies that went to disk");
        counter(out, &about, by_body(|figures| figures.spooled))?;
        let about = About(
            "bodies_without_room",
            "Requests that were refused, and answers that waited for their clients, for want of room",
        );
        counter(out, &about, by_body(|figures| figures.without_room))
    }
}
