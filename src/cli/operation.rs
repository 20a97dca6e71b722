//! Following an operation from the request to its verdict.
//!
//! The daemon owns the operation; this side only watches. Leaving early changes nothing.

use super::args::MoveArgs;
use super::client::Lines;
use super::failure::{Exit, Failure};
use super::output;
use super::output::{Format, Progress};
use super::sentence::Sentence;
use super::session::Session;
use super::style::{Look, Paint};
use super::words;
use crate::api::{EventKind, StreamEvent, Verdict};
use serde::Serialize;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Asks for an operation at `path`, and stays until its verdict, the time limit or Ctrl-C.
pub(super) async fn run(
    session: &Session,
    path: &str,
    request: &impl Serialize,
    moving: &MoveArgs,
) -> Result<Ended, Failure> {
    let mut interrupt = Interrupt::listen()?;
    let mut progress = session.output.progress();
    let mut seen = Seen::default();
    let watched = async {
        let mut lines = session.client.operate(path, request).await?;
        let done = watch(session, &mut lines, &mut progress, &mut seen).await?;
        let text = conclude(&done, moving, &session.output.look())?;
        Ok((text, done.ended()))
    };
    let ended = tokio::select! {
        ended = watched => ended,
        () = interrupt.received() => Err(left(&seen, "detached")),
        () = tokio::time::sleep(moving.timeout) => Err(left(&seen, &waited(moving.timeout))),
    };
    progress.end();
    match session.output.format {
        Format::Json => ended.map(|(_, ended)| ended),
        Format::Words => {
            let (text, ended) = ended?;
            output::print(&text)?;
            Ok(ended)
        }
    }
}

/// How far the operation had come when the waiting ended.
#[derive(Debug, Default)]
struct Seen {
    started: Option<String>,
    published: Option<String>,
}

impl Seen {
    fn note(&mut self, event: &StreamEvent) {
        match &event.kind {
            EventKind::Started { direction, to, .. } => {
                self.started = Some(format!("the {direction} to {to}"));
            }
            EventKind::Published { to, .. } => self.published = Some(to.clone()),
            _ => {}
        }
    }
}

/// The last event of the stream, and what of the earlier ones belongs into the result.
struct Done {
    event: StreamEvent,
    from: Option<String>,
    to: Option<String>,
    /// The share of a canary, as it is written.
    canary: Option<Canary>,
    /// Requests that were cut off, without upgraded connections.
    lost: u64,
}

struct Canary {
    slot: String,
    share: String,
}

/// How it ended, where that was no failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Moved,
    /// Traffic was there already.
    Unchanged,
}

impl Done {
    fn ended(&self) -> Ended {
        match &self.event.kind {
            EventKind::Done {
                verdict: Verdict::Unchanged,
                ..
            } => Ended::Unchanged,
            _ => Ended::Moved,
        }
    }
}

async fn watch(
    session: &Session,
    lines: &mut Lines,
    progress: &mut Progress,
    seen: &mut Seen,
) -> Result<Done, Failure> {
    let (mut from, mut to) = (None, None);
    let mut canary = None;
    let mut lost = 0;
    while let Some(line) = lines.next().await? {
        if session.output.format == Format::Json {
            output::print(&line)?;
        }
        // A daemon newer than this program may tell of things it does not know yet.
        let Ok(event) = serde_json::from_str::<StreamEvent>(&line) else {
            continue;
        };
        seen.note(&event);
        if let EventKind::Done { .. } = event.kind {
            return Ok(Done {
                event,
                from,
                to,
                canary,
                lost,
            });
        }
        if let EventKind::Started {
            from: left,
            to: entered,
            ..
        } = &event.kind
        {
            (from, to) = (Some(left.clone()), Some(entered.clone()));
        }
        if let EventKind::CutOff { cut, .. } = &event.kind {
            lost += cut.requests + cut.transfers;
        }
        if let EventKind::Canary { slot, percent, .. } = &event.kind {
            let (slot, share) = (slot.clone(), super::canary::percent(*percent));
            canary = Some(Canary { slot, share });
        }
        if session.output.format == Format::Words {
            tell(progress, &event);
        }
    }
    Err(lines.broken(
        "switchd ended the event stream before the operation was over; it may have been stopped\n  \
         its journal knows on which slot traffic is: switchctl status, switchctl history",
    ))
}

fn tell(progress: &mut Progress, event: &StreamEvent) {
    let sentence = Sentence::of(event);
    match &event.kind {
        EventKind::Probe { .. }
        | EventKind::GateProgress(_)
        | EventKind::GateWaiting(_)
        | EventKind::Journalled { .. }
        | EventKind::Draining { .. } => {
            progress.passing(&format!("  {}", sentence.text));
        }
        EventKind::Started { .. } => progress.milestone(sentence.paint, &sentence.text),
        _ => progress.milestone(sentence.paint, &format!("  {}", sentence.text)),
    }
}

