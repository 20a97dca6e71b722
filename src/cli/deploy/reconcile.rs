//! What the daemon says counts, not what the journal believes: a crash comes between doing and writing.

use super::journal::Record;
use super::runner::Runner;

impl Runner {
    /// Compares the journal with where traffic is. The result is why the deploy cannot go on.
    pub(super) async fn reconcile(&mut self) -> Result<(), String> {
        let plan = &self.story.plan;
        let now = self.daemon.service().await?;
        if now.active == plan.slot {
            if self.story.flipped.is_none() {
                let generation = now.generation;
                self.note(&Record::Flipped {
                    generation,
                    took_ms: 0,
                    gates_reused_ms: None,
                })?;
            }
            return Ok(());
        }
        if self.story.flipped.is_some() {
            return Err(format!(
                "traffic left {} and is on {}",
                plan.slot, now.active
            ));
        }
        if now.active != plan.old_slot || now.generation != plan.generation {
            return Err(format!(
                "somebody else has moved traffic since this deploy began: {} is active as generation {}",
                now.active, now.generation
            ));
        }
        Ok(())
    }
}
