//! One worker: one thread, one runtime, its own sockets.

use super::connection::serve;
use crate::api::RequestStatus;
use crate::net::close;
use crate::proxy::Flight;
use crate::proxy::Proxy;
use crate::proxy::State;
use crate::proxy::TICK;
use crate::telemetry::EdgeCounts;
use crate::telemetry::EdgeMetrics;
use std::net::SocketAddr;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

/// What a worker may be asked.
pub(super) enum Order {
    List(oneshot::Sender<Vec<RequestStatus>>),
    Kill(u64, oneshot::Sender<bool>),
    Stop {
        grace: Duration,
        timeout: Duration,
        cut: oneshot::Sender<usize>,
    },
}

/// What a worker's thread starts with.
pub(super) struct Start {
    /// With whether clients may speak HTTP/2 there.
    pub listeners: Vec<(StdListener, bool)>,
    pub orders: mpsc::Receiver<Order>,
    pub all: Arc<[Arc<EdgeMetrics>]>,
}

/// What a connection has to know of its listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entrance {
    pub port: u16,
    /// Clients may speak HTTP/2.
    pub http2: bool,
}

/// Accepts and serves until a stop order was carried out.
pub(super) async fn run(proxy: Rc<Proxy>, start: Start) -> std::io::Result<()> {
    let closing = Rc::new(Notify::new());
    let mut accepting = Vec::new();
    for (listener, http2) in start.listeners {
        let listener = TcpListener::from_std(listener)?;
        let entrance = Entrance {
            port: listener.local_addr().map_or(0, |address| address.port()),
            http2,
        };
        accepting.push(tokio::task::spawn_local(accept(
            proxy.clone(),
            listener,
            closing.clone(),
            (entrance, start.all.clone()),
        )));
    }
    let began = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut orders = start.orders;
    loop {
        tokio::select! {
            _ = tick.tick() => look(&proxy, began),
            order = orders.recv() => match order {
                Some(Order::List(to)) => drop(to.send(list(&proxy))),
                Some(Order::Kill(id, to)) => drop(to.send(kill(&proxy, id))),
                Some(Order::Stop { grace, timeout, cut }) => {
                    proxy.stopping.set(true);
                    // Those who speak HTTP/2 say so to their clients.
                    proxy.flights().iter().for_each(|flight| flight.nudge());
                    closing.notify_waiters();
                    for listener in accepting {
                        // It ends when its queue is empty.
                        let _ = listener.await;
                    }
                    let _ = cut.send(stop(&proxy, began, &mut tick, (grace, timeout)).await);
                    return Ok(());
                }
                None => return Ok(()),
            },
        }
    }
}

fn look(proxy: &Proxy, began: Instant) {
    proxy.tick(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
}

/// Takes connections until it is told to close; then those that the kernel has taken already.
async fn accept(
    proxy: Rc<Proxy>,
    listener: TcpListener,
    closing: Rc<Notify>,
    (entrance, all): (Entrance, Arc<[Arc<EdgeMetrics>]>),
) {
    // The flag as well: those who are told by `closing` must be waiting for it.
    while !proxy.stopping.get() {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.notified() => break,
        };
        match accepted {
            Ok((socket, address)) => welcome(&proxy, socket, address, (entrance, &all)),
            Err(error) => {
                // Out of file descriptors, most likely: others must close first.
                tracing::error!(%error, "accept failed");
                tokio::time::sleep(TICK).await;
            }
        }
    }
    match close(listener) {
        Ok(taken) => {
            for (socket, address) in taken {
                welcome(&proxy, socket, address, (entrance, &all));
            }
        }
        Err(error) => tracing::error!(%error, "listener not closed in order"),
    }
}

fn welcome(
    proxy: &Rc<Proxy>,
    socket: TcpStream,
    address: SocketAddr,
    (entrance, all): (Entrance, &[Arc<EdgeMetrics>]),
) {
    let open: u64 = all.iter().map(|worker| worker.connections()).sum();
    if open >= proxy.view().limits.connections as u64 {
        proxy.metrics.turned_away();
        return turn_away(&socket);
    }
    proxy.metrics.opened();
    tokio::task::spawn_local(serve(proxy.clone(), socket, address, entrance));
}

/// A best effort: a client that has sent its request already may only see the reset.
fn turn_away(socket: &TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nX-Switchd-Fault: too-many-connections\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let _ = socket.try_write(ANSWER);
}

/// Ends in order: idle connections after `grace`, busy ones when they are done, the rest after `timeout`.
/// How many requests were cut.
async fn stop(
    proxy: &Proxy,
    began: Instant,
    tick: &mut tokio::time::Interval,
    (grace, timeout): (Duration, Duration),
) -> usize {
    let since = Instant::now();
    while proxy.connections() > 0 && since.elapsed() < grace {
        tick.tick().await;
        look(proxy, began);
    }
    while proxy.connections() > 0 && since.elapsed() < grace + timeout {
        proxy
            .flights()
            .iter()
            .filter(|flight| flight.state.get() == State::Idle)
            .for_each(|flight| flight.stop());
        tick.tick().await;
        look(proxy, began);
    }
    let cut = proxy.busy();
    proxy.flights().iter().for_each(|flight| flight.stop());
    // Two ticks for those that can still be told.
    for _ in 0..2 {
        if proxy.connections() > 0 {
            tick.tick().await;
            look(proxy, began);
        }
    }
    cut
}

fn list(proxy: &Proxy) -> Vec<RequestStatus> {
    proxy
        .flights()
        .iter()
        .filter_map(|flight| describe(flight))
        .collect()
}

fn kill(proxy: &Proxy, id: u64) -> bool {
    let flights = proxy.flights();
    let found = flights
        .iter()
        .find(|flight| flight.id.get() == id && flight.state.get().is_request());
    found.inspect(|flight| flight.kill()).is_some()
}

fn describe(flight: &Flight) -> Option<RequestStatus> {
    let state = match flight.state.get() {
        State::Idle | State::Reading | State::Carrying | State::Closing => return None,
        State::Queued => "queued",
        State::Connecting => "connecting",
        State::Sending => "sending",
        State::Waiting => "waiting",
        State::Answering => "answering",
        State::Tunnel => "tunnel",
    };
    let seat = flight.seat.borrow();
    let ticket = seat.as_ref().map(|seat| &seat.ticket);
    Some(RequestStatus {
        id: flight.id.get(),
        kind: flight.kind().as_str().to_owned(),
        state: state.to_owned(),
        service: ticket
            .map(|ticket| ticket.service().settings.name.to_string())
            .unwrap_or_default(),
        slot: ticket.map(|ticket| ticket.slot().name.to_string()),
        generation: ticket.map(|ticket| ticket.slot().generation.0),
        endpoint: seat
            .as_ref()
            .and_then(|seat| seat.endpoint())
            .map(|endpoint| endpoint.label.to_string()),
        client: flight.client.borrow().clone(),
        method: flight.method.borrow().clone(),
        path: String::from_utf8_lossy(&flight.target.borrow()).into_owned(),
        age_ms: u64::try_from(flight.started.get().elapsed().as_millis()).unwrap_or(u64::MAX),
        bytes_in: flight.bytes_in.get(),
        bytes_out: flight.bytes_out.get(),
        request_id: flight.request_id.borrow().clone(),
    })
}

/// Adds up what all workers counted.
pub(super) fn sum(all: &[Arc<EdgeMetrics>]) -> EdgeCounts {
    let mut counts = EdgeCounts::default();
    for worker in all {
        worker.add_to(&mut counts);
    }
    counts
}
