//! What a canary promises, one by one.

mod tests {
    use super::super::afresh::as_told;
    use super::super::*;
    use std::time::Duration;

    const MINUTE: Duration = Duration::from_mins(1);

    fn slot(name: &str) -> SlotName {
        SlotName::new(name).unwrap()
    }

    fn share(text: &str) -> Percent {
        text.parse().unwrap()
    }

    fn unhealthy() -> SlotHealth {
        SlotHealth::Unhealthy {
            reason: "connection refused".to_owned(),
        }
    }

    fn rules(steps: &[CanaryStep]) -> Rules {
        Rules {
            slots: ["blue", "green", "red"].map(slot).to_vec(),
            initial: slot("blue"),
            failback: FailbackRules {
                mode: FailbackMode::Always,
                watch: 10 * MINUTE,
                quarantine: 5 * MINUTE,
                acknowledge: true,
                start_grace: Duration::from_secs(30),
                shared_grace: Duration::ZERO,
                max_moves: 3,
                window: 60 * MINUTE,
            },
            canary: CanaryRules {
                steps: steps.to_vec(),
                idle: 30 * MINUTE,
                is_judged: false,
            },
            round: Duration::from_secs(2),
            evidence: Duration::ZERO,
        }
    }

    fn lasting(text: &str) -> CanaryStep {
        CanaryStep::Share {
            share: share(text),
            lasts: Some(10 * MINUTE),
        }
    }

    /// A switch, its clock, its disk, and what it asked for last.
    struct Bench {
        switch: Switch,
        now: Moment,
        disk: Option<Persisted>,
        effects: Vec<Effect>,
    }

    impl Bench {
        fn resume(rules: Rules, disk: Option<Persisted>) -> Self {
            let now = Moment(1_000_000_000);
            let mut bench = Self {
                switch: Switch::new(rules, disk.clone(), now),
                now,
                disk,
                effects: Vec::new(),
            };
            bench.send(Event::Tick);
            bench
        }

        /// All slots well, traffic on blue.
        fn with(steps: &[CanaryStep]) -> Self {
            let mut bench = Self::resume(rules(steps), None);
            for name in ["blue", "green", "red"] {
                bench.health(name, SlotHealth::Healthy);
            }
            bench
        }

        fn try_send(&mut self, event: Event) -> Result<(), Refusal> {
            self.effects = self.switch.apply(self.now, event)?;
            let is_question = |effect: &Effect| matches!(effect, Effect::Ask(_));
            while let Some(at) = self.effects.iter().position(is_question) {
                let Effect::Ask(ask) = self.effects.remove(at) else {
                    unreachable!("it was found");
                };
                let answers = as_told::answers(&self.switch);
                let more = self
                    .switch
                    .apply(self.now, Event::Answered { ask, answers })?;
                self.effects.extend(more);
            }
            for effect in &self.effects {
                if let Effect::Record(transition) = effect {
                    self.disk = Some(transition.state.clone());
                }
            }
            Ok(())
        }

        fn send(&mut self, event: Event) {
            self.try_send(event).unwrap();
        }

        fn order(&mut self, order: CanaryOrder) -> Result<(), Refusal> {
            self.try_send(Event::Command {
                by: Actor("alice".to_owned()),
                command: Command::Canary(order),
            })
        }

        fn share(&mut self, name: &str, text: &str) -> Result<(), Refusal> {
            self.order(CanaryOrder::Share {
                slot: Some(slot(name)),
                share: (!text.is_empty()).then(|| share(text)),
                force: false,
                reason: None,
                terms: Terms::default(),
            })
        }

        fn flip_id(&self) -> FlipId {
            self.switch.operation().unwrap().flip
        }

        fn gated(&mut self, verdict: Result<(), Vec<String>>) {
            let flip = self.flip_id();
            let verdict = verdict.map(|()| Passed::default());
            self.send(Event::Gated { flip, verdict });
        }

        fn recorded(&mut self) {
            let flip = self.flip_id();
            self.send(Event::Recorded {
                flip,
                result: Ok(()),
            });
        }

        /// A canary on green with this share.
        fn runs(&mut self, text: &str) {
            self.share("green", text).unwrap();
            self.gated(Ok(()));
            self.recorded();
        }

        fn health(&mut self, name: &str, health: SlotHealth) {
            self.send(Event::Health {
                slot: slot(name),
                health,
            });
        }

        fn after(&mut self, wait: Duration) {
            self.now = self.now.after(wait);
            self.send(Event::Tick);
        }

