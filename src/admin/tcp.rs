//! The admin API over TCP: for whoever shows a token, and every call is kept.

use super::actions::Asked;
use super::answer;
use super::answer::Answer;
use super::answer::Body;
use super::attempts::Allowance;
use super::attempts::Attempts;
use super::bearer::Bearer;
use super::calls::Calls;
use super::clients;
use super::clients::Door;
use super::problem;
use super::problem::Wrong;
use super::routes;
use super::server::Admin;
use super::server::PATIENCE;
use super::server::whole;
use crate::filter::Crowd;
use crate::net::Stream;
use crate::net::listen_alone;
use crate::switch::Actor;
use crate::telemetry::CallEnd;
use http::HeaderValue;
use http::Request;
use http::StatusCode;
use http::header::RETRY_AFTER;
use http::header::WWW_AUTHENTICATE;
use http::request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use socket2::SockRef;
use socket2::TcpKeepalive;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::time::Instant;

const DOOR: Door = Door {
    name: "admin api",
    places: 64,
};
/// Connections of one client; further ones are closed at once.
const FROM_ONE: usize = 16;
/// The largest head of a request.
const HEAD: usize = 16 * 1024;
/// A client that takes nothing for so long, or is gone without a word, is let go.
const SILENCE: Duration = Duration::from_mins(1);
/// Between two looks whether a token is still known, while an answer goes on.
const LOOKS: Duration = Duration::from_secs(1);
/// Of a path that is kept.
const PATH: usize = 200;

/// The address that the API is spoken at.
#[derive(Debug)]
pub struct Api {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

/// Why that address cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for [admin.tcp]; stop what listens there, or choose another address"
)]
pub struct ApiError {
    address: SocketAddr,
    #[source]
    cause: io::Error,
}

impl Api {
    /// # Errors
    /// The operating system's: the address is in use, is not ours, or needs more rights.
    pub fn bind(address: SocketAddr) -> Result<Self, ApiError> {
        let bound = listen_alone(address).and_then(|listener| {
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        });
        bound.map_err(|cause| ApiError { address, cause })
    }

    /// As bound: a configured port 0 is a real one here.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What all connections share.
#[derive(Debug)]
struct Desk {
    admin: Admin,
    crowd: Arc<Crowd>,
    attempts: Attempts,
    calls: Calls,
}

/// One connection; it carries one call.
#[derive(Debug, Clone)]
struct Visit {
    desk: Arc<Desk>,
    from: IpAddr,
    /// Who it is, once that is known.
    bearer: Arc<OnceLock<Bearer>>,
}

impl Admin {
    /// Serves the API on an address of its own until it is dropped.
    pub async fn serve_tcp(self, api: Api) {
        let listener = TcpListener::from_std(api.listener);
        let calls = Calls::start(self.control.call_log());
        let (listener, calls) = match (listener, calls) {
            (Ok(listener), Ok(calls)) => (listener, calls),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(error = %error, "cannot serve the admin API over TCP");
                return;
            }
        };
        let desk = Arc::new(Desk {
            admin: self,
            crowd: Arc::default(),
            attempts: Attempts::default(),
            calls,
        });
        clients::take(
            DOOR,
            |cx| listener.poll_accept(cx),
            |(client, address)| {
                let visit = Visit {
                    desk: Arc::clone(&desk),
                    from: address.ip().to_canonical(),
                    bearer: Arc::default(),
                };
                async move { visit.take(client).await }
            },
        )
        .await;
    }
}

