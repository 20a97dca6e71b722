//! A model of everything around the switch. Nothing here waits: time jumps to what happens next.

use crate::nature::{INTERVAL, Natures, Own};
use crate::referee::Referee;
use crate::tally::Tally;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::time::Duration;
use switchd::switch::{
    Actor, Answers, AskId, CanaryNotice, CanaryOrder, CanaryRules, CanaryStep, Command, Direction,
    Effect, Event, FailbackMode, FailbackRules, Label, Moment, Notice, Passed, Percent, Persisted,
    Phase, Refusal, Rules, Said, SlotHealth, SlotName, Switch, Terms, Transition,
};

const STORY: Duration = Duration::from_mins(30);
const GATE_TIMEOUT: u64 = 10_000;
const LONGEST_DRAIN: u64 = 60_000;
pub(crate) const EVIDENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    rng: Rng,
    pub(crate) now: Moment,
    /// What will happen, by time; the second number keeps the order of what happens at once.
    coming: BTreeMap<(Moment, u64), Happening>,
    sequence: u64,
    pub(crate) switch: Switch,
    /// Which daemon it is: what an earlier one was waiting for is gone.
    life: u64,
    wake: Option<Moment>,
    /// Where new requests really go.
    pub(crate) traffic: SlotName,
    pub(crate) stored: Option<Persisted>,
    pub(crate) disk: Disk,
    pub(crate) disk_ever_failed: bool,
    /// How the slots really are.
    pub(crate) natures: Natures,
    /// Somebody configured what the slots share.
    shared_is_configured: bool,
    shared_told: SlotHealth,
    /// What has been said so far to the question that is open.
    hearing: (AskId, Answers),
    database: u32,
    referee: Option<Referee>,
    crashes: u32,
    pub(crate) tally: Tally,
    pub(crate) told: Vec<String>,
    aloud: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Disk {
    Good,
    /// Nothing reaches it.
    Fails,
    /// It arrives, and an error is told all the same.
    Lies,
}

#[derive(Debug, Clone)]
enum Happening {
    Told {
        life: u64,
        event: Event,
    },
    Wake {
        life: u64,
        at: Moment,
    },
    GateEnds {
        life: u64,
        event: GateEnd,
    },
    Probe {
        life: u64,
        slot: SlotName,
    },
    /// A slot says how it is, for it was asked.
    Says {
        life: u64,
        ask: AskId,
        slot: SlotName,
    },
    SharedIsLookedAt {
        life: u64,
    },
    SlotTurns(SlotName),
    SharedTurns,
    /// We run out of descriptors, for so many milliseconds.
    WeAreExhausted(u64),
    /// The watch finds the active slot too bad, or not.
    Judged,
    /// Somebody changes the modules of the database.
    DatabaseMoves,
    DiskTurns(Disk),
    OperatorActs,
    Crash,
}

#[derive(Debug, Clone)]
struct GateEnd {
    flip: switchd::switch::FlipId,
    slot: SlotName,
    hung: bool,
}

