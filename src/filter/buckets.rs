//! Many rates in a fixed amount of memory: who may come now, and who has to wait.
//!
//! Each key has a bucket of one word: a tag that tells keys apart, and the time at which the bucket is full
//! again (the generic cell rate algorithm: as exact as a token bucket, with nothing to refill). The words
//! stand in sets of eight, one cache line each; a key belongs to one set by a hash that nobody outside can
//! predict. A bucket that is full again is as good as none, so nothing has to be swept. When a set has no room
//! for a new key, the fullest bucket goes: a flood of addresses displaces itself, not those who are being slowed.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

const WAYS: usize = 8;
/// Microseconds in the low bits: they begin anew after half a year, see [`Pace::ahead`].
const TIME_BITS: u32 = 44;
const TIME: u64 = (1 << TIME_BITS) - 1;
/// How far the clocks of two workers may be apart, far above what they are.
const SKEW: u64 = 60_000_000;

/// How often, and how many at once. All times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Between two tokens.
    interval: u64,
    /// How far behind a bucket may be and still give one.
    slack: u64,
}

/// What became of the wish for one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Token,
    /// The same; another key's bucket was given up for it while it still mattered.
    TokenFor(Evicted),
    /// None: there will be one after this time.
    Wait(Duration),
}

/// Marks that a bucket was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Evicted;

impl Pace {
    /// One token per `interval`, and `burst` more at once after a pause.
    #[must_use]
    pub(super) fn new(interval: Duration, burst: u32) -> Self {
        let interval = u64::try_from(interval.as_micros())
            .unwrap_or(TIME)
            .clamp(1, TIME);
        Self {
            interval,
            slack: interval.saturating_mul(u64::from(burst)).min(TIME / 4),
        }
    }

    /// How long until the bucket of this word is full. A time that no bucket of this pace can show is long past.
    fn ahead(self, word: u64, now: u64) -> u64 {
        let ahead = (word & TIME).wrapping_sub(now) & TIME;
        if word != 0 && ahead <= self.slack + self.interval + SKEW {
            ahead
        } else {
            0
        }
    }
}

/// The buckets of many keys.
#[derive(Debug)]
pub(super) struct Buckets(Box<[Set]>);

/// A cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

impl Buckets {
    /// Room for `count` keys, rounded up to whole sets.
    #[must_use]
    pub(super) fn new(count: usize) -> Self {
        let sets = count.div_ceil(WAYS).max(1);
        Self((0..sets).map(|_| Set::default()).collect())
    }

    /// Takes one token for the key with this hash, if there is one. `now` are microseconds since any fixed time.
    #[must_use]
    pub(super) fn take(&self, key: u64, now: u64, pace: Pace) -> Taken {
        let (set, tag) = self.place(key);
        loop {
            let (way, word, ahead, taken) = match look(set, tag, pace, now) {
                Found::Own { way, word } => (way, word, pace.ahead(word, now), Taken::Token),
                Found::Other { way, word } if pace.ahead(word, now) > 0 => {
                    (way, word, 0, Taken::TokenFor(Evicted))
                }
                Found::Other { way, word } => (way, word, 0, Taken::Token),
            };
            if ahead > pace.slack {
                return Taken::Wait(Duration::from_micros(ahead - pace.slack));
            }
            let full = tag | (now.wrapping_add(ahead + pace.interval) & TIME);
            // Relaxed: a word stands alone, and says nothing about other memory.
            if set.0[way]
                .compare_exchange(word, full, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                return taken;
            }
            // Another worker was faster here: it got on, so this ends.
        }
    }

    /// Undoes one [`Buckets::take`] that gave a token.
    pub(super) fn give_back(&self, key: u64, now: u64, pace: Pace) {
        let (set, tag) = self.place(key);
        while let Found::Own { way, word } = look(set, tag, pace, now) {
            let ahead = pace.ahead(word, now).saturating_sub(pace.interval);
            let full = tag | (now.wrapping_add(ahead) & TIME);
            if set.0[way]
                .compare_exchange(word, full, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                return;
            }
        }
    }

    fn place(&self, key: u64) -> (&Set, u64) {
        // The upper half chooses the set, the lower bits tell keys of one set apart; 0 marks an empty word.
        let sets = self.0.len() as u64;
        let at = usize::try_from(((key >> 32) * sets) >> 32).unwrap_or(0);
        let tag = (key << TIME_BITS).max(1 << TIME_BITS);
        (&self.0[at], tag)
    }
}

enum Found {
    Own {
        way: usize,
        word: u64,
    },
    /// The word that is best given up.
    Other {
        way: usize,
        word: u64,
    },
}

