//! One request of an HTTP/2 connection, from its head to the last byte of its answer.

use super::answer::Answer;
use super::answer::Halt;
use super::head;
use super::head::Malformed;
use super::outbox::Portion;
use super::session::Begun;
use super::upload::Upload;
use crate::net::Buffer;
use crate::net::Remote;
use crate::net::Stream;
use crate::proxy::Client;
use crate::proxy::Fault;
use crate::proxy::State;
use crate::proxy::Timer;
use crate::proxy::exchange;
use h2::Reason;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use std::future::Future;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

/// How long a client that is still sending may take to see its answer.
const LINGER: Duration = Duration::from_secs(1);

/// Both directions of one stream.
struct Carrier {
    remote: Remote,
    body: RecvStream,
    upload: Upload,
    answer: Answer,
}

/// Serves one request.
pub(super) async fn serve(
    begun: Begun,
    request: Request<RecvStream>,
    mut respond: SendResponse<Portion>,
) {
    let session = &begun.0;
    let (parts, body) = request.into_parts();
    let mut input = Buffer::default();
    let asked = match head::write(&parts, body.is_end_stream(), &mut input) {
        Ok(asked) => asked,
        Err(Malformed(why)) => {
            tracing::debug!(client = %session.peer.text, error = why, "malformed request refused");
            session.proxy.metrics.refused(400);
            session.line.given_up();
            return respond.send_reset(Reason::PROTOCOL_ERROR);
        }
    };
    drop(parts);
    let (stream, remote) = Stream::memory();
    let flight = session.proxy.borrow_flight(&session.peer.text);
    // Its head is here: a stop must not take it for an idle connection.
    flight.state.set(State::Reading);
    let enlisted = session.proxy.enlist(flight.clone());
    let mut client = Client {
        stream,
        input,
        peer: session.peer.clone(),
        flight,
    };
    let mut carrier = Carrier {
        remote,
        body,
        upload: asked.upload,
        answer: Answer::new(session.clone(), respond, asked.is_head, asked.accept),
    };
    let mut halt = carrier.serve(&begun, &mut client).await;
    if halt == Halt::NeedsRoom {
        // The engine is done; what is left waits for the client's window.
        halt = carrier.finish(&begun, &client).await;
    }
    match halt {
        Halt::Ended => {
            session.line.answered();
            carrier.linger(&client).await;
        }
        Halt::NeedsBytes | Halt::NeedsRoom => carrier.answer.cut(Reason::INTERNAL_ERROR),
        Halt::Gone => {
            session.line.given_up();
            carrier.answer.cut(Reason::CANCEL);
        }
    }
    drop(carrier);
    drop(enlisted);
    session.proxy.return_flight(client.flight);
}

impl Carrier {
    /// Runs the engine and carries its bytes until it is done.
    async fn serve(&mut self, begun: &Begun, client: &mut Client) -> Halt {
        if poll_fn(|cx| Poll::Ready(self.answer.is_given_up(cx))).await {
            // Before anybody upstream has heard of it.
            return Halt::Gone;
        }
        let mut engine = pin!(exchange(&begun.0.proxy, client));
        poll_fn(|cx| {
            loop {
                let is_done = engine.as_mut().poll(cx).is_ready();
                let halt = self.advance(cx);
                if is_done {
                    return Poll::Ready(halt);
                }
                if !self.remote.take_stirred() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Carries what is left to a client that takes it slowly.
    async fn finish(&mut self, begun: &Begun, client: &Client) -> Halt {
        let (flight, session) = (&client.flight, &begun.0);
        flight.state.set(State::Closing);
        let patience = session.proxy.view().limits.idle_timeout;
        flight.arm(Timer::ClientIdle, patience);
        let rest = poll_fn(|cx| {
            let before = self.remote.outward(|out| out.len());
            let halt = self.advance(cx);
            if halt != Halt::NeedsRoom {
                return Poll::Ready(Ok::<_, Fault>(halt));
            }
            if self.remote.outward(|out| out.len()) < before {
                flight.arm(Timer::ClientIdle, patience);
            }
            Poll::Pending
        });
        flight.guard(rest).await.unwrap_or(Halt::NeedsRoom)
    }

    /// Waits for the client to see that its answer is complete, and to send no more: some take the reset that
    /// follows for a failure. What comes meanwhile is forgotten, and its window stays as it is.
    async fn linger(&mut self, client: &Client) {
        if self.upload == Upload::None {
            return;
        }
        let flight = &client.flight;
        flight.state.set(State::Closing);
        flight.arm(Timer::ClientIdle, LINGER);
        let body = &mut self.body;
        let forget = async {
            while let Some(Ok(_)) = body.data().await {}
            Ok(())
        };
        // Either way the stream ends now.
        let _ = flight.guard(forget).await;
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Halt {
        self.remote.watch(cx);
        self.upload.advance(&mut self.body, &self.remote, cx);
        let halt = self.answer.advance(&self.remote, cx);
        if halt == Halt::Gone {
            self.remote.reset(cx);
        }
        halt
    }
}
