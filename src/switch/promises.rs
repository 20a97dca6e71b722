//! What the machine promises, one by one.

mod tests {
    use super::super::afresh::as_told;
    use super::super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    const MINUTE: Duration = Duration::from_mins(1);
    const REFUSES: &str = "connection refused";

    fn slot(name: &str) -> SlotName {
        SlotName::new(name).unwrap()
    }

    fn alice() -> Actor {
        Actor("uid 1000 (alice)".to_owned())
    }

    fn rules(slots: &[&str]) -> Rules {
        Rules {
            slots: slots.iter().map(|name| slot(name)).collect(),
            initial: slot(slots[0]),
            failback: FailbackRules {
                mode: FailbackMode::Always,
                watch: 10 * MINUTE,
                quarantine: 5 * MINUTE,
                acknowledge: true,
                start_grace: Duration::ZERO,
                shared_grace: Duration::ZERO,
                max_moves: 3,
                window: 60 * MINUTE,
            },
            canary: CanaryRules::default(),
            round: Duration::from_secs(2),
            evidence: Duration::ZERO,
        }
    }

    fn after_flip(slots: &[&str]) -> Rules {
        let mut rules = rules(slots);
        rules.failback.mode = FailbackMode::AfterFlip;
        rules
    }

    /// A switch, its clock, and what it asked for last.
    struct Bench {
        switch: Switch,
        now: Moment,
        disk: Option<Persisted>,
        effects: Vec<Effect>,
    }

    impl Bench {
        fn new(rules: Rules) -> Self {
            Self::resume(rules, None)
        }

        fn resume(rules: Rules, disk: Option<Persisted>) -> Self {
            let now = Moment(1_000_000_000);
            let switch = Switch::new(rules, disk.clone(), now);
            let mut bench = Self {
                switch,
                now,
                disk,
                effects: Vec::new(),
            };
            bench.send(Event::Tick);
            bench
        }

        /// Two healthy slots, traffic on blue.
        fn healthy() -> Self {
            Self::with_health(rules(&["blue", "green"]))
        }

