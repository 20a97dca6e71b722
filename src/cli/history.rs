//! `switchctl history`

use super::failure::Failure;
use super::session::Session;
use super::style::{Look, Paint};
use super::table::{Cell, Table};
use super::words;
use crate::api::{AuditRecord, History};
use crate::config;
use clap::Args;
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt::Write;

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// How many operations at most
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = count)]
    limit: usize,
    /// Only those that moved traffic from or to SLOT, or were about it
    #[arg(long, value_name = "SLOT")]
    slot: Option<String>,
    /// Only those that moved traffic to SLOT, or were about it
    #[arg(long, value_name = "SLOT")]
    to: Option<String>,
    /// Only those of whose name NAME is a part: alice, ci, switchd (by itself)
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only those of this kind: flip, rollback, failback, reload, ack, kill, ...; `call` shows
    /// the calls of the admin API over TCP
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only those that ended so: done, unchanged, refused, cancelled, failed, moved-back, interrupted
    #[arg(long, value_name = "RESULT")]
    outcome: Option<String>,
    /// Only those that began so long ago or later (2h, 7d), or at a time (2026-08-01T12:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
}

pub(super) async fn run(session: &Session, args: &HistoryArgs) -> Result<(), Failure> {
    let path = path(session, args);
    let document = session.client.get(&path).await?;
    let services = usize::from(session.named_service().is_some());
    let is_all = path.matches('&').count() == services;
    session.show(&document, |history, look| match history {
        History { operations, .. } if operations.is_empty() && is_all => {
            "nothing has been done yet".to_owned()
        }
        history => render(history, look),
    })
}

fn path(session: &Session, args: &HistoryArgs) -> String {
    let since = args.since.map(|since| since.to_string());
    // Of the command line as the API has it.
    let outcome = args.outcome.as_ref().map(|it| it.replace([' ', '-'], "_"));
    let mut path = format!("/v1/history?limit={}", args.limit);
    for (name, value) in [
        ("service", session.named_service()),
        ("slot", args.slot.as_deref()),
        ("to", args.to.as_deref()),
        ("actor", args.actor.as_deref()),
        ("kind", args.kind.as_deref()),
        ("outcome", outcome.as_deref()),
        ("since", since.as_deref()),
    ] {
        let Some(value) = value else { continue };
        path.extend(["&", name, "="]);
        path.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    }
    path
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| "a number from 1 on".to_owned())
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago = config::parse_duration(text).ok();
    let then = ago.and_then(|ago| Timestamp::now().checked_sub(ago).ok());
    then.ok_or_else(|| "write 30m, 2h or 7d, or a time such as 2026-08-01T12:00:00Z".to_owned())
}

fn render(history: &History, look: &Look) -> String {
    if history.operations.is_empty() {
        return "nothing of the kind has been done".to_owned();
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
            ..AuditRecord::default()
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
    fn a_search_without_a_result_says_so() {
        let none = History {
            schema: 1,
            operations: Vec::new(),
        };
        assert_eq!(render(&none, &look()), "nothing of the kind has been done");
    }
}
