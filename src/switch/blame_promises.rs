//! What is promised of faults that are not one slot's alone, one by one.

mod tests {
    use super::super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_mins(1);

    fn slot(name: &str) -> SlotName {
        SlotName::new(name).unwrap()
    }

    fn rules() -> Rules {
        Rules {
            slots: [slot("blue"), slot("green")].into(),
            initial: slot("blue"),
            failback: FailbackRules {
                mode: FailbackMode::Always,
                watch: 10 * MINUTE,
                quarantine: 5 * MINUTE,
                acknowledge: true,
                start_grace: Duration::ZERO,
                shared_grace: 30 * SECOND,
                max_moves: 3,
                window: 60 * MINUTE,
            },
            canary: CanaryRules::default(),
            round: 2 * SECOND,
            evidence: 30 * SECOND,
        }
    }

    fn trouble(kind: &str) -> Trouble {
        Trouble {
            reason: format!("http 127.0.0.1:1: {kind}"),
            kind: format!("{kind} on http"),
        }
    }

    fn errs(kind: &str) -> Said {
        Said::Failed(trouble(kind))
    }

    fn refuses() -> Said {
        Said::Unreachable {
            trouble: trouble("connection refused"),
            is_silent: false,
        }
    }

    fn is_silent() -> Said {
        Said::Unreachable {
            trouble: trouble("timeout after 2s"),
            is_silent: true,
        }
    }

    fn cannot_be_asked() -> Said {
        Said::Unasked {
            reason: "too many open files".to_owned(),
        }
    }

    /// A switch whose disk and drains do their part at once, and slots that say what they are told to.
    struct Bench {
        switch: Switch,
        now: Moment,
        slots: Answers,
        asked: u32,
        /// Questions get lost.
        is_deaf: bool,
        told: Vec<Notice>,
    }

    impl Bench {
        fn new() -> Self {
            Self::with(rules())
        }

        /// Blue and green have been well for a while, and traffic is on blue.
        fn with(rules: Rules) -> Self {
            let now = Moment(1_000_000_000);
            let well = Answer {
                said: Said::Passed,
                failing: None,
                well: Some(now),
            };
            let slots = rules.slots.iter().map(|slot| (slot.clone(), well.clone()));
            let mut bench = Self {
                slots: slots.collect(),
                switch: Switch::new(rules, None, now),
                now,
                asked: 0,
                is_deaf: false,
                told: Vec::new(),
            };
            bench.send(Event::Tick);
            bench.tell("blue");
            bench.tell("green");
            bench.wait(MINUTE);
            bench
        }

        fn send(&mut self, event: Event) {
            let mut events = vec![event];
            while let Some(event) = events.pop() {
                for effect in self.switch.apply(self.now, event).unwrap() {
                    match effect {
                        Effect::Record(transition) => {
                            events.extend(transition.operation.map(|it| Event::Recorded {
                                flip: it.flip,
                                result: Ok(()),
                            }));
                        }
                        Effect::Drain { generation, .. } => {
                            events.push(Event::Drained { generation, cut: 0 });
                        }
                        Effect::Ask(ask) => {
                            self.asked += 1;
                            if !self.is_deaf {
                                let answers = self.slots.clone();
                                events.push(Event::Answered { ask, answers });
                            }
                        }
                        Effect::RunGate { flip, .. } => events.push(Event::Gated {
                            flip,
                            verdict: Ok(Passed::default()),
                        }),
                        Effect::Tell(notice) => self.told.push(notice),
                        Effect::Publish { .. } | Effect::Share { .. } | Effect::WakeAt(_) => {}
                    }
                }
            }
        }

        /// From now on a slot says this when it is asked; what was told of it stays as it was.
        fn says(&mut self, name: &str, said: Said) {
            let now = self.now;
            let answer = self.slots.get_mut(&slot(name)).unwrap();
            if said == Said::Passed {
                answer.well = Some(now);
            } else if said.trouble().is_some() {
                let since = answer.failing.map_or(now, |it| it.since);
                let since = if answer.said == Said::Passed {
                    now
                } else {
                    since
                };
                answer.failing = Some(Stretch { since, last: now });
            }
            answer.said = said;
        }

