//! What a reload changes in the slots of a service, in words for the operator.

use super::change::Differences;
use super::settings::{Health, Member, Slot};
use super::units::format_duration;

/// Slots, members, and how they are checked.
pub(super) fn slots(lines: &mut Differences, old: &[Slot], new: &[Slot]) {
    for slot in new {
        match old.iter().find(|other| other.name == slot.name) {
            None => lines.told(format_args!("slot {} added", slot.name)),
            Some(before) => {
                let owner = |slot: &Slot| {
                    let whoever = || "whoever served last".to_owned();
                    slot.owner.map_or_else(whoever, |uid| format!("uid {uid}"))
                };
                let name = format!("slot {} owner", slot.name);
                lines.value(&name, &owner(before), &owner(slot));
                for member in &slot.members {
                    let name = format!("slot {} {}", slot.name, member.name);
                    match before.members.iter().find(|m| m.name == member.name) {
                        None => lines.told(format_args!("{name} added")),
                        Some(was) => one_member(
                            lines,
                            &name,
                            &Pair {
                                old: was,
                                new: member,
                            },
                        ),
                    }
                }
                for gone in &before.members {
                    if !slot.members.iter().any(|member| member.name == gone.name) {
                        lines.told(format_args!("slot {} {} removed", slot.name, gone.name));
                    }
                }
            }
        }
    }
    for slot in old {
        if !new.iter().any(|other| other.name == slot.name) {
            lines.told(format_args!("slot {} removed", slot.name));
        }
    }
    checks(lines, old, new);
}

struct Pair<'p, T> {
    old: &'p T,
    new: &'p T,
}

fn one_member(lines: &mut Differences, name: &str, member: &Pair<'_, Member>) {
    let shown = |member: &Member| {
        let all: Vec<_> = member.addresses.iter().map(ToString::to_string).collect();
        all.join(", ")
    };
    lines.value(name, &shown(member.old), &shown(member.new));
}

/// Checks are configured per member, not per slot: tell a change once.
fn checks(lines: &mut Differences, old: &[Slot], new: &[Slot]) {
    let (Some(old), Some(new)) = (old.first(), new.first()) else {
        return;
    };
    for member in &new.members {
        let Some(before) = old.members.iter().find(|m| m.name == member.name) else {
            continue;
        };
        let outer = lines.prefix.clone();
        lines.prefix = format!("{outer}health of {}: ", member.name);
        check(lines, &before.health, &member.health);
        lines.prefix = outer;
    }
}

fn check(lines: &mut Differences, old: &Health, new: &Health) {
    lines.value("path", &old.path, &new.path);
    lines.time("interval", old.interval, new.interval);
    lines.time("fast_interval", old.fast_interval, new.fast_interval);
    lines.time("timeout", old.timeout, new.timeout);
    lines.value("rise", &old.rise, &new.rise);
    lines.value("fall", &old.fall, &new.fall);
    lines.value("min_healthy", &old.min_healthy, &new.min_healthy);
    let busy = |health: &Health| {
        health
            .busy_timeout
            .map_or("off".to_owned(), format_duration)
    };
    lines.value("busy_timeout", &busy(old), &busy(new));
    let statuses = |health: &Health| {
        let all: Vec<_> = health
            .expect_status
            .iter()
            .map(|(low, high)| format!("{low}-{high}"))
            .collect();
        all.join(", ")
    };
    lines.value("expect_status", &statuses(old), &statuses(new));
    lines.value(
        "expect_body",
        &format!("{:?}", old.expect_body),
        &format!("{:?}", new.expect_body),
    );
    let host = |health: &Health| {
        health
            .host
            .clone()
            .unwrap_or_else(|| "by itself".to_owned())
    };
    lines.value("host", &host(old), &host(new));
    if old.headers != new.headers {
        lines.told("headers changed");
    }
}
