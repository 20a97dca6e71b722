//! WHAT OPERATORS SEE: metrics, the access log, the shape of the log.
//!
//! Called by `proxy/` (counting, one record per request), `control/` and `admin/` (reading).
//! Never blocks a worker. Rules: counters have one writer each; records leave a worker
//! in batches and are dropped, and counted, rather than waited for.

mod access_line;
mod access_log;
mod bodies;
mod content;
mod metrics;
mod prometheus;
mod stamp;
mod websockets;

pub use access_log::{AccessLog, AccessRecord, AccessWriter, LineFormat, LogTarget};
pub use bodies::{BodyFigures, KeptFigures};
pub use content::{CacheFigures, ContentFigures};
pub use metrics::BUCKETS_US;
pub use metrics::{
    ContentCounts, EdgeCounts, EdgeMetrics, Encoded, Histogram, Looked, Outcome, SlotCounts,
    SlotMetrics, Unserved,
};
pub use prometheus::{
    CONTENT_TYPE, ClientFigures, EndpointFigures, FlipFigures, InFlightFigures, Page,
    ServiceFigures, SlotFigures,
};
pub use websockets::{Farewell, Parting, WebsocketCounts};
