//! Gates that a slot has just passed by hand: a flip that follows at once need not try them again.
//!
//! A deploy tries them while clients are held, and then flips: twice the same gates would be twice the wait. What a
//! client sends is a word that this daemon gave out; whether it still holds is for the daemon to say.

use crate::config::Service;
use crate::switch::Generation;
use crate::switch::Label;
use crate::switch::Passed;
use crate::switch::SlotName;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A slot may change without anybody's knowing: after so long it is asked again.
const LASTS: Duration = Duration::from_secs(15);

/// Under what gates were tried: they say nothing of another release, another config or another active slot.
#[derive(Debug, Clone)]
pub(in crate::control) struct Conditions {
    pub(super) slot: SlotName,
    /// The active one, with which the slot was compared.
    pub(super) generation: Generation,
    pub(super) label: Option<Label>,
    pub(super) settings: Arc<Service>,
}

impl Conditions {
    fn are(&self, now: &Self) -> bool {
        self.slot == now.slot
            && self.generation == now.generation
            && self.label == now.label
            && Arc::ptr_eq(&self.settings, &now.settings)
    }
}

/// The gates were passed.
#[derive(Debug)]
pub(in crate::control) struct Proof {
    token: String,
    at: Instant,
    conditions: Conditions,
    passed: Passed,
}

/// A proof that still holds.
#[derive(Debug)]
pub(in crate::control) struct Reused {
    pub(in crate::control) age: Duration,
    pub(in crate::control) passed: Passed,
}

impl Proof {
    pub(super) fn new(conditions: Conditions, passed: Passed) -> Self {
        Self {
            token: format!("{:032x}", fastrand::u128(..)),
            at: Instant::now(),
            conditions,
            passed,
        }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// None where it is another one, too old, or anything has changed.
    pub(super) fn holds(&self, token: &str, now: &Conditions) -> Option<Reused> {
        let age = self.at.elapsed();
        let holds = self.token == token && age <= LASTS && self.conditions.are(now);
        holds.then(|| Reused {
            age,
            passed: self.passed.clone(),
        })
    }
}
