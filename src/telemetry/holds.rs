//! Figures of those who wait while a service is held.

use super::prometheus::Page;
use super::prometheus::ServiceFigures;
use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use super::samples::gauge;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

#[derive(Debug, Clone, Copy, Default)]
pub struct HoldFigures {
    pub held: bool,
    /// Holds since the start.
    pub holds: u64,
    pub waiting: u64,
    pub oldest_ms: u64,
    pub bytes: u64,
    pub released: u64,
    pub full: u64,
    pub late: u64,
    pub left: u64,
    pub waited_ms: u64,
}

impl Page {
    fn each_hold(&self, value: fn(&HoldFigures) -> u64) -> impl Iterator<Item = Sample<'_>> {
        let services = self.services.iter();
        services.map(move |it| Sample::new(&[("service", &it.name)], value(&it.hold)))
    }

    pub(super) fn holds(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let about = About("held", "1 while new requests of the service wait");
        gauge(out, &about, self.each_hold(|hold| u64::from(hold.held)))?;
        let about = About("held_requests", "Requests that wait behind a hold");
        gauge(out, &about, self.each_hold(|hold| hold.waiting))?;
        let about = About("held_bytes", "Bytes of requests that wait behind a hold");
        gauge(out, &about, self.each_hold(|hold| hold.bytes))?;
        let about = About(
            "held_oldest_seconds",
            "How long the one that waits longest behind a hold has waited",
        );
        gauge(
            out,
            &about,
            self.each_hold(|hold| hold.oldest_ms).map(seconds),
        )?;
        let about = About("holds", "Holds that were taken");
        counter(out, &about, self.each_hold(|hold| hold.holds))?;
        let about = About(
            "held_wait_seconds",
            "How long those waited behind holds who went on, all together",
        );
        let waited = self.each_hold(|hold| hold.waited_ms);
        counter(out, &about, waited.map(seconds))?;
        let about = About(
            "hold_ended",
            "Requests that waited behind a hold, by what became of them",
        );
        let by_end = self.services.iter().flat_map(ends);
        counter(out, &about, by_end)
    }
}

/// Of milliseconds.
fn seconds(sample: Sample<'_>) -> Sample<'_> {
    Sample {
        value: sample.value / 1000.0,
        ..sample
    }
}

fn ends(service: &ServiceFigures) -> impl Iterator<Item = Sample<'_>> {
    let hold = service.hold;
    let ends = [
        ("released", hold.released),
        ("full", hold.full),
        ("deadline", hold.late),
        ("left", hold.left),
    ];
    ends.into_iter().map(move |(end, count)| {
        let labels = [("service", service.name.as_str()), ("end", end)];
        Sample::new(&labels, count)
    })
}

#[cfg(test)]
mod tests {
    use super::super::denied::DeniedFigures;
    use super::*;

    #[test]
    fn the_page_tells_who_waits_and_how_waits_ended() {
        let hold = HoldFigures {
            held: true,
            waiting: 3,
            oldest_ms: 1500,
            late: 2,
            ..HoldFigures::default()
        };
        let service = ServiceFigures {
            shadow: None,
            name: "odoo".into(),
            generation: 1,
            flips: Vec::new(),
            gates: Vec::new(),
            watch: None,
            denied: DeniedFigures::default(),
            zones: Vec::new(),
            hold,
            slots: Vec::new(),
        };
        let page = Page {
            services: vec![service],
            ..Page::default()
        };
        let text = page.render();
        for line in [
            r#"switchd_held{service="odoo"} 1.0"#,
            r#"switchd_held_requests{service="odoo"} 3.0"#,
            r#"switchd_held_oldest_seconds{service="odoo"} 1.5"#,
            r#"switchd_hold_ended_total{service="odoo",end="deadline"} 2.0"#,
            r#"switchd_hold_ended_total{service="odoo",end="released"} 0.0"#,
        ] {
            assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
        }
    }
}
