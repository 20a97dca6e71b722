//! From method and path to what is asked for.

use super::problem::NoRoute;
use super::problem::Wrong;
use super::problem::plain;
use super::problem::unknown;
use http::Method;
use http::StatusCode;

/// What is asked for. Names are as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Status,
    Flip { service: &'a str },
    Rollback { service: &'a str },
    Probe { service: &'a str },
    Acknowledge { service: &'a str },
    Label { service: &'a str },
    Hold { service: &'a str },
    Release { service: &'a str },
    Maintenance { service: &'a str },
    ReadOnly { service: &'a str },
    Requests,
    Kill { id: u64 },
    History,
    Events,
    Reload,
    Cache,
    CachePurge,
    Metrics,
}

/// # Errors
/// 404 for a path that does not exist, 405 for one that wants another method.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Result<Route<'a>, NoRoute> {
    let (allowed, route) = lookup(path).map_err(NoRoute::path)?;
    if *method == allowed {
        return Ok(route);
    }
    Err(NoRoute::method(path, method, allowed))
}

fn lookup(path: &str) -> Result<(Method, Route<'_>), Wrong> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let route = match segments[..] {
        ["v1", "status"] => (Method::GET, Route::Status),
        ["v1", "services", service, "flip"] => (Method::POST, Route::Flip { service }),
        ["v1", "services", service, "rollback"] => (Method::POST, Route::Rollback { service }),
        ["v1", "services", service, "probe"] => (Method::POST, Route::Probe { service }),
        ["v1", "services", service, "ack"] => (Method::POST, Route::Acknowledge { service }),
        ["v1", "services", service, "label"] => (Method::POST, Route::Label { service }),
        ["v1", "services", service, "hold"] => (Method::POST, Route::Hold { service }),
        ["v1", "services", service, "release"] => (Method::POST, Route::Release { service }),
        ["v1", "services", service, "maintenance"] => {
            (Method::POST, Route::Maintenance { service })
        }
        ["v1", "services", service, "read_only"] => (Method::POST, Route::ReadOnly { service }),
        ["v1", "ps"] => (Method::GET, Route::Requests),
        ["v1", "requests", id] => {
            let id = id.parse();
            let id =
                id.map_err(|_| unknown(format!("request ids are numbers; {path} has none")))?;
            (Method::DELETE, Route::Kill { id })
        }
        ["v1", "history"] => (Method::GET, Route::History),
        ["v1", "events"] => (Method::GET, Route::Events),
        ["v1", "reload"] => (Method::POST, Route::Reload),
        ["v1", "cache"] => (Method::GET, Route::Cache),
        ["v1", "cache", "purge"] => (Method::POST, Route::CachePurge),
        ["metrics"] => (Method::GET, Route::Metrics),
        _ => {
            let detail = format!("there is no {path}; the API starts with /v1/status");
            return Err(plain(StatusCode::NOT_FOUND, &detail));
        }
    };
    Ok(route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_path_has_its_route() {
        let service = "odoo";
        for (method, path, route) in [
            (Method::GET, "/v1/status", Route::Status),
            (
                Method::POST,
                "/v1/services/odoo/flip",
                Route::Flip { service },
            ),
            (
                Method::POST,
                "/v1/services/odoo/rollback",
                Route::Rollback { service },
            ),
            (
                Method::POST,
                "/v1/services/odoo/probe",
                Route::Probe { service },
            ),
            (
                Method::POST,
                "/v1/services/odoo/ack",
                Route::Acknowledge { service },
            ),
            (
                Method::POST,
                "/v1/services/odoo/label",
                Route::Label { service },
            ),
            (
                Method::POST,
                "/v1/services/odoo/hold",
                Route::Hold { service },
            ),
            (
                Method::POST,
                "/v1/services/odoo/release",
                Route::Release { service },
            ),
            (
                Method::POST,
                "/v1/services/odoo/maintenance",
                Route::Maintenance { service },
            ),
            (
                Method::POST,
                "/v1/services/odoo/read_only",
                Route::ReadOnly { service },
            ),
            (Method::GET, "/v1/ps", Route::Requests),
            (Method::DELETE, "/v1/requests/17", Route::Kill { id: 17 }),
            (Method::GET, "/v1/history", Route::History),
            (Method::GET, "/v1/events", Route::Events),
            (Method::POST, "/v1/reload", Route::Reload),
            (Method::GET, "/v1/cache", Route::Cache),
            (Method::POST, "/v1/cache/purge", Route::CachePurge),
            (Method::GET, "/metrics", Route::Metrics),
        ] {
            assert_eq!(find(&method, path), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_one() {
        let wrong = find(&Method::GET, "/v1/reload").unwrap_err();
        assert_eq!(wrong.problem.status, 405);
        assert_eq!(wrong.allow, Some(Method::POST));
    }

    #[test]
    fn a_wrong_path_is_no_method_mistake() {
        for path in [
            "/",
            "/v1",
            "/v1/statuses",
            "/v1/services//flip/x",
            "/v2/status",
            "/v1/requests/x",
        ] {
            let wrong = find(&Method::GET, path).unwrap_err();
            assert_eq!((wrong.problem.status, wrong.allow), (404, None), "{path}");
        }
    }
}
