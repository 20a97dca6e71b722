//! What hooks are told of a slot that is judged by its answers.

use super::notices::Notice;
use super::notices::Severity;
use crate::config::HookEvent;

/// None for what is no news.
pub(super) fn watch(
    (slot, verdict): (&str, &str),
    reasons: &[String],
    unwatched: bool,
) -> Option<Notice> {
    let (name, severity) = match verdict {
        "warning" => (HookEvent::WatchWarning, Severity::Warning),
        "critical" => (HookEvent::WatchWarning, Severity::Critical),
        "good" => (HookEvent::WatchGood, Severity::Info),
        _ => return None,
    };
    let why = reasons.join("; ");
    let told = match name {
        HookEvent::WatchGood if unwatched => format!("{slot} does well again"),
        _ if unwatched => {
            format!("{slot} does badly ({verdict}), and nothing moves by itself for that: {why}")
        }
        HookEvent::WatchGood => format!("{slot} does well since traffic moved to it"),
        _ => format!("{slot} does not do well since traffic moved to it ({verdict}): {why}"),
    };
    let notice = Notice::new(name, severity, told).about(slot);
    Some(match name {
        HookEvent::WatchGood => notice.resolving(HookEvent::WatchWarning),
        _ => notice,
    })
}
