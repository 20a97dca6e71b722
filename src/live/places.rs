//! Requests in flight per slot, bounded over all workers, and the line of those who wait for a place.
//!
//! Who finds a place and nobody waiting takes it with one atomic step. Who does not takes the lock of its
//! service's line: it is held for a few steps of a map and never while anything is waited for, and only those
//! meet in it whose requests could not be served now anyway.
//!
//! Nothing is lost because both sides use one word: who joins marks the word before it looks for a free place,
//! and who gives a place back sees the mark in the same step or has given it back before that look.
//! `tests/loom_queue.rs` runs this very file in every interleaving.

use super::line::Inner;
use super::line::Line;
use super::line::Refused;
use super::line::Spot;
use super::line::Waiting;
use super::line::Wakers;
use super::order::Origin;
use super::sync::AtomicU64;
use super::sync::MutexGuard;
use super::sync::Ordering;
use std::sync::Arc;

/// One slot's places, whatever its generation: a request of an old one occupies its upstream all the same.
#[derive(Debug)]
pub struct Places {
    /// See [`Word`].
    word: AtomicU64,
    /// Tells the places of one line apart.
    number: u64,
    line: Arc<Line>,
}

/// Held while a request is in flight; dropping it lets the next one in.
#[derive(Debug)]
pub struct Place(Arc<Places>);

/// Somebody waits: bit 63. The limit: the 31 bits below. How many places are taken: the low 32 bits.
#[derive(Debug, Clone, Copy)]
struct Word(u64);

impl Word {
    const WAITED_FOR: u64 = 1 << 63;
    const TAKEN: u64 = u32::MAX as u64;
    const MOST: usize = (1 << 31) - 1;

    fn new(limit: usize) -> Self {
        // It fits, for it is at most `MOST`.
        Self((limit.min(Self::MOST) as u64) << 32)
    }

    fn is_waited_for(self) -> bool {
        self.0 & Self::WAITED_FOR != 0
    }

    fn waited_for(self) -> Self {
        Self(self.0 | Self::WAITED_FOR)
    }

    fn unwaited_for(self) -> Self {
        Self(self.0 & !Self::WAITED_FOR)
    }

    fn has_room(self) -> bool {
        self.0 & Self::TAKEN < self.unwaited_for().0 >> 32
    }

    fn taken(self) -> usize {
        // It is at most `MOST`.
        usize::try_from(self.0 & Self::TAKEN).unwrap_or(Self::MOST)
    }

    fn with_limit(self, limit: usize) -> Self {
        let rest = self.0 & (Self::WAITED_FOR | Self::TAKEN);
        Self(rest | Self::new(limit).0)
    }
}

impl Places {
    /// `limit` places, 1 or more.
    #[must_use]
    pub fn new(limit: usize, line: &Arc<Line>) -> Arc<Self> {
        Arc::new(Self {
            word: AtomicU64::new(Word::new(limit).0),
            number: line.lock().number(),
            line: Arc::clone(line),
        })
    }

