//! The metrics page.

use super::calls::CallFigures;
use super::certificates::CertificateFigures;
use super::clients::ClientFigures;
use super::content::ContentFigures;
use super::denied::DeniedFigures;
use super::denied::ZoneFigures;
use super::descriptors::DescriptorFigures;
use super::gates::GateFigures;
use super::holds::WaitFigures;
use super::hooks;
use super::hooks::HookFigures;
use super::judged::WatchFigures;
use super::metrics::BUCKETS_US;
use super::metrics::Histogram;
use super::metrics::SlotCounts;
use super::metrics::Unserved;
use super::names::NameFigures;
use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use super::samples::gauge;
use super::shadow_page::ShadowFigures;
use super::shared::SharedFigures;
use crate::switch::Tally;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::NoLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

/// How the page says what it is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything on the page, as of one moment.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub version: &'static str,
    /// Milliseconds since the Unix epoch.
    pub started_ms: u64,
    pub epoch: u64,
    /// The config file as it is now is in force.
    pub config_valid: bool,
    /// The state can be written.
    pub state_writable: bool,
    pub descriptors: DescriptorFigures,
    pub clients: Option<ClientFigures>,
    pub content: Option<ContentFigures>,
    pub certificates: CertificateFigures,
    pub services: Vec<ServiceFigures>,
    pub hooks: Vec<HookFigures>,
    pub names: NameFigures,
    /// None where the admin API is not spoken over TCP.
    pub calls: Option<CallFigures>,
}

#[derive(Debug, Clone, Default)]
pub struct ServiceFigures {
    pub name: String,
    pub generation: u64,
    pub flips: Vec<FlipFigures>,
    pub gates: Vec<GateFigures>,
    pub denied: DeniedFigures,
    pub zones: Vec<ZoneFigures>,
    pub waits: WaitFigures,
    pub shared: SharedFigures,
    /// None as long as no copies were asked for.
    pub shadow: Option<ShadowFigures>,
    pub slots: Vec<SlotFigures>,
    /// None while nothing is watched and nothing was.
    pub watch: Option<WatchFigures>,
    /// The active slot does badly while no watch runs.
    pub is_warned_of: bool,
}

#[derive(Debug, Clone)]
pub struct FlipFigures {
    pub direction: &'static str,
    pub result: &'static str,
    pub count: u64,
}

#[derive(Debug, Clone, Default)]
pub struct SlotFigures {
    pub name: String,
    pub active: bool,
    /// None while the probes have yet to say.
    pub healthy: Option<bool>,
    pub quarantined: bool,
    /// Somebody else listens on its port.
    pub has_stranger: bool,
    /// Of the new visitors, where it is a canary.
    pub percent: Option<f64>,
    /// What was said to run in it.
    pub version: Option<String>,
    pub counts: SlotCounts,
    pub tally: Tally,
    pub in_flight: InFlightFigures,
    pub queued: u64,
    pub endpoints: Vec<EndpointFigures>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct InFlightFigures {
    pub requests: u64,
    pub transfers: u64,
    pub websockets: u64,
}

#[derive(Debug, Clone)]
pub struct EndpointFigures {
    pub member: String,
    pub address: String,
    pub up: bool,
}

impl Page {
    /// As `OpenMetrics` text.
    ///
    /// # Panics
    /// Never: a `String` takes whatever is written.
    #[must_use]
    pub fn render(self) -> String {
        let mut registry = Registry::with_prefix("switchd");
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        encode(&mut text, &registry).expect("a String takes whatever is written");
        text
    }
}

/// By first digit of the status.
pub(super) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut encoder;
        self.daemon(out)?;
        if let Some(clients) = &self.clients {
            clients.encode(out)?;
            clients.handshakes.encode(out)?;
        }
        if let Some(content) = &self.content {
            content.encode(out)?;
        }
        self.certificates.encode(out)?;
        self.traffic(out)?;
        self.queues(out)?;
        self.holds(out)?;
        self.times(out)?;
        self.websockets(out)?;
        self.slots(out)?;
        self.flips(out)?;
        self.shared(out)?;
        self.gates(out)?;
        self.judged(out)?;
        self.shadows(out)?;
        self.filters(out)?;
        hooks::encode(&self.hooks, out)?;
        self.names.encode(out)?;
        self.calls.map_or(Ok(()), |calls| calls.encode(out))
    }
}

