//! HTTP/1 over the admin socket, or to a URL.

use super::failure::Failure;
use super::place::Place;
use crate::api::Problem;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;

/// For an answer's head, and for a whole document: far above anything healthy.
const PATIENCE: Duration = Duration::from_mins(1);
const CONNECT: Duration = Duration::from_secs(5);
const LARGEST_DOCUMENT: usize = 64 << 20;
const LONGEST_LINE: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Client {
    place: Place,
}

/// A whole answer, as it came.
#[derive(Debug)]
pub(super) struct Document {
    place: Place,
    pub(super) text: String,
}

/// An answer of one JSON object per line.
#[derive(Debug)]
pub(super) struct Lines {
    place: Place,
    body: Incoming,
    buffer: Vec<u8>,
}

impl Client {
    /// Behind a socket.
    pub(super) fn new(socket: PathBuf) -> Self {
        Self::at(Place::Socket(socket))
    }

    pub(super) fn at(place: Place) -> Self {
        Self { place }
    }

    /// Empty where it talks to a URL.
    pub(super) fn socket(&self) -> &Path {
        match &self.place {
            Place::Socket(path) => path,
            Place::Web(_) => Path::new(""),
        }
    }

    /// For what works beside the daemon, on its machine.
    pub(super) fn must_be_here(&self, what: &str) -> Result<(), Failure> {
        match &self.place {
            Place::Socket(_) => Ok(()),
            Place::Web(_) => Err(Failure::Usage(format!(
                "{what} works on the machine of switchd, through its socket; leave --url and SWITCHD_URL out"
            ))),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Document, Failure> {
        self.document(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Document, Failure> {
        self.document(Method::DELETE, path, Bytes::new()).await
    }

    pub(super) async fn post(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Document, Failure> {
        self.document(Method::POST, path, encode(body)?).await
    }

    /// The lines of an endless answer.
    pub(super) async fn lines(&self, path: &str) -> Result<Lines, Failure> {
        self.stream(Method::GET, path, Bytes::new()).await
    }

    /// Starts an operation; the lines are its own event stream.
    pub(super) async fn operate(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Lines, Failure> {
        self.stream(Method::POST, path, encode(body)?).await
    }

    async fn document(&self, method: Method, path: &str, body: Bytes) -> Result<Document, Failure> {
        let response = self.send(method, path, body).await?;
        let status = response.status();
        let text = self.text(response.into_body()).await?;
        if status.is_success() {
            Ok(Document {
                place: self.place.clone(),
                text,
            })
        } else {
            Err(self.refused(status, &text))
        }
    }

    async fn stream(&self, method: Method, path: &str, body: Bytes) -> Result<Lines, Failure> {
        let response = self.send(method, path, body).await?;
        let status = response.status();
        let body = response.into_body();
        if !status.is_success() {
            let text = self.text(body).await?;
            return Err(self.refused(status, &text));
        }
        Ok(Lines {
            place: self.place.clone(),
            body,
            buffer: Vec::new(),
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let stream = timeout(CONNECT, self.place.connect(CONNECT))
            .await
            .map_err(|_| self.unreachable(io::ErrorKind::TimedOut.into()))?
            .map_err(|cause| self.unreachable(cause))?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.place.prefix()))
            .header(header::HOST, self.place.host())
            .header(header::ACCEPT, "application/json")
            .header(
                header::USER_AGENT,
                concat!("switchctl/", env!("CARGO_PKG_VERSION")),
            )
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|cause| Failure::Usage(cause.to_string()))?;
        if let Some(authorization) = self.place.authorization()? {
            let headers = request.headers_mut();
            headers.insert(header::AUTHORIZATION, authorization);
        }
        let exchange = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // Ends with the answer's last byte; its errors also reach whoever reads the answer.
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        timeout(PATIENCE, exchange)
            .await
            .map_err(|_| self.unreachable(io::ErrorKind::TimedOut.into()))?
            .map_err(|cause| self.broken(&format!("the connection to switchd broke: {cause}")))
    }

    async fn text(&self, body: Incoming) -> Result<String, Failure> {
        let body = http_body_util::Limited::new(body, LARGEST_DOCUMENT);
        let bytes = timeout(PATIENCE, body.collect())
            .await
            .map_err(|_| self.unreachable(io::ErrorKind::TimedOut.into()))?
            .map_err(|cause| self.broken(&format!("the answer of switchd broke off: {cause}")))?
            .to_bytes();
        String::from_utf8(bytes.into())
            .map_err(|_| self.broken("the answer of switchd is not text"))
    }

    fn refused(&self, status: StatusCode, text: &str) -> Failure {
        match serde_json::from_str::<Problem>(text) {
            Ok(problem) => Failure::Refused(Box::new(problem)),
            Err(_) => self.broken(&format!(
                "switchd answered HTTP {status} without saying why"
            )),
        }
    }

    fn unreachable(&self, cause: io::Error) -> Failure {
        Failure::Unreachable {
            place: self.place.clone(),
            cause,
        }
    }

    fn broken(&self, what: &str) -> Failure {
        Failure::Broken {
            place: self.place.clone(),
            what: what.to_owned(),
        }
    }
}

impl Document {
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.text).map_err(|cause| Failure::Broken {
            place: self.place.clone(),
            what: format!("the answer of switchd is not what was expected: {cause}"),
        })
    }
}

impl Lines {
    /// The next line; none at the end. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return String::from_utf8(line)
                    .map(Some)
                    .map_err(|_| self.broken("an event of switchd is not text"));
            }
            if self.buffer.len() > LONGEST_LINE {
                return Err(self.broken("an event of switchd has no end"));
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(self.broken("the last event of switchd broke off")),
                Some(Err(cause)) => {
                    return Err(self.broken(&format!("the event stream broke: {cause}")));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    pub(super) fn broken(&self, what: &str) -> Failure {
        Failure::Broken {
            place: self.place.clone(),
            what: what.to_owned(),
        }
    }
}

fn encode(body: &impl Serialize) -> Result<Bytes, Failure> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|cause| Failure::Usage(cause.to_string()))
}