/// The daemon died in the middle of its effects.
struct Died;

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rules = rules(&mut rng);
        let now = Moment(1_000_000);
        let natures = Natures::new(&rules.slots, now);
        let mut world = Self {
            now,
            coming: BTreeMap::new(),
            sequence: 0,
            traffic: rules.initial.clone(),
            switch: Switch::new(rules, None, now),
            life: 0,
            wake: None,
            stored: None,
            disk: Disk::Good,
            disk_ever_failed: false,
            natures,
            shared_is_configured: rng.bool(),
            shared_told: SlotHealth::Unknown,
            hearing: Default::default(),
            database: 0,
            referee: Some(Referee::default()),
            crashes: rng.u32(0..4),
            tally: Tally::default(),
            told: Vec::new(),
            aloud: false,
            rng,
        };
        world.boot();
        world
    }

    pub(crate) fn aloud(mut self) -> Self {
        self.aloud = true;
        self.told.iter().for_each(|line| println!("{line}"));
        self
    }

    /// Lets all kinds of trouble happen.
    pub(crate) fn play(&mut self) {
        let slots = self.switch.rules().slots.clone();
        let end = STORY.as_secs();
        for slot in slots {
            for _ in 0..self.rng.u64(0..12) {
                self.some_time(end, Happening::SlotTurns(slot.clone()));
            }
        }
        for _ in 0..self.rng.u64(0..25) {
            self.some_time(end, Happening::OperatorActs);
        }
        for _ in 0..self.rng.u64(0..4) {
            self.outage(end);
        }
        for _ in 0..self.rng.u64(0..3) {
            let lasts = self.rng.u64(500..20_000);
            self.some_time(end, Happening::WeAreExhausted(lasts));
        }
        for _ in 0..self.rng.u64(0..8) {
            self.some_time(end, Happening::Judged);
        }
        for _ in 0..self.rng.u64(0..3) {
            self.some_time(end, Happening::DatabaseMoves);
        }
        for _ in 0..self.rng.u64(0..3) {
            let disk = *self
                .rng
                .choice([Disk::Good, Disk::Fails, Disk::Lies].as_slice())
                .unwrap();
            self.some_time(end, Happening::DiskTurns(disk));
        }
        for _ in 0..self.rng.u64(0..3) {
            self.some_time(end, Happening::Crash);
        }
        self.until(self.now.after(STORY));
    }

    /// What the slots share goes away for a while; often enough there is trouble of a slot's own around it.
    fn outage(&mut self, within_secs: u64) {
        // Over before the story is.
        let begins = self.rng.u64(0..(within_secs - 80) * 1000);
        let lasts = match self.rng.u8(0..3) {
            0 => self.rng.u64(200..2_000),
            _ => self.rng.u64(2_000..60_000),
        };
        self.in_millis(begins, Happening::SharedTurns);
        self.in_millis(begins + lasts, Happening::SharedTurns);
        if self.rng.u8(0..3) == 0 {
            let wait = self.rng.u64(0..lasts + 10_000);
            let slots = self.switch.rules().slots.clone();
            let slot = self.rng.choice(&slots).unwrap().clone();
            self.in_millis(begins + wait, Happening::SlotTurns(slot));
        }
        if self.rng.bool() {
            let wait = self.rng.u64(0..lasts + 5_000);
            self.in_millis(begins + wait, Happening::Judged);
        }
    }

    /// Trouble ends; then the switch must come to rest, and must still do its work.
    pub(crate) fn come_to_rest(&mut self) {
        self.crashes = 0;
        self.happens(Happening::DiskTurns(Disk::Good));
        self.natures.everything_mends(self.now);
        if !self.natures.shared_is_well {
            self.happens(Happening::SharedTurns);
        }
        self.until(self.now.after(STORY));
        self.judged(false);
        self.command(Command::Confirm);
        for slot in self.switch.rules().slots.clone() {
            self.command(Command::Acknowledge { slot });
        }
        self.until(self.now.after(STORY));
        self.refereed(|referee, world| referee.at_rest(world));

        let before = self.traffic.clone();
        self.natures.turn(&before, Own::Refuses, self.now);
        self.until(self.now.after(Duration::from_secs(30)));
        let slots = self.switch.rules().slots.iter();
        let mut others = slots.filter(|slot| **slot != before);
        let somewhere = others.any(|slot| self.switch.schema_moved(slot).is_none());
        let moves = self.switch.rules().failback.mode == FailbackMode::Always && somewhere;
        assert_eq!(
            self.traffic != before,
            moves,
            "failback does its work in the end"
        );
    }

    fn until(&mut self, end: Moment) {
        while let Some(next) = self.coming.first_entry() {
            if next.key().0 > end {
                break;
            }
            let ((at, _), happening) = next.remove_entry();
            self.now = self.now.max(at);
            self.happens(happening);
            self.natures.look(self.now);
            self.refereed(Referee::is_down_beside_a_slot_that_answers);
        }
        self.now = end;
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Told { life, event } if life == self.life => self.tell(event),
            Happening::Wake { life, at } if life == self.life && self.wake == Some(at) => {
                self.wake = None;
                self.tell(Event::Tick);
            }
            Happening::GateEnds { life, event } if life == self.life => self.gate_ends(&event),
            Happening::Probe { life, slot } if life == self.life => self.probe(slot),
            Happening::Says { life, ask, slot } if life == self.life => self.says(ask, slot),
            Happening::SharedIsLookedAt { life } if life == self.life => {
                self.look_at_shared();
                self.in_millis(2_000, Happening::SharedIsLookedAt { life });
            }
            Happening::SlotTurns(slot) => self.slot_turns(&slot),
            Happening::SharedTurns => {
                self.natures.shared_turns(self.now, &mut self.rng);
                let is_well = self.natures.shared_is_well;
                self.note(&format!("what they share is there: {is_well}"));
            }
            Happening::WeAreExhausted(lasts) => {
                self.note("we run out of descriptors");
                self.natures.exhausted_until = self.now.after(Duration::from_millis(lasts));
            }
            Happening::Judged => {
                let bad = self.rng.bool();
                self.judged(bad);
            }
            Happening::DatabaseMoves => self.database += 1,
            Happening::DiskTurns(disk) => {
                self.note(&format!("the disk turns {disk:?}"));
                self.disk = disk;
            }
            Happening::OperatorActs => self.operator_acts(),
            Happening::Crash => self.crash(),
            Happening::Told { .. }
            | Happening::Wake { .. }
            | Happening::GateEnds { .. }
            | Happening::Probe { .. }
            | Happening::Says { .. }
            | Happening::SharedIsLookedAt { .. } => {}
        }
    }

    fn slot_turns(&mut self, slot: &SlotName) {
        let own = match self.natures.of(slot).own {
            Own::Good => *self
                .rng
                .choice([Own::Errs, Own::Refuses, Own::Refuses, Own::Silent].as_slice())
                .unwrap(),
            _ => Own::Good,
        };
        self.note(&format!("{slot} turns {own:?}"));
        self.natures.turn(slot, own, self.now);
    }

    fn probe(&mut self, slot: SlotName) {
        let probed = self.natures.probe(&slot, self.now, &mut self.rng);
        let life = self.life;
        let next = Happening::Probe {
            life,
            slot: slot.clone(),
        };
        self.in_millis(probed.next, next);
        self.tell_health(slot, probed.news);
    }

    fn tell_health(&mut self, slot: SlotName, news: Option<SlotHealth>) {
        if let Some(health) = news {
            self.refereed(|referee, _| referee.health.insert(slot.clone(), health.clone()));
            self.tell(Event::Health { slot, health });
        }
    }

    fn ask(&mut self, ask: AskId) {
        self.hearing = (ask, Answers::new());
        let life = self.life;
        for slot in self.switch.rules().slots.clone() {
            let wait = self.rng.u64(0..15);
            self.in_millis(wait, Happening::Says { life, ask, slot });
        }
    }

    fn says(&mut self, ask: AskId, slot: SlotName) {
        if ask != self.hearing.0 {
            return;
        }
        let life = self.life;
        let (answer, news) = self.natures.answer(&slot, self.now);
        self.hearing.1.insert(slot.clone(), answer);
        self.tell_health(slot, news);
        if life == self.life && ask == self.hearing.0 {
            self.heard(ask);
        }
    }

    fn heard(&mut self, ask: AskId) {
        let answers = self.hearing.1.clone();
        if answers.len() < self.switch.rules().slots.len() {
            return;
        }
        let life = self.life;
        self.look_at_shared();
        if life == self.life {
            self.tally.unasked += u64::from(self.now < self.natures.exhausted_until);
            self.tell(Event::Answered { ask, answers });
        }
    }

    fn look_at_shared(&mut self) {
        if !self.shared_is_configured || self.now < self.natures.exhausted_until {
            return;
        }
        let health = health(self.natures.shared_is_well, "database");
        if self.shared_told != health {
            self.shared_told = health.clone();
            self.refereed(|referee, _| referee.shared = health.clone());
            self.tell(Event::Shared { health });
        }
    }

    fn judged(&mut self, bad: bool) {
        let generation = self.switch.generation();
        let breach = bad.then(|| "30 of 100 requests failed".to_owned());
        self.refereed(|referee, _| referee.breach = bad.then_some(generation));
        self.tell(Event::Judged { generation, breach });
    }

    fn operator_acts(&mut self) {
        let slots = self.switch.rules().slots.clone();
        let slot = self.rng.choice(&slots).unwrap().clone();
        let force = self.rng.u8(0..5) == 0;
        let reason = Some("a hunch".to_owned());
        let within = Duration::from_secs(self.rng.u64(1..600));
        let terms = Terms {
            confirm_within: (self.rng.u8(0..3) == 0).then_some(within),
            accept_schema_change: self.rng.u8(0..3) == 0,
            ..Terms::default()
        };
        let command = match self.rng.u8(0..17) {
            16 => Command::Cancel { reason },
            0 | 1 => Command::Rollback {
                force,
                reason,
                terms,
            },
            9 | 10 => Command::Confirm,
            2 | 3 => Command::Acknowledge { slot },
            4 => Command::Label {
                slot,
                label: self.rng.bool().then(|| Label::new("v1").unwrap()),
            },
            5 => Command::Canary(CanaryOrder::Abort { slot: None, reason }),
            6 => Command::Canary(CanaryOrder::Promote {
                slot: None,
                force,
                reason,
            }),
            7 | 8 => Command::Canary(CanaryOrder::Share {
                slot: Some(slot),
                share: self.rng.bool().then(|| share(&mut self.rng)),
                force,
                reason,
                terms: Terms::default(),
            }),
            _ => Command::Flip {
                to: slot,
                force,
                reason,
                expect: None,
                terms,
            },
        };
        self.command(command);
        // Another one hardly waits.
        if self.rng.u8(0..3) == 0 {
            let wait = self.rng.u64(0..3_000);
            self.in_millis(wait, Happening::OperatorActs);
        }
    }

    fn command(&mut self, command: Command) {
        let free = matches!(self.switch.phase(), Phase::Steady | Phase::Settling);
        let by = Actor("an operator".to_owned());
        let event = Event::Command { by, command };
        if let Err(refusal) = self.try_tell(event) {
            self.note(&format!("refused: {refusal}"));
            if matches!(refusal, Refusal::Busy { .. }) {
                self.tally.busy += 1;
                assert!(!free, "a command waited for a drain");
            }
        }
    }

    fn tell(&mut self, event: Event) {
        self.try_tell(event).expect("only commands are refused");
    }

    fn try_tell(&mut self, event: Event) -> Result<(), Refusal> {
        self.note(&format!("{event:?}"));
        let effects = self.switch.apply(self.now, event)?;
        for effect in effects {
            let survived = self.may_die().and_then(|()| {
                self.perform(effect);
                self.may_die()
            });
            if survived.is_err() {
                self.crash();
                return Ok(());
            }
        }
        self.refereed(|referee, world| referee.after_each_step(world));
        Ok(())
    }

    /// The boundary of an effect: the daemon may die here.
    fn may_die(&mut self) -> Result<(), Died> {
        if self.crashes > 0 && self.rng.u8(0..60) == 0 {
            self.crashes -= 1;
            return Err(Died);
        }
        Ok(())
    }

    fn crash(&mut self) {
        match self.switch.phase() {
            Phase::Steady => self.tally.crashes_steady += 1,
            Phase::Gating => self.tally.crashes_gating += 1,
            Phase::Publishing => self.tally.crashes_publishing += 1,
            Phase::Settling => self.tally.crashes_settling += 1,
        }
        self.life += 1;
        self.wake = None;
        let rules = self.switch.rules().clone();
        self.switch = Switch::new(rules, self.stored.clone(), self.now);
        self.note(&format!(
            "crashed, and came back on {}",
            self.switch.active()
        ));
        let stored = self.stored.clone();
        self.refereed(|referee, world| referee.came_back(stored.as_ref(), world));
        if *self.switch.active() != self.traffic {
            self.tally.came_back_elsewhere += 1;
        }
        self.traffic = self.switch.active().clone();
        self.boot();
    }

    fn boot(&mut self) {
        let life = self.life;
        self.natures.forget();
        self.shared_told = SlotHealth::Unknown;
        for slot in self.switch.rules().slots.clone() {
            let wait = self.rng.u64(0..2_000);
            self.in_millis(wait, Happening::Probe { life, slot });
        }
        self.in_millis(0, Happening::SharedIsLookedAt { life });
        self.tell(Event::Tick);
    }

    fn perform(&mut self, effect: Effect) {
        self.note(&format!("  {effect:?}"));
        match effect {
            Effect::Ask(ask) => self.ask(ask),
            Effect::RunGate { flip, slot } => {
                let hung = self.rng.u8(0..8) == 0;
                let wait = if hung {
                    GATE_TIMEOUT
                } else {
                    self.rng.u64(50..5_000)
                };
                let life = self.life;
                let event = GateEnd { flip, slot, hung };
                self.in_millis(wait, Happening::GateEnds { life, event });
            }
            Effect::Record(transition) => self.record(*transition),
            Effect::Publish {
                slot, generation, ..
            } => {
                self.refereed(|referee, world| referee.may_publish(&slot, generation, world));
                self.traffic = slot;
            }
            Effect::Share { canary, .. } => {
                self.refereed(|referee, world| referee.may_share(canary.as_ref(), world));
                self.tally.canaries += u64::from(canary.is_some());
            }
            Effect::Drain { generation, .. } => {
                let wait = self.rng.u64(0..LONGEST_DRAIN);
                let cut = self.rng.u64(0..2);
                self.told_in(wait, Event::Drained { generation, cut });
            }
            Effect::WakeAt(at) => {
                self.wake = Some(at);
                let life = self.life;
                let late = Duration::from_millis(self.rng.u64(0..20));
                self.at(at.after(late), Happening::Wake { life, at });
            }
            Effect::Tell(notice) => self.hear(notice),
        }
    }

    fn gate_ends(&mut self, end: &GateEnd) {
        let verdict = if end.hung {
            Err(vec!["timeout".to_owned()])
        } else if self.natures.truth(&end.slot, self.now) == Said::Passed {
            // Not every gate looks at the database.
            let looks = self.rng.bool();
            let fingerprint = looks.then(|| self.database.to_string());
            Ok(Passed {
                fingerprint,
                left: None,
            })
        } else {
            Err(vec!["connection refused".to_owned()])
        };
        self.tally.gates_failed += u64::from(verdict.is_err());
        let flip = end.flip;
        self.tell(Event::Gated { flip, verdict });
    }

    fn record(&mut self, transition: Transition) {
        let written = self.disk == Disk::Good;
        if self.disk != Disk::Fails {
            self.stored = Some(transition.state);
        }
        self.disk_ever_failed |= !written;
        self.tally.records_failed += u64::from(!written);
        let wait = match self.rng.u8(0..10) {
            0 => self.rng.u64(500..4_000),
            _ => self.rng.u64(0..10),
        };
        let error = "no space left on device".to_owned();
        match transition.operation {
            Some(operation) => {
                let result = if written { Ok(()) } else { Err(error) };
                let flip = operation.flip;
                self.told_in(wait, Event::Recorded { flip, result });
            }
            None if !written => self.told_in(wait, Event::Unrecorded { reason: error }),
            None => {}
        }
    }

    fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Started(operation) => {
                let why = operation.reason.as_deref().unwrap_or_default();
                self.tally.unconfirmed += u64::from(why.starts_with("not confirmed"));
                self.tally.breaches += u64::from(why.ends_with("requests failed"));
                let is_failback = operation.direction == Direction::Failback;
                let rules = self.switch.rules();
                let is_held = self.switch.quarantine(&operation.to).is_some()
                    || self.switch.moves_in_window() >= rules.failback.max_moves;
                self.tally.rescues += u64::from(is_failback && is_held);
                self.tally.spared += u64::from(operation.blameless);
                self.refereed(|referee, world| referee.started(&operation, world));
            }
            Notice::Failed { operation, .. } | Notice::Cancelled { operation, .. } => {
                self.refereed(|referee, world| referee.ended(&operation, world.now));
            }
            Notice::Published { operation, .. } => {
                self.refereed(|referee, world| referee.ended(&operation, world.now));
                match operation.direction {
                    Direction::Flip => self.tally.flips += 1,
                    Direction::Rollback => self.tally.rollbacks += 1,
                    Direction::Failback => self.tally.failbacks += 1,
                    Direction::Canary | Direction::Abort => panic!("it moves no traffic"),
                }
                self.tally.forced += u64::from(operation.forced);
                let drains = self.switch.draining().len();
                self.tally.drained_side_by_side += u64::from(drains > 1);
            }
            Notice::Canary(CanaryNotice::Set { operation, .. }) => {
                self.refereed(|referee, world| referee.ended(&operation, world.now));
            }
            Notice::Canary(CanaryNotice::Over { promoted, .. }) => {
                self.tally.promoted += u64::from(promoted);
            }
            Notice::Settled => assert_eq!(self.switch.phase(), Phase::Steady),
            Notice::Staying { reason, .. } => {
                self.tally.stayed += 1;
                self.tally.left_behind += u64::from(reason.contains("modules have changed"));
                self.tally.shared_causes += u64::from(reason.contains("both fail"));
                self.tally.graces += u64::from(reason.contains("slower to recover"));
                self.tally.doubts += u64::from(reason.contains("is judged again"));
            }
            Notice::QuarantineEnded { .. } => self.tally.quarantines_ended += 1,
            Notice::Quarantined { slot, .. } => {
                self.refereed(|referee, _| referee.may_be_quarantined(&slot));
            }
            Notice::Unchanged { .. }
            | Notice::Canary(CanaryNotice::Unchanged { .. } | CanaryNotice::Halted { .. })
            | Notice::Drained { .. }
            | Notice::Acknowledged { .. }
            | Notice::Labelled { .. } => {}
            Notice::Confirmed { .. } => self.tally.confirmed += 1,
        }
    }

    /// The referee sees the world, and the world cannot reach it meanwhile.
    fn refereed<T>(&mut self, judge: impl FnOnce(&mut Referee, &World) -> T) {
        let mut referee = self.referee.take().expect("one judgement at a time");
        judge(&mut referee, self);
        self.referee = Some(referee);
    }

    fn note(&mut self, line: &str) {
        let line = format!("{:>9} ms  {line}", self.now.0 - 1_000_000);
        if self.aloud {
            println!("{line}");
        }
        self.told.push(line);
    }

    fn told_in(&mut self, millis: u64, event: Event) {
        let life = self.life;
        self.in_millis(millis, Happening::Told { life, event });
    }

    fn in_millis(&mut self, millis: u64, happening: Happening) {
        self.at(self.now.after(Duration::from_millis(millis)), happening);
    }

    fn some_time(&mut self, within_secs: u64, happening: Happening) {
        let millis = self.rng.u64(0..within_secs * 1000);
        self.in_millis(millis, happening);
    }

    fn at(&mut self, at: Moment, happening: Happening) {
        self.sequence += 1;
        self.coming.insert((at, self.sequence), happening);
    }
}

