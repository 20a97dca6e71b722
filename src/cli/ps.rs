//! `switchctl ps`

use super::failure::Failure;
use super::session::Session;
use super::style::{Look, Paint};
use super::table::{Cell, Table};
use super::words;
use crate::api::{RequestList, RequestStatus};

pub(super) async fn run(session: &Session) -> Result<(), Failure> {
    let path = match session.named_service() {
        Some(service) => format!("/v1/ps?service={service}"),
        None => "/v1/ps".to_owned(),
    };
    let document = session.client.get(&path).await?;
    session.show(&document, render)
}

fn render(list: &RequestList, look: &Look) -> String {
    if list.requests.is_empty() {
        return "no request is under way".to_owned();
    }
    // A column for those who wait or waited is of use where there are any.
    let queues = list.requests.iter().any(|it| waited(it).is_some());
    let talks = list.requests.iter().any(is_websocket);
    let mut headings = vec![
        Cell::number("ID"),
        Cell::number("AGE"),
        Cell::new("KIND"),
        Cell::new("STATE"),
    ];
    if queues {
        headings.push(Cell::number("WAITED"));
    }
    headings.extend([
        Cell::new("SERVICE"),
        Cell::new("SLOT"),
        Cell::new("CLIENT"),
        Cell::number("IN"),
        Cell::number("OUT"),
    ]);
    if talks {
        headings.push(Cell::number("MESSAGES"));
    }
    headings.push(Cell::new("REQUEST"));
    let mut table = Table::new("", headings);
    let mut oldest_first: Vec<&RequestStatus> = list.requests.iter().collect();
    oldest_first.sort_by_key(|request| std::cmp::Reverse(request.age_ms));
    for request in oldest_first {
        table.row(row(request, Columns { queues, talks }));
    }
    table.render(look.style)
}

/// Those that are not always there.
#[derive(Clone, Copy)]
struct Columns {
    queues: bool,
    talks: bool,
}

/// For a place, or behind a hold.
fn waited(request: &RequestStatus) -> Option<u64> {
    match (request.queued_ms, request.held_ms) {
        (None, None) => None,
        (queued, held) => Some(queued.unwrap_or(0) + held.unwrap_or(0)),
    }
}

fn is_websocket(request: &RequestStatus) -> bool {
    request.kind == "websocket"
}

fn row(request: &RequestStatus, columns: Columns) -> Vec<Cell> {
    let slot = match (&request.slot, request.generation) {
        (Some(slot), Some(generation)) => format!("{slot} ({generation})"),
        (Some(slot), None) => slot.clone(),
        (None, _) => "-".to_owned(),
    };
    let (state, paint) = match (request.state.as_str(), request.queue_place) {
        ("queued", Some(place)) => (format!("queued #{place}"), Paint::Notable),
        ("held", Some(place)) => (format!("held #{place}"), Paint::Notable),
        ("queued" | "held", None) => (request.state.clone(), Paint::Notable),
        (state, _) => (state.to_owned(), Paint::Plain),
    };
    let mut row = vec![
        Cell::number(request.id.to_string()).painted(Paint::Strong),
        Cell::number(words::took(request.age_ms)),
        Cell::new(&request.kind),
        Cell::new(state).painted(paint),
    ];
    if columns.queues {
        let waited = waited(request).map_or("-".to_owned(), words::took);
        row.push(Cell::number(waited));
    }
    row.extend([
        Cell::new(&request.service),
        Cell::new(slot),
        Cell::new(&request.client),
        Cell::number(words::bytes(request.bytes_in)),
        Cell::number(words::bytes(request.bytes_out)),
    ]);
    if columns.talks {
        row.push(Cell::number(if is_websocket(request) {
            format!("{}/{}", request.messages_in, request.messages_out)
        } else {
            "-".to_owned()
        }));
    }
    row.push(Cell::new(format!("{} {}", request.method, request.path)));
    row
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;

    fn request(id: u64, kind: &str, state: &str, age_ms: u64) -> RequestStatus {
        RequestStatus {
            id,
            kind: kind.to_owned(),
            state: state.to_owned(),
            service: "odoo".to_owned(),
            slot: Some("blue".to_owned()),
            queue_place: None,
            queued_ms: None,
            held_ms: None,
            generation: Some(6),
            endpoint: Some("127.0.0.1:8069".to_owned()),
            client: "10.0.0.7:51234".to_owned(),
            method: "GET".to_owned(),
            path: "/odoo".to_owned(),
            age_ms,
            bytes_in: 620,
            bytes_out: 1_572_864,
            messages_in: 12,
            messages_out: 340,
            request_id: "r".to_owned(),
        }
    }

    #[test]
    fn requests_are_listed_oldest_first_in_units_people_read() {
        let mut waiting = request(1009, "request", "queued", 120);
        (waiting.slot, waiting.generation) = (None, None);
        (waiting.queue_place, waiting.queued_ms) = (Some(3), Some(118));
        waiting.path = "/a\x1b[2J".to_owned();
        let list = RequestList {
            schema: 1,
            requests: vec![waiting, request(17, "websocket", "tunnel", 4_000_000)],
        };
        assert_eq!(
            render(&list, &look()),
            "  ID        AGE  KIND       STATE      WAITED  SERVICE  SLOT      CLIENT             IN      OUT  MESSAGES  REQUEST
  17  1 h 6 min  websocket  tunnel          -  odoo     blue (6)  10.0.0.7:51234  620 B  1.5 MiB    12/340  GET /odoo
1009     120 ms  request    queued #3  118 ms  odoo     -         10.0.0.7:51234  620 B  1.5 MiB         -  GET /a\u{fffd}[2J
"
        );
    }

    #[test]
    fn where_nobody_waited_no_column_tells_of_it() {
        let list = RequestList {
            schema: 1,
            requests: vec![request(17, "request", "waiting", 120)],
        };
        assert!(!render(&list, &look()).contains("QUEUED"));
    }

    #[test]
    fn an_empty_list_says_so() {
        let none = RequestList {
            schema: 1,
            requests: Vec::new(),
        };
        assert_eq!(render(&none, &look()), "no request is under way");
    }
}
