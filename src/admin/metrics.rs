//! The Prometheus page: on the admin socket, and alone on a TCP address for those who may look only.

use super::answer;
use super::answer::Answer;
use super::clients;
use super::clients::Door;
use super::problem;
use super::problem::NoRoute;
use super::problem::Wrong;
use super::problem::plain;
use super::query::Query;
use super::server::Admin;
use crate::net::listen_alone;
use crate::telemetry::CONTENT_TYPE;
use crate::telemetry::ClientFigures;
use http::Method;
use http::Request;
use http::StatusCode;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;

/// A few Prometheus servers and a person; more wait to be taken.
const DOOR: Door = Door {
    name: "metrics",
    places: 16,
};
/// The largest head of a request.
const HEAD: usize = 16 * 1024;
/// From the first byte to the last of one visit; Prometheus waits no longer either.
const PATIENCE: Duration = Duration::from_secs(10);
const PATH: &str = "/metrics";

/// The address that shows the Prometheus page and nothing else.
#[derive(Debug)]
pub struct Metrics {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

/// Why that address cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for `metrics` of [admin]; stop what listens there, or choose another address"
)]
pub struct MetricsError {
    address: SocketAddr,
    #[source]
    cause: io::Error,
}

impl Metrics {
    /// # Errors
    /// The operating system's: the address is in use, is not ours, or needs more rights.
    pub fn bind(address: SocketAddr) -> Result<Self, MetricsError> {
        let bound = listen_alone(address).and_then(|listener| {
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        });
        bound.map_err(|cause| MetricsError { address, cause })
    }

    /// As bound: a configured port 0 is a real one here.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Admin {
    /// Shows the page on an address of its own until it is dropped. Changes nothing, whatever is asked.
    pub async fn serve_metrics(self, metrics: Metrics) {
        let listener = match TcpListener::from_std(metrics.listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(error = %error, "cannot serve the metrics");
                return;
            }
        };
        clients::take(
            DOOR,
            |cx| listener.poll_accept(cx),
            |(client, _)| {
                let admin = self.clone();
                visit(client, move |request| {
                    let admin = admin.clone();
                    async move { admin.look(request).await }
                })
            },
        )
        .await;
    }

    async fn look(&self, request: Request<Incoming>) -> Answer {
        if let Err(wrong) = admitted(request.method(), request.uri().path()) {
            return answer::no_route(&wrong);
        }
        let shown = match Query::parse(request.uri().query(), &[]) {
            Ok(_) => self.metrics().await,
            Err(wrong) => Err(wrong),
        };
        shown.unwrap_or_else(|wrong| answer::problem(&wrong))
    }

    pub(super) async fn metrics(&self) -> Result<Answer, Wrong> {
        let mut page = self.control.page().await.map_err(problem::denied)?;
        let counts = self.edge.counts();
        page.clients = Some(ClientFigures {
            connections: counts.connections,
            accepted: counts.accepted,
            turned_away: counts.turned_away,
            unrouted: counts.refused,
            access_log_dropped: self.access_log.dropped(),
        });
        Ok(answer::text(CONTENT_TYPE, page.render()))
    }
}

fn admitted(method: &Method, path: &str) -> Result<(), NoRoute> {
    if path != PATH {
        let detail = format!("there is no {path} here; {PATH} is all there is");
        return Err(NoRoute::path(plain(StatusCode::NOT_FOUND, &detail)));
    }
    if method != Method::GET {
        return Err(NoRoute::method(path, method, Method::GET));
    }
    Ok(())
}

/// One request and its answer, then the end: a connection that is kept would take a place from others.
async fn visit<C, A>(client: C, answer: impl Fn(Request<Incoming>) -> A)
where
    C: AsyncRead + AsyncWrite + Unpin,
    A: Future<Output = Answer>,
{
    let service = service_fn(|request| {
        let answer = answer(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let visit = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(client), service);
    match tokio::time::timeout(PATIENCE, visit).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error = %error, "metrics connection ended early"),
        Err(_) => tracing::debug!("metrics connection took too long"),
    }
}
