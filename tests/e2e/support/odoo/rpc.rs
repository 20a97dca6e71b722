//! JSON-RPC: every failure of the application is an HTTP 200 with an `error`.

use super::answer::Answer;
use super::call::Call;
use super::database;
use super::database::Database;
use super::site::Site;
use super::site::run_query;
use super::site::session_cookie;
use super::socket::Arrived;
use serde_json::Value;
use serde_json::json;

/// Of the only user.
const USER_ID: u64 = 2;

struct Failure {
    code: u16,
    name: &'static str,
    message: String,
}

type Outcome = Result<Value, Failure>;

pub(super) async fn answer(site: &Site, call: &Call, path: &str, body: &Arrived) -> Option<Answer> {
    let method = path
        .strip_prefix("/web/session/")
        .filter(|name| *name != "logout");
    let is_rpc = path == "/jsonrpc" || path.starts_with("/web/dataset/call_kw") || method.is_some();
    if !is_rpc || call.method == "GET" {
        return None;
    }
    let asked: Value = match serde_json::from_slice(&body.kept) {
        Ok(asked) => asked,
        // Longer than what was kept: it was taken as a whole.
        Err(_) if body.is_whole && !body.is_kept_whole() => json!({}),
        Err(_) if body.is_whole => return Some(Answer::html(400, "Invalid JSON data")),
        // Odoo's socket gave up in the middle, and the parser made an error of that.
        Err(_) => json!({"params": {"broken": true}}),
    };
    let params = &asked["params"];
    let mut cookie = None;
    let outcome = if params["broken"] == true {
        Err(server_error("builtins.TimeoutError", "timed out"))
    } else if path == "/jsonrpc" {
        service(site, params).await
    } else if method == Some("authenticate") {
        authenticate(site, call, params).map(|(result, session)| {
            cookie = Some(session_cookie(&session));
            result
        })
    } else if call.user.is_none() {
        Err(Failure {
            code: 100,
            name: "odoo.http.SessionExpiredException",
            message: "Odoo Session Expired".to_owned(),
        })
    } else if let Some(method) = method {
        session(site, call, method)
    } else {
        method_call(site, params).await
    };
    let answer = Answer::bytes(
        200,
        "application/json; charset=utf-8",
        told(&asked, outcome),
    );
    Some(match cookie {
        Some(cookie) => answer.with("Set-Cookie", cookie),
        None => answer,
    })
}

fn told(asked: &Value, outcome: Outcome) -> String {
    let mut answer = json!({"jsonrpc": "2.0", "id": asked["id"]});
    match outcome {
        Ok(result) => answer["result"] = result,
        Err(failure) => {
            answer["error"] = json!({
                "code": failure.code,
                "message": if failure.code == 100 { "Odoo Session Expired" } else { "Odoo Server Error" },
                "data": {"name": failure.name, "message": failure.message},
            });
        }
    }
    answer.to_string()
}

fn server_error(name: &'static str, message: &str) -> Failure {
    Failure {
        code: 200,
        name,
        message: message.to_owned(),
    }
}

fn refuse_out_of_step(site: &Site) -> Result<(), Failure> {
    if site.database.is_out_of_step_with(&site.name) {
        return Err(server_error(
            "psycopg2.errors.UndefinedColumn",
            "column res_users.lab_new does not exist",
        ));
    }
    Ok(())
}

fn authenticate(site: &Site, call: &Call, params: &Value) -> Result<(Value, String), Failure> {
    refuse_out_of_step(site)?;
    if params["db"] != database::NAME {
        return Err(server_error(
            "psycopg2.OperationalError",
            "database does not exist",
        ));
    }
    if params["login"] != database::USER || params["password"] != database::PASSWORD {
        return Err(server_error(
            "odoo.exceptions.AccessDenied",
            "Access Denied",
        ));
    }
    site.database.set_base_url(call.origin());
    let session = site.database.log_in(database::USER);
    let result = json!({"uid": USER_ID, "db": database::NAME, "username": database::USER});
    Ok((result, session))
}

fn session(site: &Site, call: &Call, method: &str) -> Outcome {
    match method {
        "get_session_info" => Ok(json!({"uid": USER_ID, "db": database::NAME})),
        "check" => Ok(Value::Null),
        "destroy" => {
            if let Some(session) = &call.session {
                site.database.log_out(session);
            }
            Ok(Value::Null)
        }
        other => Err(server_error("werkzeug.exceptions.NotFound", other)),
    }
}

