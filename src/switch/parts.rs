//! How each part of a site does lately: a route, or a method of a model.

use super::account::{ClientId, Met, Observation};
use super::bounds::surely_above;
use super::moment::Moment;
use super::tally::Share;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// So far back calls are counted.
const WINDOW: Duration = Duration::from_mins(1);
const CELL: Duration = Duration::from_secs(10);
/// Fewer failures say nothing of a part.
const LEAST: u64 = 10;
/// Parts that are counted; what more there are is counted nowhere while these are used.
const MOST_PARTS: usize = 512;
/// Clients that are told apart in one cell of one part.
const MOST_CLIENTS: usize = 32;

#[derive(Debug, Clone, Default)]
pub(super) struct Parts(HashMap<Box<str>, Part>);

#[derive(Debug, Clone, Default)]
struct Part {
    cells: VecDeque<Cell>,
    error: Option<Box<str>>,
}

#[derive(Debug, Clone)]
struct Cell {
    at: Moment,
    strong: Calls,
    weak: Calls,
    failed_for: Vec<Witness>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Witness {
    client: ClientId,
    is_weak: bool,
    is_stranger: bool,
}

/// Calls and those that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) calls: u64,
    pub(super) failed: u64,
}

impl Calls {
    pub(super) fn surely_exceeds(self, limit: Share) -> bool {
        self.failed >= LEAST && surely_above(self.failed, self.calls) > limit
    }

    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failed += other.failed;
    }
}

/// A part with failures in the last minute.
#[derive(Debug)]
pub(super) struct Fault<'a> {
    pub(super) name: &'a str,
    /// Of clients that are believed, where the old slot worked.
    pub(super) strong: Calls,
    /// Of others, or where the old slot was not asked.
    pub(super) weak: Calls,
    /// Whom it failed for.
    pub(super) clients: Vec<ClientId>,
    /// How many it failed for, believed or not.
    pub(super) others: usize,
    /// Some of them were served well by the old slot, if not here.
    pub(super) is_of_acquaintances: bool,
    pub(super) error: Option<&'a str>,
}

impl Fault<'_> {
    pub(super) fn all(&self) -> Calls {
        let mut all = self.strong;
        all.add(self.weak);
        all
    }
}

impl Parts {
    pub(super) fn note(
        &mut self,
        now: Moment,
        seen: &Observation<'_>,
        (is_weak, is_stranger): (bool, bool),
    ) {
        if matches!(seen.met, Met::Opened | Met::Unopened | Met::Closed) {
            return;
        }
        if !self.0.contains_key(seen.part) {
            if self.0.len() >= MOST_PARTS {
                self.0.retain(|_, part| part.is_used(now));
            }
            if self.0.len() >= MOST_PARTS {
                return;
            }
            self.0.insert(seen.part.into(), Part::default());
        }
        let Some(part) = self.0.get_mut(seen.part) else {
            return;
        };
        let failed = seen.met.is_bad();
        let cell = part.cell(now);
        let calls = Calls {
            calls: seen.weight,
            failed: if failed { seen.weight } else { 0 },
        };
        if is_weak {
            cell.weak.add(calls);
        } else {
            cell.strong.add(calls);
        }
        if !failed {
            return;
        }
        let witness = Witness {
            client: seen.client,
            is_weak,
            is_stranger,
        };
        if cell.failed_for.len() < MOST_CLIENTS && !cell.failed_for.contains(&witness) {
            cell.failed_for.push(witness);
        }
        if let Some(error) = seen.error
            && part.error.as_deref() != Some(error)
        {
            part.error = Some(error.into());
        }
    }

    pub(super) fn faults(&self, now: Moment) -> impl Iterator<Item = Fault<'_>> {
        let each = self.0.iter();
        each.filter_map(move |(name, part)| part.fault(name, now))
    }
}

impl Part {
    fn is_used(&self, now: Moment) -> bool {
        let last = self.cells.back();
        last.is_some_and(|cell| now.since(cell.at) <= WINDOW)
    }

    fn cell(&mut self, now: Moment) -> &mut Cell {
        while self
            .cells
            .front()
            .is_some_and(|cell| now.since(cell.at) > WINDOW)
        {
            self.cells.pop_front();
        }
        let is_fresh = |cell: &Cell| now.since(cell.at) < CELL;
        if !self.cells.back().is_some_and(is_fresh) {
            self.cells.push_back(Cell {
                at: now,
                strong: Calls::default(),
                weak: Calls::default(),
                failed_for: Vec::new(),
            });
        }
        self.cells.back_mut().expect("one was just put there")
    }

    fn fault<'a>(&'a self, name: &'a str, now: Moment) -> Option<Fault<'a>> {
        let mut fault = Fault {
            name,
            strong: Calls::default(),
            weak: Calls::default(),
            clients: Vec::new(),
            others: 0,
            is_of_acquaintances: false,
            error: self.error.as_deref(),
        };
        let mut others = Vec::new();
        let recent = |cell: &&Cell| now.since(cell.at) <= WINDOW;
        for cell in self.cells.iter().filter(recent) {
            fault.strong.add(cell.strong);
            fault.weak.add(cell.weak);
            for witness in &cell.failed_for {
                fault.is_of_acquaintances |= !witness.is_stranger;
                let believed = !witness.is_weak && !witness.is_stranger;
                if believed && !fault.clients.contains(&witness.client) {
                    fault.clients.push(witness.client);
                }
                if !others.contains(&witness.client) {
                    others.push(witness.client);
                }
            }
        }
        fault.others = others.len();
        (fault.all().failed > 0).then_some(fault)
    }
}
