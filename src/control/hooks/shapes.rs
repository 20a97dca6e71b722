//! One message in the words of its receiver.

use super::letter::Letter;
use super::notices::Severity;
use crate::api::SCHEMA;
use crate::config::HookEvent;
use crate::config::HookKind;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use std::time::Duration;

/// For how long an alert that nothing ends stays one.
const MOMENT: Duration = Duration::from_mins(10);
/// For how long one stays that something ends, should that never be heard of.
const STATE: Duration = Duration::from_hours(24);

/// The body, as JSON.
pub(super) fn body(kind: HookKind, letter: &Letter) -> Vec<u8> {
    let document = match kind {
        HookKind::Json => json(letter),
        HookKind::Slack => slack(letter),
        HookKind::Alertmanager => alerts(letter),
    };
    document.to_string().into_bytes()
}

fn json(letter: &Letter) -> Value {
    let names = letter.notice.names.iter().map(|it| it.word());
    json!({
        "schema": SCHEMA,
        "delivery": letter.id,
        "name": letter.name().word(),
        "names": names.collect::<Vec<_>>(),
        "severity": letter.notice.severity.word(),
        "service": letter.event.service,
        "slot": letter.notice.slot,
        "summary": letter.notice.summary,
        "at": letter.event.at,
        "event": *letter.event,
    })
}

fn slack(letter: &Letter) -> Value {
    let (colour, mark) = match letter.notice.severity {
        Severity::Info => ("#2eb67d", ""),
        Severity::Warning => ("#ecb22e", ":warning: "),
        Severity::Critical => ("#e01e5a", ":rotating_light: "),
    };
    let whose = match letter.event.service.as_str() {
        "" => "switchd",
        service => service,
    };
    // Three letters would make links and mentions of what others have written.
    let escape = |text: &str| {
        let text = text.replace('&', "&amp;");
        text.replace('<', "&lt;").replace('>', "&gt;")
    };
    let summary = escape(&letter.notice.summary);
    json!({
        "text": format!("{mark}*{whose}*: {summary}"),
        "attachments": [{
            "color": colour,
            "fallback": summary,
            "footer": format!("switchd, {}", letter.name().word()),
            "ts": seconds(&letter.event.at),
        }],
    })
}

fn seconds(at: &str) -> i64 {
    at.parse::<Timestamp>().map_or(0, Timestamp::as_second)
}

/// Alerts as the API v2 of the Alertmanager takes them. What ends something ends its alert.
fn alerts(letter: &Letter) -> Value {
    let (name, ends) = match letter.notice.resolves {
        Some(resolved) => (resolved, letter.event.at.clone()),
        None => (letter.name(), end(letter)),
    };
    // The labels are who an alert is: what ends one must have those of what began it, however severe that was.
    let severities = match letter.notice.resolves {
        Some(_) => vec![Severity::Warning, Severity::Critical],
        None => vec![letter.notice.severity],
    };
    let alert = |severity: Severity| {
        let mut labels = json!({
            "alertname": format!("switchd_{}", name.word()),
            "severity": severity.word(),
        });
        if !letter.event.service.is_empty() {
            labels["service"] = letter.event.service.clone().into();
        }
        if let Some(slot) = &letter.notice.slot {
            labels["slot"] = slot.clone().into();
        }
        let mut alert = json!({
            "labels": labels,
            "annotations": { "summary": letter.notice.summary, "delivery": letter.id },
            "endsAt": ends,
        });
        if letter.notice.resolves.is_none() {
            alert["startsAt"] = letter.event.at.clone().into();
        }
        alert
    };
    severities.into_iter().map(alert).collect()
}

