//! What requests met, one by one, for those who judge a slot: all of them, or a sample where there are many.
//!
//! One worker writes, control takes away what there is. The lock is one worker's own, and that worker never waits
//! for it: what it cannot write down at once is left out, as in any sample.

use super::metrics::SlotMetrics;
use crate::switch::ClientId;
use crate::switch::Met;
use crate::switch::time_bucket;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// So many a second are enough of one worker: two watch 30,000 requests in half a minute, at a cost that no
/// benchmark sees.
const ENOUGH: u64 = 500;
/// So many are kept until somebody takes them.
const MOST: usize = 8192;
/// Bytes of a path that tell one part of a site from another.
const LONGEST_PATH: usize = 160;
/// Of an error's name.
const LONGEST_NAME: usize = 80;

/// Whom an observation is counted for. The networks of 64 bits that households have are one client, as in queues.
#[must_use]
pub fn client_id(address: IpAddr) -> ClientId {
    ClientId(match address.to_canonical() {
        // No network that clients have begins with so many zeros as these numbers do.
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64;
            u64::try_from(network).unwrap_or(u64::MAX)
        }
    })
}

/// One request at its end.
#[derive(Debug, Clone, Copy)]
pub struct Sighting<'a> {
    pub client: ClientId,
    /// With or without its query, which is not looked at.
    pub path: &'a [u8],
    pub met: Met,
    pub error: Option<&'a str>,
    pub took: Duration,
}

/// One worker's observations of one slot.
#[derive(Debug, Default)]
pub(super) struct Observations {
    /// One of so many is written down; 0 while nobody wants any.
    every: AtomicU32,
    /// So many are left out before the next one. Only its worker writes it.
    skip: AtomicU32,
    /// Those who did badly are few, as a rule: a sample of their own.
    skip_bad: AtomicU32,
    batch: Mutex<Batch>,
}

/// Observations in the order in which they were made.
#[derive(Debug, Default)]
pub struct Batch {
    seen: Vec<Seen>,
    paths: Vec<u8>,
    /// Of a generator that is good enough to break no rhythm of requests.
    random: u32,
}

#[derive(Debug)]
struct Seen {
    client: ClientId,
    met: Met,
    path: (u32, u16),
    error: Option<Box<str>>,
    time: u16,
    weight: u32,
}

/// One observation as it was written down.
#[derive(Debug, Clone, Copy)]
pub struct Noted<'a> {
    pub sighting: Sighting<'a>,
    /// By [`time_bucket`].
    pub time: usize,
    /// How many requests it stands for.
    pub weight: u64,
}

impl Observations {
    /// Whether the next one that met this is written down. Asked once for each.
    #[inline]
    fn wants(&self, met: Met) -> bool {
        // Relaxed: each stands alone, and a sample may begin one request late.
        if self.every.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let skip = self.skip_of(met);
        let left = skip.load(Ordering::Relaxed);
        skip.store(left.saturating_sub(1), Ordering::Relaxed);
        left == 0
    }

    fn skip_of(&self, met: Met) -> &AtomicU32 {
        if matches!(met, Met::Served | Met::Refused) {
            &self.skip
        } else {
            &self.skip_bad
        }
    }

    fn note(&self, sighting: &Sighting<'_>) {
        let Ok(mut batch) = self.batch.try_lock() else {
            return;
        };
        let every = self.every.load(Ordering::Relaxed);
        let skip = batch.next_skip(every);
        self.skip_of(sighting.met).store(skip, Ordering::Relaxed);
        batch.push(sighting, every);
    }

    /// From now on the sample is as large as is worth it for as many as there were in `time`.
    fn take(&self, time: Duration) -> Batch {
        let batch = {
            let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
            let random = batch.random;
            let room = Vec::with_capacity(batch.seen.len());
            std::mem::replace(
                &mut *batch,
                Batch {
                    seen: room,
                    paths: Vec::new(),
                    random,
                },
            )
        };
        let count: u64 = batch.seen.iter().map(|seen| u64::from(seen.weight)).sum();
        // A burst in a short time is no rate, and what stands for many where there are few says little.
        let time = time.max(Duration::from_secs(1));
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let a_second = count.saturating_mul(1000) / millis;
        let every = u32::try_from(a_second.div_ceil(ENOUGH)).unwrap_or(u32::MAX);
        self.every.store(every.max(1), Ordering::Relaxed);
        batch
    }
}

impl Batch {
    /// On average one less than `every`.
    fn next_skip(&mut self, every: u32) -> u32 {
        if every == 1 {
            return 0;
        }
        // Xorshift; its state is never 0.
        let mut random = self.random.max(1);
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        self.random = random;
        random % every.saturating_mul(2).saturating_sub(1)
    }