        /// It passes, but has not done so often enough to be well again.
        fn passes_once(&mut self, name: &str) {
            self.slots.get_mut(&slot(name)).unwrap().said = Said::Passed;
        }

        /// The probes agree with what it says.
        fn tell(&mut self, name: &str) {
            let slot = slot(name);
            let health = match &self.slots[&slot].said {
                Said::Passed => SlotHealth::Healthy,
                Said::Failed(trouble) | Said::Unreachable { trouble, .. } => {
                    let reason = trouble.reason.clone();
                    SlotHealth::Unhealthy { reason }
                }
                Said::Unasked { .. } => return,
            };
            self.send(Event::Health { slot, health });
        }

        fn becomes(&mut self, name: &str, said: Said) {
            self.says(name, said);
            self.tell(name);
        }

        /// In steps, as probes and wake-ups come; a slot that fails goes on failing its checks, and one that
        /// passes goes on passing.
        fn wait(&mut self, time: Duration) {
            let end = self.now.after(time);
            while self.now < end {
                self.now = self.now.after(SECOND / 4).min(end);
                for answer in self.slots.values_mut() {
                    match (&answer.said, &mut answer.failing) {
                        (Said::Failed(_) | Said::Unreachable { .. }, Some(failing)) => {
                            failing.last = self.now;
                        }
                        (Said::Passed, failing) => {
                            let is_over = failing.is_none_or(|it| it.last.after(SECOND) < self.now);
                            if is_over {
                                answer.well = Some(self.now);
                            }
                        }
                        _ => {}
                    }
                }
                self.send(Event::Tick);
            }
        }

        fn judged(&mut self, breach: Option<&str>) {
            let generation = self.switch.generation();
            let breach = breach.map(str::to_owned);
            self.send(Event::Judged { generation, breach });
        }

        fn flip(&mut self, to: &str) {
            self.order(to, Terms::default());
        }

        fn order(&mut self, to: &str, terms: Terms) {
            let command = Command::Flip {
                to: slot(to),
                force: false,
                reason: None,
                expect: None,
                terms,
            };
            let by = Actor("alice".to_owned());
            self.send(Event::Command { by, command });
            assert_eq!(self.active(), to);
        }

        fn active(&self) -> &str {
            self.switch.active().as_str()
        }

        fn staying(&self) -> &str {
            self.switch.staying().unwrap_or_default()
        }

        fn is_quarantined(&self, name: &str) -> bool {
            self.switch.quarantine(&slot(name)).is_some()
        }

        #[track_caller]
        fn stays(&self, name: &str, words: &str) {
            assert_eq!(self.active(), name, "{}", self.staying());
            assert!(self.staying().contains(words), "{}", self.staying());
            assert!(!self.is_quarantined("blue") && !self.is_quarantined("green"));
        }
    }

    #[test]
    fn a_slot_that_refuses_is_left_as_soon_as_it_was_asked_afresh() {
        let mut bench = Bench::new();
        bench.becomes("blue", refuses());
        assert_eq!((bench.active(), bench.asked), ("green", 1));
        assert!(bench.is_quarantined("blue"));
    }

    #[test]
    fn a_question_that_got_lost_is_asked_again() {
        let mut bench = Bench::new();
        bench.is_deaf = true;
        bench.becomes("blue", refuses());
        bench.wait(5 * SECOND);
        assert_eq!((bench.active(), bench.asked), ("blue", 1));
        bench.is_deaf = false;
        bench.wait(MINUTE);
        assert_eq!((bench.active(), bench.asked), ("green", 2));
    }

    #[test]
    fn a_slot_that_passes_when_it_is_asked_afresh_is_not_left() {
        let mut bench = Bench::new();
        bench.says("blue", errs("HTTP 503"));
        bench.says("blue", Said::Passed);
        let health = SlotHealth::Unhealthy {
            reason: "HTTP 503".to_owned(),
        };
        let slot = slot("blue");
        bench.send(Event::Health { slot, health });
        bench.stays("blue", "blue passes its checks when asked again");
        let calls_somebody = |it: &Notice| matches!(it, Notice::Staying { .. });
        assert!(!bench.told.iter().any(calls_somebody));
        bench.wait(10 * SECOND);
        assert!(bench.asked >= 4, "it is asked again in each round");
        bench.becomes("blue", refuses());
        assert_eq!(bench.active(), "green");
    }

