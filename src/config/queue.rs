//! How many requests a slot gets at once, and who waits for a place.

use super::change::Differences;
use super::keys::{Section, key, section};
use super::slots;
use super::table::Table;
use super::value::{Zero, clip};
use crate::switch::MemberName;
use std::time::Duration;

/// Requests in flight per slot, and those who wait for a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Over all workers; 0 means no limit.
    pub max_in_flight: usize,
    /// How many may wait; more are refused with 503.
    pub length: usize,
    /// How long one may wait; then 503.
    pub timeout: Duration,
    /// Only requests to these need a place; empty means all.
    pub members: Vec<MemberName>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            max_in_flight: 0,
            length: 1000,
            timeout: Duration::from_secs(30),
            members: Vec::new(),
        }
    }
}

pub(super) const QUEUE: Section = section(
    "service.NAME.queue",
    &[
        key("max_in_flight", "16"),
        key("length", "1000"),
        key("timeout", r#""30s""#),
        key("members", r#"["http"]"#),
    ],
);

/// `known` are the members of the service's slots.
pub(super) fn read(service: &Table<'_>, known: &[MemberName]) -> Queue {
    let table = service.table("queue", &QUEUE);
    let default = Queue::default();
    Queue {
        max_in_flight: table.number("max_in_flight", 0..=1_000_000, default.max_in_flight),
        length: table.number("length", 0..=1_000_000, default.length),
        timeout: table.duration("timeout", Zero::Refused, default.timeout),
        members: members(&table, known).unwrap_or(default.members),
    }
}

fn members(table: &Table<'_>, known: &[MemberName]) -> Option<Vec<MemberName>> {
    let items = table.get("members")?.list()?;
    let mut members = Vec::new();
    for item in items {
        let Some(text) = item.text() else { continue };
        if let Some(member) = known.iter().find(|member| member.as_str() == text) {
            members.push(member.clone());
            continue;
        }
        let names: Vec<_> = known.iter().map(MemberName::as_str).collect();
        item.wrong(
            format!("no slot has a member \"{}\" to limit", clip(text)),
            slots::meant(text, &names, "members"),
        );
    }
    Some(members)
}

pub(super) fn changes(lines: &mut Differences, old: &Queue, new: &Queue) {
    lines.value(
        "queue max_in_flight",
        &old.max_in_flight,
        &new.max_in_flight,
    );
    lines.value("queue length", &old.length, &new.length);
    lines.time("queue timeout", old.timeout, new.timeout);
    let shown = |members: &[MemberName]| match members {
        [] => "all".to_owned(),
        some => some
            .iter()
            .map(MemberName::as_str)
            .collect::<Vec<_>>()
            .join(", "),
    };
    lines.value("queue members", &shown(&old.members), &shown(&new.members));
}
