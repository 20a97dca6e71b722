//! What is left of a deploy: for programs, and for the ticket.

use super::journal::{Outcome, Record, Undone};
use super::places::{Places, receipt_name};
use super::story::{StepState, Story};
use crate::api::SCHEMA;
use crate::cli::words;
use serde::Serialize;
use std::fmt::Write;
use std::io::{self, Write as _};

/// A deploy, as told afterwards (and as far as it came).
#[derive(Debug, Serialize)]
pub(super) struct Receipt<'s> {
    schema: u32,
    id: &'s str,
    service: &'s str,
    /// None while it is not over.
    pub(super) outcome: Option<Outcome>,
    /// Why it was taken back.
    why: Option<&'s str>,
    by: &'s str,
    reason: Option<&'s str>,
    slot: &'s str,
    old_slot: &'s str,
    version: Option<&'s str>,
    old_version: Option<&'s str>,
    began: &'s str,
    ended: Option<&'s str>,
    pub(super) took_ms: Option<u64>,
    pub(super) steps: Vec<Step<'s>>,
    gates: Vec<&'s str>,
    /// They were tried once: the flip followed so soon that it relied on that.
    #[serde(skip_serializing_if = "Option::is_none")]
    gates_reused_ms: Option<u64>,
    watch: Option<&'s str>,
    pub(super) held: Option<Held>,
    /// Until the slot that traffic left was empty.
    pub(super) emptied_ms: Option<u64>,
    pub(super) cut: Option<u64>,
    /// Of those, requests.
    #[serde(skip)]
    pub(super) lost: u64,
    pub(super) worst: Option<Worst<'s>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Step<'s> {
    pub(super) name: &'s str,
    pub(super) state: &'static str,
    pub(super) took_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<&'s str>,
}

/// All holds of a deploy together.
#[derive(Debug, Default, Serialize)]
pub(super) struct Held {
    pub(super) ms: u64,
    pub(super) requests: u64,
    pub(super) refused: u64,
    pub(super) longest_ms: u64,
}

impl Held {
    pub(super) fn in_words(&self) -> String {
        let refused = match self.refused {
            0 => String::new(),
            refused => format!(", {refused} were refused"),
        };
        format!(
            "{}: {}, the longest wait {}{refused}",
            words::took(self.ms),
            words::many(self.requests, "request"),
            words::took(self.longest_ms)
        )
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Worst<'s> {
    pub(super) ms: u64,
    pub(super) what: &'s str,
}

impl<'s> Receipt<'s> {
    pub(super) fn of(story: &'s Story) -> Self {
        let plan = &story.plan;
        let mut receipt = Self {
            schema: SCHEMA,
            id: &plan.id,
            service: &plan.service,
            outcome: story.outcome,
            why: story.undoing.as_deref(),
            by: &plan.by,
            reason: plan.reason.as_deref(),
            slot: &plan.slot,
            old_slot: &plan.old_slot,
            version: plan.version.as_deref(),
            old_version: plan.old_version.as_deref(),
            began: &story.began,
            ended: None,
            took_ms: None,
            steps: plan.steps.iter().map(|it| step(story, &it.name)).collect(),
            gates: Vec::new(),
            gates_reused_ms: None,
            watch: None,
            held: None,
            emptied_ms: None,
            cut: None,
            lost: 0,
            worst: None,
        };
        for entry in &story.entries {
            receipt.add(&entry.at, &entry.record);
        }
        receipt
    }

    fn add(&mut self, at: &'s str, record: &'s Record) {
        match record {
            Record::Gated { lines } => {
                self.gates = lines.iter().map(String::as_str).collect();
            }
            Record::Released {
                held_ms,
                requests,
                refused,
                longest_ms,
            } => {
                let held = self.held.get_or_insert_default();
                held.ms += held_ms;
                held.requests += requests;
                held.refused += refused;
                held.longest_ms = held.longest_ms.max(*longest_ms);
            }
            Record::Flipped {
                gates_reused_ms, ..
            } => self.gates_reused_ms = *gates_reused_ms,
            Record::Watched { words } => self.watch = Some(words),
            Record::Emptied {
                took_ms,
                cut,
                websockets,
            } => {
                self.lost = cut.saturating_sub(*websockets);
                self.emptied_ms = Some(*took_ms);
                self.cut = Some(*cut);
            }
            Record::Worst { ms, what } if self.worst.as_ref().is_none_or(|it| it.ms < *ms) => {
                self.worst = Some(Worst { ms: *ms, what });
            }
            Record::Ended { took_ms, .. } => {
                self.ended = Some(at);
                self.took_ms = Some(*took_ms);
            }
            _ => {}
        }
    }

