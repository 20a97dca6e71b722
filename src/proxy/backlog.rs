//! What a client is behind with: bytes of an answer that it did not take as fast as the upstream gave them.

use super::answer::Exchange;
use super::body::DISK_PATIENCE;
use super::client::Client;
use super::client::poll_gone;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::Flight;
use super::flight::State;
use super::receive::bounds;
use super::response::ResponseHead;
use crate::net::Stream;
use crate::spool::Spool;
use crate::spool::Whose;
use std::future::poll_fn;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

const NEVER: u64 = u64::MAX;

/// Kept bytes of one answer, and how long whoever is waited for may take.
#[derive(Debug)]
pub(super) struct Backlog {
    spool: Spool,
    /// Everything that the client took is on its way; with TLS some of it may still be here.
    is_flushed: bool,
    idle: Duration,
    /// Of the body, as read from the upstream.
    read: u64,
    /// What the next byte to the client waits for, and until when.
    waits: Option<Wait>,
    /// Until when the upstream may be silent.
    upstream: u64,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    timer: Timer,
    until: u64,
}

/// Whether an answer may be kept: not one that is meant to be seen as it comes.
pub(super) fn may_be_kept(head: &ResponseHead<'_>) -> bool {
    let is = |value: Option<&[u8]>, word: &[u8]| {
        let word_of = |value: &[u8]| {
            let first = value.split(|byte| *byte == b';').next();
            first.is_some_and(|first| first.trim_ascii().eq_ignore_ascii_case(word))
        };
        value.is_some_and(word_of)
    };
    !is(head.find("content-type"), b"text/event-stream") && !is(head.find(ACCEL_BUFFERING), b"no")
}

/// How an upstream says whether its answer may be kept; not for the client.
pub(super) const ACCEL_BUFFERING: &str = "x-accel-buffering";

impl Backlog {
    /// None when the flight has no seat.
    pub(super) fn of(exchange: &Exchange<'_>) -> Option<Box<Self>> {
        let seat = exchange.flight.seat.borrow();
        let settings = &seat.as_ref()?.ticket.service().settings;
        let bounds = bounds(&settings.buffering, &exchange.proxy.view().spool);
        Some(Box::new(Self {
            spool: Spool::new(&exchange.proxy.shelf, bounds, Whose::Answer),
            is_flushed: true,
            idle: settings.timeouts.idle,
            read: 0,
            waits: None,
            upstream: NEVER,
        }))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spool.is_empty() && self.is_flushed
    }

    /// So much of the body was read by now.
    pub(super) fn has_read(&mut self, count: u64, flight: &Flight) {
        self.read = count;
        self.tell(flight);
    }

    /// What the client has taken; a few bytes of framing more or less.
    fn tell(&self, flight: &Flight) {
        let taken = self.read.saturating_sub(self.spool.len());
        flight.bytes_out.set(taken);
    }

    /// Takes all of `bytes`: what the client takes at once goes by, the rest is kept. Then waits until there
    /// is room for more.
    pub(super) async fn put(&mut self, exchange: &Exchange<'_>, bytes: &[u8]) -> Result<(), Fault> {
        let (client, flight) = (exchange.client, exchange.flight);
        let mut rest = bytes;
        self.upstream = NEVER;
        poll_fn(|cx| {
            while self.spool.is_empty() && !rest.is_empty() {
                match client.poll_write(cx, rest) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Fault::ClientGone)),
                    Poll::Ready(Ok(count)) => {
                        self.is_flushed = false;
                        rest = &rest[count..];
                    }
                    Poll::Pending => break,
                }
            }
            if !rest.is_empty() {
                self.spool.fill(|back| back.extend_from_slice(rest));
                rest = &[];
            }
            let given = self.poll_give((client, flight), cx);
            if let Poll::Ready(Err(fault)) = given {
                return Poll::Ready(Err(fault));
            }
            self.spool.poll_room(cx).map_err(Fault::from)
        })
        .await
    }

    /// The upstream is asked for more from now on.
    pub(super) fn asks(&mut self, flight: &Flight) {
        self.upstream = flight.until(self.idle);
    }

    /// Gives the client what it takes; ready when nothing is left. While something is, whichever wait is over
    /// first is armed.
    pub(super) fn poll_give(
        &mut self,
        (client, flight): (&Stream, &Flight),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        let has_waited = self.waits.is_some();
        let given = self.give((client, flight), cx);
        // What waits in memory goes to disk while the client thinks.
        if given.is_pending()
            && let Poll::Ready(Err(error)) = self.spool.poll_room(cx)
        {
            return Poll::Ready(Err(error.into()));
        }
        match self.waits {
            Some(wait) if wait.until < self.upstream => flight.arm_at(wait.timer, wait.until),
            None if !has_waited => {}
            _ => flight.arm_at(Timer::UpstreamIdle, self.upstream),
        }
        given
    }

    fn give(
        &mut self,
        (client, flight): (&Stream, &Flight),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        while !self.spool.is_empty() {
            let fetched = self.spool.poll_front(cx);
            if fetched.is_pending() {
                self.wait(Timer::Spool, DISK_PATIENCE, flight);
            }
            ready!(fetched)?;
            let written = client.poll_write(cx, self.spool.front());
            if written.is_pending() {
                self.wait(Timer::ClientIdle, self.idle, flight);
            }
            match ready!(written) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Fault::ClientGone)),
                Ok(count) => self.spool.consume(count),
            }
            self.is_flushed = false;
            self.waits = None;
            self.tell(flight);
        }
        if !self.is_flushed {
            let flushed = client.poll_flush(cx);
            if flushed.is_pending() {
                self.wait(Timer::ClientIdle, self.idle, flight);
            }
            if ready!(flushed).is_err() {
                return Poll::Ready(Err(Fault::ClientGone));
            }
            self.is_flushed = true;
        }
        self.waits = None;
        Poll::Ready(Ok(()))
    }

    /// Begins to wait, unless it waits for the same already.
    fn wait(&mut self, timer: Timer, patience: Duration, flight: &Flight) {
        if self.waits.is_none_or(|wait| wait.timer != timer) {
            let until = flight.until(patience);
            self.waits = Some(Wait { timer, until });
        }
    }

    /// Gives the client all that is left; the upstream has done its part.
    pub(super) async fn deliver(mut self: Box<Self>, client: &mut Client) -> Result<(), Fault> {
        let flight = client.flight.clone();
        flight.at(State::Delivering);
        // It bounds what is asked of the upstream.
        flight.arm_total(None);
        self.upstream = NEVER;
        let (stream, input) = (&client.stream, &mut client.input);
        poll_fn(|cx| {
            if let Poll::Ready(given) = self.poll_give((stream, &flight), cx) {
                return Poll::Ready(given);
            }
            poll_gone(stream, input, cx).map(|()| Err(Fault::ClientGone))
        })
        .await
    }
}
