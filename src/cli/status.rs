//! `switchctl status`

use super::args::StatusArgs;
use super::canary;
use super::failback;
use super::failure::Failure;
use super::hold;
use super::modes;
use super::names;
use super::operation::Interrupt;
use super::output::{self, Format};
use super::session::Session;
use super::shadow;
use super::shared;
use super::strangers;
use super::style::{Look, Paint};
use super::table::{Cell, Table, printable};
use super::words;
use crate::api::{
    CertificatesStatus, ConfigStatus, DrainStatus, OperationStatus, Problem, ServiceStatus,
    SlotStatus, Status,
};
use std::time::Duration;

const REFRESH: Duration = Duration::from_secs(1);

pub(super) async fn run(session: &Session, args: &StatusArgs) -> Result<(), Failure> {
    if !args.watch {
        return show(session, output::print).await;
    }
    let mut interrupt = Interrupt::listen()?;
    tokio::select! {
        ended = watch(session) => ended,
        () = interrupt.received() => Ok(()),
    }
}

async fn watch(session: &Session) -> Result<(), Failure> {
    let mut refresh = tokio::time::interval(REFRESH);
    loop {
        refresh.tick().await;
        show(session, |text| session.output.repaint(text)).await?;
    }
}

/// Shows the status once; `paint` puts words where they belong.
async fn show(
    session: &Session,
    paint: impl Fn(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let document = session.client.get("/v1/status").await?;
    let mut status: Status = document.read()?;
    choose(&mut status, session.named_service())?;
    match session.output.format {
        Format::Json => output::print(&document.text),
        Format::Words => paint(&render(&status, &session.output.look())),
    }
}

/// Only the service that was named, where one was.
fn choose(status: &mut Status, named: Option<&str>) -> Result<(), Failure> {
    let Some(name) = named else { return Ok(()) };
    let (chosen, others): (Vec<_>, Vec<_>) = std::mem::take(&mut status.services)
        .into_iter()
        .partition(|service| service.name == name);
    status.services = chosen;
    if !status.services.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = others.into_iter().map(|service| service.name).collect();
    Err(Failure::Refused(Box::new(Problem {
        kind: "urn:switchd:unknown".to_owned(),
        title: "Not Found".to_owned(),
        status: 404,
        detail: format!(
            "there is no service \"{name}\"; the services are {}",
            all.join(", ")
        ),
        way_around: None,
        reasons: Vec::new(),
    })))
}

fn render(status: &Status, look: &Look) -> String {
    let mut text = format!(
        "switchd {} on {}, up {} (pid {})\n",
        status.version,
        status.listeners.join(", "),
        words::since(&status.started, look),
        status.pid,
    );
    text.push_str(&super::machine::render(status, look));
    for service in &status.services {
        text.push('\n');
        text.push_str(&render_service(service, look));
    }
    for certificate in &status.acme {
        if let Some(error) = &certificate.error {
            let next = words::until(&certificate.next_attempt, look);
            let what = format!(
                "certificate of {} not ordered: {error}; tried again {next}",
                certificate.host
            );
            push(&mut text, &look.style.paint(Paint::Bad, &printable(&what)));
        }
    }
    text.push_str(&names::render(&status.names, look));
    text.push_str(&render_certificates(&status.certificates, look));
    text.push_str(&render_config(&status.config, look));
    text
}

fn render_certificates(certificates: &CertificatesStatus, look: &Look) -> String {
    let mut text = String::new();
    if !certificates.in_force.is_empty() {
        text.push_str("\ncertificates\n");
    }
    for certificate in &certificates.in_force {
        let names = certificate.names.join(", ");
        let left = match certificate.days_left {
            ..0 => format!("expired {} ago", words::since(&certificate.not_after, look)),
            days => format!("{} left", words::many(days.unsigned_abs(), "day")),
        };
        let line = printable(&format!("{} ({names}): {left}", certificate.chain));
        let paint = match certificate.days_left {
            ..0 => Paint::Bad,
            0..14 => Paint::Notable,
            _ => Paint::Plain,
        };
        push(&mut text, &look.style.paint(paint, &line));
    }
    if !certificates.problems.is_empty() {
        let headline = "\nthe certificates' files as they are now were not taken; those in force stay in force\n";
        text.push_str(&look.style.paint(Paint::Bad, headline));
        for problem in &certificates.problems {
            push(&mut text, &words::paragraph(problem));
        }
    }
    text
}

fn render_service(service: &ServiceStatus, look: &Look) -> String {
    let paint = |paint, text: &str| look.style.paint(paint, text);
    let mut text = format!(
        "{} ({}): {} is active, {}\n",
        paint(Paint::Strong, &service.name),
        service.hosts.join(", "),
        paint(Paint::Good, &service.active),
        phase(service, look),
    );
    if let Some(trouble) = &service.shared_trouble {
        push(&mut text, &shared::line(trouble, look));
    }
    for line in strangers::lines(service, look) {
        push(&mut text, &line);
    }
    text.push_str(&slots(service, look));
    for line in quarantines(service, look) {
        push(&mut text, &paint(Paint::Notable, &line));
    }
    if let Some(canary) = &service.canary {
        push(&mut text, &canary::line(canary, look));
    }
    for slot in &service.slots {
        for line in gates(slot, look) {
            push(&mut text, &line);
        }
    }
    if let Some(operation) = &service.operation {
        push(&mut text, &printable(&under_way(operation, look)));
    }
    if let Some(held) = &service.hold {
        push(&mut text, &paint(Paint::Notable, &hold::status(held, look)));
    }
    if let Some(mode) = &service.maintenance {
        push(
            &mut text,
            &paint(Paint::Notable, &modes::maintenance_line(mode, look)),
        );
    }
    if let Some(mode) = &service.read_only {
        push(
            &mut text,
            &paint(Paint::Notable, &modes::read_only_line(mode, look)),
        );
    }
    if let Some(outage) = &service.outage {
        push(
            &mut text,
            &paint(Paint::Bad, &hold::outage(outage, &service.active)),
        );
    }
    for drain in &service.draining {
        push(&mut text, &draining(drain, look));
    }
    if let Some(shadow) = &service.shadow {
        push(&mut text, &printable(&shadow::status_line(shadow)));
    }
    // Said at the top already where it is what all slots share.
    let shared = service.shared_trouble.as_ref().map(|it| &it.reason);
    if let Some(reason) = service.staying.as_ref().filter(|it| Some(*it) != shared) {
        let what = format!("traffic stays on {}: {reason}", service.active);
        push(&mut text, &paint(Paint::Bad, &printable(&what)));
    }
    for line in super::watch::lines(service, look) {
        push(&mut text, &line);
    }
    push(&mut text, &failback::line(service, look));
    text
}

fn quarantines(service: &ServiceStatus, look: &Look) -> Vec<String> {
    let each = service.slots.iter().filter_map(|slot| {
        let quarantine = slot.quarantine.as_ref()?;
        Some(printable(&format!(
            "quarantine: {}, for {}: {}; before it ends, {}",
            slot.name,
            words::since(&quarantine.since, look),
            quarantine.reason,
            quarantine.ends,
        )))
    });
    each.collect()
}

/// How a slot last stood before its gates.
fn gates(slot: &SlotStatus, look: &Look) -> Vec<String> {
    let Some(gates) = &slot.gates else {
        return Vec::new();
    };
    let name = &slot.name;
    let mut lines = Vec::new();
    if gates.running {
        lines.push(format!("gates of {name}: being tried now"));
    }
    if let Some(at) = &gates.at {
        let since = words::since(at, look);
        let (paint, verdict) = match (gates.passed, gates.warnings.is_empty()) {
            (true, true) => (Paint::Plain, "passed".to_owned()),
            (true, false) => (
                Paint::Notable,
                format!("passed; {}", gates.warnings.join("; ")),
            ),
            (false, _) => (
                Paint::Bad,
                format!("not passed; {}", gates.reasons.join("; ")),
            ),
        };
        let line = format!("gates of {name}, {since} ago: {verdict}");
        lines.push(look.style.paint(paint, &printable(&line)));
    }
    lines
}

/// One indented line.
fn push(text: &mut String, line: &str) {
    text.push_str("  ");
    text.push_str(line);
    text.push('\n');
}

fn phase(service: &ServiceStatus, look: &Look) -> String {
    let generation = format!("generation {}", service.generation);
    let moved = service
        .moved
        .as_ref()
        .map(|at| format!("since {}", words::since(at, look)));
    match moved {
        Some(moved) => format!("{} ({generation} {moved})", service.phase),
        None => format!("{} ({generation})", service.phase),
    }
}

fn slots(service: &ServiceStatus, look: &Look) -> String {
    let mut headings = vec![Cell::new("SLOT"), Cell::new("")];
    headings.extend(["REQUESTS", "TRANSFERS", "WEBSOCKETS", "QUEUED", "SERVED"].map(Cell::number));
    if has_versions(service) {
        headings.insert(1, Cell::new("VERSION"));
    }
    headings.push(Cell::new("HEALTH"));
    let mut table = Table::new("  ", headings);
    for slot in &service.slots {
        table.row(slot_row(service, slot, look));
    }
    table.render(look.style)
}

/// Without any there is no column for them.
fn has_versions(service: &ServiceStatus) -> bool {
    service.slots.iter().any(|slot| slot.version.is_some())
}

fn slot_row(service: &ServiceStatus, slot: &SlotStatus, look: &Look) -> Vec<Cell> {
    let role = match (slot.active, service.previous.as_ref()) {
        (true, _) => "active",
        _ if service
            .canary
            .as_ref()
            .is_some_and(|it| it.slot == slot.name) =>
        {
            "canary"
        }
        (false, Some(previous)) if *previous == slot.name => "previous",
        _ => "",
    };
    let mut health = slot.health.clone();
    if let Some(since) = &slot.since {
        health = format!("{health} for {}", words::since(since, look));
    }
    if let Some(reason) = &slot.reason {
        health = format!("{health}: {reason}");
    }
    let count = |number: u64| {
        let paint = if number == 0 {
            Paint::Faint
        } else {
            Paint::Plain
        };
        Cell::number(number.to_string()).painted(paint)
    };
    let mut row = vec![
        Cell::new(&slot.name).painted(if slot.active {
            Paint::Strong
        } else {
            Paint::Plain
        }),
        Cell::new(role).painted(if slot.active {
            Paint::Good
        } else {
            Paint::Faint
        }),
        count(slot.in_flight.requests),
        count(slot.in_flight.transfers),
        count(slot.in_flight.websockets),
        count(slot.queued),
        count(slot.requests),
        Cell::new(health).painted(Paint::of_health(&slot.health)),
    ];
    if has_versions(service) {
        row.insert(1, Cell::new(slot.version.as_deref().unwrap_or("-")));
    }
    row
}

fn under_way(operation: &OperationStatus, look: &Look) -> String {
    let forced = if operation.forced { "forced " } else { "" };
    let why = operation
        .reason
        .as_deref()
        .map(|r| format!(": {r}"))
        .unwrap_or_default();
    format!(
        "{forced}{} #{} from {} to {} by {}, {} ago{why}",
        operation.direction,
        operation.flip,
        operation.from,
        operation.to,
        operation.by,
        words::since(&operation.started, look),
    )
}

fn draining(drain: &DrainStatus, look: &Look) -> String {
    format!(
        "{} (generation {}) drains for {}: {} left, cut off in {} at the latest",
        drain.slot,
        drain.generation,
        words::since(&drain.since, look),
        words::counts(&drain.left),
        words::until(&drain.until, look),
    )
}

fn render_config(config: &ConfigStatus, look: &Look) -> String {
    let mut text = String::new();
    if !config.problems.is_empty() {
        let headline = format!(
            "\n{} as it is now was not taken; in force is what was loaded {} ago\n",
            config.path,
            words::since(&config.loaded, look),
        );
        text.push_str(&look.style.paint(Paint::Bad, &headline));
        for problem in &config.problems {
            push(&mut text, &words::paragraph(problem));
        }
    }
    if !config.needs_restart.is_empty() {
        let line = format!(
            "\nonly after a restart: {}\n",
            config.needs_restart.join(", ")
        );
        text.push_str(&look.style.paint(Paint::Notable, &line));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;
    use crate::api::{
        CertificateStatus, CountsStatus, DescriptorsStatus, FailbackStatus, LastMinute,
        QuarantineStatus, SharedStatus, SharedTroubleStatus, StateStatus,
    };

    fn slot(name: &str, health: &str) -> SlotStatus {
        SlotStatus {
            name: name.to_owned(),
            active: name == "green",
            health: health.to_owned(),
            since: Some("2026-08-01T09:00:00Z".to_owned()),
            reason: None,
            quarantine: None,
            stranger: None,
            version: None,
            in_flight: CountsStatus::default(),
            queued: 0,
            requests: 0,
            last_minute: LastMinute {
                seconds: 60.0,
                ..LastMinute::default()
            },
            members: Vec::new(),
            gates: None,
        }
    }

    fn quiet() -> Status {
        Status {
            schema: 1,
            version: "0.1.0".to_owned(),
            pid: 4711,
            started: "2026-08-01T09:00:00Z".to_owned(),
            admin_api: None,
            listeners: vec!["127.0.0.1:8080".to_owned()],
            metrics: None,
            acme: Vec::new(),
            names: Vec::new(),
            config: ConfigStatus {
                path: "/etc/switchd/switchd.toml".to_owned(),
                loaded: "2026-08-01T09:00:00Z".to_owned(),
                problems: Vec::new(),
                needs_restart: Vec::new(),
            },
            certificates: CertificatesStatus::default(),
            state: StateStatus::default(),
            descriptors: DescriptorsStatus::default(),
            spool_problem: None,
            services: vec![ServiceStatus {
                name: "odoo".to_owned(),
                hosts: vec!["erp.example.com".to_owned()],
                active: "green".to_owned(),
                previous: None,
                generation: 1,
                epoch: 1,
                phase: "steady".to_owned(),
                moved: None,
                operation: None,
                staying: None,
                failback: FailbackStatus {
                    mode: "always".to_owned(),
                    moves_in_window: 0,
                    max_moves: 3,
                    limit_ends: None,
                    blocked: None,
                },
                shared: None,
                shared_trouble: None,
                canary: None,
                hold: None,
                outage: None,
                maintenance: None,
                read_only: None,
                slots: vec![slot("blue", "healthy"), slot("green", "healthy")],
                draining: Vec::new(),
                watch: None,
                warning: None,
                confirm: None,
                shadow: None,
            }],
        }
    }

    /// Everything that can be out of the ordinary, at once.
    fn troubled() -> Status {
        let mut status = quiet();
        status.config.problems = vec![
            "/etc/switchd/switchd.toml:3:1: unknown key `adress`\n  help: did you mean `address`?"
                .to_owned(),
        ];
        status.config.needs_restart = vec!["runtime.workers".to_owned()];
        let certificate = |chain: &str, days_left| CertificateStatus {
            chain: chain.to_owned(),
            names: vec!["erp.example.com".to_owned(), "*.example.com".to_owned()],
            not_after: "2026-08-01T11:00:00Z".to_owned(),
            days_left,
        };
        status.certificates = CertificatesStatus {
            in_force: vec![certificate("/tls/a.pem", 9), certificate("/tls/b.pem", -1)],
            problems: vec!["/tls/a.key: there is no key in it\n  help: mend it".to_owned()],
        };
        let service = &mut status.services[0];
        service.previous = Some("blue".to_owned());
        service.generation = 8;
        service.phase = "settling".to_owned();
        service.moved = Some("2026-08-01T12:04:48Z".to_owned());
        service.operation = Some(OperationStatus {
            flip: 7,
            direction: "flip".to_owned(),
            by: "uid 1000 (alice)".to_owned(),
            from: "blue".to_owned(),
            to: "green".to_owned(),
            forced: true,
            reason: Some("release 18.0.4".to_owned()),
            started: "2026-08-01T12:04:47Z".to_owned(),
        });
        service.staying = Some("blue is not healthy either".to_owned());
        service.shared = Some(SharedStatus {
            address: "127.0.0.1:5432".to_owned(),
            health: "unhealthy".to_owned(),
            since: None,
            reason: Some("127.0.0.1:5432: connection refused".to_owned()),
        });
        service.shared_trouble = Some(SharedTroubleStatus {
            since: "2026-08-01T12:04:52Z".to_owned(),
            cause: "configured".to_owned(),
            address: Some("127.0.0.1:5432".to_owned()),
            reason: "127.0.0.1:5432: connection refused".to_owned(),
        });
        let blue = &mut service.slots[0];
        blue.health = "unhealthy".to_owned();
        blue.since = Some("2026-08-01T12:03:00Z".to_owned());
        blue.reason = Some("http 127.0.0.1:8069: HTTP 500: \x1b[31moops".to_owned());
        blue.quarantine = Some(QuarantineStatus {
            since: "2026-08-01T12:03:00Z".to_owned(),
            reason: "HTTP 500".to_owned(),
            acknowledged: false,
            ends: "an operator must acknowledge it (`switchctl ack blue`)".to_owned(),
        });
        blue.in_flight = CountsStatus {
            requests: 3,
            transfers: 0,
            websockets: 12,
        };
        blue.requests = 120_431;
        service.draining = vec![DrainStatus {
            slot: "blue".to_owned(),
            generation: 7,
            left: blue.in_flight,
            since: "2026-08-01T12:04:48Z".to_owned(),
            until: "2026-08-01T12:05:18Z".to_owned(),
        }];
        status
    }

    #[test]
    fn a_quiet_daemon_is_a_short_story() {
        assert_eq!(
            render(&quiet(), &look()),
            "\
switchd 0.1.0 on 127.0.0.1:8080, up 3 h (pid 4711)

odoo (erp.example.com): green is active, steady (generation 1)
  SLOT           REQUESTS  TRANSFERS  WEBSOCKETS  QUEUED  SERVED  HEALTH
  blue                  0          0           0       0       0  healthy for 3 h
  green  active         0          0           0       0       0  healthy for 3 h
  green in the last minute: no requests
  failback: always, 0 of 3 moves used
"
        );
    }

    #[test]
    fn everything_out_of_the_ordinary_is_told_in_words() {
        assert_eq!(
            render(&troubled(), &look()),
            "\
switchd 0.1.0 on 127.0.0.1:8080, up 3 h (pid 4711)

odoo (erp.example.com): green is active, settling (generation 8 since 12 s)
  what all slots need fails, for 8 s: 127.0.0.1:5432: connection refused; nothing moves by itself until it is back, and a flip does not help: start it, or check the network to it
  SLOT             REQUESTS  TRANSFERS  WEBSOCKETS  QUEUED  SERVED  HEALTH
  blue   previous         3          0          12       0  120431  unhealthy for 2 min: http 127.0.0.1:8069: HTTP 500: \u{fffd}[31moops
  green  active           0          0           0       0       0  healthy for 3 h
  quarantine: blue, for 2 min: HTTP 500; before it ends, an operator must acknowledge it (`switchctl ack blue`)
  forced flip #7 from blue to green by uid 1000 (alice), 13 s ago: release 18.0.4
  blue (generation 7) drains for 12 s: 3 requests, 12 websockets left, cut off in 18 s at the latest
  traffic stays on green: blue is not healthy either
  green in the last minute: no requests
  failback: always, 0 of 3 moves used

certificates
  /tls/a.pem (erp.example.com, *.example.com): 9 days left
  /tls/b.pem (erp.example.com, *.example.com): expired 1 h ago

the certificates' files as they are now were not taken; those in force stay in force
  /tls/a.key: there is no key in it
    help: mend it

/etc/switchd/switchd.toml as it is now was not taken; in force is what was loaded 3 h ago
  /etc/switchd/switchd.toml:3:1: unknown key `adress`
    help: did you mean `address`?

only after a restart: runtime.workers
"
        );
    }

    #[test]
    fn where_no_automatic_move_is_left_the_line_says_until_when_and_what_to_do() {
        let mut status = quiet();
        let rule = &mut status.services[0].failback;
        rule.moves_in_window = 3;
        rule.limit_ends = Some("2026-08-01T12:25:00Z".to_owned());
        let text = render(&status, &look());
        let line = text.lines().last().unwrap();
        assert_eq!(
            line,
            "  failback: always, 3 of 3 moves used: until 2026-08-01 12:25:00, for 20 min, no slot that answers badly is \
             left by itself; find out why traffic had to move, or raise `failback.max_moves` and `switchctl reload`"
        );
        let mut coloured = look();
        coloured.style = super::super::style::Style::Coloured;
        assert!(render(&status, &coloured).contains("\x1b[31mfailback: always, 3 of 3"));
    }

    #[test]
    fn colours_change_no_word() {
        let mut coloured = look();
        coloured.style = super::super::style::Style::Coloured;
        let text = render(&quiet(), &coloured);
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            plain.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        plain.push_str(rest);
        assert_ne!(plain, text);
        assert_eq!(plain, render(&quiet(), &look()));
    }
}
