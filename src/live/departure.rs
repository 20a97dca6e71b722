//! The websockets of a slot that was left: what they are told, and when it is each one's turn.

use crate::config::Websocket;
use crate::telemetry::Parting;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

/// How long after the last turn a handshake still counts as a client that came back.
const RETURNS: Duration = Duration::from_secs(30);
/// What a client is told when the daemon stops: going away.
const GOING_AWAY: u16 = 1001;

/// What both ends of a websocket are told when it is closed from here.
#[derive(Debug, Clone)]
pub struct Goodbye {
    pub parting: Parting,
    pub code: u16,
    pub reason: Arc<str>,
    /// How long they may take to answer.
    pub wait: Duration,
}

impl Goodbye {
    #[must_use]
    pub fn new(parting: Parting, rules: &Websocket) -> Self {
        let (code, reason) = match parting {
            Parting::Stopped => (GOING_AWAY, ""),
            _ => (rules.close_code, rules.close_reason.as_str()),
        };
        Self {
            parting,
            code,
            reason: reason.into(),
            wait: rules.close_timeout,
        }
    }

    /// Whoever is in the middle of a message may end it no longer than it may take to answer.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        matches!(self.parting, Parting::Cut | Parting::Killed)
    }
}

/// One slot generation's. Begun at most once: a slot that is flipped back to is a new generation.
#[derive(Debug, Default)]
pub struct Departure {
    plan: OnceLock<Plan>,
    /// Turns that were taken, over all workers.
    taken: AtomicU64,
}

#[derive(Debug)]
struct Plan {
    goodbye: Goodbye,
    began: Instant,
    spread: Duration,
    turns: u64,
    stride: u64,
}

impl Departure {
    /// From now on `websockets` of them leave, evenly over `spread`. Has no effect the second time.
    pub fn begin(&self, goodbye: Goodbye, websockets: u64, spread: Duration) {
        self.plan.get_or_init(|| Plan {
            goodbye,
            began: Instant::now(),
            spread,
            turns: websockets,
            stride: stride(websockets),
        });
    }

    /// What they are told; none while they may stay.
    #[must_use]
    pub fn goodbye(&self) -> Option<&Goodbye> {
        self.plan.get().map(|plan| &plan.goodbye)
    }

    /// Takes a turn: how long after `now` it is. None while they may stay.
    #[must_use]
    pub fn take_turn(&self, now: Instant) -> Option<Duration> {
        let plan = self.plan.get()?;
        // Relaxed: each turn is taken once, whoever takes it.
        let turn = plan.turn(self.taken.fetch_add(1, Ordering::Relaxed));
        Some((plan.began + turn).saturating_duration_since(now))
    }

    /// Clients that come now may be those that were sent away.
    #[must_use]
    pub fn is_recent(&self, now: Instant) -> bool {
        self.plan
            .get()
            .is_some_and(|plan| now < plan.began + plan.spread + RETURNS)
    }
}

impl Plan {
    /// When the `number`th to ask leaves: somewhere in a part of the spread that is its own alone.
    ///
    /// A worker asks for all of its websockets in a row, so neighbours get parts that lie far apart.
    fn turn(&self, number: u64) -> Duration {
        if number >= self.turns {
            // Opened by a handshake that was under way when they were counted.
            return self.spread.mul_f64(fastrand::f64());
        }
        let part = u128::from(number) * u128::from(self.stride) % u128::from(self.turns);
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        let share = (part as f64 + fastrand::f64()) / self.turns as f64;
        self.spread.mul_f64(share)
    }
}

/// A step that visits every one of `turns` places once, and spreads any few in a row.
fn stride(turns: u64) -> u64 {
    // The golden ratio keeps multiples apart.
    let wanted = turns * 618 / 1000;
    (wanted.max(1)..turns)
        .find(|step| common_divisor(*step, turns) == 1)
        .unwrap_or(1)
}

fn common_divisor(a: u64, b: u64) -> u64 {
    match b {
        0 => a,
        b => common_divisor(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPREAD: Duration = Duration::from_secs(10);

    fn begun(websockets: u64) -> Departure {
        let departure = Departure::default();
        let goodbye = Goodbye::new(Parting::Moved, &Websocket::default());
        departure.begin(goodbye, websockets, SPREAD);
        departure
    }

    /// The largest distance from the even line, as a part of the spread.
    fn deviation(mut turns: Vec<f64>) -> f64 {
        turns.sort_by(f64::total_cmp);
        let count = u32::try_from(turns.len()).unwrap();
        let even = (0..count).map(|number| f64::from(number) / f64::from(count));
        let away = turns
            .iter()
            .zip(even)
            .map(|(turn, even)| (turn - even).abs());
        away.fold(0.0, f64::max)
    }

    fn turns(departure: &Departure, count: u32) -> Vec<f64> {
        let began = departure.plan.get().unwrap().began;
        (0..count)
            .map(|_| departure.take_turn(began).unwrap().as_secs_f64() / SPREAD.as_secs_f64())
            .collect()
    }

    #[test]
    fn all_turns_together_are_even() {
        for count in [1_u32, 2, 3, 7, 10, 64, 499, 500, 1000, 4999] {
            let departure = begun(count.into());
            let away = deviation(turns(&departure, count));
            assert!(away <= 1.0 / f64::from(count), "{count}: {away}");
        }
    }

    #[test]
    fn each_worker_has_its_turns_over_the_whole_spread() {
        let departure = begun(1000);
        for worker in 0..4 {
            let away = deviation(turns(&departure, 250));
            assert!(away < 0.05, "worker {worker}: {away}");
        }
    }

    #[test]
    fn those_who_come_too_late_to_be_counted_leave_within_the_spread_too() {
        for counted in [0, 3] {
            let departure = begun(counted);
            assert!(turns(&departure, 100).iter().all(|turn| *turn <= 1.0));
        }
    }

    #[test]
    fn nobody_leaves_before_it_begins_and_it_begins_once() {
        let departure = Departure::default();
        let now = Instant::now();
        assert!(departure.take_turn(now).is_none() && departure.goodbye().is_none());
        assert!(!departure.is_recent(now));
        let rules = Websocket::default();
        departure.begin(Goodbye::new(Parting::Kept, &rules), 5, Duration::ZERO);
        departure.begin(Goodbye::new(Parting::Moved, &rules), 9, SPREAD);
        assert_eq!(departure.goodbye().unwrap().parting, Parting::Kept);
        assert_eq!(departure.take_turn(Instant::now()), Some(Duration::ZERO));
        assert!(departure.is_recent(Instant::now()));
        assert!(!departure.is_recent(Instant::now() + RETURNS));
    }
}
