//! `switchctl shadow [SLOT [PERCENT]]`, `switchctl shadow off`

use super::failure::Failure;
use super::sentence::{Sentence, say};
use super::session::Session;
use super::style::{Look, Paint};
use super::table::{Cell, Table, printable};
use super::words;
use crate::api::{
    EventKind, ShadowExample, ShadowPattern, ShadowReport, ShadowRequest, ShadowSide, ShadowStatus,
};
use crate::config::Share;
use clap::Args as Group;
use std::fmt::Write;

/// Rows and examples that are shown; `--json` has them all.
const MOST_ROWS: usize = 30;
const MOST_EXAMPLES: usize = 10;

#[derive(Debug, Group)]
pub(super) struct ShadowArgs {
    /// Which slot gets copies of GETs and HEADs, or `off`; without it, show how the answers differ
    #[arg(value_name = "SLOT|off")]
    slot: Option<String>,
    /// The share that is copied: 0.01% to 100%; without it, as the config says
    #[arg(value_name = "PERCENT", value_parser = share)]
    percent: Option<Share>,
}

fn share(text: &str) -> Result<Share, String> {
    text.parse().map_err(str::to_owned)
}

pub(super) async fn run(session: &Session, args: &ShadowArgs) -> Result<(), Failure> {
    let path = session.service_path("shadow").await?;
    let Some(slot) = &args.slot else {
        let document = session.client.get(&path).await?;
        return session.show(&document, render);
    };
    let is_off = slot == "off";
    if is_off && args.percent.is_some() {
        let what = "`shadow off` takes no share: nothing is copied any more";
        return Err(Failure::Usage(what.to_owned()));
    }
    let request = ShadowRequest {
        slot: (!is_off).then(|| slot.clone()),
        percent: args.percent.map(Share::percent),
    };
    let document = session.client.post(&path, &request).await?;
    session.show(&document, render)
}

/// What `status` says of it.
pub(super) fn status_line(shadow: &ShadowStatus) -> String {
    let ShadowStatus {
        slot,
        percent,
        compared,
        differ,
        failed,
        ..
    } = shadow;
    let differ = differ + failed;
    format!(
        "{slot} gets copies of {percent}% of the safe requests: {compared} compared, {differ} differ or failed (switchctl shadow)"
    )
}

/// What `events` says of it.
pub(super) fn sentence(event: &EventKind) -> Sentence {
    let text = match event {
        EventKind::ShadowOn { slot, percent, by } => {
            format!("{slot} gets copies of {percent}% of the safe requests, asked for by {by}")
        }
        EventKind::ShadowOff {
            slot,
            reason,
            compared,
            differ,
            failed,
        } => format!(
            "{slot} gets no more copies: {reason}; {compared} compared, {differ} differ, {failed} failed"
        ),
        _ => String::new(),
    };
    say(text, Paint::Plain)
}

fn render(report: &ShadowReport, look: &Look) -> String {
    let Some(slot) = &report.slot else {
        return "no copies were sent since switchd started; `switchctl shadow SLOT` begins"
            .to_owned();
    };
    let mut text = headline(report, slot, look);
    let _ = writeln!(text, "{}", sums(report));
    if !report.patterns.is_empty() {
        text.push_str(&table(report, slot, look));
    }
    let examples = report.patterns.iter().flat_map(|it| &it.examples);
    for example in examples.take(MOST_EXAMPLES) {
        let line = printable(&difference(example, slot));
        let _ = writeln!(text, "{}", look.style.paint(Paint::Notable, &line));
    }
    text.truncate(text.trim_end().len());
    text
}

fn headline(report: &ShadowReport, slot: &str, look: &Look) -> String {
    let percent = report.percent.unwrap_or_default();
    let since = |at: &Option<String>| {
        at.as_ref()
            .map_or(String::new(), |at| words::since(at, look))
    };
    if report.on {
        let active = &report.active;
        let since = since(&report.since);
        return format!(
            "{slot} gets copies of {percent}% of the safe requests that {active} answers, for {since}\n"
        );
    }
    let reason = report.end_reason.as_deref().unwrap_or("it ended");
    let ended = since(&report.ended);
    let line =
        format!("{slot} got copies of {percent}% of the safe requests until {ended} ago: {reason}");
    format!("{}\n", printable(&line))
}

