//! An idle slot that gets copies of what the active one is asked.

use crate::config::Share;
use crate::filter::Paths;
use crate::switch::SlotName;
use crate::telemetry::ShadowTally;
use std::sync::Arc;

/// Which requests are copied for which slot. How, the settings of the service say.
#[derive(Debug)]
pub struct Shadow {
    pub slot: SlotName,
    pub share: Share,
    /// Never copied.
    pub excluded: Paths,
    pub tally: Arc<ShadowTally>,
}
