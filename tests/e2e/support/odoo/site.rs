//! The application: which path leads where, and what every answer has in common.

use super::super::message::Head;
use super::answer::Answer;
use super::answer::Payload;
use super::behaviour::Behaviour;
use super::call::Call;
use super::database::Database;
use super::database::fresh_session_id;
use super::files;
use super::pages;
use super::record::Record;
use super::reports;
use super::rpc;
use super::socket::Arrived;
use super::websocket::Order;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep_until;

/// Form posts only; JSON may be larger.
const MOST_FORM: u64 = 128 << 20;

/// What both ports of one Odoo serve.
pub(super) struct Site {
    /// The colour.
    pub(super) name: String,
    pub(super) behaviour: Behaviour,
    pub(super) database: Database,
    pub(super) record: Record,
    /// To all open websockets.
    pub(super) orders: broadcast::Sender<Order>,
    /// Its registry is loaded.
    pub(super) gevent_is_warm: AtomicBool,
    /// By hash and name.
    pub(super) bundles: Mutex<HashMap<String, Vec<u8>>>,
    /// Whether reports are rendered now.
    pub(super) renders: watch::Sender<bool>,
}

/// Whether the application reads the body before it answers; of what it does not know it reads nothing.
pub(super) fn reads_body(call: &Call, head: &Head) -> bool {
    let known = call.path.starts_with("/web") || call.path == "/jsonrpc";
    known && !is_form_too_large(call, head)
}

fn is_form_too_large(call: &Call, head: &Head) -> bool {
    let is_form = call
        .header("CONTENT_TYPE")
        .is_some_and(|kind| kind.starts_with("multipart/"));
    let length = head
        .get("content-length")
        .and_then(|length| length.parse().ok());
    is_form && length.is_some_and(|length: u64| length > MOST_FORM)
}

/// Any request: `?sleep_ms=` is the double's own, and makes it as slow as that.
pub(super) async fn respond(site: &Site, call: &Call, head: &Head, body: &Arrived) -> Answer {
    if let Some(time) = call.milliseconds("sleep_ms") {
        run_query(site, time).await;
    }
    if call.path == "/web/login" {
        sleep_until(Instant::now() + site.behaviour.slow_pages).await;
    }
    if is_form_too_large(call, head) {
        return Answer::html(413, "Request Entity Too Large");
    }
    // The very first ones are merged silently.
    let path = format!("/{}", call.path.trim_start_matches('/'));
    if path.contains("//") {
        let merged = path.split('/').filter(|part| !part.is_empty());
        let merged = merged.collect::<Vec<_>>().join("/");
        return Answer::redirect(308, &format!("{}/{merged}", call.origin()));
    }
    if call.method == "OPTIONS" {
        return Answer::new(204)
            .with("Content-Type", "text/html; charset=utf-8")
            .with("Access-Control-Allow-Methods", "POST, GET")
            .payload(Payload::None);
    }
    if let Some(answer) = pages::health(site, call, &path) {
        return answer;
    }
    if let Some(answer) = files::answer_static(site, call, &path) {
        return answer;
    }
    if site.database.is_down() {
        return without_database(call, &path);
    }
    if let Some(answer) = rpc::answer(site, call, &path, body).await {
        return answer;
    }
    if let Some(answer) = files::answer(site, call, &path, body).await {
        return answer;
    }
    if let Some(answer) = reports::answer(site, &path).await {
        return answer;
    }
    pages::answer(site, call, &path, body)
        .unwrap_or_else(|| Answer::html(404, "<h1>Not Found</h1>"))
}

/// A query in Postgres: it goes on when the worker that asked is killed.
pub(super) async fn run_query(site: &Site, milliseconds: u64) {
    let query = site.database.query();
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let running = tokio::spawn(async move {
        sleep_until(end).await;
        drop(query);
    });
    running.await.ok();
}

/// Postgres is down: a page leads to itself, with a session that knows nobody.
fn without_database(call: &Call, path: &str) -> Answer {
    if call.method == "POST" {
        return Answer::html(404, "<h1>Not Found</h1>");
    }
    Answer::redirect(302, path).with("Set-Cookie", session_cookie(&fresh_session_id()))
}

pub(super) fn session_cookie(id: &str) -> String {
    format!(
        "session_id={id}; Expires=Fri, 01 Jan 2038 00:00:00 GMT; Max-Age=604800; HttpOnly; Path=/"
    )
}

/// The cookie of a visitor without a session; no file is written for it.
pub(super) fn visitor_cookie(call: &Call) -> Option<String> {
    let is_anonymous = call.user.is_none();
    is_anonymous.then(|| session_cookie(&fresh_session_id()))
}
