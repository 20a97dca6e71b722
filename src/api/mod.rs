//! THE ADMIN API'S WORDS. Shared by daemon (`admin/`) and command line (`cli/`).
//!
//! HTTP/JSON over the admin socket, under `/v1`. Never anything but data.
//! Rules: fields are added, never renamed or taken away, while [`SCHEMA`] stands;
//! times are RFC 3339 in UTC, durations are milliseconds and end in `_ms`.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `GET /v1/status` | | [`Status`] |
//! | `POST /v1/services/{service}/flip` | [`FlipRequest`] | a stream of [`StreamEvent`]s, one JSON object per line; the last one is [`EventKind::Done`] |
//! | the same with `rehearse` | | the stream of `gate` |
//! | `POST /v1/services/{service}/cancel` | [`CancelRequest`] or none | [`Cancelled`] |
//! | `POST /v1/services/{service}/gate` | [`GateRequest`] | a stream of [`StreamEvent`]s; the last one is [`EventKind::GatesDone`] |
//! | `POST /v1/services/{service}/rollback` | [`RollbackRequest`] | as flip |
//! | `POST /v1/services/{service}/confirm` | `{}` | [`Confirmed`] |
//! | `POST /v1/services/{service}/probe` | [`SlotRequest`] | [`ProbeReport`] (probes once, now) |
//! | `POST /v1/services/{service}/ack` | [`SlotRequest`] | [`Acknowledged`] |
//! | `POST /v1/services/{service}/label` | [`LabelRequest`] | [`Labelled`] |
//! | `POST /v1/services/{service}/hold` | [`HoldRequest`] | a stream of events, from [`EventKind::Held`] to [`EventKind::Released`]; its connection is the lease |
//! | `POST /v1/services/{service}/release` | | [`HoldReleased`] |
//! | `POST /v1/services/{service}/shadow` | [`ShadowRequest`] | [`ShadowReport`] |
//! | `GET /v1/services/{service}/shadow` | | [`ShadowReport`]: what came of the copies so far |
//! | `POST /v1/services/{service}/maintenance` | [`MaintenanceRequest`] | [`ModesStatus`] |
//! | `POST /v1/services/{service}/read_only` | [`ReadOnlyRequest`] | [`ModesStatus`] |
//! | `GET /v1/ps[?service=S]` | | [`RequestList`] |
//! | `DELETE /v1/requests/{id}` | | [`Killed`] |
//! | `GET /v1/history[?service=S&slot=S&to=S&actor=A&kind=K&outcome=R&since=T&limit=N]` | | [`History`], newest last |
//! | `GET /v1/events[?service=S]` | | an endless stream of [`StreamEvent`]s |
//! | `POST /v1/reload` | | [`Reloaded`] |
//! | `GET /v1/cache[?service=S&prefix=P&limit=N]` | | [`CacheList`] |
//! | `POST /v1/cache/purge` | [`CachePurge`] | [`CachePurged`] |
//! | `GET /v1/hooks` | | [`HookList`] |
//! | `POST /v1/hooks/{name}/test` | | [`HookTested`] |
//! | `GET /v1/openapi.json` | | all of this, as `OpenAPI` 3.1 |
//! | `GET /metrics` | | Prometheus text; the one path that `[admin] metrics` serves over TCP too |
//!
//! Errors are RFC 9457 problems: [`Problem`], `application/problem+json`.

mod cache;
mod canary;
mod events;
mod gates;
mod history;
mod hold;
mod hooks;
mod modes;
mod orders;
mod shadow;
mod status;
mod watch;

pub use cache::{CacheEntry, CacheForm, CacheList, CachePurge, CachePurged};
pub use canary::{CanaryAction, CanaryRequest, CanaryStatus, PreviewLink};
pub use events::{
    EventKind, Killed, ProbeReport, ProbedEndpoint, Problem, Reloaded, StreamEvent, Verdict,
};
pub use gates::{
    GateCheck, GateProgress, GateWaiting, GatesDone, GatesStatus, Outcome, Rehearsed,
    WaitingEndpoint,
};
pub use history::{AuditRecord, History};
pub use hold::{HoldReleased, HoldRequest, HoldStatus, OutageStatus, ReleaseCause};
pub use hooks::{HookList, HookStatus, HookTested};
pub use modes::{
    Bypass, MaintenanceRequest, MaintenanceStatus, ModesStatus, ReadOnlyRequest, ReadOnlyStatus,
};
pub use orders::{
    Acknowledged, CancelRequest, Cancelled, FlipRequest, GateRequest, LabelRequest, Labelled,
    RollbackRequest, SlotRequest,
};
pub use shadow::{
    ShadowExample, ShadowPattern, ShadowReport, ShadowRequest, ShadowSide, ShadowStatus,
};
pub use status::{
    AcmeStatus, CertificateStatus, CertificatesStatus, ConfigStatus, CountsStatus,
    DescriptorsStatus, DrainStatus, EndpointStatus, FailbackStatus, MemberStatus, NameStatus,
    OperationStatus, ProbeResult, QuarantineStatus, RequestList, RequestStatus, ServiceStatus,
    SharedStatus, SharedTroubleStatus, SlotStatus, StateStatus, Status, StrangerStatus,
};
pub use watch::{ConfirmStatus, Confirmed, LastMinute, WarningStatus, WatchFigures, WatchStatus};

/// The version of every JSON document, in its field `schema`.
pub const SCHEMA: u32 = 1;
