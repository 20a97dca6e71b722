//! After a move: how long the new slot is watched, what a bad verdict on it means, and who must confirm it.

use super::event::{Actor, Effect, Moment, Notice, PersistedConfirm, Refusal};
use super::machine::Switch;
use super::slot::{FlipId, Generation, SlotName};
use super::status::words;
use std::time::Duration;

/// What the watch finds out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// The gate of `flip` saw the database like this; told before the gate is told to be passed.
    Seen { flip: FlipId, fingerprint: String },
    /// Why the slot of this generation does too badly to stay active; none when it does not.
    Judged {
        generation: Generation,
        breach: Option<String>,
    },
}

/// What an operator wants of a move, besides the move.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Terms {
    /// Goes back unless it is confirmed within this time.
    #[serde(default)]
    pub confirm_within: Option<Duration>,
    /// To go back (or here, for a rollback) is fine even where the database has changed.
    #[serde(default)]
    pub accept_schema_change: bool,
}

/// What the machine knows of the watch, and no restart needs to.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched {
    /// The database as the latest gate saw it.
    seen: Option<Fingerprint>,
    /// Of the active generation.
    breach: Option<Breach>,
}

#[derive(Debug, Clone)]
struct Fingerprint {
    flip: FlipId,
    text: String,
}

#[derive(Debug, Clone)]
struct Breach {
    generation: Generation,
    reason: String,
}

impl Switch {
    pub(super) fn watched(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Seen { flip, fingerprint } => {
                let text = fingerprint;
                self.watched.seen = Some(Fingerprint { flip, text });
            }
            WatchEvent::Judged { generation, breach } => {
                self.watched.breach = breach
                    .filter(|_| generation == self.state.generation)
                    .map(|reason| Breach { generation, reason });
            }
        }
    }

    /// Until when the slot that an operator moved traffic to is watched; none after a move by itself.
    #[must_use]
    pub fn watched_until(&self) -> Option<Moment> {
        let moved = self.state.moved?;
        let by_operator = !self.state.automatic_moves.contains(&moved);
        by_operator.then(|| moved.after(self.rules.failback.watch))
    }

    /// Why the watch wants traffic to leave the active slot.
    #[must_use]
    pub fn breach(&self) -> Option<&str> {
        let breach = self.watched.breach.as_ref();
        breach
            .filter(|breach| breach.generation == self.state.generation)
            .map(|breach| breach.reason.as_str())
    }

    /// Until when somebody must confirm the last move.
    #[must_use]
    pub fn unconfirmed(&self) -> Option<Moment> {
        self.state.confirm.as_ref().map(|confirm| confirm.until)
    }

    /// Why traffic must not move to `slot` by itself for the database's sake; none when it may.
    #[must_use]
    pub fn schema_moved(&self, slot: &SlotName) -> Option<String> {
        if self.state.accept_schema_change {
            return None;
        }
        self.database_moved(slot).then(|| {
            format!(
                "the database's modules have changed since {slot} last served; \
                 if its code fits them all the same: switchctl rollback --accept-schema-change"
            )
        })
    }

    /// Unknown is not changed.
    fn database_moved(&self, slot: &SlotName) -> bool {
        let fingerprints = &self.state.fingerprints;
        let (now, then) = (fingerprints.get(&self.state.active), fingerprints.get(slot));
        now.zip(then).is_some_and(|(now, then)| now != then)
    }

    /// May an operator go back to `slot` on these terms?
    pub(super) fn fits(&self, slot: &SlotName, terms: &Terms) -> Result<(), Refusal> {
        if self.database_moved(slot) && !terms.accept_schema_change {
            return Err(Refusal::SchemaMoved { slot: slot.clone() });
        }
        Ok(())
    }

    /// The database as it is known once `flip` has moved traffic: as its gate saw it, else as it was last seen.
    pub(super) fn database_at(&self, flip: FlipId) -> Option<String> {
        let seen = self.watched.seen.as_ref();
        let seen = seen.filter(|seen| seen.flip == flip);
        match seen {
            Some(seen) => Some(seen.text.clone()),
            None => self.state.fingerprints.get(&self.state.active).cloned(),
        }
    }

    /// What is written of a move that must be confirmed.
    pub(super) fn confirm_by(at: Moment, terms: &Terms) -> Option<PersistedConfirm> {
        terms.confirm_within.map(|within| PersistedConfirm {
            until: at.after(within),
            within,
        })
    }

    pub(super) fn confirm(&mut self, by: Actor, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        let slot = self.state.active.clone();
        if self.state.confirm.take().is_none() {
            return Err(Refusal::NothingToConfirm { slot });
        }
        effects.push(Effect::Tell(Notice::Confirmed { slot, by }));
        Ok(())
    }

    /// Nobody has confirmed the last move in time: where it goes back to, and why.
    pub(super) fn overdue(&self) -> Option<Overdue> {
        let confirm = self.state.confirm.as_ref()?;
        if confirm.until > self.now {
            return None;
        }
        Some(Overdue {
            to: self.state.previous.clone()?,
            reason: format!("not confirmed within {}", words(confirm.within)),
        })
    }
}

pub(super) struct Overdue {
    pub(super) to: SlotName,
    pub(super) reason: String,
}
