//! What is seen of a deploy: its journal, as it grows.

use super::args::DeployArgs;
use super::journal;
use super::journal::{Entry, Record, Undone};
use super::launch::tell;
use super::meant::Meant;
use super::places::{Places, journal_name};
use super::program::last_lines;
use super::show;
use super::story::Story;
use crate::cli::failure::{Exit, Failure};
use crate::cli::operation::Interrupt;
use crate::cli::output;
use crate::cli::output::{Format, Progress};
use crate::cli::session::Session;
use crate::cli::style::Paint;
use crate::cli::words;
use rustix::process::Signal;
use std::process::Child;
use std::time::Duration;
use tokio::time::Instant;

const LOOKS: Duration = Duration::from_millis(50);
const BAR: usize = 12;

/// What Ctrl-C means here.
pub(super) enum Role {
    /// Takes the deploy back: it was started here, and this is its runner.
    Owner(Child),
    /// Ends the watching.
    Guest,
}

pub(super) async fn attach(session: &Session, args: &DeployArgs) -> Result<(), Failure> {
    let meant = Meant::load(args, session.named_service())?;
    let places = meant.places()?;
    let story = places.story(args.id.as_deref())?;
    watch(session, &places, &story.plan.id, Role::Guest).await
}

/// Shows the deploy until it is over, or until Ctrl-C.
pub(super) async fn watch(
    session: &Session,
    places: &Places,
    id: &str,
    role: Role,
) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let mut viewer = Viewer {
        session,
        places,
        progress: session.output.progress(),
        story: None,
        name: journal_name(id),
        read: 0,
        since: Instant::now(),
        role,
        is_stopping: false,
        is_told: false,
    };
    let mut looks = tokio::time::interval(LOOKS);
    loop {
        tokio::select! {
            _ = looks.tick() => {
                if viewer.look()? {
                    break;
                }
            }
            () = interrupt.received() => viewer.interrupted(id)?,
        }
    }
    viewer.progress.end();
    let Some(story) = &viewer.story else {
        return Ok(());
    };
    if !story.is_over() {
        return Err(viewer.interrupted_deploy(id));
    }
    let ended = show::conclude(story, places, &session.output.look());
    match session.output.format {
        Format::Json => ended.map(drop),
        Format::Words => output::print(&ended?),
    }
}

struct Viewer<'v> {
    session: &'v Session,
    places: &'v Places,
    progress: Progress,
    story: Option<Story>,
    /// Of the journal.
    name: String,
    /// So much of the journal has been seen.
    read: usize,
    /// When the step under way was first seen.
    since: Instant,
    role: Role,
    /// Ctrl-C was pressed.
    is_stopping: bool,
    /// The runner knows.
    is_told: bool,
}

impl Viewer<'_> {
    /// Shows what is new. Whether nothing more will come.
    fn look(&mut self) -> Result<bool, Failure> {
        // Asked before reading: what it wrote last is read then.
        let is_gone = self.is_gone()?;
        let bytes = self.places.folder().read(&self.name);
        let bytes = bytes.map_err(|cause| self.places.unusable(&cause))?;
        let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
        let from = self.read.min(whole);
        self.read = whole;
        for line in bytes[from..whole].split(|byte| *byte == b'\n') {
            if line.is_empty() {
                continue;
            }
            if self.session.output.format == Format::Json {
                output::print(&String::from_utf8_lossy(line))?;
            }
            if let Some(entry) = journal::entries(&[line, b"\n"].concat()).pop() {
                self.take(&entry);
            }
        }
        if !is_gone {
            self.pass_on()?;
        }
        self.passing();
        let is_over = self.story.as_ref().is_some_and(Story::is_over);
        // The receipt is written after the last record.
        Ok(is_gone || (is_over && matches!(self.role, Role::Guest)))
    }

    /// Whether nobody works on this deploy.
    fn is_gone(&mut self) -> Result<bool, Failure> {
        match &mut self.role {
            Role::Owner(child) => Ok(child.try_wait().map_err(Failure::Output)?.is_some()),
            Role::Guest => Ok(self.places.lock()?.is_some()),
        }
    }

    fn take(&mut self, entry: &Entry) {
        match &mut self.story {
            None => self.story = Story::of(vec![entry.clone()]),
            Some(story) => story.add(entry.clone()),
        }
        if matches!(entry.record, Record::Started { .. }) {
            self.since = Instant::now();
        }
        let Some(story) = &self.story else { return };
        if self.session.output.format == Format::Words
            && let Some(line) = milestone(&entry.record, story)
        {
            self.progress.milestone(line.paint, &line.text);
        }
    }

    /// The live line: how far it is, for how long, and what the program said last.
    fn passing(&mut self) {
        if !self.progress.is_live() || self.session.output.format == Format::Json {
            return;
        }
        let Some(story) = self.story.as_ref().filter(|story| !story.is_over()) else {
            return;
        };
        let all = story.plan.steps.len().max(1);
        let finished = story
            .plan
            .steps
            .iter()
            .filter(|step| story.is_finished(&step.name))
            .count();
        let full = finished * BAR / all;
        let bar = format!("{}{}", "#".repeat(full), "-".repeat(BAR - full));
        let from = story.steps.values().map(|step| step.log).max().unwrap_or(0);
        let said = last_lines(self.places, &story.plan.id, from, 1).pop();
        let said = said.map(|said| format!("  {}", words::in_one_line(&said)));
        let seconds = self.since.elapsed().as_secs();
        let text = format!(
            "  [{bar}] {finished} of {all}, {}{}",
            words::about(seconds),
            said.unwrap_or_default()
        );
        self.progress.passing(&text);
    }

    fn interrupted(&mut self, id: &str) -> Result<(), Failure> {
        let leave = |how: &str| {
            Err(Failure::StillRunning(format!(
                "{how}: deploy {id} goes on\n  look again: switchctl deploy --attach; take it back: switchctl deploy --undo"
            )))
        };
        if matches!(self.role, Role::Guest) {
            return leave("detached");
        }
        if self.is_stopping {
            return leave("no longer watching while it is taken back");
        }
        self.is_stopping = true;
        self.progress.milestone(
            Paint::Notable,
            "  Ctrl-C: what was done is taken back; once more, and it is no longer watched",
        );
        self.pass_on()
    }

    /// Tells the runner to take back, once it is known who that is.
    fn pass_on(&mut self) -> Result<(), Failure> {
        let known = self.story.as_ref().filter(|story| story.pid.is_some());
        let Some(story) = known.filter(|_| self.is_stopping && !self.is_told) else {
            return Ok(());
        };
        tell(self.places, story, Signal::INT)?;
        self.is_told = true;
        Ok(())
    }

    fn interrupted_deploy(&self, id: &str) -> Failure {
        let mut text = format!("deploy {id} was interrupted: its process has ended");
        for line in last_lines(self.places, id, 0, 3) {
            text.push_str("\n  ");
            text.push_str(&words::in_one_line(&line));
        }
        text.push('\n');
        text.push_str(show::NEXT.trim_end());
        Failure::Ended {
            exit: Exit::Refused,
            text,
        }
    }
}

