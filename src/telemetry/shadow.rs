//! What copies of requests told of an idle slot, compared with what the active slot had answered.
//!
//! Memory is bounded: so many patterns of paths per worker, a fixed number of buckets and a few examples each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Patterns that one worker tells apart; what comes after them is one row.
const MOST_PATTERNS: usize = 200;
/// The row of all other paths.
pub const OTHERS: &str = "(others)";
/// Examples of each row, of a kind.
const MOST_EXAMPLES: usize = 3;
/// Segments of a path that a pattern keeps, and characters of one.
const MOST_SEGMENTS: usize = 6;
const LONGEST_SEGMENT: usize = 40;
/// Characters of a path that an example shows.
const LONGEST_EXAMPLE: usize = 200;
/// Bodies that differ by no more are of the same size, whatever part of them that is.
const SLACK: u64 = 100;

/// One answer, as an upstream gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShadowAnswer {
    pub status: u16,
    /// Of its body.
    pub bytes: u64,
    /// Until its first byte.
    pub took: Duration,
}

/// One request and what became of its copy.
#[derive(Debug)]
pub struct Shadowed<'a> {
    /// Without its query: what clients keep secret tends to stand there.
    pub path: &'a str,
    pub request_id: &'a str,
    pub active: ShadowAnswer,
    /// Why there is none, in words.
    pub shadow: Result<ShadowAnswer, String>,
    /// Percent by which the bodies may differ.
    pub tolerance: u64,
}

/// All that is known of the copies of one service since it was asked for.
#[derive(Debug)]
pub struct ShadowTally {
    /// Locked by its worker for a moment at the end of a copy, and by whoever reads; never on the way of a request.
    workers: Box<[Mutex<ShadowTable>]>,
    in_flight: AtomicUsize,
    dropped: AtomicU64,
    too_large: AtomicU64,
    is_over: AtomicBool,
}

/// A copy under way; dropping it makes room for the next one.
#[derive(Debug)]
pub struct ShadowPlace(Arc<ShadowTally>);

impl Drop for ShadowPlace {
    fn drop(&mut self) {
        // Relaxed, here and below: each number stands alone.
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ShadowTally {
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| Mutex::default()).collect(),
            in_flight: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            too_large: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// Room for one copy beside at most `most - 1` others, over all workers. None is counted as dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>, most: usize) -> Option<ShadowPlace> {
        let more = |under_way: usize| (under_way < most).then_some(under_way + 1);
        let entered = self
            .in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if entered.is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        entered.is_ok().then(|| ShadowPlace(Arc::clone(self)))
    }

    /// An answer was too large to be asked for twice.
    pub fn too_large(&self) {
        self.too_large.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on nothing is copied, and copies under way are given up.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Only ever called on the thread of `worker`.
    pub fn compare(&self, worker: usize, shadowed: &Shadowed<'_>) {
        locked(&self.workers[worker]).add(shadowed);
    }

    #[must_use]
    pub fn counts(&self) -> ShadowCounts {
        let mut counts = ShadowCounts {
            in_flight: self.in_flight.load(Ordering::Relaxed) as u64,
            dropped: self.dropped.load(Ordering::Relaxed),
            too_large: self.too_large.load(Ordering::Relaxed),
            ..ShadowCounts::default()
        };
        for worker in &self.workers {
            for row in locked(worker).0.values() {
                counts.compared += row.compared;
                counts.status_differs += row.status_differs;
                counts.size_differs += row.size_differs;
                counts.failed += row.failed;
            }
        }
        counts
    }

    /// The rows of all workers.
    #[must_use]
    pub fn table(&self) -> ShadowTable {
        let mut table = ShadowTable::default();
        for worker in &self.workers {
            for (pattern, row) in &locked(worker).0 {
                table.row(pattern).merge(row);
            }
        }
        table
    }
}

fn locked(table: &Mutex<ShadowTable>) -> MutexGuard<'_, ShadowTable> {
    // A table is good after each step that may panic.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sums over all paths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShadowCounts {
    pub in_flight: u64,
    /// Both slots have answered.
    pub compared: u64,
    pub status_differs: u64,
    pub size_differs: u64,
    /// The copy got no answer.
    pub failed: u64,
    /// Not sent: too many were under way.
    pub dropped: u64,
    /// Not sent: the active slot's answer was too large.
    pub too_large: u64,
}

/// Rows by the pattern of their paths.
#[derive(Debug, Clone, Default)]
pub struct ShadowTable(pub BTreeMap<Box<str>, ShadowRow>);

impl ShadowTable {
    fn row(&mut self, pattern: &str) -> &mut ShadowRow {
        let others = usize::from(self.0.contains_key(OTHERS));
        let is_full = self.0.len() - others >= MOST_PATTERNS;
        let has_room = !is_full || self.0.contains_key(pattern);
        let name = if has_room { pattern } else { OTHERS };
        self.0.entry(name.into()).or_default()
    }

