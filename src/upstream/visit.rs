//! One request to one endpoint with its whole answer, for those who ask in the daemon's own name.

use super::Call;
use super::ProbeFailure;
use super::connect;
use crate::net::Dial;
use crate::net::EndpointAddr;
use crate::net::ProxyVersion;
use crate::net::Stream;
use crate::net::write_introduction;
use crate::tls;
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What is read of one answer, kept or not; more is not waited for.
const MOST: u64 = 256 << 20;
/// A masked Close frame with code 1000: we are done, and it is nobody's fault.
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

/// Where a request goes, and how that place is spoken to.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub address: &'a EndpointAddr,
    /// None without TLS.
    pub terms: Option<&'a tls::Upstream>,
    pub proxy_protocol: Option<ProxyVersion>,
}

/// What is asked. Says itself how its connection ends.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: http::Method,
    pub path: String,
    pub headers: http::HeaderMap,
    pub body: Bytes,
    /// How much of the answer's body is kept, at most.
    pub keep: usize,
}

/// What came back.
#[derive(Debug)]
pub struct Visited {
    pub status: u16,
    pub headers: http::HeaderMap,
    /// Its beginning, as much as was to be kept.
    pub body: Vec<u8>,
    /// All of it was kept.
    pub is_whole: bool,
    /// To the last byte.
    pub took: Duration,
}

/// Asks once, on a connection of its own, which is closed afterwards. Never longer than `within`.
///
/// # Errors
/// What stood in the way of a whole answer. Cancel safe: dropping the future closes the connection.
pub async fn visit(
    place: Place<'_>,
    asked: Asked,
    within: Duration,
) -> Result<Visited, ProbeFailure> {
    let started = Instant::now();
    let keep = asked.keep;
    let asking = async {
        let request = request(asked)?;
        let stream = dial(place, within).await?;
        let (mut sender, connection) = http1::Builder::new()
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ProbeFailure::Broken)?;
        let drive = async {
            // What went wrong on the connection is told to the exchange as well.
            drop(connection.await);
            std::future::pending::<Infallible>().await
        };
        let exchange = async {
            let answer = sender.send_request(request).await;
            let (head, body) = answer.map_err(ProbeFailure::Broken)?.into_parts();
            let read = read(body, keep).await.map_err(ProbeFailure::Broken)?;
            Ok(Visited {
                status: head.status.as_u16(),
                headers: head.headers,
                body: read.kept,
                is_whole: read.is_whole,
                took: started.elapsed(),
            })
        };
        tokio::select! {
            visited = exchange => visited,
            never = drive => match never {},
        }
    };
    let visited = tokio::time::timeout(within, asking).await;
    visited.unwrap_or(Err(ProbeFailure::Timeout(within)))
}

/// How the opening of a websocket ended.
#[derive(Debug)]
pub struct Opened {
    pub status: u16,
    /// The answer proves that it read the question; false also where it did not open.
    pub is_websocket: bool,
    /// The beginning of an answer that is none of a websocket.
    pub body: Vec<u8>,
}

/// Opens a websocket and closes it again. Never longer than `within`.
///
/// # Errors
/// What stood in the way of an answer. Cancel safe.
pub async fn open_websocket(
    place: Place<'_>,
    mut asked: Asked,
    within: Duration,
) -> Result<Opened, ProbeFailure> {
    let key = generate_key();
    let keep = asked.keep;
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", &key),
    ] {
        let value = http::HeaderValue::from_str(value);
        let value = value.map_err(|error| ProbeFailure::Unsendable(error.into()))?;
        asked.headers.insert(name, value);
    }
    let opening = async {
        let request = request(asked)?;
        let stream = dial(place, within).await?;
        let (mut sender, connection) = http1::Builder::new()
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ProbeFailure::Broken)?;
        let drive = async {
            drop(connection.with_upgrades().await);
            std::future::pending::<Infallible>().await
        };
        let exchange = async {
            let answer = sender.send_request(request).await;
            let answer = answer.map_err(ProbeFailure::Broken)?;
            let status = answer.status().as_u16();
            if status != 101 {
                // A status that is wrong already is told even when its body breaks off.
                let read = read(answer.into_body(), keep).await;
                return Ok(Opened {
                    status,
                    is_websocket: false,
                    body: read.map(|read| read.kept).unwrap_or_default(),
                });
            }
            let proof = answer.headers().get("sec-websocket-accept");
            let is_websocket = proof
                .is_some_and(|it| it.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes());
            goodbye(answer).await;
            Ok(Opened {
                status,
                is_websocket,
                body: Vec::new(),
            })
        };
        tokio::select! {
            opened = exchange => opened,
            never = drive => match never {},
        }
    };
    let opened = tokio::time::timeout(within, opening).await;
    opened.unwrap_or(Err(ProbeFailure::Timeout(within)))
}

/// Closes it in good order; who does not listen any more is left all the same.
async fn goodbye(answer: http::Response<Incoming>) {
    if let Ok(socket) = hyper::upgrade::on(answer).await {
        let mut socket = TokioIo::new(socket);
        drop(socket.write_all(&CLOSE).await);
        drop(socket.shutdown().await);
    }
}

async fn dial(place: Place<'_>, within: Duration) -> Result<Stream, ProbeFailure> {
    let mut introduction = Vec::new();
    if let Some(version) = place.proxy_protocol {
        write_introduction(version, None, &mut introduction);
    }
    let call = Call {
        terms: place.terms,
        dialer: tls::Dialer::Probe,
        introduction: &introduction,
        dial: Dial::within(within),
    };
    let stream = connect(place.address, call).await;
    stream.map_err(ProbeFailure::of_connect)
}

fn request(asked: Asked) -> Result<http::Request<Full<Bytes>>, ProbeFailure> {
    let request = http::Request::builder()
        .method(asked.method)
        .uri(asked.path)
        .body(Full::new(asked.body));
    let mut request = request.map_err(ProbeFailure::Unsendable)?;
    *request.headers_mut() = asked.headers;
    Ok(request)
}

struct Read {
    kept: Vec<u8>,
    is_whole: bool,
}

async fn read(mut body: Incoming, keep: usize) -> Result<Read, hyper::Error> {
    let mut kept = Vec::new();
    let mut length = 0_u64;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        length += data.len() as u64;
        let room = keep - kept.len();
        kept.extend_from_slice(&data[..data.len().min(room)]);
        if length > MOST {
            break;
        }
    }
    let is_whole = kept.len() as u64 == length;
    Ok(Read { kept, is_whole })
}
