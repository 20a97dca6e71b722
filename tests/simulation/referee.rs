//! What the model world holds the switch to, by its own account of what was told.

use crate::nature::Own;
use crate::world::{Disk, EVIDENCE, World};
use std::collections::BTreeMap;
use std::time::Duration;
use switchd::switch::{
    Direction, FailbackMode, FlipId, Generation, Moment, Operation, Persisted, PersistedCanary,
    Phase, Said, SlotHealth, SlotName,
};

/// Answers of one question come so far apart, and a slot may turn in between.
const AT_ONCE: Duration = Duration::from_millis(20);
/// So long it takes at most to see that a slot is silent, to ask twice, and to pause between two moves.
const LONGEST_DOWN: Duration = Duration::from_secs(25);
/// Between a move by itself and one that passes over a rule.
const PAUSE: Duration = Duration::from_secs(5);
/// The longest gate plus the slowest disk.
const LONGEST_OPERATION: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub(crate) struct Referee {
    /// As told in this life of the daemon.
    pub(crate) health: BTreeMap<SlotName, SlotHealth>,
    pub(crate) shared: SlotHealth,
    /// The newest id and generation of any life.
    flip: FlipId,
    generation: Generation,
    under_way: Option<Operation>,
    /// The latest that has ended.
    leaving: Option<Operation>,
    automatic: Vec<Moment>,
    moves_since_operator: u32,
    /// The generation that the watch finds too bad.
    pub(crate) breach: Option<Generation>,
    /// Nobody could reach the active slot beside one that answers, and nothing excused that.
    down_since: Option<Moment>,
}

impl Referee {
    pub(crate) fn started(&mut self, operation: &Operation, world: &World) {
        assert!(self.under_way.is_none(), "two operations at a time");
        assert!(
            operation.flip > self.flip || world.disk_ever_failed,
            "an id was given out twice"
        );
        self.flip = operation.flip;
        self.under_way = Some(operation.clone());
        if operation.direction == Direction::Failback {
            self.may_move_by_itself(operation, world);
        }
    }

    fn may_move_by_itself(&self, operation: &Operation, world: &World) {
        let told = |slot| self.health.get(slot).cloned().unwrap_or_default();
        let state = world.switch.persisted();
        let is_overdue = state.confirm.is_some_and(|it| it.until <= world.now);
        let is_bad = matches!(told(&operation.from), SlotHealth::Unhealthy { .. });
        let is_breached = self.breach == Some(state.generation);
        assert!(is_bad || is_overdue || is_breached, "left a good slot");
        assert_eq!(told(&operation.to), SlotHealth::Healthy, "not proven");
        assert_eq!(world.switch.schema_moved(&operation.to), None);
        let turned_just_now = |slot| {
            let ended = world.natures.outage_ended.unwrap_or_default();
            let turned = world.natures.of(slot).turned;
            world.now.since(turned.max(ended)) <= AT_ONCE
        };
        assert!(
            world.natures.truth(&operation.to, world.now) == Said::Passed
                || turned_just_now(&operation.to),
            "to a slot that does not answer now"
        );
        let why = operation.reason.as_deref().unwrap_or_default();
        if why.starts_with("not confirmed") {
            // An operator asked for it: no rule of failback is in the way.
            assert!(is_overdue);
            assert_eq!(Some(operation.to.clone()), state.previous);
            assert_eq!(world.switch.quarantine(&operation.to), None);
            return;
        }
        let is_down = matches!(
            world.natures.truth(&operation.from, world.now),
            Said::Unreachable { .. }
        ) || turned_just_now(&operation.from);
        if why.ends_with("requests failed") {
            let failed = world.natures.of(&operation.to).last_failed();
            let lately = failed.is_some_and(|last| world.now.since(last) < EVIDENCE);
            assert!(!lately, "for what both may share");
        } else {
            let is_to_blame = world.natures.of(&operation.from).own != Own::Good;
            let excused = is_to_blame || turned_just_now(&operation.from);
            assert!(excused || is_down, "moved on a shared outage");
            assert!(excused || operation.blameless, "blamed for a shared outage");
        }
        let in_quarantine = world.switch.quarantine(&operation.to).is_some();
        assert!(is_down || !in_quarantine, "to a slot in quarantine");
        assert!(!matches!(self.shared, SlotHealth::Unhealthy { .. }));
        let failback = &world.switch.rules().failback;
        let recent = |at: &&Moment| world.now.since(**at) < failback.window;
        let moves = self.automatic.iter().filter(recent).count();
        let is_over_the_limit = moves >= failback.max_moves as usize;
        assert!(is_down || !is_over_the_limit, "over the limit");
        let is_an_exception = in_quarantine || is_over_the_limit || operation.blameless;
        let last = self.automatic.last();
        let rested = last.is_none_or(|last| world.now.since(*last) >= PAUSE);
        assert!(!is_an_exception || rested, "to and fro in every moment");
        assert_ne!(failback.mode, FailbackMode::Off);
        if failback.mode == FailbackMode::AfterFlip {
            assert_eq!(self.moves_since_operator, 0, "twice for one flip");
        }
    }

    /// What an operation leaves without blame is left alone.
    pub(crate) fn may_be_quarantined(&self, slot: &SlotName) {
        let left = self.leaving.as_ref().expect("a move by itself");
        assert_eq!(left.from, *slot);
        assert!(!left.blameless, "quarantined without a fault of its own");
    }

