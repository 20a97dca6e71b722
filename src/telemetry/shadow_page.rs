//! Figures of copies that are sent to an idle slot.

use super::prometheus::Page;
use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use super::samples::gauge;
use super::shadow::ShadowCounts;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// Of one service, since its copies were asked for last.
#[derive(Debug, Clone, Default)]
pub struct ShadowFigures {
    pub slot: String,
    /// 0 when no more are sent.
    pub percent: f64,
    pub counts: ShadowCounts,
}

impl Page {
    pub(super) fn shadows(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let about = About(
            "shadow_percent",
            "The share of safe requests that an idle slot gets a copy of",
        );
        let percent = |it: &ShadowFigures| it.percent;
        gauge(out, &about, self.by_shadow(percent))?;
        let about = About("shadow_in_flight", "Copies under way");
        #[allow(clippy::cast_precision_loss, reason = "Prometheus knows floats only")]
        let in_flight = |it: &ShadowFigures| it.counts.in_flight as f64;
        gauge(out, &about, self.by_shadow(in_flight))?;
        let about = About(
            "shadow_copies",
            "Copies by what became of them, since they were asked for",
        );
        let copies = self.each_shadow().flat_map(|(service, it)| {
            let counts = it.counts;
            let differs = counts.status_differs + counts.size_differs;
            let results = [
                ("same", counts.compared - differs),
                ("status_differs", counts.status_differs),
                ("size_differs", counts.size_differs),
                ("failed", counts.failed),
                ("dropped", counts.dropped),
                ("too_large", counts.too_large),
            ];
            results.map(|(result, count)| {
                let labels = [("service", service), ("slot", &it.slot), ("result", result)];
                Sample::new(&labels, count)
            })
        });
        counter(out, &about, copies)
    }

    fn each_shadow(&self) -> impl Iterator<Item = (&str, &ShadowFigures)> {
        let services = self.services.iter();
        services.filter_map(|it| Some((it.name.as_str(), it.shadow.as_ref()?)))
    }

    fn by_shadow(&self, value: fn(&ShadowFigures) -> f64) -> impl Iterator<Item = Sample<'_>> {
        self.each_shadow().map(move |(service, it)| Sample {
            labels: vec![("service", service), ("slot", &it.slot)],
            value: value(it),
        })
    }
}
