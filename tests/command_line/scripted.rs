//! An admin server that knows its answers by heart.

use crate::program::{Ended, run};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::net::UnixListener;

/// What one request is answered with.
#[derive(Clone)]
pub(crate) enum Answer {
    Document(StatusCode, String),
    /// Lines, then the end.
    Lines(Vec<String>),
    /// Lines, and then nothing more, for ever.
    Open(Vec<String>),
}

pub(crate) fn document(text: impl Into<String>) -> Answer {
    Answer::Document(StatusCode::OK, text.into())
}

/// A body that ends, or stays open, after its last line.
struct Script {
    lines: std::vec::IntoIter<String>,
    then: Then,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    End,
    StayOpen,
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.lines.next() {
            Some(line) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(line + "\n"))))),
            None if self.then == Then::StayOpen => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

/// The other end of the admin socket.
pub(crate) struct Daemon {
    folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    /// Answers `METHOD path` from the list; everything else is a 404 without a reason.
    pub(crate) fn start(answers: &[(&str, Answer)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("admin.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: Arc<Vec<(String, Answer)>> = Arc::new(
            answers
                .iter()
                .map(|(line, answer)| ((*line).to_owned(), answer.clone()))
                .collect(),
        );
        tokio::spawn(serve(listener, answers, Arc::clone(&asked)));
        Self { folder, asked }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    /// Request lines with their bodies, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        run(&self.socket(), arguments).await
    }
}

async fn serve(
    listener: UnixListener,
    answers: Arc<Vec<(String, Answer)>>,
    asked: Arc<Mutex<Vec<String>>>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
            async move { Ok::<_, Infallible>(answer(request, &answers, &asked).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn answer(
    request: Request<Incoming>,
    answers: &[(String, Answer)],
    asked: &Mutex<Vec<String>>,
) -> Response<Either<Full<Bytes>, Script>> {
    let line = format!("{} {}", request.method(), request.uri());
    let has_body = request.method() == Method::POST;
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.into()).unwrap();
    asked.lock().unwrap().push(if has_body {
        format!("{line} {body}")
    } else {
        line.clone()
    });
    let (status, body) = match answers.iter().find(|(known, _)| *known == line) {
        None => (StatusCode::NOT_FOUND, Either::Left(Full::default())),
        Some((_, Answer::Document(status, text))) => {
            (*status, Either::Left(Full::from(text.clone())))
        }
        Some((_, Answer::Lines(lines))) => {
            (StatusCode::OK, Either::Right(script(lines, Then::End)))
        }
        Some((_, Answer::Open(lines))) => {
            (StatusCode::OK, Either::Right(script(lines, Then::StayOpen)))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn script(lines: &[String], then: Then) -> Script {
    let lines: Vec<String> = lines.to_vec();
    Script {
        lines: lines.into_iter(),
        then,
    }
}