    /// To be down beside a healthy slot is never right, but for what an operator said and what nobody can help.
    pub(crate) fn is_down_beside_a_slot_that_answers(&mut self, world: &World) {
        let switch = &world.switch;
        let natures = &world.natures;
        let staying = switch.staying().unwrap_or_default();
        let excuses = [
            "failback is",
            "forced here",
            "healthy yet since switchd started",
            "what the slots share fails",
            "could not be recorded",
            "just passed its gate",
        ];
        let for_long = |since: Option<Moment>| {
            since.is_some_and(|since| world.now.since(since) >= LONGEST_DOWN)
        };
        let answers = |slot: &&SlotName| {
            let is_good = for_long(natures.of(slot).good_since);
            is_good && switch.schema_moved(slot).is_none()
        };
        let mut others = switch.rules().slots.iter();
        let is_down = for_long(natures.of(switch.active()).dead_since)
            && others.any(|slot| slot != switch.active() && answers(&slot))
            && !matches!(switch.phase(), Phase::Gating | Phase::Publishing)
            && world.now.since(natures.exhausted_until) > LONGEST_DOWN
            && !excuses.iter().any(|excuse| staying.contains(excuse));
        self.down_since = is_down.then(|| self.down_since.unwrap_or(world.now));
        let down = self.down_since.map(|since| world.now.since(since));
        assert!(
            down.is_none_or(|down| down < LONGEST_DOWN),
            "down beside a slot that answers: {staying}"
        );
    }

    pub(crate) fn ended(&mut self, operation: &Operation, now: Moment) {
        let started = self.under_way.take().expect("it was started");
        assert_eq!(started, *operation);
        self.leaving = Some(started.clone());
        assert!(now.since(started.started) <= LONGEST_OPERATION, "endless");
    }

    /// Written before published, and generations only rise.
    pub(crate) fn may_publish(&mut self, slot: &SlotName, generation: Generation, world: &World) {
        let stored = world.stored.as_ref().expect("something is written");
        assert_eq!(
            (&stored.active, stored.generation),
            (slot, generation),
            "published unwritten"
        );
        assert!(generation > self.generation, "generations rise");
        self.generation = generation;
        let operation = self.under_way.as_ref().expect("an operation moves traffic");
        if operation.direction == Direction::Failback {
            self.automatic.push(world.switch.moved().unwrap());
            self.moves_since_operator += 1;
        } else {
            self.moves_since_operator = 0;
        }
    }

    /// Written before visitors are sent there, and never to where all of them go.
    pub(crate) fn may_share(&self, canary: Option<&PersistedCanary>, world: &World) {
        let stored = world.stored.as_ref().expect("something is written");
        // Whether it has been well since is a matter of the moment.
        let seen =
            |canary: &PersistedCanary| (canary.slot.clone(), canary.generation, canary.share);
        assert_eq!(
            stored.canary.as_ref().map(seen),
            canary.map(seen),
            "told unwritten"
        );
        assert!(canary.is_none_or(|canary| canary.slot != world.traffic));
        assert!(canary.is_none_or(|canary| canary.generation > self.generation));
    }

    /// A daemon died and the next one has read the disk.
    pub(crate) fn came_back(&mut self, stored: Option<&Persisted>, world: &World) {
        let active = world.switch.active();
        match stored {
            Some(stored) => assert_eq!(*active, stored.active, "not where the journal says"),
            None => assert_eq!(*active, world.switch.rules().initial),
        }
        let elsewhere = *active != world.traffic;
        let was_written = self
            .under_way
            .as_ref()
            .is_some_and(|operation| operation.to == *active);
        assert!(
            !elsewhere || was_written || world.disk_ever_failed,
            "traffic moved in a crash"
        );
        let state = world.switch.persisted();
        assert!(state.generation >= self.generation);
        if state.generation > self.generation {
            // A move that was written and never published has come into force.
            let by_itself = state
                .moved
                .is_some_and(|at| state.automatic_moves.contains(&at));
            self.moves_since_operator = if by_itself {
                self.moves_since_operator + 1
            } else {
                0
            };
        }
        self.generation = state.generation;
        self.automatic = state.automatic_moves;
        self.under_way = None;
        self.health.clear();
        self.breach = None;
        self.down_since = None;
        self.shared = SlotHealth::Unknown;
    }

    pub(crate) fn after_each_step(&self, world: &World) {
        world.switch.check_invariants().unwrap();
        assert_eq!(
            *world.switch.active(),
            world.traffic,
            "traffic is elsewhere"
        );
        let told = self.health.get(world.switch.active());
        let state = world.switch.persisted();
        let is_bad = matches!(told, Some(SlotHealth::Unhealthy { .. }))
            || self.breach == Some(state.generation)
            || state.confirm.is_some_and(|it| it.until <= world.now);
        let leaving = self
            .under_way
            .as_ref()
            .is_some_and(|operation| operation.direction == Direction::Failback);
        let silent = world.switch.staying().is_none();
        assert!(
            !is_bad || leaving || !silent || world.switch.is_asking(),
            "stays on a bad slot without a word"
        );
        assert!(is_bad || silent, "a reason to stay on a good slot");
        let busy = matches!(world.switch.phase(), Phase::Gating | Phase::Publishing);
        assert_eq!(busy, self.under_way.is_some());
    }

    pub(crate) fn at_rest(&self, world: &World) {
        assert!(self.under_way.is_none());
        assert_eq!(world.switch.phase(), Phase::Steady, "not steady in the end");
        assert_eq!(world.disk, Disk::Good);
        assert_eq!(
            world.stored,
            Some(world.switch.persisted()),
            "the disk lags behind"
        );
        assert!(world.switch.persisted().quarantines.is_empty());
        assert_eq!(world.switch.staying(), None);
    }
}