/// `/jsonrpc`: no cookie, no session, `web.base.url` stays.
async fn service(site: &Site, params: &Value) -> Outcome {
    let args = &params["args"];
    match (params["service"].as_str(), params["method"].as_str()) {
        (Some("common"), Some("version")) => Ok(json!({"server_version": "18.0"})),
        (_, _) if args[0] != database::NAME => Err(server_error(
            "psycopg2.OperationalError",
            "database does not exist",
        )),
        (Some("common"), Some("authenticate")) => {
            refuse_out_of_step(site)?;
            let known = args[1] == database::USER && args[2] == database::PASSWORD;
            Ok(if known { json!(USER_ID) } else { json!(false) })
        }
        (Some("object"), Some("execute_kw")) => {
            if args[1] != USER_ID || args[2] != database::PASSWORD {
                return Err(server_error(
                    "odoo.exceptions.AccessDenied",
                    "Access Denied",
                ));
            }
            let call = json!({
                "model": args[3], "method": args[4], "args": args[5], "kwargs": args[6],
            });
            method_call(site, &call).await
        }
        _ => Err(server_error("builtins.AttributeError", "no such service")),
    }
}

/// A call of a model. The double's own: `sleep_ms` among the keyword arguments makes it slow, the method `fail`
/// fails, and methods it does not know give their arguments back.
async fn method_call(site: &Site, params: &Value) -> Outcome {
    let kwargs = &params["kwargs"];
    if let Some(time) = kwargs["sleep_ms"].as_u64() {
        run_query(site, time).await;
    }
    let args = &params["args"];
    let asked = (params["model"].as_str(), params["method"].as_str());
    // Its columns are never the ones that changed: this answers also where nobody can log in.
    if asked == (Some("ir.module.module"), Some("search_read")) {
        return Ok(modules(site, args));
    }
    refuse_out_of_step(site)?;
    match asked {
        (_, Some("fail")) => Err(server_error("odoo.exceptions.UserError", "It failed")),
        (Some("ir.config_parameter"), Some("search_read")) => {
            Ok(json!([{"id": 1, "key": "web.base.url", "value": site.database.base_url()}]))
        }
        (Some("res.users"), Some("search_read")) => Ok(json!([{"id": USER_ID}])),
        (Some("res.users"), Some("read")) => {
            Ok(json!([{"id": USER_ID, "login": database::USER, "name": "Mitchell Admin"}]))
        }
        (Some("res.partner"), Some("search_read")) => {
            let first = site.database.partners().keys().min().copied();
            Ok(first.into_iter().map(|id| json!({"id": id})).collect())
        }
        (Some("res.partner"), Some(method)) => Ok(partners(&site.database, method, args)),
        (_, Some("write" | "create" | "unlink")) => {
            site.database.wrote();
            Ok(json!(site.database.next_id()))
        }
        _ => Ok(args.clone()),
    }
}

/// Those that wait to be installed, upgraded or removed; else those that are installed, with the version of the
/// code that answers.
fn modules(site: &Site, args: &Value) -> Value {
    if args[0][0][1] == "in" {
        let pending = site.database.pending().into_iter();
        return pending
            .map(|(name, state)| json!({"name": name, "state": state}))
            .collect();
    }
    let in_code = |name: &str| {
        let mut modules = site.behaviour.modules.iter();
        let found = modules.find(|(known, _)| *known == name);
        // As for a module that is not in the code at all.
        found.map_or("18.0.1.0", |(_, version)| version)
    };
    let installed = site.database.modules().into_iter();
    installed
        .map(|(name, version)| {
            json!({"name": name, "latest_version": version, "installed_version": in_code(&name)})
        })
        .collect()
}

fn partners(database: &Database, method: &str, args: &Value) -> Value {
    let ids = |args: &Value| -> Vec<u64> {
        let list = args[0].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(Value::as_u64).collect()
    };
    match method {
        "create" => {
            database.wrote();
            let id = database.next_id();
            let name = args[0]["name"].as_str().unwrap_or_default().to_owned();
            database.partners().insert(id, name);
            json!(id)
        }
        "write" => {
            database.wrote();
            let name = args[1]["name"].as_str().unwrap_or_default().to_owned();
            for id in ids(args) {
                database.partners().insert(id, name.clone());
            }
            json!(true)
        }
        "unlink" => {
            database.wrote();
            for id in ids(args) {
                database.partners().remove(&id);
            }
            json!(true)
        }
        _ => {
            let partners = database.partners();
            let found = ids(args).into_iter().filter_map(|id| {
                let name = partners.get(&id)?;
                Some(json!({"id": id, "name": name}))
            });
            found.collect()
        }
    }
}
