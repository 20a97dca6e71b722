//! The slots of a service: names, members, addresses.

use super::keys::{HEALTH, SLOT};
use super::problem::{At, Report, nearest};
use super::table::{Named, Table};
use super::value::{Value, clip};
use super::words;
use crate::net::EndpointAddr;
use crate::net::user_called;
use crate::switch::MemberName;
use crate::switch::SlotName;
use std::collections::HashSet;
use std::str::FromStr;

/// The member that every slot has: what no route claims goes there.
pub(super) const MAIN: &str = "http";

pub(super) struct WrittenSlot {
    pub(super) name: SlotName,
    pub(super) at: At,
    /// Who listens on its ports.
    pub(super) owner: Option<u32>,
    /// In the order of the file.
    pub(super) members: Vec<WrittenMember>,
}

pub(super) struct WrittenMember {
    pub(super) name: MemberName,
    pub(super) at: At,
    pub(super) addresses: Vec<WrittenAddress>,
}

#[derive(Clone)]
pub(super) struct WrittenAddress {
    pub(super) address: EndpointAddr,
    pub(super) at: At,
}

/// Reads what stands under `[service.NAME.slots]`.
pub(super) fn read(service: &Table<'_>) -> Vec<WrittenSlot> {
    let written = service.named("slots");
    let header = service.header();
    // What stands in place of slots was told of.
    if written.len() < 2 && (!service.has("slots") || service.is_table("slots")) {
        let what = "this service has fewer than two slots: there is nothing to flip between";
        let help = if written.is_empty() {
            format!(
                "add [{header}.slots.blue] and [{header}.slots.green], each with http = [\"HOST:PORT\"]"
            )
        } else {
            format!("add a second [{header}.slots.SLOT]")
        };
        service.report().add(&service.at, what, help);
    }
    written
        .iter()
        .filter_map(|named| slot(header, named))
        .collect()
}

fn slot(service: &str, named: &Named<'_>) -> Option<WrittenSlot> {
    let shown = clip(named.name);
    let name = name::<SlotName>(named.value.report, named, "slot");
    let Some(table) = named.value.as_table(format!("slot {shown}"), &SLOT) else {
        named.value.wrong(
            format!("slot `{shown}` must be a table of members"),
            format!("write [{service}.slots.{shown}], and below it http = [\"HOST:PORT\"]"),
        );
        return None;
    };
    let members = table.others().into_iter().filter_map(member).collect();
    let owner = table.get("owner").and_then(|value| owner(&value));
    Some(WrittenSlot {
        name: name?,
        at: named.at.clone(),
        owner,
        members,
    })
}

/// A uid, or the name of a user of this host.
fn owner(value: &Value<'_>) -> Option<u32> {
    if value.is_number() {
        let uid = value.number(0..=u64::from(u32::MAX))?;
        return u32::try_from(uid).ok();
    }
    let name = value.text()?;
    let found = user_called(name);
    if found.is_none() {
        value.wrong(
            format!("there is no user \"{}\" in /etc/passwd", clip(name)),
            "write the name of the user who runs the slot, or a uid: owner = 1000",
        );
    }
    found
}

fn member(named: Named<'_>) -> Option<WrittenMember> {
    let mut name = name::<MemberName>(named.value.report, &named, "member");
    if HEALTH.key(named.name).is_some() {
        named.value.report.add(
            &named.at,
            format!("`{}` cannot be the name of a member", named.name),
            format!(
                "choose another: [service.NAME.health] has a key `{}`",
                named.name
            ),
        );
        name = None;
    }
    let value = named
        .value
        .called(clip(named.name), r#"["127.0.0.1:8069"]"#);
    let items = value.list()?;
    if items.is_empty() {
        value.wrong(
            format!("member `{}` has no address", value.name()),
            format!("write {} = [\"127.0.0.1:8069\"], for example", value.name()),
        );
    }
    let addresses = items.iter().filter_map(address).collect();
    Some(WrittenMember {
        name: name?,
        at: named.at,
        addresses,
    })
}

fn address(item: &Value<'_>) -> Option<WrittenAddress> {
    let text = item.text()?;
    match words::endpoint(text) {
        Ok(address) => Some(WrittenAddress {
            address,
            at: item.at.clone(),
        }),
        Err(fault) => {
            item.wrong(
                format!("address \"{}\" {}", clip(text), fault.what),
                fault.help,
            );
            None
        }
    }
}

/// The members that all slots must have, the main one first.
pub(super) fn members(report: &Report<'_>, slots: &[WrittenSlot], service: &At) -> Vec<MemberName> {
    let mut seen = HashSet::new();
    let mut all: Vec<MemberName> = slots
        .iter()
        .flat_map(|slot| &slot.members)
        .map(|member| member.name.clone())
        .filter(|name| seen.insert(name.clone()))
        .collect();
    all.sort_by_key(|name| name.as_str() != MAIN);
    if !slots.is_empty() && all.first().is_none_or(|name| name.as_str() != MAIN) {
        report.add(
            service,
            format!("no slot has the member `{MAIN}`"),
            format!("name the main member `{MAIN}`: what no route claims goes there"),
        );
    }
    for slot in slots {
        let has: HashSet<_> = slot.members.iter().map(|member| &member.name).collect();
        for name in all.iter().filter(|name| !has.contains(name)) {
            report.add(
                &slot.at,
                format!(
                    "slot `{}` has no member `{name}`, another slot has",
                    slot.name
                ),
                format!("add {name} = [\"HOST:PORT\"]: all slots have the same members"),
            );
        }
    }
    all
}

pub(super) fn addresses(slots: &[WrittenSlot]) -> Vec<WrittenAddress> {
    slots
        .iter()
        .flat_map(|slot| &slot.members)
        .flat_map(|member| member.addresses.iter().cloned())
        .collect()
}

/// A name that the operator chose, if it follows the rule for names.
pub(super) fn name<N: FromStr>(report: &Report<'_>, named: &Named<'_>, kind: &str) -> Option<N> {
    if let Ok(name) = named.name.parse() {
        return Some(name);
    }
    let plain: String = named
        .name
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect();
    let plain = plain.trim_matches(['-', '_']);
    let rule = "a name is 1 to 63 of a-z, 0-9, `-` and `_`, and starts with a letter or digit";
    report.add(
        &named.at,
        format!("`{}` cannot be the name of a {kind}", clip(named.name)),
        match plain.parse::<N>() {
            Ok(_) => format!("write `{plain}`, for example: {rule}"),
            Err(_) => rule.to_owned(),
        },
    );
    None
}

/// Which of `names` was meant, or which there are.
pub(super) fn meant(written: &str, names: &[&str], kind: &str) -> String {
    match nearest(written, names.iter().copied()) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None if names.is_empty() => format!("there are no {kind} yet"),
        None => format!("the {kind} are {}", names.join(", ")),
    }
}
