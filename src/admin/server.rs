//! Takes connections on the admin socket and answers requests.

use super::actions::Asked;
use super::answer;
use super::answer::Answer;
use super::clients;
use super::clients::Door;
use super::peer;
use super::problem;
use super::problem::Wrong;
use super::routes;
use super::sight::Sight;
use super::socket::Socket;
use crate::acme::Known;
use crate::control::Handle;
use crate::edge::Edge;
use crate::switch::Actor;
use crate::telemetry::AccessLog;
use crate::telemetry::CallCounts;
use bytes::Bytes;
use http::Request;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::net::UnixStream;

const DOOR: Door = Door {
    name: "admin socket",
    places: 64,
};
/// The largest request body; a command is a few hundred bytes.
const BODY: usize = 64 * 1024;
/// How long a client may take for a head, and for a body.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The admin API and what it asks.
#[derive(Debug, Clone)]
pub struct Admin {
    pub(super) control: Handle,
    pub(super) edge: Arc<Edge>,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) metrics_at: Option<SocketAddr>,
    pub(super) api_at: Option<SocketAddr>,
    pub(super) calls: Arc<CallCounts>,
    pub(super) acme: Arc<Known>,
}

impl Admin {
    #[must_use]
    pub fn new(control: Handle, edge: Arc<Edge>, access_log: Arc<AccessLog>) -> Self {
        Self {
            control,
            edge,
            access_log,
            metrics_at: None,
            api_at: None,
            calls: Arc::default(),
            acme: Arc::default(),
        }
    }

    /// The status says that the page is shown there too.
    #[must_use]
    pub fn metrics_at(self, address: Option<SocketAddr>) -> Self {
        Self {
            metrics_at: address,
            ..self
        }
    }

    /// The status says that the API is spoken there too.
    #[must_use]
    pub fn api_at(self, address: Option<SocketAddr>) -> Self {
        Self {
            api_at: address,
            ..self
        }
    }

    /// The status tells how it stands with certificates that get themselves.
    #[must_use]
    pub fn acme(self, known: Arc<Known>) -> Self {
        Self {
            acme: known,
            ..self
        }
    }

    /// Serves until it is dropped. The socket's file is removed then.
    pub async fn serve(self, socket: Socket) {
        let (listener, _file) = socket.into_parts();
        let listener = match UnixListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(error = %error, "cannot serve the admin socket");
                return;
            }
        };
        clients::take(
            DOOR,
            |cx| listener.poll_accept(cx),
            |(client, _)| {
                let admin = self.clone();
                async move { admin.connection(client).await }
            },
        )
        .await;
    }

    async fn connection(&self, client: UnixStream) {
        let actor = match client.peer_cred() {
            Ok(credentials) => peer::actor(credentials.uid()),
            Err(_) => Actor("unknown user".to_owned()),
        };
        let service = service_fn(|request| async {
            Ok::<Answer, Infallible>(self.answer(request, actor.clone()).await)
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .max_buf_size(BODY)
            .serve_connection(TokioIo::new(client), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(error = %error, "admin connection ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>, by: Actor) -> Answer {
        let (head, body) = request.into_parts();
        let found = match routes::find(&head.method, head.uri.path()) {
            Ok(found) => found,
            Err(wrong) => return answer::no_route(&wrong),
        };
        let acted = async {
            let body = whole(body).await?;
            let query = head.uri.query();
            let sight = Sight::Everything;
            let asked = Asked {
                by,
                sight,
                query,
                body,
            };
            self.act(found, asked).await
        };
        acted
            .await
            .unwrap_or_else(|problem| answer::problem(&problem))
    }
}

pub(super) async fn whole(body: Incoming) -> Result<Bytes, Wrong> {
    let collected = tokio::time::timeout(PATIENCE, Limited::new(body, BODY).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let detail = format!("a body has at most {BODY} bytes");
            Err(problem::plain(StatusCode::PAYLOAD_TOO_LARGE, &detail))
        }
        Ok(Err(_)) => Err(problem::bad_request("the body broke off")),
        Err(_) => {
            let detail = format!("the body did not arrive within {PATIENCE:?}");
            Err(problem::plain(StatusCode::REQUEST_TIMEOUT, &detail))
        }
    }
}
