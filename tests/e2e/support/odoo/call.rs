//! A request as the application sees it: through WSGI, and through `proxy_mode`.

use super::super::message::Head;
use super::database::Database;
use percent_encoding::percent_decode_str;
use std::collections::HashMap;

pub(super) struct Call {
    pub(super) method: String,
    /// Decoded once, as WSGI does.
    pub(super) path: String,
    pub(super) query: HashMap<String, String>,
    /// Header names in capitals, `-` and `_` alike; lines of one name joined.
    environ: HashMap<String, String>,
    /// With its port.
    pub(super) host: String,
    pub(super) scheme: String,
    /// The client, as the login log tells it.
    pub(super) remote: String,
    /// As the cookie says, whether somebody is logged in there or not.
    pub(super) session: Option<String>,
    /// Who is logged in.
    pub(super) user: Option<String>,
}

/// How a server joins the lines of one header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Joining {
    /// By commas, cookies too: two Cookie lines are one broken one.
    Werkzeug,
    /// Cookies by `; `.
    Gevent,
}

impl Call {
    /// None without a Host: the application breaks over that.
    pub(super) fn of(head: &Head, joining: Joining, database: &Database) -> Option<Self> {
        let environ = environ(head, joining);
        let value = |name: &str| environ.get(name).cloned();
        let last = |name: &str| {
            value(name).map(|list| {
                list.rsplit(',')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            })
        };
        let mut host = value("HOST").filter(|host| !host.is_empty())?;
        let mut scheme = "http".to_owned();
        let mut remote = "127.0.0.1".to_owned();
        // `proxy_mode`: nothing else is looked at unless this one is there.
        if let Some(forwarded) = last("X_FORWARDED_HOST") {
            host = forwarded;
            scheme = last("X_FORWARDED_PROTO").unwrap_or(scheme);
            remote = last("X_FORWARDED_FOR").unwrap_or(remote);
        }
        let target = origin_form(head.target());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let cookies = value("COOKIE").unwrap_or_default();
        let session = cookie(&cookies, "session_id");
        let user = session.as_ref().and_then(|id| database.user_of(id));
        Some(Self {
            method: head.method().to_owned(),
            path: decoded(path),
            query: pairs(query),
            host,
            scheme,
            remote,
            session,
            user,
            environ,
        })
    }

    /// By its name in capitals with `_`.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.environ.get(name).map(String::as_str)
    }

    pub(super) fn host_name(&self) -> &str {
        self.host
            .rsplit_once(':')
            .map_or(&self.host, |(name, _)| name)
    }

    pub(super) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }

    pub(super) fn milliseconds(&self, name: &str) -> Option<u64> {
        self.query.get(name)?.parse().ok()
    }
}

fn origin_form(target: &str) -> &str {
    let after = target.split_once("://").map(|(_, after)| after);
    match after.filter(|_| !target.starts_with('/')) {
        Some(after) => after.find('/').map_or("/", |slash| &after[slash..]),
        None => target,
    }
}

fn environ(head: &Head, joining: Joining) -> HashMap<String, String> {
    let mut environ: HashMap<String, String> = HashMap::new();
    for (name, value) in &head.headers {
        let name = name.to_uppercase().replace('-', "_");
        let with = match joining {
            Joining::Gevent if name == "COOKIE" => "; ",
            _ => ",",
        };
        environ
            .entry(name)
            .and_modify(|before| *before = format!("{before}{with}{value}"))
            .or_insert_with(|| value.clone());
    }
    environ
}

/// The first of that name.
fn cookie(cookies: &str, name: &str) -> Option<String> {
    cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value.to_owned())
}

pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Of a query or a form.
pub(super) fn pairs(text: &str) -> HashMap<String, String> {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(&value.replace('+', " "))))
        .collect()
}
