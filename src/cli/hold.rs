//! `switchctl hold` and `switchctl release`

use super::args::duration;
use super::client::Lines;
use super::failure::{Exit, Failure};
use super::hold_others::Others;
use super::operation::Interrupt;
use super::output;
use super::output::{Format, Progress};
use super::sentence::{Sentence, say};
use super::session::Session;
use super::style::{Look, Paint};
use super::table::printable;
use super::words;
use crate::api::{
    EventKind, HoldReleased, HoldRequest, HoldStatus, OutageStatus, ReleaseCause, StreamEvent,
};
use crate::config::format_duration;
use clap::Args as Group;
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Group)]
pub(super) struct HoldArgs {
    /// For how long at most (30s, 5m); then it ends by itself
    #[arg(long = "for", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    at_most: Duration,
    /// Tell when nothing is left of the requests that were under way, and of other work on the database (--database);
    /// fail where it does not come to that
    #[arg(long)]
    pub(super) drain: bool,
    /// How psql reaches the database, to see who else works on it; else as `database` in the config file says
    #[arg(long, value_name = "CONNECTION", requires = "drain")]
    pub(super) database: Option<String>,
    /// The config file of switchd, for `database` in [service.NAME.deploy]
    #[arg(
        long,
        value_name = "FILE",
        env = "SWITCHD_CONFIG",
        default_value = "/etc/switchd/switchd.toml"
    )]
    pub(super) config: PathBuf,
    /// Return as soon as it holds (with --drain: as soon as it has drained), and leave it to `release` or its time
    #[arg(long)]
    leave: bool,
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Holds, and stays until it is over: by Ctrl-C, by `release`, or by its time.
pub(super) async fn run(session: &Session, args: &HoldArgs) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let path = session.service_path("hold").await?;
    let request = HoldRequest {
        at_most: format_duration(args.at_most),
        drain: args.drain,
        lease: !args.leave,
        reason: args.reason.clone(),
    };
    let mut lines = session.client.operate(&path, &request).await?;
    let mut progress = session.output.progress();
    let mut is_released = false;
    let mut is_drained = false;
    let mut others = Others::new(session, args).await;
    let mut last = None;
    loop {
        let heard = tokio::select! {
            line = lines.next() => take(session, line?, &lines)?,
            seen = others.next() => {
                others.take(seen, session, &mut progress)?;
                last.clone()
            }
            () = interrupt.received() => {
                // A second time: whoever is in such a hurry gets their terminal back.
                if std::mem::replace(&mut is_released, true) {
                    return Ok(());
                }
                release_on(session).await?;
                continue;
            }
        };
        let Some(event) = heard else { continue };
        let is_new = last.as_ref() != Some(&event);
        let is_drained_now = is_new && matches!(event.kind, EventKind::HoldDrained { .. });
        // Whoever leaves is told in one line what stays behind.
        let is_told =
            is_new && !is_last(&event) && !(args.leave && (!args.drain || is_drained_now));
        if session.output.format == Format::Words && is_told {
            tell(&mut progress, &event, args);
        }
        if is_drained_now {
            is_drained = true;
            others.begin(session, &mut progress);
        }
        let is_done = is_drained && others.are_done();
        if args.leave && (is_done || !args.drain) {
            progress.end();
            return match session.output.format {
                Format::Json => Ok(()),
                Format::Words => output::print(&left(&event)),
            };
        }
        if is_last(&event) {
            progress.end();
            let undrained = (args.drain && !is_done).then(|| others.still_there());
            let ended = conclude(&event, undrained, &session.output.look());
            return match session.output.format {
                Format::Json => ended.map(drop),
                Format::Words => output::print(&ended?),
            };
        }
        last = Some(event);
    }
}

fn is_last(event: &StreamEvent) -> bool {
    matches!(event.kind, EventKind::Released { .. })
}

/// One event; none for what this program does not know yet.
fn take(
    session: &Session,
    line: Option<String>,
    lines: &Lines,
) -> Result<Option<StreamEvent>, Failure> {
    let line = line.ok_or_else(|| {
        lines.broken(
            "switchd ended the event stream, and the hold with it; it may have been stopped",
        )
    })?;
    if session.output.format == Format::Json {
        output::print(&line)?;
    }
    Ok(serde_json::from_str(&line).ok())
}

