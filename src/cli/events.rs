//! `switchctl events`

use super::args::EventsArgs;
use super::client::Lines;
use super::failure::Failure;
use super::operation::Interrupt;
use super::output;
use super::output::Format;
use super::sentence::Sentence;
use super::session::Session;
use super::style::{Look, Paint};
use super::words;
use crate::api::StreamEvent;

pub(super) async fn run(session: &Session, args: &EventsArgs) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let path = match session.named_service() {
        Some(service) => format!("/v1/events?service={service}"),
        None => "/v1/events".to_owned(),
    };
    tokio::select! {
        ended = follow(session, args, &path) => ended,
        () = interrupt.received() => Ok(()),
    }
}

async fn follow(session: &Session, args: &EventsArgs, path: &str) -> Result<(), Failure> {
    let mut lines: Lines = session.client.lines(path).await?;
    while let Some(line) = lines.next().await? {
        let text = match session.output.format {
            Format::Json => line,
            Format::Words => match serde_json::from_str::<StreamEvent>(&line) {
                Ok(event) => render(&event, &session.output.look()),
                // Told by a newer daemon: better raw than not at all.
                Err(_) => line,
            },
        };
        output::print(&text)?;
        if !args.follow {
            return Ok(());
        }
    }
    Err(lines.broken("switchd ended the event stream; it may have been stopped"))
}

fn render(event: &StreamEvent, look: &Look) -> String {
    let time = look
        .style
        .paint(Paint::Faint, &words::clock(&event.at, look));
    let whose = match (event.service.as_str(), event.flip) {
        ("", _) => "switchd".to_owned(),
        (service, None) => service.to_owned(),
        (service, Some(flip)) => format!("{service} #{flip}"),
    };
    let sentence = Sentence::of(event);
    let text = look.style.paint(sentence.paint, &sentence.text);
    format!("{time}  {whose}  {text}")
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;

    #[test]
    fn an_event_is_a_line_that_says_when_whose_and_what() {
        let lines = [
            (
                r#"{"schema":1,"at":"2026-08-01T12:00:00Z","service":"odoo","flip":7,"event":"started","direction":"flip","from":"blue","to":"green","by":"uid 0 (root)","reason":"release"}"#,
                "12:00:00  odoo #7  flip from blue to green, asked for by uid 0 (root): release",
            ),
            (
                r#"{"schema":1,"at":"2026-08-01T12:00:01Z","service":"odoo","flip":7,"event":"published","from":"blue","to":"green","generation":8,"took_ms":12}"#,
                "12:00:01  odoo #7  green is live as generation 8; no new request reaches blue",
            ),
            (
                r#"{"schema":1,"at":"2026-08-01T12:00:02Z","service":"odoo","flip":7,"event":"draining","slot":"blue","generation":7,"left":{"requests":3,"transfers":0,"websockets":1}}"#,
                "12:00:02  odoo #7  blue drains: 3 requests, 1 websocket left",
            ),
            (
                r#"{"schema":1,"at":"2026-08-01T12:00:03Z","service":"odoo","flip":null,"event":"staying","slot":"blue","reason":"green is not healthy either"}"#,
                "12:00:03  odoo  traffic stays on blue: green is not healthy either",
            ),
            (
                r#"{"schema":1,"at":"2026-08-01T12:00:04Z","service":"","flip":null,"event":"reloaded","changes":[],"needs_restart":["runtime.workers"]}"#,
                "12:00:04  switchd  config reloaded: nothing changed; after a restart: runtime.workers",
            ),
        ];
        for (line, expected) in lines {
            let event: StreamEvent = serde_json::from_str(line).unwrap();
            assert_eq!(render(&event, &look()), expected);
        }
    }
}
