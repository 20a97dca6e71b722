//! An upgraded connection: bytes both ways until both ends are done. Idle tunnels hold no memory.
//!
//! Only websockets are understood; whatever else it may be is passed on blindly.

use super::client::Client;
use super::client::write_all;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::Flight;
use super::flight::State;
use super::websocket::talk;
use crate::live::Kind;
use crate::net::Buffer;
use crate::net::LARGE;
use crate::net::Stream;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::ready;
use std::time::Duration;

/// What is spoken on an upgraded connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Websocket,
    Other,
}

/// What the connection became.
#[derive(Debug)]
pub(super) struct Changed {
    pub protocol: Protocol,
    /// The bytes that came behind the 101.
    pub early: Buffer,
    pub idle: Duration,
}

/// Runs until both directions have ended.
pub(super) async fn tunnel(
    client: &mut Client,
    upstream: &Stream,
    changed: Changed,
    flight: &Flight,
) -> Result<(), Fault> {
    let Changed {
        protocol,
        early,
        idle,
    } = changed;
    flight.becomes(Kind::Websocket);
    flight.at(State::Tunnel);
    if let Some(seat) = flight.seat.borrow().as_ref() {
        seat.give_up_place();
    }
    flight.arm_total(None);
    flight.arm(Timer::Tunnel, idle);
    if protocol == Protocol::Websocket {
        // On its own: other requests must not carry its size.
        return Box::pin(talk(client, upstream, early, idle)).await;
    }
    pass_blindly(client, upstream, early, flight, idle).await;
    Ok(())
}

/// An end without a goodbye is an end all the same: what the bytes mean is between the two.
async fn pass_blindly(
    client: &mut Client,
    upstream: &Stream,
    mut early: Buffer,
    flight: &Flight,
    idle: Duration,
) {
    let progress = |counter: &Cell<u64>, count: usize| {
        counter.set(counter.get() + count as u64);
        flight.arm(Timer::Tunnel, idle);
    };
    let up = copy(&client.stream, upstream, &mut client.input, |count| {
        progress(&flight.bytes_in, count);
    });
    let down = copy(upstream, &client.stream, &mut early, |count| {
        progress(&flight.bytes_out, count);
    });
    // A broken direction ends both: half a tunnel is of no use.
    let _ = tokio::try_join!(up, down);
}

/// Copies until the end of `from`, and passes the end on. `buffer` may hold bytes already.
async fn copy(
    from: &Stream,
    to: &Stream,
    buffer: &mut Buffer,
    progress: impl Fn(usize),
) -> io::Result<()> {
    loop {
        if !buffer.is_empty() {
            let count = buffer.len();
            write_all(to, buffer.bytes(), || progress(0)).await?;
            buffer.consume(count);
            progress(count);
        }
        buffer.release();
        let read = poll_fn(|cx| {
            ready!(from.poll_readable(cx))?;
            let read = from.poll_read(cx, buffer.room(LARGE));
            if read.is_pending() {
                // The readiness was of bytes that are read already.
                buffer.release();
            }
            read
        });
        let read = read.await?;
        if read == 0 {
            to.finish().await;
            return Ok(());
        }
        buffer.filled(read);
    }
}
