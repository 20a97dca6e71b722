//! Who a connection is from, before anything is said: the peer, or whom a load balancer names.

use super::door::Door;
use crate::filter::Headcount;
use crate::live::View;
use crate::net::Introduction;
use crate::net::introduction;
use crate::proxy::Fault;
use crate::proxy::Flight;
use crate::proxy::Peer;
use crate::proxy::Proxy;
use crate::proxy::Timer;
use crate::telemetry::Unwelcome;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;

/// A client that may go on.
pub(super) struct Met {
    pub peer: Peer,
    /// Held for its drop, while there is a limit.
    pub headcount: Option<Headcount>,
}

/// Meets a connection as its listener says; none when it is over.
pub(super) async fn meet(
    proxy: &Proxy,
    socket: &TcpStream,
    address: SocketAddr,
    (flight, door): (&Rc<Flight>, &Door),
) -> Option<Met> {
    let mut peer = Peer::new(address, door.port);
    let view = proxy.view();
    if let Some(listener) = view.listeners.get(door.index) {
        let welcome = &listener.settings.welcome;
        peer.redirects_to = welcome.redirects_to();
        if welcome.expects_introduction(peer.address) {
            // Boxed: it is rare, and holds more than what comes after it.
            peer = Box::pin(introduced(proxy, socket, peer, (flight, door))).await?;
        }
    }
    if peer.destination.is_none() && view.services.iter().any(tells_upstreams) {
        peer.destination = socket.local_addr().ok();
    }
    peer.text
        .as_ref()
        .clone_into(&mut flight.client.borrow_mut());
    let headcount = enter(proxy, &view, &peer, (socket, door))?;
    Some(Met { peer, headcount })
}

fn tells_upstreams(service: &crate::live::Service) -> bool {
    service.settings.upstream_proxy_protocol.is_some()
}

/// The client that a load balancer names, before the listener's time for handshakes is over.
async fn introduced(
    proxy: &Proxy,
    socket: &TcpStream,
    peer: Peer,
    (flight, door): (&Rc<Flight>, &Door),
) -> Option<Peer> {
    let within = {
        let view = proxy.view();
        view.listeners
            .get(door.index)?
            .settings
            .tls
            .handshake_timeout
    };
    let under_way = door.handshakes.begin(flight);
    flight.arm(Timer::Handshake, within);
    let told = flight.guard(async { Ok(introduction(socket).await) }).await;
    drop(under_way);
    flight.disarm();
    let error = match told {
        Ok(Ok(Introduction::Itself)) => return Some(peer),
        Ok(Ok(Introduction::Client {
            source,
            destination,
            is_secure,
        })) => {
            return Some(Peer {
                destination: Some(destination),
                redirects_to: peer.redirects_to,
                is_secure,
                ..Peer::new(source, destination.port())
            });
        }
        Ok(Err(error)) => error.to_string(),
        Err(Fault::Timeout(_)) => "no PROXY header came in time".to_owned(),
        Err(fault) => fault.to_string(),
    };
    proxy.metrics.unwelcome(Unwelcome::NoIntroduction);
    if proxy.may_log() {
        tracing::warn!(client = %peer.text, error,
            "connection of a load balancer ended: `proxy_protocol` of its listener asks for a PROXY header");
    }
    None
}

/// Counts the connection; none when its client has too many.
#[allow(
    clippy::option_option,
    reason = "let in without a count, let in with one, not let in"
)]
fn enter(
    proxy: &Proxy,
    view: &View,
    peer: &Peer,
    (socket, door): (&TcpStream, &Door),
) -> Option<Option<Headcount>> {
    let most = view.limits.connections_per_client;
    // Those who bring many clients have many connections.
    let is_trusted = || {
        view.trusted_proxies
            .iter()
            .any(|it| it.contains(peer.address))
    };
    if most == 0 || is_trusted() {
        return Some(None);
    }
    let headcount = door.crowd.enter(peer.address, most);
    if headcount.is_none() {
        proxy.metrics.unwelcome(Unwelcome::Crowd);
        let is_tls = |listener: &crate::live::Listener| listener.tls.is_some();
        if !view.listeners.get(door.index).is_some_and(is_tls) {
            turn_away(socket);
        }
    }
    headcount.map(Some)
}

/// A best effort: a client that has sent its request already may only see the reset.
fn turn_away(socket: &TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nX-Switchd-Fault: connections-per-client\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let _ = socket.try_write(ANSWER);
}
