//! After a move: how long the new slot is watched, what a bad verdict on it means, and who must confirm it.

use super::event::{Actor, Effect, Notice, Passed, Persisted, PersistedConfirm};
use super::machine::Switch;
use super::moment::Moment;
use super::refusal::Refusal;
use super::slot::{FlipId, Generation, SlotName};
use super::status::words;
use std::time::Duration;

/// What an operator wants of a move, besides the move.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Terms {
    /// Goes back unless it is confirmed within this time.
    #[serde(default)]
    pub confirm_within: Option<Duration>,
    /// To go back (or here, for a rollback) is fine even where the database has changed.
    #[serde(default)]
    pub accept_schema_change: bool,
    #[serde(default)]
    pub starting: Starting,
    /// Going to a slot in quarantine is meant: it has been mended.
    #[serde(default)]
    pub acknowledge: bool,
    /// Says that the gates were just passed; whoever runs them knows whether that is so.
    #[serde(skip)]
    pub proof: Option<String>,
}

/// What the gate does about a slot that does not answer yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Starting {
    /// It may be starting: it is asked again until it answers, or the time of the gate is over.
    #[default]
    Wait,
    /// The first check that fails decides.
    Refuse,
}

/// What the machine knows of the watch, and no restart needs to.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched {
    /// The database as the latest gate saw it.
    seen: Option<Seen>,
    /// Of the active generation.
    breach: Option<Breach>,
}

#[derive(Debug, Clone)]
struct Seen {
    flip: FlipId,
    passed: Passed,
}

#[derive(Debug, Clone)]
struct Breach {
    generation: Generation,
    reason: String,
}

impl Switch {
    /// The gate of `flip` has looked at the database, or not.
    pub(super) fn saw_database(&mut self, flip: FlipId, passed: Passed) {
        self.watched.seen = Some(Seen { flip, passed });
    }

