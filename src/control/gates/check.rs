//! What was looked at, and what a gate as a whole makes of it.

use crate::api::GateCheck;
use crate::api::Outcome;
use crate::config::Gate;
use crate::config::Severity;
use crate::switch::Passed;
use crate::switch::SlotName;
use std::time::Duration;

/// How much of what came back is shown.
const SHOWN: usize = 200;

/// One thing that was looked at.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) endpoint: Option<String>,
    pub(super) outcome: Outcome,
    pub(super) said: String,
    pub(super) remedy: Option<String>,
    pub(super) took: Duration,
}

impl Check {
    fn new(name: impl Into<String>, outcome: Outcome, said: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            endpoint: None,
            outcome,
            said: said.into(),
            remedy: None,
            took: Duration::ZERO,
        }
    }

    pub(super) fn passed(name: impl Into<String>, said: impl Into<String>) -> Self {
        Self::new(name, Outcome::Passed, said)
    }

    pub(super) fn failed(
        name: impl Into<String>,
        said: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let mut check = Self::new(name, Outcome::Failed, said);
        check.remedy = Some(remedy.into());
        check
    }

    pub(super) fn inconclusive(
        name: impl Into<String>,
        said: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let mut check = Self::new(name, Outcome::Inconclusive, said);
        check.remedy = Some(remedy.into());
        check
    }

    /// Does not stand in the way, and is told all the same.
    pub(super) fn warning(
        name: impl Into<String>,
        said: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let mut check = Self::new(name, Outcome::Warn, said);
        check.remedy = Some(remedy.into());
        check
    }

    pub(super) fn at(mut self, endpoint: &str) -> Self {
        self.endpoint = Some(endpoint.to_owned());
        self
    }

    pub(super) fn took(mut self, took: Duration) -> Self {
        self.took = took;
        self
    }

    fn stands_in_the_way(&self) -> bool {
        matches!(self.outcome, Outcome::Failed | Outcome::Inconclusive)
    }
}

/// What one attempt of one gate found.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub(super) checks: Vec<Check>,
    pub(super) fingerprint: Option<String>,
    /// Who asked for it, in the database.
    pub(super) uid: Option<u64>,
}

impl Attempt {
    pub(super) fn of(checks: Vec<Check>) -> Self {
        Self {
            checks,
            ..Self::default()
        }
    }

    pub(super) fn passed(&self) -> bool {
        !self.checks.iter().any(Check::stands_in_the_way)
    }

    /// Why it did not pass, in one line.
    pub(super) fn in_words(&self) -> String {
        let bad = self.checks.iter().filter(|check| check.stands_in_the_way());
        let words: Vec<String> = bad
            .map(|check| match &check.endpoint {
                Some(endpoint) => format!("{} ({endpoint}): {}", check.name, check.said),
                None => format!("{}: {}", check.name, check.said),
            })
            .collect();
        words.join("; ")
    }

    /// As it is told and kept: a gate that only warns turns a "no" into a warning.
    pub(super) fn told(self, gate: &Gate, slot: &SlotName) -> Vec<GateCheck> {
        let told = |check: Check| {
            let (outcome, said) = match (gate.severity, check.outcome) {
                (Severity::Warn, Outcome::Failed) => (Outcome::Warn, check.said),
                (Severity::Warn, Outcome::Inconclusive) => {
                    (Outcome::Warn, format!("inconclusive: {}", check.said))
                }
                (_, outcome) => (outcome, check.said),
            };
            GateCheck {
                slot: slot.to_string(),
                gate: gate.name.clone(),
                kind: gate.kind.word().to_owned(),
                check: check.name,
                endpoint: check.endpoint,
                outcome,
                said,
                remedy: check.remedy,
                took_ms: super::super::clock::millis(check.took),
            }
        };
        self.checks.into_iter().map(told).collect()
    }
}

/// What all gates of a slot found.
#[derive(Debug, Default)]
pub(in crate::control) struct Findings {
    pub(in crate::control) checks: Vec<GateCheck>,
    /// Gates that were tried.
    pub(in crate::control) tried: usize,
    pub(in crate::control) fingerprint: Option<String>,
    /// What the code of the active slot is made for, in the same text.
    pub(in crate::control) left: Option<String>,
    /// How long ago they were found, where nothing was tried now.
    pub(in crate::control) reused: Option<Duration>,
}

impl Findings {
    /// What the machine remembers of it.
    pub(in crate::control) fn passed(&self) -> Passed {
        Passed {
            fingerprint: self.fingerprint.clone(),
            left: self.left.clone(),
        }
    }

    /// Why no traffic may move, one each.
    pub(in crate::control) fn reasons(&self) -> Vec<String> {
        let bad =
            |check: &&GateCheck| matches!(check.outcome, Outcome::Failed | Outcome::Inconclusive);
        self.checks.iter().filter(bad).map(in_words).collect()
    }

    pub(in crate::control) fn warnings(&self) -> Vec<String> {
        let warned = |check: &&GateCheck| check.outcome == Outcome::Warn;
        self.checks.iter().filter(warned).map(in_words).collect()
    }
}

fn in_words(check: &GateCheck) -> String {
    let at = check.endpoint.as_ref();
    let at = at.map_or(String::new(), |endpoint| format!(" ({endpoint})"));
    let verdict = match check.outcome {
        Outcome::Inconclusive => "inconclusive: ",
        Outcome::Passed | Outcome::Warn | Outcome::Failed => "",
    };
    let remedy = check.remedy.as_ref();
    let remedy = remedy.map_or(String::new(), |remedy| format!("; {remedy}"));
    let GateCheck {
        gate, check, said, ..
    } = check;
    format!("gate {gate}, {check}{at}: {verdict}{said}{remedy}")
}

/// The beginning of what came back, as one line.
pub(super) fn shown(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(4 * SHOWN)];
    let text = crate::upstream::printable(start);
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() || start.len() < bytes.len() {
        short.push('…');
    }
    short
}
