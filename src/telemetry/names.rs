//! Figures of host names that are looked up.

use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use super::samples::gauge;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// Look-ups since the start, and how it stands with all names.
#[derive(Debug, Clone, Copy, Default)]
pub struct NameFigures {
    pub found: u64,
    pub absent: u64,
    pub failed: u64,
    /// Names in each state.
    pub states: [(&'static str, u64); 5],
    /// Of addresses that are used although no name server confirms them; 0 where there are none.
    pub oldest_ms: u64,
}

impl NameFigures {
    pub(super) fn encode(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let total: u64 = self.states.iter().map(|(_, count)| count).sum();
        if total == 0 {
            return Ok(());
        }
        let results = [
            ("found", self.found),
            ("absent", self.absent),
            ("failed", self.failed),
        ];
        let about = About(
            "dns_lookups",
            "Look-ups of host names by result; failed: no name server gave an answer",
        );
        let lookups = results.map(|(result, count)| Sample::new(&[("result", result)], count));
        counter(out, &about, lookups)?;
        let about = About(
            "dns_names",
            "Host names by state; stale: the last good addresses are used while the name server fails",
        );
        let states = self.states.iter();
        gauge(
            out,
            &about,
            states.map(|(state, count)| Sample::new(&[("state", state)], *count)),
        )?;
        let about = About(
            "dns_oldest_stale_seconds",
            "Age of the oldest addresses that are used while their name server fails",
        );
        gauge(out, &about, [Sample::new(&[], self.oldest_ms / 1000)])
    }
}