    #[test]
    fn a_target_that_was_told_healthy_and_fails_now_is_no_target() {
        for (words, said) in [
            ("both fail with HTTP 404 on http", errs("HTTP 404")),
            ("both fail (HTTP 404 on http; timeout", is_silent()),
        ] {
            let mut bench = Bench::new();
            bench.says("green", said);
            bench.becomes("blue", errs("HTTP 404"));
            bench.wait(MINUTE);
            bench.stays("blue", words);
            bench.stays("blue", "look at the database");
            assert_eq!(bench.switch.shared_cause(), bench.switch.staying());
            bench.becomes("blue", Said::Passed);
            assert_eq!(bench.switch.shared_cause(), None);
        }
    }

    #[test]
    fn a_slot_that_is_gone_shares_nothing_with_one_that_fails_otherwise() {
        let mut bench = Bench::new();
        bench.says("green", refuses());
        bench.becomes("blue", errs("HTTP 500"));
        bench.wait(MINUTE);
        bench.stays("blue", "green is unhealthy too");
        assert_eq!(bench.switch.shared_cause(), None);
    }

    #[test]
    fn two_slots_that_failed_long_apart_are_not_said_to_share_a_cause() {
        let mut bench = Bench::new();
        bench.becomes("green", refuses());
        bench.wait(10 * MINUTE);
        bench.becomes("blue", errs("HTTP 500"));
        bench.stays(
            "blue",
            "green is unhealthy too: http 127.0.0.1:1: connection refused",
        );
        assert_eq!(bench.switch.shared_cause(), None);
    }

    #[test]
    fn a_slot_that_answers_badly_is_left_when_two_askings_a_round_apart_agree() {
        for said in [errs("HTTP 500"), is_silent()] {
            let mut bench = Bench::new();
            bench.becomes("blue", said.clone());
            bench.wait(SECOND);
            assert_eq!(bench.active(), "blue");
            // The other one had a bad moment too: it begins anew.
            bench.says("green", errs("HTTP 500"));
            bench.wait(2 * SECOND);
            assert_eq!(bench.active(), "blue");

            let mut bench = Bench::new();
            bench.becomes("blue", said);
            bench.wait(3 * SECOND);
            assert_eq!((bench.active(), bench.asked), ("green", 2));
            assert!(bench.is_quarantined("blue"));
        }
    }

    #[test]
    fn the_slot_that_recovers_first_from_what_both_met_gets_no_traffic() {
        let mut bench = Bench::new();
        for name in ["green", "blue"] {
            bench.becomes(name, errs("HTTP 404"));
        }
        bench.wait(8 * SECOND);
        bench.becomes("green", Said::Passed);
        bench.wait(10 * SECOND);
        bench.stays("blue", "blue may only be slower to recover");
        bench.passes_once("blue");
        bench.wait(SECOND);
        bench.becomes("blue", Said::Passed);
        assert_eq!(bench.staying(), "");
        // The grace is over with that: what dies now dies alone.
        bench.wait(SECOND);
        bench.becomes("blue", refuses());
        assert_eq!(bench.active(), "green");
        assert!(bench.is_quarantined("blue"));
    }

    #[test]
    fn one_failed_probe_of_the_target_meanwhile_is_a_sign_of_a_common_cause() {
        let mut bench = Bench::new();
        bench.says("green", errs("HTTP 404"));
        bench.says("green", Said::Passed);
        bench.wait(SECOND);
        bench.slots.get_mut(&slot("blue")).unwrap().well = None;
        bench.becomes("blue", errs("HTTP 404"));
        bench.wait(5 * SECOND);
        bench.stays("blue", "green failed too, until");
    }

    #[test]
    fn the_grace_after_a_common_failure_ends() {
        let mut bench = Bench::new();
        for name in ["green", "blue"] {
            bench.becomes(name, errs("HTTP 404"));
        }
        bench.wait(MINUTE);
        bench.becomes("green", Said::Passed);
        bench.wait(29 * SECOND);
        bench.stays("blue", "slower to recover");
        bench.wait(5 * SECOND);
        assert_eq!(bench.active(), "green");
        assert!(bench.is_quarantined("blue"), "green has been well for long");
    }

