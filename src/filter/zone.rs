//! One rate limit of a service, shared by all workers.

use super::asked::Asked;
use super::asked::Neighbours;
use super::buckets::Buckets;
use super::buckets::Pace;
use super::buckets::Taken;
use super::counts::Counts;
use super::path::Prefix;
use crate::config::RateKey;
use crate::config::RateLimit;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::time::Duration;
use std::time::Instant;

/// A zone and all its buckets.
#[derive(Debug)]
pub struct Zone {
    settings: RateLimit,
    paths: Vec<Prefix>,
    pace: Pace,
    buckets: Buckets,
    seed: RandomState,
    began: Instant,
    counts: Counts<4>,
}

/// What a zone has counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ZoneCounts {
    pub allowed: u64,
    pub limited: u64,
    /// Keys that were forgotten while they still mattered: more came than there are buckets.
    pub evicted: u64,
}

const ALLOWED: usize = 0;
const LIMITED: usize = 1;
const EVICTED: usize = 2;
const UNDONE: usize = 3;

impl Zone {
    #[must_use]
    pub fn new(settings: RateLimit, workers: usize) -> Self {
        Self {
            paths: settings
                .paths
                .iter()
                .map(|path| Prefix::new(path))
                .collect(),
            pace: Pace::new(settings.rate.interval(), settings.burst),
            buckets: Buckets::new(settings.buckets),
            seed: RandomState::new(),
            began: Instant::now(),
            counts: Counts::new(workers),
            settings,
        }
    }

    #[must_use]
    pub fn settings(&self) -> &RateLimit {
        &self.settings
    }

    #[must_use]
    pub fn counts(&self) -> ZoneCounts {
        ZoneCounts {
            allowed: self
                .counts
                .sum(ALLOWED)
                .saturating_sub(self.counts.sum(UNDONE)),
            limited: self.counts.sum(LIMITED),
            evicted: self.counts.sum(EVICTED),
        }
    }

    /// How long this request has to wait; none when it may pass or does not count.
    pub(super) fn take(&self, asked: &Asked<'_>) -> Option<Duration> {
        if !self.is_counted(asked) {
            return None;
        }
        match self
            .buckets
            .take(self.key(asked), self.now(asked), self.pace)
        {
            Taken::Token => {}
            Taken::TokenFor(_) => self.counts.add(asked.worker, EVICTED),
            Taken::Wait(wait) => {
                self.counts.add(asked.worker, LIMITED);
                return Some(wait);
            }
        }
        self.counts.add(asked.worker, ALLOWED);
        None
    }

    /// Another zone refused the request: here it did not happen.
    pub(super) fn give_back(&self, asked: &Asked<'_>) {
        if self.is_counted(asked) {
            self.counts.add(asked.worker, UNDONE);
            self.buckets
                .give_back(self.key(asked), self.now(asked), self.pace);
        }
    }

    fn is_counted(&self, asked: &Asked<'_>) -> bool {
        let RateLimit {
            methods, except, ..
        } = &self.settings;
        (methods.is_empty() || methods.iter().any(|method| method == asked.method))
            && (self.paths.is_empty() || asked.path.may_be_below(&self.paths))
            && !except.iter().any(|network| network.contains(asked.client))
    }

    fn key(&self, asked: &Asked<'_>) -> u64 {
        let seed = &self.seed;
        let client = || {
            let neighbours = Neighbours {
                ipv4_prefix: self.settings.ipv4_prefix,
                ipv6_prefix: self.settings.ipv6_prefix,
            };
            neighbours.hash(asked.client, seed)
        };
        // What a request leaves out must not free it from being counted.
        match &self.settings.key {
            RateKey::Client => client(),
            RateKey::Header(name) => {
                let value = asked.values(name).find(|value| !value.is_empty());
                value.map_or_else(client, |value| seed.hash_one(value))
            }
            RateKey::Cookie(name) => asked
                .cookie(name)
                .map_or_else(client, |value| seed.hash_one(value)),
            RateKey::Path => seed.hash_one(asked.path.canonical().as_ref()),
            RateKey::Service => seed.hash_one(0_u8),
        }
    }

