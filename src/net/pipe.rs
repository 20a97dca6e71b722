//! A connection in memory: a [`super::Stream`] at one end, at the other whoever carries its bytes on.
//!
//! Both directions are bounded, and both ends are used on one thread: the lock is there because streams may
//! be sent elsewhere, and nobody ever waits for it. A wake of the task that is running
//! would only run it once more for nothing: it becomes a mark instead, see [`Remote::take_stirred`].

use bytes::Bytes;
use bytes::BytesMut;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;

/// Bytes that may wait on their way out of the stream; whoever writes more waits.
const OUTWARD: usize = 40 * 1024;
/// From so much room on it is worth while to fetch more; framing may come on top of what was fetched.
const ENOUGH: usize = 16 * 1024;
const FRAMING: usize = 8 * 1024;
/// Bytes on their way into the stream, from which on its remote end brings no more.
const INWARD: usize = 16 * 1024;

/// What a stream in memory is made of.
#[derive(Debug)]
pub(super) struct Pipe(Arc<Mutex<Shared>>);

/// The other end of a stream in memory: where a client would be. Dropping it is a reset.
#[derive(Debug)]
pub struct Remote(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    inward: Inward,
    outward: Outward,
    /// One end is gone, and what was inward with it.
    is_broken: bool,
    reader: Waiting,
    writer: Waiting,
    remote: Waiting,
    stirred: bool,
}

/// Towards the stream.
#[derive(Debug, Default)]
struct Inward {
    pieces: VecDeque<Bytes>,
    /// Of all pieces.
    bytes: usize,
    /// Behind them there is nothing more.
    is_ended: bool,
}

/// Out of the stream.
#[derive(Debug, Default)]
struct Outward {
    bytes: BytesMut,
    /// Nothing more will be written.
    is_finished: bool,
}