    fn add(&mut self, shadowed: &Shadowed<'_>) {
        self.row(&pattern(shadowed.path)).add(shadowed);
    }
}

/// What is known of all paths of one pattern.
#[derive(Debug, Clone, Default)]
pub struct ShadowRow {
    pub compared: u64,
    pub status_differs: u64,
    pub size_differs: u64,
    pub failed: u64,
    pub active: ShadowSide,
    pub shadow: ShadowSide,
    /// Statuses that differ, and copies without an answer.
    pub statuses: Vec<ShadowExample>,
    pub sizes: Vec<ShadowExample>,
}

/// One request whose copy was answered otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowExample {
    pub path: String,
    pub request_id: String,
    pub active: ShadowAnswer,
    pub shadow: Result<ShadowAnswer, String>,
}

impl ShadowRow {
    fn add(&mut self, shadowed: &Shadowed<'_>) {
        let active = shadowed.active;
        let Ok(shadow) = shadowed.shadow else {
            self.failed += 1;
            return remember(&mut self.statuses, shadowed);
        };
        self.compared += 1;
        self.active.add(active);
        self.shadow.add(shadow);
        if active.status / 100 != shadow.status / 100 {
            self.status_differs += 1;
            remember(&mut self.statuses, shadowed);
        } else if is_other_size((active.bytes, shadow.bytes), shadowed.tolerance) {
            self.size_differs += 1;
            remember(&mut self.sizes, shadowed);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.compared += other.compared;
        self.status_differs += other.status_differs;
        self.size_differs += other.size_differs;
        self.failed += other.failed;
        self.active.merge(&other.active);
        self.shadow.merge(&other.shadow);
        for (to, from) in [
            (&mut self.statuses, &other.statuses),
            (&mut self.sizes, &other.sizes),
        ] {
            let room = MOST_EXAMPLES.saturating_sub(to.len());
            to.extend(from.iter().take(room).cloned());
        }
    }
}

fn remember(examples: &mut Vec<ShadowExample>, shadowed: &Shadowed<'_>) {
    if examples.len() < MOST_EXAMPLES {
        examples.push(ShadowExample {
            path: shadowed.path.chars().take(LONGEST_EXAMPLE).collect(),
            request_id: shadowed.request_id.to_owned(),
            active: shadowed.active,
            shadow: shadowed.shadow.clone(),
        });
    }
}

fn is_other_size((one, other): (u64, u64), tolerance: u64) -> bool {
    let apart = one.abs_diff(other);
    let allowed = u128::from(one.max(other)) * u128::from(tolerance);
    apart > SLACK && u128::from(apart) * 100 > allowed
}

/// Times and sizes of one slot's answers.
#[derive(Debug, Clone)]
pub struct ShadowSide {
    count: u64,
    bytes: u64,
    /// By [`bucket`].
    times: Box<[u32; BUCKETS]>,
}

/// Four for each doubling, from 100 µs to about 100 s.
const BUCKETS: usize = 81;
const FIRST_BOUND: f64 = 100e-6;
const PER_DOUBLING: f64 = 4.0;

impl Default for ShadowSide {
    fn default() -> Self {
        Self {
            count: 0,
            bytes: 0,
            times: Box::new([0; BUCKETS]),
        }
    }
}

impl ShadowSide {
    fn add(&mut self, answer: ShadowAnswer) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(answer.bytes);
        let times = &mut self.times[bucket(answer.took)];
        *times = times.saturating_add(1);
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.bytes = self.bytes.saturating_add(other.bytes);
        for (to, from) in self.times.iter_mut().zip(other.times.iter()) {
            *to = to.saturating_add(*from);
        }
    }

    /// Bytes of a body on the average; 0 without any.
    #[must_use]
    pub fn mean_bytes(&self) -> u64 {
        self.bytes.checked_div(self.count).unwrap_or(0)
    }

    /// The time that a share of the answers did not take longer than, to a tenth or so; none without any.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts are far below 2^53, and a share is between 0 and 1"
        )]
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        let at = self.times.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted.max(1)
        })?;
        Some(middle(at))
    }
}

fn bucket(took: Duration) -> usize {
    let doublings = (took.as_secs_f64() / FIRST_BOUND).log2();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "cut to what there is"
    )]
    let at = (doublings * PER_DOUBLING + 1.0).max(0.0) as usize;
    at.min(BUCKETS - 1)
}

fn middle(bucket: usize) -> Duration {
    #[allow(clippy::cast_precision_loss, reason = "there are 81")]
    let doublings = (bucket as f64 - 0.5) / PER_DOUBLING;
    Duration::from_secs_f64(FIRST_BOUND * doublings.exp2())
}

