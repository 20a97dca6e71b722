//! Answers: whole documents, and streams of lines.

use super::problem::NoRoute;
use crate::api::Problem;
use bytes::Bytes;
use http::HeaderValue;
use http::Response;
use http::header::ALLOW;
use http::header::CONTENT_TYPE;
use hyper::body::Frame;
use hyper::body::SizeHint;
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use tokio::sync::mpsc;

/// How many lines may wait for a slow client.
const WAITING: usize = 16;

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Body {
    /// None once it was taken.
    Whole(Option<Bytes>),
    Lines(mpsc::Receiver<Bytes>),
}

pub(super) type Answer = Response<Body>;

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Lines(lines) => lines.poll_recv(cx),
        };
        bytes.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Lines(_) => SizeHint::new(),
        }
    }
}

fn whole(content_type: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Body::Whole(Some(bytes.into())));
    let value = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, value);
    answer
}

pub(super) fn text(content_type: &'static str, text: String) -> Answer {
    whole(content_type, text)
}

/// One document, with a newline behind it for whoever reads it on a terminal.
pub(super) fn json(document: &impl Serialize) -> Answer {
    whole("application/json", line(document))
}

pub(super) fn problem(problem: &Problem) -> Answer {
    let mut answer = whole("application/problem+json", line(problem));
    *answer.status_mut() = http::StatusCode::from_u16(problem.status)
        .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

pub(super) fn no_route(wrong: &NoRoute) -> Answer {
    let mut answer = problem(&wrong.problem);
    for allow in &wrong.allow {
        if let Ok(allow) = HeaderValue::from_str(allow.as_str()) {
            answer.headers_mut().append(ALLOW, allow);
        }
    }
    answer
}

/// An answer whose lines are sent later.
pub(super) fn lines() -> (mpsc::Sender<Bytes>, Answer) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut answer = Response::new(Body::Lines(receiver));
    let value = HeaderValue::from_static("application/x-ndjson");
    answer.headers_mut().insert(CONTENT_TYPE, value);
    (sender, answer)
}

pub(super) fn line(document: &impl Serialize) -> Bytes {
    let mut bytes = serde_json::to_vec(document)
        .expect("the API's documents hold nothing that JSON cannot say");
    bytes.push(b'\n');
    bytes.into()
}
