//! From an accepted socket to a client that can be spoken to: what comes before the first request.

use super::door::Door;
use crate::config::ClientAuth;
use crate::net::Buffer;
use crate::net::Stream;
use crate::proxy::Client;
use crate::proxy::Fault;
use crate::proxy::Flight;
use crate::proxy::Peer;
use crate::proxy::Proxy;
use crate::proxy::Timer;
use crate::telemetry::HandshakeFailure;
use crate::tls::Opening;
use crate::tls::Server;
use crate::tls::opening;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;

/// What a connection turned out to be.
pub(super) enum Greeted {
    /// Its first request may come.
    Client(Client),
    /// A request came that cannot be served here; it is still to be told.
    Misplaced(Client, Fault),
    /// It is over.
    Nobody,
}

/// Without TLS a connection is a client at once.
pub(super) async fn greet(
    proxy: &Proxy,
    socket: TcpStream,
    peer: Peer,
    flight: &Rc<Flight>,
    door: &Door,
) -> Greeted {
    let view = proxy.view();
    let tls = view.listeners.get(door.index).and_then(|it| it.tls.clone());
    drop(view);
    match tls {
        None => Greeted::Client(client(socket, peer, flight)),
        // Boxed: a handshake is much larger than what a client needs ever after.
        Some(tls) => Box::pin(secure(proxy, socket, peer, flight, (door, tls))).await,
    }
}

fn client(stream: impl Into<Stream>, peer: Peer, flight: &Rc<Flight>) -> Client {
    Client {
        stream: stream.into(),
        input: Buffer::default(),
        peer,
        flight: flight.clone(),
    }
}

/// What a connection to a listener with TLS says first.
enum First {
    Secured(Box<crate::tls::Secured>),
    /// Not read yet.
    PlainHttp(TcpStream),
    Failed(HandshakeFailure, String),
}

async fn secure(
    proxy: &Proxy,
    socket: TcpStream,
    mut peer: Peer,
    flight: &Rc<Flight>,
    (door, tls): (&Door, Arc<Server>),
) -> Greeted {
    let under_way = door.handshakes.begin(flight);
    flight.arm(Timer::Handshake, tls.rules.handshake_timeout);
    let first = flight.guard(async { Ok(first(&tls, socket).await) }).await;
    drop(under_way);
    flight.disarm();
    let (reason, error) = match first {
        Ok(First::Secured(secured)) => {
            proxy.metrics.handshake(secured.handshake);
            if secured.is_proof {
                return Greeted::Nobody;
            }
            peer.is_secure = true;
            peer.certificate = secured.certificate.map(Rc::new);
            peer.is_asked = tls.rules.client_auth != ClientAuth::Off;
            return Greeted::Client(client(secured.stream, peer, flight));
        }
        Ok(First::PlainHttp(socket)) => {
            proxy.metrics.failed_handshake(HandshakeFailure::PlainHttp);
            return Greeted::Misplaced(client(socket, peer, flight), Fault::PlainHttp);
        }
        Ok(First::Failed(reason, error)) => (reason, error),
        Err(fault) => {
            let reason = match fault {
                Fault::Killed => HandshakeFailure::Crowded,
                Fault::Timeout(_) => HandshakeFailure::Timeout,
                _ => HandshakeFailure::Gone,
            };
            (reason, fault.to_string())
        }
    };
    proxy.metrics.failed_handshake(reason);
    tracing::debug!(client = %peer.text, reason = reason.as_str(), error, "handshake failed");
    Greeted::Nobody
}

async fn first(tls: &Server, socket: TcpStream) -> First {
    match opening(&socket).await {
        Ok(Opening::Tls) => match tls.accept(socket).await {
            Ok(secured) => First::Secured(Box::new(secured)),
            Err(refused) => First::Failed(refused.reason, refused.to_string()),
        },
        Ok(Opening::PlainHttp) => First::PlainHttp(socket),
        Ok(Opening::Unknown) => {
            let what = "what came is neither TLS nor HTTP".to_owned();
            First::Failed(HandshakeFailure::Malformed, what)
        }
        Ok(Opening::Nothing) => First::Failed(HandshakeFailure::Gone, "it said nothing".to_owned()),
        Err(error) => First::Failed(HandshakeFailure::Gone, error.to_string()),
    }
}
