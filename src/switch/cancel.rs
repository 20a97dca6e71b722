//! What is still being proven has moved nothing yet: it can be ended without a trace, by a person, or because
//! traffic has to leave the active slot now.

use super::event::{Actor, Effect, Notice, Operation};
use super::machine::{Current, Stage, Switch};
use super::refusal::Refusal;
use super::slot::SlotName;

impl Switch {
    pub(super) fn cancel(
        &mut self,
        by: &Actor,
        reason: Option<&str>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let Some(operation) = self.take_gating() else {
            return Err(self.no_cancel());
        };
        let why = reason.filter(|reason| !reason.trim().is_empty());
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        let reason = format!("cancelled by {by}{why}");
        // Else the steps of a canary would begin the same again at once.
        self.stop_steps_after(&operation, effects);
        effects.push(Effect::Tell(Notice::Cancelled { operation, reason }));
        Ok(())
    }

    /// Traffic leaves the active slot for `to` by itself: what is still being proven does not delay that.
    pub(super) fn give_way(&mut self, to: &SlotName, why: &str, effects: &mut Vec<Effect>) {
        let Some(operation) = self.take_gating() else {
            return;
        };
        let from = &self.state.active;
        let reason = format!("traffic leaves {from} for {to} by itself: {why}");
        effects.push(Effect::Tell(Notice::Cancelled { operation, reason }));
    }

    fn take_gating(&mut self) -> Option<Operation> {
        let is_gating = |current: &mut Current| matches!(current.stage, Stage::Gating);
        let current = self.current.take_if(is_gating)?;
        Some(current.operation)
    }

    fn no_cancel(&self) -> Refusal {
        match &self.current {
            Some(current) => Refusal::TooLateToCancel {
                operation: Box::new(current.operation.clone()),
            },
            None => Refusal::NothingToCancel {
                active: self.state.active.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use std::time::Duration;

    const NOW: Moment = Moment(1_000_000_000);

    fn slot(name: &str) -> SlotName {
        SlotName::new(name).unwrap()
    }

    fn rules() -> Rules {
        Rules {
            slots: vec![slot("blue"), slot("green"), slot("red")],
            initial: slot("blue"),
            failback: FailbackRules {
                mode: FailbackMode::Always,
                watch: Duration::from_mins(10),
                quarantine: Duration::from_mins(5),
                acknowledge: true,
                start_grace: Duration::ZERO,
                shared_grace: Duration::ZERO,
                max_moves: 3,
                window: Duration::from_hours(1),
            },
            canary: CanaryRules::default(),
            round: Duration::from_secs(2),
            evidence: Duration::ZERO,
        }
    }

    fn by() -> Actor {
        Actor("alice".to_owned())
    }

    fn command(switch: &mut Switch, command: Command) -> Result<Vec<Effect>, Refusal> {
        switch.apply(NOW, Event::Command { by: by(), command })
    }

    fn flip(to: &str) -> Command {
        Command::Flip {
            to: slot(to),
            force: false,
            reason: None,
            expect: None,
            terms: Terms::default(),
        }
    }

    fn cancel() -> Command {
        Command::Cancel {
            reason: Some("the wrong slot".to_owned()),
        }
    }

    fn told(switch: &mut Switch, name: &str, health: SlotHealth) -> Vec<Effect> {
        let slot = slot(name);
        switch.apply(NOW, Event::Health { slot, health }).unwrap()
    }

    fn switch() -> Switch {
        let mut switch = Switch::new(rules(), None, NOW);
        switch.apply(NOW, Event::Tick).unwrap();
        for name in ["blue", "green", "red"] {
            told(&mut switch, name, SlotHealth::Healthy);
        }
        switch
    }

    fn cancelled(effects: &[Effect]) -> Option<(&Operation, &str)> {
        effects.iter().find_map(|effect| match effect {
            Effect::Tell(Notice::Cancelled { operation, reason }) => {
                Some((operation, reason.as_str()))
            }
            _ => None,
        })
    }

    #[test]
    fn what_is_being_proven_can_be_cancelled_and_nothing_has_changed() {
        let mut switch = switch();
        command(&mut switch, flip("green")).unwrap();
        let before = switch.persisted();
        let effects = command(&mut switch, cancel()).unwrap();
        let (operation, reason) = cancelled(&effects).unwrap();
        assert_eq!(operation.to, slot("green"));
        assert_eq!(reason, "cancelled by alice: the wrong slot");
        assert_eq!(switch.persisted(), before);
        assert_eq!(switch.phase(), Phase::Steady);
        // Its gate may still speak up.
        let verdict = Ok(Passed::default());
        let flip_id = operation.flip;
        let late = Event::Gated {
            flip: flip_id,
            verdict,
        };
        assert_eq!(switch.apply(NOW, late), Ok(Vec::new()));
        command(&mut switch, flip("red")).unwrap();
        assert_eq!(switch.phase(), Phase::Gating, "the next one may begin");
    }

    #[test]
    fn what_is_being_written_or_done_cannot_be_cancelled() {
        let mut switch = switch();
        let refused = command(&mut switch, cancel()).unwrap_err();
        assert_eq!(
            refused,
            Refusal::NothingToCancel {
                active: slot("blue")
            }
        );
        command(&mut switch, flip("green")).unwrap();
        let id = switch.operation().unwrap().flip;
        let verdict = Ok(Passed::default());
        let gated = Event::Gated { flip: id, verdict };
        switch.apply(NOW, gated).unwrap();
        let refused = command(&mut switch, cancel()).unwrap_err();
        assert!(matches!(refused, Refusal::TooLateToCancel { .. }));
        let recorded = Event::Recorded {
            flip: id,
            result: Ok(()),
        };
        switch.apply(NOW, recorded).unwrap();
        let refused = command(&mut switch, cancel()).unwrap_err();
        let words = refused.to_string();
        assert!(words.contains("switchctl rollback"), "{words}");
    }
}
