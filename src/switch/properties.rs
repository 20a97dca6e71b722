//! What holds whatever happens, in whatever order: random events, failing disks and restarts.

mod tests {
    use super::super::afresh::as_told;
    use super::super::*;
    use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
    use proptest::sample::Index;
    use std::collections::BTreeMap;
    use std::collections::BTreeSet;
    use std::time::Duration;

    const SLOTS: [&str; 4] = ["blue", "green", "red", "white"];
    const SECOND: Duration = Duration::from_secs(1);
    const GRACE: Duration = Duration::from_secs(15);

    #[derive(Debug, Clone)]
    enum Step {
        Flip {
            to: SlotName,
            force: bool,
            expect: Option<u64>,
            terms: Terms,
        },
        Rollback(Terms),
        Confirm,
        Cancel,
        /// The watch finds the active slot too bad, or not.
        Judged(bool),
        Acknowledge(SlotName),
        Canary(CanaryOrder),
        /// Somebody came to the canary of this generation.
        Came(u64),
        Label(SlotName, Option<u8>),
        /// The gate of the latest operation but `age` answers.
        Gated {
            age: u64,
            passed: bool,
            /// Of the database, where the gate looks at it.
            database: Option<u8>,
        },
        /// What the disk has yet to answer is delivered.
        Answered,
        /// An acknowledgement that nobody asked for.
        Invented(u64),
        Drained(Index),
        Health(SlotName, SlotHealth),
        Shared(SlotHealth),
        /// The slots say this, in the order of their names, when they were asked.
        Heard(Vec<Spoken>),
        Wait(Duration),
        Disk(Disk),
        Configured(Rules),
        Restart,
    }

    /// What a slot says, and what its checks found before.
    #[derive(Debug, Clone)]
    struct Spoken {
        said: Said,
        failed_ago: Option<Duration>,
        well_ago: Option<Duration>,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Disk {
        Good,
        /// Nothing reaches it.
        Fails,
        /// It arrives, and an error is told all the same.
        Lies,
    }

    fn slot() -> impl Strategy<Value = SlotName> {
        (0..SLOTS.len()).prop_map(|at| SlotName::new(SLOTS[at]).unwrap())
    }

    fn health() -> impl Strategy<Value = SlotHealth> {
        prop_oneof![
            4 => Just(SlotHealth::Healthy),
            4 => (0..2).prop_map(|n| SlotHealth::Unhealthy { reason: format!("HTTP 50{n}") }),
            1 => Just(SlotHealth::Unknown),
        ]
    }

    fn spoken() -> impl Strategy<Value = Spoken> {
        let trouble = || Trouble {
            reason: "http 127.0.0.1:1: HTTP 500".to_owned(),
            kind: "HTTP 500 on http".to_owned(),
        };
        let said = prop_oneof![
            4 => Just(Said::Passed),
            2 => Just(Said::Failed(trouble())),
            4 => any::<bool>().prop_map(move |is_silent| Said::Unreachable { trouble: trouble(), is_silent }),
            1 => Just(Said::Unasked { reason: "too many open files".to_owned() }),
        ];
        let ago = || proptest::option::of((0..60_000_u64).prop_map(Duration::from_millis));
        (said, ago(), ago()).prop_map(|(said, failed_ago, well_ago)| Spoken {
            said,
            failed_ago,
            well_ago,
        })
    }

    fn mode() -> impl Strategy<Value = FailbackMode> {
        prop_oneof![
            3 => Just(FailbackMode::Always),
            2 => Just(FailbackMode::AfterFlip),
            1 => Just(FailbackMode::Off),
        ]
    }

    /// Windows and limits do not change within a run, so that the test can count on its own.
    fn rules() -> impl Strategy<Value = Rules> {
        let slots = proptest::sample::subsequence(SLOTS.to_vec(), 2..=SLOTS.len());
        (slots, any::<Index>(), mode(), any::<bool>(), steps()).prop_map(
            |(names, initial, mode, acknowledge, steps)| {
                let slots: Vec<_> = names
                    .iter()
                    .map(|name| SlotName::new(name).unwrap())
                    .collect();
                Rules {
                    initial: initial.get(&slots).clone(),
                    slots,
                    failback: FailbackRules {
                        mode,
                        watch: 40 * SECOND,
                        quarantine: 20 * SECOND,
                        acknowledge,
                        start_grace: 5 * SECOND,
                        shared_grace: GRACE,
                        max_moves: 3,
                        window: 120 * SECOND,
                    },
                    canary: CanaryRules {
                        steps,
                        idle: 60 * SECOND,
                        is_judged: false,
                    },
                    round: Duration::from_secs(2),
                    evidence: Duration::ZERO,
                }
            },
        )
    }

