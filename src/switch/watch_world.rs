//! Promises of the judge, kept in simulated watches: honest clients, noise, broken releases and strangers.

use super::account::{Account, ClientId, Met, Observation};
use super::evidence::{Believes, Evidence, History};
use super::limits::{Thresholds, WatchRules};
use super::moment::Moment;
use super::tally::{Share, Tally};
use super::times::time_bucket;
use super::verdict::{Before, Finding, Judge, Now, WatchVerdict};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
/// Of a hundred calls each is for one of these; the first four are for the first, and so on.
const PARTS: [(&str, u64); 6] = [
    ("sale.order/action_confirm", 4),
    ("account.move/action_post", 10),
    ("res.partner/web_read", 30),
    ("/web/static/*", 60),
    ("/longpolling/poll", 90),
    ("/", 100),
];

/// As they stand where nothing is written.
fn rules() -> WatchRules {
    let critical = Thresholds {
        window: 30 * SECOND,
        error_rate: Some(Share::percent(5)),
        part_error_rate: Some(Share::percent(50)),
        p95: Some(5 * SECOND),
        p99: None,
        latency_rise: None,
        handshake_failures: Some(Share::percent(20)),
    };
    WatchRules {
        enabled: true,
        baseline: 10 * MINUTE,
        min_requests: 50,
        min_handshakes: 10,
        min_clients: 3,
        worse_by: Share::percent(50),
        latency_floor: SECOND / 10,
        at_once: Some(Share::percent(10)),
        at_once_window: 10 * SECOND,
        critical,
        warning: Thresholds {
            window: MINUTE,
            error_rate: Some(Share::percent(1)),
            part_error_rate: Some(Share::percent(10)),
            p95: Some(3 * SECOND),
            latency_rise: Some(Share::percent(50)),
            handshake_failures: Some(Share::percent(10)),
            ..critical
        },
    }
}

/// Xorshift: the same watch from the same seed.
struct Luck(u64);

impl Luck {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    /// So many of ten thousand.
    fn hits(&mut self, share: u64) -> bool {
        self.below(10_000) < share
    }
}

/// A site: so many requests a second of so many clients, of which some fail.
#[derive(Clone, Copy)]
struct Site {
    rate: u64,
    clients: u64,
    /// Of ten thousand requests on both slots, by no fault of the new one.
    noise: u64,
    /// Of ten thousand requests on the new slot.
    broken: u64,
    /// Of ten thousand calls of the first part on the new slot.
    broken_part: u64,
    /// Strangers, and their requests a second.
    strangers: u64,
    hostile_rate: u64,
    took: Duration,
}

const QUIET: Site = Site {
    rate: 20,
    clients: 6,
    noise: 0,
    broken: 0,
    broken_part: 0,
    strangers: 0,
    hostile_rate: 0,
    took: Duration::from_millis(50),
};

fn request(client: u64, part: &'static str, met: Met, took: Duration) -> Observation<'static> {
    Observation {
        client: ClientId(client),
        part,
        met,
        error: (met == Met::RpcError).then_some("builtins.ZeroDivisionError"),
        time: time_bucket(took),
        weight: 1,
    }
}

impl Site {
    fn honest(&self, luck: &mut Luck, is_new: bool) -> Observation<'static> {
        let dice = luck.below(100);
        let (part, _) = PARTS[PARTS.iter().position(|(_, end)| dice < *end).unwrap()];
        let broken = is_new
            && (luck.hits(self.broken) || (part == PARTS[0].0 && luck.hits(self.broken_part)));
        let met = if broken || luck.hits(self.noise) {
            Met::RpcError
        } else {
            Met::Served
        };
        let took = if is_new { self.took } else { QUIET.took };
        request(luck.below(self.clients), part, met, took)
    }

    /// Whatever strangers can think of; none where it leaves no trace at the slot.
    fn hostile(&self, luck: &mut Luck) -> Option<Observation<'static>> {
        let client = 1_000_000 + luck.below(self.strangers);
        let fast = Duration::from_millis(5);
        Some(match luck.below(12) {
            // Aborted, malformed, refused by a limit.
            0..=2 => return None,
            // An upgrade where there is no websocket, and one that fails.
            3 => request(client, "/nothing", Met::Refused, fast),
            4 => request(client, "/websocket", Met::Unopened, fast),
            // URLs that answer 500: always, only here, and where others are served well.
            5 | 6 => request(client, "/crash", Met::Failed, fast),
            7 => request(client, "/new/*", Met::Failed, fast),
            8 => request(client, PARTS[2].0, Met::RpcError, fast),
            9 => request(client, "/", Met::Failed, fast),
            // As slow as can be, and as usual.
            10 => request(client, PARTS[2].0, Met::Served, 30 * SECOND),
            _ => request(client, "/", Met::Served, fast),
        })
    }

    fn history(&self, luck: &mut Luck) -> History {
        let mut account = Account::default();
        for _ in 0..self.rate * 60 {
            account.note(&self.honest(luck, false));
        }
        for client in 0..self.clients {
            account.note(&request(client, "/websocket", Met::Opened, SECOND));
        }
        let slot = "blue".to_owned();
        History { slot, account }
    }

    /// When traffic goes back within `seconds`, and why; else what the watch says at its end.
    fn watch(&self, seed: u64, seconds: u64) -> Outcome {
        let luck = &mut Luck::new(seed);
        let history = self.history(luck);
        self.watch_after(Some(history), luck, seconds)
    }

    fn watch_after(&self, history: Option<History>, luck: &mut Luck, seconds: u64) -> Outcome {
        let rules = rules();
        let mut now = Moment(1_000_000);
        let mut evidence = Evidence::new(&rules, Believes::Known, history);
        let mut all = Tally::default();
        let before = Before {
            shown: None,
            fair: evidence.before(),
        };
        let mut judge = Judge::new(&rules, now, &all, before);
        let mut last = None;
        for second in 1..=seconds {
            for _ in 0..self.rate {
                evidence.note(now, &self.honest(luck, true));
            }
            let hostile = (0..self.hostile_rate).filter_map(|_| self.hostile(luck));
            for seen in hostile.collect::<Vec<_>>() {
                evidence.note(now, &seen);
            }
            all.requests += self.rate;
            now = now.after(SECOND);
            let seen = Now {
                tally: &all,
                evidence: &evidence,
                sick: None,
            };
            let finding = judge.look(&rules, now, seen);
            if finding.breach.is_some() {
                return Outcome::Back { second, finding };
            }
            last = Some(finding);
        }
        Outcome::Stays(last.expect("a watch has seconds"))
    }
}

