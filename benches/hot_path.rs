//! What every request passes, alone: finding its service, being counted on its slot, being measured.
//!
//! `cargo bench`. The whole proxy beside its peers is measured by `benches/compare/`.

#![allow(clippy::unwrap_used)]

use criterion::Criterion;
use criterion::criterion_group;
use criterion::criterion_main;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use switchd::config;
use switchd::live::{
    Endpoint, EndpointId, HostTable, Live, LiveReader, Member, Service, Slot, View,
};
use switchd::switch::{Epoch, Generation};
use switchd::telemetry::{Outcome, SlotMetrics};

const WORKERS: usize = 4;

/// Services `s0` to `s19`, each with a host and a wildcard of its own.
fn settings() -> config::Settings {
    let services = (0..20).map(|number| {
        let port = 20_000 + 10 * number;
        format!(
            "[service.s{number}]\nhosts = [\"s{number}.example.com\", \"*.s{number}.example.org\"]\ninitial = \"blue\"\n\
             [service.s{number}.slots.blue]\nhttp = [\"127.0.0.1:{port}\"]\n\
             [service.s{number}.slots.green]\nhttp = [\"127.0.0.1:{}\"]\n",
            port + 1
        )
    });
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:8080\"\n{}",
        services.collect::<String>()
    );
    config::parse(&text, Path::new("bench.toml")).unwrap()
}

fn view(settings: &config::Settings) -> View {
    let mut next = 0;
    let mut slot = |slot: &config::Slot| {
        let members = slot.members.iter().map(|member| Member {
            name: member.name.clone(),
            endpoints: member
                .addresses
                .iter()
                .map(|address| {
                    next += 1;
                    Arc::new(Endpoint::new(EndpointId(next), address.clone(), WORKERS))
                })
                .collect(),
        });
        let name = (slot.name.clone(), Generation(1));
        let metrics = Arc::new(SlotMetrics::new(WORKERS));
        Arc::new(Slot::new(name, members.collect(), WORKERS, None, metrics))
    };
    let services = settings.services.iter().map(|service| Service {
        choices: None,
        settings: Arc::new(service.clone()),
        filter: None,
        active: 0,
        slots: service.slots.iter().map(&mut slot).collect(),
        left: None,
        tls: None,
        hold: None,
        drain_pass: None,
        shadow: None,
        outage: None,
        modes: None,
    });
    View {
        epoch: Epoch(1),
        services: services.collect(),
        hosts: HostTable::new(&settings.services),
        limits: settings.limits.clone(),
        cache: settings.cache,
        spool: settings.spool.clone(),
        ..View::default()
    }
}

fn hosts(bench: &mut Criterion) {
    let table = HostTable::new(&settings().services);
    for (what, host) in [
        ("exact", "s11.example.com"),
        ("any case", "S11.Example.Com"),
        ("suffix", "shop.eu.s11.example.org"),
        ("unknown", "nobody.example.net"),
    ] {
        bench.bench_function(&format!("find a service by host/{what}"), |bench| {
            bench.iter(|| table.find(black_box(host.as_bytes())));
        });
    }
}

fn admission(bench: &mut Criterion) {
    let live = Arc::new(Live::new(view(&settings()), WORKERS));
    let reader = LiveReader::new(live, 1);
    bench.bench_function("admit a request and let it go", |bench| {
        bench.iter(|| {
            let view = reader.view();
            reader.admit(black_box(&view), 7, 0).unwrap()
        });
    });
}

fn metrics(bench: &mut Criterion) {
    let metrics = SlotMetrics::new(WORKERS);
    let outcome = Outcome {
        status: 200,
        fault: false,
        took: Duration::from_micros(1_700),
        bytes_in: 0,
        bytes_out: 1_024,
    };
    bench.bench_function("record an outcome", |bench| {
        bench.iter(|| metrics.record(1, black_box(outcome)));
    });
}

criterion_group!(hot_path, hosts, admission, metrics);
criterion_main!(hot_path);
