//! Blue and green: two small servers that say who they are and count what reaches them.

use super::Colour;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT};
use http::header::{SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

/// Set on the load's own requests, so that a visitor's curl is not mistaken for one.
pub(super) const LOAD: &str = "x-demo-load";
/// Names the slot in every answer.
pub(super) const SLOT: &str = "x-slot";

const PAGE: &str = include_str!("page.html");
const LONGEST_ECHO: usize = 64 * 1024;
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Both servers, on a thread of their own. Dropping it ends them.
pub(super) struct Upstreams {
    ports: [Ports; 2],
    ledgers: [Arc<Ledger>; 2],
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A slot has two members, as a real application often does: both flip in one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) http: SocketAddr,
    pub(super) websocket: SocketAddr,
}

/// By colour: how many requests of the load reached it.
pub(super) type Reached = [u64; 2];

/// How many requests of the load reached one slot, as the slot saw it. Neither probes nor visitors.
type Ledger = AtomicU64;

impl Upstreams {
    pub(super) fn start() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let ledgers = [Arc::<Ledger>::default(), Arc::<Ledger>::default()];
        let mut listeners = Vec::new();
        let mut bind = |colour: Colour| -> io::Result<SocketAddr> {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            listeners.push((listener, colour, Arc::clone(&ledgers[colour as usize])));
            Ok(address)
        };
        let mut ports = |colour| -> io::Result<Ports> {
            Ok(Ports {
                http: bind(colour)?,
                websocket: bind(colour)?,
            })
        };
        let ports = [ports(Colour::Blue)?, ports(Colour::Green)?];
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("upstreams".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    for (listener, colour, ledger) in listeners {
                        tokio::spawn(serve(listener, colour, ledger));
                    }
                    // Ends on a word as well as on the sender's end.
                    let _ = stopped.await;
                });
            })?;
        Ok(Self {
            ports,
            ledgers,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub(super) fn ports(&self, colour: Colour) -> Ports {
        self.ports[colour as usize]
    }

    /// How many requests of the load each slot got.
    pub(super) fn reached(&self) -> Reached {
        Colour::BOTH.map(|colour| self.ledgers[colour as usize].load(Ordering::Relaxed))
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It ends at once: nothing in it blocks. A panic there has told its story already.
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    colour: Colour,
    ledger: Arc<Ledger>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: let some connections end first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Without it an answer only gets slower.
        let _ = stream.set_nodelay(true);
        let ledger = Arc::clone(&ledger);
        let service = service_fn(move |request| {
            let ledger = Arc::clone(&ledger);
            async move { Ok::<_, Infallible>(answer(colour, &ledger, request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        // One that breaks is the client's to report.
        tokio::spawn(connection);
    }
}

async fn answer(
    colour: Colour,
    ledger: &Ledger,
    mut request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    if path == "/health" {
        return text(colour, StatusCode::OK, format!("{colour} is well\n"));
    }
    if path == "/websocket" {
        return websocket(colour, &mut request);
    }
    if request.headers().contains_key(LOAD) {
        ledger.fetch_add(1, Ordering::Relaxed);
    }
    match (request.method(), path.as_str()) {
        (_, "/slow") => {
            let wait = asked_wait(request.uri().query().unwrap_or_default());
            tokio::time::sleep(wait).await;
            let millis = wait.as_millis();
            text(
                colour,
                StatusCode::OK,
                format!("{colour} waited {millis} ms\n"),
            )
        }
        (_, "/upload") => match count(request.into_body()).await {
            Ok(bytes) => text(
                colour,
                StatusCode::OK,
                format!("{colour} received {bytes} bytes\n"),
            ),
            Err(_) => text(
                colour,
                StatusCode::BAD_REQUEST,
                format!("{colour} got half a body\n"),
            ),
        },
        (&Method::POST, _) => match Limited::new(request.into_body(), LONGEST_ECHO)
            .collect()
            .await
        {
            Ok(body) => {
                let body = body.to_bytes();
                let said = String::from_utf8_lossy(&body);
                text(colour, StatusCode::OK, format!("{colour} got {said}\n"))
            }
            Err(_) => text(
                colour,
                StatusCode::PAYLOAD_TOO_LARGE,
                "64 KiB at most\n".to_owned(),
            ),
        },
        _ if wants_page(&request) => page(colour),
        _ => text(colour, StatusCode::OK, format!("{colour} answers {path}\n")),
    }
}

fn text(colour: Colour, status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(SLOT, HeaderValue::from_static(colour.as_str()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn wants_page(request: &Request<Incoming>) -> bool {
    let accept = request.headers().get(ACCEPT);
    accept.is_some_and(|accept| memchr::memmem::find(accept.as_bytes(), b"text/html").is_some())
}

fn page(colour: Colour) -> Response<Full<Bytes>> {
    let mut response = text(
        colour,
        StatusCode::OK,
        PAGE.replace("COLOUR", colour.as_str()),
    );
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}

/// The wait in `ms=300`; none is no wait.
fn asked_wait(query: &str) -> Duration {
    let millis = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("ms=")?.parse().ok());
    Duration::from_millis(millis.unwrap_or(0)).min(LONGEST_WAIT)
}

async fn count(mut body: Incoming) -> Result<u64, hyper::Error> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(bytes)
}

fn websocket(colour: Colour, request: &mut Request<Incoming>) -> Response<Full<Bytes>> {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        let hint = "a websocket handshake is wanted here\n".to_owned();
        return text(colour, StatusCode::UPGRADE_REQUIRED, hint);
    };
    let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) else {
        return text(colour, StatusCode::BAD_REQUEST, "an odd key\n".to_owned());
    };
    tokio::spawn(echo(colour, hyper::upgrade::on(request)));
    let mut response = text(colour, StatusCode::SWITCHING_PROTOCOLS, String::new());
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// Says its colour before each message it sends back.
async fn echo(colour: Colour, upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(said) = message {
            let reply = Message::text(format!("{colour} echoes {said}"));
            if socket.send(reply).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_from_the_query_and_has_a_bound() {
        assert_eq!(asked_wait("ms=300"), Duration::from_millis(300));
        assert_eq!(asked_wait("id=7&ms=20"), Duration::from_millis(20));
        assert_eq!(asked_wait("ms=soon"), Duration::ZERO);
        assert_eq!(asked_wait("ms=99999999"), LONGEST_WAIT);
    }
}
