//! Parts of a site that worked on the old slot and fail on the new one.

use super::bounds::surely_below;
use super::evidence::{CROWD, Evidence};
use super::moment::Moment;
use super::parts::{Calls, Fault};
use super::tally::Share;

/// Parts that are told of at once.
const MOST_TOLD: usize = 3;
/// What a part that nobody asked the old slot for must fail to be worth a word.
const MOSTLY: Share = Share::percent(50);

impl Evidence {
    /// Parts that enough clients agree on: they worked on the old slot, and fail here.
    pub(super) fn broken_parts(&self, now: Moment, limit: Share) -> Vec<String> {
        let faults = self.parts.faults(now);
        worst(faults.filter_map(|fault| {
            let before = self.before_of(fault.name);
            let enough = self.are_enough(fault.clients.iter().copied());
            if enough && fault.strong.surely_exceeds(before.at_most(limit)) {
                return Some(self.told(&fault, (fault.strong, fault.clients.len()), before));
            }
            // What nobody asked the old slot for is believed of many only.
            let least = match before.calls {
                0 => limit,
                _ => before.at_most(limit),
            };
            let crowd = fault.others >= CROWD && fault.all().surely_exceeds(least);
            crowd.then(|| self.told(&fault, (fault.all(), fault.others), before))
        }))
    }

    /// Parts that do badly for some who were served well by the old slot, too few of them to act on it.
    pub(super) fn doubtful_parts(&self, now: Moment, limit: Share) -> Vec<String> {
        let faults = self.parts.faults(now);
        worst(faults.filter_map(|fault| {
            let before = self.before_of(fault.name);
            if fault.strong.surely_exceeds(before.at_most(limit)) {
                return Some(self.told(&fault, (fault.strong, fault.clients.len()), before));
            }
            let is_new = before.calls == 0 && fault.is_of_acquaintances;
            let fails = is_new && fault.all().surely_exceeds(MOSTLY.max(limit));
            fails.then(|| self.told(&fault, (fault.all(), fault.others), before))
        }))
    }

    fn before_of(&self, part: &str) -> Calls {
        let history = self.history.as_ref();
        let part = history.and_then(|it| it.account.part(part));
        part.map_or_else(Calls::default, |part| Calls {
            calls: part.calls,
            failed: part.failed,
        })
    }

    fn told(&self, fault: &Fault<'_>, (seen, clients): (Calls, usize), before: Calls) -> Told {
        let compared = self.history.as_ref().map_or(String::new(), |it| {
            let Calls { calls, failed } = before;
            match calls {
                0 => format!("; on {} nobody asked for it", it.slot),
                calls => format!("; on {} {failed} of {calls}", it.slot),
            }
        });
        let error = fault
            .error
            .map_or(String::new(), |name| format!(" ({name})"));
        let many = if clients == 1 { "client" } else { "clients" };
        Told {
            failed: seen.failed,
            words: format!(
                "{}: {} of {} calls failed{error} by {clients} {many}{compared}",
                fault.name, seen.failed, seen.calls
            ),
        }
    }
}

struct Told {
    failed: u64,
    words: String,
}

fn worst(found: impl Iterator<Item = Told>) -> Vec<String> {
    let mut found: Vec<_> = found.collect();
    found.sort_by(|a, b| b.failed.cmp(&a.failed).then_with(|| a.words.cmp(&b.words)));
    found.truncate(MOST_TOLD);
    found.into_iter().map(|told| told.words).collect()
}

impl Calls {
    /// What a part must exceed to do worse than it surely did before, and than `limit`.
    fn at_most(self, limit: Share) -> Share {
        limit.max(surely_below(self.failed, self.calls))
    }
}