    /// For people.
    fn markdown(&self) -> String {
        let outcome = match self.outcome {
            Some(outcome) => outcome_words(outcome),
            None => "not over",
        };
        let mut text = format!("# Deploy {} of {}: {outcome}\n\n", self.id, self.service);
        let dash = "-";
        let version = |version: Option<&str>| version.unwrap_or(dash).to_owned();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "| {name} | {} |", cell(&value));
        };
        row("what", "value".to_owned());
        row("---", "---".to_owned());
        row("by", self.by.to_owned());
        row("why", self.reason.unwrap_or(dash).to_owned());
        row(
            "to",
            format!("{}, version {}", self.slot, version(self.version)),
        );
        row(
            "from",
            format!("{}, version {}", self.old_slot, version(self.old_version)),
        );
        row("began", self.began.to_owned());
        row("ended", self.ended.unwrap_or(dash).to_owned());
        row("took", time(self.took_ms));
        if let Some(why) = self.why {
            row("taken back because", why.to_owned());
        }
        let held = self.held.as_ref().map(Held::in_words);
        row("clients held for", held.unwrap_or_else(|| dash.to_owned()));
        row(
            "old slot empty after",
            match self.cut {
                None => dash.to_owned(),
                Some(cut) => format!("{}, {cut} cut off", time(self.emptied_ms)),
            },
        );
        row(
            "worst request",
            match &self.worst {
                None => dash.to_owned(),
                Some(worst) => format!("{}, {}", time(Some(worst.ms)), worst.what),
            },
        );
        if let Some(watch) = self.watch {
            row("afterwards", watch.to_owned());
        }
        text.push_str("\n| step | result | took |\n| --- | --- | --- |\n");
        for step in &self.steps {
            let why = step.why.map(|why| format!(": {why}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                step.name,
                cell(&format!("{}{why}", step.state)),
                time(step.took_ms)
            );
        }
        text.push_str(&self.gates_in_markdown());
        text
    }

    fn gates_in_markdown(&self) -> String {
        let mut text = String::new();
        if let Some(ms) = self.gates_reused_ms {
            let _ = writeln!(
                text,
                "\nThe gates were tried once: the flip followed after {} and relied on that.",
                words::took(ms)
            );
        }
        if !self.gates.is_empty() {
            text.push_str("\nThe gates said:\n\n");
            for line in &self.gates {
                let _ = writeln!(text, "- {line}");
            }
        }
        text
    }
}

fn step<'s>(story: &'s Story, name: &'s str) -> Step<'s> {
    let told = story.steps.get(name);
    let nothing = story.entries.iter().any(|entry| {
        matches!(&entry.record, Record::Undone { step, how: Undone::Nothing, .. } if step == name)
    });
    Step {
        name,
        state: match story.state(name) {
            StepState::Waiting => "not begun",
            StepState::Started => "begun",
            StepState::Finished => "done",
            StepState::Failed => "failed",
            StepState::Undone if nothing => "nothing to take back",
            StepState::Undone => "taken back",
            StepState::NotUndone => "not taken back",
        },
        took_ms: told.and_then(|it| it.took_ms),
        why: told.and_then(|it| it.why.as_deref()),
    }
}

pub(super) fn outcome_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Undone => "taken back",
        Outcome::Stuck => "something is left to do by hand",
    }
}

fn time(ms: Option<u64>) -> String {
    ms.map_or_else(|| "-".to_owned(), words::took)
}

/// Text that ends no cell and no row.
fn cell(text: &str) -> String {
    words::in_one_line(text).replace('|', "\\|")
}

/// Both forms. A disk that is full changes nothing in what was done.
pub(super) fn write(places: &Places, story: &Story) {
    let receipt = Receipt::of(story);
    let id = &story.plan.id;
    let written = || -> io::Result<()> {
        let mut json = serde_json::to_vec_pretty(&receipt)?;
        json.push(b'\n');
        put(places, &receipt_name(id, "json"), &json)?;
        put(
            places,
            &receipt_name(id, "md"),
            receipt.markdown().as_bytes(),
        )
    };
    if let Err(cause) = written() {
        eprintln!("cannot write the receipt of {id}: {cause}");
    }
}

/// Whatever lies there already is nothing that this deploy wrote.
fn put(places: &Places, name: &str, text: &[u8]) -> io::Result<()> {
    match places.folder().create_new(name)? {
        Some(mut file) => file.write_all(text),
        None => Err(io::Error::other(format!(
            "{name} is there already, and is left as it is"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::Entry;
    use super::super::plan::tests::plan;
    use super::*;

    fn told(records: Vec<Record>) -> Story {
        let entries = records.into_iter().map(|record| Entry {
            at: "2026-08-01T12:00:00Z".to_owned(),
            record,
        });
        Story::of(entries.collect()).unwrap()
    }

    #[test]
    fn a_receipt_tells_who_why_what_and_how_long() {
        let started = |step: &str| Record::Started {
            step: step.to_owned(),
            log: 0,
        };
        let finished = |step: &str| Record::Finished {
            step: step.to_owned(),
            took_ms: 1_200,
        };
        let story = told(vec![
            Record::Planned(Box::new(plan())),
            started("prepare"),
            finished("prepare"),
            started("migrate"),
            Record::Held,
            Record::Failed {
                step: "migrate".to_owned(),
                took_ms: 40,
                why: "exit code 1\nno | room".to_owned(),
            },
            Record::Undoing {
                why: "migrate: exit code 1".to_owned(),
            },
            Record::Released {
                held_ms: 300,
                requests: 12,
                refused: 0,
                longest_ms: 290,
            },
            Record::Undone {
                step: "prepare".to_owned(),
                how: Undone::Nothing,
                took_ms: 0,
            },
            Record::Ended {
                outcome: Outcome::Undone,
                took_ms: 2_000,
            },
        ]);
        let text = Receipt::of(&story).markdown();
        for line in [
            "# Deploy 20260801-120000 of odoo: taken back",
            "| why | ticket \\| 7 |",
            "| to | green, version v2 |",
            "| clients held for | 300 ms: 12 requests, the longest wait 290 ms |",
            "| taken back because | migrate: exit code 1 |",
            "| prepare | nothing to take back | 1.2 s |",
            "| migrate | failed: exit code 1 no \\| room | 40 ms |",
            "| flip | not begun | - |",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }
}