impl Page {
    fn daemon(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let one = |value| [Sample::new(&[], value)];
        let build = Sample::new(&[("version", self.version)], 1);
        gauge(out, &About("build_info", "Which switchd this is"), [build])?;
        let about = About("process_start_time_seconds", "When the daemon started");
        gauge(out, &about, one(self.started_ms / 1000))?;
        let about = About("epoch", "Number of the picture that workers act on");
        gauge(out, &about, one(self.epoch))?;
        let about = About(
            "config_valid",
            "1 while the config file is in force as it is",
        );
        gauge(out, &about, one(u64::from(self.config_valid)))?;
        let about = About(
            "state_writable",
            "1 while the state directory can be written; at 0 moves survive a restart by the reserve only",
        );
        gauge(out, &about, one(u64::from(self.state_writable)))?;
        self.descriptors.encode(out)
    }

    /// All slots of all services: labels and figures.
    pub(super) fn each_slot(&self) -> impl Iterator<Item = (&ServiceFigures, &SlotFigures)> {
        let services = self.services.iter();
        services.flat_map(|service| service.slots.iter().map(move |slot| (service, slot)))
    }

    /// One line per slot.
    pub(super) fn by_slot(
        &self,
        value: fn(&SlotFigures) -> u64,
    ) -> impl Iterator<Item = Sample<'_>> {
        self.each_slot()
            .map(move |(service, slot)| Sample::new(&labels(service, slot), value(slot)))
    }

    fn traffic(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let by_class = self.each_slot().flat_map(|(service, slot)| {
            let classes = CLASSES.iter().zip(slot.counts.classes);
            classes.map(move |(class, count)| {
                let [first, second] = labels(service, slot);
                Sample::new(&[first, second, ("class", class)], count)
            })
        });
        let about = About(
            "requests",
            "Requests by class of their status; none: no answer",
        );
        counter(out, &about, by_class)?;
        let about = About(
            "request_faults",
            "Requests that failed in the proxy or at the upstream",
        );
        counter(out, &about, self.by_slot(|slot| slot.counts.faults))?;
        let about = About("received_bytes", "Bytes of requests");
        counter(out, &about, self.by_slot(|slot| slot.counts.bytes_in))?;
        let about = About("sent_bytes", "Bytes of answers");
        counter(out, &about, self.by_slot(|slot| slot.counts.bytes_out))?;
        let by_kind = self.each_slot().flat_map(|(service, slot)| {
            let [first, second] = labels(service, slot);
            let InFlightFigures {
                requests,
                transfers,
                websockets,
            } = slot.in_flight;
            [
                Sample::new(&[first, second, ("kind", "request")], requests),
                Sample::new(&[first, second, ("kind", "transfer")], transfers),
                Sample::new(&[first, second, ("kind", "websocket")], websockets),
            ]
        });
        gauge(out, &About("in_flight", "Requests under way"), by_kind)
    }

    fn queues(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let about = About("queued", "Requests that wait for a place");
        gauge(out, &about, self.by_slot(|slot| slot.queued))?;
        let by_reason = self.each_slot().flat_map(|(service, slot)| {
            let reasons = Unserved::ALL.iter().zip(slot.counts.unserved);
            reasons.map(move |(reason, count)| {
                let [first, second] = labels(service, slot);
                Sample::new(&[first, second, ("reason", reason.as_str())], count)
            })
        });
        let about = About(
            "queue_refused",
            "Requests that got no place: the line was full, their deadline was over, or they left",
        );
        counter(out, &about, by_reason)
    }

    fn times(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let about = About(
            "request_duration_seconds",
            "From the head of a request to the end of its answer",
        );
        self.histogram(out, &about, |counts| &counts.latency)?;
        let about = About(
            "queue_wait_seconds",
            "How long those waited in line who got no place at once and got one",
        );
        self.histogram(out, &about, |counts| &counts.waited)
    }

    #[allow(clippy::cast_precision_loss, reason = "Prometheus knows floats only")]
    fn histogram(
        &self,
        out: &mut DescriptorEncoder<'_>,
        about: &About,
        of: fn(&SlotCounts) -> &Histogram,
    ) -> fmt::Result {
        let mut lines = out.encode_descriptor(about.0, about.1, None, MetricType::Histogram)?;
        let bounds = BUCKETS_US.iter().map(|bound| *bound as f64 / 1_000_000.0);
        let bounds: Vec<f64> = bounds.chain([f64::INFINITY]).collect();
        for (service, slot) in self.each_slot() {
            let times = of(&slot.counts);
            let buckets = bounds.iter().copied().zip(times.buckets);
            let buckets: Vec<(f64, u64)> = buckets.collect();
            let labels = labels(service, slot);
            lines
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(
                    times.sum_us as f64 / 1_000_000.0,
                    times.buckets.iter().sum(),
                    &buckets,
                    None,
                )?;
        }
        Ok(())
    }

    fn slots(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let about = About("slot_active", "1 for the slot that new requests go to");
        gauge(out, &about, self.by_slot(|slot| u64::from(slot.active)))?;
        let about = About(
            "slot_health",
            "1 healthy, 0 unhealthy; no sample while unknown, or while an idle slot is not there",
        );
        let known = self.each_slot().filter_map(|(service, slot)| {
            let healthy = slot.healthy?;
            Some(Sample::new(&labels(service, slot), u64::from(healthy)))
        });
        gauge(out, &about, known)?;
        let about = About(
            "slot_quarantined",
            "1 while nothing moves to the slot by itself",
        );
        gauge(
            out,
            &about,
            self.by_slot(|slot| u64::from(slot.quarantined)),
        )?;
        let about = About(
            "slot_stranger",
            "1 while another user listens on the slot's port than should",
        );
        gauge(
            out,
            &about,
            self.by_slot(|slot| u64::from(slot.has_stranger)),
        )?;
        let about = About(
            "canary_percent",
            "How many of the new visitors go to a slot that is not active; absent without a canary",
        );
        let shares = self.each_slot().filter_map(|(service, slot)| {
            Some(Sample {
                labels: labels(service, slot).to_vec(),
                value: slot.percent?,
            })
        });
        gauge(out, &about, shares)?;
        let about = About("slot_info", "1 for each slot that has a version, with it");
        let versions = self.each_slot().filter_map(|(service, slot)| {
            let version = slot.version.as_deref()?;
            let [first, second] = labels(service, slot);
            Some(Sample::new(&[first, second, ("version", version)], 1))
        });
        gauge(out, &about, versions)?;
        let endpoints = self.each_slot().flat_map(|(service, slot)| {
            slot.endpoints.iter().map(move |it| {
                let [first, second] = labels(service, slot);
                let third = ("member", it.member.as_str());
                let fourth = ("endpoint", it.address.as_str());
                Sample::new(&[first, second, third, fourth], u64::from(it.up))
            })
        });
        gauge(
            out,
            &About("endpoint_up", "1 while the probes pass"),
            endpoints,
        )
    }

    fn flips(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let flips = self.services.iter().flat_map(|service| {
            service.flips.iter().map(move |it| {
                let first = ("service", service.name.as_str());
                let labels = [first, ("direction", it.direction), ("result", it.result)];
                Sample::new(&labels, it.count)
            })
        });
        counter(
            out,
            &About("flips", "Operations that ended, since the start"),
            flips,
        )?;
        let generations = self.services.iter();
        let generations =
            generations.map(|it| Sample::new(&[("service", it.name.as_str())], it.generation));
        let about = About("generation", "Goes up by one each time traffic moves");
        gauge(out, &about, generations)
    }
}

