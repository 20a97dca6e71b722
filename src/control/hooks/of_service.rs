//! What happened to a whole service, as hooks tell it.

use super::notices::Notice;
use super::notices::Severity;
use crate::api::EventKind;
use crate::config::HookEvent;
use crate::config::format_duration;
use std::time::Duration;

/// What clients notice of a whole service.
pub(super) fn of_service(event: &EventKind) -> Option<Notice> {
    use HookEvent as Name;
    Some(match event {
        EventKind::Mode {
            mode,
            on,
            by,
            message,
        } => {
            let on = if *on { "on" } else { "off" };
            let why = message.as_ref().map(|why| format!(": {why}"));
            let told = format!("{mode} is {on}, says {by}{}", why.unwrap_or_default());
            Notice::new(Name::Mode, Severity::Info, told)
        }
        EventKind::OwnerChanged {
            slot,
            endpoint,
            listening,
            expected,
        } => {
            let told = format!(
                "{listening} listens on {endpoint}, the port of {slot}, not {expected}; nothing moves there by \
                 itself. If that is right: switchctl ack {slot}"
            );
            Notice::new(Name::OwnerChanged, Severity::Critical, told).about(slot)
        }
        EventKind::OwnerRestored { slot } => {
            let told = format!("no stranger listens on the port of {slot} any more");
            let notice = Notice::new(Name::OwnerRestored, Severity::Info, told).about(slot);
            notice.resolving(Name::OwnerChanged)
        }
        EventKind::SharedDown { reason, .. } => {
            let told = format!(
                "what all slots need fails, and nothing moves by itself until it is back: {reason}"
            );
            Notice::new(Name::SharedDown, Severity::Critical, told)
        }
        EventKind::SharedUp { address, lasted_ms } => {
            let what = address.as_deref().unwrap_or("what all slots need");
            let lasted = format_duration(Duration::from_millis(*lasted_ms));
            let told = format!("{what} is back after {lasted}");
            Notice::new(Name::SharedUp, Severity::Info, told).resolving(Name::SharedDown)
        }
        EventKind::OutageBegan { slot, waiting } => {
            let told = format!("{slot} cannot be connected; {waiting} requests wait");
            Notice::new(Name::Outage, Severity::Critical, told).about(slot)
        }
        EventKind::OutageEnded { slot, waiting } => {
            let told = format!("{slot} can be connected again; {waiting} requests go on");
            let notice = Notice::new(Name::OutageOver, Severity::Info, told).about(slot);
            notice.resolving(Name::Outage)
        }
        _ => return None,
    })
}
