//! An upgraded connection: bytes both ways until both ends are done. Idle tunnels hold no memory.

use super::client::Client;
use super::client::write_all;
use super::fault::Fault;
use super::fault::Timer;
use super::flight::Flight;
use super::flight::State;
use crate::live::Kind;
use crate::net::Buffer;
use crate::net::LARGE;
use crate::net::Stream;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::ready;
use std::time::Duration;

/// Runs until both directions have ended. `early` is what the upstream sent behind its 101.
///
/// An end without a goodbye is an end all the same: what the bytes mean is between the two.
pub(super) async fn tunnel(
    client: &mut Client,
    upstream: &Stream,
    mut early: Buffer,
    flight: &Flight,
    idle: Duration,
) -> Result<(), Fault> {
    flight.becomes(Kind::Websocket);
    flight.at(State::Tunnel);
    if let Some(seat) = flight.seat.borrow().as_ref() {
        seat.give_up_place();
    }
    flight.arm_total(None);
    flight.arm(Timer::Tunnel, idle);
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
    Ok(())
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
