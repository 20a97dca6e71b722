//! A slot before its gates.

use super::super::prober::Target;
use super::asking::Asker;
use super::asking::Lacked;
use super::check::Attempt;
use super::check::Check;
use super::check::Findings;
use super::latency;
use super::left;
use super::odoo;
use super::steps;
use super::teller::Teller;
use super::warm_up;
use crate::api::GateProgress;
use crate::config::Gate;
use crate::config::GateKind;
use crate::config::Origin;
use crate::config::Service;
use crate::switch::MemberName;
use crate::switch::SlotName;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The slot, and with what it is compared.
#[derive(Debug)]
pub(in crate::control) struct Trial {
    pub(in crate::control) service: Arc<Service>,
    pub(in crate::control) slot: SlotName,
    pub(in crate::control) targets: Vec<Arc<Target>>,
    /// None where the slot itself is the active one.
    pub(in crate::control) active: Option<Active>,
    /// Clients reach the service over TLS.
    pub(in crate::control) is_https: bool,
    pub(in crate::control) lacked: Lacked,
}

/// The slot that has the traffic.
#[derive(Debug)]
pub(in crate::control) struct Active {
    pub(in crate::control) slot: SlotName,
    pub(in crate::control) targets: Vec<Arc<Target>>,
    /// Its own health is bad: there is nothing to compare with.
    pub(in crate::control) is_bad: bool,
}

/// What a gate that does not pass means for those behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Pace {
    /// They are not tried: nothing can come of it any more.
    UntilOneFails,
    /// They are tried all the same, so that all is told at once.
    All,
}

impl Trial {
    pub(in crate::control) async fn run(&self, teller: &Teller, pace: Pace) -> Findings {
        let mut findings = Findings::default();
        for gate in &self.service.gates {
            let mut attempt = self.try_gate(gate, teller).await;
            findings.tried += 1;
            if findings.left.is_none()
                && let (GateKind::Odoo(odoo), Some(uid)) = (&gate.kind, attempt.uid)
            {
                findings.left = left::wanted(self, gate, odoo, uid).await;
            }
            findings.fingerprint = attempt.fingerprint.take().or(findings.fingerprint);
            for check in attempt.told(gate, &self.slot) {
                teller.check(check.clone());
                findings.checks.push(check);
            }
            if pace == Pace::UntilOneFails && !findings.reasons().is_empty() {
                break;
            }
        }
        findings
    }

    /// Until it passes, its attempts are used up, or its time is over.
    async fn try_gate(&self, gate: &Gate, teller: &Teller) -> Attempt {
        let started = Instant::now();
        let deadline = started + gate.deadline;
        let mut before = String::new();
        let mut number = 1;
        loop {
            let tried = tokio::time::timeout_at(deadline, self.attempt(gate)).await;
            let lacked = self.lacked.take();
            let Ok(attempt) = tried else {
                return match lacked {
                    Some(words) => unasked(&self.slot, words, started),
                    None => overdue(gate, &before, started),
                };
            };
            let next = Instant::now() + gate.interval;
            if let (Some(words), false) = (lacked, attempt.passed()) {
                // It was no attempt: the slot was not even asked.
                if next >= deadline {
                    return unasked(&self.slot, words, started);
                }
                before = words;
                teller.progress(self.progress(gate, number, &before));
                tokio::time::sleep_until(next).await;
                continue;
            }
            if attempt.passed() || number >= gate.attempts || next >= deadline {
                return attempt;
            }
            before = attempt.in_words();
            teller.progress(self.progress(gate, number, &before));
            tokio::time::sleep_until(next).await;
            number += 1;
        }
    }

    fn progress(&self, gate: &Gate, attempt: u32, said: &str) -> GateProgress {
        GateProgress {
            slot: self.slot.to_string(),
            gate: gate.name.clone(),
            attempt,
            attempts: gate.attempts,
            said: said.to_owned(),
        }
    }

    async fn attempt(&self, gate: &Gate) -> Attempt {
        match &gate.kind {
            GateKind::Http(steps) => Box::pin(steps::attempt(self, gate, steps)).await,
            GateKind::Odoo(odoo) => Box::pin(odoo::attempt(self, gate, odoo)).await,
            GateKind::Latency(latency) => Box::pin(latency::attempt(self, gate, latency)).await,
            GateKind::WarmUp(warm_up) => Box::pin(warm_up::attempt(self, gate, warm_up)).await,
        }
    }

    /// Every address of one member of the slot.
    pub(super) fn askers(&self, gate: &Gate, member: &MemberName) -> Vec<Asker<'_>> {
        self.askers_of(&self.targets, gate, member)
    }

    /// Every address of one member of the active slot.
    pub(super) fn active_askers<'a>(
        &'a self,
        active: &'a Active,
        gate: &Gate,
        member: &MemberName,
    ) -> Vec<Asker<'a>> {
        self.askers_of(&active.targets, gate, member)
    }

    fn askers_of<'a>(
        &'a self,
        targets: &'a [Arc<Target>],
        gate: &Gate,
        member: &MemberName,
    ) -> Vec<Asker<'a>> {
        let mine = targets.iter().filter(|it| it.key.member == *member);
        mine.map(|target| Asker {
            target,
            lacked: &self.lacked,
            origin: gate.origin.clone().unwrap_or_else(|| Origin {
                is_https: self.is_https,
                host: target.host.clone(),
            }),
        })
        .collect()
    }

    /// All members, the main one first.
    pub(super) fn members(&self) -> Vec<MemberName> {
        let slots = self.service.slots.first();
        let members = slots.into_iter().flat_map(|slot| &slot.members);
        members.map(|member| member.name.clone()).collect()
    }

    /// The member that clients' requests for `path` reach.
    pub(super) fn member_for(&self, path: &str, is_upgrade: bool) -> Option<MemberName> {
        let path = path.split('?').next().unwrap_or(path);
        let reached = self.service.routes.iter().filter(|route| {
            let rest = path.strip_prefix(route.prefix.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                && (is_upgrade || !route.upgrades_only)
        });
        let nearest = reached.max_by_key(|route| {
            let length = route.prefix.trim_end_matches('/').len();
            (length, route.upgrades_only)
        });
        nearest
            .map(|route| route.to.clone())
            .or_else(|| self.members().into_iter().next())
    }
}

/// It is we who could not ask until the time was over.
fn unasked(slot: &SlotName, words: String, started: Instant) -> Attempt {
    let remedy = format!("nothing was found against {slot}: mend that, and try again");
    let check = Check::inconclusive("resources", words, remedy);
    Attempt::of(vec![check.took(started.elapsed())])
}

fn overdue(gate: &Gate, before: &str, started: Instant) -> Attempt {
    let after = in_seconds(gate.deadline);
    let said = match before {
        "" => format!("no answer to the end within {after}"),
        before => format!("not over within {after}; the last attempt said: {before}"),
    };
    let remedy = format!(
        "look whether the slot hangs or is slow; `deadline` of gate {} says how long it may take",
        gate.name
    );
    let check = Check::inconclusive("deadline", said, remedy);
    Attempt::of(vec![check.took(started.elapsed())])
}

/// `1.5 s`, `30 s`.
pub(super) fn in_seconds(time: Duration) -> String {
    let milliseconds = time.as_millis();
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        _ if milliseconds.is_multiple_of(1000) => format!("{} s", milliseconds / 1000),
        _ => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
    }
}
