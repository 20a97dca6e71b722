//! One body: bytes in, the same bytes out, whichever is faster.

use super::account::Shelf;
use super::account::Whose;
use super::error::SpoolError;
use super::store::Store;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;
use std::time::Instant;

/// Bytes that may wait for the disk while it is busy with others.
const MOST_WAITING: usize = 256 * 1024;
/// Bytes that are read from the disk at a time: few for a slow reader, more for a fast one.
pub(super) const LEAST_READ: usize = 64 * 1024;
pub(super) const MOST_READ: usize = 256 * 1024;
/// A reader that is back within this is a fast one.
pub(super) const FAST: Duration = Duration::from_millis(20);
/// What a body may hold in memory once all together hold more than they should.
const SHORT: usize = 4 * 1024;

/// How much one body may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes in memory, before the disk is asked.
    pub memory: usize,
    /// Bytes on disk.
    pub disk: u64,
    /// In memory, of all bodies together: with more, each goes to disk sooner.
    pub total_memory: u64,
    /// On disk, of all bodies together.
    pub total_disk: u64,
}

/// One body at rest. Its bytes are in `front`, then on disk, then in `back`, in this order; what a job
/// reads stands between the first two, what a job writes between the last two.
pub struct Spool {
    pub(super) shelf: Shelf,
    pub(super) bounds: Bounds,
    pub(super) whose: Whose,
    pub(super) front: Vec<u8>,
    /// So many bytes of `front` were taken.
    pub(super) taken: usize,
    pub(super) reading: Option<Job>,
    /// What is in the file and was not read.
    pub(super) stored: Range<u64>,
    pub(super) writing: Option<Job>,
    pub(super) back: Vec<u8>,
    pub(super) store: Option<Arc<Store>>,
    /// No room was found once; told once.
    pub(super) was_short: bool,
    /// The disk failed: what is there can be read, but no more is written.
    pub(super) has_failed: bool,
    /// Bytes of memory, as the account knows it.
    pub(super) weight: usize,
    pub(super) next_read: usize,
    pub(super) last_read: Option<Instant>,
}

/// Work on a blocking thread. Dropping it leaves the thread to finish alone.
pub(super) struct Job {
    pub(super) length: usize,
    pub(super) work: Pin<Box<dyn Future<Output = Done>>>,
}

/// What came of it.
pub(super) struct Done {
    /// None when its thread is gone, and the bytes with it.
    pub(super) piece: Option<Vec<u8>>,
    pub(super) result: io::Result<()>,
}

impl Spool {
    #[must_use]
    pub fn new(shelf: &Shelf, bounds: Bounds, whose: Whose) -> Self {
        Self {
            shelf: shelf.clone(),
            bounds,
            whose,
            front: Vec::new(),
            taken: 0,
            reading: None,
            stored: 0..0,
            writing: None,
            back: Vec::new(),
            store: None,
            was_short: false,
            has_failed: false,
            weight: 0,
            next_read: LEAST_READ,
            last_read: None,
        }
    }

    /// Bytes that were put in and not yet taken.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.in_memory() as u64 + (self.stored.end - self.stored.start)
            - self.reading.as_ref().map_or(0, |job| job.length as u64)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// It never went to disk.
    #[must_use]
    pub fn is_small(&self) -> bool {
        self.store.is_none()
    }

    /// All of a body that [never went to disk](Spool::is_small), in place of the spool.
    ///
    /// # Errors
    /// The spool, when it did.
    pub fn into_small(mut self: Box<Self>) -> Result<Vec<u8>, Box<Self>> {
        if !self.is_small() {
            return Err(self);
        }
        self.front.drain(..self.taken);
        self.taken = 0;
        let mut all = std::mem::take(&mut self.front);
        if all.is_empty() {
            return Ok(std::mem::take(&mut self.back));
        }
        all.append(&mut self.back);
        Ok(all)
    }

