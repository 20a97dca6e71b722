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

/// What keeps requests of one service away.
#[derive(Debug, Clone, Copy, Default)]
pub struct WaitFigures {
    pub hold: HoldFigures,
    pub outage: HoldFigures,
    pub maintenance: ModeFigures,
    pub read_only: ModeFigures,
}

/// A mode that turns requests away.
#[derive(Debug, Clone, Copy, Default)]
pub struct ModeFigures {
    pub is_on: bool,
    pub refused: u64,
}

impl Page {
    /// By what is waited for.
    fn each_wait(&self, value: fn(&HoldFigures) -> u64) -> impl Iterator<Item = Sample<'_>> {
        self.services.iter().flat_map(move |service| {
            let labels = |behind| [("service", service.name.as_str()), ("behind", behind)];
            [
                Sample::new(&labels("hold"), value(&service.waits.hold)),
                Sample::new(&labels("outage"), value(&service.waits.outage)),
            ]
        })
    }

    pub(super) fn holds(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let one = |value: fn(&ServiceFigures) -> u64| {
            let services = self.services.iter();
            services.map(move |it| Sample::new(&[("service", &it.name)], value(it)))
        };
        let about = About("held", "1 while new requests of the service wait");
        gauge(out, &about, one(|it| u64::from(it.waits.hold.held)))?;
        let about = About("maintenance", "1 while the service is in maintenance");
        gauge(out, &about, one(|it| u64::from(it.waits.maintenance.is_on)))?;
        let about = About("read_only", "1 while the service may not be written");
        gauge(out, &about, one(|it| u64::from(it.waits.read_only.is_on)))?;
        let about = About("mode_refused", "Requests that were turned away by a mode");
        let refused = self.services.iter().flat_map(|it| {
            let modes = [
                ("maintenance", it.waits.maintenance),
                ("read_only", it.waits.read_only),
            ];
            modes.map(|(mode, figures)| {
                let labels = [("service", it.name.as_str()), ("mode", mode)];
                Sample::new(&labels, figures.refused)
            })
        });
        counter(out, &about, refused)?;
        let about = About("holds", "Holds that were taken");
        counter(out, &about, one(|it| it.waits.hold.holds))?;
        let about = About(
            "held_requests",
            "Requests that wait behind a hold, or for a slot that cannot be connected",
        );
        gauge(out, &about, self.each_wait(|wait| wait.waiting))?;
        let about = About("held_bytes", "Bytes of those requests");
        gauge(out, &about, self.each_wait(|wait| wait.bytes))?;
        let about = About(
            "held_oldest_seconds",
            "How long the one of them that waits longest has waited",
        );
        gauge(
            out,
            &about,
            self.each_wait(|wait| wait.oldest_ms).map(seconds),
        )?;
        let about = About(
            "held_wait_seconds",
            "How long those waited who went on, all together",
        );
        counter(
            out,
            &about,
            self.each_wait(|wait| wait.waited_ms).map(seconds),
        )?;
        let about = About("hold_ended", "Requests that waited, by what became of them");
        let by_end = self.services.iter().flat_map(|service| {
            let waits = [
                ("hold", service.waits.hold),
                ("outage", service.waits.outage),
            ];
            let waits = waits.map(|(behind, figures)| ends(&service.name, behind, figures));
            waits.into_iter().flatten()
        });
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

fn ends<'a>(service: &'a str, behind: &'static str, figures: HoldFigures) -> [Sample<'a>; 4] {
    let ends = [
        ("released", figures.released),
        ("full", figures.full),
        ("deadline", figures.late),
        ("left", figures.left),
    ];
    ends.map(|(end, count)| {
        let labels = [("service", service), ("behind", behind), ("end", end)];
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
            name: "odoo".into(),
            generation: 1,
            flips: Vec::new(),
            gates: Vec::new(),
            watch: None,
            is_warned_of: false,
            denied: DeniedFigures::default(),
            zones: Vec::new(),
            shared: crate::telemetry::SharedFigures::default(),
            waits: WaitFigures {
                hold,
                read_only: ModeFigures {
                    is_on: true,
                    refused: 4,
                },
                ..WaitFigures::default()
            },
            shadow: None,
            slots: Vec::new(),
        };
        let page = Page {
            services: vec![service],
            ..Page::default()
        };
        let text = page.render();
        for line in [
            r#"switchd_held{service="odoo"} 1.0"#,
            r#"switchd_maintenance{service="odoo"} 0.0"#,
            r#"switchd_mode_refused_total{service="odoo",mode="read_only"} 4.0"#,
            r#"switchd_held_requests{service="odoo",behind="hold"} 3.0"#,
            r#"switchd_held_oldest_seconds{service="odoo",behind="hold"} 1.5"#,
            r#"switchd_held_requests{service="odoo",behind="outage"} 0.0"#,
            r#"switchd_hold_ended_total{service="odoo",behind="hold",end="deadline"} 2.0"#,
            r#"switchd_hold_ended_total{service="odoo",behind="hold",end="released"} 0.0"#,
        ] {
            assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
        }
    }
}
