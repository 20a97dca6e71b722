//! Gates of kind "odoo": do code and database of a slot belong together, and does all of it work?
//!
//! Through `/jsonrpc`, which makes no session and writes nothing. `/web/health` says 200 in every case that is
//! looked for here.

use super::asking::Asker;
use super::check::Attempt;
use super::check::Check;
use super::rpc;
use super::rpc::RpcFailure;
use super::shared;
use super::trial::Trial;
use super::versions;
use super::versions::Module;
use super::websocket;
use crate::config::Gate;
use crate::config::OdooGate;
use crate::config::SmokeTest;
use serde_json::Value;
use serde_json::json;
use tokio::time::Instant;

/// Every address of the main member for itself, then what concerns the slot.
pub(super) async fn attempt(trial: &Trial, gate: &Gate, odoo: &OdooGate) -> Attempt {
    let mut attempt = Attempt::default();
    let main = trial.members().into_iter().next();
    for asker in main.iter().flat_map(|main| trial.askers(gate, main)) {
        let mut look = Look {
            trial,
            gate,
            odoo,
            asker,
            checks: Vec::new(),
            fingerprint: None,
            uid: None,
        };
        look.all().await;
        attempt.checks.extend(look.checks);
        attempt.fingerprint = attempt.fingerprint.or(look.fingerprint);
        attempt.uid = attempt.uid.or(look.uid);
    }
    if odoo.websocket {
        attempt.checks.extend(websocket::opens(trial, gate).await);
    }
    if odoo.session {
        attempt
            .checks
            .extend(shared::session(trial, gate, odoo).await);
    }
    attempt
}

/// One address, and what was seen there.
pub(super) struct Look<'a> {
    pub(super) trial: &'a Trial,
    gate: &'a Gate,
    odoo: &'a OdooGate,
    asker: Asker<'a>,
    checks: Vec<Check>,
    fingerprint: Option<String>,
    uid: Option<u64>,
}

