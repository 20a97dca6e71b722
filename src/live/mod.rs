//! WHERE THE PLANES MEET. Control publishes a [`View`] here; workers read it and count in it.
//!
//! Called by `upstream/`, `proxy/`, `edge/` (reading, counting) and `control/` (publishing, watching).
//! Never runs a task, never waits for either side. Rules: counted before sent ([`LiveReader::admit`]);
//! one writer ([`Live::publish`]); a View is immutable and built whole; a lock is taken only by those who
//! have to wait for a place anyway ([`Places`]).

mod admission;
mod choices;
mod departure;
mod drain_pass;
mod health;
mod hold;
mod line;
mod modes;
mod order;
mod places;
pub mod preview;
#[cfg(test)]
mod promises;
mod reader;
mod seal;
mod shadow;
mod sync;
mod view;

pub use admission::{Counts, EpochClock, InFlight, Kind};
pub use choices::{Canary, Choices, Side, Sides};
pub use departure::{Departure, Goodbye};
pub use drain_pass::{DrainPass, Passing};
pub use health::{EndpointHealth, Wellness};
pub use hold::{Guest, Hold, Lobby, LobbyCounts, LobbyNow, Waited};
pub use line::{Line, Refused, Spot, Waiting};
pub use modes::{Maintenance, ModeCounts, Modes, ReadOnly};
pub use order::Origin;
pub use places::{Place, Places};
pub use preview::{Links, Named};
pub use reader::{Live, LiveReader, Ticket, ViewRef};
pub use seal::{KEY_BYTES, Seal};
pub use shadow::Shadow;
pub use view::{Endpoint, EndpointId, HostTable, Listener, Member, Service, Slot, View};
