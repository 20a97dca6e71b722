//! Figures of those who are told what happens.

use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use super::samples::gauge;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// One hook, since the start.
#[derive(Debug, Clone, Default)]
pub struct HookFigures {
    pub name: String,
    pub delivered: u64,
    pub failed: u64,
    pub dropped: u64,
    pub attempts: u64,
    pub queued: u64,
}

pub(super) fn encode(hooks: &[HookFigures], out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    if hooks.is_empty() {
        return Ok(());
    }
    let messages = hooks.iter().flat_map(|hook| {
        let results = [
            ("delivered", hook.delivered),
            ("failed", hook.failed),
            ("dropped", hook.dropped),
        ];
        results
            .map(|(result, count)| Sample::new(&[("hook", &hook.name), ("result", result)], count))
    });
    let about = About(
        "hook_messages",
        "Messages for hooks that were delivered, given up, or gave way to newer ones",
    );
    counter(out, &about, messages)?;
    let about = About("hook_attempts", "Attempts to deliver messages to hooks");
    let attempts = hooks.iter();
    let attempts = attempts.map(|hook| Sample::new(&[("hook", &hook.name)], hook.attempts));
    counter(out, &about, attempts)?;
    let about = About("hook_queue", "Messages that wait for a hook");
    let queued = hooks.iter();
    let queued = queued.map(|hook| Sample::new(&[("hook", &hook.name)], hook.queued));
    gauge(out, &about, queued)
}