    fn share() -> impl Strategy<Value = Percent> {
        (0..=4_u8).prop_map(|part| Percent::of_percent(f64::from(part) * 25.0).unwrap())
    }

    fn steps() -> impl Strategy<Value = Vec<CanaryStep>> {
        let lasting = share().prop_map(|share| CanaryStep::Share {
            share,
            lasts: Some(20 * SECOND),
        });
        let shares = proptest::collection::vec(lasting, 0..3);
        (shares, any::<bool>()).prop_map(|(mut steps, promotes)| {
            if promotes && !steps.is_empty() {
                steps.push(CanaryStep::Promote);
            }
            steps
        })
    }

    fn canary() -> impl Strategy<Value = CanaryOrder> {
        let reason = || Some("because".to_owned());
        let slot_or_none = || proptest::option::weighted(0.7, slot());
        let part = proptest::option::weighted(0.8, share());
        prop_oneof![
            6 => (slot_or_none(), part, any::<bool>()).prop_map(move |(slot, share, force)| {
                CanaryOrder::Share { slot, share, force, reason: reason(), terms: Terms::default() }
            }),
            1 => any::<bool>().prop_map(move |force| {
                CanaryOrder::Promote { slot: None, force, reason: reason() }
            }),
            2 => Just(CanaryOrder::Abort { slot: None, reason: None }),
        ]
    }

    fn terms() -> impl Strategy<Value = Terms> {
        let within = proptest::option::weighted(0.3, (1..60_u64).prop_map(Duration::from_secs));
        (within, any::<bool>()).prop_map(|(confirm_within, accept_schema_change)| Terms {
            confirm_within,
            accept_schema_change,
            ..Terms::default()
        })
    }

    fn step() -> impl Strategy<Value = Step> {
        let expect = proptest::option::weighted(0.2, 1..6_u64);
        prop_oneof![
            8 => (slot(), any::<bool>(), expect, terms()).prop_map(|(to, force, expect, terms)| Step::Flip { to, force, expect, terms }),
            3 => terms().prop_map(Step::Rollback),
            2 => Just(Step::Confirm),
            4 => any::<bool>().prop_map(Step::Judged),
            3 => slot().prop_map(Step::Acknowledge),
            8 => canary().prop_map(Step::Canary),
            2 => Just(Step::Cancel),
            1 => (0..9_u64).prop_map(Step::Came),
            2 => (slot(), any::<Option<u8>>()).prop_map(|(slot, label)| Step::Label(slot, label)),
            8 => (0..3_u64, any::<bool>(), proptest::option::of(0..2_u8))
                .prop_map(|(age, passed, database)| Step::Gated { age, passed, database }),
            12 => Just(Step::Answered),
            2 => (0..20_u64).prop_map(Step::Invented),
            5 => any::<Index>().prop_map(Step::Drained),
            14 => (slot(), health()).prop_map(|(slot, health)| Step::Health(slot, health)),
            2 => health().prop_map(Step::Shared),
            20 => proptest::collection::vec(spoken(), SLOTS.len()).prop_map(Step::Heard),
            10 => (1..30_000_u64).prop_map(|millis| Step::Wait(Duration::from_millis(millis))),
            2 => prop_oneof![4 => Just(Disk::Good), 1 => Just(Disk::Fails), 1 => Just(Disk::Lies)].prop_map(Step::Disk),
            2 => rules().prop_map(Step::Configured),
            1 => Just(Step::Restart),
        ]
    }

