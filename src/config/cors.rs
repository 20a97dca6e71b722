//! Which other sites' pages may read what a service answers (CORS).

use super::change::Differences;
use super::cookies::is_token;
use super::keys::{Section, key, section};
use super::table::Table;
use super::value::{Value, Zero, clip};
use std::fmt;
use std::time::Duration;

/// What pages of other origins may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// None of them leaves it all to the application.
    pub origins: Vec<Origins>,
    pub methods: Vec<String>,
    /// Header names that requests may have; empty means whatever they ask for.
    pub headers: Vec<String>,
    /// Header names of answers that pages may see, besides the usual ones.
    pub exposed: Vec<String>,
    /// Cookies and passwords may go along.
    pub credentials: bool,
    /// For how long a browser need not ask again.
    pub max_age: Duration,
}

/// One origin, or many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    Any,
    /// `https://app.example.com`, in lower case.
    Exact(String),
    /// `https://*.example.com`: one or more labels between the two.
    Below {
        before: String,
        behind: String,
    },
}

impl Origins {
    /// Whether an Origin field's value is among them.
    #[must_use]
    pub fn contains(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(known) => origin.eq_ignore_ascii_case(known.as_bytes()),
            Self::Below { before, behind } => {
                let labels = between(origin, before.as_bytes(), behind.as_bytes());
                labels.is_some_and(|labels| {
                    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.".contains(byte);
                    !labels.is_empty() && labels.iter().all(fits)
                })
            }
        }
    }
}

fn between<'o>(origin: &'o [u8], before: &[u8], behind: &[u8]) -> Option<&'o [u8]> {
    let (start, rest) = origin.split_at_checked(before.len())?;
    let (labels, end) = rest.split_at_checked(rest.len().checked_sub(behind.len())?)?;
    let fits = start.eq_ignore_ascii_case(before) && end.eq_ignore_ascii_case(behind);
    fits.then_some(labels)
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(origin) => f.write_str(origin),
            Self::Below { before, behind } => write!(f, "{before}*{behind}"),
        }
    }
}

pub(super) const CORS: Section = section(
    "service.NAME.cors",
    &[
        key("origins", r#"["https://app.example.com"]"#),
        key("methods", r#"["GET", "POST"]"#),
        key("headers", r#"["Content-Type"]"#),
        key("exposed", r#"["X-Total-Count"]"#),
        key("credentials", "true"),
        key("max_age", r#""10m""#),
    ],
);

impl Default for Cors {
    fn default() -> Self {
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        Self {
            origins: Vec::new(),
            methods: methods.map(str::to_owned).to_vec(),
            headers: Vec::new(),
            exposed: Vec::new(),
            credentials: false,
            max_age: Duration::from_mins(10),
        }
    }
}

pub(super) fn read(service: &Table<'_>) -> Cors {
    let table = service.table("cors", &CORS);
    let default = Cors::default();
    let origins = table.get("origins").and_then(|value| value.list());
    let cors = Cors {
        origins: origins.map_or(default.origins, |items| {
            items.iter().filter_map(origin).collect()
        }),
        methods: tokens(&table, "methods", "a method").unwrap_or(default.methods),
        headers: tokens(&table, "headers", "a header's name").unwrap_or(default.headers),
        exposed: tokens(&table, "exposed", "a header's name").unwrap_or(default.exposed),
        credentials: table.flag("credentials", default.credentials),
        max_age: table.duration("max_age", Zero::Allowed, default.max_age),
    };
    if cors.credentials
        && cors.origins.contains(&Origins::Any)
        && let Some(value) = table.get("credentials")
    {
        value.wrong(
            "`credentials` with origins = [\"*\"] would let every page act as whoever looks at it",
            "name the origins, or leave `credentials` out",
        );
    }
    cors
}

fn tokens(table: &Table<'_>, key: &str, kind: &str) -> Option<Vec<String>> {
    let mut tokens = Vec::new();
    for item in table.get(key)?.list()? {
        let Some(text) = item.text() else { continue };
        if is_token(text) {
            tokens.push(text.to_owned());
        } else {
            item.wrong(
                format!("\"{}\" is not {kind}", clip(text)),
                "leave out spaces, commas and colons; one name for each item of the list",
            );
        }
    }
    Some(tokens)
}

fn origin(value: &Value<'_>) -> Option<Origins> {
    let text = value.text()?;
    if text == "*" {
        return Some(Origins::Any);
    }
    let lower = text.to_ascii_lowercase();
    let host = lower.split_once("://").map(|(_, host)| host);
    let is_origin = host.is_some_and(|host| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]*".contains(&byte);
        !host.is_empty() && host.bytes().all(plain)
    });
    if is_origin {
        match lower.split_once('*') {
            None => return Some(Origins::Exact(lower)),
            Some((before, behind))
                if before.ends_with("://") && behind.starts_with('.') && !behind.contains('*') =>
            {
                return Some(Origins::Below {
                    before: before.to_owned(),
                    behind: behind.to_owned(),
                });
            }
            Some(_) => {}
        }
    }
    value.wrong(
        format!("\"{}\" is no origin", clip(text)),
        "write scheme and host, as in \"https://app.example.com\" or \"https://*.example.com\", or \"*\" for all",
    );
    None
}

pub(super) fn changes(lines: &mut Differences, old: &Cors, new: &Cors) {
    let origins = |cors: &Cors| match &*cors.origins {
        [] => "none".to_owned(),
        origins => {
            let shown: Vec<_> = origins.iter().map(ToString::to_string).collect();
            shown.join(", ")
        }
    };
    lines.value("cors origins", &origins(old), &origins(new));
    let list = |names: &[String]| format!("[{}]", names.join(", "));
    let (a, b) = (list(&old.methods), list(&new.methods));
    lines.value("cors methods", &a, &b);
    let (a, b) = (list(&old.headers), list(&new.headers));
    lines.value("cors headers", &a, &b);
    let (a, b) = (list(&old.exposed), list(&new.exposed));
    lines.value("cors exposed", &a, &b);
    lines.value("cors credentials", &old.credentials, &new.credentials);
    lines.time("cors max_age", old.max_age, new.max_age);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_compared_as_a_whole() {
        let exact = Origins::Exact("https://app.example.com".to_owned());
        assert!(exact.contains(b"https://App.Example.com"));
        for other in [
            "https://app.example.com.evil.com",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://xapp.example.com",
            "null",
            "",
        ] {
            assert!(!exact.contains(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn whatever_is_below_a_domain_has_a_name_in_front_of_it() {
        let below = Origins::Below {
            before: "https://".to_owned(),
            behind: ".example.com".to_owned(),
        };
        for inside in ["https://a.example.com", "https://a.b.example.com"] {
            assert!(below.contains(inside.as_bytes()), "{inside}");
        }
        for outside in [
            "https://.example.com",
            "https://example.com",
            "https://evil.com/.example.com",
            "https://evil.com#.example.com",
            "https://evil.com:80@.example.com",
            "http://a.example.com",
            "https://aexample.com",
        ] {
            assert!(!below.contains(outside.as_bytes()), "{outside}");
        }
        assert_eq!(below.to_string(), "https://*.example.com");
    }
}