#[derive(Debug)]
enum Outcome {
    Back { second: u64, finding: Finding },
    Stays(Finding),
}

impl Outcome {
    fn second(&self) -> Option<u64> {
        match self {
            Self::Back { second, .. } => Some(*second),
            Self::Stays(_) => None,
        }
    }

    fn reasons(&self) -> String {
        match self {
            Self::Back { finding, .. } | Self::Stays(finding) => finding.reasons.join("; "),
        }
    }
}

#[test]
fn two_percent_of_noise_move_nothing_in_a_thousand_watches() {
    let site = Site {
        rate: 10,
        noise: 200,
        ..QUIET
    };
    let moved = (0..1000).filter(|seed| site.watch(*seed, 120).second().is_some());
    assert_eq!(moved.count(), 0);
}

#[test]
fn a_method_of_four_percent_that_always_fails_is_left_within_a_minute() {
    for (rate, clients) in [(100, 6), (100, 1), (10, 6), (10, 1), (25, 50)] {
        let site = Site {
            rate,
            clients,
            broken_part: 10_000,
            ..QUIET
        };
        for seed in 0..20 {
            let outcome = site.watch(seed, 60);
            let reasons = outcome.reasons();
            assert!(
                outcome.second().is_some(),
                "{rate} {clients} {seed}: {reasons}"
            );
            assert!(
                reasons.contains("sale.order/action_confirm: ")
                    && reasons.contains("(builtins.ZeroDivisionError) by ")
                    && reasons.contains("; on blue 0 of "),
                "{reasons}"
            );
        }
    }
}

#[test]
fn a_method_that_always_failed_is_no_reason_to_go_back() {
    let broken = Site {
        broken_part: 10_000,
        ..QUIET
    };
    let luck = &mut Luck::new(7);
    let mut account = Account::default();
    for _ in 0..2000 {
        account.note(&broken.honest(luck, true));
    }
    let slot = "blue".to_owned();
    let outcome = broken.watch_after(Some(History { slot, account }), luck, 120);
    assert_eq!(outcome.second(), None, "{}", outcome.reasons());
}

#[test]
fn a_thousand_hostile_requests_of_twenty_strangers_move_nothing() {
    for clients in [1, 2, 6, 200] {
        let site = Site {
            clients,
            strangers: 20,
            hostile_rate: 20,
            noise: 50,
            ..QUIET
        };
        for seed in 0..20 {
            let outcome = site.watch(seed, 120);
            assert_eq!(outcome.second(), None, "{seed}: {}", outcome.reasons());
        }
    }
}

#[test]
fn strangers_hide_no_broken_release() {
    let site = Site {
        broken: 2_000,
        strangers: 20,
        hostile_rate: 200,
        ..QUIET
    };
    for seed in 0..20 {
        let outcome = site.watch(seed, 30);
        assert!(outcome.second().is_some(), "{seed}: {}", outcome.reasons());
    }
}

#[test]
fn a_release_that_fails_for_everybody_is_left_in_seconds() {
    for clients in [1, 3, 300] {
        let site = Site {
            clients,
            broken: 10_000,
            ..QUIET
        };
        for seed in 0..20 {
            assert!(site.watch(seed, 5).second().is_some(), "{clients} {seed}");
            let unknown = site.watch_after(None, &mut Luck::new(seed), 5);
            assert!(unknown.second().is_some(), "nothing is known of before");
        }
    }
}

#[test]
fn a_release_that_is_slow_for_everybody_is_left_when_that_lasts() {
    let site = Site {
        took: 8 * SECOND,
        ..QUIET
    };
    assert!(site.watch(1, 40).second().is_some());
    let slower = Site {
        took: SECOND / 2,
        ..QUIET
    };
    let Outcome::Stays(finding) = slower.watch(1, 90) else {
        panic!("ten times slower is below the limit")
    };
    assert_eq!(finding.verdict, WatchVerdict::Warning, "and told");
}

/// Around a limit nothing is decided by luck: below it a slot stays, clearly above it a slot is left, and in
/// between it may be either. `cargo nextest run --lib --no-capture the_power` prints the table.
#[test]
fn the_power_of_the_judge_is_known() {
    let mut rows = Vec::new();
    for percent in [4, 5, 6, 7, 9] {
        let site = Site {
            rate: 50,
            broken: percent * 100,
            ..QUIET
        };
        let mut seconds: Vec<_> = (0..40)
            .filter_map(|seed| site.watch(seed, 120).second())
            .collect();
        seconds.sort_unstable();
        let median = seconds.get(seconds.len() / 2).copied();
        println!(
            "{percent} % of all: {} of 40 go back, median {median:?} s",
            seconds.len()
        );
        rows.push((percent, seconds.len()));
    }
    for (percent, back) in rows {
        match percent {
            ..=4 => assert_eq!(back, 0, "{percent} %"),
            7.. => assert_eq!(back, 40, "{percent} %"),
            _ => {}
        }
    }
}
