//! What must hold after every step, whatever happened.

use super::event::Direction;
use super::machine::{Stage, Switch};
use super::status::Phase;

impl Switch {
    /// Checked after every step of a debug build, and by the tests.
    ///
    /// # Errors
    /// Names what is broken.
    pub fn check_invariants(&self) -> Result<(), String> {
        let broken = self.broken_state().or_else(|| self.broken_operation());
        match broken {
            Some(what) => Err(format!("{what}: {self:?}")),
            None => Ok(()),
        }
    }

    fn broken_state(&self) -> Option<&'static str> {
        let state = &self.state;
        let slots = &self.rules.slots;
        let configured = |slot| slots.contains(slot);
        let rules = [
            (configured(&state.active), "the active slot is configured"),
            (
                state
                    .previous
                    .iter()
                    .all(|slot| configured(slot) && *slot != state.active),
                "the previous slot is another configured one",
            ),
            (
                state
                    .quarantines
                    .keys()
                    .all(|slot| configured(slot) && *slot != state.active),
                "only other configured slots are in quarantine",
            ),
            (
                state.fingerprints.keys().all(configured),
                "only databases of configured slots are remembered",
            ),
            (
                state.confirm.is_none() || state.previous.is_some(),
                "what waits to be confirmed can go back",
            ),
            (state.generation.0 > 0, "a generation is active"),
            (
                state.automatic_moves.is_sorted()
                    && state.automatic_moves.iter().all(|at| *at <= self.now),
                "automatic moves are in the past, in order",
            ),
            (
                self.drains.is_sorted_by(|a, b| a.generation < b.generation)
                    && self
                        .drains
                        .iter()
                        .all(|drain| drain.generation < state.generation),
                "only older generations drain, each once",
            ),
            (
                self.wake.is_none_or(|at| at > self.now),
                "a wake-up lies in the future",
            ),
            (
                self.phase() != Phase::Steady || !self.unsettled,
                "steady is told",
            ),
        ];
        rules
            .iter()
            .find(|(holds, _)| !holds)
            .map(|(_, rule)| *rule)
    }

    fn broken_operation(&self) -> Option<&'static str> {
        let current = self.current.as_ref()?;
        let operation = &current.operation;
        let gating = matches!(current.stage, Stage::Gating);
        let rules = [
            (
                operation.from == self.state.active,
                "an operation leaves the active slot",
            ),
            (
                operation.to != operation.from,
                "an operation goes elsewhere",
            ),
            (
                self.rules.slots.contains(&operation.to),
                "an operation goes to a configured slot",
            ),
            (operation.flip == self.state.flip, "one operation at a time"),
            (
                !gating || (operation.direction != Direction::Failback && !operation.forced),
                "only an operator's unforced operation is gated",
            ),
            (
                !operation.forced || operation.reason.is_some(),
                "force has a reason",
            ),
        ];
        rules
            .iter()
            .find(|(holds, _)| !holds)
            .map(|(_, rule)| *rule)
    }
}
