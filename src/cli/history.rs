//! `switchctl history`

use super::args::HistoryArgs;
use super::failure::Failure;
use super::session::Session;
use super::style::{Look, Paint};
use super::table::{Cell, Table};
use super::words;
use crate::api::{AuditRecord, History};
use std::fmt::Write;

pub(super) async fn run(session: &Session, args: &HistoryArgs) -> Result<(), Failure> {
    let mut path = format!("/v1/history?limit={}", args.limit);
    if let Some(service) = session.named_service() {
        path.push_str("&service=");
        path.push_str(service);
    }
    let document = session.client.get(&path).await?;
    session.show(&document, render)
}

fn render(history: &History, look: &Look) -> String {
    if history.operations.is_empty() {
        return "nothing has been done yet".to_owned();
    }
    let headings = [
        "WHEN", "SERVICE", "WHAT", "RESULT", "LIVE", "DRAINED", "BY", "WHY",
    ];
    let mut headings = headings.map(Cell::new).to_vec();
    for right in [4, 5] {
        headings[right] = Cell::number(["LIVE", "DRAINED"][right - 4]);
    }
    let mut table = Table::new("", headings);
    for record in &history.operations {
        table.row(row(record, look));
    }
    table.render(look.style)
}

fn row(record: &AuditRecord, look: &Look) -> Vec<Cell> {
    let mut what = match (&record.from, &record.to) {
        (Some(from), Some(to)) => format!("{} {from} > {to}", record.command),
        (None, Some(only)) | (Some(only), None) => format!("{} {only}", record.command),
        (None, None) => record.command.clone(),
    };
    if let Some(version) = &record.version {
        let _ = write!(what, " ({version})");
    }
    if record.forced {
        what.push_str(", forced");
    }
    let paint = match record.result.as_str() {
        "done" | "unchanged" => Paint::Good,
        _ => Paint::Bad,
    };
    let mut result = record.result.replace('_', " ");
    if record.cut > 0 {
        let _ = write!(result, ", {} cut off", record.cut);
    }
    let time = |ms: Option<u64>| Cell::number(ms.map_or_else(|| "-".to_owned(), words::took));
    let told = record.details.iter().map(String::as_str);
    let why: Vec<String> = told
        .chain(record.reason.as_deref())
        .map(words::in_one_line)
        .collect();
    vec![
        Cell::new(words::date(&record.at, look)),
        Cell::new(&record.service),
        Cell::new(what),
        Cell::new(result).painted(paint),
        time(record.published_ms),
        time(record.drained_ms),
        Cell::new(&record.actor),
        Cell::new(why.join("; ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;

    fn record(command: &str, result: &str) -> AuditRecord {
        AuditRecord {
            schema: 1,
            at: "2026-08-01T12:00:00.5Z".to_owned(),
            actor: "uid 1000 (alice)".to_owned(),
            service: "odoo".to_owned(),
            command: command.to_owned(),
            flip: Some(7),
            reason: None,
            forced: false,
            from: Some("blue".to_owned()),
            to: Some("green".to_owned()),
            version: None,
            result: result.to_owned(),
            details: Vec::new(),
            published_ms: Some(410),
            drained_ms: Some(3_250),
            took_ms: None,
            cut: 0,
            gates: Vec::new(),
        }
    }

    #[test]
    fn every_operation_is_one_line() {
        let refused = AuditRecord {
            details: vec!["green http 127.0.0.1:8169: HTTP 500: a\nb".to_owned()],
            published_ms: None,
            drained_ms: None,
            ..record("flip", "refused")
        };
        let cut = AuditRecord {
            cut: 2,
            reason: Some("release 18.0.4".to_owned()),
            forced: true,
            ..record("flip", "moved_back")
        };
        let history = History {
            schema: 1,
            operations: vec![refused, cut],
        };
        assert_eq!(
            render(&history, &look()),
            "\
WHEN                 SERVICE  WHAT                       RESULT                   LIVE  DRAINED  BY                WHY
2026-08-01 12:00:00  odoo     flip blue > green          refused                     -        -  uid 1000 (alice)  green http 127.0.0.1:8169: HTTP 500: a b
2026-08-01 12:00:00  odoo     flip blue > green, forced  moved back, 2 cut off  410 ms    3.2 s  uid 1000 (alice)  release 18.0.4
"
        );
    }

    #[test]
    fn an_empty_history_says_so() {
        let none = History {
            schema: 1,
            operations: Vec::new(),
        };
        assert_eq!(render(&none, &look()), "nothing has been done yet");
    }
}