fn sums(report: &ShadowReport) -> String {
    let mut text = format!("{} compared", words::many(report.compared, "answer"));
    for (count, what) in [
        (report.status_differs, "of another status"),
        (report.size_differs, "of another size"),
        (report.failed, "failed"),
        (report.dropped, "left out, for too many were under way"),
        (report.too_large, "left out, for the answer was too large"),
        (report.in_flight, "under way"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    if report.compared > 0 && report.status_differs + report.size_differs + report.failed == 0 {
        text.push_str(", all alike");
    }
    text
}

fn table(report: &ShadowReport, slot: &str, look: &Look) -> String {
    let mut headings: Vec<Cell> = ["COMPARED", "STATUS", "SIZE", "FAILED"]
        .map(Cell::number)
        .into();
    for slot in [report.active.as_str(), slot] {
        headings.push(Cell::number(format!("{slot}: P50")));
        headings.extend(["P95", "BODY"].map(Cell::number));
    }
    headings.push(Cell::new("PATH"));
    let mut table = Table::new("", headings);
    for pattern in report.patterns.iter().take(MOST_ROWS) {
        table.row(row(pattern));
    }
    let more = match report.patterns.len().saturating_sub(MOST_ROWS) {
        0 => String::new(),
        more => format!(
            "{} more; --json shows all\n",
            words::many(more as u64, "path")
        ),
    };
    table.render(look.style) + &more
}

fn row(pattern: &ShadowPattern) -> Vec<Cell> {
    let count = |count: u64, paint| {
        let paint = if count == 0 { Paint::Faint } else { paint };
        Cell::number(count.to_string()).painted(paint)
    };
    let mut cells = vec![
        count(pattern.compared, Paint::Plain),
        count(pattern.status_differs, Paint::Bad),
        count(pattern.size_differs, Paint::Notable),
        count(pattern.failed, Paint::Bad),
    ];
    for side in [&pattern.active, &pattern.shadow] {
        cells.extend(side_cells(side));
    }
    cells.push(Cell::new(&pattern.pattern));
    cells
}

fn side_cells(side: &ShadowSide) -> [Cell; 3] {
    let Some((p50, p95)) = side.p50_ms.zip(side.p95_ms) else {
        return ["-"; 3].map(Cell::number);
    };
    [
        milliseconds(p50),
        milliseconds(p95),
        words::bytes(side.mean_bytes),
    ]
    .map(Cell::number)
}

fn milliseconds(time: f64) -> String {
    if time < 10.0 {
        return format!("{time:.1} ms");
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time that was measured"
    )]
    words::took(time.round() as u64)
}

fn difference(example: &ShadowExample, slot: &str) -> String {
    let ShadowExample {
        path,
        request_id,
        active_status,
        active_bytes,
        ..
    } = example;
    let said = match (example.shadow_status, example.shadow_bytes) {
        (Some(status), _) if status / 100 != active_status / 100 => {
            format!("{active_status}, but {status} on {slot}")
        }
        (Some(_), Some(bytes)) => format!(
            "{}, but {} on {slot}",
            words::bytes(*active_bytes),
            words::bytes(bytes)
        ),
        _ => {
            let why = example.error.as_deref().unwrap_or("no answer");
            format!("{active_status}, but on {slot}: {why}")
        }
    };
    format!("{path}: {said} (request {request_id})")
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;

    fn report() -> ShadowReport {
        let side = |p50, p95, mean_bytes| ShadowSide {
            p50_ms: Some(p50),
            p95_ms: Some(p95),
            mean_bytes,
        };
        let example = |status: Option<u16>, bytes, error: Option<&str>| ShadowExample {
            path: "/web/login".to_owned(),
            request_id: "abc".to_owned(),
            active_status: 200,
            active_bytes: 10_240,
            shadow_status: status,
            shadow_bytes: bytes,
            error: error.map(str::to_owned),
        };
        ShadowReport {
            schema: 1,
            service: "odoo".to_owned(),
            on: true,
            slot: Some("green".to_owned()),
            percent: Some(10.0),
            active: "blue".to_owned(),
            since: Some("2026-08-01T12:00:00Z".to_owned()),
            compared: 123,
            status_differs: 1,
            size_differs: 1,
            failed: 1,
            dropped: 7,
            patterns: vec![ShadowPattern {
                pattern: "/web/login".to_owned(),
                compared: 123,
                status_differs: 1,
                size_differs: 1,
                failed: 1,
                active: side(0.84, 12.4, 10_240),
                shadow: side(13.0, 1250.0, 9_000),
                examples: vec![
                    example(Some(500), Some(12), None),
                    example(None, None, Some("connection refused")),
                    example(Some(200), Some(2048), None),
                ],
            }],
            ..ShadowReport::default()
        }
    }

    #[test]
    fn the_table_says_where_the_slots_differ_and_how_fast_both_are() {
        assert_eq!(
            render(&report(), &look()),
            "green gets copies of 10% of the safe requests that blue answers, for 5 min
123 answers compared, 1 of another status, 1 of another size, 1 failed, 7 left out, for too many were under way
COMPARED  STATUS  SIZE  FAILED  blue: P50    P95      BODY  green: P50    P95     BODY  PATH
     123       1     1       1     0.8 ms  12 ms  10.0 KiB       13 ms  1.2 s  8.7 KiB  /web/login
/web/login: 200, but 500 on green (request abc)
/web/login: 200, but on green: connection refused (request abc)
/web/login: 10.0 KiB, but 2.0 KiB on green (request abc)"
        );
    }

    #[test]
    fn before_and_after_are_told_apart() {
        assert!(render(&ShadowReport::default(), &look()).starts_with("no copies were sent"));
        let over = ShadowReport {
            on: false,
            ended: Some("2026-08-01T12:04:00Z".to_owned()),
            end_reason: Some("traffic moved to green".to_owned()),
            patterns: Vec::new(),
            compared: 5,
            status_differs: 0,
            size_differs: 0,
            failed: 0,
            dropped: 0,
            ..report()
        };
        assert_eq!(
            render(&over, &look()),
            "green got copies of 10% of the safe requests until 1 min ago: traffic moved to green
5 answers compared, all alike"
        );
    }
}
