//! The tables of the whole process: everything but the services.

use super::admin_api::{self, WrittenApi};
use super::defaults::MOST_WORKERS;
use super::keys::{ACCESS_LOG, ADMIN, LIMITS, LOG, RUNTIME, STATE, STOP};
use super::problem::{At, nearest};
use super::settings::{
    AccessLog, AccessLogFormat, AccessLogTarget, Admin, Limits, Log, LogFormat, Network, Runtime,
    State, Stop,
};
use super::table::Table;
use super::units::parse_size;
use super::value::{Choice, Value, Zero, clip};
use super::words::{self, LONGEST_SOCKET_PATH};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use tracing_subscriber::EnvFilter;

/// hyper refuses to work with less.
const LEAST_HEADER_BYTES: u64 = 8 << 10;
const MOST_HEADER_BYTES: u64 = 1 << 20;

/// A listener and where it was written.
pub(super) struct WrittenListener {
    pub(super) address: SocketAddr,
    pub(super) at: At,
}

/// The table `admin`, and where its TCP addresses were written.
pub(super) struct WrittenAdmin {
    pub(super) settings: Admin,
    pub(super) metrics: Option<WrittenListener>,
    pub(super) api: WrittenApi,
}

pub(super) fn runtime(top: &Table<'_>) -> Runtime {
    let table = top.table("runtime", &RUNTIME);
    let default = Runtime::default();
    let workers = table
        .get("workers")
        .filter(|value| !value.is_word("auto"))
        .and_then(|value| value.number(1..=MOST_WORKERS as u64));
    Runtime {
        workers: workers
            .and_then(|workers| usize::try_from(workers).ok())
            .unwrap_or(default.workers),
    }
}

pub(super) fn admin(top: &Table<'_>, services: &[&str]) -> WrittenAdmin {
    let table = top.table("admin", &ADMIN);
    let socket = table.absolute_path("socket", Admin::default().socket);
    if let Some(value) = table.get("socket")
        && socket.as_os_str().as_bytes().len() > LONGEST_SOCKET_PATH
    {
        let fault = words::too_long_for_a_socket(socket.as_os_str().as_bytes().len());
        value.wrong(format!("`socket` {}", fault.what), fault.help);
    }
    let metrics = table.get("metrics").and_then(|value| metrics(&value));
    WrittenAdmin {
        settings: Admin {
            socket,
            metrics: metrics.as_ref().map(|metrics| metrics.address),
        },
        metrics,
        api: admin_api::read(&table, services),
    }
}

fn metrics(value: &Value<'_>) -> Option<WrittenListener> {
    let text = value.text().filter(|text| *text != "off")?;
    match words::listen_address(text) {
        Ok(address) => Some(WrittenListener {
            address,
            at: value.at.clone(),
        }),
        Err(fault) => {
            value.wrong(
                format!("\"{}\" {}", clip(text), fault.what),
                format!(
                    "{}, or \"off\" for no page but the admin socket's",
                    fault.help
                ),
            );
            None
        }
    }
}

pub(super) fn state(top: &Table<'_>) -> State {
    let table = top.table("state", &STATE);
    State {
        dir: table.absolute_path("dir", State::default().dir),
    }
}

pub(super) fn log(top: &Table<'_>) -> Log {
    let table = top.table("log", &LOG);
    let default = Log::default();
    Log {
        format: table
            .get("format")
            .and_then(|value| {
                value.choice(&[
                    Choice {
                        word: "text",
                        means: LogFormat::Text,
                    },
                    Choice {
                        word: "json",
                        means: LogFormat::Json,
                    },
                ])
            })
            .unwrap_or(default.format),
        filter: table
            .get("filter")
            .and_then(|value| log_filter(&value))
            .unwrap_or(default.filter),
    }
}

fn log_filter(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    // A bare word that is no level would be taken for a part of the program, and log all of it.
    let slip = text
        .split(',')
        .map(str::trim)
        .find(|part| !part.contains(['=', '[']) && !levels.contains(part));
    if slip.is_none() && EnvFilter::builder().parse(text).is_ok() {
        return Some(text.to_owned());
    }
    let help = match slip.and_then(|slip| nearest(slip, levels)) {
        Some(level) => format!("did you mean \"{level}\"?"),
        None => "write a level (error, warn, info, debug, trace), or levels by part as in \"info,switchd::proxy=debug\"".to_owned(),
    };
    value.wrong(format!("`filter` cannot be \"{}\"", clip(text)), help);
    None
}

