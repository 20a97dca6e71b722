//! Figures of what all slots of a service need.

use super::prometheus::Page;
use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use super::samples::gauge;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// Of one service.
#[derive(Debug, Clone, Copy, Default)]
pub struct SharedFigures {
    /// It is known to fail.
    pub is_down: bool,
    /// How often it began to fail since the daemon started.
    pub outages: u64,
}

impl Page {
    pub(super) fn shared(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = |value: fn(SharedFigures) -> u64| {
            self.services.iter().map(move |service| {
                Sample::new(&[("service", service.name.as_str())], value(service.shared))
            })
        };
        let about = About(
            "shared_up",
            "0 while what all slots need (a database) is known to fail, and nothing moves by itself",
        );
        gauge(out, &about, all(|it| u64::from(!it.is_down)))?;
        let about = About(
            "shared_outages",
            "How often what all slots need began to fail",
        );
        counter(out, &about, all(|it| it.outages))
    }
}