impl Canary {
    fn in_words(&self, active: &str, look: &Look) -> String {
        let slot = look.style.paint(Paint::Good, &self.slot);
        let share = &self.share;
        format!("{share} of the new visitors go to {slot}, everybody else stays on {active}")
    }
}

/// The verdict as the one result, or as a failure with its exit code.
fn conclude(done: &Done, moving: &MoveArgs, look: &Look) -> Result<String, Failure> {
    let EventKind::Done {
        verdict,
        active,
        reasons,
        drained_ms,
        cut,
        ..
    } = &done.event.kind
    else {
        return Ok(String::new());
    };
    let service = &done.event.service;
    let failed = |exit, headline: String, after: &str| {
        let mut text = headline;
        for reason in reasons {
            text.push_str("\n  ");
            text.push_str(&words::paragraph(reason));
        }
        text.push_str(after);
        Err(Failure::Ended { exit, text })
    };
    match verdict {
        Verdict::Done if let Some(canary) = &done.canary => {
            Ok(format!("{service}: {}", canary.in_words(active, look)))
        }
        Verdict::Done => {
            let active = look.style.paint(Paint::Good, active);
            let old = done.from.as_deref().unwrap_or("the old slot");
            moved(done, &active, &drained(old, *drained_ms, *cut))
        }
        Verdict::Unchanged if let Some(reason) = reasons.first() => {
            Ok(format!("{service}: {reason}; nothing changed"))
        }
        Verdict::Unchanged => Ok(format!(
            "{service}: {active} was active already; nothing changed"
        )),
        Verdict::Refused => {
            let way = if moving.force {
                ""
            } else {
                "\n  to move traffic all the same: --force --reason \"...\""
            };
            failed(
                Exit::Refused,
                format!("{service}: refused, {active} stays active; nothing changed"),
                way,
            )
        }
        Verdict::Cancelled => failed(
            Exit::Refused,
            format!("{service}: cancelled before traffic moved"),
            "",
        ),
        Verdict::Failed => failed(
            Exit::Refused,
            format!("{service}: could not be done, {active} stays active; nothing changed"),
            "",
        ),
        Verdict::MovedBack => failed(
            Exit::MovedBack,
            format!("{service}: traffic moved back by itself, {active} is active"),
            &format!(
                "\n  the slot it left is in quarantine: look with `switchctl status`, then `switchctl ack {}`",
                done.to.as_deref().unwrap_or("SLOT")
            ),
        ),
    }
}

/// Traffic has moved, and some requests may have been lost by it.
fn moved(done: &Done, active: &str, drained: &str) -> Result<String, Failure> {
    let text = format!("{}: {active} is active; {drained}", done.event.service);
    match done.lost {
        0 => Ok(text),
        lost => Err(Failure::Ended {
            exit: Exit::CutOff,
            text: format!("{text}\n  {}", words::cut_off(lost)),
        }),
    }
}

fn drained(old: &str, took_ms: Option<u64>, cut: u64) -> String {
    match (took_ms, cut) {
        (None, _) => format!("{old} drains in the background (switchctl status)"),
        (Some(took), 0) => format!("{old} drained in {}, nothing cut off", words::took(took)),
        (Some(took), cut) => format!("{old} is empty after {}, {cut} cut off", words::took(took)),
    }
}

fn left(seen: &Seen, how: &str) -> Failure {
    let what = match (&seen.started, &seen.published) {
        (Some(operation), Some(to)) => {
            format!("{operation} goes on in switchd ({to} is live already)")
        }
        (Some(operation), None) => format!("{operation} goes on in switchd"),
        (None, _) => "what was asked for may go on in switchd".to_owned(),
    };
    let end = match &seen.published {
        None => "\n  to end it before traffic moves: switchctl cancel",
        Some(_) => "",
    };
    Failure::StillRunning(format!(
        "{how}: {what}\n  look again: switchctl status, or switchctl events --follow{end}"
    ))
}

fn waited(limit: Duration) -> String {
    let milliseconds = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    format!("not over after {}", words::took(milliseconds))
}

/// Ctrl-C, or SIGTERM: both only end the watching.
pub(super) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// From now on these signals no longer end the process.
    pub(super) fn listen() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(Failure::Output)?,
            terminate: signal(SignalKind::terminate()).map_err(Failure::Output)?,
        })
    }

    pub(super) async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
