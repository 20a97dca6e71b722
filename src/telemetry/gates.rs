//! Figures of what gates found.

use super::prometheus::Page;
use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// How often one gate said one thing.
#[derive(Debug, Clone)]
pub struct GateFigures {
    pub gate: String,
    pub outcome: &'static str,
    pub count: u64,
}

impl Page {
    pub(super) fn gates(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let checks = self.services.iter().flat_map(|service| {
            service.gates.iter().map(|figures| {
                let labels = [
                    ("service", service.name.as_str()),
                    ("gate", &figures.gate),
                    ("outcome", figures.outcome),
                ];
                Sample::new(&labels, figures.count)
            })
        });
        let about = About("gate_checks", "What gates looked at, by what they found");
        counter(out, &about, checks)
    }
}