    /// A switch, and what the test knows of it by its own account.
    struct World {
        switch: Switch,
        now: Moment,
        disk: Disk,
        ever_failed: bool,
        stored: Option<Persisted>,
        answers: Vec<Event>,
        /// Written, and not answered as failed.
        acknowledged: Option<FlipId>,
        /// Where traffic goes, by what was published or resumed.
        traffic: SlotName,
        generation: Generation,
        /// Where some of the new visitors go.
        canary: Option<(SlotName, Generation)>,
        /// What is to be drained, for somebody may be there.
        left: BTreeSet<Generation>,
        flip: FlipId,
        health: BTreeMap<SlotName, SlotHealth>,
        shared: SlotHealth,
        automatic: Vec<Moment>,
        since_operator: u32,
        /// The generation that the watch finds too bad.
        breach: Option<Generation>,
        /// The question that is open.
        asked: Option<AskId>,
        /// The last two answers, the later one last; the step that brings one may move traffic by it.
        heard: [Answers; 2],
        is_fresh: bool,
        shared_was_away: Option<Moment>,
    }

    impl World {
        fn new(rules: Rules) -> Self {
            let now = Moment(1_000_000);
            let traffic = rules.initial.clone();
            let mut world = Self {
                switch: Switch::new(rules, None, now),
                now,
                disk: Disk::Good,
                ever_failed: false,
                stored: None,
                answers: Vec::new(),
                acknowledged: None,
                traffic,
                generation: Generation(1),
                canary: None,
                left: BTreeSet::new(),
                flip: FlipId(0),
                health: BTreeMap::new(),
                shared: SlotHealth::Unknown,
                automatic: Vec::new(),
                since_operator: 0,
                breach: None,
                asked: None,
                heard: <[Answers; 2]>::default(),
                is_fresh: false,
                shared_was_away: None,
            };
            world.send(Event::Tick);
            world
        }

        #[allow(
            clippy::too_many_lines,
            reason = "one line or two for each kind of step"
        )]
        fn take(&mut self, step: Step) {
            self.is_fresh = false;
            match step {
                Step::Flip {
                    to,
                    force,
                    expect,
                    terms,
                } => self.command(Command::Flip {
                    terms,
                    to,
                    force,
                    reason: Some("because".to_owned()),
                    expect: expect.map(Generation),
                }),
                Step::Confirm => self.command(Command::Confirm),
                Step::Cancel => self.command(Command::Cancel { reason: None }),
                Step::Judged(bad) => {
                    let generation = self.switch.generation();
                    let breach = bad.then(|| "too bad".to_owned());
                    self.breach = bad.then_some(generation);
                    self.send(Event::Judged { generation, breach });
                }
                Step::Rollback(terms) => self.command(Command::Rollback {
                    terms,
                    force: false,
                    reason: None,
                }),
                Step::Canary(order) => self.command(Command::Canary(order)),
                Step::Came(generation) => {
                    let generation = Generation(generation);
                    self.send(Event::Canary(CanaryEvent::Seen(generation)));
                    let judgement = Judgement::Breach("too slow".to_owned());
                    let judged = CanaryEvent::Judged {
                        generation,
                        judgement,
                    };
                    self.send(Event::Canary(judged));
                }
                Step::Acknowledge(slot) => self.command(Command::Acknowledge { slot }),
                Step::Label(slot, label) => {
                    let label = label.map(|version| Label::new(&format!("v{version}")).unwrap());
                    self.command(Command::Label { slot, label });
                }
                Step::Gated {
                    age,
                    passed,
                    database,
                } => self.gated(age, passed, database),
                Step::Answered => self.deliver_answers(),
                Step::Invented(flip) => self.invented(FlipId(flip)),
                Step::Drained(which) => {
                    let generation = Generation(which.index(12) as u64);
                    self.send(Event::Drained { generation, cut: 1 });
                }
                Step::Health(slot, health) => {
                    if self.switch.rules().slots.contains(&slot) {
                        self.health.insert(slot.clone(), health.clone());
                    }
                    self.send(Event::Health { slot, health });
                }
                Step::Heard(spoken) => {
                    let before = |ago: Duration| {
                        Moment(self.now.0 - u64::try_from(ago.as_millis()).unwrap())
                    };
                    let names = SLOTS.map(|name| SlotName::new(name).unwrap());
                    let answers = spoken.into_iter().map(|it| Answer {
                        said: it.said,
                        failing: it
                            .failed_ago
                            .map(before)
                            .map(|last| Stretch { since: last, last }),
                        well: it.well_ago.map(before),
                    });
                    self.hear(names.into_iter().zip(answers).collect());
                }
                Step::Shared(health) => {
                    if [&self.shared, &health]
                        .iter()
                        .any(|it| it.trouble().is_some())
                    {
                        self.shared_was_away = Some(self.now);
                    }
                    self.shared = health.clone();
                    self.send(Event::Shared { health });
                }
                Step::Wait(wait) => {
                    self.now = self.now.after(wait);
                    self.send(Event::Tick);
                }
                Step::Disk(disk) => self.disk = disk,
                Step::Configured(rules) => self.configure(rules),
                Step::Restart => self.restart(),
            }
        }

