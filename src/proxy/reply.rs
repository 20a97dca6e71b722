//! Answers of our own: what a client sees when a request cannot be answered by an upstream.

use super::asker::Asker;
use super::asker::Shape;
use super::fault::Fault;
use super::fault::Timer;
use super::fault::whole_seconds;
use super::response::Asked;
use super::response::write_connection;
use super::response::write_length;
use crate::config::Blank;
use crate::config::ErrorFormat;
use crate::config::Errors;
use serde_json::Value;
use serde_json::json;
use std::borrow::Cow;

/// Who gets an answer for a fault, and how its service writes such answers.
pub(super) struct Reply<'a> {
    /// The request's, which is in the log.
    pub id: &'a str,
    /// An upstream has seen the request, at least in part.
    pub was_written: bool,
    /// None when no head could be read.
    pub asker: Option<&'a Asker>,
    pub errors: &'a Errors,
    /// Whole header lines that the service puts on every answer.
    pub lines: &'a [u8],
}

/// A page that is shown in place of another one needs nothing but its own style.
const PAGE_POLICY: &str =
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src data:\r\n";

impl Reply<'_> {
    /// Appends the whole answer for `fault`.
    ///
    /// `Retry-After` stands where waiting helps and nothing can be done twice by it; `X-Switchd-Fault` names the cause, and which timeout it was.
    /// A JSON-RPC error keeps the HTTP status: whoever counts, retries or caches by it must not take an error
    /// for an answer, and Odoo's own client reads the body whatever the status is.
    pub(super) fn write(&self, fault: &Fault, asked: Asked, out: &mut Vec<u8>) {
        let status = fault.status();
        let reason = reason(status);
        let shape = self.shape();
        let retry = fault
            .retry_after(self.errors.retry_after)
            .filter(|_| !self.may_be_done(fault))
            .map(whole_seconds);
        let message = self.message(fault);
        let (kind, body) = match shape {
            Shape::Html => ("text/html; charset=utf-8", self.page(fault, retry)),
            Shape::Json => (
                "application/problem+json",
                self.problem(fault, &message, retry),
            ),
            Shape::JsonRpc => ("application/json", self.rpc_error(fault, &message, retry)),
            Shape::Text => (
                "text/plain; charset=utf-8",
                format!("{status} {reason}: {message}\nrequest {}\n", self.id),
            ),
        };
        let mut head = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\n\
             X-Switchd-Fault: {}\r\nX-Request-ID: {}\r\n",
            fault.code(),
            self.id
        );
        if shape == Shape::Html {
            head.push_str(PAGE_POLICY);
        }
        match fault {
            Fault::Method(_) => {
                head.push_str("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
            }
            Fault::Unauthorized { realm } => {
                let basic = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
                head.extend(["WWW-Authenticate: ", &basic, "\r\n"]);
            }
            _ => {}
        }
        if let Some(seconds) = retry {
            head.push_str("Retry-After: ");
            head.push_str(itoa::Buffer::new().format(seconds));
            head.push_str("\r\n");
        }
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(self.lines);
        write_length(body.len() as u64, out);
        write_connection(asked, out);
        out.extend_from_slice(b"\r\n");
        if !asked.is_head {
            out.extend_from_slice(body.as_bytes());
        }
    }

    /// Whoever repeats it may do it twice.
    fn may_be_done(&self, fault: &Fault) -> bool {
        self.was_written && fault.may_be_done()
    }

    /// For programs, and for those who write them.
    fn message(&self, fault: &Fault) -> String {
        let what_to_do = match fault {
            _ if self.may_be_done(fault) => {
                "; it was sent to the application and may have been done: look before you repeat it"
            }
            Fault::OutOfResources(_) | Fault::Spool(_) => "; try again later",
            _ => "",
        };
        format!("{fault}{what_to_do}")
    }

    /// For somebody who only wanted to see a page, or who sent a form.
    fn sentence(&self, fault: &Fault) -> String {
        let mut sentence = for_people(fault).into_owned();
        let is_ended = matches!(fault, Fault::Killed | Fault::CutOff | Fault::Stopping);
        let only_looks = self
            .asker
            .is_some_and(|asker| asker.is_get || asker.is_head);
        if is_ended && !self.was_written {
            sentence.push_str(" Nothing of it was begun.");
        } else if self.may_be_done(fault) && !only_looks {
            sentence.push_str(
                " What you asked for may have been done all the same: look before you repeat it.",
            );
        }
        sentence
    }

    fn shape(&self) -> Shape {
        match (self.errors.format, self.asker) {
            (ErrorFormat::Auto, Some(asker)) => asker.shape,
            _ => Shape::Text,
        }
    }

    fn page(&self, fault: &Fault, retry: Option<u64>) -> String {
        let status = fault.status();
        // What was asked for with a body is not asked for again by itself.
        let by_itself = retry.filter(|_| self.asker.is_some_and(|asker| asker.is_get));
        self.errors.page.fill(|blank, page| match blank {
            Blank::Status => page.push_str(&status.to_string()),
            Blank::Reason => page.push_str(&escaped(reason(status))),
            Blank::Message => page.push_str(&escaped(&self.sentence(fault))),
            Blank::ErrorId => page.push_str(&escaped(self.id)),
            Blank::Refresh => {
                if let Some(seconds) = by_itself {
                    let tag = format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">\n");
                    page.push_str(&tag);
                }
            }
            Blank::Retry => {
                let end = match by_itself {
                    Some(_) => "; this page does so by itself.",
                    None => ".",
                };
                if let Some(seconds) = retry {
                    let unit = if seconds == 1 { "second" } else { "seconds" };
                    let sentence = format!("Please try again in {seconds} {unit}{end}");
                    page.push_str(&sentence);
                }
            }
        })
    }

    /// RFC 9457.
    fn problem(&self, fault: &Fault, message: &str, retry: Option<u64>) -> String {
        let mut problem = json!({
            "type": "about:blank",
            "title": reason(fault.status()),
            "status": fault.status(),
            "detail": message,
            "fault": fault.code(),
            "error_id": self.id,
        });
        if let Some(seconds) = retry {
            problem["retry_after"] = seconds.into();
        }
        format!("{problem}\n")
    }

    /// As JSON-RPC 2.0 has it, with the fields of `data` that Odoo's client looks for.
    fn rpc_error(&self, fault: &Fault, message: &str, retry: Option<u64>) -> String {
        let status = fault.status();
        let mut data = json!({
            "name": format!("switchd.{}", fault.code()),
            "message": message,
            "debug": format!("{status} {}: {message}, request {}", reason(status), self.id),
            "arguments": [message],
            "context": {},
            "status": status,
            "error_id": self.id,
        });
        if let Some(seconds) = retry {
            data["retry_after"] = seconds.into();
        }
        let call = self.asker.map_or(&Value::Null, |asker| &asker.call);
        // "Invalid request"; the other is the first of those that a server may give a meaning to.
        let code = if status < 500 { -32600 } else { -32000 };
        let error = json!({
            "jsonrpc": "2.0",
            "id": call,
            "error": { "code": code, "message": message, "data": data },
        });
        format!("{error}\n")
    }
}

