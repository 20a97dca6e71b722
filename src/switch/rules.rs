//! What the operator configured of switching.

use super::percent::CanaryRules;
use super::slot::SlotName;
use std::time::Duration;

/// What the operator configured for one service, as far as switching goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// In the order of the config; two or more.
    pub slots: Vec<SlotName>,
    /// Active when there is no state yet.
    pub initial: SlotName,
    pub failback: FailbackRules,
    pub canary: CanaryRules,
    /// In so long every slot has been probed once.
    pub round: Duration,
    /// How far back the watch counts.
    pub evidence: Duration,
}

/// When may traffic move by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailbackRules {
    pub mode: FailbackMode,
    /// How long a slot is watched after a flip; with [`FailbackMode::AfterFlip`] all that failback has.
    pub watch: Duration,
    /// How long a slot that was left must be healthy before it may be moved to by itself again.
    pub quarantine: Duration,
    /// An operator must acknowledge as well before a quarantine ends.
    pub acknowledge: bool,
    /// After a start, how long the active slot may take to become healthy before traffic leaves it by itself.
    pub start_grace: Duration,
    /// After something that both slots met, how long the active one may take to be healthy again before traffic
    /// leaves it for one that recovered sooner.
    pub shared_grace: Duration,
    /// At most this many automatic moves within `window`; 0 means none.
    pub max_moves: u32,
    pub window: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailbackMode {
    Always,
    AfterFlip,
    Off,
}
