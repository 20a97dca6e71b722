//! Every route there is. The router looks here, and the `OpenAPI` document is written from here: a line
//! that is missing is a route that does not exist.

use super::entry::Entry;
use super::entry::Parameter;
use super::entry::delete;
use super::entry::get;
use super::entry::number;
use super::entry::post;
use super::entry::text;
use super::routes::Route;
use crate::api::Acknowledged;
use crate::api::CacheList;
use crate::api::CachePurge;
use crate::api::CachePurged;
use crate::api::CanaryRequest;
use crate::api::CancelRequest;
use crate::api::Cancelled;
use crate::api::Confirmed;
use crate::api::FlipRequest;
use crate::api::GateRequest;
use crate::api::History;
use crate::api::HoldReleased;
use crate::api::HoldRequest;
use crate::api::HookList;
use crate::api::HookTested;
use crate::api::Killed;
use crate::api::LabelRequest;
use crate::api::Labelled;
use crate::api::MaintenanceRequest;
use crate::api::ModesStatus;
use crate::api::PreviewLink;
use crate::api::ProbeReport;
use crate::api::ReadOnlyRequest;
use crate::api::Reloaded;
use crate::api::RequestList;
use crate::api::RollbackRequest;
use crate::api::ShadowReport;
use crate::api::ShadowRequest;
use crate::api::SlotRequest;
use crate::api::Status;
use crate::api::StreamEvent;
use crate::config::Role;
use crate::telemetry::CONTENT_TYPE;

const SERVICE: Parameter = text("service", "Of this service alone");
const LIMIT: Parameter = number("limit", "How many at most, from 1 on");

const HISTORY: &[Parameter] = &[
    SERVICE,
    text(
        "slot",
        "That moved traffic from or to this slot, or were about it",
    ),
    text("to", "That moved traffic to this slot, or were about it"),
    text("actor", "Of whom: a part of the name is enough"),
    text(
        "kind",
        "Of this kind: flip, rollback, failback, reload, ...; `call` shows the calls over TCP",
    ),
    text(
        "outcome",
        "That ended so: done, unchanged, refused, failed, moved_back, cancelled, interrupted",
    ),
    text("since", "Begun at this time (RFC 3339) or later"),
    LIMIT,
];

