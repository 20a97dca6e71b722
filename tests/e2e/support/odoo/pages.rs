//! Pages and health: what a browser and a probe ask for.

use super::answer::Answer;
use super::call::Call;
use super::call::pairs;
use super::database;
use super::database::fresh_session_id;
use super::site::Site;
use super::site::session_cookie;
use super::site::visitor_cookie;
use super::socket::Arrived;

/// Says 200 whatever happens to logins, to the other port or, in its plain form, to Postgres.
pub(super) fn health(site: &Site, call: &Call, path: &str) -> Option<Answer> {
    let (status, body) = match path {
        "/web/health" if call.query.contains_key("db_server_status") => {
            if site.database.is_down() {
                (500, r#"{"status": "fail", "db_server_status": false}"#)
            } else {
                (200, r#"{"status": "pass", "db_server_status": true}"#)
            }
        }
        "/web/health" => (200, r#"{"status": "pass"}"#),
        "/websocket/health" if !selects_database(site, call) || site.database.is_down() => {
            return Some(Answer::html(404, "<h1>Not Found</h1>"));
        }
        "/websocket/health" => (200, r#"{"status":"pass"}"#),
        _ => return None,
    };
    if call.method == "POST" {
        return Some(Answer::html(400, "Session expired (invalid CSRF token)"));
    }
    Some(
        Answer::bytes(status, "application/json", body)
            .with("Cache-Control", "no-store")
            .with("X-Content-Type-Options", "nosniff"),
    )
}

/// With `dbfilter` only the right host does.
pub(super) fn selects_database(site: &Site, call: &Call) -> bool {
    let filter = site.behaviour.database_host;
    filter.is_none_or(|host| host == call.host_name())
}

pub(super) fn answer(site: &Site, call: &Call, path: &str, body: &Arrived) -> Option<Answer> {
    match path {
        "/web/database/manager" | "/web/database/manager/" => {
            return Some(Answer::html(200, "Database manager"));
        }
        "/web/database/selector" => return Some(Answer::html(200, "Database selector")),
        // Served without the websocket that was asked for.
        "/websocket" if call.header("UPGRADE").is_some() => {
            return Some(Answer::html(500, "Couldn't bind the websocket"));
        }
        "/websocket" => return Some(Answer::html(400, "Bad Request")),
        _ => {}
    }
    if !selects_database(site, call) {
        return Some(Answer::redirect(303, "/web/database/selector"));
    }
    match path {
        "/web/login" if call.method == "POST" => Some(log_in(site, call, body)),
        "/web/login" => Some(login_page(site, call)),
        "/web/session/logout" => {
            if let Some(session) = &call.session {
                site.database.log_out(session);
            }
            let cookie = session_cookie(&fresh_session_id());
            Some(Answer::redirect(303, "/web/login").with("Set-Cookie", cookie))
        }
        "/" | "/odoo" => Some(home(site, call, path)),
        "/web" => Some(Answer::redirect(303, "/odoo")),
        "/whoami" => Some(who_am_i(site, call)),
        _ if path.starts_with("/odoo/") => Some(home(site, call, path)),
        _ => None,
    }
}

fn login_page(site: &Site, call: &Call) -> Answer {
    let hash = site.behaviour.assets;
    let assets = format!(
        "<link type=\"text/css\" rel=\"stylesheet\" href=\"/web/assets/{hash}/web.assets_frontend.min.css\"/>\
         <script type=\"text/javascript\" src=\"/web/assets/{hash}/web.assets_frontend.min.js\"></script>"
    );
    let form = format!("{assets}<form action=\"/web/login\">Log in</form>");
    let mut page = Answer::html(200, &form)
        .with("Cache-Control", "no-cache")
        .with("Set-Cookie", "frontend_lang=en_US; Path=/")
        .with("Set-Cookie", "frontend_lang=en_US; Path=/");
    if let Some(cookie) = visitor_cookie(call) {
        page = page.with("Set-Cookie", cookie);
    }
    page
}

fn log_in(site: &Site, call: &Call, body: &Arrived) -> Answer {
    let form = pairs(&String::from_utf8_lossy(&body.kept));
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    if site.database.is_out_of_step_with(&site.name) {
        return Answer::html(500, "Internal Server Error");
    }
    if (field("login"), field("password")) != (database::USER, database::PASSWORD) {
        return Answer::html(200, "Wrong login/password");
    }
    site.database.set_base_url(call.origin());
    let session = site.database.log_in(database::USER);
    let to = match field("redirect") {
        "" => "/odoo",
        redirect => redirect,
    };
    Answer::redirect(303, to).with("Set-Cookie", session_cookie(&session))
}

fn home(site: &Site, call: &Call, path: &str) -> Answer {
    if let Some(user) = &call.user {
        let page = Answer::html(200, &format!("{user} on {}", site.name));
        return page.with("Cache-Control", "no-store");
    }
    let answer = Answer::redirect(303, &format!("/web/login?redirect={path}"));
    match visitor_cookie(call) {
        Some(cookie) => answer.with("Set-Cookie", cookie),
        None => answer,
    }
}

/// The double's own: what the application knows of who asked.
fn who_am_i(site: &Site, call: &Call) -> Answer {
    let known = serde_json::json!({
        "colour": site.name,
        "url": format!("{}{}", call.origin(), call.path),
        "remote": call.remote,
        "session": call.session,
        "user": call.user,
        "base_url": site.database.base_url(),
    });
    Answer::bytes(200, "application/json", known.to_string())
}