/// The path with `*` for what names one thing of many: numbers, hashes, names that end in a number.
fn pattern(path: &str) -> String {
    let mut pattern = String::new();
    let mut segments = path.split('/').skip(1);
    for segment in segments.by_ref().take(MOST_SEGMENTS) {
        pattern.push('/');
        pattern.push_str(if is_name_of_one(segment) {
            "*"
        } else {
            segment
        });
    }
    if segments.next().is_some() {
        pattern.push_str("/…");
    }
    pattern
}

fn is_name_of_one(segment: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let has_digit = segment.bytes().any(|byte| byte.is_ascii_digit());
    let is_hash = segment.len() >= 7 && segment.bytes().all(|byte| byte.is_ascii_hexdigit());
    let last = segment.rsplit('-').next().unwrap_or_default();
    segment.len() > LONGEST_SEGMENT
        || !segment.bytes().all(plain)
        || is_digits(last)
        || (has_digit && (is_hash || segment.len() >= 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, bytes: u64, ms: u64) -> ShadowAnswer {
        ShadowAnswer {
            status,
            bytes,
            took: Duration::from_millis(ms),
        }
    }

    fn shadowed(path: &str, shadow: Result<ShadowAnswer, String>) -> Shadowed<'_> {
        Shadowed {
            path,
            request_id: "abc",
            active: answer(200, 10_000, 10),
            shadow,
            tolerance: 10,
        }
    }

    #[test]
    fn what_names_one_thing_of_many_is_a_star() {
        for (path, wanted) in [
            ("/", "/"),
            ("/web/login", "/web/login"),
            ("/web/image/1234/name", "/web/image/*/name"),
            ("/shop/desk-combination-42", "/shop/*"),
            (
                "/web/assets/1/6e0b3a1/web.assets.min.js",
                "/web/assets/*/*/web.assets.min.js",
            ),
            ("/api/v2/orders", "/api/v2/orders"),
            ("/a/b%20c", "/a/*"),
            ("/a/facade", "/a/facade"),
            ("/1/2/3/a/b/c/d", "/*/*/*/a/b/c/…"),
        ] {
            assert_eq!(pattern(path), wanted, "{path}");
        }
        let long = format!("/x/{}", "y".repeat(LONGEST_SEGMENT + 1));
        assert_eq!(pattern(&long), "/x/*");
    }

    #[test]
    fn patterns_are_bounded_and_what_comes_later_is_one_row() {
        let tally = ShadowTally::new(2);
        let name = |number: usize| {
            format!(
                "/page/{}",
                "x".repeat(number % 30) + &"y".repeat(number / 30)
            )
        };
        for worker in 0..2 {
            for number in 0..MOST_PATTERNS + 50 {
                let path = name(number);
                tally.compare(worker, &shadowed(&path, Ok(answer(200, 10_000, 10))));
            }
        }
        let table = tally.table();
        assert_eq!(table.0.len(), MOST_PATTERNS + 1);
        assert_eq!(table.0[OTHERS].compared, 100);
        assert_eq!(tally.counts().compared, 500);
    }

    #[test]
    fn a_difference_is_of_the_class_or_else_of_the_size_and_has_few_examples() {
        let mut row = ShadowRow::default();
        for _ in 0..5 {
            row.add(&shadowed("/a", Ok(answer(500, 10_000, 1))));
            row.add(&shadowed("/a", Ok(answer(204, 8_000, 1))));
            row.add(&shadowed("/a", Ok(answer(206, 9_001, 1))));
            row.add(&shadowed("/a", Err("connection refused".to_owned())));
        }
        assert_eq!((row.compared, row.failed), (15, 5));
        assert_eq!((row.status_differs, row.size_differs), (5, 5));
        assert_eq!((row.statuses.len(), row.sizes.len()), (3, 3));
        assert!(!is_other_size((0, SLACK), 0) && is_other_size((0, SLACK + 1), 0));
        assert!(!is_other_size((u64::MAX, 0), 100));
    }

    #[test]
    fn quantiles_are_right_to_a_tenth() {
        let mut side = ShadowSide::default();
        assert_eq!(side.quantile(0.5), None);
        for ms in 1..=1000 {
            side.add(answer(200, ms, ms));
        }
        for (share, ms) in [(0.5, 500.0), (0.95, 950.0), (0.01, 10.0)] {
            let told = side.quantile(share).unwrap().as_secs_f64() * 1000.0;
            assert!((told / ms - 1.0).abs() < 0.12, "{share}: {told}");
        }
        assert_eq!(side.mean_bytes(), 500);
        for odd in [Duration::ZERO, Duration::MAX] {
            assert!(bucket(odd) < BUCKETS);
        }
    }

    #[test]
    fn copies_beyond_the_bound_are_dropped_and_counted() {
        let tally = Arc::new(ShadowTally::new(1));
        let first = tally.enter(2).unwrap();
        let _second = tally.enter(2).unwrap();
        assert!(tally.enter(2).is_none());
        drop(first);
        assert!(tally.enter(2).is_some());
        let counts = tally.counts();
        assert_eq!((counts.in_flight, counts.dropped), (1, 1));
    }
}
