//! The operator's config after checking: complete, typed, with every default filled in.

use super::access::Access;
use super::acme::Acme;
use super::admin_api::AdminApi;
use super::buffering::{Buffering, Spooling};
use super::cache::Cache;
use super::cache::CacheRoom;
use super::canary::Canary;
use super::compression::Compression;
use super::cookies::Cookies;
use super::cors::Cors;
use super::deploy::Deploy;
use super::errors::Errors;
use super::gates::Gate;
use super::headers::Headers;
use super::hold::Hold;
use super::hooks::Hook;
use super::keepalive::Keepalives;
use super::listeners::Listener;
use super::maintenance::Maintenance;
use super::preview::Preview;
use super::queue::Queue;
use super::rate_limit::RateLimit;
use super::read_only::ReadOnly;
use super::sendfile::Sendfile;
use super::service_limits::ServiceLimits;
use super::shadow::Shadow;
use super::upstream_tls::UpstreamTls;
use super::watch::Watch;
use super::websocket::Websocket;
use crate::net::EndpointAddr;
use crate::net::ProxyVersion;
use crate::net::ResolverSettings;
use crate::switch::FailbackRules;
use crate::switch::MemberName;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The whole config.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub runtime: Runtime,
    pub admin: Admin,
    pub admin_api: AdminApi,
    pub state: State,
    pub acme: Acme,
    pub log: Log,
    pub access_log: AccessLog,
    pub limits: Limits,
    pub cache: CacheRoom,
    pub stop: Stop,
    pub spool: Spooling,
    pub resolver: ResolverSettings,
    /// Each with a name of its own.
    pub hooks: Vec<Hook>,
    /// Peers whose X-Forwarded-* and X-Real-IP are believed.
    pub trusted_proxies: Vec<Network>,
    /// One or more.
    pub listeners: Vec<Listener>,
    /// One or more, in the order of the file.
    pub services: Vec<Service>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Runtime {
    /// 1 to 256; default: one per core.
    pub workers: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    pub socket: PathBuf,
    /// Where the Prometheus page is shown over TCP; none means on the socket only.
    pub metrics: Option<SocketAddr>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub dir: PathBuf,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    pub format: LogFormat,
    /// As `tracing_subscriber::EnvFilter` takes it: `info`, `switchd=debug`.
    pub filter: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AccessLog {
    pub target: AccessLogTarget,
    pub format: AccessLogFormat,
}

#[derive(Debug, Clone, PartialEq)]
pub enum AccessLogTarget {
    Off,
    Stdout,
    File(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLogFormat {
    Json,
    Combined,
}

/// Bounds on what a client may send; each has its own answer (408, 413, 431, 503).
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Bytes of a request head, request line included.
    pub header_bytes: usize,
    /// Header lines of a request, at most 256.
    pub header_count: usize,
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// How long an idle keep-alive connection is kept.
    pub idle_timeout: Duration,
    /// Bytes of a request body; 0 means no limit.
    pub body_bytes: u64,
    /// Client connections over all workers; also requests of HTTP/2 connections per worker.
    pub connections: usize,
    /// Requests that one HTTP/2 connection may have under way.
    pub http2_streams: usize,
    /// Connections of one client; 0 means no limit.
    pub connections_per_client: usize,
    /// Bytes per second that a client must send or take on average; 0 means any.
    pub min_rate: u64,
    /// For how long it may do less.
    pub min_rate_grace: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Stop {
    /// How long requests are still answered on open connections as if nothing happened.
    pub grace: Duration,
    /// How long running requests may take after that.
    pub timeout: Duration,
}

/// A network in CIDR form; a bare address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    pub address: IpAddr,
    pub prefix: u8,
}

/// Which hosts a service answers: `erp.example.com`, `*.example.com` or `*`. Lower case, without port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    Any,
    Exact(String),
    /// Holds `.example.com`; matches one or more labels in front of it.
    Suffix(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub name: ServiceName,
    pub hosts: Vec<HostPattern>,
    pub initial: SlotName,
    /// Two or more; all have the same members, the first member is where unrouted requests go.
    pub slots: Vec<Slot>,
    /// Tried in order; the longest matching prefix wins, an upgrade route before a plain one.
    pub routes: Vec<Route>,
    pub limits: ServiceLimits,
    pub keepalive: Keepalives,
    pub timeouts: Timeouts,
    pub queue: Queue,
    pub hold: Hold,
    pub shadow: Shadow,
    pub maintenance: Maintenance,
    pub read_only: ReadOnly,
    pub errors: Errors,
    pub headers: Headers,
    pub cors: Cors,
    pub cookies: Cookies,
    pub canary: Canary,
    pub preview: Preview,
    pub buffering: Buffering,
    /// Whether upstreams are told for whom a connection is made, and how.
    pub upstream_proxy_protocol: Option<ProxyVersion>,
    pub access: Access,
    /// Each with a name of its own.
    pub rate_limits: Vec<RateLimit>,
    pub compression: Compression,
    pub cache: Cache,
    pub sendfile: Sendfile,
    /// For `switchctl deploy`; nothing in the daemon looks at it.
    pub deploy: Deploy,
    /// Tried in this order.
    pub gates: Vec<Gate>,
    pub flip: Flip,
    pub failback: FailbackRules,
    pub watch: Watch,
    /// What all slots depend on; none means not checked.
    pub shared: Option<Shared>,
    /// The operator says that the slots share nothing that could be looked at.
    pub shares_nothing: bool,
    /// None means that upstreams are spoken to without TLS.
    pub upstream_tls: Option<UpstreamTls>,
    pub websocket: Websocket,
}

impl Service {
    /// Whether anything of it looks at what an answer holds.
    #[must_use]
    pub fn handles_content(&self) -> bool {
        self.compression.enabled || self.cache.enabled || self.sendfile.root.is_some()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    pub name: SlotName,
    /// The user who listens on its ports; none where that is whoever did so when it last served.
    pub owner: Option<u32>,
    pub members: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub name: MemberName,
    /// One or more.
    pub addresses: Vec<EndpointAddr>,
    /// The service's check with this member's overrides applied.
    pub health: Health,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Matches whole path segments: `/websocket` matches `/websocket` and `/websocket/x`, not `/websockets`.
    /// `/` matches everything.
    pub prefix: String,
    /// Only requests that ask for an upgrade.
    pub upgrades_only: bool,
    pub to: MemberName,
    pub buffer_requests: bool,
    pub buffer_responses: bool,
}

/// How an endpoint is probed.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    pub path: String,
    pub interval: Duration,
    /// Between probes while the verdict is changing, or traffic hints at trouble.
    pub fast_interval: Duration,
    pub timeout: Duration,
    /// Passes in a row until healthy.
    pub rise: u32,
    /// Failures in a row until unhealthy.
    pub fall: u32,
    /// So many of a member's addresses have to be healthy for the member to be; more than there are means all.
    pub min_healthy: u32,
    /// How long a probe may take instead while the endpoint has requests under way; none means no longer.
    pub busy_timeout: Option<Duration>,
    /// Inclusive ranges, for instance 200..=299.
    pub expect_status: Vec<(u16, u16)>,
    /// Must occur in the first 64 KiB of the body; empty means anything.
    pub expect_body: String,
    /// The Host header; none means the first exact host of the service, else the endpoint's address.
    pub host: Option<String>,
    /// Further headers, whose values may be secrets.
    pub headers: Vec<(String, Secret)>,
}

/// A value that never shows in logs, errors or the API.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The value itself: for the wire only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Timeouts {
    pub connect: Duration,
    /// From the request's last byte to the answer's first.
    pub first_byte: Duration,
    /// Longest time without a byte in either direction while a body or an answer is under way.
    pub idle: Duration,
    /// From the head of the request to the end of the answer; none means no limit.
    pub total: Option<Duration>,
    /// Longest silence on an upgraded connection.
    pub tunnel_idle: Duration,
}

impl Timeouts {
    /// What is let run of a request that was sent: as a whole, or else until its answer begins.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.total.unwrap_or(self.first_byte)
    }
}

/// How long what is under way on the old slot may last after a flip, by kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Flip {
    pub drain_requests: Duration,
    /// Requests or answers with a body of more than 1 MiB (or of unknown length past that).
    pub drain_transfers: Duration,
    pub drain_websockets: Duration,
    /// How long the gate may take before it fails.
    pub gate_timeout: Duration,
}

/// The check of what all slots share.
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    pub tcp: EndpointAddr,
    pub interval: Duration,
    pub timeout: Duration,
}
