//! What a client sees when a request cannot be answered, and which answers of upstreams are errors too.

use super::change::Differences;
use super::cookies;
use super::keys::{Section, key, section};
use super::page::Page;
use super::secret::read_file;
use super::table::Table;
use super::value::{Choice, Value, Zero, clip};
use std::time::Duration;

/// Errors as clients see them.
#[derive(Debug, Clone, PartialEq)]
pub struct Errors {
    pub format: ErrorFormat,
    /// For those who want HTML.
    pub page: Page,
    /// When it may be tried again, where that helps.
    pub retry_after: Duration,
    /// A redirect to itself that takes the session away is an error: it logs out whoever is sent it.
    pub guard_sessions: bool,
    /// The cookie that names a session.
    pub session_cookie: String,
}

/// How an error is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorFormat {
    /// As the request asks for it: HTML, JSON, JSON-RPC or text.
    Auto,
    Text,
}

const FORMATS: [Choice<ErrorFormat>; 2] = [
    Choice {
        word: "auto",
        means: ErrorFormat::Auto,
    },
    Choice {
        word: "text",
        means: ErrorFormat::Text,
    },
];

pub(super) const ERRORS: Section = section(
    "service.NAME.errors",
    &[
        key("format", r#""auto""#),
        key("page", r#""/etc/switchd/error.html""#),
        key("retry_after", r#""5s""#),
        key("guard_sessions", "true"),
        key("session_cookie", r#""session_id""#),
    ],
);

impl Default for Errors {
    fn default() -> Self {
        Self {
            format: ErrorFormat::Auto,
            page: Page::default(),
            retry_after: Duration::from_secs(5),
            guard_sessions: false,
            session_cookie: "session_id".to_owned(),
        }
    }
}

pub(super) fn read(service: &Table<'_>) -> Errors {
    let table = service.table("errors", &ERRORS);
    let default = Errors::default();
    Errors {
        format: table
            .get("format")
            .and_then(|value| value.choice(&FORMATS))
            .unwrap_or(default.format),
        page: table
            .get("page")
            .and_then(|value| page(&value))
            .unwrap_or(default.page),
        retry_after: table
            .get("retry_after")
            .and_then(|value| retry_after(&value))
            .unwrap_or(default.retry_after),
        guard_sessions: table.flag("guard_sessions", default.guard_sessions),
        session_cookie: table
            .get("session_cookie")
            .and_then(|value| cookies::name(&value))
            .unwrap_or(default.session_cookie),
    }
}

/// `Retry-After` counts whole seconds.
fn retry_after(value: &Value<'_>) -> Option<Duration> {
    let time = value.duration(Zero::Refused)?;
    if time.subsec_millis() == 0 {
        return Some(time);
    }
    value.wrong(
        format!("`{}` must be whole seconds", value.name()),
        "write retry_after = \"5s\", for example: the header counts seconds",
    );
    None
}

fn page(value: &Value<'_>) -> Option<Page> {
    if value.is_word("") {
        return Some(Page::default());
    }
    let path = value.absolute_path()?;
    let shown = clip(&path.to_string_lossy());
    match read_file(&path) {
        Ok(text) => match Page::parse(&text) {
            Ok(page) => Some(page),
            Err(fault) => {
                value.wrong(format!("\"{shown}\" {}", fault.what), fault.help);
                None
            }
        },
        Err(error) => {
            value.wrong(
                format!("cannot read \"{shown}\": {error}"),
                "name an HTML file that the user of switchd may read, or \"\" for the page that is built in",
            );
            None
        }
    }
}

pub(super) fn changes(lines: &mut Differences, old: &Errors, new: &Errors) {
    let format = |format: ErrorFormat| {
        let word = FORMATS.iter().find(|choice| choice.means == format);
        word.map_or("", |choice| choice.word)
    };
    lines.value("errors format", &format(old.format), &format(new.format));
    if old.page != new.page {
        lines.told("errors page changed");
    }
    lines.time("errors retry_after", old.retry_after, new.retry_after);
    let (a, b) = (old.guard_sessions, new.guard_sessions);
    lines.value("errors guard_sessions", &a, &b);
    let (a, b) = (&old.session_cookie, &new.session_cookie);
    lines.value("errors session_cookie", a, b);
}
