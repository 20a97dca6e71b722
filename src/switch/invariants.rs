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
        let broken = self
            .broken_state()
            .or_else(|| self.broken_canary())
            .or_else(|| self.broken_memory())
            .or_else(|| self.broken_operation());
        match broken {
            Some(what) => Err(format!("{what}: {self:?}")),
            None => Ok(()),
        }
    }

    fn broken_state(&self) -> Option<&'static str> {
        let state = &self.state;
        let slots = &self.rules.slots;
        let configured = |slot| slots.contains(slot);
        let canary = state.canary.as_ref();
        let in_use = |generation| {
            generation == state.generation || canary.is_some_and(|it| it.generation == generation)
        };
        let once = |at: usize| {
            let earlier = &self.drains[..at];
            let generation = self.drains[at].generation;
            earlier.iter().all(|drain| drain.generation != generation)
        };
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
            (state.generation.0 > 0, "a generation is active"),
            (
                state.automatic_moves.is_sorted()
                    && state.automatic_moves.iter().all(|at| *at <= self.now),
                "automatic moves are in the past, in order",
            ),
            (
                (0..self.drains.len()).all(once)
                    && self
                        .drains
                        .iter()
                        .all(|drain| !in_use(drain.generation) && drain.generation <= state.newest),
                "only generations that were left drain, each once",
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

    fn broken_canary(&self) -> Option<&'static str> {
        let state = &self.state;
        let canary = state.canary.as_ref();
        let configured = |slot| self.rules.slots.contains(slot);
        let rules = [
            (
                canary.is_none_or(|it| configured(&it.slot) && it.slot != state.active),
                "a canary is on another configured slot",
            ),
            (
                canary.is_none_or(|it| it.generation > state.generation),
                "a canary is newer than the active generation",
            ),
            (
                state.newest == state.newest_generation(),
                "no generation is newer than the newest",
            ),
        ];
        let broken = rules.iter().find(|(holds, _)| !holds);
        broken.map(|(_, rule)| *rule)
    }

    /// What a move leaves to be remembered.
    fn broken_memory(&self) -> Option<&'static str> {
        let state = &self.state;
        let mut remembered = state.fingerprints.keys();
        if !remembered.all(|slot| self.rules.slots.contains(slot)) {
            return Some("only databases of configured slots are remembered");
        }
        let has_way_back = state.confirm.is_none() || state.previous.is_some();
        (!has_way_back).then_some("what waits to be confirmed can go back")
    }

    fn broken_operation(&self) -> Option<&'static str> {
        let current = self.current.as_ref()?;
        let operation = &current.operation;
        let gating = matches!(current.stage, Stage::Gating);
        let canary = self.state.canary.as_ref().map(|canary| &canary.slot);
        let ends_canary = operation.direction == Direction::Abort;
        let rules = [
            (
                ends_canary || operation.from == self.state.active,
                "an operation leaves the active slot",
            ),
            (
                !ends_canary
                    || (canary == Some(&operation.from) && operation.to == self.state.active),
                "the end of a canary leaves its slot for the active one",
            ),
            (
                operation.portion.is_some() == (operation.direction == Direction::Canary),
                "a canary has a share, and nothing else has",
            ),
            (
                operation.direction != Direction::Canary
                    || canary.is_none_or(|slot| *slot == operation.to),
                "one canary at a time",
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
                !gating || (!self.goes_ungated(operation) && !operation.forced),
                "only what must prove a slot is gated",
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
