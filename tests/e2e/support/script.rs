//! What a [`super::Backend`] does when a request arrives.

use super::wire::Wire;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;

/// Holds an answer back until the test says so.
#[derive(Debug, Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn passed(&self) {
        let mut state = self.0.subscribe();
        // The sender lives as long as `self`.
        state.wait_for(|open| *open).await.ok();
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// These exact bytes.
    Send(Vec<u8>),
    Wait(Gate),
    /// Lets so much time pass: an upstream that takes its time.
    Take(Duration),
    /// Reads the request's body to its end.
    TakeBody,
    /// Answers with the request's body.
    SendBodyBack,
    /// From here on every byte goes back as it came.
    Echo,
    /// Speaks the websocket protocol: a text goes back with the backend's name in front.
    Websocket,
    /// The connection is the test's from here on.
    Hand(Sender<Wire>),
    /// Ends the connection in order.
    Close,
    /// Ends TCP in order, and TLS without its goodbye.
    Hangup,
    /// Ends the connection with a reset.
    Reset,
    /// Neither answers nor goes away, until the peer does.
    Hang,
}

impl Step {
    pub(crate) fn send(bytes: impl AsRef<[u8]>) -> Self {
        Self::Send(bytes.as_ref().to_vec())
    }
}

/// The answer to one path.
#[derive(Debug, Clone)]
pub(crate) struct Reply(pub(crate) Vec<Step>);

impl Reply {
    /// These steps and no other: the body of the request stays unread unless a step reads it.
    pub(crate) fn steps(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(steps.into_iter().collect())
    }

    /// The whole body of the request, then these exact bytes.
    pub(crate) fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self(vec![Step::TakeBody, Step::send(bytes)])
    }

    /// As [`Reply::raw`], then the connection ends.
    pub(crate) fn raw_then_close(bytes: impl AsRef<[u8]>) -> Self {
        Self(vec![Step::TakeBody, Step::send(bytes), Step::Close])
    }

    pub(crate) fn status(status: u16, body: &str) -> Self {
        let length = body.len();
        Self::raw(format!(
            "HTTP/1.1 {status} Crafted\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    /// A plain 200 that waits for `gate`.
    pub(crate) fn held(gate: &Gate) -> Self {
        Self(vec![
            Step::TakeBody,
            Step::Wait(gate.clone()),
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld"),
        ])
    }

    /// A plain 200 that takes so long.
    pub(crate) fn slow(takes: Duration) -> Self {
        Self(vec![
            Step::TakeBody,
            Step::Take(takes),
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"),
        ])
    }

    pub(crate) fn never() -> Self {
        Self(vec![Step::TakeBody, Step::Hang])
    }
}
