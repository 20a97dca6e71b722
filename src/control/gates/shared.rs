//! Is a session that was made on the active slot good on the other one? Both need the same data directory.
//!
//! A session takes a login, and the login of an administrator rewrites `web.base.url` to the site he seems to come
//! from. So this one comes from where `web.base.url` points already: whatever Odoo writes is what stands there.

use super::asking::Asker;
use super::check::Check;
use super::odoo::Call;
use super::odoo::authenticate;
use super::odoo::execute;
use super::rpc;
use super::rpc::RpcFailure;
use super::steps::cookie;
use super::trial::Active;
use super::trial::Trial;
use crate::config::Gate;
use crate::config::OdooGate;
use crate::config::Origin;
use serde_json::Value;
use serde_json::json;
use tokio::time::Instant;

const NAME: &str = "session";
const BASE_URL: &str = "web.base.url";
const FROZEN: &str = "web.base.url.freeze";

/// Nothing to say where the slot is the active one.
pub(super) async fn session(trial: &Trial, gate: &Gate, odoo: &OdooGate) -> Vec<Check> {
    let Some(active) = &trial.active else {
        return Vec::new();
    };
    let Some(main) = trial.members().into_iter().next() else {
        return Vec::new();
    };
    let started = Instant::now();
    if active.is_bad {
        let said = format!("{} is not well: no session can be made there", active.slot);
        return vec![Check::warning(
            NAME,
            said,
            "nothing is known of the data directory",
        )];
    }
    let mut makers = trial.active_askers(active, gate, &main);
    let Some(maker) = makers.drain(..).next() else {
        return Vec::new();
    };
    let made = match make(maker, active, odoo, gate).await {
        Ok(made) => made,
        Err(check) => return vec![check.took(started.elapsed())],
    };
    let mut checks = Vec::new();
    for asker in trial.askers(gate, &main) {
        let started = Instant::now();
        let check = accepted(&asker, &made, trial, active).await;
        checks.push(check.at(&asker.name()).took(started.elapsed()));
    }
    made.end().await;
    checks
}

/// A session on the active slot.
struct Made<'a> {
    /// As whom it was made.
    uid: u64,
    id: String,
    maker: Asker<'a>,
}

impl Made<'_> {
    /// Nobody needs it any more; it would end by itself some day.
    async fn end(self) {
        let path = "/web/session/destroy";
        drop(rpc::post(&self.maker, path, json!({}), Some(&self.id)).await);
    }
}

async fn make<'a>(
    mut maker: Asker<'a>,
    active: &Active,
    odoo: &OdooGate,
    gate: &Gate,
) -> Result<Made<'a>, Check> {
    let slot = &active.slot;
    let without = format!(
        "without a session this cannot be told: session = false in gate {} leaves it out",
        gate.name
    );
    let unknown = |said: String| Check::inconclusive(NAME, said, without.clone());
    let failed =
        |what: &str, failure: &RpcFailure| unknown(format!("{slot} (active) {what}: {failure}"));
    let uid = match authenticate(&maker, odoo).await {
        Ok(Some(uid)) => uid,
        Ok(None) => {
            return Err(unknown(format!(
                "{slot} (active) knows no such user or password"
            )));
        }
        Err(failure) => return Err(failed("cannot log in", &failure)),
    };
    match base_url(&maker, odoo, uid).await {
        Ok(BaseUrl::At(origin)) => maker.origin = origin,
        Ok(BaseUrl::Frozen) => {}
        // Who may not read it is no administrator: his login rewrites nothing.
        Err(failure) if is_no_right(&failure) => {}
        Ok(BaseUrl::Odd(url)) => {
            let said = format!("{BASE_URL} is {url:?}, and a login might rewrite it");
            return Err(unknown(said));
        }
        Err(failure) => return Err(failed("does not tell its web.base.url", &failure)),
    }
    let params =
        json!({"db": odoo.database, "login": odoo.login, "password": odoo.password.reveal()});
    let reply = match rpc::post(&maker, "/web/session/authenticate", params, None).await {
        Ok(reply) => reply,
        Err(failure) if failure.is_access_denied() => {
            return Err(unknown(format!(
                "{slot} (active) opens no session for this password; an API key cannot have one"
            )));
        }
        Err(failure) => return Err(failed("opens no session", &failure)),
    };
    let is_in = reply.value.get("uid").and_then(Value::as_u64) == Some(uid);
    match cookie(&reply.visited, "session_id") {
        Some(id) if is_in => Ok(Made { uid, id, maker }),
        _ => Err(unknown(format!(
            "{slot} (active) wants more than a password of {:?}, a second factor perhaps",
            odoo.login
        ))),
    }
}