        /// What workers are told last, of whom they send where.
        fn told(&self) -> Option<&Option<PersistedCanary>> {
            self.effects.iter().rev().find_map(|effect| match effect {
                Effect::Share { canary, .. } => Some(canary),
                _ => None,
            })
        }

        fn drains(&self) -> Vec<(&str, u64)> {
            let drains = self.effects.iter().filter_map(|effect| match effect {
                Effect::Drain {
                    slot, generation, ..
                } => Some((slot.as_str(), generation.0)),
                _ => None,
            });
            drains.collect()
        }

        fn wakes_at(&self) -> Option<Moment> {
            self.effects.iter().rev().find_map(|effect| match effect {
                Effect::WakeAt(at) => Some(*at),
                _ => None,
            })
        }

        fn current(&self) -> String {
            self.switch
                .canary()
                .map_or("none".to_owned(), |it| format!("{} {}", it.slot, it.share))
        }
    }

    #[test]
    fn a_canary_is_gated_then_written_then_told_and_moves_no_traffic() {
        let mut bench = Bench::with(&[]);
        bench.share("green", "5%").unwrap();
        assert_eq!(bench.switch.phase(), Phase::Gating);
        assert_eq!(bench.told(), None);
        bench.gated(Ok(()));
        assert_eq!(bench.switch.phase(), Phase::Publishing);
        assert_eq!(bench.told(), None, "not before it is written");
        let written = bench.disk.clone().unwrap().canary.unwrap();
        bench.recorded();
        assert_eq!(bench.told(), Some(&Some(written.clone())));
        assert_eq!((written.share, written.slot), (share("5%"), slot("green")));
        assert_eq!(*bench.switch.active(), slot("blue"));
        assert_eq!(bench.switch.generation(), Generation(1));
        assert_eq!(written.generation, Generation(2));
        assert_eq!(bench.switch.phase(), Phase::Steady);
    }

    #[test]
    fn a_slot_that_fails_its_gate_gets_no_visitor() {
        let mut bench = Bench::with(&[]);
        bench.share("green", "5%").unwrap();
        bench.gated(Err(vec!["HTTP 500".to_owned()]));
        assert_eq!(bench.current(), "none");
        assert_eq!(bench.told(), None);
        assert!(bench.disk.as_ref().unwrap().canary.is_none());
    }

    #[test]
    fn a_share_changes_at_once_and_the_generation_stays() {
        let mut bench = Bench::with(&[]);
        bench.runs("5%");
        bench.share("green", "25%").unwrap();
        assert_eq!(bench.switch.phase(), Phase::Publishing, "no gate");
        bench.recorded();
        let canary = bench.switch.canary().unwrap();
        assert_eq!(
            (canary.share, canary.generation),
            (share("25%"), Generation(2))
        );
        assert!(bench.drains().is_empty());
    }

    #[test]
    fn traffic_that_follows_takes_over_the_generation_and_only_the_old_slot_drains() {
        let mut bench = Bench::with(&[]);
        bench.runs("5%");
        bench
            .order(CanaryOrder::Promote {
                slot: None,
                force: false,
                reason: None,
            })
            .unwrap();
        assert_eq!(bench.switch.phase(), Phase::Gating, "as any flip");
        bench.gated(Ok(()));
        bench.recorded();
        assert_eq!(*bench.switch.active(), slot("green"));
        assert_eq!(
            bench.switch.generation(),
            Generation(2),
            "nobody there moves"
        );
        assert_eq!(bench.drains(), [("blue", 1)]);
        assert_eq!(bench.current(), "none");
        assert_eq!(bench.switch.previous(), Some(&slot("blue")));
    }

    #[test]
    fn an_abort_drains_the_canary_and_no_number_is_given_out_twice() {
        let mut bench = Bench::with(&[]);
        bench.runs("5%");
        let reason = Some("a hunch".to_owned());
        bench
            .order(CanaryOrder::Abort { slot: None, reason })
            .unwrap();
        bench.recorded();
        assert_eq!(bench.told(), Some(&None));
        assert_eq!(bench.drains(), [("green", 2)]);
        assert_eq!(bench.switch.phase(), Phase::Settling);
        bench.runs("5%");
        assert_eq!(bench.switch.canary().unwrap().generation, Generation(3));
        bench.send(Event::Drained {
            generation: Generation(2),
            cut: 0,
        });
        assert_eq!(bench.switch.phase(), Phase::Steady);
    }

