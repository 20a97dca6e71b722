//! One worker: one thread, one runtime, its own sockets.

use super::connection::serve;
use super::door::Door;
use super::door::Handshakes;
use crate::api::RequestStatus;
use crate::filter::Crowd;
use crate::live::Goodbye;
use crate::live::Line;
use crate::live::Listener;
use crate::live::Spot;
use crate::net::Lack;
use crate::net::close;
use crate::proxy::Flight;
use crate::proxy::Proxy;
use crate::proxy::State;
use crate::proxy::TICK;
use crate::proxy::Websocket;
use crate::telemetry::EdgeCounts;
use crate::telemetry::EdgeMetrics;
use crate::telemetry::Parting;
use crate::telemetry::Unwelcome;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::net::TcpListener as StdListener;
use std::os::fd::AsRawFd;
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
    pub listeners: Vec<StdListener>,
    pub orders: mpsc::Receiver<Order>,
    pub all: Arc<[Arc<EdgeMetrics>]>,
    pub crowd: Arc<Crowd>,
}

/// Accepts and serves until a stop order was carried out.
pub(super) async fn run(proxy: Rc<Proxy>, start: Start) -> std::io::Result<()> {
    let closing = Rc::new(Notify::new());
    let mut accepting = Vec::new();
    let handshakes = Rc::<Handshakes>::default();
    for (index, listener) in start.listeners.into_iter().enumerate() {
        let listener = TcpListener::from_std(listener)?;
        let door = Rc::new(Door {
            index,
            port: listener.local_addr().map_or(0, |address| address.port()),
            all: start.all.clone(),
            handshakes: handshakes.clone(),
            crowd: start.crowd.clone(),
        });
        let accept = accept(proxy.clone(), listener, closing.clone(), door);
        accepting.push(tokio::task::spawn_local(accept));
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
                    proxy.flights().iter().for_each(|flight| flight.wake());
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
async fn accept(proxy: Rc<Proxy>, listener: TcpListener, closing: Rc<Notify>, door: Rc<Door>) {
    // The flag as well: those who are told by `closing` must be waiting for it.
    while !proxy.stopping.get() {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.notified() => break,
        };
        match accepted {
            Ok((socket, address)) => welcome(&proxy, socket, address, &door),
            Err(error) => {
                // Out of file descriptors, most likely: others must close first.
                if proxy.may_log() {
                    let error = Lack::of(&error).map_or(error.to_string(), |it| it.to_string());
                    tracing::error!(error, "accept failed");
                }
                proxy.make_room();
                tokio::time::sleep(TICK).await;
            }
        }
    }
    match close(listener) {
        Ok(taken) => {
            for (socket, address) in taken {
                welcome(&proxy, socket, address, &door);
            }
        }
        Err(error) => tracing::error!(%error, "listener not closed in order"),
    }
}

fn welcome(proxy: &Rc<Proxy>, socket: TcpStream, address: SocketAddr, door: &Rc<Door>) {
    let open: u64 = door.all.iter().map(|worker| worker.connections()).sum();
    let view = proxy.view();
    let most = view.limits.connections as u64;
    // Connections to upstreams and files of bodies count as well: what they leave is seen by the number.
    let number = u64::try_from(socket.as_raw_fd()).unwrap_or(0);
    let is_short = number >= view.descriptors.ceiling;
    if is_short {
        proxy.make_room();
    }
    if is_short || (open >= most && !has_made_room(proxy, open, most)) {
        proxy.metrics.turned_away();
        // Without a handshake there are no words for those who speak TLS.
        let is_tls = |listener: &Listener| listener.tls.is_some();
        if !view.listeners.get(door.index).is_some_and(is_tls) {
            turn_away(&socket);
        }
        return;
    }
    proxy.metrics.opened();
    tokio::task::spawn_local(serve(proxy.clone(), socket, address, door.clone()));
}

/// Ends another connection in favour of a new one. Those that were ended take a moment to go: only so many
/// may be on their way.
fn has_made_room(proxy: &Proxy, open: u64, most: u64) -> bool {
    const LEAVING: u64 = 256;
    let leaving = LEAVING.min(most / 4 + 1);
    let has_made = open - most < leaving && proxy.dismiss_idler(open - most);
    if has_made {
        proxy.metrics.unwelcome(Unwelcome::Idler);
    }
    has_made
}

/// A best effort: a client that has sent its request already may only see the reset.
fn turn_away(socket: &TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nX-Switchd-Fault: too-many-connections\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let _ = socket.try_write(ANSWER);
}

/// Ends in order: idle connections and websockets after `grace`, busy ones when they are done, the rest after `timeout`.
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
        for flight in proxy.flights() {
            match flight.state.get() {
                State::Idle => flight.stop(),
                // Those that begin meanwhile too.
                State::Tunnel => drop(part(proxy, &flight, Parting::Stopped)),
                _ => {}
            }
        }
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
    let mut standings = Standings::default();
    proxy
        .flights()
        .iter()
        .filter_map(|flight| describe(flight, &mut standings))
        .collect()
}