pub(super) fn labels<'a>(
    service: &'a ServiceFigures,
    slot: &'a SlotFigures,
) -> [(&'static str, &'a str); 2] {
    [("service", &service.name), ("slot", &slot.name)]
}

#[cfg(test)]
mod tests {
    use super::super::BodyFigures;
    use super::super::shadow::ShadowCounts;
    use super::*;
    use crate::switch::WatchVerdict;
    use crate::telemetry::Deed;
    use crate::telemetry::Farewell;
    use crate::telemetry::Outcome;
    use crate::telemetry::Parting;
    use crate::telemetry::SlotMetrics;
    use std::time::Duration;

    fn shadow() -> ShadowFigures {
        ShadowFigures {
            slot: "green".into(),
            percent: 2.5,
            counts: ShadowCounts {
                compared: 9,
                status_differs: 2,
                size_differs: 3,
                dropped: 1,
                ..ShadowCounts::default()
            },
        }
    }

    fn metrics() -> SlotMetrics {
        let metrics = SlotMetrics::new(1);
        for (status, took_ms) in [(200, 3), (204, 40), (502, 90_000)] {
            let outcome = Outcome {
                status,
                fault: status == 502,
                took: Duration::from_millis(took_ms),
                bytes_in: 10,
                bytes_out: 100,
            };
            metrics.record(0, outcome);
        }
        metrics.websocket_closed(0, Parting::Moved, Farewell::Answered);
        metrics.websocket_closed(0, Parting::Moved, Farewell::Answered);
        metrics.websocket_closed(0, Parting::Killed, Farewell::Cut);
        metrics.websocket_returned(0);
        metrics.did(0, Deed::RpcError, Duration::from_millis(4));
        metrics.websocket_refused(0);
        metrics.waited(0, Duration::from_millis(40));
        metrics.unserved(0, Unserved::Deadline);
        metrics
    }