    pub(super) fn judged(&mut self, generation: Generation, breach: Option<String>) {
        self.watched.breach = breach
            .filter(|_| generation == self.state.generation)
            .map(|reason| Breach { generation, reason });
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

    /// Unknown is not changed, unless the database is known to have changed since others served.
    fn database_moved(&self, slot: &SlotName) -> bool {
        let fingerprints = &self.state.fingerprints;
        let Some(now) = fingerprints.get(&self.state.active) else {
            return false;
        };
        match fingerprints.get(slot) {
            Some(then) => now != then,
            None => slot != &self.state.active && fingerprints.values().any(|then| now != then),
        }
    }

    /// It served until the last move, was well ever since, and left for no fault of its own.
    #[must_use]
    pub fn is_warm(&self, slot: &SlotName) -> bool {
        let since = self.health.get(slot).map(|seen| seen.since);
        self.state.previous.as_ref() == Some(slot)
            && self.is_healthy(slot)
            && since <= self.state.moved
            && !self.state.quarantines.contains_key(slot)
    }

    /// May an operator go back to `slot` on these terms?
    pub(super) fn fits(&self, slot: &SlotName, terms: &Terms) -> Result<(), Refusal> {
        if self.database_moved(slot) && !terms.accept_schema_change {
            return Err(Refusal::SchemaMoved { slot: slot.clone() });
        }
        Ok(())
    }

    /// What the gate of the operation under way does about a slot that does not answer yet.
    ///
    /// It waits for operators alone, and only for a slot without visitors: one that a canary sends visitors to is
    /// not starting, and they must not wait for its failure to be seen.
    #[must_use]
    pub fn starting(&self) -> Starting {
        let current = self.current.as_ref().map(|current| &current.operation);
        let waits = current.is_some_and(|operation| {
            let has_visitors = self.canary().is_some_and(|it| it.slot == operation.to);
            let by_operator = operation.by != Actor::itself();
            operation.terms.starting == Starting::Wait && by_operator && !has_visitors
        });
        if waits {
            Starting::Wait
        } else {
            Starting::Refuse
        }
    }

    /// What is known of the databases once `flip` has moved traffic to `to`: as its gate saw them, else as it was
    /// last seen. The active slot's own is kept: what its code wants is asked because it may never have been gated.
    pub(super) fn remember_databases(&self, flip: FlipId, to: &SlotName, state: &mut Persisted) {
        let active = &self.state.active;
        let seen = self.watched.seen.as_ref();
        let passed = seen
            .filter(|seen| seen.flip == flip)
            .map(|seen| &seen.passed);
        let known = state.fingerprints.get(active).cloned();
        let now = passed.and_then(|passed| passed.fingerprint.clone());
        let left = passed.and_then(|passed| passed.left.clone());
        if let (None, Some(left)) = (&known, left) {
            state.fingerprints.insert(active.clone(), left);
        }
        if let Some(now) = now.or(known) {
            state.fingerprints.insert(to.clone(), now);
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

#[cfg(test)]
mod tests {
    use super::super::afresh::as_told;
    use super::super::*;
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const BREACH: &str = "30 of 100 requests failed";

    fn slot(name: &str) -> SlotName {
        SlotName::new(name).unwrap()
    }

    fn rules(mode: FailbackMode) -> Rules {
        Rules {
            slots: vec![slot("blue"), slot("green")],
            initial: slot("blue"),
            failback: FailbackRules {
                mode,
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

    fn within(time: Duration) -> Terms {
        Terms {
            confirm_within: Some(time),
            ..Terms::default()
        }
    }

    fn accepting() -> Terms {
        Terms {
            accept_schema_change: true,
            ..Terms::default()
        }
    }

    /// A switch whose disk and drains do their part at once.
    struct Bench {
        switch: Switch,
        now: Moment,
        disk: Option<Persisted>,
        told: Vec<Notice>,
        /// What gates find the code of the active slot to be made for.
        left: Option<String>,
    }

    impl Bench {
        fn new(mode: FailbackMode) -> Self {
            Self::resume(rules(mode), None, Moment(1_000_000_000))
        }

        fn resume(rules: Rules, disk: Option<Persisted>, now: Moment) -> Self {
            let mut bench = Self {
                switch: Switch::new(rules, disk.clone(), now),
                now,
                disk,
                told: Vec::new(),
                left: None,
            };
            bench.send(Event::Tick).unwrap();
            bench
        }

        fn healthy(mode: FailbackMode) -> Self {
            let mut bench = Self::new(mode);
            bench.all_healthy();
            bench
        }

        fn all_healthy(&mut self) {
            for slot in self.switch.rules().slots.clone() {
                let health = SlotHealth::Healthy;
                self.send(Event::Health { slot, health }).unwrap();
            }
        }

        fn fails(&mut self, name: &str) {
            let slot = slot(name);
            let reason = "HTTP 503".to_owned();
            let health = SlotHealth::Unhealthy { reason };
            self.send(Event::Health { slot, health }).unwrap();
        }

        fn send(&mut self, event: Event) -> Result<(), Refusal> {
            let mut events = vec![event];
            while let Some(event) = events.pop() {
                for effect in self.switch.apply(self.now, event)? {
                    match effect {
                        Effect::Record(transition) => {
                            self.disk = Some(transition.state);
                            events.extend(transition.operation.map(|operation| Event::Recorded {
                                flip: operation.flip,
                                result: Ok(()),
                            }));
                        }
                        Effect::Drain { generation, .. } => {
                            events.push(Event::Drained { generation, cut: 0 });
                        }
                        Effect::Tell(notice) => self.told.push(notice),
                        Effect::Ask(ask) => {
                            let answers = as_told::answers(&self.switch);
                            events.push(Event::Answered { ask, answers });
                        }
                        Effect::RunGate { .. }
                        | Effect::Publish { .. }
                        | Effect::Share { .. }
                        | Effect::WakeAt(_) => {}
                    }
                }
            }
            Ok(())
        }

        fn command(&mut self, command: Command) -> Result<(), Refusal> {
            let by = Actor("alice".to_owned());
            self.send(Event::Command { by, command })
        }

        fn flip(&mut self, to: &str, terms: Terms, fingerprint: Option<&str>) {
            let command = Command::Flip {
                to: slot(to),
                force: false,
                reason: None,
                expect: None,
                terms,
            };
            self.command(command).unwrap();
            self.gate_passes(fingerprint);
            assert_eq!(self.active(), to);
        }

        fn rollback(&mut self, terms: Terms) -> Result<(), Refusal> {
            let command = Command::Rollback {
                force: false,
                reason: None,
                terms,
            };
            self.command(command)
        }

        fn gate_passes(&mut self, fingerprint: Option<&str>) {
            let flip = self.switch.operation().unwrap().flip;
            let fingerprint = fingerprint.map(str::to_owned);
            let verdict = Ok(Passed {
                fingerprint,
                left: self.left.clone(),
            });
            self.send(Event::Gated { flip, verdict }).unwrap();
        }

        fn judged(&mut self, breach: Option<&str>) {
            let generation = self.switch.generation();
            let breach = breach.map(str::to_owned);
            self.send(Event::Judged { generation, breach }).unwrap();
        }

        fn wait(&mut self, time: Duration) {
            self.now = self.now.after(time);
            self.send(Event::Tick).unwrap();
        }

        fn active(&self) -> &str {
            self.switch.active().as_str()
        }

        fn staying(&self) -> &str {
            self.switch.staying().unwrap_or_default()
        }
    }

    #[test]
    fn the_first_move_of_all_remembers_what_the_slot_that_it_leaves_is_made_for() {
        let mut bench = Bench::healthy(FailbackMode::Always);
        bench.left = Some("a".to_owned());
        bench.flip("green", Terms::default(), Some("b"));
        assert_eq!(
            bench.disk.as_ref().unwrap().fingerprints[&slot("blue")],
            "a"
        );
        let refused = bench.rollback(Terms::default());
        assert_eq!(refused, Err(Refusal::SchemaMoved { slot: slot("blue") }));
        bench.fails("green");
        assert_eq!(bench.active(), "green");
        assert!(
            bench.staying().contains("have changed"),
            "{}",
            bench.staying()
        );
    }

    #[test]
    fn what_was_seen_when_a_slot_began_to_serve_outlives_what_its_code_says_later() {
        let mut bench = Bench::healthy(FailbackMode::Always);
        bench.left = Some("a".to_owned());
        bench.flip("green", Terms::default(), Some("a"));
        bench.left = Some("b".to_owned());
        bench.flip("blue", Terms::default(), Some("b"));
        assert_eq!(bench.switch.persisted().fingerprints[&slot("green")], "a");
    }

    #[test]
    fn a_slot_of_which_nothing_is_known_has_another_database_once_any_has() {
        let mut bench = Bench::healthy(FailbackMode::Always);
        bench.flip("green", Terms::default(), Some("a"));
        assert_eq!(bench.switch.schema_moved(&slot("blue")), None);

        let mut rules = rules(FailbackMode::Always);
        rules.slots.push(slot("white"));
        let mut state = bench.switch.persisted().clone();
        state.fingerprints.insert(slot("blue"), "b".to_owned());
        let bench = Bench::resume(rules, Some(state), bench.now);
        assert!(bench.switch.schema_moved(&slot("white")).is_some());
    }

    #[test]
    fn a_bad_verdict_moves_traffic_back_with_its_reason_and_quarantines_the_slot() {
        for mode in [FailbackMode::Always, FailbackMode::AfterFlip] {
            let mut bench = Bench::healthy(mode);
            bench.flip("green", Terms::default(), None);
            bench.judged(Some(BREACH));
            assert_eq!(bench.active(), "blue");
            let quarantine = bench.switch.quarantine(&slot("green")).unwrap();
            assert_eq!(quarantine.reason, BREACH);
            assert_eq!(bench.switch.watched_until(), None, "no watch after it");
            assert_eq!(bench.switch.breach(), None);
        }
    }

    #[test]
    fn a_bad_verdict_moves_nothing_where_failback_is_off_or_the_other_slot_is_no_better() {
        let mut bench = Bench::healthy(FailbackMode::Off);
        bench.flip("green", Terms::default(), None);
        bench.judged(Some(BREACH));
        assert_eq!(
            (bench.active(), bench.staying()),
            ("green", "failback is off")
        );
        bench.judged(None);
        assert_eq!(bench.staying(), "");

        let mut bench = Bench::healthy(FailbackMode::Always);
        bench.flip("green", Terms::default(), None);
        bench.fails("blue");
        bench.judged(Some(BREACH));
        assert_eq!(bench.active(), "green");
        assert!(bench.staying().starts_with("blue is unhealthy too"));
        bench.all_healthy();
        assert_eq!(bench.active(), "blue", "as soon as it can");
    }

    #[test]
    fn a_verdict_on_a_generation_that_was_left_says_nothing() {
        let mut bench = Bench::healthy(FailbackMode::Always);
        bench.flip("green", Terms::default(), None);
        let old = bench.switch.generation();
        bench.flip("blue", Terms::default(), None);
        let breach = Some(BREACH.to_owned());
        let event = Event::Judged {
            generation: old,
            breach,
        };
        bench.send(event).unwrap();
        assert_eq!((bench.active(), bench.staying()), ("blue", ""));
    }

    #[test]
    fn a_slot_that_was_left_stays_warm_as_long_as_it_is_well() {
        let warm = |bench: &Bench| bench.switch.is_warm(&slot("blue"));
        let mut bench = Bench::healthy(FailbackMode::Always);
        assert!(!warm(&bench), "it never served");
        bench.wait(MINUTE);
        bench.flip("green", Terms::default(), None);
        assert!(warm(&bench));
        bench.wait(60 * MINUTE);
        bench.fails("blue");
        assert!(!warm(&bench));
        bench.all_healthy();
        assert!(!warm(&bench), "what runs there now may be something else");

        let mut bench = Bench::healthy(FailbackMode::Always);
        bench.wait(MINUTE);
        bench.fails("blue");
        bench.wait(bench.switch.rules().round);
        bench.all_healthy();
        assert_eq!(bench.active(), "green");
        assert!(!warm(&bench), "it is in quarantine");
    }

    #[test]
    fn a_move_that_nobody_confirms_goes_back() {
        // An operator asked for it: failback that is off is no obstacle, nor is its limit.
        let mut bench = Bench::healthy(FailbackMode::Off);
        bench.flip("green", within(10 * MINUTE), None);
        assert_eq!(
            bench.switch.unconfirmed(),
            Some(bench.now.after(10 * MINUTE))
        );
        bench.wait(9 * MINUTE);
        assert_eq!(bench.active(), "green");
        bench.wait(MINUTE);
        assert_eq!(bench.active(), "blue");
        assert_eq!(bench.switch.unconfirmed(), None);
        let quarantine = bench.switch.quarantine(&slot("green")).unwrap();
        assert_eq!(quarantine.reason, "not confirmed within 10m");
    }

    #[test]
    fn a_confirmed_move_stays() {
        let mut bench = Bench::healthy(FailbackMode::Always);
        bench.flip("green", within(10 * MINUTE), None);
        bench.command(Command::Confirm).unwrap();
        let by = Actor("alice".to_owned());
        let slot = slot("green");
        assert!(bench.told.contains(&Notice::Confirmed { slot, by }));
        bench.wait(60 * MINUTE);
        assert_eq!(bench.active(), "green");
        assert_eq!(bench.disk, Some(bench.switch.persisted()));
        let refused = bench.command(Command::Confirm).unwrap_err();
        assert!(matches!(refused, Refusal::NothingToConfirm { .. }));
    }

    #[test]
    fn a_restart_forgets_neither_the_time_to_confirm_nor_the_database() {
        let mut bench = Bench::healthy(FailbackMode::Always);
        bench.flip("green", within(10 * MINUTE), Some("b"));
        let later = bench.now.after(20 * MINUTE);
        let mut again = Bench::resume(rules(FailbackMode::Always), bench.disk, later);
        assert_eq!(again.active(), "green", "nothing is known of blue yet");
        assert!(
            again
                .staying()
                .starts_with("not confirmed within 10m, but blue")
        );
        again.all_healthy();
        assert_eq!(again.active(), "blue");
        assert_eq!(again.switch.persisted().fingerprints[&slot("green")], "b");
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_put_off_the_time_to_confirm() {
        let mut bench = Bench::healthy(FailbackMode::Always);
        bench.flip("green", within(MINUTE), None);
        let earlier = Moment(bench.now.0 / 2);
        let mut again = Bench::resume(rules(FailbackMode::Always), bench.disk, earlier);
        again.all_healthy();
        again.wait(MINUTE);
        assert_eq!(again.active(), "blue");
    }

    #[test]
    fn any_other_move_is_an_answer_to_the_question() {
        let mut bench = Bench::healthy(FailbackMode::Always);
        bench.flip("green", within(MINUTE), None);
        bench.rollback(Terms::default()).unwrap();
        bench.gate_passes(None);
        assert_eq!(bench.switch.unconfirmed(), None);
        bench.wait(10 * MINUTE);
        assert_eq!(bench.active(), "blue");
    }

    /// Blue served one database, green serves another.
    fn migrated(terms: Terms) -> Bench {
        let mut bench = Bench::healthy(FailbackMode::Always);
        bench.flip("green", Terms::default(), Some("a"));
        bench.flip("blue", Terms::default(), Some("a"));
        bench.flip("green", terms, Some("b"));
        bench
    }

    #[test]
    fn nothing_goes_back_by_itself_to_code_that_the_database_has_left_behind() {
        let mut bench = migrated(within(MINUTE));
        let why = bench.switch.schema_moved(&slot("blue")).unwrap();
        assert!(why.contains("--accept-schema-change"), "{why}");
        bench.judged(Some(BREACH));
        assert_eq!((bench.active(), bench.staying()), ("green", &*why));
        bench.wait(MINUTE);
        assert_eq!(bench.active(), "green");
        assert!(
            bench
                .staying()
                .starts_with("not confirmed within 1m, but the database")
        );
        bench.fails("green");
        assert_eq!(bench.active(), "green");
    }

    #[test]
    fn an_operator_may_go_back_all_the_same() {
        let mut bench = migrated(Terms::default());
        let refused = bench.rollback(Terms::default());
        let slot = slot("blue");
        assert_eq!(refused, Err(Refusal::SchemaMoved { slot }));
        bench.rollback(accepting()).unwrap();
        bench.gate_passes(Some("b"));
        assert_eq!(bench.active(), "blue");

        let mut bench = migrated(accepting());
        bench.judged(Some(BREACH));
        assert_eq!(bench.active(), "blue", "accepted beforehand");
    }

    #[test]
    fn a_database_that_nobody_looked_at_stops_nothing() {
        let mut bench = Bench::healthy(FailbackMode::Always);
        bench.flip("green", Terms::default(), Some("a"));
        assert_eq!(bench.switch.schema_moved(&slot("blue")), None);
        bench.rollback(Terms::default()).unwrap();
        // A quick gate does not look again: it is as it was seen last.
        bench.gate_passes(None);
        assert_eq!(bench.switch.persisted().fingerprints[&slot("blue")], "a");
        bench.flip("green", Terms::default(), Some("b"));
        assert!(bench.switch.schema_moved(&slot("blue")).is_some());
    }
}
