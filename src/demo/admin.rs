//! The admin API as the demo uses it: over the real socket.

use crate::api::EventKind;
use crate::api::FlipRequest;
use crate::api::Problem;
use crate::api::Status;
use crate::api::StreamEvent;
use crate::api::Verdict;
use anyhow::Context;
use anyhow::bail;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::path::PathBuf;
use tokio::net::UnixStream;

/// A line of the stream is an event of a few hundred bytes.
const LONGEST_LINE: usize = 64 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Admin {
    socket: PathBuf,
}

impl Admin {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub(super) async fn status(&self) -> anyhow::Result<Status> {
        let body = self.call("GET", "/v1/status", Bytes::new()).await?;
        let body = body.into_body().collect().await?.to_bytes();
        serde_json::from_slice(&body).context("the status is not what this version knows")
    }

    pub(super) async fn events(&self) -> anyhow::Result<Events> {
        self.stream("GET", "/v1/events", Bytes::new()).await
    }

    /// Flips and waits until the old slot is drained; the error holds the refusal.
    pub(super) async fn flip(&self, service: &str, to: &str) -> anyhow::Result<()> {
        let request = FlipRequest {
            rehearse: false,
            version: None,
            to: to.to_owned(),
            reason: Some("the demo flips by itself".to_owned()),
            ..FlipRequest::default()
        };
        let path = format!("/v1/services/{service}/flip");
        let body = serde_json::to_vec(&request)?;
        let mut events = self.stream("POST", &path, body.into()).await?;
        while let Some(event) = events.next().await? {
            if let EventKind::Done {
                verdict, reasons, ..
            } = event.kind
            {
                return match verdict {
                    Verdict::Done => Ok(()),
                    _ => bail!("the flip to {to} ended {verdict:?}: {}", reasons.join("; ")),
                };
            }
        }
        bail!("the flip to {to} told no end")
    }

    async fn stream(&self, method: &str, path: &str, body: Bytes) -> anyhow::Result<Events> {
        let response = self.call(method, path, body).await?;
        Ok(Events {
            body: response.into_body(),
            read: Vec::new(),
        })
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Its errors reach the request that waits on it.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, HeaderValue::from_static("switchd"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => bail!(
                "{}: {} {}",
                problem.title,
                problem.detail,
                problem.reasons.join("; ")
            ),
            Err(_) => bail!("{method} {path} was answered with HTTP {status}"),
        }
    }
}

/// A stream of events, one JSON object per line.
#[derive(Debug)]
pub(super) struct Events {
    body: Incoming,
    read: Vec<u8>,
}

impl Events {
    /// The next event; none at the end of the stream. Cancel safe.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<StreamEvent>> {
        loop {
            while let Some(end) = memchr::memchr(b'\n', &self.read) {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(serde_json::from_slice(&line)?));
                }
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            if let Ok(data) = frame?.into_data() {
                self.read.extend_from_slice(&data);
            }
            if self.read.len() > LONGEST_LINE {
                bail!("an event of more than {LONGEST_LINE} bytes");
            }
        }
    }
}
