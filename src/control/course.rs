//! When members last failed their checks, and when they were last well: whether two slots failed together shows
//! in that, long after both have recovered.

use super::endpoints::Endpoints;
use super::endpoints::Watched;
use super::endpoints::needed;
use super::prober::EndpointKey;
use super::prober::ProbeReport;
use crate::config::Settings;
use crate::config::Slot;
use crate::switch::MemberName;
use crate::switch::Moment;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use crate::switch::Stretch;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MemberKey {
    pub(super) service: ServiceName,
    pub(super) slot: SlotName,
    pub(super) member: MemberName,
}

impl MemberKey {
    pub(super) fn of(key: &EndpointKey) -> Self {
        Self {
            service: key.service.clone(),
            slot: key.slot.clone(),
            member: key.member.clone(),
        }
    }
}

/// Of one member, or of a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Course {
    /// When it failed last.
    pub(super) failing: Option<Stretch>,
    /// The latest check at which it had passed often enough.
    pub(super) well: Option<Moment>,
}

impl Course {
    /// A slot is as well as the member that was well longest ago.
    pub(super) fn of_all(members: impl Iterator<Item = Self>) -> Self {
        let all: Vec<_> = members.collect();
        let wells: Option<Vec<_>> = all.iter().map(|it| it.well).collect();
        Self {
            failing: all
                .iter()
                .filter_map(|it| it.failing)
                .max_by_key(|it| it.last),
            well: wells.and_then(|wells| wells.into_iter().min()),
        }
    }
}

#[derive(Debug)]
struct Failing {
    stretch: Stretch,
    /// It has not been well since.
    goes_on: bool,
}

/// Those of all members.
#[derive(Debug, Default)]
pub(super) struct Courses(BTreeMap<MemberKey, Failing>);

impl Courses {
    /// Forgets members that are gone.
    pub(super) fn configure(&mut self, settings: &Settings) {
        let mut known = BTreeSet::new();
        for service in &settings.services {
            for slot in &service.slots {
                known.extend(slot.members.iter().map(|member| MemberKey {
                    service: service.name.clone(),
                    slot: slot.name.clone(),
                    member: member.name.clone(),
                }));
            }
        }
        self.0.retain(|key, _| known.contains(key));
    }

    /// One of the member's endpoints was probed at `at`.
    pub(super) fn follow(&mut self, member: &MemberKey, endpoints: &[&Watched], at: Moment) {
        let needed = needed(endpoints);
        let count =
            |is: fn(&Watched) -> bool| endpoints.iter().filter(|endpoint| is(endpoint)).count();
        let failed = count(|endpoint| endpoint.last_passed() == Some(false));
        if failed > endpoints.len() - needed {
            let begins = || Failing {
                stretch: Stretch {
                    since: at,
                    last: at,
                },
                goes_on: true,
            };
            let failing = self.0.entry(member.clone()).or_insert_with(begins);
            if !failing.goes_on {
                *failing = begins();
            }
            failing.stretch.last = failing.stretch.last.max(at);
        } else if count(Watched::is_steady) >= needed
            && let Some(failing) = self.0.get_mut(member)
        {
            failing.goes_on = false;
        }
    }

    pub(super) fn of(&self, member: &MemberKey, endpoints: &[&Watched]) -> Course {
        let mut wells: Vec<_> = endpoints.iter().filter_map(|it| it.well()).collect();
        wells.sort_unstable_by(|a, b| b.cmp(a));
        Course {
            failing: self.0.get(member).map(|failing| failing.stretch),
            well: wells.get(needed(endpoints) - 1).copied(),
        }
    }
}

impl Endpoints {
    /// Takes one probe into account.
    pub(super) fn observe(&mut self, report: ProbeReport) {
        let (key, at) = (report.key.clone(), report.started);
        if let Some(watched) = self.watched.get_mut(&key) {
            watched.observe(report);
            let member = MemberKey::of(&key);
            let mut courses = std::mem::take(&mut self.courses);
            let endpoints: Vec<_> = self.of_member(&member).collect();
            courses.follow(&member, &endpoints, at);
            self.courses = courses;
        }
    }

    /// When a slot failed last, and when it was well last.
    pub(super) fn course(&self, service: &ServiceName, slot: &Slot) -> Course {
        let members = slot.members.iter().map(|member| {
            let key = MemberKey {
                service: service.clone(),
                slot: slot.name.clone(),
                member: member.name.clone(),
            };
            let endpoints: Vec<_> = self.of_member(&key).collect();
            self.courses.of(&key, &endpoints)
        });
        Course::of_all(members)
    }

    fn of_member<'a>(&'a self, member: &'a MemberKey) -> impl Iterator<Item = &'a Watched> {
        let all = self.of(&member.service, &member.slot);
        all.filter(|it| *it.member_name() == member.member)
    }
}