    fn now(&self, asked: &Asked<'_>) -> u64 {
        let since = asked.now.saturating_duration_since(self.began);
        u64::try_from(since.as_micros()).unwrap_or(0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::asked::tests::asked;
    use super::super::path::Path;
    use super::*;
    use crate::config::Rate;

    pub(in super::super) fn settings(requests: u32, burst: u32) -> RateLimit {
        RateLimit {
            name: "zone".into(),
            key: RateKey::Client,
            methods: Vec::new(),
            paths: Vec::new(),
            except: Vec::new(),
            rate: Rate {
                requests,
                per: Duration::from_mins(1),
            },
            burst,
            ipv4_prefix: 32,
            ipv6_prefix: 64,
            buckets: 1024,
        }
    }

    fn zone(change: impl FnOnce(&mut RateLimit)) -> Zone {
        let mut settings = settings(60, 0);
        change(&mut settings);
        Zone::new(settings, 1)
    }

    #[test]
    fn only_the_named_methods_paths_and_clients_are_counted() {
        let zone = zone(|it| {
            it.methods = vec!["POST".into(), "PUT".into()];
            it.paths = vec!["/web/login".into()];
            it.except = vec![crate::config::Network {
                address: [10, 0, 0, 0].into(),
                prefix: 8,
            }];
        });
        let one = Asked {
            method: "POST",
            path: Path::of("/web/%6cogin?x"),
            ..asked("192.0.2.1", &[])
        };
        assert_eq!(zone.take(&one), None);
        assert!(zone.take(&one).is_some());
        for other in [
            Asked {
                method: "GET",
                ..one
            },
            Asked {
                path: Path::of("/web/logins"),
                ..one
            },
            Asked {
                client: [10, 1, 1, 1].into(),
                ..one
            },
            Asked {
                client: [192, 0, 2, 2].into(),
                ..one
            },
        ] {
            assert_eq!(zone.take(&other), None, "{other:?}");
        }
        let counts = ZoneCounts {
            allowed: 2,
            limited: 1,
            evicted: 0,
        };
        assert_eq!(zone.counts(), counts);
    }

    #[test]
    fn what_is_counted_together_is_what_the_key_says() {
        let header = |name, value| [httparse::Header { name, value }];
        let (a, b) = (header("X-Key", b"a"), header("x-key", b"b"));
        let keyed = zone(|it| it.key = RateKey::Header("X-KEY".into()));
        assert_eq!(keyed.take(&asked("10.0.0.1", &a)), None);
        assert!(keyed.take(&asked("10.0.0.2", &a)).is_some());
        assert_eq!(keyed.take(&asked("10.0.0.1", &b)), None);
        assert_eq!(keyed.take(&asked("10.0.0.1", &[])), None);
        assert!(
            keyed.take(&asked("10.0.0.1", &[])).is_some(),
            "without it by client"
        );

        let cookie = header("Cookie", b"x=1; sid=abc");
        let keyed = zone(|it| it.key = RateKey::Cookie("sid".into()));
        assert_eq!(keyed.take(&asked("10.0.0.1", &cookie)), None);
        assert!(keyed.take(&asked("10.0.0.2", &cookie)).is_some());

        let keyed = zone(|it| it.key = RateKey::Path);
        let to = |path| Asked {
            path: Path::of(path),
            ..asked("10.0.0.1", &[])
        };
        assert_eq!(keyed.take(&to("/a/b")), None);
        assert!(keyed.take(&to("//a/%62?c")).is_some());
        assert_eq!(keyed.take(&to("/a/c")), None);

        let keyed = zone(|it| it.key = RateKey::Service);
        assert_eq!(keyed.take(&to("/a")), None);
        assert!(keyed.take(&asked("10.0.0.2", &[])).is_some());
    }
}
