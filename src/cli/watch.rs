//! The watch over a slot that traffic moved to, as `status` and `events` tell it.

use super::sentence::{Sentence, say};
use super::style::{Look, Paint};
use super::table::printable;
use super::words;
use crate::api::{
    ConfirmStatus, EventKind, LastMinute, ServiceStatus, SlotStatus, WatchFigures, WatchStatus,
};
use std::fmt::Write;

/// The lines of `status`, in the order in which they are read.
pub(super) fn lines(service: &ServiceStatus, look: &Look) -> Vec<String> {
    let mut lines = last_minutes(service, look);
    if let Some(confirm) = &service.confirm {
        lines.push(
            look.style
                .paint(Paint::Notable, &unconfirmed(confirm, look)),
        );
    }
    if let Some(watch) = &service.watch {
        let text = printable(&headline(&service.active, watch, look));
        lines.push(look.style.paint(of_verdict(&watch.verdict), &text));
        lines.push(format!(
            "  {}: {}",
            when(watch, look),
            figures(&watch.figures)
        ));
        if let Some(baseline) = &watch.baseline {
            lines.push(format!("  before the move: {}", figures(baseline)));
        }
        lines.extend(aside(watch).map(|text| printable(&format!("  {text}"))));
    }
    if let Some(warning) = &service.warning {
        let text = format!(
            "{} does badly for {}: {}; no watch runs, so nothing moves by itself for that",
            service.active,
            words::since(&warning.since, look),
            warning.reasons.join("; "),
        );
        lines.push(
            look.style
                .paint(of_verdict(&warning.severity), &printable(&text)),
        );
    }
    if let Some(blocked) = &service.failback.blocked {
        let text = format!("no failback by itself: {blocked}");
        lines.push(look.style.paint(Paint::Notable, &printable(&text)));
    }
    lines
}

fn unconfirmed(confirm: &ConfirmStatus, look: &Look) -> String {
    format!(
        "not confirmed: traffic goes back to {} in {} unless you say `switchctl confirm`",
        confirm.back_to,
        words::until(&confirm.until, look),
    )
}

fn headline(active: &str, watch: &WatchStatus, look: &Look) -> String {
    let why = match watch.reasons.as_slice() {
        [] => String::new(),
        reasons => format!(": {}", reasons.join("; ")),
    };
    let left = if is_over(watch, look) {
        "over".to_owned()
    } else {
        format!("{} left", words::until(&watch.until, look))
    };
    format!("watch of {active}, {left}: {}{why}", watch.verdict)
}

/// What went wrong and is no fault of the slot.
fn aside(watch: &WatchStatus) -> impl Iterator<Item = String> {
    let not_counted = (watch.not_counted > 0).then(|| {
        format!(
            "not counted: {} of clients or on paths that the old slot never served well",
            words::many(watch.not_counted, "failure")
        )
    });
    let shared = (watch.shared_errors > 0).then(|| {
        let name = watch.shared_error.as_deref().unwrap_or("unnamed");
        format!(
            "shared trouble: {} (last {name}); both slots depend on it, look there first",
            words::many(watch.shared_errors, "error")
        )
    });
    not_counted.into_iter().chain(shared)
}

/// What its figures are of: those of a watch that is over are not of the present.
fn when(watch: &WatchStatus, look: &Look) -> String {
    if is_over(watch, look) {
        return format!("at its end ({})", words::clock(&watch.until, look));
    }
    "now".to_owned()
}

fn is_over(watch: &WatchStatus, look: &Look) -> bool {
    words::until(&watch.until, look) == "0 s"
}

/// What every slot that is used did in the last minute.
fn last_minutes(service: &ServiceStatus, look: &Look) -> Vec<String> {
    let used = |slot: &&SlotStatus| slot.active || slot.last_minute.requests > 0;
    let slots = service.slots.iter().filter(used);
    slots
        .map(|slot| last_minute(&slot.name, &slot.last_minute, look))
        .collect()
}

/// `green in the last minute: 12.3 requests/s, 0.5 % errors (3 failed, 1 JSON-RPC), p95 12 ms`.
fn last_minute(slot: &str, minute: &LastMinute, look: &Look) -> String {
    let when = if minute.seconds < 55.0 {
        format!("last {:.0} s", minute.seconds)
    } else {
        "last minute".to_owned()
    };
    let mut text = format!("{slot} in the {when}: ");
    if minute.requests == 0 {
        text.push_str("no requests");
        return text;
    }
    let _ = write!(
        text,
        "{} requests/s, {} % errors",
        minute.requests_per_second, minute.error_percent
    );
    if minute.failed + minute.rpc_errors > 0 {
        let _ = write!(
            text,
            " ({} failed, {} JSON-RPC)",
            minute.failed, minute.rpc_errors
        );
    }
    if let Some(time) = minute.p95_ms {
        let _ = write!(text, ", p95 {}", words::took(time));
    }
    let paint = match minute.error_percent {
        10.0.. => Paint::Bad,
        1.0.. => Paint::Notable,
        _ => Paint::Plain,
    };
    look.style.paint(paint, &text)
}

