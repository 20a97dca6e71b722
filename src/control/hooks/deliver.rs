//! One attempt to deliver one message.

use super::letter::Letter;
use super::shapes;
use super::signature::signature;
use crate::config::Hook;
use crate::tls::connect_web;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Request;
use http::StatusCode;
use http::Uri;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use std::error::Error;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// What is read of an answer, whatever it says.
const ANSWER: usize = 64 << 10;

/// An attempt that failed; its words hold nothing of the URL but the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) what: String,
    /// Another attempt may end otherwise.
    pub(super) may_retry: bool,
    /// How long the receiver asked to be left alone.
    pub(super) wait: Option<Duration>,
}

impl Failed {
    fn passing(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            may_retry: true,
            wait: None,
        }
    }
}

/// Connects, sends, and reads the answer, all within the hook's `timeout`.
pub(super) async fn attempt(hook: &Hook, letter: &Letter) -> Result<(), Failed> {
    let exchange = tokio::time::timeout(hook.timeout, exchange(hook, letter));
    let answer = exchange.await.unwrap_or_else(|_| {
        let timeout = crate::config::format_duration(hook.timeout);
        Err(Failed::passing(format!("no answer within {timeout}")))
    })?;
    judged(answer.0, &answer.1)
}

async fn exchange(hook: &Hook, letter: &Letter) -> Result<(StatusCode, HeaderMap), Failed> {
    let url = hook.url.reveal();
    let request = request(hook, &url, letter)?;
    let stream = connect_web(&url, hook.ca.as_deref(), hook.timeout)
        .await
        .map_err(|error| Failed::passing(format!("cannot connect: {error}")))?;
    let broken = |error: hyper::Error| {
        let cause = error.source().map(|cause| format!(": {cause}"));
        Failed::passing(format!("{error}{}", cause.unwrap_or_default()))
    };
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(broken)?;
    let talk = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = answer.into_parts();
        // What it says does not matter, and how much it says neither.
        drop(Limited::new(body, ANSWER).collect().await);
        Ok((head.status, head.headers))
    };
    tokio::pin!(talk);
    tokio::select! {
        answer = &mut talk => answer,
        // It ends with the exchange, or breaks it: then that tells why.
        _ = connection => talk.await,
    }
}

fn request(hook: &Hook, url: &Uri, letter: &Letter) -> Result<Request<Full<Bytes>>, Failed> {
    let body = shapes::body(hook.kind, letter);
    let mut request = Request::post(url.path_and_query().map_or("/", |it| it.as_str()))
        .header(header::HOST, host(url))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .header(header::ACCEPT, "*/*")
        .header(
            header::USER_AGENT,
            concat!("switchd/", env!("CARGO_PKG_VERSION")),
        )
        .header("switchd-event", letter.name().word())
        .header("switchd-delivery", &letter.id);
    if let Some(authorization) = authorization(url) {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if let Some(secret) = &hook.secret {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let signature = signature(secret.reveal(), now.unwrap_or_default().as_secs(), &body);
        request = request.header("switchd-signature", signature);
    }
    let mut request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| unsendable())?;
    for (name, value) in &hook.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unsendable())?;
        let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| unsendable())?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

/// The config lets nothing through that comes here.
fn unsendable() -> Failed {
    Failed {
        what: "its URL or its headers cannot be sent".to_owned(),
        may_retry: false,
        wait: None,
    }
}

/// Without what stands before an `@`, which is for us.
fn host(url: &Uri) -> String {
    let authority = url.authority().map_or("", |it| it.as_str());
    let host = authority.rsplit_once('@').map(|(_, host)| host);
    host.unwrap_or(authority).to_owned()
}

/// What stands before an `@`, as a password.
fn authorization(url: &Uri) -> Option<HeaderValue> {
    let (user, _) = url.authority()?.as_str().rsplit_once('@')?;
    let user: Vec<u8> = percent_decode_str(user).collect();
    let text = format!("Basic {}", BASE64_STANDARD.encode(user));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn judged(status: StatusCode, headers: &HeaderMap) -> Result<(), Failed> {
    if status.is_success() {
        return Ok(());
    }
    let again = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || status == StatusCode::TOO_EARLY;
    let wait = headers.get(header::RETRY_AFTER);
    let wait = wait.and_then(|value| value.to_str().ok()?.parse().ok());
    let follow = if status.is_redirection() {
        "; redirects are not followed: write the address it leads to"
    } else {
        ""
    };
    Err(Failed {
        what: format!("it answered HTTP {status}{follow}"),
        may_retry: again,
        wait: wait.filter(|_| again).map(Duration::from_secs),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_for_good_is_not_tried_again() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        for (status, may_retry) in [
            (400, false),
            (401, false),
            (404, false),
            (301, false),
            (408, true),
            (429, true),
            (500, true),
            (503, true),
        ] {
            let failed = judged(StatusCode::from_u16(status).unwrap(), &headers).unwrap_err();
            assert_eq!(failed.may_retry, may_retry, "{status}");
            let wait = may_retry.then_some(Duration::from_secs(7));
            assert_eq!(failed.wait, wait, "{status}");
        }
        assert_eq!(judged(StatusCode::NO_CONTENT, &headers), Ok(()));
    }

    #[test]
    fn a_user_in_a_url_becomes_a_password_and_no_part_of_the_host() {
        let url: Uri = "https://me:a%40b@ci.example:8443/x".parse().unwrap();
        assert_eq!(host(&url), "ci.example:8443");
        // me:a@b
        assert_eq!(authorization(&url).unwrap(), "Basic bWU6YUBi");
        let url: Uri = "https://ci.example/x".parse().unwrap();
        assert_eq!((&*host(&url), authorization(&url)), ("ci.example", None));
    }
}