    pub(super) fn in_memory(&self) -> usize {
        let job = |job: &Option<Job>| job.as_ref().map_or(0, |job| job.length);
        self.front.len() - self.taken + job(&self.reading) + job(&self.writing) + self.back.len()
    }

    /// So many bytes will be put in.
    ///
    /// # Errors
    /// There is no room for them as things are: better told now than half-way.
    pub fn expect(&mut self, length: u64) -> Result<(), SpoolError> {
        if length <= self.bounds.memory as u64 {
            return Ok(());
        }
        let account = &self.shelf.account;
        let error = if length > self.bounds.disk {
            SpoolError::TooLong {
                limit: self.bounds.disk,
            }
        } else if length > self.bounds.total_disk.saturating_sub(account.on_disk()) {
            account.full(self.bounds.total_disk)
        } else {
            return Ok(());
        };
        self.short_of_room(error)
    }

    /// Puts bytes in: whatever `write` appends. Ask [`Spool::poll_room`] first.
    pub fn fill<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let result = write(&mut self.back);
        self.weigh();
        result
    }

    /// Ready when more may be put in.
    ///
    /// An answer waits until it was read as far as there is no room for more; nobody is woken by that but
    /// the task that reads it.
    ///
    /// # Errors
    /// A request that finds no room: see [`SpoolError`]. What was put in stays.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpoolError>> {
        let room = self.look_for_room(cx);
        self.weigh();
        room
    }

    fn look_for_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpoolError>> {
        if let Some(job) = &mut self.writing
            && let Poll::Ready(done) = job.work.as_mut().poll(cx)
        {
            self.written(done)?;
        }
        let waiting = self.front.len() - self.taken + self.back.len();
        if self.back.is_empty() || waiting <= self.most_memory() {
            return Poll::Ready(Ok(()));
        }
        if self.writing.is_none() && !self.has_failed {
            match self.begin_write() {
                Ok(mut job) => {
                    // It is to wake us; it takes longer than this.
                    if let Poll::Ready(done) = job.work.as_mut().poll(cx) {
                        self.writing = Some(job);
                        self.written(done)?;
                    } else {
                        self.writing = Some(job);
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) => self.short_of_room(error)?,
            }
        }
        if self.writing.is_some() && self.back.len() < MOST_WAITING {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    fn most_memory(&self) -> usize {
        if self.shelf.account.in_memory() > self.bounds.total_memory {
            return self.bounds.memory.min(SHORT);
        }
        self.bounds.memory
    }

    /// Ready when [`Spool::front`] shows what comes next.
    ///
    /// # Errors
    /// The disk does not give back what it was given.
    pub fn poll_front(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpoolError>> {
        while self.taken == self.front.len() {
            if let Some(job) = &mut self.reading {
                let done = ready!(job.work.as_mut().poll(cx));
                self.was_read(done)?;
            } else if self.stored.start < self.stored.end {
                self.reading = Some(self.begin_read());
            } else if let Some(job) = &mut self.writing {
                let done = ready!(job.work.as_mut().poll(cx));
                self.taken_from_the_writer(done)?;
            } else if !self.back.is_empty() {
                std::mem::swap(&mut self.front, &mut self.back);
                self.taken = 0;
                self.back.clear();
            } else {
                break;
            }
        }
        self.weigh();
        Poll::Ready(Ok(()))
    }

    /// What comes next, as far as it was fetched by [`Spool::poll_front`]; nothing once all was taken.
    #[must_use]
    pub fn front(&self) -> &[u8] {
        &self.front[self.taken..]
    }

    /// Waits on the disk, not on the other side.
    #[must_use]
    pub fn is_at_the_disk(&self) -> bool {
        self.reading.is_some() || (self.writing.is_some() && self.stored.is_empty())
    }

    /// The first `count` bytes of [`Spool::front`] were used.
    ///
    /// # Panics
    /// When it showed fewer.
    pub fn consume(&mut self, count: usize) {
        let left = self.front.len() - self.taken;
        assert!(count <= left, "only bytes that were seen can be used");
        self.taken += count;
        if self.is_empty() {
            // A reader that keeps up needs no memory.
            self.front = Vec::new();
            self.back = Vec::new();
            self.taken = 0;
        }
        self.weigh();
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("whose", &self.whose)
            .field("memory", &self.in_memory())
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shelf.account.weigh(self.weight, 0);
        // To close a large file is to free its blocks, which takes its time.
        if let Some(store) = self.store.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            drop(runtime.spawn_blocking(move || drop(store)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::account::Account;
    use super::*;
    use proptest::prelude::*;
    use std::fs::File;
    use std::future::poll_fn;
    use std::path::Path;
    use tempfile::TempDir;

    const BOUNDS: Bounds = Bounds {
        memory: 1000,
        disk: 1 << 30,
        total_memory: 1 << 30,
        total_disk: 1 << 30,
    };

    fn shelf(dir: &Path) -> Shelf {
        Shelf::new(Arc::new(Account::new(dir)))
    }

    /// A folder that can never be made, for what must not touch the disk.
    fn nowhere() -> Shelf {
        shelf(Path::new("/dev/null/spool"))
    }

    async fn put(spool: &mut Spool, bytes: &[u8]) -> Result<(), SpoolError> {
        poll_fn(|cx| spool.poll_room(cx)).await?;
        spool.fill(|back| back.extend_from_slice(bytes));
        poll_fn(|cx| spool.poll_room(cx)).await
    }

    /// Waits until nothing is being written, however slow the disk is.
    async fn the_disk_is_done(spool: &mut Spool) {
        poll_fn(|cx| {
            if let Some(job) = &mut spool.writing {
                let done = ready!(job.work.as_mut().poll(cx));
                spool.written(done).unwrap();
            }
            Poll::Ready(())
        })
        .await;
    }

    /// At most `most` bytes of what is there; empty at the end.
    async fn get(spool: &mut Spool, most: usize) -> Vec<u8> {
        poll_fn(|cx| spool.poll_front(cx)).await.unwrap();
        let mut bytes = spool.front().to_vec();
        bytes.truncate(most);
        spool.consume(bytes.len());
        bytes
    }

    async fn rest(spool: &mut Spool) -> Vec<u8> {
        let mut all = Vec::new();
        while !spool.is_empty() {
            all.extend(get(spool, usize::MAX).await);
        }
        all
    }

    fn text(length: usize) -> Vec<u8> {
        (0..length)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_small_body_never_touches_the_disk() {
        let shelf = nowhere();
        let mut spool = Spool::new(&shelf, BOUNDS, Whose::Request);
        put(&mut spool, &text(600)).await.unwrap();
        put(&mut spool, &text(400)).await.unwrap();
        assert_eq!((spool.len(), spool.is_small()), (1000, true));
        assert_eq!(shelf.account().amounts().memory, 1000);
        assert_eq!(rest(&mut spool).await, [text(600), text(400)].concat());
        assert_eq!(shelf.account().amounts(), super::super::Amounts::default());
    }

    #[tokio::test]
    async fn a_long_body_goes_to_disk_and_its_memory_is_given_back() {
        let dir = TempDir::new().unwrap();
        let shelf = shelf(&dir.path().join("made/when/needed"));
        let mut spool = Spool::new(&shelf, BOUNDS, Whose::Request);
        let body = text(5_000_000);
        for piece in body.chunks(40_000) {
            put(&mut spool, piece).await.unwrap();
            let most = MOST_WAITING + 2 * 40_000;
            assert!(spool.back.len() <= most, "the disk holds it up");
        }
        the_disk_is_done(&mut spool).await;
        poll_fn(|cx| spool.look_for_room(cx)).await.unwrap();
        assert_eq!(spool.len(), 5_000_000);
        assert!(shelf.account().on_disk() > 4_000_000);
        assert!(rest(&mut spool).await == body, "the same bytes come out");
        assert_eq!(shelf.account().amounts().memory, 0);
        assert_eq!(shelf.account().amounts().requests_spooled, 1);
    }

    #[tokio::test]
    async fn what_it_took_is_given_back_when_it_is_dropped_half_way() {
        let dir = TempDir::new().unwrap();
        let shelf = shelf(dir.path());
        let mut spool = Spool::new(&shelf, BOUNDS, Whose::Answer);
        for _ in 0..10 {
            put(&mut spool, &text(50_000)).await.unwrap();
        }
        get(&mut spool, 10).await;
        drop(spool);
        // Its jobs and its file end on a blocking thread.
        while shelf.account().on_disk() > 0 || Arc::strong_count(&shelf.account) > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(shelf.account().amounts().memory, 0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_request_without_room_is_refused_and_names_the_folder() {
        let dir = TempDir::new().unwrap();
        let shelf = shelf(dir.path());
        let bounds = Bounds {
            total_disk: 100_000,
            ..BOUNDS
        };
        let mut first = Spool::new(&shelf, bounds, Whose::Request);
        put(&mut first, &text(90_000)).await.unwrap();
        let mut second = Spool::new(&shelf, bounds, Whose::Request);
        let refused = put(&mut second, &text(20_000)).await.unwrap_err();
        assert!(matches!(refused, SpoolError::Full { .. }), "{refused}");
        let words = refused.to_string();
        assert!(words.contains(dir.path().to_str().unwrap()), "{words}");
        assert!(words.contains("max_size"), "{words}");
        assert_eq!(shelf.account().amounts().requests_refused, 1);
        assert_eq!(rest(&mut first).await, text(90_000), "others are unharmed");
    }

    #[tokio::test]
    async fn one_body_may_not_take_more_of_the_disk_than_its_own_limit() {
        let dir = TempDir::new().unwrap();
        let bounds = Bounds {
            disk: 50_000,
            ..BOUNDS
        };
        let mut spool = Spool::new(&shelf(dir.path()), bounds, Whose::Request);
        put(&mut spool, &text(50_000)).await.unwrap();
        let more = async {
            loop {
                if let Err(error) = put(&mut spool, &text(1001)).await {
                    return error;
                }
            }
        };
        assert!(matches!(more.await, SpoolError::TooLong { limit: 50_000 }));
    }

    #[tokio::test]
    async fn an_answer_without_room_goes_on_at_the_pace_of_its_reader() {
        let dir = TempDir::new().unwrap();
        let shelf = shelf(dir.path());
        let bounds = Bounds {
            total_disk: 60_000,
            ..BOUNDS
        };
        let mut spool = Spool::new(&shelf, bounds, Whose::Answer);
        let mut expected = Vec::new();
        let mut got = Vec::new();
        let mut waited = 0;
        for _ in 0..100 {
            while poll_fn(|cx| Poll::Ready(spool.poll_room(cx).is_pending())).await {
                waited += 1;
                assert!(spool.back.len() <= MOST_WAITING + 3000);
                got.extend(get(&mut spool, 1500).await);
            }
            spool.fill(|back| back.extend_from_slice(&text(3000)));
            expected.extend(text(3000));
            // What waits for the disk would not have to wait for its reader.
            the_disk_is_done(&mut spool).await;
        }
        got.extend(rest(&mut spool).await);
        assert!(got == expected, "the same bytes come out");
        assert!(waited > 10, "it never waited");
        assert_eq!(shelf.account().amounts().answers_held_up, 1);
    }

    fn on_a_full_disk(whose: Whose) -> Spool {
        let mut spool = Spool::new(&nowhere(), BOUNDS, whose);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let store = Store::over(spool.shelf.account.clone(), full);
        spool.store = Some(Arc::new(store));
        spool
    }

    #[tokio::test]
    async fn a_full_disk_refuses_a_request_in_words_that_help() {
        let mut spool = on_a_full_disk(Whose::Request);
        let refused = loop {
            if let Err(error) = put(&mut spool, &text(2000)).await {
                break error.to_string();
            }
            tokio::task::yield_now().await;
        };
        assert!(refused.contains("/dev/null/spool"), "{refused}");
        assert!(refused.contains("No space left"), "{refused}");
        assert!(refused.contains("make room"), "{refused}");
        assert_eq!(spool.shelf.account().on_disk(), 0);
    }

    #[tokio::test]
    async fn a_full_disk_only_slows_an_answer_down() {
        let mut spool = on_a_full_disk(Whose::Answer);
        let mut expected = Vec::new();
        let mut got = Vec::new();
        for _ in 0..50 {
            while poll_fn(|cx| Poll::Ready(spool.poll_room(cx).is_pending())).await {
                got.extend(get(&mut spool, 999).await);
            }
            spool.fill(|back| back.extend_from_slice(&text(2000)));
            expected.extend(text(2000));
            tokio::task::yield_now().await;
        }
        got.extend(rest(&mut spool).await);
        assert!(got == expected, "not a byte is lost");
        assert!(spool.has_failed);
    }

    #[tokio::test]
    async fn a_reader_that_keeps_up_needs_no_more_of_the_disk_for_a_longer_body() {
        let dir = TempDir::new().unwrap();
        let shelf = shelf(dir.path());
        let bounds = Bounds {
            total_disk: 300_000,
            ..BOUNDS
        };
        let mut spool = Spool::new(&shelf, bounds, Whose::Request);
        for _ in 0..50 {
            put(&mut spool, &text(100_000)).await.unwrap();
            assert_eq!(rest(&mut spool).await, text(100_000));
        }
        assert!(shelf.account().on_disk() <= 200_000);
    }

    #[tokio::test]
    async fn with_little_memory_left_for_all_each_goes_to_disk_sooner() {
        let dir = TempDir::new().unwrap();
        let shelf = shelf(dir.path());
        let bounds = Bounds {
            memory: 100_000,
            total_memory: 90_000,
            ..BOUNDS
        };
        let mut first = Spool::new(&shelf, bounds, Whose::Request);
        put(&mut first, &text(90_000)).await.unwrap();
        assert!(first.is_small());
        let mut second = Spool::new(&shelf, bounds, Whose::Request);
        put(&mut second, &text(SHORT + 1)).await.unwrap();
        assert!(!second.is_small());
        assert_eq!(rest(&mut second).await, text(SHORT + 1));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Put(usize),
        Get(usize),
        Breathe,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_usize..9000).prop_map(Step::Put),
            (0_usize..12_000).prop_map(Step::Get),
            Just(Step::Breathe),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_same_bytes_come_out_in_whatever_order_both_sides_move(
            steps in prop::collection::vec(step(), 0..60),
            memory in 0_usize..5000,
            total_disk in 0_u64..60_000,
        ) {
            let dir = TempDir::new().unwrap();
            let shelf = shelf(dir.path());
            let bounds = Bounds { memory, total_disk, ..BOUNDS };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (put_in, got) = runtime.block_on(async {
                let mut spool = Spool::new(&shelf, bounds, Whose::Answer);
                let (mut put_in, mut got) = (Vec::new(), Vec::new());
                for step in steps {
                    match step {
                        Step::Put(count) => {
                            while poll_fn(|cx| Poll::Ready(spool.poll_room(cx).is_pending())).await {
                                got.extend(get(&mut spool, 700).await);
                            }
                            let from = put_in.len();
                            put_in.extend((from..from + count).map(|i| u8::try_from(i % 253).unwrap()));
                            spool.fill(|back| back.extend_from_slice(&put_in[from..]));
                        }
                        Step::Get(most) => got.extend(get(&mut spool, most).await),
                        Step::Breathe => tokio::task::yield_now().await,
                    }
                    assert_eq!(spool.len(), (put_in.len() - got.len()) as u64);
                }
                got.extend(rest(&mut spool).await);
                (put_in, got)
            });
            prop_assert_eq!(put_in, got);
            drop(runtime);
            prop_assert_eq!(shelf.account().amounts().memory, 0);
            prop_assert_eq!(shelf.account().on_disk(), 0);
        }
    }
}