enum BaseUrl {
    At(Origin),
    /// No login rewrites it.
    Frozen,
    /// What no login could have written.
    Odd(String),
}

async fn base_url(maker: &Asker<'_>, odoo: &OdooGate, uid: u64) -> Result<BaseUrl, RpcFailure> {
    let call = Call {
        model: "ir.config_parameter",
        method: "search_read",
        args: json!([[["key", "in", [BASE_URL, FROZEN]]]]),
        options: json!({"fields": ["key", "value"]}),
    };
    let result = execute(maker, odoo, uid, call).await?;
    let parameters = result.as_array().cloned().unwrap_or_default();
    let value = |key: &str| {
        let mut found = parameters.iter();
        let found = found.find(|it| it.get("key").and_then(Value::as_str) == Some(key))?;
        found.get("value")?.as_str().map(str::to_owned)
    };
    if value(FROZEN).is_some_and(|value| !value.is_empty() && value != "False") {
        return Ok(BaseUrl::Frozen);
    }
    let url = value(BASE_URL).unwrap_or_default();
    Ok(origin(&url).map_or(BaseUrl::Odd(url), BaseUrl::At))
}

/// None where it is more than scheme and host.
fn origin(url: &str) -> Option<Origin> {
    let (scheme, host) = url.split_once("://")?;
    let is_https = match scheme {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b);
    (!host.is_empty() && host.bytes().all(plain)).then(|| Origin {
        is_https,
        host: host.to_owned(),
    })
}

fn is_no_right(failure: &RpcFailure) -> bool {
    matches!(failure, RpcFailure::Refused { name, .. } if name.contains("AccessError"))
}

async fn accepted(asker: &Asker<'_>, made: &Made<'_>, trial: &Trial, active: &Active) -> Check {
    let path = "/web/session/get_session_info";
    let (slot, other) = (&trial.slot, &active.slot);
    let said = match rpc::post(asker, path, json!({}), Some(&made.id)).await {
        Ok(reply) => match reply.value.get("uid").and_then(Value::as_u64) {
            Some(uid) if uid == made.uid => {
                return Check::passed(NAME, format!("one made on {other} is good on {slot}"));
            }
            _ => format!("{slot} does not know a session that was made on {other}"),
        },
        Err(failure) if failure.is_expired_session() => {
            format!("{slot} does not know a session that was made on {other} (session expired)")
        }
        Err(failure) => {
            let remedy = format!("look at the log of {slot}");
            return Check::failed(NAME, failure.to_string(), remedy);
        }
    };
    let remedy = format!(
        "give both slots the same data directory (`data_dir`), or every user is logged out and attachments and assets of {other} are missing"
    );
    Check::failed(NAME, said, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_site_is_one_that_a_login_would_write_again() {
        for url in [
            "https://erp.example.com",
            "http://localhost:8069",
            "http://[::1]:8069",
        ] {
            assert_eq!(origin(url).unwrap().to_string(), url);
        }
        for url in [
            "",
            "erp.example.com",
            "https://erp.example.com/web",
            "ftp://a",
            "https://",
        ] {
            assert_eq!(origin(url), None, "{url}");
        }
    }
}
