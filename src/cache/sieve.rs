//! Who makes room: SIEVE, which keeps what was asked for since the hand came by last.
//!
//! A hit only sets a flag, so it needs no lock; one scan through everything does not push out what is
//! asked for again and again (Zhang et al., NSDI 2024).

use std::sync::Arc;

/// Things in the order they came, and the hand that looks for one to go.
#[derive(Debug)]
pub(super) struct Sieve<T> {
    queue: Vec<Arc<T>>,
    hand: usize,
}

/// What is to become of the one under the hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Stays,
    Goes,
}

impl<T> Default for Sieve<T> {
    fn default() -> Self {
        Self {
            queue: Vec::new(),
            hand: 0,
        }
    }
}

impl<T> Sieve<T> {
    pub(super) fn push(&mut self, one: Arc<T>) {
        self.queue.push(one);
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.queue.iter()
    }

    /// Takes out all that are meant. Costs a look through the queue: for rare occasions.
    pub(super) fn take(&mut self, mut is_meant: impl FnMut(&Arc<T>) -> bool) -> Vec<Arc<T>> {
        let mut taken = Vec::new();
        let (mut at, hand) = (0, self.hand);
        self.queue.retain(|one| {
            let goes = is_meant(one);
            if goes {
                taken.push(one.clone());
                if at < hand {
                    self.hand -= 1;
                }
            }
            at += 1;
            !goes
        });
        taken
    }

    /// Moves the hand on until one goes; `judge` clears what spared one before. None when all stay, twice.
    pub(super) fn evict(&mut self, mut judge: impl FnMut(&T) -> Verdict) -> Option<Arc<T>> {
        for _ in 0..2 * self.queue.len() {
            if self.hand >= self.queue.len() {
                self.hand = 0;
            }
            if judge(&self.queue[self.hand]) == Verdict::Goes {
                return Some(self.queue.remove(self.hand));
            }
            self.hand += 1;
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::arc_with_non_send_sync, reason = "one thread is enough here")]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Thing {
        name: u32,
        visited: Cell<bool>,
    }

    fn filled(names: std::ops::Range<u32>) -> Sieve<Thing> {
        let mut sieve = Sieve::default();
        for name in names {
            sieve.push(Arc::new(Thing {
                name,
                visited: Cell::new(false),
            }));
        }
        sieve
    }

    fn evict(sieve: &mut Sieve<Thing>) -> Option<u32> {
        let judge = |thing: &Thing| {
            if thing.visited.replace(false) {
                Verdict::Stays
            } else {
                Verdict::Goes
            }
        };
        sieve.evict(judge).map(|thing| thing.name)
    }

    fn visit(sieve: &Sieve<Thing>, name: u32) {
        let thing = sieve.iter().find(|thing| thing.name == name);
        thing.unwrap().visited.set(true);
    }

    #[test]
    #[allow(clippy::arc_with_non_send_sync, reason = "one thread is enough here")]
    fn what_is_asked_for_stays_and_the_rest_goes_in_order() {
        let mut sieve = filled(0..5);
        visit(&sieve, 0);
        visit(&sieve, 2);
        assert_eq!(evict(&mut sieve), Some(1));
        assert_eq!(evict(&mut sieve), Some(3));
        visit(&sieve, 0);
        sieve.push(Arc::new(Thing {
            name: 5,
            visited: Cell::new(false),
        }));
        assert_eq!(evict(&mut sieve), Some(4));
        assert_eq!(evict(&mut sieve), Some(5), "new ones prove themselves");
        assert_eq!(evict(&mut sieve), Some(2));
        assert_eq!(evict(&mut sieve), Some(0));
        assert_eq!(evict(&mut sieve), None);
    }

    #[test]
    fn what_was_taken_out_does_not_move_the_hand_on() {
        let mut sieve = filled(0..4);
        assert_eq!(evict(&mut sieve), Some(0));
        visit(&sieve, 1);
        assert_eq!(evict(&mut sieve), Some(2));
        let one = sieve.iter().next().unwrap().clone();
        assert_eq!(one.name, 1);
        let is_it = |known: &Arc<Thing>| Arc::ptr_eq(known, &one);
        assert_eq!(sieve.take(is_it).len(), 1);
        assert!(sieve.take(is_it).is_empty());
        assert_eq!((sieve.len(), evict(&mut sieve)), (1, Some(3)));
    }

    #[test]
    fn nothing_goes_while_all_must_stay() {
        let mut sieve = filled(0..3);
        assert!(sieve.evict(|_| Verdict::Stays).is_none());
        assert_eq!(sieve.len(), 3);
    }
}
