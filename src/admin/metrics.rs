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
use crate::spool::Amounts;
use crate::telemetry::BodyFigures;
use crate::telemetry::CONTENT_TYPE;
use crate::telemetry::ClientFigures;
use crate::telemetry::ContentFigures;
use crate::telemetry::HandshakeFigures;
use crate::telemetry::KeptFigures;
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
        page.calls = self.api_at.map(|_| self.calls.figures());
        let counts = self.edge.counts();
        page.clients = Some(ClientFigures {
            connections: counts.connections,
            accepted: counts.accepted,
            turned_away: counts.turned_away,
            unwelcome: counts.unwelcome,
            unrouted: counts.refused,
            access_log_dropped: self.access_log.dropped(),
            handshakes: HandshakeFigures {
                done: counts.handshakes,
                failed: counts.failed_handshakes,
            },
            streams: counts.streams,
            streams_refused: counts.streams_refused,
            floods: counts.floods,
            bodies: bodies(self.edge.bodies()),
        });
        page.content = Some(ContentFigures {
            counts: counts.content,
            cache: self.edge.cache().figures(),
        });
        Ok(answer::text(CONTENT_TYPE, page.render()))
    }
}

fn bodies(amounts: Amounts) -> BodyFigures {
    BodyFigures {
        memory: amounts.memory,
        disk: amounts.disk,
        requests: KeptFigures {
            spooled: amounts.requests_spooled,
            without_room: amounts.requests_refused,
        },
        answers: KeptFigures {
            spooled: amounts.answers_spooled,
            without_room: amounts.answers_held_up,
        },
    }
}

fn admitted(method: &Method, path: &str) -> Result<(), NoRoute> {
    if path != PATH {
        let detail = format!("there is no {path} here; {PATH} is all there is");
        return Err(NoRoute::path(plain(StatusCode::NOT_FOUND, &detail)));
    }
    if method != Method::GET {
        return Err(NoRoute::method(path, method, vec![Method::GET]));
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::io::duplex;

    const ASK: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";

    async fn page(_: Request<Incoming>) -> Answer {
        answer::text(CONTENT_TYPE, "x".repeat(100_000))
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_dawdles_is_gone_in_time() {
        let begun = tokio::time::Instant::now();
        // One says nothing, one stops within its head, one never reads its answer.
        for said in [&b""[..], &ASK[..20], ASK] {
            let (mut client, server) = duplex(1024);
            client.write_all(said).await.unwrap();
            visit(server, page).await;
        }
        assert!(begun.elapsed() >= PATIENCE, "nobody had time at all");
        assert!(begun.elapsed() <= PATIENCE * 3 + Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_refused() {
        let (client, server) = duplex(1024);
        let (mut reads, mut writes) = tokio::io::split(client);
        tokio::spawn(async move {
            let _ = writes.write_all(b"GET /metrics HTTP/1.1\r\nX: ").await;
            let _ = writes.write_all(&vec![b'x'; 4 * HEAD]).await;
        });
        let mut told = String::new();
        let read = async { reads.read_to_string(&mut told).await };
        let ((), _) = tokio::join!(visit(server, page), read);
        assert!(told.starts_with("HTTP/1.1 431 "), "{told}");
    }

    #[tokio::test]
    async fn a_connection_serves_one_request() {
        let (mut client, server) = duplex(1 << 20);
        client.write_all(&[ASK, ASK].concat()).await.unwrap();
        visit(server, page).await;
        let mut told = String::new();
        client.read_to_string(&mut told).await.unwrap();
        assert_eq!(told.matches("HTTP/1.1 200").count(), 1);
        assert!(told.contains("connection: close"), "{told:.300}");
    }

    #[test]
    fn only_a_look_at_the_page_is_admitted() {
        assert_eq!(admitted(&Method::GET, "/metrics"), Ok(()));
        for path in [
            "/",
            "/metrics/",
            "//metrics",
            "/v1/status",
            "/v1/services/a/flip",
        ] {
            for method in [Method::GET, Method::POST] {
                let wrong = admitted(&method, path).unwrap_err();
                assert_eq!((wrong.problem.status, wrong.allow), (404, vec![]), "{path}");
            }
        }
        for method in [Method::POST, Method::HEAD, Method::DELETE, Method::OPTIONS] {
            let wrong = admitted(&method, "/metrics").unwrap_err();
            let told = (wrong.problem.status, wrong.allow);
            assert_eq!(told, (405, vec![Method::GET]), "{method}");
        }
    }

    #[test]
    fn an_address_that_is_taken_is_told_with_its_key() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = Metrics::bind(any).unwrap();
        assert_ne!(first.address().port(), 0);
        let refused = Metrics::bind(first.address()).unwrap_err().to_string();
        let expected = format!(
            "cannot listen on {} for `metrics` of [admin]",
            first.address()
        );
        assert!(refused.starts_with(&expected), "{refused}");
    }
}
