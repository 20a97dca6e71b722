//! One keep-alive connection to the proxy, and what it sends.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Longer than anything the demo does takes: an answer that is later than this is a lost one.
const PATIENCE: Duration = Duration::from_secs(15);

/// The body of a request.
pub(super) type Sent = BoxBody<Bytes, Infallible>;

/// A body that is there at once.
pub(super) fn whole(body: String) -> Sent {
    Full::from(body).boxed()
}

/// A body of equal parts with a pause after each: an upload from a slow client.
pub(super) fn paced(part: Bytes, count: u64, pause: Duration) -> Sent {
    let parts = futures_util::stream::unfold(count, move |left| {
        let part = part.clone();
        async move {
            let left = left.checked_sub(1)?;
            sleep(pause).await;
            Some((Ok(Frame::data(part)), left))
        }
    });
    BoxBody::new(StreamBody::new(parts))
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) slot: String,
    pub(super) body: String,
}

pub(super) struct Client {
    proxy: SocketAddr,
    connection: Option<SendRequest<Sent>>,
}

impl Client {
    pub(super) fn new(proxy: SocketAddr) -> Self {
        Self {
            proxy,
            connection: None,
        }
    }

    /// The next request opens a connection of its own.
    pub(super) fn hang_up(&mut self) {
        self.connection = None;
    }

    /// One request and its whole answer; the error says what went wrong, in words.
    ///
    /// A kept connection that turns out to be closed before anything was sent is replaced, as every
    /// client does; a request that was sent is never repeated.
    pub(super) async fn exchange(&mut self, request: Request<Sent>) -> Result<Answer, String> {
        tokio::time::timeout(PATIENCE, self.send(request))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
    }

    async fn send(&mut self, request: Request<Sent>) -> Result<Answer, String> {
        let mut connection = match self.connection.take() {
            Some(mut kept) => match kept.ready().await {
                Ok(()) => kept,
                Err(_) => connect(self.proxy).await?,
            },
            None => connect(self.proxy).await?,
        };
        let response = match connection.try_send_request(request).await {
            Ok(response) => response,
            Err(mut unsent) => {
                let Some(request) = unsent.take_message() else {
                    return Err(in_words(unsent.error()));
                };
                connection = connect(self.proxy).await?;
                let sent = connection.send_request(request).await;
                sent.map_err(|error| in_words(&error))?
            }
        };
        let answer = read(response).await?;
        self.connection = Some(connection);
        Ok(answer)
    }
}

async fn connect(proxy: SocketAddr) -> Result<SendRequest<Sent>, String> {
    let stream = TcpStream::connect(proxy)
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    // Without it a request only gets slower.
    let _ = stream.set_nodelay(true);
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| in_words(&error))?;
    // Its errors reach the request that waits on it.
    tokio::spawn(connection);
    Ok(sender)
}

async fn read(response: Response<Incoming>) -> Result<Answer, String> {
    let status = response.status();
    let slot = response.headers().get(super::upstreams::SLOT);
    let slot = slot.map_or_else(String::new, |slot| {
        String::from_utf8_lossy(slot.as_bytes()).into_owned()
    });
    let body = response.into_body().collect().await;
    let body = body
        .map_err(|error| format!("HTTP {status}, then {}", in_words(&error)))?
        .to_bytes();
    Ok(Answer {
        status,
        slot,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// hyper keeps the cause behind its own words; both are worth telling.
fn in_words(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
