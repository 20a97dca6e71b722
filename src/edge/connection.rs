//! One client's connection, request after request.

use super::door::Door;
use super::handshake::Greeted;
use super::handshake::greet;
use super::http2;
use super::welcome::Met;
use super::welcome::meet;
use crate::proxy::Client;
use crate::proxy::Ending;
use crate::proxy::Fault;
use crate::proxy::Flight;
use crate::proxy::Proxy;
use crate::proxy::State;
use crate::proxy::Timer;
use crate::proxy::exchange;
use crate::proxy::refuse;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a client that may still be sending is listened to after its answer, without a byte and in all.
const LINGER_IDLE: Duration = Duration::from_secs(2);
const LINGER_TOTAL: Duration = Duration::from_secs(20);
/// How long one that was idle is: it has nothing to send.
const GOODBYE: Duration = Duration::from_millis(500);

/// Serves one connection until it ends.
pub(super) async fn serve(
    proxy: Rc<Proxy>,
    socket: TcpStream,
    address: SocketAddr,
    door: Rc<Door>,
) {
    let flight = Flight::new(proxy.clock.clone(), "");
    let _counted = Counted(proxy.clone());
    let _enlisted = proxy.enlist(flight.clone());
    let Some(Met {
        peer,
        headcount: _headcount,
    }) = meet(&proxy, &socket, address, (&flight, &door)).await
    else {
        return;
    };
    let mut client = match greet(&proxy, socket, peer, &flight, &door).await {
        Greeted::Client(client) => client,
        Greeted::Misplaced(mut client, fault) => {
            refuse(&proxy, &mut client, &fault).await;
            return linger(&mut client, LINGER_IDLE).await;
        }
        Greeted::Nobody => return,
    };
    let may_http2 = {
        let view = proxy.view();
        let listener = view.listeners.get(door.index);
        listener.is_none_or(|listener| listener.settings.http2)
    };
    drop(door);
    let mut is_first = true;
    loop {
        match wait(&proxy, &mut client, is_first).await {
            Wait::Arrived => {}
            Wait::Gone => break,
            Wait::Over => {
                linger(&mut client, GOODBYE).await;
                break;
            }
        }
        if is_first && may_http2 && speaks_http2(&mut client).await {
            client.flight.is_served.set(true);
            return Box::pin(http2::serve(&proxy, client)).await;
        }
        is_first = false;
        match exchange(&proxy, &mut client).await {
            Ending::KeepAlive => {}
            Ending::Close if client.input.is_empty() && client.stream.is_quiet() => {
                client.stream.say_goodbye();
                break;
            }
            Ending::Close | Ending::Linger => {
                linger(&mut client, LINGER_IDLE).await;
                break;
            }
            Ending::Cut => {
                client.stream.reset_on_close();
                break;
            }
        }
    }
}

/// Whether the first bytes are those of HTTP/2. Reads on only where they may be.
async fn speaks_http2(client: &mut Client) -> bool {
    let flight = client.flight.clone();
    let told = async {
        loop {
            match http2::first(&client.input) {
                http2::First::Http1 => return Ok(false),
                http2::First::Http2 => return Ok(true),
                http2::First::Unclear => {}
            }
            if !matches!(client.fill().await, Ok(1..)) {
                return Ok(false);
            }
        }
    };
    // Whatever ended it, the engine finds it again, and has words for it.
    flight.guard(told).await.unwrap_or(false)
}

/// An open connection; dropping it counts it as closed, however it ended.
struct Counted(Rc<Proxy>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.closed();
    }
}

enum Wait {
    /// There are bytes.
    Arrived,
    /// The client has closed.
    Gone,
    /// We close: it was idle for too long, or we stop.
    Over,
}

/// Between two requests. Holds no memory but the connection's own.
async fn wait(proxy: &Proxy, client: &mut Client, is_first: bool) -> Wait {
    let flight = client.flight.clone();
    let view = proxy.view();
    let limits = &view.limits;
    if client.input.is_empty() {
        client.input.release();
        if is_first {
            flight.arm(Timer::KeepAlive, limits.header_timeout);
        } else {
            flight.arm(Timer::KeepAlive, limits.idle_timeout);
        }
        let header_timeout = limits.header_timeout;
        drop(view);
        let filled = async { client.fill().await.map_err(|_| Fault::ClientGone) };
        match flight.guard(filled).await {
            Ok(0) | Err(Fault::ClientGone) => return Wait::Gone,
            Ok(_) => {}
            // What came at the last moment is served all the same.
            Err(_) if !client.stream.is_quiet() => {}
            Err(_) => return Wait::Over,
        }
        flight.arm(Timer::Head, header_timeout);
        return Wait::Arrived;
    }
    flight.arm(Timer::Head, limits.header_timeout);
    Wait::Arrived
}

/// Says goodbye and reads on, so that a client that is still sending is not reset before it has read its answer.
async fn linger(client: &mut Client, idle: Duration) {
    let flight = client.flight.clone();
    // No longer idle: a stop must not cut this short.
    flight.state.set(State::Closing);
    flight.arm_total(Some(LINGER_TOTAL));
    let discard = async {
        flight.arm(Timer::ClientIdle, idle);
        client.stream.finish().await;
        loop {
            flight.arm(Timer::ClientIdle, idle);
            let held = client.input.len();
            client.input.consume(held);
            match client.fill().await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => {}
            }
        }
    };
    // Either way the connection ends now.
    let _ = flight.guard(discard).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_connection_whose_task_is_dropped_or_panics_counts_as_closed() {
        let proxy = Proxy::idle();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = TcpStream::connect(address).await.unwrap();
        proxy.metrics.opened();
        {
            let door = Rc::new(Door {
                index: 0,
                port: 80,
                all: Arc::new([]),
                handshakes: Rc::default(),
                crowd: Arc::default(),
            });
            let mut serving = pin!(serve(proxy.clone(), socket, address, door));
            let waits = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(serving.as_mut().poll(cx).is_pending())
            });
            assert!(waits.await);
            let open = (proxy.metrics.connections(), proxy.connections());
            assert_eq!(open, (1, 1));
        }
        let open = (proxy.metrics.connections(), proxy.connections());
        assert_eq!(open, (0, 0));
    }
}