    fn page() -> Page {
        let metrics = metrics();
        let blue = SlotFigures {
            name: "blue".into(),
            active: true,
            healthy: Some(true),
            counts: metrics.counts(),
            tally: metrics.tally(),
            in_flight: InFlightFigures {
                requests: 4,
                transfers: 0,
                websockets: 7,
            },
            endpoints: vec![EndpointFigures {
                member: "http".into(),
                address: "127.0.0.1:8069".into(),
                up: true,
            }],
            ..SlotFigures::default()
        };
        Page {
            version: "1.2.3",
            config_valid: true,
            state_writable: true,
            descriptors: DescriptorFigures {
                limit: 1024,
                connections: 448,
            },
            content: Some(ContentFigures::default()),
            clients: Some(ClientFigures {
                bodies: BodyFigures {
                    disk: 7,
                    ..BodyFigures::default()
                },
                ..ClientFigures::default()
            }),
            services: vec![service(blue)],
            ..Page::default()
        }
    }

    fn service(blue: SlotFigures) -> ServiceFigures {
        ServiceFigures {
            name: "odoo".into(),
            generation: 9,
            flips: vec![FlipFigures {
                direction: "flip",
                result: "done",
                count: 3,
            }],
            gates: vec![GateFigures {
                gate: "odoo".into(),
                outcome: "failed",
                count: 2,
            }],
            denied: DeniedFigures {
                paths: 5,
                ..DeniedFigures::default()
            },
            zones: vec![ZoneFigures {
                name: "login".into(),
                allowed: 7,
                limited: 6,
                evicted: 1,
            }],
            waits: WaitFigures::default(),
            shared: crate::telemetry::SharedFigures {
                is_down: true,
                outages: 3,
            },
            slots: vec![blue],
            is_warned_of: true,
            watch: Some(WatchFigures {
                verdict: WatchVerdict::Warning,
                is_unconfirmed: true,
            }),
            shadow: Some(shadow()),
        }
    }