impl Look<'_> {
    async fn all(&mut self) {
        let Some(uid) = self.authenticate().await else {
            return;
        };
        self.uid = Some(uid);
        let modules = self.modules(uid).await;
        self.pending(uid).await;
        if let Some(modules) = &modules {
            self.installed(modules);
        }
        for model in &self.odoo.models {
            self.read(uid, model).await;
        }
        let writes = match self.odoo.smoke_test {
            SmokeTest::Off => false,
            SmokeTest::Active => self.trial.active.is_none(),
            SmokeTest::Always => true,
        };
        if writes {
            self.smoke(uid).await;
        }
    }

    pub(super) fn found(&mut self, check: Check, started: Instant) {
        let check = check.at(&self.asker.name()).took(started.elapsed());
        self.checks.push(check);
    }

    /// None where there is nobody to go on as.
    async fn authenticate(&mut self) -> Option<u64> {
        let started = Instant::now();
        let (check, uid) = match authenticate(&self.asker, self.odoo).await {
            Ok(Some(uid)) => (
                Check::passed("authenticate", format!("uid {uid}")),
                Some(uid),
            ),
            Ok(None) => (wrong_password(self.odoo, self.gate), None),
            Err(failure) => {
                let remedy = self.remedy(&failure);
                let check = Check::failed("authenticate", failure.to_string(), remedy);
                self.found(check, started);
                self.explain(&failure).await;
                return None;
            }
        };
        self.found(check, started);
        uid
    }

    /// Nobody can log in. What the versions say tells why, and asking needs no login, only the user's number:
    /// the active slot knows it.
    async fn explain(&mut self, failure: &RpcFailure) {
        let Some(active) = &self.trial.active else {
            return;
        };
        if !matches!(failure, RpcFailure::Refused { .. }) || failure.is_about_database() {
            return;
        }
        let main = self.trial.members().into_iter().next();
        let asker = main.and_then(|main| {
            let mut askers = self.trial.active_askers(active, self.gate, &main);
            askers.drain(..).next()
        });
        let Some(asker) = asker else { return };
        if let Ok(Some(uid)) = authenticate(&asker, self.odoo).await {
            self.modules(uid).await;
        }
    }

    pub(super) async fn call(&self, uid: u64, call: Call<'_>) -> Result<Value, RpcFailure> {
        execute(&self.asker, self.odoo, uid, call).await
    }

    /// None where they cannot be told.
    async fn modules(&mut self, uid: u64) -> Option<Vec<Module>> {
        let started = Instant::now();
        let listed = self.call(uid, installed_modules()).await;
        let modules = match listed.map(|result| versions::modules(&result)) {
            Ok(Some(modules)) if !modules.is_empty() => modules,
            Ok(_) => {
                let said = "the slot names no installed module";
                let remedy = format!(
                    "give user {} the right to read modules (Administration / Settings)",
                    self.odoo.login
                );
                self.found(Check::inconclusive("modules", said, remedy), started);
                return None;
            }
            Err(failure) => {
                let remedy = self.remedy(&failure);
                let check = Check::failed("modules", failure.to_string(), remedy);
                self.found(check, started);
                return None;
            }
        };
        self.fingerprint = Some(versions::fingerprint(&modules));
        let check = match versions::out_of_step(&modules) {
            None => {
                let count = modules.len();
                Check::passed("modules", format!("{count} installed, as in the code"))
            }
            Some(out) => Check::failed("modules", out.said.clone(), self.bring_in_step(&out)),
        };
        self.found(check, started);
        Some(modules)
    }

    fn bring_in_step(&self, out: &versions::OutOfStep) -> String {
        let slot = &self.trial.slot;
        let update = format!(
            "update the database to the code of {slot} (odoo-bin -u {} --stop-after-init) while nobody writes",
            out.to_update.join(",")
        );
        let other_code = format!("start {slot} with the code that the database was updated to");
        match (out.to_update.is_empty(), out.has_older) {
            (true, _) => other_code,
            (false, false) => format!("{update}, or start {slot} with the older code"),
            (false, true) => format!("{other_code}; or {update}"),
        }
    }

    async fn pending(&mut self, uid: u64) {
        let started = Instant::now();
        let call = Call {
            model: "ir.module.module",
            method: "search_read",
            args: json!([[["state", "in", ["to install", "to upgrade", "to remove"]]]]),
            options: json!({"fields": ["name", "state"]}),
        };
        let check = match self.call(uid, call).await {
            Ok(Value::Array(waiting)) if waiting.is_empty() => Check::passed(
                "pending",
                "no module waits to be installed, upgraded or removed",
            ),
            Ok(result) => {
                let all = result.as_array().cloned().unwrap_or_default();
                let text = |module: &Value, key: &str| {
                    let text = module.get(key).and_then(Value::as_str);
                    text.unwrap_or("?").to_owned()
                };
                let words = all.iter().take(5);
                let words = words.map(|it| format!("{} ({})", text(it, "name"), text(it, "state")));
                let words: Vec<String> = words.collect();
                let said = format!("{} waiting: {}", all.len(), words.join(", "));
                let remedy = "an installation was not finished: run odoo-bin -u for them, or cancel it under Apps";
                Check::failed("pending", said, remedy)
            }
            Err(failure) => Check::failed("pending", failure.to_string(), self.remedy(&failure)),
        };
        self.found(check, started);
    }

    fn installed(&mut self, modules: &[Module]) {
        if self.odoo.modules.is_empty() {
            return;
        }
        let is_missing = |name: &&String| !modules.iter().any(|it| it.name == **name);
        let missing: Vec<&str> = self
            .odoo
            .modules
            .iter()
            .filter(is_missing)
            .map(|it| &**it)
            .collect();
        let check = if missing.is_empty() {
            Check::passed("installed", self.odoo.modules.join(", "))
        } else {
            let said = format!("not installed: {}", missing.join(", "));
            let remedy = format!(
                "install them (odoo-bin -i {}), or take them out of `modules` of gate {}",
                missing.join(","),
                self.gate.name
            );
            Check::failed("installed", said, remedy)
        };
        self.found(check, Instant::now());
    }

    /// One record with every column: what the code asks for and the database lacks shows there.
    async fn read(&mut self, uid: u64, model: &str) {
        let started = Instant::now();
        let name = format!("read {model}");
        let first = Call {
            model,
            method: "search_read",
            args: json!([[]]),
            options: json!({"fields": ["id"], "limit": 1}),
        };
        let record = match self.call(uid, first).await {
            Ok(result) => match result.pointer("/0/id").and_then(Value::as_u64) {
                Some(id) => {
                    let whole = Call {
                        model,
                        method: "read",
                        args: json!([[id]]),
                        options: json!({}),
                    };
                    self.call(uid, whole).await.map(Some)
                }
                None => Ok(None),
            },
            Err(failure) => Err(failure),
        };
        let check = match record {
            Ok(Some(Value::Array(records))) if !records.is_empty() => {
                let columns = records[0].as_object().map_or(0, serde_json::Map::len);
                Check::passed(&name, format!("one record, {columns} columns"))
            }
            Ok(Some(other)) => {
                let said = format!(
                    "no record but {}",
                    super::check::shown(other.to_string().as_bytes())
                );
                Check::failed(&name, said, "look at the log of the slot")
            }
            Ok(None) => Check::inconclusive(
                &name,
                "there is no record to read",
                format!(
                    "name models with records in `models` of gate {}",
                    self.gate.name
                ),
            ),
            Err(failure) => Check::failed(&name, failure.to_string(), self.remedy(&failure)),
        };
        self.found(check, started);
    }

    /// What to do about a call that failed.
    pub(super) fn remedy(&self, failure: &RpcFailure) -> String {
        let slot = &self.trial.slot;
        if failure.is_about_columns() {
            return format!(
                "code and database are out of step: update the database to the code of {slot} (odoo-bin -u) while nobody writes, or start {slot} with the code that the database is made for"
            );
        }
        if failure.is_about_database() {
            return format!(
                "is PostgreSQL up, may {slot} reach it, and is there a database {:?}?",
                self.odoo.database
            );
        }
        if failure.is_access_denied() {
            return format!(
                "look at `login` and `password` of gate {}, and at the rights of that user",
                self.gate.name
            );
        }
        format!("look at the log of {slot}")
    }
}

