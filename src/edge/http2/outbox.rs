//! Answers on their way out of one connection, bounded over all of its streams.
//!
//! A client may open a wide window and not read. What was given away for sending then waits in memory, so no
//! stream gives away more while too much waits.

use bytes::Buf;
use bytes::Bytes;
use std::cell::Cell;
use std::cell::RefCell;
use std::rc::Rc;
use std::task::Context;
use std::task::Waker;

/// Bytes of answers that wait in one connection.
const MOST: usize = 256 * 1024;

/// What waits in one connection, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

impl Outbox {
    /// How much more may be given away; for 0 the task is woken when there is more.
    pub(super) fn room(&self, cx: &Context<'_>) -> usize {
        let room = MOST.saturating_sub(self.bytes.get());
        if room == 0 {
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|known| known.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
        }
        room
    }

    /// Counts `bytes` until they are written.
    pub(super) fn portion(self: &Rc<Self>, bytes: Bytes) -> Portion {
        self.bytes.set(self.bytes.get() + bytes.len());
        Portion {
            counted: bytes.len(),
            bytes,
            outbox: self.clone(),
        }
    }
}

/// A piece of an answer that counts until it is written or forgotten.
#[derive(Debug)]
pub(super) struct Portion {
    bytes: Bytes,
    counted: usize,
    outbox: Rc<Outbox>,
}

impl Buf for Portion {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        let left = self.outbox.bytes.get() - self.counted;
        self.outbox.bytes.set(left);
        if left < MOST {
            self.outbox
                .waiting
                .borrow_mut()
                .drain(..)
                .for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_has_more_waits_until_something_was_written() {
        let woken = Arc::new(Count::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        let outbox = Rc::<Outbox>::default();
        let most = outbox.portion(vec![0; MOST - 1].into());
        assert_eq!(outbox.room(&cx), 1);
        let last = outbox.portion(vec![0; 1].into());
        assert_eq!((outbox.room(&cx), outbox.room(&cx)), (0, 0));
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        drop(last);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "once per task");
        drop(most);
        assert_eq!(outbox.room(&cx), MOST);
    }
}
