//! A hold on one service: whoever comes waits before it is counted anywhere, until it is let go.
//!
//! Those who wait stand in a line as those do who wait for a place of a slot ([`Line`]), for places of which
//! there are none. A new hold has places of its own: whoever was let go by the one before and is not counted
//! yet goes back to where it stood. So when a View with a hold is published, no new request is counted.

use super::line::Line;
use super::places::Places;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

/// What holds a service now. In a View: new requests wait.
#[derive(Debug)]
pub struct Hold {
    /// There are none; those in line get one when they are let go.
    pub places: Arc<Places>,
    pub lobby: Arc<Lobby>,
}

/// Where held requests of one service wait, whichever hold it is; outlives them all.
#[derive(Debug)]
pub struct Lobby {
    line: Arc<Line>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    most_bytes: u64,
    bytes: u64,
    next: u64,
    /// Since when each of them waits.
    guests: BTreeMap<u64, Instant>,
    counts: LobbyCounts,
}

/// What became of those who waited, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LobbyCounts {
    /// They were let go.
    pub released: u64,
    /// There was no room for them.
    pub full: u64,
    /// They waited for as long as one may.
    pub late: u64,
    /// Their clients left.
    pub left: u64,
    /// The longest wait of one that was let go; since [`Lobby::forget_longest`].
    pub longest: Duration,
    /// All waits of those who were let go, together.
    pub waited: Duration,
}

/// Who waits now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LobbyNow {
    pub waiting: usize,
    pub bytes: u64,
    /// The one that waits longest.
    pub oldest: Duration,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    Released,
    Full,
    Late,
    Left,
}

/// One that waits. Dropping it without a word says that its client left.
#[derive(Debug)]
pub struct Guest {
    lobby: Arc<Lobby>,
    number: u64,
    bytes: u64,
    since: Instant,
    is_over: bool,
}

impl Hold {
    /// Nobody gets through from the moment on in which it is in a View.
    #[must_use]
    pub fn begin(lobby: &Arc<Lobby>) -> Arc<Self> {
        Arc::new(Self {
            places: Places::new(0, &lobby.line),
            lobby: Arc::clone(lobby),
        })
    }

    /// It is in no View any more: whoever still comes to its line is let go at once.
    pub fn open(&self) {
        self.places.set_limit(usize::MAX);
    }
}

impl Lobby {
    #[must_use]
    pub fn new(most_requests: usize, most_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            line: Line::new(most_requests),
            inner: Mutex::new(Inner {
                most_bytes,
                bytes: 0,
                next: 0,
                guests: BTreeMap::new(),
                counts: LobbyCounts::default(),
            }),
        })
    }

    /// Those who wait now stay.
    pub fn set_bounds(&self, most_requests: usize, most_bytes: u64) {
        self.line.set_length(most_requests);
        self.lock().most_bytes = most_bytes;
    }

    #[must_use]
    pub fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Somebody waits from now on, of whom `bytes` are kept; none when they are too many.
    #[must_use]
    pub fn enter(self: &Arc<Self>, bytes: u64) -> Option<Guest> {
        let mut inner = self.lock();
        if inner.bytes.saturating_add(bytes) > inner.most_bytes {
            inner.counts.full += 1;
            return None;
        }
        inner.bytes += bytes;
        let number = inner.next;
        inner.next += 1;
        let since = Instant::now();
        inner.guests.insert(number, since);
        Some(Guest {
            lobby: Arc::clone(self),
            number,
            bytes,
            since,
            is_over: false,
        })
    }

    #[must_use]
    pub fn now(&self) -> LobbyNow {
        let inner = self.lock();
        let oldest = inner.guests.first_key_value();
        LobbyNow {
            waiting: inner.guests.len(),
            bytes: inner.bytes,
            oldest: oldest.map_or(Duration::ZERO, |(_, since)| since.elapsed()),
        }
    }

    #[must_use]
    pub fn counts(&self) -> LobbyCounts {
        self.lock().counts
    }

    /// Another hold begins.
    pub fn forget_longest(&self) {
        self.lock().counts.longest = Duration::ZERO;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every step leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LobbyCounts {
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.full + self.late
    }
}

impl Guest {
    /// Whether it waits there.
    #[must_use]
    pub fn is_in(&self, lobby: &Arc<Lobby>) -> bool {
        Arc::ptr_eq(&self.lobby, lobby)
    }

    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Its wait is over.
    pub fn leaves(mut self, how: Waited) {
        self.end(how);
    }

    fn end(&mut self, how: Waited) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let mut inner = self.lobby.lock();
        inner.guests.remove(&self.number);
        inner.bytes -= self.bytes;
        let counts = &mut inner.counts;
        match how {
            Waited::Released => {
                let took = self.since.elapsed();
                counts.released += 1;
                counts.longest = counts.longest.max(took);
                counts.waited += took;
            }
            Waited::Full => counts.full += 1,
            Waited::Late => counts.late += 1,
            Waited::Left => counts.left += 1,
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.end(Waited::Left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_leaves_takes_its_bytes_along() {
        let lobby = Lobby::new(10, 100);
        let first = lobby.enter(60).unwrap();
        assert!(lobby.enter(41).is_none(), "more bytes than there is room");
        let second = lobby.enter(40).unwrap();
        assert_eq!((lobby.now().waiting, lobby.now().bytes), (2, 100));
        first.leaves(Waited::Released);
        drop(second);
        assert_eq!(lobby.now(), LobbyNow::default());
        let counts = lobby.counts();
        assert_eq!((counts.released, counts.full, counts.left), (1, 1, 1));
        assert!(counts.longest > Duration::ZERO);
    }

    #[test]
    fn the_one_that_waits_longest_is_known() {
        let lobby = Lobby::new(10, 100);
        let first = lobby.enter(1).unwrap();
        let second = lobby.enter(1).unwrap();
        assert!(lobby.now().oldest >= second.since().elapsed());
        first.leaves(Waited::Left);
        let since = second.since();
        assert!(lobby.now().oldest <= since.elapsed());
    }
}
