//! What `status` and `ps` show.

use super::canary::CanaryStatus;
use super::gates::GatesStatus;
use super::hold::HoldStatus;
use super::hold::OutageStatus;
use super::modes::MaintenanceStatus;
use super::modes::ReadOnlyStatus;
use super::shadow::ShadowStatus;
use super::watch::{ConfirmStatus, LastMinute, WarningStatus, WatchStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The whole daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    pub schema: u32,
    pub version: String,
    pub pid: u32,
    pub started: String,
    pub listeners: Vec<String>,
    /// Where the Prometheus page is shown over TCP; none when it is not.
    pub metrics: Option<String>,
    /// Where the admin API is spoken over TCP; none when it is not.
    #[serde(default)]
    pub admin_api: Option<String>,
    pub config: ConfigStatus,
    #[serde(default)]
    pub certificates: CertificatesStatus,
    /// The directory that the state is kept in.
    #[serde(default)]
    pub state: StateStatus,
    /// How far the file descriptors of the process go.
    #[serde(default)]
    pub descriptors: DescriptorsStatus,
    /// Why bodies found no room on the disk in the last minute, and what to do; none when they did.
    #[serde(default)]
    pub spool_problem: Option<String>,
    pub services: Vec<ServiceStatus>,
    /// Certificates that get themselves, one for each host.
    #[serde(default)]
    pub acme: Vec<AcmeStatus>,
    /// Host names that are looked up, in their order.
    #[serde(default)]
    pub names: Vec<NameStatus>,
}

/// How it stands with one host name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NameStatus {
    pub host: String,
    /// `fresh`; `stale`: its name server fails, and the last good addresses are used; `absent`: there is no such
    /// name; `unresolved`: its name server fails, and no address is known; `unknown`: not looked up yet.
    pub state: String,
    /// Those that are used.
    pub addresses: Vec<String>,
    /// How long ago a name server confirmed them last; none where there are none.
    pub age_ms: Option<u64>,
    /// Why there is no newer answer; none where there is.
    pub error: Option<String>,
}

/// Whether the state can be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateStatus {
    pub dir: String,
    /// False while something of it could not be written where it belongs. Where traffic goes survives a restart all
    /// the same, as long as the room that was reserved for it can be written.
    pub writable: bool,
    /// Since when it cannot be written.
    pub since: Option<String>,
    /// What is wrong, and what to do.
    pub problem: Option<String>,
    /// Lines of the history that wait in memory.
    pub waiting_lines: u64,
}

impl Default for StateStatus {
    /// As a switchd that does not tell has to be taken.
    fn default() -> Self {
        Self {
            dir: String::new(),
            writable: true,
            since: None,
            problem: None,
            waiting_lines: 0,
        }
    }
}

/// How far the file descriptors of the process go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DescriptorsStatus {
    /// What the process may open.
    pub limit: u64,
    /// What the config asks for.
    pub wanted: u64,
    /// Client connections that are served at once; `limits.connections`, unless the limit is too low for that.
    pub connections: u64,
    /// What is short, and what to do; none when nothing is.
    pub problem: Option<String>,
}

/// How it stands with the certificate of one host that gets itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcmeStatus {
    pub host: String,
    /// Certificates ordered since the start.
    pub orders: u64,
    /// Orders that failed since the start.
    pub failures: u64,
    /// Why the last order failed; none when it did not.
    pub error: Option<String>,
    /// When the next order begins; in the past while it is under way.
    pub next_attempt: String,
}

