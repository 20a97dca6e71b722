//! JSON-RPC as Odoo speaks it: what went wrong comes as HTTP 200 with an `error`.

use super::asking::Asker;
use super::asking::KEPT;
use super::asking::Question;
use super::check::shown;
use crate::upstream::ProbeFailure;
use crate::upstream::Visited;
use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::header::CONTENT_TYPE;
use http::header::COOKIE;
use serde_json::Value;
use serde_json::json;
use std::time::Duration;

/// A worker that is cold loads all modules before it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum RpcFailure {
    #[error(transparent)]
    Unanswered(#[from] ProbeFailure),
    #[error("HTTP {status} instead of an answer: {body}")]
    Status { status: u16, body: String },
    #[error("the answer is no JSON-RPC: {body}")]
    NoRpc { body: String },
    #[error("the answer is longer than 4MiB")]
    TooLong,
    /// The application's own words.
    #[error("{name}: {message}")]
    Refused { name: String, message: String },
}

impl RpcFailure {
    /// The database lacks what the code asks it for.
    pub(super) fn is_about_columns(&self) -> bool {
        let Self::Refused { name, message } = self else {
            return false;
        };
        name.contains("Undefined") || message.contains("does not exist")
    }

    /// The database cannot be reached, or is another one.
    pub(super) fn is_about_database(&self) -> bool {
        let Self::Refused { name, .. } = self else {
            return false;
        };
        name.contains("OperationalError") || name.contains("InterfaceError")
    }

    pub(super) fn is_expired_session(&self) -> bool {
        let Self::Refused { name, .. } = self else {
            return false;
        };
        name.contains("SessionExpired")
    }

    pub(super) fn is_access_denied(&self) -> bool {
        let Self::Refused { name, .. } = self else {
            return false;
        };
        name.contains("AccessDenied")
    }
}

/// What came back, and its cookies.
pub(super) struct Reply {
    pub(super) value: Value,
    pub(super) visited: Visited,
}

/// `POST /jsonrpc`: no cookie, no session, nothing is written.
pub(super) async fn service(
    asker: &Asker<'_>,
    (service, method): (&str, &str),
    args: Value,
) -> Result<Value, RpcFailure> {
    let params = json!({"service": service, "method": method, "args": args});
    let result = post(asker, "/jsonrpc", params, None).await?;
    Ok(result.value)
}

/// Any path that speaks it; `session` is the session id.
pub(super) async fn post(
    asker: &Asker<'_>,
    path: &str,
    params: Value,
    session: Option<&str>,
) -> Result<Reply, RpcFailure> {
    let document = json!({"jsonrpc": "2.0", "method": "call", "id": 1, "params": params});
    let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    if let Some(session) = session {
        let cookie = HeaderValue::from_str(&format!("session_id={session}"));
        let mut cookie = cookie.map_err(|error| ProbeFailure::Unsendable(error.into()))?;
        cookie.set_sensitive(true);
        headers.push((COOKIE, cookie));
    }
    let question = Question {
        method: Method::POST,
        path: path.to_owned(),
        headers,
        body: Bytes::from(document.to_string()),
        keep: KEPT,
    };
    let visited = asker.ask(question, PATIENCE).await?;
    result(visited)
}

fn result(visited: Visited) -> Result<Reply, RpcFailure> {
    let body = || shown(&visited.body);
    if visited.status != 200 {
        return Err(RpcFailure::Status {
            status: visited.status,
            body: body(),
        });
    }
    if !visited.is_whole {
        return Err(RpcFailure::TooLong);
    }
    let Ok(document) = serde_json::from_slice::<Value>(&visited.body) else {
        return Err(RpcFailure::NoRpc { body: body() });
    };
    if let Some(error) = document.get("error") {
        let text = |pointer: &str| {
            let text = error.pointer(pointer).and_then(Value::as_str);
            text.map(|text| shown(text.as_bytes()))
        };
        return Err(RpcFailure::Refused {
            name: text("/data/name").unwrap_or_else(|| "error".to_owned()),
            message: text("/data/message")
                .or_else(|| text("/message"))
                .unwrap_or_else(body),
        });
    }
    match document.get("result") {
        Some(value) => Ok(Reply {
            value: value.clone(),
            visited,
        }),
        None => Err(RpcFailure::NoRpc { body: body() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, body: &str) -> RpcFailure {
        let visited = Visited {
            status,
            headers: http::HeaderMap::new(),
            body: body.as_bytes().to_vec(),
            is_whole: true,
            took: Duration::ZERO,
        };
        result(visited).err().unwrap()
    }

    #[test]
    fn an_error_inside_of_200_is_a_failure_with_the_words_of_the_application() {
        let body = r#"{"error": {"code": 200, "message": "Odoo Server Error",
            "data": {"name": "psycopg2.errors.UndefinedColumn", "message": "column x does\nnot exist"}}}"#;
        let failure = failure(200, body);
        assert!(failure.is_about_columns());
        assert_eq!(
            failure.to_string(),
            "psycopg2.errors.UndefinedColumn: column x does not exist"
        );
    }

    #[test]
    fn what_is_no_rpc_is_told_as_that() {
        let words = |status, body| failure(status, body).to_string();
        assert_eq!(
            words(404, "<h1>Not Found</h1>"),
            "HTTP 404 instead of an answer: <h1>Not Found</h1>"
        );
        assert_eq!(words(200, "pass"), "the answer is no JSON-RPC: pass");
        assert_eq!(words(200, "{}"), "the answer is no JSON-RPC: {}");
        assert_eq!(words(200, r#"{"error": 7}"#), r#"error: {"error": 7}"#);
    }
}