        fn with_health(rules: Rules) -> Self {
            let slots = rules.slots.clone();
            let mut bench = Self::new(rules);
            for slot in slots {
                bench.health(slot.as_str(), SlotHealth::Healthy);
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

        fn command(&mut self, command: Command) -> Result<(), Refusal> {
            self.try_send(Event::Command {
                by: alice(),
                command,
            })
        }

        fn flip(&mut self, to: &str) -> Result<FlipId, Refusal> {
            self.command(flip_to(to))?;
            Ok(self.switch.operation().unwrap().flip)
        }

        fn rollback(&mut self) -> Result<FlipId, Refusal> {
            self.command(Command::Rollback {
                terms: Terms::default(),
                force: false,
                reason: None,
            })?;
            Ok(self.switch.operation().unwrap().flip)
        }

        fn force(&mut self, to: &str) -> FlipId {
            self.command(Command::Flip {
                terms: Terms::default(),
                to: slot(to),
                force: true,
                reason: Some("the check is wrong".to_owned()),
                expect: None,
            })
            .unwrap();
            self.switch.operation().unwrap().flip
        }

        fn health(&mut self, name: &str, health: SlotHealth) {
            self.send(Event::Health {
                slot: slot(name),
                health,
            });
        }

        fn fails(&mut self, name: &str) {
            self.health(name, unhealthy(REFUSES));
        }

        /// It answers, but not well, whenever it is asked.
        fn errs(&mut self, name: &str) {
            self.health(name, unhealthy("HTTP 500"));
            self.wait(self.switch.rules().round);
        }

        fn gated(&mut self, flip: FlipId, verdict: Result<(), Vec<String>>) {
            let verdict = verdict.map(|()| Passed::default());
            self.send(Event::Gated { flip, verdict });
        }

        fn recorded(&mut self, flip: FlipId, result: Result<(), String>) {
            self.send(Event::Recorded { flip, result });
        }

        /// Lets the operation under way through.
        fn carry_out(&mut self) {
            let flip = self.switch.operation().unwrap().flip;
            if self.switch.phase() == Phase::Gating {
                self.gated(flip, Ok(()));
            }
            self.recorded(flip, Ok(()));
        }

        fn flip_done(&mut self, to: &str) {
            self.flip(to).unwrap();
            self.carry_out();
            self.drain_all();
        }

        fn drain_all(&mut self) {
            for drain in self.switch.draining().to_vec() {
                let generation = drain.generation;
                self.send(Event::Drained { generation, cut: 0 });
            }
        }

        fn wait(&mut self, wait: Duration) {
            self.now = self.now.after(wait);
            self.send(Event::Tick);
        }

        fn active(&self) -> &str {
            self.switch.active().as_str()
        }

        fn published(&self) -> bool {
            let publishes = |effect: &Effect| matches!(effect, Effect::Publish { .. });
            self.effects.iter().any(publishes)
        }

        fn notices(&self) -> Vec<&Notice> {
            let mut notices = Vec::new();
            for effect in &self.effects {
                if let Effect::Tell(notice) = effect {
                    notices.push(notice);
                }
            }
            notices
        }

        fn told(&self, wanted: impl Fn(&Notice) -> bool) -> bool {
            self.notices().into_iter().any(wanted)
        }

        fn staying(&self) -> &str {
            self.switch.staying().unwrap_or_default()
        }
    }

    fn flip_to(to: &str) -> Command {
        Command::Flip {
            terms: Terms::default(),
            to: slot(to),
            force: false,
            reason: None,
            expect: None,
        }
    }

    fn unhealthy(reason: &str) -> SlotHealth {
        SlotHealth::Unhealthy {
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn a_flip_is_gated_then_recorded_then_published_then_drained() {
        let mut bench = Bench::healthy();
        let flip = bench.flip("green").unwrap();
        assert_eq!(bench.switch.phase(), Phase::Gating);
        assert!(bench.effects.contains(&Effect::RunGate {
            flip,
            slot: slot("green"),
        }));
        assert!(bench.told(|it| matches!(it, Notice::Started(it) if it.by == alice())));

        bench.gated(flip, Ok(()));
        assert_eq!(bench.switch.phase(), Phase::Publishing);
        assert!(!bench.published());
        assert_eq!(bench.disk.as_ref().unwrap().active, slot("green"));
        assert_eq!(bench.active(), "blue");

        bench.now = bench.now.after(Duration::from_millis(5));
        bench.recorded(flip, Ok(()));
        assert_eq!(bench.active(), "green");
        let generation = Generation(2);
        let order: Vec<_> = bench
            .effects
            .iter()
            .filter(|effect| !matches!(effect, Effect::Tell(_) | Effect::WakeAt(_)))
            .cloned()
            .collect();
        assert_eq!(
            order,
            [
                Effect::Publish {
                    flip,
                    slot: slot("green"),
                    generation,
                },
                Effect::Drain {
                    flip,
                    slot: slot("blue"),
                    generation: Generation(1),
                },
            ]
        );
        assert_eq!(bench.switch.phase(), Phase::Settling);

        bench.send(Event::Drained {
            generation: Generation(1),
            cut: 2,
        });
        assert!(bench.told(|it| matches!(it, Notice::Drained { cut: 2, .. })));
        assert!(bench.told(|it| *it == Notice::Settled));
        assert_eq!(bench.switch.phase(), Phase::Steady);
        assert_eq!(bench.switch.operation(), None);
        assert_eq!(bench.disk, Some(bench.switch.persisted()));
    }

    #[test]
    fn a_failed_gate_changes_nothing_and_tells_why() {
        let mut bench = Bench::healthy();
        let flip = bench.flip("green").unwrap();
        let before = bench.switch.persisted();
        bench.gated(flip, Err(vec![REFUSES.to_owned()]));
        assert!(
            bench.told(|it| matches!(it, Notice::Failed { reasons, .. } if *reasons == [REFUSES]))
        );
        assert_eq!(bench.switch.phase(), Phase::Steady);
        assert_eq!(bench.switch.persisted(), before);
        // What is late for it is late.
        bench.gated(flip, Ok(()));
        bench.recorded(flip, Ok(()));
        assert_eq!(bench.active(), "blue");
    }

    #[test]
    fn a_failed_record_changes_nothing_and_says_again_what_is_in_force() {
        let mut bench = Bench::healthy();
        let flip = bench.flip("green").unwrap();
        bench.gated(flip, Ok(()));
        assert_eq!(bench.disk.as_ref().unwrap().active, slot("green"));
        bench.recorded(flip, Err("no space left on device".to_owned()));
        assert!(bench.told(|it| matches!(it, Notice::Failed { .. })));
        assert_eq!(bench.active(), "blue");
        assert_eq!(bench.switch.generation(), Generation(1));
        // The write may have reached the disk all the same.
        assert_eq!(bench.disk, Some(bench.switch.persisted()));
        bench.recorded(flip, Ok(()));
        assert_eq!(bench.active(), "blue");
        // The way is free again.
        bench.flip_done("green");
        assert_eq!(bench.active(), "green");
    }

    #[test]
    fn a_state_that_could_not_be_recorded_is_recorded_later() {
        let mut bench = Bench::healthy();
        let flip = bench.flip("green").unwrap();
        bench.gated(flip, Ok(()));
        bench.recorded(flip, Err("no space".to_owned()));
        let mut tries = 0;
        for _ in 0..60 {
            let reason = "no space".to_owned();
            bench.send(Event::Unrecorded { reason });
            bench.disk = None;
            bench.wait(Duration::from_secs(1));
            tries += u32::from(bench.disk.is_some());
        }
        // Not in a loop, and not never. (Every failure here puts the next try off.)
        assert!(tries <= 2, "{tries} tries");
        bench.disk = None;
        bench.wait(MINUTE);
        assert_eq!(bench.disk, Some(bench.switch.persisted()));
    }

    #[test]
    fn a_flip_to_the_active_slot_succeeds_and_changes_nothing() {
        let mut bench = Bench::healthy();
        let before = bench.switch.persisted();
        bench.command(flip_to("blue")).unwrap();
        assert_eq!(
            bench.effects,
            [Effect::Tell(Notice::Unchanged {
                slot: slot("blue"),
                generation: Generation(1),
            })]
        );
        assert_eq!(bench.switch.persisted(), before);
    }

    #[test]
    fn a_flip_to_an_unknown_slot_is_refused_with_the_slots_there_are() {
        let mut bench = Bench::healthy();
        let words = bench.flip("red").unwrap_err().to_string();
        assert_eq!(words, "there is no slot red; the slots are blue, green");
    }

    #[test]
    fn while_one_flip_is_under_way_a_second_is_refused_with_who_started_the_first() {
        let mut bench = Bench::with_health(rules(&["blue", "green", "red"]));
        let flip = bench.flip("green").unwrap();
        for stage in ["gating", "publishing"] {
            for to in ["red", "green", "blue"] {
                let words = bench.flip(to).unwrap_err().to_string();
                assert!(words.contains("uid 1000 (alice)"), "{words}");
                assert!(words.contains(stage), "{words}");
            }
            bench.rollback().unwrap_err();
            bench.gated(flip, Ok(()));
        }
        bench.recorded(flip, Ok(()));
        assert_eq!(bench.active(), "green");
    }

    #[test]
    fn while_generations_drain_the_next_flip_or_rollback_starts_at_once() {
        let mut bench = Bench::healthy();
        bench.flip("green").unwrap();
        bench.carry_out();
        bench.rollback().unwrap();
        bench.carry_out();
        assert_eq!(bench.active(), "blue");
        bench.flip("green").unwrap();
        bench.carry_out();
        let draining: Vec<_> = bench
            .switch
            .draining()
            .iter()
            .map(|it| it.generation.0)
            .collect();
        assert_eq!(draining, [1, 2, 3]);
        for generation in [2, 3] {
            let generation = Generation(generation);
            bench.send(Event::Drained { generation, cut: 0 });
            assert_eq!(bench.switch.phase(), Phase::Settling);
        }
        // Told twice, or never left: ignored.
        for generation in [3, 4, 99] {
            let generation = Generation(generation);
            bench.send(Event::Drained { generation, cut: 0 });
            assert_eq!(bench.effects, []);
        }
        bench.drain_all();
        assert_eq!(bench.switch.phase(), Phase::Steady);
    }

    #[test]
    fn a_flip_that_expects_another_generation_is_refused() {
        let mut bench = Bench::healthy();
        let expecting = |generation| Command::Flip {
            terms: Terms::default(),
            to: slot("green"),
            force: false,
            reason: None,
            expect: Some(Generation(generation)),
        };
        bench.command(expecting(2)).unwrap_err();
        bench.command(expecting(1)).unwrap();
        bench.carry_out();
        let words = bench.command(expecting(1)).unwrap_err().to_string();
        assert!(words.contains("2 is (on slot green)"), "{words}");
    }

    #[test]
    fn force_needs_a_reason_and_skips_the_gate() {
        let mut bench = Bench::healthy();
        for reason in [None, Some(String::new()), Some("  ".to_owned())] {
            let refused = bench.command(Command::Flip {
                terms: Terms::default(),
                to: slot("green"),
                force: true,
                reason,
                expect: None,
            });
            assert_eq!(refused, Err(Refusal::ForceNeedsReason));
        }
        let flip = bench.force("green");
        assert_eq!(bench.switch.phase(), Phase::Publishing);
        bench.recorded(flip, Ok(()));
        assert_eq!(bench.active(), "green");
    }

    #[test]
    fn a_rollback_goes_to_the_slot_that_was_active_before() {
        let mut bench = Bench::with_health(rules(&["blue", "green", "red"]));
        let words = bench.rollback().unwrap_err().to_string();
        assert!(words.contains("no slot was active before blue"), "{words}");
        bench.flip_done("red");
        bench.rollback().unwrap();
        bench.carry_out();
        assert_eq!(bench.active(), "blue");
        assert_eq!(bench.switch.previous(), Some(&slot("red")));
    }

    #[test]
    fn a_verdict_of_an_operation_that_ended_is_ignored() {
        let mut bench = Bench::healthy();
        let first = bench.flip("green").unwrap();
        bench.gated(first, Err(vec![]));
        let second = bench.flip("green").unwrap();
        assert!(second > first);
        bench.gated(first, Ok(()));
        bench.recorded(first, Ok(()));
        // Not written yet, so not acknowledged either.
        bench.recorded(second, Ok(()));
        assert_eq!(bench.switch.phase(), Phase::Gating);
        assert_eq!(bench.effects, []);
    }

    #[test]
    fn the_first_start_puts_the_initial_slot_on_disk() {
        let bench = Bench::new(rules(&["blue", "green"]));
        let mut edited = rules(&["blue", "green"]);
        edited.initial = slot("green");
        let again = Bench::resume(edited, bench.disk);
        assert_eq!(again.active(), "blue");
        assert_eq!(again.effects, []);
    }

    #[test]
    fn a_restart_goes_on_where_the_disk_says() {
        let mut bench = Bench::healthy();
        let first = bench.flip("green").unwrap();
        bench.carry_out();
        let mut again = Bench::resume(rules(&["blue", "green"]), bench.disk);
        assert_eq!(again.active(), "green");
        assert_eq!(again.switch.previous(), Some(&slot("blue")));
        assert_eq!(again.switch.generation(), Generation(2));
        assert_eq!(again.switch.warning(), None);
        assert!(again.rollback().unwrap() > first);
    }

    #[test]
    fn an_id_is_not_given_out_again_after_a_crash_in_the_gate() {
        let mut bench = Bench::healthy();
        let lost = bench.flip("green").unwrap();
        let mut again = Bench::resume(rules(&["blue", "green"]), bench.disk);
        assert!(again.flip("green").unwrap() > lost);
    }

    #[test]
    fn slots_that_are_gone_after_a_restart_are_forgotten() {
        let mut bench = Bench::healthy();
        bench.fails("blue");
        bench.carry_out();
        assert_eq!(bench.active(), "green");
        let disk = bench.disk;

        let again = Bench::resume(rules(&["red", "green"]), disk.clone());
        assert_eq!(again.active(), "green");
        assert_eq!(again.switch.previous(), None);
        assert_eq!(again.switch.persisted().quarantines, BTreeMap::new());
        assert_eq!(again.switch.warning(), None);

        let again = Bench::resume(rules(&["red", "blue"]), disk);
        assert_eq!(again.active(), "red");
        let words = again.switch.warning().unwrap();
        assert!(words.contains("slot green"), "{words}");
        assert!(words.contains("starts on red"), "{words}");
        assert_eq!(again.disk, Some(again.switch.persisted()));
        assert_eq!(again.switch.generation(), Generation(3));
    }

    #[test]
    fn the_slot_that_takes_over_from_one_that_is_gone_is_neither_previous_nor_in_quarantine() {
        let mut bench = Bench::healthy();
        bench.fails("blue");
        bench.carry_out();
        let again = Bench::resume(rules(&["blue", "red"]), bench.disk);
        assert_eq!(again.active(), "blue");
        assert_eq!(again.switch.previous(), None);
        assert_eq!(again.switch.quarantine(&slot("blue")), None);
    }

    #[test]
    fn editing_initial_never_moves_traffic() {
        let mut bench = Bench::healthy();
        let mut edited = rules(&["blue", "green"]);
        edited.initial = slot("green");
        bench.send(Event::Configured { rules: edited });
        assert_eq!(bench.effects, []);
        assert_eq!(bench.active(), "blue");
    }

    #[test]
    fn a_slot_with_traffic_cannot_be_taken_away() {
        let mut bench = Bench::with_health(rules(&["blue", "green", "red"]));
        let flip = bench.flip("green").unwrap();
        for (slots, gone) in [(["green", "red"], "blue"), (["blue", "red"], "green")] {
            let without = rules(&slots);
            let words = bench.switch.can_apply(&without).unwrap_err().to_string();
            assert!(words.starts_with(&format!("slot {gone} cannot")), "{words}");
            let refused = bench.try_send(Event::Configured { rules: without });
            refused.unwrap_err();
            assert_eq!(bench.switch.rules().slots.len(), 3);
        }
        bench.gated(flip, Err(vec![]));
        let without = rules(&["blue", "red"]);
        assert_eq!(bench.switch.can_apply(&without), Ok(()));
        bench.send(Event::Configured { rules: without });
        bench.flip("green").unwrap_err();
    }

    #[test]
    fn traffic_leaves_a_bad_slot_for_a_healthy_one_by_itself() {
        let mut bench = Bench::healthy();
        bench.fails("blue");
        let operation = bench.switch.operation().unwrap().clone();
        assert_eq!(operation.direction, Direction::Failback);
        assert_eq!(operation.by, Actor::itself());
        assert_eq!(operation.reason.as_deref(), Some(REFUSES));
        assert!(!bench.published());
        bench.recorded(operation.flip, Ok(()));
        assert!(bench.published());
        assert_eq!(bench.active(), "green");
        assert!(
            bench.told(
                |it| matches!(it, Notice::Quarantined { slot, .. } if slot.as_str() == "blue")
            )
        );
        assert!(
            bench
                .disk
                .as_ref()
                .unwrap()
                .quarantines
                .contains_key(&slot("blue"))
        );
    }

    #[test]
    fn with_several_slots_the_previous_one_comes_first_then_the_order_of_the_config() {
        let slots = ["blue", "green", "red", "white"];
        let mut bench = Bench::with_health(rules(&slots));
        bench.flip_done("red");
        bench.flip_done("white");
        bench.fails("white");
        bench.carry_out();
        assert_eq!(bench.active(), "red");

        let mut bench = Bench::with_health(rules(&slots));
        bench.flip_done("red");
        bench.flip_done("white");
        bench.fails("red");
        bench.health("blue", SlotHealth::Unknown);
        bench.fails("white");
        bench.carry_out();
        assert_eq!(bench.active(), "green");
    }

    #[test]
    fn between_two_bad_slots_nothing_moves_and_the_reason_is_told_once() {
        let mut bench = Bench::healthy();
        bench.health("green", unhealthy("HTTP 500"));
        bench.fails("blue");
        let words = "green is unhealthy too: HTTP 500";
        assert_eq!(bench.staying(), words);
        assert!(bench.told(|it| matches!(it, Notice::Staying { reason, .. } if reason == words)));
        bench.wait(MINUTE);
        assert_eq!(bench.notices(), Vec::<&Notice>::new());
        bench.health("green", unhealthy("timeout after 2s"));
        assert!(bench.told(|it| matches!(it, Notice::Staying { .. })));
        assert_eq!(bench.active(), "blue");
        bench.health("green", SlotHealth::Healthy);
        bench.carry_out();
        assert_eq!(bench.active(), "green");
        assert_eq!(bench.switch.staying(), None);
    }

    #[test]
    fn an_unproven_slot_is_never_moved_to_by_itself() {
        let mut bench = Bench::new(rules(&["blue", "green"]));
        bench.fails("blue");
        assert!(
            bench.staying().contains("not been probed enough"),
            "{}",
            bench.staying()
        );
    }

    #[test]
    fn while_what_the_slots_share_fails_nothing_moves() {
        let mut bench = Bench::healthy();
        let health = unhealthy("127.0.0.1:5432 refuses");
        bench.send(Event::Shared { health });
        bench.fails("blue");
        assert_eq!(
            bench.staying(),
            "what the slots share fails: 127.0.0.1:5432 refuses"
        );
        let health = SlotHealth::Healthy;
        bench.send(Event::Shared { health });
        bench.carry_out();
        assert_eq!(bench.active(), "green");
    }

    #[test]
    fn traffic_does_not_go_back_by_itself_while_the_slot_is_in_quarantine() {
        let mut bench = Bench::healthy();
        bench.fails("blue");
        bench.carry_out();
        bench.drain_all();
        bench.health("blue", SlotHealth::Healthy);
        bench.errs("green");
        let words = bench.staying().to_owned();
        assert!(words.contains("blue is in quarantine"), "{words}");
        assert!(words.contains("healthy for 5m"), "{words}");
        assert!(words.contains("switchctl ack blue"), "{words}");
        bench.wait(5 * MINUTE);
        assert_eq!(bench.active(), "green");
        bench
            .command(Command::Acknowledge { slot: slot("blue") })
            .unwrap();
        assert!(bench.told(|it| matches!(it, Notice::QuarantineEnded { .. })));
        bench.wait(2 * bench.switch.rules().round);
        bench.wait(2 * bench.switch.rules().round);
        bench.carry_out();
        assert_eq!(bench.active(), "blue");
    }

    #[test]
    fn a_quarantine_ends_after_unbroken_health_and_an_acknowledgement() {
        let mut bench = Bench::healthy();
        bench.fails("blue");
        bench.carry_out();
        let ends = |bench: &Bench| bench.switch.quarantine(&slot("blue")).map(|it| it.ends);
        bench
            .command(Command::Acknowledge { slot: slot("blue") })
            .unwrap();
        assert!(bench.told(|it| matches!(it, Notice::Acknowledged { by, .. } if *by == alice())));
        let unhealthy_now = "it must be healthy for 5m without a break (it is unhealthy now)";
        assert_eq!(ends(&bench).as_deref(), Some(unhealthy_now));
        bench.health("blue", SlotHealth::Healthy);
        bench.wait(4 * MINUTE);
        bench.fails("blue");
        bench.health("blue", SlotHealth::Healthy);
        assert!(
            bench
                .effects
                .contains(&Effect::WakeAt(bench.now.after(5 * MINUTE)))
        );
        bench.wait(4 * MINUTE);
        assert!(ends(&bench).is_some());
        bench.wait(MINUTE);
        assert_eq!(ends(&bench), None);
        assert_eq!(bench.disk, Some(bench.switch.persisted()));
        let again = bench.command(Command::Acknowledge { slot: slot("blue") });
        assert_eq!(again, Err(Refusal::NotQuarantined { slot: slot("blue") }));
    }

    #[test]
    fn a_quarantine_outlives_a_restart() {
        let mut bench = Bench::healthy();
        bench.fails("blue");
        bench.carry_out();
        let mut again = Bench::resume(rules(&["blue", "green"]), bench.disk);
        again.health("blue", SlotHealth::Healthy);
        again.errs("green");
        assert!(
            again.staying().contains("quarantine"),
            "{}",
            again.staying()
        );
    }

    #[test]
    fn an_operators_move_to_a_quarantined_slot_asks_first() {
        let mut bench = Bench::healthy();
        bench.fails("blue");
        bench.carry_out();
        for refused in [bench.flip("blue"), bench.rollback()] {
            let words = refused.unwrap_err().to_string();
            assert!(
                words.contains("blue has been in quarantine for "),
                "{words}"
            );
            assert!(words.contains("switchctl ack blue"), "{words}");
        }
        let canary = Command::Canary(CanaryOrder::Share {
            slot: Some(slot("blue")),
            share: Percent::of_percent(5.0),
            force: false,
            reason: None,
            terms: Terms::default(),
        });
        let refused = bench.command(canary);
        assert!(matches!(refused, Err(Refusal::Quarantined { .. })));
        assert!(!bench.switch.quarantine(&slot("blue")).unwrap().acknowledged);
        // In one step: with the move itself.
        let terms = Terms {
            acknowledge: true,
            ..Terms::default()
        };
        let command = Command::Flip {
            to: slot("blue"),
            force: false,
            reason: None,
            expect: None,
            terms,
        };
        bench.command(command).unwrap();
        assert_eq!(bench.switch.phase(), Phase::Gating);
        let flip = bench.switch.operation().unwrap().flip;
        bench.gated(flip, Err(vec!["still ill".to_owned()]));
        let quarantine = bench.switch.quarantine(&slot("blue")).unwrap();
        assert!(!quarantine.acknowledged, "nothing has changed");
    }

    #[test]
    fn an_acknowledged_quarantine_is_lifted_by_a_move_that_passes_the_gate() {
        let mut bench = Bench::healthy();
        bench.fails("blue");
        bench.carry_out();
        bench
            .command(Command::Acknowledge { slot: slot("blue") })
            .unwrap();
        let flip = bench.rollback().unwrap();
        assert_eq!(bench.switch.phase(), Phase::Gating);
        assert!(bench.switch.quarantine(&slot("blue")).is_some());
        bench.gated(flip, Ok(()));
        bench.recorded(flip, Ok(()));
        assert!(bench.told(|it| matches!(it, Notice::QuarantineEnded { .. })));
        assert_eq!(bench.active(), "blue");
        assert_eq!(bench.switch.quarantine(&slot("blue")), None);
    }

    #[test]
    fn an_acknowledgement_while_a_move_is_being_written_is_not_lost_and_never_undoes_the_move() {
        let mut bench = Bench::with_health(rules(&["blue", "green", "red"]));
        bench.fails("blue");
        bench.carry_out();
        let flip = bench.flip("red").unwrap();
        bench.gated(flip, Ok(()));
        bench
            .command(Command::Acknowledge { slot: slot("blue") })
            .unwrap();
        assert_eq!(bench.disk.as_ref().unwrap().active, slot("red"));
        bench.recorded(flip, Ok(()));
        let disk = bench.disk.unwrap();
        assert_eq!(disk.active, slot("red"));
        assert!(disk.quarantines[&slot("blue")].acknowledged);
    }

    #[test]
    fn no_more_than_max_moves_within_the_window() {
        let mut few = rules(&["blue", "green"]);
        few.failback.max_moves = 2;
        few.failback.quarantine = Duration::ZERO;
        few.failback.acknowledge = false;
        let mut bench = Bench::with_health(few);
        for (bad, other) in [("blue", "green"), ("green", "blue")] {
            bench.errs(bad);
            bench.carry_out();
            bench.drain_all();
            bench.health(bad, SlotHealth::Healthy);
            assert_eq!(bench.active(), other);
        }
        bench.errs("blue");
        assert_eq!(
            bench.staying(),
            "the limit of 2 automatic moves within 1h is reached"
        );
        assert_eq!(bench.switch.moves_in_window(), 2);
        bench.wait(59 * MINUTE);
        assert_eq!(bench.active(), "blue");
        bench.wait(MINUTE);
        bench.wait(bench.switch.rules().round);
        bench.carry_out();
        assert_eq!(bench.active(), "green");
    }

    #[test]
    fn after_flip_lets_traffic_go_back_only_while_it_is_watched() {
        let mut bench = Bench::with_health(after_flip(&["blue", "green"]));
        bench.fails("blue");
        assert!(
            bench.staying().contains("10m after a flip"),
            "{}",
            bench.staying()
        );
        bench.health("blue", SlotHealth::Healthy);
        bench.flip_done("green");
        assert_eq!(bench.switch.phase(), Phase::Settling);
        bench.wait(9 * MINUTE);
        bench.fails("green");
        bench.carry_out();
        assert_eq!(bench.active(), "blue");
    }

    #[test]
    fn the_watch_after_a_flip_ends_and_is_told() {
        let mut bench = Bench::with_health(after_flip(&["blue", "green"]));
        bench.flip_done("green");
        assert_eq!(bench.switch.phase(), Phase::Settling);
        bench.wait(10 * MINUTE);
        assert!(bench.told(|it| *it == Notice::Settled));
        bench.fails("green");
        assert_eq!(bench.active(), "green");
        assert!(!bench.staying().is_empty());
    }

    #[test]
    fn after_flip_moves_by_itself_at_most_once_per_flip() {
        let mut bench = Bench::with_health(after_flip(&["blue", "green", "red"]));
        bench.flip_done("green");
        bench.fails("green");
        bench.carry_out();
        bench.drain_all();
        assert_eq!(bench.active(), "blue");
        assert_eq!(bench.switch.phase(), Phase::Steady);
        bench.fails("blue");
        assert!(
            bench.staying().contains("once per flip"),
            "{}",
            bench.staying()
        );
    }

    #[test]
    fn the_watch_goes_on_after_a_restart() {
        let mut bench = Bench::with_health(after_flip(&["blue", "green"]));
        bench.flip_done("green");
        let mut again = Bench::resume(after_flip(&["blue", "green"]), bench.disk);
        again.health("blue", SlotHealth::Healthy);
        again.fails("green");
        again.carry_out();
        assert_eq!(again.active(), "blue");
    }

    #[test]
    fn with_failback_off_nothing_moves_by_itself() {
        let mut off = rules(&["blue", "green"]);
        off.failback.mode = FailbackMode::Off;
        let mut bench = Bench::with_health(off);
        bench.fails("blue");
        assert_eq!(bench.staying(), "failback is off");
    }

    #[test]
    fn an_operators_flip_that_is_gated_gives_way_when_traffic_must_leave_the_active_slot() {
        let mut bench = Bench::healthy();
        let flip = bench.flip("green").unwrap();
        bench.fails("blue");
        let operation = bench.switch.operation().unwrap();
        assert_eq!(operation.direction, Direction::Failback);
        assert!(operation.flip > flip);
        bench.carry_out();
        assert_eq!(bench.active(), "green");
        // Whatever the gate of the flip says now is nobody's business.
        bench.gated(flip, Ok(()));
        assert_eq!(bench.active(), "green");
    }

    /// It may be what saves the site.
    #[test]
    fn an_operators_flip_goes_on_while_traffic_has_nowhere_to_go_by_itself() {
        let mut bench = Bench::healthy();
        bench.fails("green");
        let flip = bench.flip("green").unwrap();
        bench.fails("blue");
        assert_eq!(bench.switch.operation().unwrap().flip, flip);
        bench.gated(flip, Ok(()));
        bench.carry_out();
        assert_eq!(bench.active(), "green");
    }

    #[test]
    fn failback_does_not_undo_what_an_operator_forced() {
        let mut bench = Bench::healthy();
        bench.fails("green");
        let flip = bench.force("green");
        bench.recorded(flip, Ok(()));
        assert_eq!(bench.active(), "green");
        assert!(bench.staying().contains("forced"), "{}", bench.staying());
        let mut again = Bench::resume(rules(&["blue", "green"]), bench.disk.clone());
        again.health("blue", SlotHealth::Healthy);
        again.fails("green");
        assert_eq!(again.active(), "green");
        // Once it has been well, it is a slot like any other.
        bench.health("green", SlotHealth::Healthy);
        bench.fails("green");
        bench.carry_out();
        assert_eq!(bench.active(), "blue");
    }

    #[test]
    fn a_verdict_from_before_the_gate_does_not_undo_the_flip() {
        let mut bench = Bench::healthy();
        bench.fails("green");
        bench.flip_done("green");
        assert_eq!(bench.active(), "green");
        assert!(
            bench.staying().contains("passed its gate"),
            "{}",
            bench.staying()
        );
        // The probes have the last word: at once when they speak, soon when they do not.
        let mut silent = Bench {
            switch: bench.switch.clone(),
            disk: None,
            effects: Vec::new(),
            ..bench
        };
        silent.wait(Duration::from_secs(10));
        assert_eq!(silent.switch.phase(), Phase::Publishing);
        bench.fails("green");
        assert_eq!(bench.switch.phase(), Phase::Publishing);
    }

    #[test]
    fn a_failback_that_cannot_be_recorded_is_tried_again_after_a_while() {
        let mut bench = Bench::healthy();
        bench.fails("blue");
        let mut tries = 0;
        for _ in 0..100 {
            if let Some(operation) = bench.switch.operation().cloned() {
                tries += 1;
                bench.recorded(operation.flip, Err("disk full".to_owned()));
                assert!(bench.staying().contains("disk full"), "{}", bench.staying());
            }
            bench.wait(Duration::from_secs(1));
        }
        assert!((20..40).contains(&tries), "{tries} tries in 100 s");
        bench.wait(MINUTE);
        bench.carry_out();
        assert_eq!(bench.active(), "green");
    }

    #[test]
    fn a_clock_that_was_set_back_over_a_restart_keeps_nothing_running_for_ever() {
        let mut bench = Bench::with_health(after_flip(&["blue", "green"]));
        bench.flip_done("green");
        let mut disk = bench.disk.unwrap();
        disk.moved = Some(Moment(u64::MAX - 5));
        let mut again = Bench::resume(after_flip(&["blue", "green"]), Some(disk));
        assert_eq!(again.switch.phase(), Phase::Settling);
        again.wait(10 * MINUTE);
        assert_eq!(again.switch.phase(), Phase::Steady);
        assert!(again.told(|it| *it == Notice::Settled));
    }

    #[test]
    fn a_wake_up_is_asked_for_once() {
        let mut bench = Bench::with_health(after_flip(&["blue", "green"]));
        bench.flip_done("green");
        for _ in 0..3 {
            bench.wait(MINUTE);
            assert_eq!(bench.effects, []);
        }
    }

    #[test]
    fn durations_read_as_an_operator_would_write_them() {
        let told: Vec<_> = [0, 5, 1_000, 90_000, 3_600_000, 5_400_500]
            .map(|millis| status::words(Duration::from_millis(millis)))
            .to_vec();
        assert_eq!(told, ["0s", "5ms", "1s", "1m30s", "1h", "1h30m500ms"]);
    }

    #[test]
    fn slots_that_start_together_with_the_daemon_are_waited_for_before_traffic_moves() {
        let mut rules = rules(&["blue", "green"]);
        rules.failback.start_grace = Duration::from_secs(30);
        let mut bench = Bench::new(rules);
        bench.health("green", SlotHealth::Healthy);
        bench.fails("blue");
        assert_eq!(bench.active(), "blue");
        assert!(bench.switch.staying().unwrap().contains("30s to become so"));
        bench.wait(Duration::from_secs(29));
        assert_eq!(bench.active(), "blue");
        bench.wait(Duration::from_secs(1));
        bench.carry_out();
        assert_eq!(bench.active(), "green", "a slot that never comes is left");
    }

    #[test]
    fn a_slot_that_was_healthy_once_since_the_start_has_no_grace() {
        let mut rules = rules(&["blue", "green"]);
        rules.failback.start_grace = Duration::from_secs(30);
        let mut bench = Bench::with_health(rules);
        bench.fails("blue");
        bench.carry_out();
        assert_eq!(bench.active(), "green");
    }
}
