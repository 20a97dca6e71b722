//! What requests met, taken from the workers: for the slot's own past, and for those who judge it.

use super::Watching;
use super::part::part_of;
use crate::config::Watch as WatchSettings;
use crate::control::steered::Steered;
use crate::switch::Account;
use crate::switch::Evidence;
use crate::switch::Generation;
use crate::switch::History;
use crate::switch::Met;
use crate::switch::Moment;
use crate::switch::Observation;
use crate::switch::Tally;
use crate::switch::Track;
use crate::telemetry::Batch;
use crate::telemetry::Noted;
use std::time::Duration;

/// What is known of the active slot's time so far.
#[derive(Debug)]
pub(super) struct Past {
    generation: Generation,
    track: Track,
    /// Each over the time of a baseline: what is older is forgotten.
    older: Account,
    newer: Account,
    turned: Moment,
}

/// What is known of a slot that traffic leaves.
#[derive(Debug, Default)]
pub(in crate::control) struct Left {
    /// Whoever asked, as everybody is shown it.
    pub(in crate::control) shown: Option<Tally>,
    pub(in crate::control) history: Option<History>,
}

impl Past {
    fn new(generation: Generation, length: Duration, (now, tally): (Moment, &Tally)) -> Self {
        Self {
            generation,
            track: Track::new(length, now, tally),
            older: Account::default(),
            newer: Account::default(),
            turned: now,
        }
    }

    fn turn(&mut self, length: Duration, now: Moment) {
        if now.since(self.turned) >= length {
            self.older = std::mem::take(&mut self.newer);
            self.turned = now;
        }
    }

    pub(super) fn account(&self) -> Account {
        let mut account = self.older.clone();
        account.merge(&self.newer);
        account
    }
}

impl Steered {
    /// Takes what workers have written down of every slot.
    pub(in crate::control) fn gather(&mut self, now: Moment) {
        let settings = self.settings.clone();
        // Not what the machine says: when traffic moves it is ahead of what workers have counted on until now.
        let generation = self.active_slot().generation;
        let tally = self.active_slot().metrics.tally();
        let length = settings.watch.rules.baseline;
        let watching = &mut self.watching;
        let since = watching.gathered.replace(now).unwrap_or(now);
        watching.past.take_if(|past| past.generation != generation);
        let fresh = || Past::new(generation, length, (now, &tally));
        let past = watching.past.get_or_insert_with(fresh);
        past.turn(length, now);
        past.track.set_length(length);
        past.track.mark(now, &tally);
        for (index, slot) in self.slots.iter().enumerate() {
            let batches = slot.metrics.take_observations(now.since(since));
            let all = batches.iter().flat_map(Batch::noted);
            for noted in all {
                let part = part_of(noted.sighting.path);
                let seen = observation(&noted, &part, &settings.watch);
                if index == self.active {
                    self.watching.take(now, &seen);
                } else if self.canary == Some(index) {
                    if let Some(judge) = &mut self.canary_judge {
                        judge.evidence.note(now, &seen);
                    }
                } else if let Some(watched) = &mut self.watching.watched {
                    // Who was on the slot that was left until now was served well by it.
                    watched.evidence.also_before(slot.name.as_str(), &seen);
                }
            }
        }
    }

    pub(in crate::control) fn left_behind(&self) -> Left {
        let Some(past) = &self.watching.past else {
            return Left::default();
        };
        let tally = self.active_slot().metrics.tally();
        Left {
            shown: past.track.oldest().map(|before| tally.since(before)),
            history: Some(History {
                slot: self.active_slot().name.to_string(),
                account: past.account(),
            }),
        }
    }
}

impl Watching {
    fn take(&mut self, now: Moment, seen: &Observation<'_>) {
        if let Some(past) = &mut self.past {
            past.newer.note(seen);
        }
        let watched = self.watched.as_mut().filter(|it| !it.is_over);
        let evidence: Option<&mut Evidence> = match watched {
            Some(watched) => Some(&mut watched.evidence),
            None => self.guard.as_mut().map(|guard| &mut guard.evidence),
        };
        if let Some(evidence) = evidence {
            evidence.note(now, seen);
        }
    }
}

fn observation<'a>(
    noted: &'a Noted<'a>,
    part: &'a str,
    settings: &WatchSettings,
) -> Observation<'a> {
    let error = noted.sighting.error;
    let is_shared = |name: &str| settings.shared_errors.iter().any(|it| it == name);
    let met = match noted.sighting.met {
        Met::RpcError if error.is_some_and(is_shared) => Met::SharedError,
        met => met,
    };
    Observation {
        client: noted.sighting.client,
        part,
        met,
        error,
        time: noted.time,
        weight: noted.weight,
    }
}