    #[test]
    fn a_flip_elsewhere_ends_the_canary_and_drains_both() {
        let mut bench = Bench::with(&[]);
        bench.runs("5%");
        bench
            .try_send(Event::Command {
                by: Actor("alice".to_owned()),
                command: Command::Flip {
                    to: slot("red"),
                    force: false,
                    reason: None,
                    expect: None,
                    terms: Terms::default(),
                },
            })
            .unwrap();
        bench.gated(Ok(()));
        bench.recorded();
        assert_eq!(*bench.switch.active(), slot("red"));
        assert_eq!(bench.switch.generation(), Generation(3));
        assert_eq!(bench.current(), "none");
        assert_eq!(bench.drains(), [("blue", 1), ("green", 2)]);
    }

    #[test]
    fn a_slot_that_turns_bad_ends_its_canary_and_is_in_quarantine() {
        let mut bench = Bench::with(&[]);
        bench.runs("5%");
        bench.health("green", unhealthy());
        assert_eq!(
            bench.switch.operation().unwrap().direction,
            Direction::Abort
        );
        assert_eq!(bench.switch.operation().unwrap().by, Actor::itself());
        bench.recorded();
        assert_eq!(bench.current(), "none");
        assert_eq!(bench.drains(), [("green", 2)]);
        assert!(bench.switch.quarantine(&slot("green")).is_some());
    }

    #[test]
    fn a_database_that_fails_for_all_ends_no_canary() {
        let mut bench = Bench::with(&[]);
        bench.runs("5%");
        bench.send(Event::Shared {
            health: unhealthy(),
        });
        bench.health("green", unhealthy());
        assert_eq!(bench.current(), "green 5%");
        bench.send(Event::Shared {
            health: SlotHealth::Healthy,
        });
        bench.recorded();
        assert_eq!(bench.current(), "none");
    }

    #[test]
    fn a_forced_canary_stays_until_it_has_been_well() {
        let mut bench = Bench::with(&[]);
        bench.health("green", unhealthy());
        bench
            .order(CanaryOrder::Share {
                slot: Some(slot("green")),
                share: Some(share("5%")),
                force: true,
                reason: Some("the check is wrong".to_owned()),
                terms: Terms::default(),
            })
            .unwrap();
        bench.recorded();
        bench.after(MINUTE);
        assert_eq!(bench.current(), "green 5%");
        bench.health("green", SlotHealth::Healthy);
        bench.health("green", unhealthy());
        bench.recorded();
        assert_eq!(bench.current(), "none");
    }

    #[test]
    fn when_the_active_slot_dies_the_canary_gets_all_traffic_without_moving_anybody() {
        let mut bench = Bench::with(&[]);
        bench.runs("5%");
        bench.switch.state.previous = Some(slot("green"));
        bench.health("blue", unhealthy());
        bench.recorded();
        assert_eq!(*bench.switch.active(), slot("green"));
        assert_eq!(bench.switch.generation(), Generation(2));
        assert_eq!(bench.drains(), [("blue", 1)]);
    }

    #[test]
    fn a_canary_outlives_a_restart_with_its_share_and_generation() {
        let mut bench = Bench::with(&[lasting("5%"), lasting("25%")]);
        bench.runs("");
        let disk = bench.disk.clone();
        let mut again = Bench::resume(rules(&[lasting("5%"), lasting("25%")]), disk.clone());
        assert_eq!(again.switch.persisted(), disk.unwrap());
        assert_eq!(again.current(), "green 5%");
        // Its slot may need longer to start than we do.
        again.health("green", unhealthy());
        assert_eq!(again.current(), "green 5%");
        again.after(MINUTE);
        again.recorded();
        assert_eq!(again.current(), "none");
    }

    #[test]
    fn a_canary_whose_slot_is_gone_from_the_config_is_forgotten_and_its_number_is_not() {
        let mut bench = Bench::with(&[]);
        bench.runs("5%");
        let mut fewer = rules(&[]);
        fewer.slots.remove(1);
        assert!(matches!(
            bench.switch.can_apply(&fewer),
            Err(Refusal::SlotInUse { .. })
        ));
        let again = Bench::resume(fewer, bench.disk.clone());
        assert_eq!(again.current(), "none");
        assert_eq!(again.switch.persisted().newest, Generation(2));
    }