/// A sentence for somebody who only wanted to see a page.
fn for_people(fault: &Fault) -> Cow<'static, str> {
    let sentence = match fault {
        Fault::QueueFull | Fault::Timeout(Timer::Queue) => {
            "More is asked for right now than can be answered. Nothing of your request was begun."
        }
        Fault::Maintenance(closed) => match &closed.message {
            Some(message) => return message.to_string().into(),
            None => "The application is being maintained. Nothing of your request was begun.",
        },
        Fault::ReadOnly => {
            "The application can be read and not changed right now. Nothing was changed."
        }
        Fault::HoldFull | Fault::Timeout(Timer::Hold) => {
            "The application is being worked on. Nothing of your request was begun."
        }
        Fault::Connect(_) | Fault::LoggedOut | Fault::Timeout(Timer::Connect | Timer::Outage) => {
            "The application cannot be reached right now. Nothing of your request was begun."
        }
        Fault::OutOfResources(_) => "More is asked for right now than can be answered.",
        Fault::NoAnswer(_) | Fault::BadAnswer(_) | Fault::CutShort(_) => {
            "The application broke off before it had answered."
        }
        Fault::Timeout(Timer::FirstByte | Timer::UpstreamIdle | Timer::Total) => {
            "The application took too long to answer. It may still be at work on your request."
        }
        Fault::Killed | Fault::CutOff | Fault::Stopping => {
            "Your request was ended while the application is being worked on."
        }
        Fault::BodyTooLarge { limit } => {
            let limit = crate::config::format_size(*limit);
            return format!("What you sent is larger than what is taken here: {limit}.").into();
        }
        Fault::UnknownHost => "There is nothing here under this name.",
        Fault::Denied | Fault::BlockedPath => "This page is not open to you.",
        Fault::Unauthorized { .. } => "A name and a password are needed to see this page.",
        Fault::RateLimited { .. } => "You have asked for more than is answered in so short a time.",
        other => return format!("This request cannot be answered: {other}.").into(),
    };
    sentence.into()
}

