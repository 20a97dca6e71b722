//! The rules of a service: times, counts and modes, each table by itself.

use super::defaults::{SHARED_INTERVAL, SHARED_TIMEOUT, default_failback};
use super::keys::{FAILBACK, FLIP, SHARED, TIMEOUTS};
use super::problem::At;
use super::settings::{Flip, Shared, Timeouts};
use super::table::Table;
use super::value::{Choice, Zero, clip};
use super::words;
use crate::switch::FailbackMode;
use crate::switch::FailbackRules;
use std::time::Duration;

/// In place of a time to drain: as long as the timeouts let a request run.
const AUTO: &str = "auto";

/// Where the time for a gate was written.
pub(super) fn gate_timeout_at(service: &Table<'_>) -> Option<At> {
    service.get("flip")?.key("gate_timeout")
}

pub(super) fn flip(service: &Table<'_>, timeouts: &Timeouts) -> Flip {
    let table = service.table("flip", &FLIP);
    let default = Flip::default();
    let written = |key: &str| {
        let value = table.get(key)?;
        let time = if value.is_word(AUTO) {
            None
        } else {
            value.duration(Zero::Allowed)
        };
        Some(time)
    };
    let all = written("drain_timeout").flatten();
    // What is cut off before it may end is done and not answered.
    let longest = timeouts.longest();
    let drain = |key: &str, auto: Duration| match written(key) {
        Some(own) => own.unwrap_or(auto),
        None => all.unwrap_or(auto),
    };
    Flip {
        drain_requests: drain("drain_requests", longest),
        drain_transfers: drain("drain_transfers", longest),
        drain_websockets: drain("drain_websockets", default.drain_websockets),
        gate_timeout: table.duration("gate_timeout", Zero::Refused, default.gate_timeout),
    }
}

pub(super) fn failback(service: &Table<'_>, watch: Duration) -> FailbackRules {
    let table = service.table("failback", &FAILBACK);
    let default = default_failback();
    let modes = [
        Choice {
            word: "always",
            means: FailbackMode::Always,
        },
        Choice {
            word: "after-flip",
            means: FailbackMode::AfterFlip,
        },
        Choice {
            word: "off",
            means: FailbackMode::Off,
        },
    ];
    FailbackRules {
        mode: table
            .get("mode")
            .and_then(|value| value.choice(&modes))
            .unwrap_or(default.mode),
        watch,
        quarantine: table.duration("quarantine", Zero::Allowed, default.quarantine),
        acknowledge: table.flag("acknowledge", default.acknowledge),
        start_grace: table.duration("start_grace", Zero::Allowed, default.start_grace),
        shared_grace: table.duration("shared_grace", Zero::Allowed, default.shared_grace),
        max_moves: table.number("max_moves", 0..=1000, default.max_moves),
        window: table.duration("window", Zero::Refused, default.window),
    }
}

pub(super) fn shared(service: &Table<'_>) -> (Option<Shared>, Option<At>) {
    let table = service.table("shared", &SHARED);
    let interval = table.duration("interval", Zero::Refused, SHARED_INTERVAL);
    let timeout = table.duration("timeout", Zero::Refused, SHARED_TIMEOUT);
    let Some(value) = table.get("tcp") else {
        if table.is_present() {
            table.missing("tcp");
        }
        return (None, None);
    };
    if value.is_word("off") || value.is_word("unknown") {
        return (None, None);
    }
    let tcp = value.text().and_then(|text| match words::endpoint(text) {
        Ok(address) => Some(address),
        Err(fault) => {
            value.wrong(format!("\"{}\" {}", clip(text), fault.what), fault.help);
            None
        }
    });
    let shared = tcp.map(|tcp| Shared {
        tcp,
        interval,
        timeout,
    });
    (shared, Some(value.at))
}

/// `tcp = "off"`
pub(super) fn shares_nothing(service: &Table<'_>) -> bool {
    let tcp = service.table("shared", &SHARED).get("tcp");
    tcp.is_some_and(|tcp| tcp.is_word("off"))
}

pub(super) fn timeouts(service: &Table<'_>) -> Timeouts {
    let table = service.table("timeouts", &TIMEOUTS);
    let default = Timeouts::default();
    let total = table
        .get("total")
        .filter(|value| !value.is_word("none"))
        .and_then(|value| value.duration(Zero::Refused));
    // A default that `total` cuts short is no mistake: nobody wrote it.
    let part = |key: &str, default: Duration| {
        let time = table.duration(key, Zero::Refused, default);
        if let (Some(value), Some(total)) = (table.get(key), total)
            && time > total
        {
            value.wrong(
                format!("`{key}` is longer than `total`: it can never run out"),
                format!("shorten `{key}`, or lengthen `total`"),
            );
        }
        time
    };
    Timeouts {
        connect: part("connect", default.connect),
        first_byte: part("first_byte", default.first_byte),
        idle: part("idle", default.idle),
        total,
        tunnel_idle: table.duration("tunnel_idle", Zero::Refused, default.tunnel_idle),
    }
}