/// One call of a model.
pub(super) struct Call<'a> {
    pub(super) model: &'a str,
    pub(super) method: &'a str,
    pub(super) args: Value,
    pub(super) options: Value,
}

/// With their versions, in the database and in the code of whoever answers.
pub(super) fn installed_modules() -> Call<'static> {
    Call {
        model: "ir.module.module",
        method: "search_read",
        args: json!([[["state", "=", "installed"]]]),
        options: json!({"fields": ["name", "latest_version", "installed_version"]}),
    }
}

pub(super) async fn execute(
    asker: &Asker<'_>,
    odoo: &OdooGate,
    uid: u64,
    call: Call<'_>,
) -> Result<Value, RpcFailure> {
    let password = odoo.password.reveal();
    let args = json!([
        odoo.database,
        uid,
        password,
        call.model,
        call.method,
        call.args,
        call.options
    ]);
    rpc::service(asker, ("object", "execute_kw"), args).await
}

/// None when name or password are wrong.
pub(super) async fn authenticate(
    asker: &Asker<'_>,
    odoo: &OdooGate,
) -> Result<Option<u64>, RpcFailure> {
    let args = json!([odoo.database, odoo.login, odoo.password.reveal(), {}]);
    let uid = rpc::service(asker, ("common", "authenticate"), args).await?;
    Ok(uid.as_u64())
}

fn wrong_password(odoo: &OdooGate, gate: &Gate) -> Check {
    Check::failed(
        "authenticate",
        format!(
            "{:?} with this password is nobody in {:?}",
            odoo.login, odoo.database
        ),
        format!("look at `login` and `password` of gate {}", gate.name),
    )
}