    #[must_use]
    pub fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// How many requests hold a place.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.look().taken()
    }

    /// How many wait for a place here.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.line.lock().waiting(self.number)
    }

    /// A place if one is free and nobody waits. No lock is taken.
    #[must_use]
    pub fn try_take(self: &Arc<Self>) -> Option<Place> {
        self.take(|word| word.has_room() && !word.is_waited_for())
    }

    /// Joins the line, or takes a place at once if there is one. `epoch` is that of the View these places were
    /// found in; `before` is where one stood that lost what it got: it comes before all who had no turn yet.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn join(
        self: &Arc<Self>,
        origin: Origin,
        epoch: u64,
        before: Option<&Spot>,
    ) -> Result<Waiting, Refused> {
        let mut inner = self.line.lock();
        if !inner.aim_at(self.number, epoch) {
            return Err(Refused::Outdated);
        }
        self.enter(inner, (origin, None), before)
    }

    /// The same for one who belongs to this slot, whichever is active: a flip does not make it wait elsewhere.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn join_side(
        self: &Arc<Self>,
        origin: Origin,
        epoch: u64,
        before: Option<&Spot>,
    ) -> Result<Waiting, Refused> {
        let inner = self.line.lock();
        if !inner.takes_sides(epoch) {
            return Err(Refused::Outdated);
        }
        self.enter(inner, (origin, Some(self.number)), before)
    }

    fn enter(
        self: &Arc<Self>,
        mut inner: MutexGuard<'_, Inner>,
        who: (Origin, Option<u64>),
        before: Option<&Spot>,
    ) -> Result<Waiting, Refused> {
        let mut wakers = Wakers::default();
        let turn = match before.filter(|spot| spot.is_in(&self.line)) {
            Some(spot) => {
                inner.enter_again(who, spot.turn());
                spot.turn()
            }
            None => inner.enter(who, self.look().has_room(), &mut wakers)?,
        };
        self.fill(&mut inner, &mut wakers);
        wakers.wake(inner);
        Ok(Waiting::new(Arc::clone(&self.line), turn))
    }

    /// Nobody belongs to this slot any more: whoever waits here for that reason looks at the newest View. Called
    /// after that was published, with its epoch.
    pub fn dismiss(&self, epoch: u64) {
        let mut inner = self.line.lock();
        let mut wakers = Wakers::default();
        inner.dismiss(self.number, epoch, &mut wakers);
        wakers.wake(inner);
    }

    /// From now on those in line wait for these places, in their order. Called after the flip was published,
    /// with the epoch of its View.
    pub fn aim(self: &Arc<Self>, epoch: u64) {
        let mut inner = self.line.lock();
        let mut wakers = Wakers::default();
        if inner.aim_at(self.number, epoch) {
            self.fill(&mut inner, &mut wakers);
        }
        wakers.wake(inner);
    }

    /// Takes effect at once: more places go to those who wait, fewer become so as requests end.
    pub fn set_limit(self: &Arc<Self>, limit: usize) {
        let mut inner = self.line.lock();
        let mut wakers = Wakers::default();
        self.change(|word| word.with_limit(limit));
        self.fill(&mut inner, &mut wakers);
        wakers.wake(inner);
    }

    /// Gives a place to the next `count` in line, beyond the limit; how many there were.
    pub fn let_go(self: &Arc<Self>, count: usize) -> usize {
        let mut inner = self.line.lock();
        let mut wakers = Wakers::default();
        let mut gone = 0;
        while gone < count
            && inner.waiting(self.number) > 0
            && let Some(place) = self.take(|_| true)
        {
            inner.give(place, self.number, &mut wakers);
            gone += 1;
        }
        wakers.wake(inner);
        gone
    }

    /// Gives free places to those whose turn it is.
    fn fill(self: &Arc<Self>, inner: &mut Inner, wakers: &mut Wakers) {
        if inner.waiting(self.number) > 0 {
            // The mark before the look: from here on who gives a place back comes to the lock.
            self.change(Word::waited_for);
        }
        while inner.waiting(self.number) > 0
            && let Some(place) = self.take(Word::has_room)
        {
            inner.give(place, self.number, wakers);
        }
        if inner.waiting(self.number) == 0 {
            self.change(Word::unwaited_for);
        }
    }

    fn give_back(self: &Arc<Self>) {
        // Release: pairs with `take`.
        let unseen = self
            .word
            .fetch_update(Ordering::Release, Ordering::Relaxed, |word| {
                (!Word(word).is_waited_for()).then(|| word - 1)
            });
        if unseen.is_ok() {
            return;
        }
        let mut inner = self.line.lock();
        let mut wakers = Wakers::default();
        self.change(|word| Word(word.0 - 1));
        // The mark goes when nobody waits for this slot any more.
        self.fill(&mut inner, &mut wakers);
        wakers.wake(inner);
    }

    fn take(self: &Arc<Self>, may: impl Fn(Word) -> bool) -> Option<Place> {
        // Acquire: the next one in sees what the one before it did; pairs with `give_back`.
        let taken = self
            .word
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |word| {
                may(Word(word)).then_some(word + 1)
            });
        taken.ok().map(|_| Place(Arc::clone(self)))
    }

    fn change(&self, to: impl Fn(Word) -> Word) {
        // Acquire and release: it stands between those who give back and those who take.
        let _ = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |word| {
                Some(to(Word(word)).0)
            });
    }

    fn look(&self) -> Word {
        // Relaxed: it only decides how full a line may be, and shows figures.
        Word(self.word.load(Ordering::Relaxed))
    }
}

impl Place {
    /// Whether it is one of these.
    #[must_use]
    pub fn is_of(&self, places: &Arc<Places>) -> bool {
        Arc::ptr_eq(&self.0, places)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.give_back();
    }
}
