//! One request on one connection, whatever server took it.

use super::super::message::Head;
use super::answer::Answer;
use super::answer::Dialect;
use super::answer::End;
use super::call::Call;
use super::call::Joining;
use super::record::Member;
use super::record::Record;
use super::site::Site;
use super::site::reads_body;
use super::site::respond;
use super::socket::Arrived;
use super::socket::GEVENT_LIMITS;
use super::socket::HeadLimits;
use super::socket::PREFORK_LIMITS;
use super::socket::Socket;
use std::io;
use std::sync::Arc;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout;

/// A server's way with its connections.
#[derive(Clone)]
pub(super) struct Manner {
    pub(super) site: Arc<Site>,
    pub(super) member: Member,
    pub(super) dialect: Dialect,
}

/// A request under way; however it ends, that is written down.
struct UnderWay<'r> {
    record: &'r Record,
    number: usize,
    status: u16,
    is_whole: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.record.end(self.number, self.status, self.is_whole);
    }
}

impl Manner {
    pub(super) fn limits(&self) -> &'static HeadLimits {
        match self.dialect {
            Dialect::Gevent => &GEVENT_LIMITS,
            Dialect::Prefork | Dialect::Threaded => &PREFORK_LIMITS,
        }
    }

    /// A process that is cold loads its registry first; health needs none.
    pub(super) async fn warm(&self, head: &Head, is_cold: &mut bool) {
        let needs_registry = !head.path().ends_with("/health");
        if needs_registry && std::mem::take(is_cold) {
            sleep_until(Instant::now() + self.site.behaviour.cold).await;
        }
    }

    pub(super) fn call(&self, head: &Head) -> Option<Call> {
        let joining = match self.dialect {
            Dialect::Gevent => Joining::Gevent,
            Dialect::Prefork | Dialect::Threaded => Joining::Werkzeug,
        };
        Call::of(head, joining, &self.site.database)
    }

    /// The server's own words, before there is a request for the application.
    pub(super) async fn refuse(&self, socket: &mut Socket, status: u16) -> io::Result<End> {
        let answer = Answer::html(status, "refused");
        answer.send(socket, self.dialect, false).await
    }

    /// Answers one request; the result is how the connection has to end, if it has to.
    pub(super) async fn exchange(
        &self,
        socket: &mut Socket,
        head: &Head,
        connection: usize,
    ) -> io::Result<Option<End>> {
        let record = &self.site.record;
        let mut under_way = UnderWay {
            record,
            number: record.begin(self.member, connection, head),
            status: 0,
            is_whole: false,
        };
        let Some(answer) = self.answer(socket, head, under_way.number).await? else {
            return Ok(Some(End::Fin));
        };
        under_way.status = answer.status;
        let is_head = head.method() == "HEAD";
        let end = answer.send(socket, self.dialect, is_head).await?;
        under_way.is_whole = end == End::Fin;
        let keeps =
            head.first_line.ends_with("HTTP/1.1") && !head.names_token("connection", "close");
        Ok((answer.closes(self.dialect) || !keeps).then_some(end))
    }

    /// None when the request was killed before it had an answer.
    async fn answer(
        &self,
        socket: &mut Socket,
        head: &Head,
        number: usize,
    ) -> io::Result<Option<Answer>> {
        let Some(call) = self.call(head) else {
            return Ok(Some(Answer::html(500, "Internal Server Error")));
        };
        if let Some(status) = self.refusal(head) {
            return Ok(Some(Answer::html(status, "Bad Request")));
        }
        if head.names_token("expect", "100-continue") {
            socket.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut body = Arrived::default();
        if reads_body(&call, head) {
            body = socket.body(head.request_framing()).await;
            self.site.record.body(number, body.digest, body.is_whole);
        }
        let respond = respond(&self.site, &call, head, &body);
        let Some(limit) = self.site.behaviour.limit_time_real else {
            return Ok(Some(respond.await));
        };
        Ok(timeout(limit, respond).await.ok())
    }

    fn refusal(&self, head: &Head) -> Option<u16> {
        let mut lengths = head.all("content-length");
        lengths.dedup();
        match self.dialect {
            Dialect::Gevent => (!head.target().starts_with('/')).then_some(404),
            Dialect::Prefork | Dialect::Threaded => (lengths.len() > 1).then_some(400),
        }
    }
}