fn end(letter: &Letter) -> String {
    let lasts = match letter.name() {
        HookEvent::Quarantine
        | HookEvent::Outage
        | HookEvent::OwnerChanged
        | HookEvent::SharedDown
        | HookEvent::ConfigRejected
        | HookEvent::StateNotWritten
        | HookEvent::CertificatesRejected
        | HookEvent::CertificateExpiring => STATE,
        _ => MOMENT,
    };
    let begun: Result<Timestamp, _> = letter.event.at.parse();
    let ends = begun.ok().and_then(|at| at.checked_add(lasts).ok());
    ends.map_or_else(|| letter.event.at.clone(), |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::super::notices::Reader;
    use super::*;
    use crate::api::EventKind;
    use crate::api::StreamEvent;
    use std::sync::Arc;

    fn letter(kind: EventKind) -> Letter {
        let event = StreamEvent {
            schema: SCHEMA,
            at: "2026-08-01T12:00:00.000Z".to_owned(),
            service: "odoo".to_owned(),
            flip: Some(7),
            kind,
        };
        let notice = Reader::default().read(&event).unwrap();
        Letter::new(Arc::new(event), Arc::new(notice))
    }

    fn shaped(kind: HookKind, letter: &Letter) -> Value {
        serde_json::from_slice(&body(kind, letter)).unwrap()
    }

    fn quarantined() -> Letter {
        letter(EventKind::Quarantined {
            slot: "green".to_owned(),
            reason: "HTTP 500: <!channel> & more".to_owned(),
        })
    }

    #[test]
    fn the_generic_form_has_the_whole_event() {
        let letter = quarantined();
        let body = shaped(HookKind::Json, &letter);
        assert_eq!(body["name"], "quarantine");
        assert_eq!(body["service"], "odoo");
        assert_eq!(body["event"]["event"], "quarantined");
        assert_eq!(body["event"]["slot"], "green");
        assert_eq!(body["delivery"], letter.id.as_str());
    }

    #[test]
    fn what_others_wrote_calls_nobody_in_slack() {
        let body = shaped(HookKind::Slack, &quarantined());
        assert_eq!(
            body["text"],
            ":warning: *odoo*: green is in quarantine: HTTP 500: &lt;!channel&gt; &amp; more"
        );
        assert_eq!(body["attachments"][0]["ts"], 1_785_585_600);
    }

    #[test]
    fn what_ends_something_ends_its_alert_however_severe_that_was() {
        let pairs = [
            (
                EventKind::SharedDown {
                    address: Some("db:5432".to_owned()),
                    reason: "db:5432: connection refused".to_owned(),
                },
                EventKind::SharedUp {
                    address: Some("db:5432".to_owned()),
                    lasted_ms: 8000,
                },
            ),
            (
                EventKind::OutageBegan {
                    slot: "green".to_owned(),
                    waiting: 2,
                },
                EventKind::OutageEnded {
                    slot: "green".to_owned(),
                    waiting: 2,
                },
            ),
        ];
        for (begins, ends) in pairs {
            let begun = &shaped(HookKind::Alertmanager, &letter(begins))[0];
            let ended = shaped(HookKind::Alertmanager, &letter(ends));
            let of_the_same = |it: &&Value| it["labels"] == begun["labels"];
            let ended = ended.as_array().unwrap().iter().find(of_the_same);
            let ended = ended.unwrap_or_else(|| panic!("nothing ends {begun}"));
            assert_eq!(begun["endsAt"], "2026-08-02T12:00:00.000Z");
            assert_eq!(ended["endsAt"], "2026-08-01T12:00:00.000Z");
        }
    }

    #[test]
    fn what_ends_something_ends_its_alert() {
        let begun = &shaped(HookKind::Alertmanager, &quarantined())[0];
        let ended = letter(EventKind::QuarantineEnded {
            slot: "green".to_owned(),
        });
        let ended = &shaped(HookKind::Alertmanager, &ended)[0];
        assert_eq!(begun["labels"], ended["labels"]);
        assert_eq!(begun["labels"]["alertname"], "switchd_quarantine");
        assert_eq!(begun["endsAt"], "2026-08-02T12:00:00.000Z");
        assert_eq!(ended["endsAt"], "2026-08-01T12:00:00.000Z");
    }
}
