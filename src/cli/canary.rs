//! `switchctl canary [SLOT] [SHARE|promote|abort]`

use super::args::{MoveArgs, StartArgs};
use super::failure::Failure;
use super::operation;
use super::output;
use super::output::Format;
use super::sentence::{Sentence, say};
use super::session::Session;
use super::style::{Look, Paint};
use super::table::printable;
use super::words;
use crate::api::{CanaryAction, CanaryRequest, CanaryStatus, EventKind, Status};
use crate::switch::Percent;
use clap::Args as Group;

#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  switchctl canary green 5%   5 % of the new visitors go to green, and stay there
  switchctl canary 25%        25 % of those who come from now on; nobody is moved
  switchctl canary 0%         nobody new; those who are there stay
  switchctl canary green      the steps of the config, one after the other
  switchctl canary promote    all traffic follows to green: a flip, gates included
  switchctl canary abort      nobody goes there any more
  switchctl canary            how the canary stands")]
pub(super) struct CanaryArgs {
    /// A slot, a share of the new visitors (5%, 0.5%), `promote`, `abort`, or a slot and one of these
    #[arg(value_name = "SLOT|SHARE|promote|abort", num_args = 0..=2)]
    pub(super) what: Vec<String>,
    #[command(flatten)]
    pub(super) moving: MoveArgs,
    #[command(flatten)]
    pub(super) start: StartArgs,
}

pub(super) async fn run(session: &Session, args: &CanaryArgs) -> Result<(), Failure> {
    if args.what.is_empty() {
        return show(session).await;
    }
    let request = request(args).map_err(Failure::Usage)?;
    let path = session.service_path("canary").await?;
    operation::run(session, &path, &request, &args.moving).await?;
    Ok(())
}

fn request(args: &CanaryArgs) -> Result<CanaryRequest, String> {
    let (slot, order) = match &args.what[..] {
        [slot, order] => (Some(slot.clone()), Some(order)),
        [only] if is_order(only) => (None, Some(only)),
        [slot] => (Some(slot.clone()), None),
        _ => (None, None),
    };
    let MoveArgs {
        no_wait,
        force,
        reason,
        ..
    } = &args.moving;
    let mut request = CanaryRequest {
        slot,
        force: *force,
        reason: reason.clone(),
        no_wait: *no_wait,
        acknowledge: args.moving.ack,
        no_wait_for_start: args.start.no_wait_for_start,
        ..CanaryRequest::default()
    };
    match order.map(String::as_str) {
        None => {}
        Some("promote") => request.action = Some(CanaryAction::Promote),
        Some("abort") => request.action = Some(CanaryAction::Abort),
        Some(share) => {
            let share: Percent = share.parse().map_err(|error| {
                format!("{error}\n  or say `promote` or `abort`: switchctl canary --help")
            })?;
            request.percent = Some(share.percent());
        }
    }
    Ok(request)
}

fn is_order(word: &str) -> bool {
    word == "promote" || word == "abort" || word.ends_with('%')
}

async fn show(session: &Session) -> Result<(), Failure> {
    let service = session.service().await?;
    let document = session.client.get("/v1/status").await?;
    let status: Status = document.read()?;
    let found = status.services.iter().find(|it| it.name == service);
    let canary = found.and_then(|it| it.canary.as_ref());
    match session.output.format {
        Format::Json => {
            let text = serde_json::to_string(&canary).unwrap_or_default();
            output::print(&text)
        }
        Format::Words => {
            let look = session.output.look();
            let line = match canary {
                Some(canary) => line(canary, &look),
                None => "no canary is running: all traffic is on the active slot".to_owned(),
            };
            output::print(&format!("{service}: {line}"))
        }
    }
}