/// Two new ends.
#[must_use]
pub(super) fn pipe() -> (Pipe, Remote) {
    let shared = Arc::<Mutex<Shared>>::default();
    (Pipe(shared.clone()), Remote(shared))
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Nothing is left half done in there.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who waits, if anybody does. The waker stays for the next time, which is most likely the same one's.
#[derive(Debug, Default)]
struct Waiting {
    waker: Option<Waker>,
    now: bool,
}

impl Waiting {
    fn wait(&mut self, cx: &Context<'_>) {
        self.now = true;
        let known = self.waker.as_ref();
        if !known.is_some_and(|known| known.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    /// Wakes who waits. True when that is the task that is running, which is not woken.
    fn rouse(&mut self, cx: &Context<'_>) -> bool {
        if !std::mem::take(&mut self.now) {
            return false;
        }
        match &self.waker {
            Some(waker) if waker.will_wake(cx.waker()) => true,
            Some(waker) => {
                waker.wake_by_ref();
                false
            }
            None => false,
        }
    }

    fn rouse_from_anywhere(&mut self) {
        if std::mem::take(&mut self.now)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}

impl Pipe {
    /// Ready when a read would not wait.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        if shared.inward.bytes > 0 || shared.inward.is_ended || shared.is_broken {
            return Poll::Ready(Ok(()));
        }
        shared.reader.wait(cx);
        Poll::Pending
    }

    /// How much may be written without waiting, once that is worth while.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut shared = lock(&self.0);
        let room = (OUTWARD - FRAMING).saturating_sub(shared.outward.bytes.len());
        if room >= ENOUGH || shared.is_broken {
            return Poll::Ready(room.max(ENOUGH));
        }
        shared.writer.wait(cx);
        Poll::Pending
    }

    /// Nothing more will be brought; what was before may still be read.
    pub(super) fn has_hung_up(&self) -> bool {
        let shared = lock(&self.0);
        shared.inward.is_ended || shared.is_broken
    }

    /// Nothing more will be written; reading goes on.
    pub(super) fn finish(&self) {
        let mut shared = lock(&self.0);
        shared.outward.is_finished = true;
        shared.remote.rouse_from_anywhere();
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        let shared = &mut *shared;
        if shared.is_broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if shared.inward.bytes == 0 {
            if shared.inward.is_ended {
                return Poll::Ready(Ok(()));
            }
            shared.reader.wait(cx);
            return Poll::Pending;
        }
        while let Some(piece) = shared.inward.pieces.front_mut() {
            let count = piece.len().min(room.remaining());
            room.put_slice(&piece.split_to(count));
            shared.inward.bytes -= count;
            if !piece.is_empty() {
                break;
            }
            shared.inward.pieces.pop_front();
        }
        if shared.inward.bytes < INWARD {
            shared.remote.rouse(cx);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut shared = lock(&self.0);
        let shared = &mut *shared;
        if shared.is_broken || shared.outward.is_finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = OUTWARD.saturating_sub(shared.outward.bytes.len());
        if room == 0 {
            shared.writer.wait(cx);
            return Poll::Pending;
        }
        let count = bytes.len().min(room);
        shared.outward.bytes.extend_from_slice(&bytes[..count]);
        shared.remote.rouse(cx);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.is_broken = true;
        shared.remote.rouse_from_anywhere();
    }
}

impl Remote {
    /// Whether more may be brought: what was brought before is on its way or used.
    #[must_use]
    pub fn wants(&self) -> bool {
        let shared = lock(&self.0);
        shared.inward.bytes < INWARD && !shared.inward.is_ended && !shared.is_broken
    }

    /// Brings bytes for the stream to read.
    pub fn bring(&self, bytes: Bytes, cx: &Context<'_>) {
        if bytes.is_empty() {
            return;
        }
        let mut shared = lock(&self.0);
        shared.inward.bytes += bytes.len();
        shared.inward.pieces.push_back(bytes);
        shared.read_on(cx);
    }

    /// The stream reads its end behind what was brought.
    pub fn end(&self, cx: &Context<'_>) {
        let mut shared = lock(&self.0);
        shared.inward.is_ended = true;
        shared.read_on(cx);
    }

    /// The peer is gone: reads and writes fail from now on.
    pub fn reset(&self, cx: &Context<'_>) {
        let mut shared = lock(&self.0);
        shared.is_broken = true;
        shared.inward = Inward::default();
        shared.read_on(cx);
        if shared.writer.rouse(cx) {
            shared.stirred = true;
        }
    }

    /// Looks at what was written into the stream, or takes from its front: then say so with [`Remote::took`].
    pub fn outward<T>(&self, look: impl FnOnce(&mut BytesMut) -> T) -> T {
        look(&mut lock(&self.0).outward.bytes)
    }

    /// Some of what was outward was taken.
    pub fn took(&self, cx: &Context<'_>) {
        let mut shared = lock(&self.0);
        if shared.outward.bytes.len() < OUTWARD && shared.writer.rouse(cx) {
            shared.stirred = true;
        }
    }

    /// Behind what is outward there is nothing more.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        lock(&self.0).outward.is_finished
    }

    /// The next time that the stream is written to, read from or dropped, this task is woken; unless it is
    /// the one that does it: then it knows.
    pub fn watch(&self, cx: &Context<'_>) {
        lock(&self.0).remote.wait(cx);
    }

    /// Whether the running task would have been woken since it was asked last: the stream can go on.
    #[must_use]
    pub fn take_stirred(&self) -> bool {
        std::mem::take(&mut lock(&self.0).stirred)
    }
}

impl Shared {
    fn read_on(&mut self, cx: &Context<'_>) {
        if self.reader.rouse(cx) {
            self.stirred = true;
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.is_broken = true;
        shared.reader.rouse_from_anywhere();
        shared.writer.rouse_from_anywhere();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stream;
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;

    fn idle() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    /// As much as it takes without waiting.
    fn fill(stream: &Stream) -> usize {
        let mut written = 0;
        while let Poll::Ready(Ok(count)) = stream.poll_write(&mut idle(), &[b'x'; 10_000]) {
            written += count;
        }
        written
    }

    #[tokio::test]
    async fn bytes_come_out_as_they_went_in_both_ways_and_so_does_the_end() {
        let (stream, remote) = Stream::memory();
        assert!(stream.is_quiet());
        remote.bring(Bytes::from_static(b"hel"), &idle());
        remote.bring(Bytes::from_static(b"lo"), &idle());
        let mut room = [0; 4];
        assert_eq!(stream.read(&mut room).await.unwrap(), 4);
        assert_eq!(&room, b"hell");
        assert_eq!(stream.read(&mut room).await.unwrap(), 1);
        assert!(stream.is_quiet());
        remote.end(&idle());
        assert_eq!(stream.read(&mut room).await.unwrap(), 0);
        let written = poll_fn(|cx| stream.poll_write(cx, b"world")).await.unwrap();
        assert_eq!(written, 5);
        assert!(!remote.is_finished());
        stream.finish().await;
        assert!(remote.is_finished());
        assert_eq!(remote.outward(BytesMut::split), "world");
    }

    #[test]
    fn whoever_writes_faster_than_it_is_taken_waits_at_the_bound() {
        let (stream, remote) = Stream::memory();
        assert_eq!(fill(&stream), OUTWARD);
        let taken = remote.outward(|out| out.split_to(1000));
        remote.took(&idle());
        assert_eq!(taken.len(), 1000);
        assert_eq!(fill(&stream), 1000);
    }

    #[test]
    fn room_for_more_is_there_once_some_of_it_was_taken() {
        let (stream, remote) = Stream::memory();
        let room = OUTWARD - FRAMING;
        assert_eq!(stream.poll_room(&mut idle()), Poll::Ready(room));
        fill(&stream);
        assert!(stream.poll_room(&mut idle()).is_pending());
        remote.outward(|out| out.truncate(room - ENOUGH + 1));
        assert!(stream.poll_room(&mut idle()).is_pending());
        remote.outward(|out| out.truncate(room - ENOUGH));
        assert_eq!(stream.poll_room(&mut idle()), Poll::Ready(ENOUGH));
        fill(&stream);
        remote.reset(&idle());
        assert!(stream.poll_room(&mut idle()).is_ready(), "to find it out");
    }

    #[test]
    fn what_is_brought_is_bounded_by_asking_first() {
        let (stream, remote) = Stream::memory();
        assert!(remote.wants());
        remote.bring(vec![b'x'; INWARD].into(), &idle());
        assert!(!remote.wants());
        let mut room = [0; 1];
        assert!(stream.poll_read(&mut idle(), &mut room).is_ready());
        assert!(remote.wants());
    }

    #[tokio::test]
    async fn a_writer_that_waits_is_woken_by_another_task_and_marked_by_its_own() {
        let (stream, remote) = Stream::memory();
        fill(&stream);
        let mut writing = pin!(poll_fn(|cx| stream.poll_write(cx, b"more")));
        let waits = poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx).is_pending()));
        assert!(waits.await);
        remote.outward(BytesMut::clear);
        poll_fn(|cx| {
            remote.took(cx);
            Poll::Ready(())
        })
        .await;
        assert!(remote.take_stirred() && !remote.take_stirred());
        assert_eq!(writing.await.unwrap(), 4);
        remote.outward(BytesMut::clear);
        fill(&stream);
        let writing = pin!(poll_fn(|cx| stream.poll_write(cx, b"more")));
        let other = async {
            remote.outward(BytesMut::clear);
            // With another waker than the writer's: as from another task.
            remote.took(&idle());
        };
        let (written, ()) = tokio::join!(writing, other);
        assert_eq!(written.unwrap(), 4);
        assert!(!remote.take_stirred());
    }

    #[tokio::test]
    async fn a_reset_ends_reads_and_writes_and_forgets_what_was_under_way() {
        let (stream, remote) = Stream::memory();
        remote.bring(Bytes::from_static(b"late"), &idle());
        remote.reset(&idle());
        assert!(!stream.is_quiet());
        let error = stream.read(&mut [0; 4]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let error = poll_fn(|cx| stream.poll_write(cx, b"x")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_remote_end_that_is_dropped_is_a_reset() {
        let (stream, remote) = Stream::memory();
        let mut reading = pin!(stream.readable());
        let waits = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx).is_pending()));
        assert!(waits.await);
        drop(remote);
        reading.await.unwrap();
        assert!(stream.read(&mut [0; 4]).await.is_err());
    }
}