    #[test]
    fn a_slot_that_nobody_can_reach_is_left_in_the_grace_too_and_is_not_blamed() {
        for said in [refuses(), is_silent()] {
            let mut bench = Bench::new();
            for name in ["green", "blue"] {
                bench.becomes(name, errs("HTTP 404"));
            }
            bench.becomes("green", Said::Passed);
            bench.becomes("blue", said);
            bench.stays("blue", "");
            bench.wait(3 * SECOND);
            assert_eq!(bench.active(), "green");
            assert!(!bench.is_quarantined("blue"));
        }
    }

    #[test]
    fn what_is_configured_as_shared_opens_the_grace_when_it_is_back() {
        let mut bench = Bench::new();
        let shared = |health| Event::Shared { health };
        let reason = "127.0.0.1:5432: connection refused".to_owned();
        bench.send(shared(SlotHealth::Unhealthy { reason }));
        bench.becomes("blue", refuses());
        bench.wait(MINUTE);
        bench.stays("blue", "what the slots share fails: 127.0.0.1:5432");
        bench.says("blue", errs("HTTP 404"));
        bench.send(shared(SlotHealth::Healthy));
        bench.wait(20 * SECOND);
        bench.stays("blue", "what the slots share was away");
        bench.wait(20 * SECOND);
        assert_eq!(bench.active(), "green");
    }

    #[test]
    fn an_active_slot_that_nobody_can_reach_beats_a_quarantine() {
        let mut bench = Bench::new();
        bench.becomes("blue", refuses());
        assert_eq!(bench.active(), "green");
        bench.becomes("blue", Said::Passed);
        bench.wait(MINUTE);
        bench.becomes("green", errs("HTTP 500"));
        bench.wait(10 * SECOND);
        assert_eq!(bench.active(), "green");
        assert!(
            bench.staying().contains("blue is in quarantine"),
            "it answers"
        );
        bench.becomes("green", refuses());
        bench.wait(SECOND);
        assert_eq!(bench.active(), "blue");
        assert!(!bench.is_quarantined("blue") && bench.is_quarantined("green"));
    }

    #[test]
    fn an_active_slot_that_nobody_can_reach_beats_the_limit_of_moves_with_a_pause() {
        let mut few = rules();
        few.failback.max_moves = 1;
        let mut bench = Bench::with(few);
        bench.becomes("blue", refuses());
        assert_eq!(bench.active(), "green");
        bench.becomes("blue", Said::Passed);
        bench.becomes("green", refuses());
        bench.wait(3 * SECOND);
        assert_eq!(bench.active(), "green");
        assert!(bench.staying().contains("moved by itself just now"));
        bench.wait(4 * SECOND);
        assert_eq!(bench.active(), "blue");
    }

    #[test]
    fn what_an_operator_said_holds_a_slot_that_nobody_can_reach() {
        let off = |change: fn(&mut FailbackRules)| {
            let mut rules = rules();
            change(&mut rules.failback);
            rules
        };
        for (rules, words) in [
            (off(|it| it.mode = FailbackMode::Off), "failback is off"),
            (off(|it| it.max_moves = 0), "the limit of 0 automatic moves"),
            (
                off(|it| it.mode = FailbackMode::AfterFlip),
                "failback is limited to 10m after a flip",
            ),
        ] {
            let mut bench = Bench::with(rules);
            bench.becomes("blue", refuses());
            bench.wait(MINUTE);
            bench.stays("blue", words);
        }
    }

    #[test]
    fn nothing_moves_while_we_cannot_ask() {
        let mut bench = Bench::new();
        bench.becomes("blue", errs("HTTP 500"));
        bench.says("blue", cannot_be_asked());
        bench.wait(MINUTE);
        bench.stays("blue", "switchd itself cannot ask blue now");
        bench.stays("blue", "too many open files");

        let mut bench = Bench::new();
        bench.says("green", cannot_be_asked());
        bench.becomes("blue", refuses());
        bench.wait(MINUTE);
        bench.stays("blue", "switchd itself cannot ask green now");
        bench.says("green", Said::Passed);
        bench.wait(3 * SECOND);
        assert_eq!(bench.active(), "green");
    }