/// How a canary stands, on one line.
pub(super) fn line(canary: &CanaryStatus, look: &Look) -> String {
    let share = look.style.paint(Paint::Notable, &percent(canary.percent));
    let mut line = format!(
        "canary: {share} of the new visitors go to {} (generation {}), for {}",
        canary.slot,
        canary.generation,
        words::since(&canary.changed, look),
    );
    if let Some(next) = &canary.next {
        let when = canary.next_at.as_ref().map(|at| words::until(at, look));
        let when = when.map_or_else(|| "later".to_owned(), |when| format!("in {when}"));
        line = format!("{line}; next: {next} {when}");
    }
    printable(&line)
}

pub(super) fn percent(percent: f64) -> String {
    Percent::of_percent(percent).map_or_else(|| format!("{percent}%"), |share| share.to_string())
}

/// Of its events.
pub(super) fn sentence(event: &EventKind) -> Sentence {
    match event {
        EventKind::PreviewLink { slot, by } => {
            say(format!("a link to {slot} was made for {by}"), Paint::Plain)
        }
        EventKind::Canary {
            slot,
            percent,
            generation,
            step,
        } => {
            let share = self::percent(*percent);
            let step = step.map_or(String::new(), |step| format!(" (step {step})"));
            say(
                format!(
                    "{share} of the new visitors go to {slot} as generation {generation}{step}"
                ),
                Paint::Good,
            )
        }
        EventKind::CanaryOver { slot, promoted, .. } if *promoted => say(
            format!("the canary on {slot} is over: all traffic has followed"),
            Paint::Good,
        ),
        EventKind::CanaryOver { slot, reason, .. } => {
            let why = reason
                .as_deref()
                .map_or(String::new(), |reason| format!(": {reason}"));
            say(
                format!("the canary on {slot} is over, no new request goes there{why}"),
                Paint::Notable,
            )
        }
        EventKind::CanaryHalted { slot, percent } => say(
            format!(
                "the canary on {slot} stays at {}: its next step failed, and no more follow by themselves",
                self::percent(*percent)
            ),
            Paint::Bad,
        ),
        _ => say("", Paint::Plain),
    }
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;
    use std::time::Duration;

    fn asked(words: &[&str]) -> Result<CanaryRequest, String> {
        request(&CanaryArgs {
            what: words.iter().map(ToString::to_string).collect(),
            moving: MoveArgs {
                no_wait: false,
                force: false,
                ack: false,
                reason: None,
                timeout: Duration::from_secs(1),
            },
            start: StartArgs {
                no_wait_for_start: false,
            },
        })
    }

    #[test]
    fn words_are_taken_as_they_are_meant() {
        let steps = asked(&["green"]).unwrap();
        assert_eq!(
            (steps.slot.as_deref(), steps.percent),
            (Some("green"), None)
        );
        let share = asked(&["green", "2.5%"]).unwrap();
        assert_eq!(
            (share.slot.as_deref(), share.percent),
            (Some("green"), Some(2.5))
        );
        let more = asked(&["25%"]).unwrap();
        assert_eq!((more.slot, more.percent), (None, Some(25.0)));
        assert_eq!(
            asked(&["promote"]).unwrap().action,
            Some(CanaryAction::Promote)
        );
        let abort = asked(&["green", "abort"]).unwrap();
        assert_eq!(abort.action, Some(CanaryAction::Abort));
        for wrong in [["green", "much"], ["green", "101%"], ["5%", "green"]] {
            assert!(asked(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_line_tells_what_comes_next() {
        let canary = CanaryStatus {
            slot: "green".to_owned(),
            generation: 12,
            percent: 5.0,
            since: "2026-08-01T11:00:00Z".to_owned(),
            changed: "2026-08-01T11:55:00Z".to_owned(),
            next: Some("25%".to_owned()),
            next_at: Some("2026-08-01T12:05:00Z".to_owned()),
        };
        let told = line(&canary, &look());
        assert!(
            told.starts_with("canary: 5% of the new visitors go to green (generation 12), for "),
            "{told}"
        );
        assert!(told.contains("next: 25% in "), "{told}");
    }
}
