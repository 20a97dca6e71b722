//! One probe of one endpoint: a connection of its own, one request, a verdict in words.

use super::Call;
use super::connect;
use crate::config::Health;
use crate::net::Dial;
use crate::net::EndpointAddr;
use crate::net::Lack;
use crate::net::NameFailure;
use crate::net::ProxyVersion;
use crate::net::write_introduction;
use crate::switch::Owner;
use crate::tls;
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;

/// How much of a body is searched for what is expected there.
const SEARCHED: usize = 64 * 1024;
/// How much of a failing answer is shown.
const SHOWN: usize = 200;

/// What one probe found.
#[derive(Debug)]
pub struct Probed {
    pub took: Duration,
    /// The status, or why it is not good enough.
    pub result: Result<u16, ProbeFailure>,
}

/// Why a probe did not pass, in words for an operator.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFailure {
    #[error("{}", unreached_in_words(.0))]
    Connect(#[source] io::Error),
    /// There is no such name: nobody is there who could be well or not.
    #[error("{0}")]
    Absent(#[source] NameFailure),
    #[error("timeout after {0:?}")]
    Timeout(Duration),
    /// `body` is the beginning of it, made printable.
    #[error("{}", status_in_words(*.status, .body))]
    Status { status: u16, body: String },
    #[error("body lacks {expected:?}")]
    Body { expected: String },
    #[error("broken answer: {}", broken_in_words(.0))]
    Broken(#[source] hyper::Error),
    #[error("the check cannot be sent: {0}")]
    Unsendable(#[source] http::Error),
}

impl ProbeFailure {
    /// Whose fault it is. What is ours is no result: it speaks neither for the endpoint nor against it.
    #[must_use]
    pub fn owner(&self) -> Owner {
        let is_lack = match self {
            Self::Connect(cause) => Lack::of(cause).is_some(),
            Self::Broken(cause) => Lack::of(cause).is_some(),
            Self::Unsendable(_) => true,
            Self::Absent(_) | Self::Timeout(_) | Self::Status { .. } | Self::Body { .. } => false,
        };
        match self {
            _ if is_lack => Owner::Ours,
            // Its name server says nothing, so nobody was asked.
            Self::Connect(cause) if NameFailure::of(cause).is_some() => Owner::Shared,
            _ => Owner::Slot,
        }
    }

    pub(super) fn of_connect(error: io::Error) -> Self {
        match NameFailure::of(&error) {
            Some(absent @ NameFailure::Absent { .. }) => Self::Absent(absent.clone()),
            _ => Self::Connect(error),
        }
    }

    /// A program that is starting fails in all these ways before it is ready; what no waiting mends is the rest.
    ///
    /// Every status may be one of a start: a server whose application is not loaded yet answers 404, 401, 502 or 503.
    #[must_use]
    pub fn may_pass_later(&self) -> bool {
        match self {
            Self::Connect(cause) => !tls::refuses_certificate(cause),
            // A container has a name once it runs.
            Self::Absent(_)
            | Self::Timeout(_)
            | Self::Status { .. }
            | Self::Body { .. }
            | Self::Broken(_) => true,
            Self::Unsendable(_) => false,
        }
    }
}

/// Asks `address` once whether it is well, within `health.timeout`, or `health.busy_timeout` for as long as
/// `is_busy` says that it has other work to do first.
///
/// The connection is closed afterwards, whatever the upstream would like.
/// Cancel safe: dropping the future closes the connection.
pub async fn probe(
    address: &EndpointAddr,
    (terms, proxy_protocol): (Option<&tls::Upstream>, Option<ProxyVersion>),
    health: &Health,
    host: &str,
    is_busy: impl Fn() -> bool,
) -> Probed {
    let started = Instant::now();
    let mut introduction = Vec::new();
    if let Some(version) = proxy_protocol {
        write_introduction(version, None, &mut introduction);
    }
    let call = Call {
        terms,
        dialer: tls::Dialer::Probe,
        introduction: &introduction,
        dial: Dial::within(health.timeout),
    };
    let mut asked = pin!(ask(address, call, health, host));
    let mut end = started + health.timeout;
    let mut was_busy = false;
    let result = loop {
        match tokio::time::timeout_at(end, &mut asked).await {
            Ok(result) => break result,
            Err(_) if waits_on(health, started, &is_busy) => {
                was_busy = true;
                end += health.fast_interval;
            }
            // Its turn has come only now.
            Err(_) if std::mem::take(&mut was_busy) && !is_busy() => end += health.timeout,
            Err(_) => {
                // As configured: what was waited beyond it says nothing.
                let patience = match health.busy_timeout {
                    Some(busy) if started.elapsed() >= busy => busy,
                    _ => health.timeout,
                };
                break Err(ProbeFailure::Timeout(patience));
            }
        }
    };
    Probed {
        took: started.elapsed(),
        result,
    }
}

/// The probe stands in line behind requests: it is not given up before its turn can have come.
fn waits_on(health: &Health, started: Instant, is_busy: &impl Fn() -> bool) -> bool {
    let busy = health.busy_timeout;
    busy.is_some_and(|busy| started.elapsed() < busy) && is_busy()
}

async fn ask(
    address: &EndpointAddr,
    call: Call<'_>,
    health: &Health,
    host: &str,
) -> Result<u16, ProbeFailure> {
    let request = request(health, host).map_err(ProbeFailure::Unsendable)?;
    let stream = connect(address, call).await;
    let stream = stream.map_err(ProbeFailure::of_connect)?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .handshake(TokioIo::new(stream))
        .await
        .map_err(ProbeFailure::Broken)?;
    let drive = async {
        // What went wrong on the connection is told to the exchange as well.
        drop(connection.await);
        std::future::pending::<Infallible>().await
    };
    let exchange = async {
        let answer = sender.send_request(request).await;
        judge(answer.map_err(ProbeFailure::Broken)?, health).await
    };
    tokio::select! {
        verdict = exchange => verdict,
        never = drive => match never {},
    }
}

fn request(health: &Health, host: &str) -> http::Result<http::Request<Empty<Bytes>>> {
    let mut request = http::Request::get(health.path.as_str())
        .header(http::header::HOST, host)
        .header(http::header::USER_AGENT, "switchd-probe")
        .header(http::header::ACCEPT, "*/*")
        .header(http::header::CONNECTION, "close");
    for (name, value) in &health.headers {
        let mut value = http::HeaderValue::from_str(value.reveal())?;
        value.set_sensitive(true);
        request = request.header(name.as_str(), value);
    }
    request.body(Empty::new())
}

async fn judge(answer: http::Response<Incoming>, health: &Health) -> Result<u16, ProbeFailure> {
    let status = answer.status().as_u16();
    let expected = |(low, high): &(u16, u16)| (*low..=*high).contains(&status);
    if !health.expect_status.iter().any(expected) {
        // A status that is wrong already is told even when its body breaks off.
        let body = beginning(answer.into_body(), SHOWN).await;
        let body = printable(&body.unwrap_or_default());
        return Err(ProbeFailure::Status { status, body });
    }
    if health.expect_body.is_empty() {
        return Ok(status);
    }
    let body = beginning(answer.into_body(), SEARCHED)
        .await
        .map_err(ProbeFailure::Broken)?;
    match memchr::memmem::find(&body, health.expect_body.as_bytes()) {
        Some(_) => Ok(status),
        None => Err(ProbeFailure::Body {
            expected: health.expect_body.clone(),
        }),
    }
}

/// The first `wanted` bytes, or fewer when there are no more.
async fn beginning(mut body: Incoming, wanted: usize) -> Result<Vec<u8>, hyper::Error> {
    let mut bytes = Vec::new();
    while bytes.len() < wanted {
        let Some(frame) = body.frame().await else {
            break;
        };
        if let Ok(data) = frame?.into_data() {
            let room = wanted - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(bytes)
}

/// One line of text, whatever came.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = text.split(|c: char| c.is_whitespace() || c.is_control());
    plain
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn status_in_words(status: u16, body: &str) -> String {
    let mut words = format!("HTTP {status}");
    if !body.is_empty() {
        let _ = write!(words, ": {body}");
    }
    words
}

fn unreached_in_words(error: &io::Error) -> String {
    let words = connect_failure_in_words(error);
    match Lack::of(error) {
        Some(_) => format!("no result: {words}"),
        None => words,
    }
}

/// `connection refused` rather than `Connection refused (os error 111)`.
#[must_use]
pub fn connect_failure_in_words(error: &io::Error) -> String {
    if let Some(lack) = Lack::of(error) {
        return lack.to_string();
    }
    match error.raw_os_error() {
        Some(_) if error.kind() == io::ErrorKind::NotFound => "no such socket".to_owned(),
        Some(_) if error.kind() == io::ErrorKind::WouldBlock => "its backlog is full".to_owned(),
        Some(_) => error.kind().to_string(),
        None => error.to_string(),
    }
}

fn broken_in_words(error: &hyper::Error) -> String {
    use std::error::Error;
    if let Some(lack) = Lack::of(error) {
        return lack.to_string();
    }
    if error.is_incomplete_message() {
        return "the connection was closed before it was complete".to_owned();
    }
    let cause = error.source().and_then(|e| e.downcast_ref::<io::Error>());
    cause.map_or_else(|| error.to_string(), connect_failure_in_words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    fn health() -> Health {
        Health {
            path: "/health".into(),
            interval: Duration::from_secs(1),
            fast_interval: Duration::from_millis(50),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            min_healthy: 1,
            busy_timeout: None,
            expect_status: vec![(200, 299)],
            expect_body: String::new(),
            host: None,
            headers: Vec::new(),
        }
    }

    /// Answers every connection with `answer`; gives back what the last one asked.
    async fn upstream(answer: &'static str) -> (EndpointAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = EndpointAddr::Tcp(listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let length = stream.read(&mut asked).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            // The end of the probe's connection, not ours, ends the exchange.
            let rest = stream.read(&mut [0; 16]).await.unwrap();
            assert_eq!(rest, 0, "a probe sends one request");
            String::from_utf8(asked[..length].to_vec()).unwrap()
        });
        (address, served)
    }

    async fn words(answer: &'static str, health: &Health) -> String {
        let (address, _served) = upstream(answer).await;
        match probe(&address, (None, None), health, "erp.example.com", || false)
            .await
            .result
        {
            Ok(status) => format!("passed {status}"),
            Err(failure) => failure.to_string(),
        }
    }

    #[tokio::test]
    async fn a_passing_probe_closes_its_connection_and_names_the_host() {
        let (address, served) =
            upstream("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")
                .await;
        let probed = probe(&address, (None, None), &health(), "erp.example.com", || {
            false
        })
        .await;
        assert_eq!(probed.result.unwrap(), 200);
        let asked = served.await.unwrap().to_ascii_lowercase();
        assert!(asked.starts_with("get /health http/1.1\r\n"), "{asked}");
        assert!(asked.contains("\r\nhost: erp.example.com\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn a_wrong_status_is_told_with_the_first_200_bytes() {
        let long = "HTTP/1.1 500 Oops\r\nContent-Length: 400\r\n\r\nno\r\n\tdatabase".to_owned()
            + &"x".repeat(385);
        let told = words(Box::leak(long.into_boxed_str()), &health()).await;
        assert!(told.starts_with("HTTP 500: no databasexxx"), "{told}");
        assert!(told.len() < 220, "{told}");
        let bare = words("HTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n", &health()).await;
        assert_eq!(bare, "HTTP 404");
    }

    #[tokio::test]
    async fn a_body_without_the_expected_text_is_told() {
        let mut health = health();
        health.expect_body = "\"status\": \"pass\"".into();
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfail";
        assert_eq!(
            words(answer, &health).await,
            r#"body lacks "\"status\": \"pass\"""#
        );
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"status\": \"pass\"}";
        assert_eq!(words(answer, &health).await, "passed 200");
    }

    #[tokio::test]
    async fn a_closed_port_is_told_as_connection_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = EndpointAddr::Tcp(listener.local_addr().unwrap());
        drop(listener);
        let probed = probe(&address, (None, None), &health(), "h", || false).await;
        assert_eq!(probed.result.unwrap_err().to_string(), "connection refused");
    }

    #[tokio::test]
    async fn a_missing_socket_is_told() {
        let address = EndpointAddr::Unix("/nonexistent/upstream.sock".into());
        let probed = probe(&address, (None, None), &health(), "h", || false).await;
        assert_eq!(probed.result.unwrap_err().to_string(), "no such socket");
    }

    #[tokio::test]
    async fn an_upstream_that_hangs_is_told_as_a_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = EndpointAddr::Tcp(listener.local_addr().unwrap());
        let mut health = health();
        health.timeout = Duration::from_millis(60);
        let probed = probe(&address, (None, None), &health, "h", || false).await;
        assert_eq!(probed.result.unwrap_err().to_string(), "timeout after 60ms");
        assert!(probed.took >= health.timeout);
    }

    #[tokio::test]
    async fn a_busy_upstream_gets_its_time_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = EndpointAddr::Tcp(listener.local_addr().unwrap());
        let mut health = health();
        health.timeout = Duration::from_millis(30);
        health.fast_interval = Duration::from_millis(10);
        health.busy_timeout = Some(Duration::from_millis(120));
        let probed = probe(&address, (None, None), &health, "h", || true).await;
        assert_eq!(
            probed.result.unwrap_err().to_string(),
            "timeout after 120ms"
        );
        let turns = std::cell::Cell::new(2_u8);
        let is_busy = || turns.replace(turns.get().saturating_sub(1)) > 0;
        health.busy_timeout = Some(Duration::from_mins(1));
        let probed = probe(&address, (None, None), &health, "h", is_busy).await;
        assert_eq!(probed.result.unwrap_err().to_string(), "timeout after 30ms");
        assert!(
            probed.took >= Duration::from_millis(80),
            "{:?}",
            probed.took
        );
    }

    #[tokio::test]
    async fn an_answer_that_is_no_http_is_told_as_broken() {
        let told = words("SSH-2.0-OpenSSH_9.2\r\n\r\n", &health()).await;
        assert!(told.starts_with("broken answer: "), "{told}");
    }
}
