//! After the flip: the old slot must become empty, and traffic must stay where it is.

use super::daemon::Daemon;
use super::plan::Plan;
use crate::api::{ServiceStatus, WatchStatus};
use jiff::Timestamp;
use std::time::Duration;

const LOOKS: Duration = Duration::from_millis(200);

/// What became of the slot that traffic left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Emptied {
    pub(super) took_ms: u64,
    pub(super) cut: u64,
    /// Of those, upgraded connections.
    pub(super) websockets: u64,
}

/// Waits until the old slot is empty.
pub(super) async fn empty(daemon: &Daemon, plan: &Plan) -> Result<Emptied, String> {
    loop {
        let now = daemon.service().await?;
        still_there(plan, &now)?;
        if !now.draining.iter().any(|it| it.slot == plan.old_slot) {
            let record = daemon.last_move(&plan.slot).await;
            return Ok(Emptied {
                took_ms: record.as_ref().and_then(|it| it.drained_ms).unwrap_or(0),
                cut: record.as_ref().map_or(0, |it| it.cut),
                websockets: record.map_or(0, |it| it.cut_websockets),
            });
        }
        tokio::time::sleep(LOOKS).await;
    }
}

/// Waits until the new slot has been active for as long as it must. The result is what the daemon's own watch
/// says of it then, in words.
pub(super) async fn stay(daemon: &Daemon, plan: &Plan) -> Result<Option<String>, String> {
    loop {
        let now = daemon.service().await?;
        still_there(plan, &now)?;
        if for_how_long(&now) >= plan.watch {
            return said(now.watch.as_ref());
        }
        tokio::time::sleep(LOOKS).await;
    }
}

fn said(watch: Option<&WatchStatus>) -> Result<Option<String>, String> {
    let Some(watch) = watch else { return Ok(None) };
    let mut words = format!("the watch says {}", watch.verdict);
    for reason in &watch.reasons {
        words.push_str("; ");
        words.push_str(reason);
    }
    // Traffic may have stayed all the same: automatic moves can be switched off, or have to be.
    if watch.verdict == "critical" {
        return Err(words);
    }
    Ok(Some(words))
}

fn for_how_long(now: &ServiceStatus) -> Duration {
    let moved = now
        .moved
        .as_deref()
        .and_then(|at| at.parse::<Timestamp>().ok());
    let Some(moved) = moved else {
        return Duration::MAX;
    };
    let age = Timestamp::now().duration_since(moved);
    Duration::try_from(age).unwrap_or_default()
}

fn still_there(plan: &Plan, now: &ServiceStatus) -> Result<(), String> {
    if now.active == plan.slot {
        return Ok(());
    }
    let slot = now.slots.iter().find(|slot| slot.name == plan.slot);
    let reason = slot
        .and_then(|slot| slot.quarantine.as_ref())
        .map(|quarantine| format!(": {}", quarantine.reason))
        .unwrap_or_default();
    Err(format!(
        "traffic left {} and is on {}{reason}",
        plan.slot, now.active
    ))
}
