//! Takes connections on the admin socket and answers requests.

use super::actions::Asked;
use super::answer;
use super::answer::Answer;
use super::peer;
use super::problem;
use super::problem::Wrong;
use super::routes;
use super::socket::Socket;
use crate::control::Handle;
use crate::edge::Edge;
use crate::switch::Actor;
use crate::telemetry::AccessLog;
use bytes::Bytes;
use http::HeaderValue;
use http::Request;
use http::StatusCode;
use http::header::ALLOW;
use http_body_util::BodyExt;
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

/// Clients at the same time; more wait to be taken.
const CONNECTIONS: usize = 64;
/// The largest request body; a command is a few hundred bytes.
const BODY: usize = 64 * 1024;
/// How long a client may take for a head, and for a body.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait when the process is out of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// The admin API and what it asks.
#[derive(Debug)]
pub struct Admin {
    pub(super) control: Handle,
    pub(super) edge: Arc<Edge>,
    pub(super) access_log: Arc<AccessLog>,
}

impl Admin {
    #[must_use]
    pub fn new(control: Handle, edge: Arc<Edge>, access_log: Arc<AccessLog>) -> Self {
        Self {
            control,
            edge,
            access_log,
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
        let admin = Arc::new(self);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((client, _)) => {
                    let admin = Arc::clone(&admin);
                    tokio::spawn(async move {
                        admin.connection(client).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(error = %error, "cannot accept on the admin socket");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
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
        let route = match routes::find(&head.method, head.uri.path()) {
            Ok(route) => route,
            Err(wrong) => {
                let mut answer = answer::problem(&wrong.problem);
                let allow = wrong
                    .allow
                    .and_then(|it| HeaderValue::from_str(it.as_str()).ok());
                if let Some(allow) = allow {
                    answer.headers_mut().insert(ALLOW, allow);
                }
                return answer;
            }
        };
        let acted = async {
            let body = whole(body).await?;
            let query = head.uri.query();
            self.act(route, Asked { by, query, body }).await
        };
        acted
            .await
            .unwrap_or_else(|problem| answer::problem(&problem))
    }
}

async fn whole(body: Incoming) -> Result<Bytes, Wrong> {
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
