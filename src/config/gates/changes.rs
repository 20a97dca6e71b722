//! What a reload changes about gates, in words.

use super::super::change::{Differences, Lists};
use super::kinds::SMOKE_TESTS;
use super::steps;
use super::{Gate, GateKind, LatencyGate, OdooGate, Severity, SmokeTest, WarmUp};

pub(in super::super) fn changes(lines: &mut Differences, old: &[Gate], new: &[Gate]) {
    let find = |all: &[Gate], name: &str| all.iter().find(|gate| gate.name == name).cloned();
    for gate in new {
        match find(old, &gate.name) {
            None => lines.told(format_args!("gate {} added: {}", gate.name, shown(gate))),
            Some(before) => one_gate(lines, &before, gate),
        }
    }
    for gate in old.iter().filter(|gate| find(new, &gate.name).is_none()) {
        lines.told(format_args!("gate {} removed", gate.name));
    }
    let order =
        |gates: &[Gate]| -> Vec<String> { gates.iter().map(|gate| gate.name.clone()).collect() };
    let (mut before, mut after) = (order(old), order(new));
    if before != after {
        before.sort();
        after.sort();
        if before == after {
            lines.told(format_args!(
                "gates are in another order: {}",
                order(new).join(", ")
            ));
        }
    }
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Required => "required",
        Severity::Warn => "warn",
    }
}

fn shown(gate: &Gate) -> String {
    format!("{}, {}", gate.kind.word(), severity_word(gate.severity))
}

fn one_gate(lines: &mut Differences, old: &Gate, new: &Gate) {
    let outer = lines.prefix.clone();
    lines.prefix = format!("{outer}gate {}: ", new.name);
    let (a, b) = (severity_word(old.severity), severity_word(new.severity));
    lines.value("severity", &a, &b);
    lines.value("attempts", &old.attempts, &new.attempts);
    lines.time("interval", old.interval, new.interval);
    lines.time("deadline", old.deadline, new.deadline);
    let origin = |gate: &Gate| match &gate.origin {
        None => "as clients see it".to_owned(),
        Some(origin) => origin.to_string(),
    };
    lines.value("origin", &origin(old), &origin(new));
    kind_changes(lines, &old.kind, &new.kind);
    lines.prefix = outer;
}

/// Of gates of one kind; a gate of another kind is told as that.
fn kind_changes(lines: &mut Differences, old: &GateKind, new: &GateKind) {
    match (old, new) {
        (GateKind::Http(old), GateKind::Http(new)) => steps::changes(lines, old, new),
        (GateKind::Odoo(old), GateKind::Odoo(new)) => odoo(lines, old, new),
        (GateKind::Latency(old), GateKind::Latency(new)) => latency(lines, old, new),
        (GateKind::WarmUp(old), GateKind::WarmUp(new)) => warm_up(lines, old, new),
        (old, new) => lines.value("kind", &old.word(), &new.word()),
    }
}

fn odoo(lines: &mut Differences, old: &OdooGate, new: &OdooGate) {
    lines.value("database", &old.database, &new.database);
    lines.value("login", &old.login, &new.login);
    if old.password != new.password {
        lines.told("password changed");
    }
    let lists = |old, new| Lists { old, new };
    lines.list("module", &lists(&old.modules, &new.modules), String::clone);
    lines.list("model", &lists(&old.models, &new.models), String::clone);
    let word = |smoke_test: SmokeTest| {
        let choice = SMOKE_TESTS.iter().find(|it| it.means == smoke_test);
        choice.map_or("", |choice| choice.word)
    };
    let (a, b) = (word(old.smoke_test), word(new.smoke_test));
    lines.value("smoke_test", &a, &b);
    lines.value("websocket", &old.websocket, &new.websocket);
    lines.value("session", &old.session, &new.session);
}

fn latency(lines: &mut Differences, old: &LatencyGate, new: &LatencyGate) {
    lines.value("path", &old.path, &new.path);
    lines.value("requests", &old.requests, &new.requests);
    lines.time("max_p95", old.max_p95, new.max_p95);
    let percent = |percent: Option<u32>| percent.map_or("off".to_owned(), |it| format!("{it}%"));
    let (a, b) = (percent(old.max_increase), percent(new.max_increase));
    lines.value("max_increase", &a, &b);
    lines.time("ignore_below", old.ignore_below, new.ignore_below);
}

fn warm_up(lines: &mut Differences, old: &WarmUp, new: &WarmUp) {
    let paths = Lists {
        old: &old.paths,
        new: &new.paths,
    };
    lines.list("path", &paths, String::clone);
    lines.value("assets", &old.assets, &new.assets);
    lines.value("parallel", &old.parallel, &new.parallel);
    lines.time("within", old.within, new.within);
    let members = Lists {
        old: &old.members,
        new: &new.members,
    };
    lines.list("member", &members, ToString::to_string);
}