    #[test]
    fn the_page_tells_every_figure_by_slot() {
        let text = page().render();
        for line in [
            r#"switchd_build_info{version="1.2.3"} 1.0"#,
            "switchd_config_valid 1.0",
            "switchd_state_writable 1.0",
            "switchd_file_descriptors_limit 1024.0",
            "switchd_connections_limit 448.0",
            r#"switchd_requests_total{service="odoo",slot="blue",class="2xx"} 2.0"#,
            r#"switchd_requests_total{service="odoo",slot="blue",class="5xx"} 1.0"#,
            r#"switchd_request_faults_total{service="odoo",slot="blue"} 1.0"#,
            r#"switchd_sent_bytes_total{service="odoo",slot="blue"} 300.0"#,
            r#"switchd_in_flight{service="odoo",slot="blue",kind="websocket"} 7.0"#,
            r#"switchd_websockets_closed_total{service="odoo",slot="blue",reason="moved",end="answered"} 2.0"#,
            r#"switchd_websockets_closed_total{service="odoo",slot="blue",reason="killed",end="cut"} 1.0"#,
            r#"switchd_websockets_closed_total{service="odoo",slot="blue",reason="kept",end="cut"} 0.0"#,
            r#"switchd_websockets_returned_total{service="odoo",slot="blue"} 1.0"#,
            r#"switchd_slot_active{service="odoo",slot="blue"} 1.0"#,
            r#"switchd_queue_wait_seconds_count{service="odoo",slot="blue"} 1"#,
            r#"switchd_queue_wait_seconds_sum{service="odoo",slot="blue"} 0.04"#,
            r#"switchd_queue_refused_total{service="odoo",slot="blue",reason="deadline"} 1.0"#,
            r#"switchd_queue_refused_total{service="odoo",slot="blue",reason="full"} 0.0"#,
            r#"switchd_endpoint_up{service="odoo",slot="blue",member="http",endpoint="127.0.0.1:8069"} 1.0"#,
            r#"switchd_flips_total{service="odoo",direction="flip",result="done"} 3.0"#,
            r#"switchd_rpc_errors_total{service="odoo",slot="blue"} 1.0"#,
            r#"switchd_websocket_handshakes_total{service="odoo",slot="blue",result="refused"} 1.0"#,
            r#"switchd_watch{service="odoo",verdict="warning"} 1.0"#,
            r#"switchd_watch{service="odoo",verdict="good"} 0.0"#,
            r#"switchd_active_slot_bad{service="odoo"} 1.0"#,
            r#"switchd_unconfirmed{service="odoo"} 1.0"#,
            r#"switchd_generation{service="odoo"} 9.0"#,
            r#"switchd_gate_checks_total{service="odoo",gate="odoo",outcome="failed"} 2.0"#,
            r#"switchd_denied_total{service="odoo",reason="path"} 5.0"#,
            r#"switchd_rate_limit_allowed_total{service="odoo",zone="login"} 7.0"#,
            r#"switchd_rate_limit_limited_total{service="odoo",zone="login"} 6.0"#,
            r#"switchd_rate_limit_evicted_total{service="odoo",zone="login"} 1.0"#,
            r#"switchd_shared_up{service="odoo"} 0.0"#,
            r#"switchd_shared_outages_total{service="odoo"} 3.0"#,
            "switchd_connections_accepted_total 0.0",
            r#"switchd_compressed_bytes_total{coding="br"} 0.0"#,
            r#"switchd_cache_requests_total{result="hit"} 0.0"#,
            r#"switchd_cache_bytes{place="disk"} 0.0"#,
            r#"switchd_bodies_bytes{place="disk"} 7.0"#,
            r#"switchd_bodies_without_room_total{body="request"} 0.0"#,
            r#"switchd_shadow_percent{service="odoo",slot="green"} 2.5"#,
            r#"switchd_shadow_copies_total{service="odoo",slot="green",result="same"} 4.0"#,
            r#"switchd_shadow_copies_total{service="odoo",slot="green",result="dropped"} 1.0"#,
        ] {
            assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_buckets_of_the_histogram_are_cumulative() {
        let text = page().render();
        let bucket = |bound: &str| {
            let start = format!(
                "switchd_request_duration_seconds_bucket{{le=\"{bound}\",service=\"odoo\",slot=\"blue\"}} "
            );
            let line = text.lines().find_map(|line| line.strip_prefix(&start));
            line.map(|count| count.parse::<u64>().unwrap())
        };
        assert_eq!(bucket("0.0025"), Some(0), "{text}");
        assert_eq!(bucket("0.005"), Some(1));
        assert_eq!(bucket("0.05"), Some(2));
        assert_eq!(bucket("60.0"), Some(2));
        assert_eq!(bucket("+Inf"), Some(3));
    }
}