async fn release_on(session: &Session) -> Result<(), Failure> {
    let path = session.service_path("release").await?;
    match session.client.post(&path, &json!({})).await {
        // It has ended in this very moment: its last events are on their way.
        Ok(_) | Err(Failure::Refused(_)) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// `switchctl release`
pub(super) async fn release(session: &Session) -> Result<(), Failure> {
    let path = session.service_path("release").await?;
    let document = session.client.post(&path, &json!({})).await?;
    session.show(&document, |released: &HoldReleased, _| {
        let go_on = match released.waiting {
            0 => "nobody waited".to_owned(),
            1 => format!(
                "1 request goes on now, after {}",
                words::took(released.oldest_ms)
            ),
            many => format!(
                "{many} requests go on now, the oldest after {}",
                words::took(released.oldest_ms)
            ),
        };
        format!("released after {}; {go_on}", words::took(released.held_ms))
    })
}

fn tell(progress: &mut Progress, event: &StreamEvent, args: &HoldArgs) {
    let said = Sentence::of(event);
    match &event.kind {
        EventKind::Holding { .. } => progress.passing(&format!("  {}", said.text)),
        EventKind::Held { .. } => {
            let limit = format_duration(args.at_most);
            let text = format!(
                "{} is held for {limit} at most; Ctrl-C releases",
                event.service
            );
            progress.milestone(Paint::Strong, &text);
        }
        _ => progress.milestone(said.paint, &format!("  {}", said.text)),
    }
}

/// What somebody who leaves a hold behind has to know.
fn left(event: &StreamEvent) -> String {
    let service = &event.service;
    let drained = match event.kind {
        EventKind::HoldDrained { took_ms, .. } => {
            format!(", and drained after {}", words::took(took_ms))
        }
        _ => String::new(),
    };
    format!("{service}: new requests wait{drained}; let them go with `switchctl release`")
}

/// The last event as the one result, or as a failure with its exit code.
fn conclude(
    event: &StreamEvent,
    undrained: Option<String>,
    look: &Look,
) -> Result<String, Failure> {
    let EventKind::Released {
        why,
        held_ms,
        requests,
        refused,
        longest_ms,
        ..
    } = &event.kind
    else {
        return Ok(String::new());
    };
    let service = &event.service;
    let held = words::took(*held_ms);
    let how = match why {
        ReleaseCause::Asked | ReleaseCause::LeaseLost => format!("released after {held}"),
        ReleaseCause::Deadline => format!("its time was over after {held}"),
        ReleaseCause::Removed => format!("its service was taken out of the config after {held}"),
        ReleaseCause::Stopping => format!("switchd was stopped after {held}"),
    };
    let mut text = format!("{service}: {how}; {}", passed(*requests, *longest_ms));
    if *refused > 0 {
        let _ = write!(text, ", {refused} more were refused");
    }
    if let Some(others) = undrained {
        return Err(Failure::Ended {
            exit: Exit::Refused,
            text: format!(
                "{text}\n  it was over before everything under way was: look with `switchctl ps`, hold for longer with --for{others}"
            ),
        });
    }
    Ok(look.style.paint(Paint::Plain, &text))
}

fn passed(requests: u64, longest_ms: u64) -> String {
    let longest = words::took(longest_ms);
    match requests {
        0 => "nobody waited".to_owned(),
        1 => format!("1 request waited for {longest} and went on"),
        many => format!("{many} requests waited and went on, the longest for {longest}"),
    }
}

/// Events of holds in words.
pub(super) fn sentence(event: &EventKind) -> Sentence {
    match event {
        EventKind::Held {
            by, reason, lease, ..
        } => {
            let why = reason
                .as_deref()
                .map(|r| format!(": {r}"))
                .unwrap_or_default();
            let how = if *lease { "" } else { " until released" };
            say(
                format!("new requests wait{how}, asked for by {by}{why}"),
                Paint::Strong,
            )
        }
        EventKind::Holding {
            waiting,
            oldest_ms,
            left,
            ..
        } => {
            let who = match waiting {
                0 => "nobody waits".to_owned(),
                1 => format!("1 request waits, for {}", words::took(*oldest_ms)),
                many => format!(
                    "{many} requests wait, the oldest for {}",
                    words::took(*oldest_ms)
                ),
            };
            say(
                format!("{who}; under way: {}", words::counts(left)),
                Paint::Plain,
            )
        }
        EventKind::HoldDrained { took_ms, .. } => say(
            format!(
                "drained: no request is under way any more ({})",
                words::took(*took_ms)
            ),
            Paint::Good,
        ),
        _ => afterwards(event),
    }
}

/// Of its end, and of outages.
fn afterwards(event: &EventKind) -> Sentence {
    match event {
        EventKind::Releasing { why, waiting, .. } => {
            let (words, paint) = match why {
                ReleaseCause::Asked => ("released", Paint::Plain),
                ReleaseCause::Deadline => ("the time of the hold is over", Paint::Notable),
                ReleaseCause::LeaseLost => ("whoever held is gone", Paint::Notable),
                ReleaseCause::Removed => ("the service is gone", Paint::Notable),
                ReleaseCause::Stopping => ("switchd stops", Paint::Notable),
            };
            say(
                format!("{words}; {} may go on", words::many(*waiting, "request")),
                paint,
            )
        }
        EventKind::Released {
            requests,
            longest_ms,
            ..
        } => say(
            format!("the hold is over: {}", passed(*requests, *longest_ms)),
            Paint::Good,
        ),
        EventKind::OutageBegan { slot, waiting } => say(
            format!(
                "{slot} cannot be connected: {} waiting",
                words::many(*waiting, "request")
            ),
            Paint::Bad,
        ),
        EventKind::OutageEnded { slot, waiting } => say(
            format!("{} may go on, to {slot}", words::many(*waiting, "request")),
            Paint::Good,
        ),
        _ => say("", Paint::Plain),
    }
}

/// Of those who wait for what cannot be connected, in `status`.
pub(super) fn outage(outage: &OutageStatus, active: &str) -> String {
    printable(&format!(
        "{active} cannot be connected: {} waiting for it, the oldest for {}",
        words::many(outage.waiting, "request"),
        words::took(outage.oldest_ms)
    ))
}

/// Its line in `status`.
pub(super) fn status(hold: &HoldStatus, look: &Look) -> String {
    let who = match (hold.releasing, hold.waiting) {
        (true, waiting) => format!("{} still to be let go", words::many(waiting, "request")),
        (false, 0) => "nobody waits".to_owned(),
        (false, waiting) => format!(
            "{} waiting, the oldest for {}",
            words::many(waiting, "request"),
            words::took(hold.oldest_ms)
        ),
    };
    let why = hold
        .reason
        .as_deref()
        .map(|r| format!(": {r}"))
        .unwrap_or_default();
    let drained = match hold.drained {
        Some(true) => ", drained",
        Some(false) => ", draining",
        None => "",
    };
    printable(&format!(
        "held by {} for {}{why}; {who}{drained}; ends in {} at the latest",
        hold.by,
        words::since(&hold.since, look),
        words::until(&hold.until, look),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;

    #[test]
    fn a_hold_in_the_status_says_who_waits_and_until_when() {
        let mut hold = HoldStatus {
            hold: 1,
            by: "uid 0 (root)".to_owned(),
            reason: Some("migration".to_owned()),
            since: "2026-08-01T12:04:48Z".to_owned(),
            until: "2026-08-01T12:05:18Z".to_owned(),
            lease: true,
            releasing: false,
            drained: Some(true),
            waiting: 17,
            oldest_ms: 11_900,
            bytes: 9000,
        };
        assert_eq!(
            status(&hold, &look()),
            "held by uid 0 (root) for 12 s: migration; 17 requests waiting, the oldest for 11.9 s, drained; \
             ends in 18 s at the latest"
        );
        hold.releasing = true;
        assert!(status(&hold, &look()).contains("17 requests still to be let go"));
    }

    #[test]
    fn the_last_word_tells_what_the_hold_cost() {
        let released = |why: &str, requests, refused| -> StreamEvent {
            let event = json!({"schema": 1, "at": "2026-08-01T12:00:00Z", "service": "odoo", "flip": null,
                "event": "released", "hold": 1, "why": why, "held_ms": 13_200, "requests": requests,
                "refused": refused, "longest_ms": 13_100});
            serde_json::from_value(event).unwrap()
        };
        let words = |event: StreamEvent, undrained: bool| match conclude(
            &event,
            undrained.then(String::new),
            &look(),
        ) {
            Ok(text) => (0, text),
            Err(failure) => (failure.exit() as u8, failure.to_string()),
        };
        assert_eq!(
            words(released("asked", 240, 0), false),
            (0, "odoo: released after 13.2 s; 240 requests waited and went on, the longest for 13.1 s".to_owned())
        );
        let (exit, text) = words(released("deadline", 1, 3), true);
        assert_eq!(exit, 1);
        assert!(text.starts_with(
            "odoo: its time was over after 13.2 s; 1 request waited for 13.1 s and went on, 3 more were refused\n"
        ), "{text}");
    }
}