/// `212 requests, 0.5 % errors (1 failed, 0 JSON-RPC), p95 120 ms, p99 300 ms, 4 of 5 websockets opened`.
fn figures(figures: &WatchFigures) -> String {
    let mut parts = vec![words::many(figures.requests, "request")];
    if figures.requests > 0 {
        parts.push(format!(
            "{} % errors ({} failed, {} JSON-RPC)",
            figures.error_percent, figures.failed, figures.rpc_errors
        ));
    }
    for (name, time) in [("p95", figures.p95_ms), ("p99", figures.p99_ms)] {
        parts.extend(time.map(|time| format!("{name} {}", words::took(time))));
    }
    if figures.handshakes > 0 {
        let opened = figures
            .handshakes
            .saturating_sub(figures.handshakes_refused);
        parts.push(format!(
            "{opened} of {} websockets opened",
            figures.handshakes
        ));
    }
    parts.join(", ")
}

pub(super) fn of_verdict(verdict: &str) -> Paint {
    match verdict {
        "good" => Paint::Good,
        "warning" => Paint::Notable,
        "critical" => Paint::Bad,
        _ => Paint::Plain,
    }
}

/// The event of a slot that is not watched.
fn unwatched((slot, verdict): (&str, &str), reasons: &[String]) -> String {
    match verdict {
        "warning" | "critical" => format!(
            "{slot} does badly ({verdict}), and nothing moves by itself for that: {}",
            reasons.join("; ")
        ),
        _ => format!("{slot} does well again"),
    }
}

/// The event.
fn sentence((slot, verdict): (&str, &str), reasons: &[String], over: bool) -> String {
    let over = if over { " to the end" } else { "" };
    let why = match reasons {
        [] => String::new(),
        reasons => format!(": {}", reasons.join("; ")),
    };
    format!("the watch finds {slot} {verdict}{over}{why}")
}

/// How the active slot does, and that it stays.
pub(super) fn said(event: &EventKind) -> Sentence {
    match event {
        EventKind::Watch {
            slot,
            verdict,
            reasons,
            moves_nothing: true,
            ..
        } => say(unwatched((slot, verdict), reasons), of_verdict(verdict)),
        EventKind::Watch {
            slot,
            verdict,
            reasons,
            over,
            ..
        } => say(
            sentence((slot, verdict), reasons, *over),
            of_verdict(verdict),
        ),
        EventKind::Confirmed { slot, by } => say(
            format!("{slot} stays: the move was confirmed by {by}"),
            Paint::Good,
        ),
        _ => say("", Paint::Plain),
    }
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;

    #[test]
    fn the_figures_stand_beside_those_of_before() {
        let watch = WatchStatus {
            verdict: "critical".to_owned(),
            reasons: vec!["20 of 100 requests failed".to_owned()],
            since: "2026-08-01T12:04:00Z".to_owned(),
            until: "2026-08-01T12:06:00Z".to_owned(),
            figures: WatchFigures {
                requests: 100,
                rpc_errors: 20,
                error_percent: 20.0,
                p95_ms: Some(250),
                handshakes: 5,
                handshakes_refused: 1,
                ..WatchFigures::default()
            },
            baseline: Some(WatchFigures::default()),
            ..WatchStatus::default()
        };
        assert_eq!(
            headline("green", &watch, &look()),
            "watch of green, 1 min left: critical: 20 of 100 requests failed"
        );
        assert_eq!(
            figures(&watch.figures),
            "100 requests, 20 % errors (0 failed, 20 JSON-RPC), p95 250 ms, 4 of 5 websockets opened"
        );
        assert_eq!(figures(&WatchFigures::default()), "0 requests");
    }

    #[test]
    fn the_last_minute_is_told_with_what_went_wrong_in_it() {
        let minute = LastMinute {
            seconds: 60.2,
            requests: 360,
            requests_per_second: 6.0,
            failed: 360,
            error_percent: 100.0,
            p95_ms: Some(1),
            ..LastMinute::default()
        };
        assert_eq!(
            last_minute("green", &minute, &look()),
            "green in the last minute: 6 requests/s, 100 % errors (360 failed, 0 JSON-RPC), p95 1 ms"
        );
        let young = LastMinute {
            seconds: 12.3,
            ..LastMinute::default()
        };
        assert_eq!(
            last_minute("green", &young, &look()),
            "green in the last 12 s: no requests"
        );
    }

    #[test]
    fn a_watch_that_is_over_says_so_and_when_its_figures_are_from() {
        let watch = WatchStatus {
            verdict: "good".to_owned(),
            until: "2026-08-01T11:00:00Z".to_owned(),
            ..WatchStatus::default()
        };
        assert_eq!(when(&watch, &look()), "at its end (11:00:00)");
        assert_eq!(
            headline("green", &watch, &look()),
            "watch of green, over: good"
        );
    }

    #[test]
    fn an_event_says_what_and_why() {
        let reasons = ["too slow".to_owned()];
        assert_eq!(
            sentence(("green", "warning"), &reasons, false),
            "the watch finds green warning: too slow"
        );
        assert_eq!(
            sentence(("green", "good"), &[], true),
            "the watch finds green good to the end"
        );
        assert_eq!(
            unwatched(("green", "critical"), &reasons),
            "green does badly (critical), and nothing moves by itself for that: too slow"
        );
        assert_eq!(unwatched(("green", "good"), &[]), "green does well again");
    }
}