        fn command(&mut self, command: Command) {
            let busy = matches!(self.switch.phase(), Phase::Gating | Phase::Publishing);
            let moves = matches!(
                command,
                Command::Flip { .. } | Command::Rollback { .. } | Command::Canary(_)
            );
            let before = self.switch.persisted();
            let phase = self.switch.phase();
            let event = Event::Command {
                by: Actor("somebody".to_owned()),
                command,
            };
            match self.try_send(event) {
                Ok(()) => assert!(!(busy && moves), "two at a time"),
                Err(refusal) => {
                    let is_busy = matches!(refusal, Refusal::Busy { .. });
                    assert!(!is_busy || (busy && moves), "refused as busy in {phase:?}");
                    assert_eq!(
                        self.switch.persisted(),
                        before,
                        "a refusal changed something"
                    );
                    assert_eq!(self.switch.phase(), phase);
                }
            }
        }

        fn hear(&mut self, answers: Answers) {
            let Some(ask) = self.asked.take() else {
                return;
            };
            self.heard.swap(0, 1);
            self.heard[1] = answers.clone();
            self.is_fresh = true;
            self.send(Event::Answered { ask, answers });
            self.is_fresh = false;
        }

        /// What was asked is a matter of the past with a new life, and so is what was agreed.
        fn forget_answers(&mut self) {
            self.asked = None;
            self.heard = <[Answers; 2]>::default();
            self.shared_was_away = None;
        }

        fn gated(&mut self, age: u64, passed: bool, database: Option<u8>) {
            let verdict = if passed {
                let fingerprint = database.map(|it| it.to_string());
                Ok(Passed {
                    fingerprint,
                    left: None,
                })
            } else {
                Err(vec!["no".to_owned()])
            };
            let flip = FlipId(self.flip.0.saturating_sub(age));
            self.send(Event::Gated { flip, verdict });
        }

        fn deliver_answers(&mut self) {
            for answer in std::mem::take(&mut self.answers) {
                self.send(answer);
            }
        }

        /// No record of this operation is under way: nothing may follow.
        fn invented(&mut self, flip: FlipId) {
            if self.acknowledged != Some(flip) {
                let before = self.switch.persisted();
                for result in [Ok(()), Err("no".to_owned())] {
                    let waiting = self.switch.operation().is_some_and(|it| it.flip == flip);
                    if self.switch.phase() != Phase::Publishing || !waiting {
                        self.send(Event::Recorded { flip, result });
                    }
                }
                assert_eq!(self.switch.persisted().active, before.active);
            }
        }

        fn configure(&mut self, rules: Rules) {
            let allowed = self.switch.can_apply(&rules);
            let slots = rules.slots.clone();
            assert_eq!(self.try_send(Event::Configured { rules }), allowed);
            if allowed.is_ok() {
                self.health.retain(|slot, _| slots.contains(slot));
            }
        }

        /// The process dies and another one starts from what is on disk.
        fn restart(&mut self) {
            let rules = self.switch.rules().clone();
            let stored = self.stored.clone();
            self.switch = Switch::new(rules.clone(), stored.clone(), self.now);
            self.answers.clear();
            self.health.clear();
            self.shared = SlotHealth::Unknown;
            self.acknowledged = None;
            self.breach = None;
            self.forget_answers();
            self.traffic = stored.map_or(rules.initial.clone(), |state| state.active);
            if !rules.slots.contains(&self.traffic) {
                assert!(self.switch.warning().is_some());
                self.traffic = rules.initial;
            }
            let state = self.switch.persisted();
            assert!(state.generation >= self.generation);
            if state.generation > self.generation {
                // A move that was written and never published has come into force.
                let by_itself = state
                    .moved
                    .is_some_and(|at| state.automatic_moves.contains(&at));
                self.since_operator = if by_itself {
                    self.since_operator + 1
                } else {
                    0
                };
            }
            self.generation = state.generation;
            self.automatic = state.automatic_moves;
            self.canary = state.canary.map(|canary| (canary.slot, canary.generation));
            self.left.clear();
            self.send(Event::Tick);
        }