/// As text in HTML.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return text.into();
    }
    let mut escaped = String::new();
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            char => escaped.push(char),
        }
    }
    escaped.into()
}

pub(super) fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked {
        is_head: false,
        is_http11: true,
        upgrade: false,
        expects_continue: false,
        keep_alive: true,
    };

    fn answer(request: &str, fault: &Fault) -> String {
        told(request, fault, false)
    }

    fn told(request: &str, fault: &Fault, was_written: bool) -> String {
        let asker = Asker::read(request.as_bytes());
        let reply = Reply {
            id: "id-1<",
            was_written,
            asker: asker.as_ref(),
            errors: &Errors::default(),
            lines: b"",
        };
        let mut out = Vec::new();
        reply.write(fault, ASKED, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_page_shows_the_error_to_people_and_asks_again_by_itself_only_for_a_get() {
        let html = "Accept: text/html\r\n\r\n";
        let get = answer(&format!("GET / HTTP/1.1\r\n{html}"), &Fault::QueueFull);
        for part in [
            "HTTP/1.1 503 Service Unavailable\r\n",
            "Content-Type: text/html; charset=utf-8\r\n",
            "Retry-After: 5\r\n",
            "<meta http-equiv=\"refresh\" content=\"5\">",
            "<h1>Service Unavailable</h1>",
            "<code>id-1&lt;</code>",
            "Please try again in 5 seconds; this page does so by itself.",
        ] {
            assert!(get.contains(part), "no {part} in {get}");
        }
        let post = answer(&format!("POST / HTTP/1.1\r\n{html}"), &Fault::QueueFull);
        assert!(!post.contains("http-equiv") && post.contains("in 5 seconds."));
        let cut = answer(&format!("GET / HTTP/1.1\r\n{html}"), &Fault::NoAnswer(None));
        assert!(!cut.contains("http-equiv") && !cut.contains("Retry-After"));
        assert!(!cut.contains("{{"), "{cut}");
    }

    #[test]
    fn nobody_is_asked_to_repeat_what_may_have_been_done() {
        let lack = || std::io::Error::from(rustix::io::Errno::MFILE);
        let faults = [
            Fault::CutOff,
            Fault::Killed,
            Fault::Stopping,
            Fault::NoAnswer(None),
            Fault::CutShort(None),
            Fault::BadAnswer("x"),
            Fault::Connect(lack()),
            Fault::OutOfResources(lack()),
            Fault::Timeout(Timer::FirstByte),
            Fault::Timeout(Timer::UpstreamIdle),
            Fault::Timeout(Timer::Total),
            Fault::Timeout(Timer::Spool),
            Fault::Spool(crate::spool::SpoolError::Full {
                dir: "/".into(),
                max: 1,
            }),
        ];
        let html = "Accept: text/html\r\n\r\n";
        let json = "Content-Type: application/json\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1}";
        let problem = "Accept: application/json\r\n\r\n";
        for fault in &faults {
            for (line, rest) in [
                ("POST /web", html),
                ("GET /web", html),
                ("POST /jsonrpc", json),
                ("POST /api", problem),
                ("POST /api", "\r\n"),
            ] {
                let request = format!("{line} HTTP/1.1\r\n{rest}");
                let answer = told(&request, fault, true);
                for word in ["Retry-After", "retry_after", "try again", "http-equiv"] {
                    assert!(!answer.contains(word), "{word} in {answer}");
                }
                if !line.starts_with("GET") {
                    assert!(answer.contains("look before you repeat it"), "{answer}");
                }
            }
        }
        let refused = told("POST / HTTP/1.1\r\n\r\n", &Fault::BadRequest("x"), true);
        assert!(!refused.contains("repeat"), "{refused}");
        let get = told(
            &format!("GET / HTTP/1.1\r\n{html}"),
            &Fault::LoggedOut,
            true,
        );
        assert!(
            get.contains("Retry-After: 5\r\n"),
            "the application did nothing: {get}"
        );
    }

    #[test]
    fn whoever_was_never_sent_on_is_told_so() {
        let html = "POST / HTTP/1.1\r\nAccept: text/html\r\n\r\n";
        for fault in [Fault::Killed, Fault::CutOff, Fault::Stopping] {
            let page = told(html, &fault, false);
            assert!(page.contains("Nothing of it was begun."), "{page}");
        }
        let page = told(html, &Fault::Stopping, false);
        assert!(page.contains("Please try again in 5 seconds."), "{page}");
        let late = told(
            "POST / HTTP/1.1\r\n\r\n",
            &Fault::Timeout(Timer::Total),
            false,
        );
        assert!(late.contains("Retry-After: 5\r\n"), "{late}");
    }

    #[test]
    fn whoever_takes_json_gets_a_problem() {
        let request = "GET / HTTP/1.1\r\nAccept: application/json\r\n\r\n";
        let answer = answer(request, &Fault::Timeout(Timer::FirstByte));
        assert!(answer.contains("Content-Type: application/problem+json\r\n"));
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(body["status"], 504);
        assert_eq!(body["fault"], "timeout-first-byte");
        assert_eq!(body["error_id"], "id-1<");
    }

    #[test]
    fn a_call_gets_an_error_with_its_own_id_and_what_odoos_client_looks_for() {
        let request = "POST /jsonrpc HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":42}";
        let answer = answer(request, &Fault::QueueFull);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(body["id"], 42);
        assert_eq!(body["error"]["code"], -32000);
        for field in ["name", "message", "debug", "arguments", "context"] {
            assert!(!body["error"]["data"][field].is_null(), "{field}");
        }
        assert_eq!(body["error"]["data"]["error_id"], "id-1<");
    }

    #[test]
    fn without_a_head_and_where_only_text_is_wanted_it_is_text() {
        assert!(answer("GET", &Fault::BadRequest("x")).contains("text/plain"));
        let asker = Asker::read(b"GET / HTTP/1.1\r\nAccept: text/html\r\n\r\n");
        let errors = Errors {
            format: ErrorFormat::Text,
            ..Errors::default()
        };
        let reply = Reply {
            id: "1",
            was_written: false,
            asker: asker.as_ref(),
            errors: &errors,
            lines: b"",
        };
        assert_eq!(reply.shape(), Shape::Text);
    }
}