    #[test]
    fn steps_follow_by_themselves_while_the_slot_is_well_and_the_last_one_moves_all_traffic() {
        let mut bench = Bench::with(&[lasting("5%"), lasting("25%"), CanaryStep::Promote]);
        bench.runs("");
        assert_eq!(bench.current(), "green 5%");
        let ends = bench.switch.canary_step_ends().unwrap();
        assert_eq!(ends, bench.now.after(10 * MINUTE));
        bench.after(9 * MINUTE);
        assert_eq!(bench.wakes_at(), Some(ends));
        assert_eq!(bench.switch.phase(), Phase::Steady);
        // Nobody can say how it is: then it does not go on.
        bench.health("green", SlotHealth::Unknown);
        bench.after(2 * MINUTE);
        assert_eq!(bench.switch.phase(), Phase::Steady);
        bench.health("green", SlotHealth::Healthy);
        bench.recorded();
        assert_eq!(bench.current(), "green 25%");
        bench.after(10 * MINUTE);
        assert_eq!(bench.switch.phase(), Phase::Gating);
        bench.gated(Ok(()));
        bench.recorded();
        assert_eq!(*bench.switch.active(), slot("green"));
        assert_eq!(bench.switch.generation(), Generation(2));
    }

    #[test]
    fn a_last_step_that_fails_its_gate_leaves_the_canary_to_an_operator() {
        let mut bench = Bench::with(&[lasting("50%"), CanaryStep::Promote]);
        bench.runs("");
        bench.after(10 * MINUTE);
        bench.gated(Err(vec!["HTTP 500".to_owned()]));
        assert_eq!(bench.current(), "green 50%");
        let halted = |effect: &Effect| {
            matches!(
                effect,
                Effect::Tell(Notice::Canary(CanaryNotice::Halted { .. }))
            )
        };
        assert!(bench.effects.iter().any(halted));
        bench.after(60 * MINUTE);
        assert_eq!(
            bench.switch.phase(),
            Phase::Steady,
            "it does not try for ever"
        );
    }

    #[test]
    fn an_operator_who_sets_a_share_stops_the_steps() {
        let mut bench = Bench::with(&[lasting("5%"), lasting("25%")]);
        bench.runs("");
        bench.share("green", "10%").unwrap();
        bench.recorded();
        bench.after(60 * MINUTE);
        assert_eq!(bench.current(), "green 10%");
        assert_eq!(bench.switch.canary_step_ends(), None);
    }

    #[test]
    fn a_share_of_nothing_ends_once_nobody_has_come_for_long_enough() {
        let mut bench = Bench::with(&[]);
        bench.runs("5%");
        bench.share("green", "0%").unwrap();
        bench.recorded();
        assert_eq!(bench.current(), "green 0%");
        bench.after(29 * MINUTE);
        let generation = bench.switch.canary().unwrap().generation;
        bench.send(Event::Canary(CanaryEvent::Seen(generation)));
        bench.after(29 * MINUTE);
        assert_eq!(bench.current(), "green 0%");
        bench.send(Event::Canary(CanaryEvent::Seen(Generation(99))));
        bench.after(MINUTE);
        bench.recorded();
        assert_eq!(bench.current(), "none");
        assert_eq!(
            bench.switch.quarantine(&slot("green")),
            None,
            "it did nothing wrong"
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_way_around_it() {
        let mut bench = Bench::with(&[]);
        for order in [
            CanaryOrder::Abort {
                slot: None,
                reason: None,
            },
            CanaryOrder::Promote {
                slot: None,
                force: false,
                reason: None,
            },
        ] {
            let refused = bench.order(order).unwrap_err();
            assert!(matches!(
                refused,
                Refusal::Canary(CanaryRefusal::None { .. })
            ));
            assert!(refused.to_string().contains("switchctl canary SLOT 5%"));
        }
        let on_active = bench.share("blue", "5%").unwrap_err();
        assert!(matches!(
            on_active,
            Refusal::Canary(CanaryRefusal::OnActive { .. })
        ));
        assert!(matches!(
            bench.share("white", "5%"),
            Err(Refusal::UnknownSlot { .. })
        ));
        assert!(matches!(
            bench.share("green", ""),
            Err(Refusal::Canary(CanaryRefusal::NoSteps))
        ));
        bench.runs("5%");
        assert!(matches!(
            bench.share("red", "5%"),
            Err(Refusal::Canary(CanaryRefusal::Another { .. }))
        ));
        bench.share("green", "5%").unwrap();
        let same = |effect: &Effect| {
            matches!(
                effect,
                Effect::Tell(Notice::Canary(CanaryNotice::Unchanged { .. }))
            )
        };
        assert!(bench.effects.iter().any(same));
        bench.share("green", "6%").unwrap();
        assert!(matches!(
            bench.share("green", "7%"),
            Err(Refusal::Busy { .. })
        ));
    }
}