        fn send(&mut self, event: Event) {
            self.try_send(event)
                .expect("only commands and rules are refused");
        }

        fn try_send(&mut self, event: Event) -> Result<(), Refusal> {
            let cause = event.clone();
            let effects = self.switch.apply(self.now, event)?;
            self.switch.check_invariants().unwrap();
            for effect in effects {
                self.perform(effect, &cause);
            }
            assert_eq!(
                *self.switch.active(),
                self.traffic,
                "traffic goes elsewhere"
            );
            let canary = self.switch.canary();
            assert_eq!(
                canary.map(|it| (it.slot.clone(), it.generation)),
                self.canary,
                "visitors go elsewhere"
            );
            assert!(self.left.is_empty(), "somebody was left and is not drained");
            Ok(())
        }

        fn perform(&mut self, effect: Effect, cause: &Event) {
            match effect {
                Effect::Record(transition) => self.record(*transition),
                Effect::Publish {
                    flip,
                    slot,
                    generation,
                } => {
                    let result = Ok(());
                    assert_eq!(*cause, Event::Recorded { flip, result });
                    assert_eq!(self.acknowledged.take(), Some(flip), "published unwritten");
                    assert!(generation > self.generation, "generations increase");
                    self.left.insert(self.generation);
                    if let Some((at, of)) = self.canary.take() {
                        if at == slot {
                            assert_eq!(of, generation, "who was there already has to move");
                        } else {
                            self.left.insert(of);
                        }
                    }
                    self.generation = generation;
                    self.traffic = slot;
                }
                Effect::Share { flip, canary } => {
                    let result = Ok(());
                    assert_eq!(*cause, Event::Recorded { flip, result });
                    assert_eq!(self.acknowledged.take(), Some(flip), "told unwritten");
                    let canary = canary.map(|it| (it.slot, it.generation));
                    let before = std::mem::replace(&mut self.canary, canary);
                    if self.canary.is_none() {
                        self.left.extend(before.map(|(_, generation)| generation));
                    } else {
                        assert!(before.is_none() || before == self.canary, "it moves");
                    }
                }
                Effect::Drain { generation, .. } => {
                    assert!(self.left.remove(&generation), "it was not left");
                }
                Effect::Tell(Notice::Started(operation)) => self.started(&operation),
                Effect::Tell(Notice::Published { operation, .. }) => self.count(&operation),
                Effect::WakeAt(at) => assert!(at > self.now),
                Effect::Ask(ask) => self.asked = Some(ask),
                Effect::RunGate { .. } | Effect::Tell(_) => {}
            }
        }

        fn record(&mut self, transition: Transition) {
            let written = self.disk == Disk::Good;
            if self.disk != Disk::Fails {
                self.stored = Some(transition.state);
            }
            self.ever_failed |= !written;
            let error = "no space left on device".to_owned();
            match transition.operation {
                Some(operation) => {
                    let result = if written { Ok(()) } else { Err(error) };
                    self.acknowledged = written.then_some(operation.flip);
                    let flip = operation.flip;
                    self.answers.push(Event::Recorded { flip, result });
                }
                None if !written => self.answers.push(Event::Unrecorded { reason: error }),
                None => {}
            }
        }

