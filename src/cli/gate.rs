//! `switchctl gate SLOT`, and `switchctl flip SLOT --rehearse`

use super::args::{StartArgs, duration};
use super::client::Lines;
use super::failure::{Exit, Failure};
use super::operation::Interrupt;
use super::output;
use super::output::{Format, Progress};
use super::sentence::Sentence;
use super::session::Session;
use super::style::{Look, Paint};
use super::words;
use crate::api::{EventKind, GateRequest, GatesDone, Rehearsed, StreamEvent};
use crate::switch::SlotName;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct GateArgs {
    #[arg(value_name = "SLOT")]
    slot: SlotName,
    /// Stop waiting after this long (30s, 5m, 1h); the gates themselves go on
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    start: StartArgs,
}

pub(super) async fn run(session: &Session, args: &GateArgs) -> Result<(), Failure> {
    let path = session.service_path("gate").await?;
    let request = GateRequest {
        slot: args.slot.to_string(),
        no_wait_for_start: args.start.no_wait_for_start,
    };
    follow(session, &path, &request, args.timeout).await
}

/// Asks at `path` for gates to be tried, and stays until they all were.
pub(super) async fn follow(
    session: &Session,
    path: &str,
    request: &impl Serialize,
    limit: Duration,
) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let mut progress = session.output.progress();
    let watched = async {
        let mut lines = session.client.operate(path, request).await?;
        let done = watch(session, &mut lines, &mut progress).await?;
        conclude(&done, &session.output.look())
    };
    let left = |how: &str| {
        Failure::StillRunning(format!(
            "{how}: the gates go on in switchd, and nothing changes by them\n  look again: switchctl status, or switchctl history"
        ))
    };
    let ended = tokio::select! {
        ended = watched => ended,
        () = interrupt.received() => Err(left("detached")),
        () = tokio::time::sleep(limit) => {
            let milliseconds = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            Err(left(&format!("not over after {}", words::took(milliseconds))))
        }
    };
    progress.end();
    match session.output.format {
        Format::Json => ended.map(drop),
        Format::Words => output::print(&ended?),
    }
}

/// The last event, and whose it is.
struct Done {
    service: String,
    gates: GatesDone,
}

async fn watch(
    session: &Session,
    lines: &mut Lines,
    progress: &mut Progress,
) -> Result<Done, Failure> {
    while let Some(line) = lines.next().await? {
        if session.output.format == Format::Json {
            output::print(&line)?;
        }
        // A daemon newer than this program may tell of things it does not know yet.
        let Ok(event) = serde_json::from_str::<StreamEvent>(&line) else {
            continue;
        };
        if session.output.format == Format::Words {
            tell(progress, &event);
        }
        if let EventKind::GatesDone(gates) = event.kind {
            let service = event.service;
            return Ok(Done { service, gates });
        }
    }
    Err(lines.broken(
        "switchd ended the event stream before the gates were through; it may have been stopped",
    ))
}

fn tell(progress: &mut Progress, event: &StreamEvent) {
    let sentence = Sentence::of(event);
    match &event.kind {
        EventKind::Probe { result, .. } if result.passed => progress.passing(&sentence.text),
        EventKind::GateProgress(_) | EventKind::GateWaiting(_) => progress.passing(&sentence.text),
        EventKind::GatesDone(_) => {}
        _ => progress.milestone(sentence.paint, &sentence.text),
    }
}

/// The verdict as the one result, or as a failure with its exit code.
fn conclude(done: &Done, look: &Look) -> Result<String, Failure> {
    let Done { service, gates } = done;
    let slot = &gates.slot;
    let mut text = if gates.passed {
        let proven = look.style.paint(Paint::Good, "passes");
        match gates.gates {
            0 => format!(
                "{service}: {slot} {proven}: every address is healthy; it has no gates beyond that ([[service.{service}.gate]])"
            ),
            count => {
                let all = words::many(count as u64, "gate");
                format!("{service}: {slot} {proven}: healthy, and through {all}")
            }
        }
    } else {
        format!("{service}: a flip to {slot} would be refused; nothing changed")
    };
    for reason in &gates.reasons {
        let _ = write!(text, "\n  {}", words::paragraph(reason));
    }
    for warning in &gates.warnings {
        let _ = write!(text, "\n  warning: {}", words::paragraph(warning));
    }
    if let Some(rehearsed) = &gates.rehearsed {
        text.push_str(&would(rehearsed, gates.passed));
    }
    if gates.passed {
        return Ok(text);
    }
    Err(Failure::Ended {
        exit: Exit::Refused,
        text,
    })
}

fn would(rehearsed: &Rehearsed, passed: bool) -> String {
    let Rehearsed {
        from,
        to,
        generation,
        left,
        queued,
    } = rehearsed;
    if from == to {
        return format!("\n  {to} is active already: a flip would change nothing");
    }
    if !passed {
        return String::new();
    }
    let mut text = format!(
        "\n  a flip would make {to} live as generation {generation} and drain {from}: {} now",
        words::counts(left)
    );
    if *queued > 0 {
        let waiting = words::many(*queued, "request");
        let _ = write!(text, "; {waiting} waiting for a place would go to {to}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;
    use crate::api::CountsStatus;

    fn done(passed: bool, gates: usize) -> Done {
        Done {
            service: "odoo".to_owned(),
            gates: GatesDone {
                slot: "green".to_owned(),
                passed,
                gates,
                reasons: Vec::new(),
                warnings: Vec::new(),
                fingerprint: None,
                rehearsed: None,
                proof: None,
                took_ms: 12,
            },
        }
    }

    #[test]
    fn a_slot_that_passes_is_told_with_its_warnings() {
        let mut done = done(true, 2);
        done.gates.warnings = vec!["gate latency, p95: 3 s".to_owned()];
        assert_eq!(
            conclude(&done, &look()).unwrap(),
            "odoo: green passes: healthy, and through 2 gates\n  warning: gate latency, p95: 3 s"
        );
    }

    #[test]
    fn a_slot_without_gates_is_told_how_to_get_some() {
        let told = conclude(&done(true, 0), &look()).unwrap();
        assert!(told.ends_with("([[service.odoo.gate]])"), "{told}");
    }

    #[test]
    fn a_slot_that_does_not_pass_ends_with_the_exit_code_of_a_refusal() {
        let mut done = done(false, 1);
        done.gates.reasons = vec!["gate odoo, modules: the code is newer".to_owned()];
        let failure = conclude(&done, &look()).unwrap_err();
        assert_eq!(failure.exit(), Exit::Refused);
        assert_eq!(
            failure.to_string(),
            "odoo: a flip to green would be refused; nothing changed\n  gate odoo, modules: the code is newer"
        );
    }

    #[test]
    fn a_rehearsal_says_what_would_happen() {
        let mut done = done(true, 1);
        done.gates.rehearsed = Some(Rehearsed {
            from: "blue".to_owned(),
            to: "green".to_owned(),
            generation: 8,
            left: CountsStatus {
                requests: 3,
                transfers: 0,
                websockets: 50,
            },
            queued: 1,
        });
        let told = conclude(&done, &look()).unwrap();
        assert_eq!(
            told.lines().last().unwrap(),
            "  a flip would make green live as generation 8 and drain blue: 3 requests, 50 websockets now; 1 request waiting for a place would go to green"
        );
    }
}
