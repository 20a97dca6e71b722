//! Figures of those who did not come in.

use super::prometheus::Page;
use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// Requests that were refused, by why.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeniedFigures {
    pub clients: u64,
    pub paths: u64,
    pub passwords: u64,
}

/// One rate limit.
#[derive(Debug, Clone, Default)]
pub struct ZoneFigures {
    pub name: String,
    pub allowed: u64,
    pub limited: u64,
    pub evicted: u64,
}

impl Page {
    pub(super) fn filters(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let denied = self.services.iter().flat_map(|it| {
            let DeniedFigures {
                clients,
                paths,
                passwords,
            } = it.denied;
            let reasons = [
                ("client", clients),
                ("path", paths),
                ("password", passwords),
            ];
            reasons.map(|(reason, count)| {
                Sample::new(&[("service", &it.name), ("reason", reason)], count)
            })
        });
        let about = About(
            "denied",
            "Requests that were refused by [service.NAME.access]",
        );
        counter(out, &about, denied)?;
        let about = About("rate_limit_allowed", "Requests that a rate limit let pass");
        counter(out, &about, self.by_zone(|zone| zone.allowed))?;
        let about = About("rate_limit_limited", "Requests that were answered with 429");
        counter(out, &about, self.by_zone(|zone| zone.limited))?;
        let about = About(
            "rate_limit_evicted",
            "Keys that were forgotten too soon: more came than there are buckets",
        );
        counter(out, &about, self.by_zone(|zone| zone.evicted))
    }

    /// One line per rate limit.
    fn by_zone(&self, value: fn(&ZoneFigures) -> u64) -> impl Iterator<Item = Sample<'_>> {
        self.services.iter().flat_map(move |service| {
            service.zones.iter().map(move |zone| {
                let labels = [("service", service.name.as_str()), ("zone", &zone.name)];
                Sample::new(&labels, value(zone))
            })
        })
    }
}