pub(super) fn access_log(top: &Table<'_>) -> AccessLog {
    let table = top.table("access_log", &ACCESS_LOG);
    let default = AccessLog::default();
    AccessLog {
        target: table
            .get("target")
            .and_then(|value| access_log_target(&value))
            .unwrap_or(default.target),
        format: table
            .get("format")
            .and_then(|value| {
                value.choice(&[
                    Choice {
                        word: "json",
                        means: AccessLogFormat::Json,
                    },
                    Choice {
                        word: "combined",
                        means: AccessLogFormat::Combined,
                    },
                ])
            })
            .unwrap_or(default.format),
    }
}

fn access_log_target(value: &Value<'_>) -> Option<AccessLogTarget> {
    match value.text()? {
        "off" => Some(AccessLogTarget::Off),
        "stdout" => Some(AccessLogTarget::Stdout),
        path if path.starts_with('/') && !path.ends_with('/') => {
            value.absolute_path().map(AccessLogTarget::File)
        }
        other => {
            value.wrong(
                format!("`target` cannot be \"{}\"", clip(other)),
                "write \"off\", \"stdout\", or the absolute path of a file",
            );
            None
        }
    }
}

pub(super) fn limits(top: &Table<'_>) -> Limits {
    let table = top.table("limits", &LIMITS);
    let default = Limits::default();
    Limits {
        header_bytes: header_bytes(&table).unwrap_or(default.header_bytes),
        header_count: table.number("header_count", 1..=256, default.header_count),
        header_timeout: table.duration("header_timeout", Zero::Refused, default.header_timeout),
        idle_timeout: table.duration("idle_timeout", Zero::Refused, default.idle_timeout),
        body_bytes: body_bytes(&table).unwrap_or(default.body_bytes),
        connections: table.number("connections", 1..=1_000_000, default.connections),
        http2_streams: table.number("http2_streams", 1..=10_000, default.http2_streams),
        connections_per_client: table.number(
            "connections_per_client",
            0..=1_000_000,
            default.connections_per_client,
        ),
        min_rate: min_rate(&table).unwrap_or(default.min_rate),
        min_rate_grace: table.duration("min_rate_grace", Zero::Allowed, default.min_rate_grace),
    }
}

fn header_bytes(table: &Table<'_>) -> Option<usize> {
    let value = table.get("header_size")?;
    let size = value.size()?;
    if !(LEAST_HEADER_BYTES..=MOST_HEADER_BYTES).contains(&size) {
        value.wrong(
            "`header_size` must be between 8KiB and 1MiB",
            "write header_size = \"64KiB\", for example",
        );
    }
    usize::try_from(size).ok()
}

fn min_rate(table: &Table<'_>) -> Option<u64> {
    let value = table.get("min_rate")?;
    if value.is_word("off") {
        return Some(0);
    }
    let text = value.text()?;
    let size = text.strip_suffix("/s").map(parse_size);
    let rate = size.and_then(Result::ok).filter(|rate| *rate > 0);
    if rate.is_none() {
        value.wrong(
            format!("`min_rate` is no rate of bytes: \"{}\"", clip(text)),
            "write min_rate = \"500B/s\", for example, or \"off\"",
        );
    }
    rate
}

pub(super) fn body_bytes(table: &Table<'_>) -> Option<u64> {
    let value = table.get("body_size")?;
    if value.is_word("0B") || value.is_word("0") {
        value.wrong(
            "`body_size` must not be zero",
            "write body_size = \"none\" to allow bodies of any size",
        );
        return None;
    }
    if value.is_word("none") {
        return Some(0);
    }
    value.size()
}

pub(super) fn stop(top: &Table<'_>) -> Stop {
    let table = top.table("stop", &STOP);
    let default = Stop::default();
    Stop {
        grace: table.duration("grace", Zero::Allowed, default.grace),
        timeout: table.duration("timeout", Zero::Allowed, default.timeout),
    }
}

pub(super) fn trusted_proxies(top: &Table<'_>) -> Vec<Network> {
    networks(top, "trusted_proxies", Vec::new())
}

/// The list of networks behind `key`; `before` where it is absent.
pub(super) fn networks(table: &Table<'_>, key: &str, before: Vec<Network>) -> Vec<Network> {
    let Some(value) = table.get(key) else {
        return before;
    };
    let mut networks = Vec::new();
    for item in value.list().unwrap_or_default() {
        let Some(text) = item.text() else { continue };
        match words::network(text) {
            Ok(network) => networks.push(network),
            Err(fault) => item.wrong(format!("\"{}\" {}", clip(text), fault.what), fault.help),
        }
    }
    networks
}