    fn push(&mut self, sighting: &Sighting<'_>, every: u32) {
        if self.seen.len() >= MOST {
            return;
        }
        let path = sighting.path;
        let path = &path[..path.len().min(LONGEST_PATH)];
        let length = memchr::memchr2(b'?', b'#', path).unwrap_or(path.len());
        let start = u32::try_from(self.paths.len()).unwrap_or(u32::MAX);
        self.paths.extend_from_slice(&path[..length]);
        self.seen.push(Seen {
            client: sighting.client,
            met: sighting.met,
            path: (start, u16::try_from(length).unwrap_or(u16::MAX)),
            error: sighting.error.map(named),
            time: u16::try_from(time_bucket(sighting.took)).unwrap_or(u16::MAX),
            weight: every,
        });
    }

    /// In the order in which they were made.
    pub fn noted(&self) -> impl Iterator<Item = Noted<'_>> {
        self.seen.iter().map(|seen| {
            let (start, length) = (seen.path.0 as usize, usize::from(seen.path.1));
            Noted {
                sighting: Sighting {
                    client: seen.client,
                    path: self.paths.get(start..start + length).unwrap_or_default(),
                    met: seen.met,
                    error: seen.error.as_deref(),
                    took: Duration::ZERO,
                },
                time: usize::from(seen.time),
                weight: u64::from(seen.weight),
            }
        })
    }
}

/// No longer than anybody reads.
fn named(name: &str) -> Box<str> {
    let mut end = name.len().min(LONGEST_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].into()
}

impl SlotMetrics {
    /// Whether it is worth telling [`SlotMetrics::observe`] of a request that met this: most are left out of a sample.
    /// Only ever called on the thread of `worker`, once for each request.
    #[must_use]
    #[inline]
    pub fn wants(&self, worker: usize, met: Met) -> bool {
        self.observations(worker).wants(met)
    }

    /// Writes down what a request met, where it is wanted. Only ever called on the thread of `worker`.
    pub fn observe(&self, worker: usize, sighting: &Sighting<'_>) {
        self.observations(worker).note(sighting);
    }

    /// All that was written down since this was asked last, which was `time` ago. From now on there is more.
    #[must_use]
    pub fn take_observations(&self, time: Duration) -> Vec<Batch> {
        let all = self.all_observations();
        all.map(|worker| worker.take(time)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sighting(path: &str) -> Sighting<'_> {
        Sighting {
            client: ClientId(1),
            path: path.as_bytes(),
            met: Met::Served,
            error: None,
            took: SECOND,
        }
    }

    #[test]
    fn a_client_is_an_address_or_half_of_a_long_one() {
        let id = |text: &str| client_id(text.parse().unwrap());
        assert_eq!(id("2001:db8:1:2::3"), id("2001:db8:1:2:9:9:9:9"));
        assert_ne!(id("2001:db8:1:2::3"), id("2001:db8:1:3::3"));
        assert_eq!(id("::ffff:10.0.0.7"), id("10.0.0.7"));
        assert_ne!(id("10.0.0.7"), id("10.0.0.8"));
    }

    fn observe(metrics: &SlotMetrics, sighting: &Sighting<'_>) {
        if metrics.wants(0, sighting.met) {
            metrics.observe(0, sighting);
        }
    }

    #[test]
    fn nothing_is_written_down_before_somebody_asks() {
        let metrics = SlotMetrics::new(1);
        observe(&metrics, &sighting("/early"));
        assert_eq!(metrics.take_observations(SECOND)[0].noted().count(), 0);
        observe(&metrics, &sighting("/path?query"));
        let batch = &metrics.take_observations(SECOND)[0];
        let paths: Vec<_> = batch.noted().map(|it| it.sighting.path.to_vec()).collect();
        assert_eq!(paths, [b"/path".to_vec()]);
    }

    #[test]
    fn a_sample_stands_for_all_and_memory_is_bounded() {
        let metrics = SlotMetrics::new(1);
        drop(metrics.take_observations(SECOND));
        for _ in 0..3 {
            (0..20_000).for_each(|_| observe(&metrics, &sighting("/many")));
            let batch = &metrics.take_observations(SECOND)[0];
            assert!(batch.seen.len() <= MOST);
        }
        (0..20_000).for_each(|_| observe(&metrics, &sighting("/many")));
        let batch = &metrics.take_observations(SECOND)[0];
        let stands_for: u64 = batch.noted().map(|it| it.weight).sum();
        assert!(batch.seen.len() < 2000, "{}", batch.seen.len());
        assert!((16_000..24_000).contains(&stands_for), "{stands_for}");
    }
}