        #[allow(
            clippy::too_many_lines,
            reason = "a list of what must hold of every move"
        )]
        fn started(&mut self, operation: &Operation) {
            assert!(
                operation.flip > self.flip || self.ever_failed,
                "an id was given out twice"
            );
            self.flip = operation.flip;
            if operation.direction != Direction::Failback {
                return;
            }
            let health = |slot| self.health.get(slot).unwrap_or(&SlotHealth::Unknown);
            let state = self.switch.persisted();
            let overdue = state.confirm.is_some_and(|it| it.until <= self.now);
            let breached = self.breach == Some(state.generation);
            assert!(
                matches!(health(&operation.from), SlotHealth::Unhealthy { .. })
                    || overdue
                    || breached,
                "left a good slot"
            );
            let database = |slot| state.fingerprints.get(slot);
            let (now, then) = (database(&operation.from), database(&operation.to));
            assert!(
                now.is_none() || then.is_none() || now == then || state.accept_schema_change,
                "to code that the database left behind"
            );
            assert_eq!(
                *health(&operation.to),
                SlotHealth::Healthy,
                "to an unproven slot"
            );
            assert!(self.is_fresh, "by verdicts of different ages");
            let [earlier, now] = &self.heard;
            let said = |answers: &Answers, slot| answers.get(slot).map(|it| it.said.clone());
            assert_eq!(
                said(now, &operation.to),
                Some(Said::Passed),
                "to a slot that does not answer now"
            );
            let unreachable = |answers| {
                let is = said(answers, &operation.from);
                matches!(is, Some(Said::Unreachable { .. }))
            };
            let is_down = unreachable(now)
                && unreachable(earlier)
                && said(earlier, &operation.to) == Some(Said::Passed);
            let to_quarantine = self.switch.quarantine(&operation.to).is_some();
            if overdue
                && operation
                    .reason
                    .as_deref()
                    .unwrap()
                    .starts_with("not confirmed")
            {
                assert!(!to_quarantine, "to a quarantined slot");
                assert_eq!(Some(operation.to.clone()), state.previous);
                return;
            }
            assert!(is_down || !to_quarantine, "to a quarantined slot");
            let (from, to) = (&now[&operation.from], &now[&operation.to]);
            let failed = to.failing.map(|it| it.last).max(self.shared_was_away);
            let shares = failed.filter(|last| last.after(GRACE) > self.now);
            if breached && from.said.trouble().is_none() {
                assert_eq!(shares, None, "for what both may share");
            } else {
                assert!(from.said.trouble().is_some(), "left a slot that passes");
                let together = shares.is_some_and(|last| from.well.is_none_or(|well| last >= well));
                assert!(is_down || !together, "in the grace of a common failure");
                assert_eq!(operation.blameless, together, "whose fault it is");
            }
            assert!(
                !matches!(self.shared, SlotHealth::Unhealthy { .. }),
                "while shared is bad"
            );
            let failback = &self.switch.rules().failback;
            let recent = |at: &&Moment| self.now.since(**at) < failback.window;
            let moves = self.automatic.iter().filter(recent).count();
            assert!(moves < 3 || is_down, "over the limit");
            match failback.mode {
                FailbackMode::Always => {}
                FailbackMode::AfterFlip => assert_eq!(self.since_operator, 0, "twice for one flip"),
                FailbackMode::Off => panic!("failback is off"),
            }
        }

        fn count(&mut self, operation: &Operation) {
            if operation.direction == Direction::Failback {
                let at = self.switch.moved().unwrap();
                self.automatic.push(at);
                self.since_operator += 1;
            } else {
                self.since_operator = 0;
            }
        }

        /// Everything answers, and time passes.
        fn quiet(&mut self) {
            self.disk = Disk::Good;
            for _ in 0..10 {
                self.take(Step::Gated {
                    age: 0,
                    passed: false,
                    database: None,
                });
                self.deliver_answers();
                for drain in self.switch.draining().to_vec() {
                    let generation = drain.generation;
                    self.send(Event::Drained { generation, cut: 0 });
                }
                self.hear(as_told::answers(&self.switch));
                self.take(Step::Wait(300 * SECOND));
            }
            self.hear(as_told::answers(&self.switch));
            assert_eq!(self.switch.phase(), Phase::Steady);
            assert_eq!(
                self.stored,
                Some(self.switch.persisted()),
                "the disk lags behind"
            );
            let is_bad = matches!(
                self.health.get(&self.traffic),
                Some(SlotHealth::Unhealthy { .. })
            );
            let state = self.switch.persisted();
            let breached = self.breach == Some(state.generation);
            assert_eq!(
                self.switch.staying().is_some(),
                is_bad || breached || state.confirm.is_some(),
                "staying needs a reason"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_invariants_hold_for_any_sequence_of_events(
            rules in rules(),
            steps in proptest::collection::vec(step(), 1..120),
        ) {
            let mut world = World::new(rules);
            for step in steps {
                world.take(step);
            }
            world.quiet();
        }
    }
}
