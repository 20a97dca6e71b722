//! WHAT OPERATORS SEE: metrics, the access log, the shape of the log.
//!
//! Called by `proxy/` (counting, one record per request), `control/` and `admin/` (reading).
//! Never blocks a worker. Rules: counters have one writer each; records leave a worker
//! in batches and are dropped, and counted, rather than waited for.

mod access_line;
mod access_log;
mod bodies;
mod calls;
mod certificates;
mod clients;
mod content;
mod denied;
mod descriptors;
mod gates;
mod handshakes;
mod holds;
mod hooks;
mod judged;
mod metrics;
mod names;
mod observations;
mod prometheus;
mod samples;
mod shadow;
mod shadow_page;
mod shared;
mod stamp;
mod unwelcome;
mod websockets;

pub use access_log::{AccessLog, AccessRecord, AccessWriter, LineFormat, LogTarget, Protocol};
pub use bodies::{BodyFigures, KeptFigures};
pub use calls::{CallCounts, CallEnd, CallFigures};
pub use certificates::{CertificateFigures, ExpiryFigures, HandshakeFigures};
pub use clients::ClientFigures;
pub use content::{CacheFigures, ContentCounts, ContentFigures, ContentMetrics, Encoded, Looked};
pub use denied::{DeniedFigures, ZoneFigures};
pub use descriptors::DescriptorFigures;
pub use gates::GateFigures;
pub use handshakes::{Handshake, HandshakeFailure};
pub use holds::{HoldFigures, ModeFigures, WaitFigures};
pub use hooks::HookFigures;
pub use judged::{Deed, WatchFigures};
pub use metrics::BUCKETS_US;
pub use metrics::{EdgeCounts, EdgeMetrics, Histogram, Outcome, SlotCounts, SlotMetrics, Unserved};
pub use names::NameFigures;
pub use observations::{Batch, Noted, Sighting, client_id};
pub use prometheus::{
    CONTENT_TYPE, EndpointFigures, FlipFigures, InFlightFigures, Page, ServiceFigures, SlotFigures,
};
pub use shadow::{
    OTHERS, ShadowAnswer, ShadowCounts, ShadowExample, ShadowPlace, ShadowRow, ShadowSide,
    ShadowTable, ShadowTally, Shadowed,
};
pub use shadow_page::ShadowFigures;
pub use shared::SharedFigures;
pub use unwelcome::{Unwelcome, UnwelcomeCounts};
pub use websockets::{Farewell, Parting, WebsocketCounts};