pub(super) const TABLE: &[Entry] = &[
    get(
        "/v1/status",
        |_| Route::Status,
        "Which slot is active, how well every slot is, and what goes on",
    )
    .shown_in_part()
    .answers::<Status>(),
    post(
        "/v1/services/{service}/flip",
        |it| Route::Flip {
            service: it.service,
        },
        "Move traffic to a slot; the stream ends with `done`, that of a rehearsal with `gates_done`",
    )
    .of_service()
    .takes::<FlipRequest>()
    .streams::<StreamEvent>(),
    post(
        "/v1/services/{service}/rollback",
        |it| Route::Rollback {
            service: it.service,
        },
        "Move traffic to the slot that was active before",
    )
    .of_service()
    .may_take::<RollbackRequest>()
    .streams::<StreamEvent>(),
    post(
        "/v1/services/{service}/probe",
        |it| Route::Probe {
            service: it.service,
        },
        "Probe every endpoint of a slot once, now",
    )
    .of_service()
    .takes::<SlotRequest>()
    .answers::<ProbeReport>(),
    post(
        "/v1/services/{service}/confirm",
        |it| Route::Confirm {
            service: it.service,
        },
        "Say that the last move stays",
    )
    .of_service()
    .answers::<Confirmed>(),
    post(
        "/v1/services/{service}/cancel",
        |it| Route::Cancel {
            service: it.service,
        },
        "End a flip, rollback or canary that is still being proven; nothing has moved yet",
    )
    .of_service()
    .may_take::<CancelRequest>()
    .answers::<Cancelled>(),
    post(
        "/v1/services/{service}/gate",
        |it| Route::Gate {
            service: it.service,
        },
        "Try the gates of a slot now; nothing changes, and the stream ends with `gates_done`",
    )
    .of_service()
    .takes::<GateRequest>()
    .streams::<StreamEvent>(),
    post(
        "/v1/services/{service}/ack",
        |it| Route::Acknowledge {
            service: it.service,
        },
        "Acknowledge what went wrong on a slot, so that its quarantine may end",
    )
    .of_service()
    .takes::<SlotRequest>()
    .answers::<Acknowledged>(),
    post(
        "/v1/services/{service}/canary",
        |it| Route::Canary {
            service: it.service,
        },
        "Send so many percent of new visitors to another slot, promote it, or end that",
    )
    .of_service()
    .takes::<CanaryRequest>()
    .streams::<StreamEvent>(),
    post(
        "/v1/services/{service}/preview",
        |it| Route::Preview {
            service: it.service,
        },
        "Make a link that leads to a slot once, whichever is active",
    )
    .of_service()
    .takes::<SlotRequest>()
    .answers::<PreviewLink>(),
    post(
        "/v1/services/{service}/label",
        |it| Route::Label {
            service: it.service,
        },
        "Say what runs in a slot",
    )
    .of_service()
    .takes::<LabelRequest>()
    .answers::<Labelled>(),
    post(
        "/v1/services/{service}/hold",
        |it| Route::Hold {
            service: it.service,
        },
        "Hold new requests; the connection is the lease, and the stream ends with `released`",
    )
    .of_service()
    .may_take::<HoldRequest>()
    .streams::<StreamEvent>(),
    post(
        "/v1/services/{service}/release",
        |it| Route::Release {
            service: it.service,
        },
        "End a hold: those who wait are let go",
    )
    .of_service()
    .answers::<HoldReleased>(),
    get(
        "/v1/services/{service}/shadow",
        |it| Route::ShadowReport {
            service: it.service,
        },
        "How the answers of the idle slot differ",
    )
    .of_service()
    .answers::<ShadowReport>(),
    post(
        "/v1/services/{service}/shadow",
        |it| Route::Shadow {
            service: it.service,
        },
        "Send copies of GETs to an idle slot, so many percent; 0 ends it",
    )
    .of_service()
    .takes::<ShadowRequest>()
    .answers::<ShadowReport>(),
    post(
        "/v1/services/{service}/maintenance",
        |it| Route::Maintenance {
            service: it.service,
        },
        "Answer 503 to clients but a few, or stop doing so; kept over restarts",
    )
    .of_service()
    .takes::<MaintenanceRequest>()
    .answers::<ModesStatus>(),
    post(
        "/v1/services/{service}/read_only",
        |it| Route::ReadOnly {
            service: it.service,
        },
        "Refuse what writes, or stop doing so; kept over restarts",
    )
    .of_service()
    .takes::<ReadOnlyRequest>()
    .answers::<ModesStatus>(),
    get("/v1/ps", |_| Route::Requests, "Requests that are under way")
        .shown_in_part()
        .with(&[SERVICE])
        .answers::<RequestList>(),
    delete(
        "/v1/requests/{id}",
        |it| Route::Kill { id: it.id },
        "End one request; its client sees the connection break",
    )
    .shown_in_part()
    .answers::<Killed>(),
    get(
        "/v1/history",
        |_| Route::History,
        "Operations of the past, newest last",
    )
    .shown_in_part()
    .with(HISTORY)
    .answers::<History>(),
    get(
        "/v1/events",
        |_| Route::Events,
        "What happens, as it happens, without end",
    )
    .shown_in_part()
    .with(&[SERVICE])
    .streams::<StreamEvent>(),
    post(
        "/v1/reload",
        |_| Route::Reload,
        "Read the config file again",
    )
    .by(Role::Admin)
    .answers::<Reloaded>(),
    get(
        "/v1/cache",
        |_| Route::Cache,
        "Answers that are kept for the next client, most hits first",
    )
    .shown_in_part()
    .with(&[
        SERVICE,
        text("prefix", "Only paths that begin so, as clients write them"),
        LIMIT,
    ])
    .answers::<CacheList>(),
    post(
        "/v1/cache/purge",
        |_| Route::CachePurge,
        "Forget answers whose path begins so",
    )
    .by(Role::Admin)
    .shown_in_part()
    .takes::<CachePurge>()
    .answers::<CachePurged>(),
    get(
        "/v1/hooks",
        |_| Route::Hooks,
        "Who else is told what happens, and how it goes",
    )
    .answers::<HookList>(),
    post(
        "/v1/hooks/{name}/test",
        |it| Route::HookTest { name: it.name },
        "Send one message to a hook now",
    )
    .by(Role::Admin)
    .answers::<HookTested>(),
    get(
        "/v1/openapi.json",
        |_| Route::OpenApi,
        "This description of the API",
    )
    .shown_in_part()
    .describes_all(),
    get("/metrics", |_| Route::Metrics, "The Prometheus page").shows(CONTENT_TYPE),
];