    #[test]
    fn a_slot_that_is_not_there_is_no_target_and_an_active_one_is_left() {
        let absent = |bench: &mut Bench, name: &str| {
            bench.says(name, refuses());
            let reason = format!("http {name}:80: no such name");
            let health = SlotHealth::Absent { reason };
            let slot = slot(name);
            bench.send(Event::Health { slot, health });
        };
        let mut bench = Bench::new();
        absent(&mut bench, "green");
        bench.wait(10 * MINUTE);
        bench.becomes("blue", errs("HTTP 500"));
        bench.wait(10 * SECOND);
        bench.stays("blue", "green is unhealthy too");

        let mut bench = Bench::new();
        absent(&mut bench, "blue");
        assert_eq!(bench.active(), "green");
    }

    #[test]
    fn a_breach_moves_nothing_to_a_slot_that_does_not_answer_now_or_failed_lately() {
        let breach = Some("30 of 100 requests failed");
        let mut bench = Bench::new();
        bench.flip("green");
        bench.says("blue", refuses());
        bench.judged(breach);
        bench.wait(5 * SECOND);
        bench.stays("green", "blue");
        // It was away, and so was what made the requests fail, perhaps.
        bench.becomes("blue", Said::Passed);
        bench.wait(20 * SECOND);
        bench.stays("green", "blue failed its checks too until");
        bench.judged(None);
        assert_eq!(bench.staying(), "");
        bench.wait(MINUTE);
        bench.judged(breach);
        assert_eq!(bench.active(), "blue");
        assert!(bench.is_quarantined("green"));
    }

    #[test]
    fn a_breach_that_outlasts_the_doubt_moves_traffic_back() {
        let mut bench = Bench::new();
        bench.flip("green");
        bench.becomes("blue", errs("HTTP 404"));
        bench.becomes("blue", Said::Passed);
        bench.judged(Some("30 of 100 requests failed"));
        bench.wait(29 * SECOND);
        bench.stays("green", "may be the fault of what the slots share");
        bench.wait(5 * SECOND);
        assert_eq!(bench.active(), "blue");
    }

    #[test]
    fn a_move_that_nobody_confirmed_goes_back_to_a_slot_that_answers_now_only() {
        let mut bench = Bench::new();
        let terms = Terms {
            confirm_within: Some(MINUTE),
            ..Terms::default()
        };
        bench.order("green", terms);
        bench.says("blue", refuses());
        bench.wait(2 * MINUTE);
        bench.stays(
            "green",
            "not confirmed within 1m, but blue fails when asked now",
        );
        bench.says("blue", Said::Passed);
        bench.wait(3 * SECOND);
        assert_eq!(bench.active(), "blue");
    }

    #[test]
    fn a_canary_that_fails_as_the_active_slot_does_goes_on_and_is_not_blamed() {
        let canary = |bench: &mut Bench| {
            let by = Actor("alice".to_owned());
            let order = CanaryOrder::Share {
                slot: Some(slot("green")),
                share: Some("5%".parse().unwrap()),
                force: false,
                reason: None,
                terms: Terms::default(),
            };
            let command = Command::Canary(order);
            bench.send(Event::Command { by, command });
            assert!(bench.switch.canary().is_some());
        };
        let mut bench = Bench::new();
        canary(&mut bench);
        bench.says("blue", errs("HTTP 404"));
        bench.becomes("green", errs("HTTP 404"));
        bench.wait(8 * SECOND);
        bench.says("blue", Said::Passed);
        bench.wait(8 * SECOND);
        assert!(bench.switch.canary().is_some());
        bench.becomes("green", Said::Passed);
        bench.wait(MINUTE);
        assert!(!bench.is_quarantined("green"));

        let mut bench = Bench::new();
        canary(&mut bench);
        bench.becomes("green", errs("HTTP 404"));
        bench.wait(3 * SECOND);
        assert_eq!(bench.switch.canary(), None);
        assert!(bench.is_quarantined("green"));
    }
}