fn rules(rng: &mut Rng) -> Rules {
    let names = ["blue", "green", "red"];
    let slots: Vec<_> = names[..rng.usize(2..=3)]
        .iter()
        .map(|name| SlotName::new(name).unwrap())
        .collect();
    let modes = [
        FailbackMode::Always,
        FailbackMode::Always,
        FailbackMode::AfterFlip,
        FailbackMode::Off,
    ];
    Rules {
        initial: rng.choice(&slots).unwrap().clone(),
        slots,
        failback: FailbackRules {
            mode: *rng.choice(modes.as_slice()).unwrap(),
            watch: Duration::from_secs(rng.u64(1..600)),
            quarantine: Duration::from_secs(rng.u64(0..300)),
            acknowledge: rng.bool(),
            start_grace: Duration::from_secs(rng.u64(0..60)),
            shared_grace: Duration::from_secs(rng.u64(10..60)),
            max_moves: rng.u32(1..4),
            window: Duration::from_secs(rng.u64(1..900)),
        },
        canary: CanaryRules {
            steps: steps(rng),
            idle: Duration::from_secs(rng.u64(1..300)),
            is_judged: false,
        },
        round: Duration::from_millis(INTERVAL),
        evidence: EVIDENCE,
    }
}

fn share(rng: &mut Rng) -> Percent {
    Percent::of_percent(f64::from(rng.u32(0..=100))).unwrap()
}

fn steps(rng: &mut Rng) -> Vec<CanaryStep> {
    let count = rng.usize(0..3);
    let mut steps: Vec<_> = (0..count)
        .map(|_| CanaryStep::Share {
            share: share(rng),
            lasts: Some(Duration::from_secs(rng.u64(1..200))),
        })
        .collect();
    if count > 0 && rng.bool() {
        steps.push(CanaryStep::Promote);
    }
    steps
}

fn health(well: bool, reason: &str) -> SlotHealth {
    if well {
        return SlotHealth::Healthy;
    }
    let reason = format!("connection refused ({reason})");
    SlotHealth::Unhealthy { reason }
}