fn look(set: &Set, tag: u64, pace: Pace, now: u64) -> Found {
    let mut fullest = (0, 0, u64::MAX);
    for (way, word) in set.0.iter().enumerate() {
        let word = word.load(Ordering::Relaxed);
        if word & !TIME == tag {
            return Found::Own { way, word };
        }
        let ahead = pace.ahead(word, now);
        if ahead < fullest.2 {
            fullest = (way, word, ahead);
        }
    }
    Found::Other {
        way: fullest.0,
        word: fullest.1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};
    use std::collections::HashMap;

    const SECOND: u64 = 1_000_000;

    /// 10 per second and `burst` more.
    fn ten(burst: u32) -> Pace {
        Pace::new(Duration::from_millis(100), burst)
    }

    fn is_token(taken: Taken) -> bool {
        !matches!(taken, Taken::Wait(_))
    }

    /// As `limit_req` of nginx counts, with `nodelay`.
    struct Nginx {
        excess: i64,
        last: i64,
    }

    impl Nginx {
        fn take(&mut self, now_ms: i64, burst: i64) -> bool {
            let rate = 10_000;
            let drained = self.excess - rate * (now_ms - self.last) / 1000 + 1000;
            if drained.max(0) > burst * 1000 {
                return false;
            }
            (self.excess, self.last) = (drained.max(0), now_ms);
            true
        }
    }

    proptest! {
        #[test]
        fn the_same_requests_pass_as_with_limit_req(
            steps in prop::collection::vec((0_u64..400, 0_u64..3), 1..200),
            burst in 0_u32..20,
            start in any::<u64>(),
        ) {
            let buckets = Buckets::new(64);
            let mut nginx: HashMap<u64, Nginx> = HashMap::new();
            let mut now = 0;
            for (wait, key) in steps {
                now += wait;
                let now_ms = i64::try_from(now).unwrap();
                let passes = if let Some(known) = nginx.get_mut(&key) { known.take(now_ms, i64::from(burst)) } else {
                    nginx.insert(key, Nginx { excess: 0, last: now_ms });
                    true
                };
                // The clock may begin anywhere, and begin anew in between.
                let clock = start.wrapping_add(now * 1000);
                prop_assert_eq!(is_token(buckets.take(key + 1, clock, ten(burst))), passes);
            }
        }

        #[test]
        fn whoever_waits_as_long_as_told_gets_a_token_and_nobody_sooner(
            steps in prop::collection::vec(0_u64..300_000, 1..60),
            burst in 0_u32..8,
        ) {
            let mut now = 0;
            let buckets = Buckets::new(8);
            for wait in steps {
                now += wait;
                let Taken::Wait(told) = buckets.take(7, now, ten(burst)) else { continue };
                let told = u64::try_from(told.as_micros()).unwrap();
                prop_assert_eq!(is_token(buckets.take(7, now + told - 1, ten(burst))), false);
                prop_assert_eq!(is_token(buckets.take(7, now + told, ten(burst))), true);
                now += told;
            }
        }
    }

    #[test]
    fn a_thousand_per_minute_and_twenty_more() {
        let pace = Pace::new(Duration::from_mins(1) / 1000, 20);
        let buckets = Buckets::new(8);
        let at_once = (0..100).filter(|_| is_token(buckets.take(1, 0, pace)));
        assert_eq!(at_once.count(), 21);
        let in_a_minute = (1..=60_000).filter(|ms| is_token(buckets.take(1, ms * 1000, pace)));
        assert_eq!(in_a_minute.count(), 1000);
    }

    #[test]
    fn a_flood_of_keys_displaces_itself_and_not_those_who_wait() {
        let buckets = Buckets::new(1024);
        let pace = ten(4);
        let busy = fastrand::u64(..);
        while is_token(buckets.take(busy, 0, pace)) {}
        let mut evicted = 0;
        for _ in 0..100_000 {
            let taken = buckets.take(fastrand::u64(..), 0, pace);
            evicted += usize::from(taken == Taken::TokenFor(Evicted));
        }
        assert!(!is_token(buckets.take(busy, 0, pace)), "it began anew");
        assert!(evicted > 90_000, "{evicted}");
        assert_eq!(buckets.0.len() * WAYS, 1024, "memory is what it was");
        // A bucket that is full again is given up by nobody.
        let taken = buckets.take(fastrand::u64(..), SECOND, pace);
        assert_eq!(taken, Taken::Token);
    }

    #[test]
    fn all_workers_together_get_what_one_would() {
        let buckets = Buckets::new(1024);
        let count = || {
            (0..2000)
                .filter(|_| is_token(buckets.take(9, 5, ten(499))))
                .count()
        };
        let all: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(all, 500);
    }

    #[test]
    fn a_token_that_is_given_back_is_there_again() {
        let buckets = Buckets::new(8);
        assert!(is_token(buckets.take(1, 0, ten(0))));
        assert!(!is_token(buckets.take(1, 0, ten(0))));
        buckets.give_back(1, 0, ten(0));
        assert!(is_token(buckets.take(1, 0, ten(0))));
        buckets.give_back(2, 0, ten(0));
    }

    #[test]
    fn a_bucket_from_half_a_year_ago_slows_nobody() {
        let buckets = Buckets::new(8);
        let pace = ten(0);
        assert!(is_token(buckets.take(1, 0, pace)));
        assert!(is_token(buckets.take(1, 3 << (TIME_BITS - 2), pace)));
    }
}
