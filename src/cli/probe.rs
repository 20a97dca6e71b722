//! `switchctl probe SLOT`

use super::args::SlotArgs;
use super::failure::{Exit, Failure};
use super::session::Session;
use super::style::{Look, Paint};
use super::table::{Cell, Table};
use crate::api::{ProbeReport, ProbedEndpoint, SlotRequest};

pub(super) async fn run(session: &Session, args: &SlotArgs) -> Result<(), Failure> {
    let path = session.service_path("probe").await?;
    let request = SlotRequest {
        slot: args.slot.to_string(),
    };
    let document = session.client.post(&path, &request).await?;
    session.show(&document, render)?;
    let report: ProbeReport = document.read()?;
    if report.passed {
        Ok(())
    } else {
        Err(Failure::Ended {
            exit: Exit::Refused,
            text: format!(
                "{} did not pass; a flip to it would be refused",
                report.slot
            ),
        })
    }
}

fn render(report: &ProbeReport, look: &Look) -> String {
    let headings = ["MEMBER", "ADDRESS"].map(Cell::new);
    let mut headings = headings.to_vec();
    headings.extend([Cell::number("TOOK"), Cell::new("RESULT")]);
    let mut table = Table::new("", headings);
    for endpoint in &report.endpoints {
        table.row(row(endpoint));
    }
    table.render(look.style)
}

fn row(endpoint: &ProbedEndpoint) -> Vec<Cell> {
    let result = &endpoint.result;
    let paint = if result.passed {
        Paint::Good
    } else {
        Paint::Bad
    };
    vec![
        Cell::new(&endpoint.member),
        Cell::new(&endpoint.address),
        Cell::number(format!("{:.1} ms", result.took_ms)),
        Cell::new(&result.result).painted(paint),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;
    use crate::api::ProbeResult;

    #[test]
    fn every_endpoint_is_shown_with_its_result() {
        let endpoint = |member: &str, address: &str, passed, result: &str| ProbedEndpoint {
            member: member.to_owned(),
            address: address.to_owned(),
            result: ProbeResult {
                at: "2026-08-01T12:05:00Z".to_owned(),
                took_ms: 1.94,
                passed,
                result: result.to_owned(),
                owner: None,
            },
        };
        let report = ProbeReport {
            schema: 1,
            slot: "green".to_owned(),
            passed: false,
            endpoints: vec![
                endpoint("http", "127.0.0.1:8169", true, "HTTP 200"),
                endpoint("websocket", "127.0.0.1:8172", false, "connection refused"),
            ],
        };
        assert_eq!(
            render(&report, &look()),
            "\
MEMBER     ADDRESS           TOOK  RESULT
http       127.0.0.1:8169  1.9 ms  HTTP 200
websocket  127.0.0.1:8172  1.9 ms  connection refused
"
        );
    }
}