impl Visit {
    async fn take(self, client: TcpStream) {
        let Some(_counted) = self.desk.crowd.enter(self.from, FROM_ONE) else {
            tracing::debug!(from = %self.from, "too many admin connections from one client");
            return;
        };
        let stream = match tokio::time::timeout(PATIENCE, self.secured(client)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(from = %self.from, error = %error, "no admin connection");
                return;
            }
            Err(_) => return,
        };
        let service =
            service_fn(|request| async { Ok::<Answer, Infallible>(self.answer(request).await) });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .keep_alive(false)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::debug!(error = %error, "admin connection ended early");
            },
            () = self.revoked() => {
                tracing::info!(from = %self.from, "admin connection ended: its token is not known any more");
            }
        }
    }

    async fn secured(&self, client: TcpStream) -> io::Result<Stream> {
        let socket = SockRef::from(&client);
        // Streams may be silent for hours: the kernel notices who is gone, and who takes nothing.
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE))?;
        socket.set_tcp_user_timeout(Some(SILENCE))?;
        let doorway = self.desk.admin.control.doorway();
        let Some(tls) = &doorway.tls else {
            return Ok(client.into());
        };
        let secured = tls.accept(client).await.map_err(io::Error::other)?;
        Ok(secured.stream)
    }

    /// Never for who has not said yet who it is.
    async fn revoked(&self) {
        let mut looks = tokio::time::interval(LOOKS);
        loop {
            looks.tick().await;
            let doorway = self.desk.admin.control.doorway();
            if let Some(bearer) = self.bearer.get()
                && !bearer.is_known(&doorway)
            {
                return;
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let doorway = self.desk.admin.control.doorway();
        let Some(bearer) = Bearer::of(&head.headers, self.from, &doorway) else {
            return self.turned_away(&head);
        };
        let _ = self.bearer.set(bearer.clone());
        let acted = self.act(&bearer, &head, body).await;
        let answer = acted.unwrap_or_else(|wrong| answer::problem(&wrong));
        if !self.keep(&bearer.actor(), &head, &answer, started) {
            return busy();
        }
        answer
    }

    async fn act(
        &self,
        bearer: &Bearer,
        head: &request::Parts,
        body: Incoming,
    ) -> Result<Answer, Wrong> {
        let found = match routes::find(&head.method, head.uri.path()) {
            Ok(found) => found,
            Err(wrong) => return Ok(answer::no_route(&wrong)),
        };
        bearer.may(&found)?;
        let asked = Asked {
            by: bearer.actor(),
            sight: bearer.sight(),
            query: head.uri.query(),
            body: whole(body).await?,
        };
        self.desk.admin.act(found, asked).await
    }

    /// Without a token that is known; the same whatever was asked for.
    fn turned_away(&self, head: &request::Parts) -> Answer {
        let wait = match self.desk.attempts.failed(self.from, Instant::now()) {
            // Nor is it kept: who tries all the time must not fill the disk.
            Allowance::Spent(wait) => {
                self.desk.admin.calls.count(CallEnd::Limited);
                wait
            }
            Allowance::Left => {
                let detail = "show a token: Authorization: Bearer TOKEN";
                let wrong = problem::plain(StatusCode::UNAUTHORIZED, detail);
                let mut answer = answer::problem(&wrong);
                let scheme = HeaderValue::from_static("Bearer realm=\"switchd\"");
                answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
                tracing::warn!(from = %self.from, "admin API: no token that is known");
                let nobody = Actor(format!("nobody from {}", self.from));
                self.keep(&nobody, head, &answer, Instant::now());
                return answer;
            }
        };
        let detail = "too many attempts with tokens that are not known; wait, and show one that is";
        let wrong = problem::plain(StatusCode::TOO_MANY_REQUESTS, detail);
        let mut answer = answer::problem(&wrong);
        let seconds = HeaderValue::from(wait.as_secs() + 1);
        answer.headers_mut().insert(RETRY_AFTER, seconds);
        answer
    }

    /// Puts the call where all calls are kept. False when that is not possible.
    fn keep(&self, by: &Actor, head: &request::Parts, answer: &Answer, started: Instant) -> bool {
        let status = answer.status();
        let mut record = self.desk.admin.control.record(by, "call");
        let end = match status {
            StatusCode::UNAUTHORIZED => CallEnd::Unknown,
            status if status.is_success() => CallEnd::Done,
            status if status.is_server_error() => CallEnd::Failed,
            _ => CallEnd::Refused,
        };
        self.desk.admin.calls.count(end);
        let result = match end {
            CallEnd::Unknown => CallEnd::Refused.word(),
            end => end.word(),
        };
        result.clone_into(&mut record.result);
        let path: String = head.uri.path().chars().take(PATH).collect();
        let mut parts = path.split('/').skip(1);
        if let (Some("v1"), Some("services"), Some(service)) =
            (parts.next(), parts.next(), parts.next())
        {
            service.clone_into(&mut record.service);
        }
        let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        // A stream has only begun.
        record.took_ms = (!matches!(answer.body(), Body::Lines(_))).then_some(took);
        let status = status.as_u16();
        record.details = vec![format!("{} {path}: {status}", head.method)];
        self.desk.calls.keep(record)
    }
}

/// What would not be kept is not told either.
fn busy() -> Answer {
    let detail =
        "calls cannot be kept as fast as they come; look at the disk of the state directory";
    answer::problem(&problem::plain(StatusCode::SERVICE_UNAVAILABLE, detail))
}