/// A line that stays.
struct Milestone {
    paint: Paint,
    text: String,
}

fn say(paint: Paint, text: String) -> Milestone {
    Milestone { paint, text }
}

fn milestone(record: &Record, story: &Story) -> Option<Milestone> {
    Some(match record {
        Record::Planned(plan) => {
            let version = plan.version.as_deref().map(|it| format!(" of {it}"));
            let version = version.unwrap_or_default();
            let (id, service) = (&plan.id, &plan.service);
            let (old, new) = (&plan.old_slot, &plan.slot);
            let quarantine = plan.quarantine_in_words().map(|it| format!("\n  {it}"));
            let text = format!(
                "deploy {id}{version}: {service} from {old} to {new}{}",
                quarantine.unwrap_or_default()
            );
            say(Paint::Strong, text)
        }
        Record::Started { step, .. } => {
            let steps = &story.plan.steps;
            let at = steps.iter().position(|it| it.name == *step).unwrap_or(0) + 1;
            say(Paint::Plain, format!("[{at}/{}] {step}", steps.len()))
        }
        Record::Finished { took_ms, .. } => {
            say(Paint::Good, format!("  done ({})", words::took(*took_ms)))
        }
        Record::Failed { took_ms, why, .. } => {
            let (took, why) = (words::took(*took_ms), words::deep_paragraph(why));
            say(Paint::Bad, format!("  failed ({took}): {why}"))
        }
        Record::Waiting { said } => {
            let (slot, said) = (&story.plan.slot, words::in_one_line(said));
            say(Paint::Notable, format!("  waiting for {slot}: {said}"))
        }
        Record::Gated { lines } if lines.is_empty() => return None,
        Record::Gated { lines } => {
            let lines: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
            say(Paint::Plain, lines.join("\n"))
        }
        Record::Undoing { why } => {
            let why = words::deep_paragraph(why);
            say(Paint::Notable, format!("taking back: {why}"))
        }
        Record::Undone {
            step,
            how: Undone::Done,
            took_ms,
        } => {
            let took = words::took(*took_ms);
            say(Paint::Good, format!("  {step}: taken back ({took})"))
        }
        Record::Undone { step, .. } => say(Paint::Faint, format!("  {step}: nothing to take back")),
        Record::NotUndone { step, why } => {
            let why = words::deep_paragraph(why);
            say(Paint::Bad, format!("  {step}: NOT taken back: {why}"))
        }
        other => return of_clients(other),
    })
}

fn of_clients(record: &Record) -> Option<Milestone> {
    Some(match record {
        Record::Held => say(Paint::Notable, "  clients are held".to_owned()),
        Record::Drained { took_ms } => {
            let took = words::took(*took_ms);
            say(Paint::Plain, format!("  no request is under way ({took})"))
        }
        Record::Database { words, busy } => {
            let paint = if *busy { Paint::Notable } else { Paint::Plain };
            say(paint, format!("  {}", words::deep_paragraph(words)))
        }
        Record::Released {
            held_ms,
            requests,
            longest_ms,
            ..
        } => {
            let held = words::took(*held_ms);
            let (requests, longest) = (words::many(*requests, "request"), words::took(*longest_ms));
            say(
                Paint::Good,
                format!(
                    "  clients go on; they were held for {held}: {requests}, the longest wait {longest}"
                ),
            )
        }
        Record::Watched { words } => say(Paint::Plain, format!("  {words}")),
        Record::Flipped { generation, .. } => {
            let text = format!("  traffic has moved (generation {generation})");
            say(Paint::Good, text)
        }
        Record::MovedBack { generation, .. } => {
            let text = format!("  traffic is back on the old slot (generation {generation})");
            say(Paint::Notable, text)
        }
        _ => return None,
    })
}