/// Everybody's places in the lines that are waited in, looked up once per line.
#[derive(Default)]
struct Standings(Vec<(Arc<Line>, HashMap<u64, usize>)>);

impl Standings {
    /// None when its turn has come.
    fn of(&mut self, spot: &Spot) -> Option<u64> {
        let known = self
            .0
            .iter()
            .position(|(line, _)| Arc::ptr_eq(line, spot.line()));
        let at = known.unwrap_or_else(|| {
            let line = Arc::clone(spot.line());
            let standing = line.standing();
            self.0.push((line, standing));
            self.0.len() - 1
        });
        self.0[at].1.get(&spot.turn()).map(|place| *place as u64)
    }
}

fn kill(proxy: &Proxy, id: u64) -> bool {
    let flights = proxy.flights();
    let found = flights
        .iter()
        .find(|flight| flight.id.get() == id && flight.state.get().is_request());
    // Whoever kills a websocket twice does not wait for its ends.
    found
        .inspect(|flight| {
            if !part(proxy, flight, Parting::Killed) {
                flight.kill();
            }
        })
        .is_some()
}

/// Ends a websocket in order; false when it is none, or that was asked for before.
fn part(proxy: &Proxy, flight: &Flight, parting: Parting) -> bool {
    let seat = flight.seat.borrow();
    let Some(seat) = seat.as_ref() else {
        return false;
    };
    let known = &seat.ticket.service().settings;
    flight.part(|| {
        // As they are now: a websocket may be older than its service's settings.
        let view = proxy.view();
        let services = view.services.iter().map(|service| &service.settings);
        let mut current = services.filter(|settings| settings.name == known.name);
        Goodbye::new(parting, &current.next().unwrap_or(known).websocket)
    })
}

fn describe(flight: &Flight, standings: &mut Standings) -> Option<RequestStatus> {
    let state = match flight.state.get() {
        State::Idle | State::Reading | State::Carrying | State::Closing => return None,
        State::Receiving => "receiving",
        State::Queued => "queued",
        State::Held => "held",
        State::Connecting => "connecting",
        State::Sending => "sending",
        State::Waiting => "waiting",
        State::Answering => "answering",
        State::Delivering => "delivering",
        State::Tunnel => "tunnel",
    };
    let seat = flight.seat.borrow();
    let ticket = seat.as_ref().map(|seat| &seat.ticket);
    let queued = flight.queued.borrow();
    let held = flight.held.borrow();
    let bound_for = flight.bound_for.borrow();
    let settings = ticket
        .map(|ticket| &ticket.service().settings)
        .or(queued.as_ref().map(|queued| &queued.service))
        .or(held.as_ref().map(|held| &held.service))
        .or(bound_for.as_ref());
    let behind = held.as_ref().and_then(|held| held.spot());
    let spot = behind.or(queued.as_ref().and_then(|queued| queued.spot()));
    let websocket = flight.websocket.borrow();
    let messages = |count: fn(&Websocket) -> u64| websocket.as_deref().map_or(0, count);
    Some(RequestStatus {
        id: flight.id.get(),
        kind: flight.kind().as_str().to_owned(),
        state: state.to_owned(),
        service: settings
            .map(|settings| settings.name.to_string())
            .unwrap_or_default(),
        slot: ticket.map(|ticket| ticket.slot().name.to_string()),
        queue_place: spot.and_then(|spot| standings.of(spot)),
        queued_ms: queued.as_ref().map(|queued| millis(queued.took())),
        held_ms: held.as_ref().map(|held| millis(held.took())),
        generation: ticket.map(|ticket| ticket.slot().generation.0),
        endpoint: seat
            .as_ref()
            .and_then(|seat| seat.endpoint())
            .map(|endpoint| endpoint.label.to_string()),
        client: flight.client.borrow().clone(),
        method: flight.method.borrow().clone(),
        path: String::from_utf8_lossy(&flight.target.borrow()).into_owned(),
        age_ms: millis(flight.started.get().elapsed()),
        bytes_in: flight.bytes_in.get(),
        bytes_out: flight.bytes_out.get(),
        messages_in: messages(|it| it.messages_in.get()),
        messages_out: messages(|it| it.messages_out.get()),
        request_id: flight.request_id.borrow().clone(),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Adds up what all workers counted.
pub(super) fn sum(all: &[Arc<EdgeMetrics>]) -> EdgeCounts {
    let mut counts = EdgeCounts::default();
    for worker in all {
        worker.add_to(&mut counts);
    }
    counts
}
