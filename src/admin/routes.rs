//! From method and path to what is asked for.

use super::entry::Entry;
use super::problem::NoRoute;
use super::problem::plain;
use super::problem::unknown;
use super::table::TABLE;
use http::Method;
use http::StatusCode;

/// What is asked for. Names are as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Status,
    Flip { service: &'a str },
    Rollback { service: &'a str },
    Confirm { service: &'a str },
    Cancel { service: &'a str },
    Probe { service: &'a str },
    Gate { service: &'a str },
    Acknowledge { service: &'a str },
    Canary { service: &'a str },
    Preview { service: &'a str },
    Label { service: &'a str },
    Hold { service: &'a str },
    Release { service: &'a str },
    Shadow { service: &'a str },
    ShadowReport { service: &'a str },
    Maintenance { service: &'a str },
    ReadOnly { service: &'a str },
    Requests,
    Kill { id: u64 },
    History,
    Events,
    Reload,
    Cache,
    CachePurge,
    Hooks,
    HookTest { name: &'a str },
    OpenApi,
    Metrics,
}

/// What stands in a path where the table has braces; empty and 0 where it has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) service: &'a str,
    pub(super) name: &'a str,
    pub(super) id: u64,
}

/// A route that was found.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) entry: &'static Entry,
    pub(super) parts: Parts<'a>,
}

impl<'a> Found<'a> {
    pub(super) fn route(&self) -> Route<'a> {
        (self.entry.route)(&self.parts)
    }
}

/// # Errors
/// 404 for a path that does not exist, 405 for one that wants another method.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Result<Found<'a>, NoRoute> {
    let mut allowed = Vec::new();
    let mut not_a_number = false;
    for entry in TABLE {
        match matched(entry.path, path) {
            Match::No => {}
            Match::NoNumber => not_a_number = true,
            Match::Yes(parts) if entry.verb.method() == *method => {
                return Ok(Found { entry, parts });
            }
            Match::Yes(_) => allowed.push(entry.verb.method()),
        }
    }
    if !allowed.is_empty() {
        return Err(NoRoute::method(path, method, allowed));
    }
    Err(NoRoute::path(if not_a_number {
        unknown(format!("request ids are numbers; {path} has none"))
    } else {
        let detail = format!("there is no {path}; the API starts with /v1/status");
        plain(StatusCode::NOT_FOUND, &detail)
    }))
}

enum Match<'a> {
    No,
    /// Everything fits but what should be a number.
    NoNumber,
    Yes(Parts<'a>),
}

fn matched<'a>(template: &str, path: &'a str) -> Match<'a> {
    let mut parts = Parts::default();
    let mut wanted = template.split('/');
    let mut given = path.split('/');
    let mut is_number = true;
    loop {
        match (wanted.next(), given.next()) {
            (None, None) if is_number => return Match::Yes(parts),
            (None, None) => return Match::NoNumber,
            (Some("{service}"), Some(service)) => parts.service = service,
            (Some("{name}"), Some(name)) => parts.name = name,
            (Some("{id}"), Some(id)) => match id.parse() {
                Ok(id) => parts.id = id,
                Err(_) => is_number = false,
            },
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return Match::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Concerns;
    use super::*;

    fn route<'a>(method: &Method, path: &'a str) -> Route<'a> {
        find(method, path).ok().unwrap().route()
    }

    #[test]
    fn every_line_of_the_table_leads_to_its_route() {
        let mut seen = Vec::new();
        for entry in TABLE {
            let path = entry
                .path
                .replace("{service}", "odoo")
                .replace("{id}", "7")
                .replace("{name}", "team");
            let found = find(&entry.verb.method(), &path).ok().unwrap();
            assert_eq!(found.entry.path, entry.path);
            assert!(
                !seen.contains(&(entry.verb.word(), entry.path)),
                "twice: {path}"
            );
            seen.push((entry.verb.word(), entry.path));
            assert_eq!(
                entry.path.contains("{service}"),
                entry.concerns == Concerns::Service,
                "{}: whose path names a service is `of_service`",
                entry.path
            );
        }
        assert!(seen.len() > 10);
    }

    #[test]
    fn names_and_numbers_are_taken_from_the_path() {
        let service = "odoo";
        assert_eq!(
            route(&Method::POST, "/v1/services/odoo/flip"),
            Route::Flip { service }
        );
        assert_eq!(
            route(&Method::DELETE, "/v1/requests/17"),
            Route::Kill { id: 17 }
        );
        assert_eq!(route(&Method::GET, "/metrics"), Route::Metrics);
    }

    #[test]
    fn a_wrong_method_is_told_the_right_one() {
        let wrong = find(&Method::GET, "/v1/reload").err().unwrap();
        assert_eq!(wrong.problem.status, 405);
        assert_eq!(wrong.allow, [Method::POST]);
    }

    #[test]
    fn a_wrong_path_is_no_method_mistake() {
        for path in [
            "/",
            "",
            "v1/status",
            "/v1",
            "/v1/status/",
            "/v1/statuses",
            "/v1/services//flip/x",
            "/v2/status",
            "/v1/requests/x",
        ] {
            let wrong = find(&Method::GET, path).err().unwrap();
            assert_eq!(wrong.problem.status, 404, "{path}");
            assert!(wrong.allow.is_empty(), "{path}");
        }
    }
}
