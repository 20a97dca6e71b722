//! Gates of kind "latency": is a slot as fast as it has to be, and as the one that it takes over from?

use super::asking::Asker;
use super::asking::Question;
use super::check::Attempt;
use super::check::Check;
use super::trial::Trial;
use super::trial::in_seconds;
use crate::config::Gate;
use crate::config::LatencyGate;
use std::time::Duration;
use tokio::time::Instant;

/// What a slot showed.
#[derive(Debug, Default)]
struct Measured {
    times: Vec<Duration>,
    /// The first request that did not end well.
    failed: Option<String>,
}

impl Measured {
    async fn one(&mut self, askers: &[Asker<'_>], number: u32, path: &str) {
        if self.failed.is_some() || askers.is_empty() {
            return;
        }
        let asker = &askers[number as usize % askers.len()];
        // The gate's own deadline ends what takes longer.
        let visited = asker
            .ask(Question::get(path).keeping(0), Duration::MAX)
            .await;
        match visited {
            Ok(visited) if visited.status < 400 => self.times.push(visited.took),
            Ok(visited) => {
                self.failed = Some(format!("HTTP {} from {}", visited.status, asker.name()));
            }
            Err(error) => self.failed = Some(format!("{error} at {}", asker.name())),
        }
    }

    fn p95(&mut self) -> Duration {
        self.times.sort_unstable();
        let at = (self.times.len() * 95).div_ceil(100).saturating_sub(1);
        self.times.get(at).copied().unwrap_or_default()
    }
}

/// Both slots in turn, so that what else the machine does is the same for both.
pub(super) async fn attempt(trial: &Trial, gate: &Gate, latency: &LatencyGate) -> Attempt {
    let started = Instant::now();
    let path = &latency.path;
    let Some(member) = trial.member_for(path, false) else {
        return Attempt::default();
    };
    let askers = trial.askers(gate, &member);
    let compared = trial
        .active
        .as_ref()
        .filter(|_| latency.max_increase.is_some());
    let others = compared
        .filter(|active| !active.is_bad)
        .map(|active| trial.active_askers(active, gate, &member));
    let (mut own, mut other) = (Measured::default(), Measured::default());
    for number in 0..latency.requests {
        own.one(&askers, number, path).await;
        if let Some(others) = &others {
            other.one(others, number, path).await;
        }
    }
    let mut checks = vec![bound(trial, latency, &mut own).took(started.elapsed())];
    if let (Some(active), None) = (compared, &own.failed) {
        let slot = &active.slot;
        let check = if active.is_bad {
            let said = format!("{slot} is not well: nothing to compare with");
            Check::warning("compared", said, "`max_p95` alone was looked at")
        } else {
            compare(trial, latency, (&mut own, &mut other), slot.as_str())
        };
        checks.push(check.took(started.elapsed()));
    }
    Attempt::of(checks)
}

fn bound(trial: &Trial, latency: &LatencyGate, own: &mut Measured) -> Check {
    let (path, slot) = (&latency.path, &trial.slot);
    if let Some(failed) = &own.failed {
        let said = format!("GET {path}: {failed}");
        return Check::failed("p95", said, format!("look at the log of {slot}"));
    }
    let p95 = own.p95();
    let said = format!(
        "{} for GET {path}, {} at most ({} requests)",
        in_seconds(p95),
        in_seconds(latency.max_p95),
        own.times.len()
    );
    if p95 <= latency.max_p95 {
        return Check::passed("p95", said);
    }
    let remedy = format!(
        "what keeps {slot} busy? a gate of kind \"warm_up\" above this one makes it warm first"
    );
    Check::failed("p95", said, remedy)
}

fn compare(
    trial: &Trial,
    latency: &LatencyGate,
    (own, other): (&mut Measured, &mut Measured),
    active: &str,
) -> Check {
    if let Some(failed) = &other.failed {
        let said = format!("{active} (active) could not be measured: {failed}");
        let remedy = "is the path good on both slots? max_increase = \"off\" compares nothing";
        return Check::inconclusive("compared", said, remedy);
    }
    let (own, other) = (own.p95(), other.p95());
    let percent = latency.max_increase.unwrap_or_default();
    let said = format!(
        "p95 {} against {} of {active}, {percent} % more at most",
        in_seconds(own),
        in_seconds(other)
    );
    let most = other.saturating_mul(100 + percent) / 100;
    if own <= most || own <= latency.ignore_below {
        return Check::passed("compared", said);
    }
    let remedy = format!(
        "what is slower in {}? a gate of kind \"warm_up\" above this one makes it warm first",
        trial.slot
    );
    Check::failed("compared", said, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_twenty_one_may_be_slow() {
        let p95 = |times: &[u64]| {
            let mut measured = Measured {
                times: times.iter().copied().map(Duration::from_millis).collect(),
                failed: None,
            };
            measured.p95().as_millis()
        };
        let mut times = vec![10; 19];
        times.push(900);
        assert_eq!(p95(&times), 10);
        times[0] = 800;
        assert_eq!(p95(&times), 800);
        assert_eq!(p95(&[1, 2, 3, 4, 5]), 5);
        assert_eq!(p95(&[]), 0);
    }
}