/// What listeners speak TLS with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificatesStatus {
    pub in_force: Vec<CertificateStatus>,
    /// Why the files as they are now are not in force; empty when they are. One problem per entry.
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateStatus {
    /// The file of its chain.
    pub chain: String,
    /// The hosts it is for.
    pub names: Vec<String>,
    pub not_after: String,
    /// Whole days; negative when it has expired.
    pub days_left: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigStatus {
    pub path: String,
    /// When the settings in force were loaded.
    pub loaded: String,
    /// Why the file as it is now was not taken; empty when it was. One problem per entry.
    pub problems: Vec<String>,
    /// Keys whose new values wait for a restart.
    pub needs_restart: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStatus {
    pub name: String,
    pub hosts: Vec<String>,
    pub active: String,
    pub previous: Option<String>,
    pub generation: u64,
    pub epoch: u64,
    /// `steady`, `gating`, `publishing` or `settling`.
    pub phase: String,
    /// When traffic last moved.
    pub moved: Option<String>,
    /// The operation that is gating, publishing or settling.
    pub operation: Option<OperationStatus>,
    /// Why traffic stays on a bad slot, in words; none when the active slot is well.
    pub staying: Option<String>,
    pub failback: FailbackStatus,
    pub shared: Option<SharedStatus>,
    /// What all slots need fails, and nothing moves by itself meanwhile; none while all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_trouble: Option<SharedTroubleStatus>,
    /// None when all visitors go to the active slot.
    #[serde(default)]
    pub canary: Option<CanaryStatus>,
    /// None while nobody is held.
    #[serde(default)]
    pub hold: Option<HoldStatus>,
    /// None while nobody waits for the active slot to be connected.
    #[serde(default)]
    pub outage: Option<OutageStatus>,
    /// None while it is off.
    #[serde(default)]
    pub maintenance: Option<MaintenanceStatus>,
    /// None while the service may be written.
    #[serde(default)]
    pub read_only: Option<ReadOnlyStatus>,
    pub slots: Vec<SlotStatus>,
    /// Older generations that still drain, newest first.
    pub draining: Vec<DrainStatus>,
    /// None before an operator's first move, and after one that traffic made by itself.
    #[serde(default)]
    pub watch: Option<WatchStatus>,
    /// None while the active slot does well, or is watched.
    #[serde(default)]
    pub warning: Option<WarningStatus>,
    /// None when nothing waits to be confirmed.
    #[serde(default)]
    pub confirm: Option<ConfirmStatus>,
    /// None while no idle slot gets copies of requests.
    #[serde(default)]
    pub shadow: Option<ShadowStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OperationStatus {
    pub flip: u64,
    /// `flip`, `rollback`, `failback`, `canary` or `abort`.
    pub direction: String,
    pub by: String,
    pub from: String,
    pub to: String,
    pub forced: bool,
    pub reason: Option<String>,
    pub started: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FailbackStatus {
    /// `always`, `after-flip` or `off`.
    pub mode: String,
    pub moves_in_window: u32,
    pub max_moves: u32,
    /// When one more is allowed, while they are used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_ends: Option<String>,
    /// Why traffic would not move back to the previous slot even if it had to.
    #[serde(default)]
    pub blocked: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SharedStatus {
    pub address: String,
    /// `healthy`, `unhealthy` or `unknown`.
    pub health: String,
    pub since: Option<String>,
    pub reason: Option<String>,
}

/// Trouble of what all slots need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SharedTroubleStatus {
    pub since: String,
    /// `configured`: what `shared` names does not answer. `inferred`: all slots fail alike.
    pub cause: String,
    /// What does not answer; none where the config does not say what the slots share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlotStatus {
    pub name: String,
    pub active: bool,
    /// `healthy`, `unhealthy`, `unknown`, or `absent`: the names of its addresses do not exist.
    pub health: String,
    pub since: Option<String>,
    /// Why it is not healthy, in words.
    pub reason: Option<String>,
    pub quarantine: Option<QuarantineStatus>,
    /// Somebody else listens on its port than should; none where all is well, or where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stranger: Option<StrangerStatus>,
    /// What was said to run in it (`switchctl deploy --version`).
    #[serde(default)]
    pub version: Option<String>,
    /// Over all generations of this slot.
    pub in_flight: CountsStatus,
    pub queued: u64,
    /// Requests since the daemon started.
    pub requests: u64,
    /// What it did in the last minute, whether it is watched or not.
    #[serde(default)]
    pub last_minute: LastMinute,
    pub members: Vec<MemberStatus>,
    /// How it last stood before its gates; none where none were tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<GatesStatus>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CountsStatus {
    pub requests: u64,
    pub transfers: u64,
    pub websockets: u64,
}

/// Another user listens on a slot's port than when it last served, or than its `owner`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StrangerStatus {
    pub since: String,
    pub endpoint: String,
    /// `uid 65534 (nobody)`.
    pub listening: String,
    pub expected: String,
    pub remedy: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuarantineStatus {
    pub since: String,
    pub reason: String,
    pub acknowledged: bool,
    /// What still has to happen before it ends, in words.
    pub ends: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemberStatus {
    pub name: String,
    pub endpoints: Vec<EndpointStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointStatus {
    pub address: String,
    pub health: String,
    pub since: Option<String>,
    pub in_flight: u64,
    pub last: Option<ProbeResult>,
}

/// One probe of one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeResult {
    pub at: String,
    pub took_ms: f64,
    pub passed: bool,
    /// `HTTP 200`, `connection refused`, `timeout after 2s`, `HTTP 500: <first 200 bytes>`.
    pub result: String,
    /// Whose fault a failure is: `slot`, `shared`, `client`, or `ours` (switchd's own machine lacks something, so
    /// there is no result). Only `slot` counts against the slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DrainStatus {
    pub slot: String,
    pub generation: u64,
    pub left: CountsStatus,
    pub since: String,
    /// When the last kind is cut off.
    pub until: String,
}

/// What `ps` shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestList {
    pub schema: u32,
    pub requests: Vec<RequestStatus>,
}

/// One request under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestStatus {
    /// For `kill`; unique while the daemon runs.
    pub id: u64,
    /// `request`, `transfer` or `websocket`.
    pub kind: String,
    /// `receiving` (its body, before it has a slot), `queued`, `held`, `connecting`, `sending`, `waiting`, `answering`,
    /// `delivering` (the upstream is done) or `tunnel`.
    pub state: String,
    pub service: String,
    /// None while it waits for a place.
    pub slot: Option<String>,
    /// Its place in the queue, or among those who are held, counted from 1; none when it waits for no place.
    #[serde(default)]
    pub queue_place: Option<u64>,
    /// How long it has waited or had waited for a place; none when it had one at once.
    #[serde(default)]
    pub queued_ms: Option<u64>,
    /// How long it was held; none when it was not.
    #[serde(default)]
    pub held_ms: Option<u64>,
    pub generation: Option<u64>,
    pub endpoint: Option<String>,
    pub client: String,
    pub method: String,
    pub path: String,
    pub age_ms: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Whole messages of a websocket; 0 for anything else.
    pub messages_in: u64,
    pub messages_out: u64,
    pub request_id: String,
}
