//! `switchctl deploy --status`, and how a deploy ended.

use super::args::DeployArgs;
use super::journal::Outcome;
use super::meant::Meant;
use super::places::Places;
use super::receipt::{Receipt, outcome_words};
use super::story::Story;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output;
use crate::cli::output::Format;
use crate::cli::session::Session;
use crate::cli::style::{Look, Paint};
use crate::cli::table::{Cell, Table};
use crate::cli::words;
use std::fmt::Write;

pub(super) fn run(session: &Session, args: &DeployArgs) -> Result<(), Failure> {
    let meant = Meant::load(args, session.named_service())?;
    let places = meant.places()?;
    let story = places.story(args.id.as_deref())?;
    let is_running = !story.is_over() && places.lock()?.is_none();
    match session.output.format {
        Format::Json => {
            let text = serde_json::to_string(&Receipt::of(&story));
            output::print(&text.unwrap_or_default())
        }
        Format::Words => output::print(&status(&story, is_running, &session.output.look())),
    }
}

fn status(story: &Story, is_running: bool, look: &Look) -> String {
    let plan = &story.plan;
    let receipt = Receipt::of(story);
    let (state, paint) = match (story.outcome, is_running) {
        (Some(Outcome::Done), _) => (outcome_words(Outcome::Done), Paint::Good),
        (Some(outcome), _) => (outcome_words(outcome), Paint::Bad),
        (None, true) if story.undoing.is_some() => ("is being taken back", Paint::Notable),
        (None, true) => ("is under way", Paint::Notable),
        (None, false) => ("was interrupted", Paint::Bad),
    };
    let mut text = format!(
        "{}: deploy {} to {} {}, began {} ago, by {}\n",
        plan.service,
        plan.id,
        plan.slot,
        look.style.paint(paint, state),
        words::since(&story.began, look),
        plan.by
    );
    if let Some(why) = &story.undoing {
        let _ = writeln!(text, "  because {}", words::deep_paragraph(why));
    }
    let mut table = Table::new(
        "  ",
        ["STEP", "RESULT", "TOOK", "WHY"].map(Cell::new).to_vec(),
    );
    for step in &receipt.steps {
        let paint = match step.state {
            "done" | "taken back" => Paint::Good,
            "failed" | "not taken back" => Paint::Bad,
            "begun" => Paint::Notable,
            _ => Paint::Faint,
        };
        let took = step.took_ms.map_or_else(|| "-".to_owned(), words::took);
        table.row(vec![
            Cell::new(step.name),
            Cell::new(step.state).painted(paint),
            Cell::number(took),
            Cell::new(words::in_one_line(step.why.unwrap_or_default())),
        ]);
    }
    text.push_str(&table.render(look.style));
    if story.outcome.is_none() {
        text.push_str(if is_running {
            "  look: switchctl deploy --attach; take it back: switchctl deploy --undo\n"
        } else {
            NEXT
        });
    }
    text
}

pub(super) const NEXT: &str =
    "  go on: switchctl deploy --resume; take it back: switchctl deploy --undo\n";

/// The last word on a deploy: a result, or a failure with its exit code.
pub(super) fn conclude(story: &Story, places: &Places, look: &Look) -> Result<String, Failure> {
    let plan = &story.plan;
    let receipt = Receipt::of(story);
    let mut text = headline(story, &receipt, look);
    if let Some(why) = &story.undoing {
        let _ = write!(text, "\n  because {}", words::deep_paragraph(why));
    }
    if story.outcome != Some(Outcome::Done) {
        taken_back(&mut text, &receipt);
    }
    figures(&mut text, &plan.old_slot, &receipt);
    let _ = write!(
        text,
        "\n  receipt: {}",
        places.receipt(&plan.id, "md").display()
    );
    let exit = match story.outcome {
        Some(Outcome::Done) if receipt.lost > 0 => {
            let _ = write!(text, "\n  {}", words::cut_off(receipt.lost));
            Exit::CutOff
        }
        Some(Outcome::Done) => return Ok(text),
        Some(Outcome::Undone) => Exit::MovedBack,
        _ => Exit::Refused,
    };
    Err(Failure::Ended { exit, text })
}

fn headline(story: &Story, receipt: &Receipt<'_>, look: &Look) -> String {
    let plan = &story.plan;
    let version = |version: &Option<String>| match version {
        Some(version) => format!(" ({version})"),
        None => String::new(),
    };
    let took = words::took(receipt.took_ms.unwrap_or(0));
    match story.outcome {
        Some(Outcome::Done) => format!(
            "{}: {}{} is active; deploy {} took {took}",
            plan.service,
            look.style.paint(Paint::Good, &plan.slot),
            version(&plan.version),
            plan.id,
        ),
        Some(Outcome::Undone) => format!(
            "{}: deploy {} was taken back after {took}; {}{} is active",
            plan.service,
            plan.id,
            plan.old_slot,
            version(&plan.old_version)
        ),
        _ => format!(
            "{}: deploy {} failed, and could not be taken back whole: something is left to do by hand",
            plan.service, plan.id
        ),
    }
}

fn taken_back(text: &mut String, receipt: &Receipt<'_>) {
    for step in receipt.steps.iter().rev() {
        let what = match step.state {
            "not taken back" => {
                let why = words::deep_paragraph(step.why.unwrap_or_default());
                format!("NOT taken back: {why}")
            }
            state @ ("taken back" | "nothing to take back") => state.to_owned(),
            "done" | "begun" | "failed" => "left as it is".to_owned(),
            _ => continue,
        };
        let _ = write!(text, "\n  {}: {what}", step.name);
    }
}

fn figures(text: &mut String, old_slot: &str, receipt: &Receipt<'_>) {
    if let Some(held) = &receipt.held {
        let _ = write!(text, "\n  clients were held for {}", held.in_words());
    }
    if let (Some(emptied), Some(cut)) = (receipt.emptied_ms, receipt.cut) {
        let took = words::took(emptied);
        let cut = match cut {
            0 => "nothing cut off".to_owned(),
            cut => format!("{cut} cut off"),
        };
        let _ = write!(text, "\n  {old_slot} was empty after {took}, {cut}");
    }
    if let Some(worst) = &receipt.worst {
        let took = words::took(worst.ms);
        let _ = write!(text, "\n  the worst request took {took} ({})", worst.what);
    }
}
