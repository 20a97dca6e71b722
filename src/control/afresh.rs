//! All slots of a service asked at one moment, before traffic moves by itself.
//!
//! A job per question: every endpoint is probed at once, what the slots share is looked at, and the answers go
//! back to the machine together. Each probe has its own deadline; nobody waits for the rest of a slot once it is
//! known how that slot fails.

use super::conductor::Conductor;
use super::jobs::Jobs;
use super::message::Message;
use super::prober::ProbeReport;
use super::prober::Reach;
use super::prober::Target;
use super::prober::ask_once;
use super::shared;
use crate::config::Member;
use crate::config::Shared;
use crate::switch::Answer;
use crate::switch::AskId;
use crate::switch::Event;
use crate::switch::MemberName;
use crate::switch::Said;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use crate::switch::Trouble;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;

/// What all slots said.
#[derive(Debug)]
pub(super) struct Heard {
    service: ServiceName,
    ask: AskId,
    said: Vec<(SlotName, Said)>,
}

/// One slot that is asked.
#[derive(Debug)]
struct Asked {
    slot: SlotName,
    members: Vec<AskedMember>,
    targets: Vec<Arc<Target>>,
}

#[derive(Debug)]
struct AskedMember {
    name: MemberName,
    addresses: usize,
    /// So many addresses have to pass.
    needed: usize,
    reports: Vec<ProbeReport>,
}

impl AskedMember {
    fn of(member: &Member) -> Self {
        Self {
            name: member.name.clone(),
            addresses: member.addresses.len(),
            needed: needed(member),
            reports: Vec::new(),
        }
    }

    fn is_complete(&self) -> bool {
        self.reports.len() == self.addresses
    }

    fn passes(&self) -> bool {
        let passed = self.reports.iter().filter(|report| report.passed()).count();
        passed >= self.needed
    }

    /// So many have failed that the rest does not matter.
    fn fails(&self) -> bool {
        let failed = self.failures().count();
        failed > self.addresses - self.needed
    }

    /// For reasons of its own.
    fn failures(&self) -> impl Iterator<Item = &ProbeReport> {
        let reports = self.reports.iter();
        reports.filter(|report| !report.passed() && !report.is_no_result())
    }

    fn is_unreachable(&self) -> bool {
        let unreached =
            |report: &ProbeReport| !report.is_no_result() && report.reach != Reach::Answered;
        self.is_complete() && self.reports.iter().all(unreached)
    }

    fn trouble(&self) -> Trouble {
        let words = |report: &ProbeReport| {
            let key = &report.key;
            let (Ok(words) | Err(words)) = &report.result;
            format!("{} {}: {words}", key.member, key.address)
        };
        let reasons: Vec<_> = self.failures().map(words).collect();
        let kind = self.failures().next().map(|it| it.kind.as_str());
        Trouble {
            reason: reasons.join("; "),
            kind: format!("{} on {}", kind.unwrap_or("no answer"), self.name),
        }
    }
}

/// So many of a member's addresses have to be well for the member to be.
pub(super) fn needed(member: &Member) -> usize {
    let wanted = usize::try_from(member.health.min_healthy).unwrap_or(usize::MAX);
    wanted.min(member.addresses.len()).max(1)
}

impl Asked {
    /// What is known so far; none while more has to be heard.
    fn said(&self) -> Option<Said> {
        // Where ordinary requests go: whether anybody can reach the slot shows there.
        let ordinary = self.members.first()?;
        if ordinary.is_unreachable() {
            let silent = |report: &ProbeReport| report.reach == Reach::Silent;
            return Some(Said::Unreachable {
                trouble: ordinary.trouble(),
                is_silent: ordinary.reports.iter().any(silent),
            });
        }
        let reached = ordinary.is_complete() || ordinary.passes();
        if let Some(failing) = self.members.iter().find(|member| member.fails())
            && reached
        {
            return Some(Said::Failed(failing.trouble()));
        }
        if self.members.iter().all(AskedMember::passes) {
            return Some(Said::Passed);
        }
        self.members
            .iter()
            .all(AskedMember::is_complete)
            .then(|| self.unasked())
    }

    fn unasked(&self) -> Said {
        let reports = self.members.iter().flat_map(|member| &member.reports);
        let mut ours = reports.filter(|report| !report.passed() && report.is_no_result());
        let reason = ours.find_map(|report| report.result.clone().err());
        Said::Unasked {
            reason: reason.unwrap_or_else(|| "no answer".to_owned()),
        }
    }

    /// Asks every address at once, until it is known what the slot says.
    async fn run(mut self, jobs: Jobs) -> (SlotName, Said) {
        let mut probes = JoinSet::new();
        for target in std::mem::take(&mut self.targets) {
            let clock = jobs.clock;
            probes.spawn(async move { ask_once(&target, clock).await });
        }
        while let Some(report) = probes.join_next().await {
            let Ok(report) = report else {
                continue;
            };
            jobs.report(Message::Probed(report.clone())).await;
            let member = self
                .members
                .iter_mut()
                .find(|member| member.name == report.key.member);
            if let Some(member) = member {
                member.reports.push(report);
            }
            if let Some(said) = self.said() {
                return (self.slot, said);
            }
        }
        let said = self.unasked();
        (self.slot, said)
    }
}

async fn run(
    (service, ask): (ServiceName, AskId),
    slots: Vec<Asked>,
    shared: Option<Shared>,
    jobs: Jobs,
) {
    let look = async {
        if let Some(shared) = &shared {
            shared::once(&service, shared, &jobs).await;
        }
    };
    let mut asked = JoinSet::new();
    for slot in slots {
        asked.spawn(slot.run(jobs.clone()));
    }
    // What they share is told before what they say.
    let ((), said) = tokio::join!(look, asked.join_all());
    let heard = Heard { service, ask, said };
    jobs.report(Message::Answered(heard)).await;
}

impl Conductor {
    /// Asks every slot of one service, as a job of its own.
    pub(super) fn ask_all(&self, at: usize, ask: AskId) {
        let service = &self.services[at];
        let slots = service.settings.slots.iter().map(|slot| Asked {
            slot: slot.name.clone(),
            members: slot.members.iter().map(AskedMember::of).collect(),
            targets: self.stock.endpoints.targets(&service.name, &slot.name),
        });
        let job = run(
            (service.name.clone(), ask),
            slots.collect(),
            service.settings.shared.clone(),
            self.jobs.clone(),
        );
        tokio::spawn(job);
    }

    pub(super) fn heard(&mut self, heard: Heard) {
        let Heard { service, ask, said } = heard;
        let Some(at) = self.index_of(&service) else {
            return;
        };
        let settings = Arc::clone(&self.services[at].settings);
        let mut answers = BTreeMap::new();
        for (name, said) in said {
            let Some(slot) = settings.slots.iter().find(|slot| slot.name == name) else {
                continue;
            };
            let course = self.stock.endpoints.course(&service, slot);
            let answer = Answer {
                said,
                failing: course.failing,
                well: course.well,
            };
            answers.insert(name, answer);
        }
        self.event(at, Event::Answered { ask, answers });
    }
}
