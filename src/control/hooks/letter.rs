//! What waits to be delivered.

use super::notices::Notice;
use crate::api::StreamEvent;
use crate::config::HookEvent;
use std::sync::Arc;

/// One message on its way to one hook.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    /// The same over all attempts, and no other's: receivers know by it what they have already.
    pub(super) id: String,
    pub(super) event: Arc<StreamEvent>,
    pub(super) notice: Arc<Notice>,
}

impl Letter {
    pub(super) fn new(event: Arc<StreamEvent>, notice: Arc<Notice>) -> Self {
        Self {
            id: format!("{:032x}", fastrand::u128(..)),
            event,
            notice,
        }
    }

    pub(super) fn name(&self) -> HookEvent {
        self.notice.names[0]
    }
}
