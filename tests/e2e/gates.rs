//! What a slot has to show beyond its health: the gates before a flip, by hand, and in rehearsals.

use crate::flip::is_published;
use crate::support::Behaviour;
use crate::support::Config;
use crate::support::CtlOutput;
use crate::support::Daemon;
use crate::support::Database;
use crate::support::Gate;
use crate::support::Odoo;
use crate::support::OdooMember;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::get;
use std::time::Duration;
use switchd::api::EventKind;
use switchd::api::GateCheck;
use switchd::api::GatesDone;
use switchd::api::Outcome;
use switchd::api::StreamEvent;

/// The gate of the docs, in a hurry.
const ODOO: &str = r#"
[[service.app.gate]]
kind = "odoo"
database = "prod"
login = "admin"
password = "admin"
attempts = 1
"#;

/// Two Odoos, and switchd in front of them.
struct Site {
    blue: Odoo,
    green: Odoo,
    daemon: Daemon,
}

impl Site {
    /// Green is like `behaviour`, on a database of its own making.
    async fn with(
        behaviour: Behaviour,
        gate: &str,
        green: impl FnOnce(&Database) -> Database,
    ) -> Self {
        let database = Database::new();
        let blue = Odoo::start_on("blue", Behaviour::default(), &database);
        let green = Odoo::start_on("green", behaviour, &green(&database));
        let config = Config::odoo(&blue, &green)
            .set("service.app.hosts = [\"erp.example.com\"]")
            .block(gate);
        let daemon = Daemon::start(&config).await;
        daemon.healthy().await;
        Self {
            blue,
            green,
            daemon,
        }
    }

    async fn of(gate: &str) -> Self {
        Self::with(Behaviour::default(), gate, Database::clone).await
    }

    /// A flip that is refused, with all that was said about it.
    async fn refused(&self) -> String {
        assert_eq!(
            get(self.green.http_address(), "/web/health").await.status(),
            200,
            "what the gates are for: health says that all is well"
        );
        let before = self.green.record().requests().len();
        let output = self.daemon.ctl(&["flip", "green"]).await;
        assert_eq!(output.code, 1, "{output:?}");
        assert_eq!(self.daemon.active().await, "blue");
        let last = self.daemon.history().await.pop().unwrap();
        assert_eq!(last.result, "refused");
        assert_eq!(self.green.record().requests().len(), before);
        output.stderr
    }
}

fn contains(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

fn newer() -> Behaviour {
    Behaviour {
        modules: vec![
            ("base", "18.0.1.3"),
            ("web", "18.0.1.0"),
            ("lab_mod", "18.0.2.0"),
        ],
        ..Behaviour::default()
    }
}

/// What a stream of gates told, and how it ended.
struct Told {
    events: Vec<StreamEvent>,
    done: GatesDone,
}

impl Told {
    fn of(output: &CtlOutput) -> Self {
        let events: Vec<StreamEvent> = output
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let EventKind::GatesDone(done) = events.last().unwrap().kind.clone() else {
            panic!("{events:?}");
        };
        Self { events, done }
    }

    fn checks(&self) -> Vec<GateCheck> {
        let checks = self.events.iter().filter_map(|event| match &event.kind {
            EventKind::GateCheck(check) => Some(check.clone()),
            _ => None,
        });
        checks.collect()
    }

    fn check(&self, name: &str) -> GateCheck {
        let mut checks = self.checks();
        checks.retain(|check| check.check == name);
        assert!(!checks.is_empty(), "{name} in {:?}", self.checks());
        checks.remove(0)
    }
}

async fn gate(daemon: &Daemon, slot: &str) -> Told {
    Told::of(&daemon.ctl(&["gate", slot, "--json"]).await)
}

#[tokio::test]
async fn a_slot_whose_code_is_newer_than_the_database_is_refused_with_the_module_and_both_versions()
{
    let site = Site::with(newer(), ODOO, |database| {
        // As after a new column: nobody can log in on green.
        database.migrate_under("green");
        database.clone()
    })
    .await;
    let said = site.refused().await;
    contains(
        &said,
        &[
            "gate odoo, authenticate",
            "psycopg2.errors.UndefinedColumn: column res_users.lab_new does not exist",
            "gate odoo, modules",
            "the code is newer than the database: lab_mod is 18.0.2.0 in the code and 18.0.1.0 in the database",
            "odoo-bin -u lab_mod",
        ],
    );
}

#[tokio::test]
async fn versions_alone_tell_that_code_is_newer_where_logins_still_work() {
    let site = Site::with(newer(), ODOO, Database::clone).await;
    let said = site.refused().await;
    contains(
        &said,
        &["the code is newer than the database: lab_mod is 18.0.2.0"],
    );
    assert!(!said.contains("gate odoo, authenticate"), "{said}");
}

#[tokio::test]
async fn a_slot_whose_code_is_older_than_the_database_is_refused_with_the_module_and_both_versions()
{
    let site = Site::of(ODOO).await;
    // The database was updated for code that green does not have.
    site.green.database().install("lab_mod", "18.0.3.0");
    site.green.database().migrate_under("green");
    let said = site.refused().await;
    contains(
        &said,
        &[
            "the code is older than the database: lab_mod is 18.0.1.0 in the code and 18.0.3.0 in the database",
            "start green with the code that the database was updated to",
        ],
    );
}

#[tokio::test]
async fn a_slot_with_a_dead_websocket_process_is_refused() {
    let site = Site::of(ODOO).await;
    site.green.crash_gevent();
    site.daemon.slot_becomes("green", "unhealthy").await;
    let output = site
        .daemon
        .ctl(&["flip", "green", "--no-wait-for-start"])
        .await;
    assert_eq!(output.code, 1, "{output:?}");
    contains(
        &output.stderr,
        &["websocket 127.0.0.1", "connection refused"],
    );
    // By hand everything is told at once.
    let arguments = ["gate", "green", "--no-wait-for-start", "--json"];
    let told = Told::of(&site.daemon.ctl(&arguments).await);
    assert!(!told.done.passed);
    let websocket = told.check("websocket");
    assert_eq!(websocket.outcome, Outcome::Failed);
    assert_eq!(websocket.said, "connection refused");
    let remedy = websocket.remedy.unwrap();
    contains(
        &remedy,
        &["is the websocket process (gevent) of green alive?"],
    );
}

#[tokio::test]
async fn a_slot_whose_websocket_process_answers_for_its_health_and_opens_none_is_refused() {
    let dumb = Behaviour {
        opens_no_websocket: true,
        ..Behaviour::default()
    };
    let site = Site::with(dumb, ODOO, Database::clone).await;
    let said = site.refused().await;
    contains(
        &said,
        &[
            "gate odoo, websocket (websocket 127.0.0.1",
            "HTTP 500 instead of 101",
            "is the websocket process (gevent) of green alive?",
        ],
    );
}

#[tokio::test]
async fn a_slot_with_a_data_directory_of_its_own_is_refused() {
    let site = Site::with(
        Behaviour::default(),
        ODOO,
        Database::with_data_dir_of_its_own,
    )
    .await;
    let said = site.refused().await;
    contains(
        &said,
        &[
            "gate odoo, session (http 127.0.0.1",
            "green does not know a session that was made on blue (session expired)",
            "the same data directory (`data_dir`)",
        ],
    );
}

#[tokio::test]
async fn a_good_slot_passes_and_nothing_is_left_behind() {
    let site = Site::of(ODOO).await;
    let database = site.blue.database();
    let (base_url, partners) = (database.base_url(), database.partner_count());
    let told = gate(&site.daemon, "green").await;
    assert!(told.done.passed, "{:?}", told.done);
    let names: Vec<String> = told.checks().into_iter().map(|check| check.check).collect();
    assert_eq!(
        names,
        [
            "authenticate",
            "modules",
            "pending",
            "read res.users",
            "read res.partner",
            "websocket",
            "session"
        ]
    );
    assert_eq!(database.base_url(), base_url, "web.base.url is untouched");
    assert_eq!(database.session_count(), 0, "no session is left");
    assert_eq!(database.writes(), 0, "nothing was written");
    assert_eq!(database.partner_count(), partners);
    assert_eq!(told.done.fingerprint.unwrap().len(), 64);
    site.daemon.flip("green").await;
    let last = site.daemon.history().await.pop().unwrap();
    assert_eq!(last.gates.len(), names.len());
    assert!(last.gates.iter().all(|it| it.outcome == Outcome::Passed));
}

#[tokio::test]
async fn gates_ask_as_clients_of_the_public_site_do() {
    let site = Site::of(ODOO).await;
    gate(&site.daemon, "green").await;
    let asked = site.green.record().gate_requests();
    assert!(!asked.is_empty());
    for seen in asked {
        for (name, value) in [
            ("host", "erp.example.com"),
            ("x-forwarded-host", "erp.example.com"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-for", "127.0.0.1"),
            ("connection", "close"),
        ] {
            assert_eq!(seen.head.get(name), Some(value), "{:?}", seen.head);
        }
    }
    // The login that makes a session comes from where web.base.url points.
    let asked = site.blue.record().gate_requests();
    let login = asked
        .iter()
        .find(|seen| seen.head.path() == "/web/session/authenticate")
        .unwrap();
    assert_eq!(login.head.get("x-forwarded-host"), Some("localhost:8069"));
}

#[tokio::test]
async fn the_fingerprint_is_that_of_the_database() {
    let site = Site::of(ODOO).await;
    let one = gate(&site.daemon, "green").await.done.fingerprint;
    let other = gate(&site.daemon, "blue").await.done.fingerprint;
    assert_eq!(one, other);
    site.blue.database().install("lab_mod", "18.0.1.1");
    let moved = gate(&site.daemon, "green").await.done.fingerprint;
    assert_ne!(one, moved);
}

#[tokio::test]
async fn an_unfinished_installation_and_a_missing_module_are_told() {
    let gate_with_modules = format!("{ODOO}modules = [\"sale\", \"web\"]\n");
    let site = Site::of(&gate_with_modules).await;
    site.green.database().leave_pending("crm", "to upgrade");
    let said = site.refused().await;
    contains(
        &said,
        &[
            "gate odoo, pending",
            "1 waiting: crm (to upgrade)",
            "gate odoo, installed",
            "not installed: sale; install them (odoo-bin -i sale)",
        ],
    );
}

#[tokio::test]
async fn a_wrong_password_is_told_and_never_shown() {
    let wrong = ODOO.replace("password = \"admin\"", "password = \"s3cr3t\"");
    let site = Site::of(&wrong).await;
    let said = site.refused().await;
    contains(
        &said,
        &[
            "\"admin\" with this password is nobody in \"prod\"",
            "look at `login`",
        ],
    );
    let everything = format!(
        "{said}{}{:?}",
        site.daemon.stderr(),
        site.daemon.history().await
    );
    assert!(!everything.contains("s3cr3t"));
}

#[tokio::test]
async fn a_database_that_is_away_is_told() {
    let site = Site::of(ODOO).await;
    site.green.database().set_down(true);
    let at_once = ["gate", "green", "--no-wait-for-start", "--json"];
    let told = Told::of(&site.daemon.ctl(&at_once).await);
    assert!(!told.done.passed);
    let authenticate = told.check("authenticate");
    contains(&authenticate.said, &["HTTP 404 instead of an answer"]);
    assert_eq!(told.check("session").outcome, Outcome::Inconclusive);
}

#[tokio::test]
async fn the_smoke_test_writes_where_it_may_and_takes_it_away() {
    let active_only = format!("{ODOO}smoke_test = \"active\"\n");
    let site = Site::of(&active_only).await;
    let database = site.blue.database();
    let green = gate(&site.daemon, "green").await;
    assert!(green.done.passed, "{:?}", green.done);
    assert_eq!(
        database.writes(),
        0,
        "green waits: nothing is written there"
    );
    let before = database.partner_count();
    let blue = gate(&site.daemon, "blue").await;
    assert_eq!(blue.check("smoke test").outcome, Outcome::Passed);
    assert_eq!(database.writes(), 2);
    assert_eq!(database.partner_count(), before);
}

#[tokio::test]
async fn a_gate_that_only_warns_lets_traffic_pass_and_is_told() {
    let warns = format!("{ODOO}severity = \"warn\"\n");
    let site = Site::with(newer(), &warns, Database::clone).await;
    let output = site.daemon.flip("green").await;
    contains(&output.stderr, &["green odoo, modules", "warns"]);
    let last = site.daemon.history().await.pop().unwrap();
    assert_eq!(last.result, "done");
    contains(
        &last.details.join("\n"),
        &["warned: gate odoo, modules", "the code is newer"],
    );
    let warned = site
        .daemon
        .metric(&[
            "switchd_gate_checks_total",
            "gate=\"odoo\"",
            "outcome=\"warn\"",
        ])
        .await;
    assert!(warned > 0.0);
    let status = site.daemon.ctl(&["status"]).await;
    contains(
        &status.stdout,
        &["gates of green", "passed; gate odoo, modules"],
    );
}

const STEPS: &str = r#"
[[service.app.gate]]
kind = "http"
name = "contract"
attempts = 1
origin = "https://shop.example:8443"
[[service.app.gate.step]]
method = "POST"
path = "/login"
body = "{\"user\":\"gate\"}"
headers = { X-Token = "hush" }
capture = { session = "cookie:session_id", token = "json:/result/token", version = "header:x-contract-version" }
[[service.app.gate.step]]
path = "/me?token={{token}}"
headers = { Cookie = "session_id={{session}}" }
expect_headers = { x-contract-version = "1.0.0" }
expect_body = "gate"
expect_json = { "/user/id" = 7 }
expect_json_exists = ["/user/name"]
within = "300ms"
"#;

fn answer(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::raw(format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    ))
}

const LOGIN: &str = "Set-Cookie: session_id=abc; HttpOnly\r\nX-Contract-Version: 1.0.0\r\n";
const ME: &str = r#"{"user": {"id": 7, "name": "gate"}}"#;

/// Two plain backends of which green speaks the contract.
async fn contract(gate: &str) -> (Pair, Daemon) {
    let pair = Pair::start().await;
    let login = answer("200 OK", LOGIN, r#"{"result": {"token": 42}}"#);
    pair.green.on("/login", login);
    let me = answer("200 OK", "X-Contract-Version: 1.0.0\r\n", ME);
    pair.green.on("/me", me);
    let daemon = Daemon::start(&pair.config().block(gate)).await;
    daemon.healthy().await;
    (pair, daemon)
}

#[tokio::test]
async fn steps_hand_on_what_they_capture() {
    let (pair, daemon) = contract(STEPS).await;
    daemon.flip("green").await;
    let login = pair.green.request_for("/login");
    assert_eq!(login.head.get("x-token"), Some("hush"));
    assert_eq!(login.head.get("host"), Some("shop.example:8443"));
    assert_eq!(login.head.get("x-forwarded-proto"), Some("https"));
    let me = pair.green.request_for("/me");
    assert_eq!(me.head.target(), "/me?token=42");
    assert_eq!(me.head.get("cookie"), Some("session_id=abc"));
    let last = daemon.history().await.pop().unwrap();
    let names: Vec<&str> = last.gates.iter().map(|it| it.check.as_str()).collect();
    assert_eq!(names, ["POST /login", "GET /me?token={{token}}"]);
}

async fn refused_for(path: &str, reply: Reply, words: &[&str]) {
    let (pair, daemon) = contract(STEPS).await;
    pair.green.on(path, reply);
    let output = daemon.ctl(&["flip", "green"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    contains(&output.stderr, &["gate contract, "]);
    contains(&output.stderr, words);
    assert!(
        !output.stderr.contains("abc"),
        "captured values are secrets"
    );
    assert_eq!(daemon.active().await, "blue");
}

#[tokio::test]
async fn an_answer_of_another_contract_is_told_with_both_versions() {
    let other = answer("200 OK", "X-Contract-Version: 0.9.0\r\n", ME);
    let words = ["x-contract-version is \"0.9.0\", \"1.0.0\" is expected"];
    refused_for("/me", other, &words).await;
}

#[tokio::test]
async fn a_wrong_status_is_told_with_what_was_said() {
    let words = ["HTTP 503 (200-299 expected): not today"];
    refused_for("/login", Reply::status(503, "not today"), &words).await;
}

#[tokio::test]
async fn a_body_without_what_is_expected_is_told() {
    let other = answer(
        "200 OK",
        "X-Contract-Version: 1.0.0\r\n",
        r#"{"user": {"id": 7}}"#,
    );
    refused_for("/me", other, &["the body lacks \"gate\""]).await;
}

#[tokio::test]
async fn another_value_in_the_answer_is_told_with_both() {
    let other = ME.replace('7', "8");
    let other = answer("200 OK", "X-Contract-Version: 1.0.0\r\n", &other);
    refused_for("/me", other, &["\"/user/id\" is 8, 7 is expected"]).await;
}

#[tokio::test]
async fn nothing_to_capture_is_told() {
    let other = answer("200 OK", "", r#"{"result": {"token": 42}}"#);
    refused_for(
        "/login",
        other,
        &["sets no cookie \"session_id\" to capture"],
    )
    .await;
}

#[tokio::test]
async fn a_step_that_takes_too_long_is_told() {
    refused_for("/me", Reply::never(), &["timeout after 300ms"]).await;
}

#[tokio::test]
async fn a_gate_whose_time_is_over_is_inconclusive_and_no_success() {
    let gate = r#"
[[service.app.gate]]
kind = "http"
name = "slow"
deadline = "300ms"
[[service.app.gate.step]]
path = "/slow"
"#;
    let (pair, daemon) = contract(gate).await;
    pair.green.on("/slow", Reply::never());
    let told = Told::of(&daemon.ctl(&["flip", "green", "--rehearse", "--json"]).await);
    assert!(!told.done.passed);
    // The step has no more time than its gate.
    let outcome = told.checks().remove(0).outcome;
    assert!(matches!(outcome, Outcome::Inconclusive | Outcome::Failed));
    let output = daemon.ctl(&["flip", "green"]).await;
    assert_eq!(output.code, 1, "{output:?}");
}

#[tokio::test]
async fn a_gate_is_tried_again_as_often_as_it_may_be() {
    let gate = r#"
[[service.app.gate]]
kind = "http"
name = "shy"
attempts = 3
interval = "10ms"
[[service.app.gate.step]]
path = "/shy"
"#;
    let (pair, daemon) = contract(gate).await;
    pair.green.once("/shy", Reply::status(503, "not yet"));
    pair.green.once("/shy", Reply::status(503, "not yet"));
    let output = daemon.ctl(&["flip", "green", "--json"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    contains(
        &output.stdout,
        &["gate_progress", "\"attempt\":2,\"attempts\":3"],
    );
    assert_eq!(pair.green.requests_for("/shy").len(), 3);
}

#[tokio::test]
async fn the_first_gate_that_does_not_pass_ends_a_flip_and_not_a_look() {
    let gates = r#"
[[service.app.gate]]
kind = "http"
name = "first"
attempts = 1
[[service.app.gate.step]]
path = "/first"
[[service.app.gate]]
kind = "http"
name = "second"
attempts = 1
[[service.app.gate.step]]
path = "/second"
"#;
    let (pair, daemon) = contract(gates).await;
    for path in ["/first", "/second"] {
        pair.green.on(path, Reply::status(500, "no"));
    }
    assert_eq!(daemon.ctl(&["flip", "green"]).await.code, 1);
    assert_eq!(pair.green.requests_for("/second").len(), 0);
    let output = daemon.ctl(&["gate", "green"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    contains(
        &output.stderr,
        &[
            "a flip to green would be refused",
            "gate first",
            "gate second",
        ],
    );
}

#[tokio::test]
async fn a_rehearsal_tries_everything_and_changes_nothing() {
    let (pair, daemon) = contract(STEPS).await;
    let held = Gate::closed();
    pair.blue.on("/long", Reply::held(&held));
    let mut client = crate::support::Wire::connect(daemon.address).await;
    client
        .send(crate::support::request("GET /long", "", ""))
        .await;
    pair.blue.saw("/long", 1).await;
    let before = daemon.service("app").await;
    let output = daemon.ctl(&["flip", "green", "--rehearse"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    contains(
        &output.stdout,
        &[
            "green passes",
            "a flip would make green live as generation",
            "drain blue: 1 request now",
        ],
    );
    assert_eq!(pair.green.requests_for("/me").len(), 1);
    let after = daemon.service("app").await;
    assert_eq!(
        (after.active, after.generation),
        (before.active, before.generation)
    );
    let last = daemon.history().await.pop().unwrap();
    assert_eq!(
        (last.command.as_str(), last.result.as_str()),
        ("rehearsal", "done")
    );
    assert_eq!(last.gates.len(), 2);
    held.open();
    assert_eq!(client.answer("GET").await.status(), 200);
}

#[tokio::test]
async fn a_rehearsal_is_refused_for_what_would_refuse_the_flip() {
    let (_pair, daemon) = contract(STEPS).await;
    let arguments = ["flip", "green", "--rehearse", "--expect-generation", "77"];
    let output = daemon.ctl(&arguments).await;
    assert_eq!(output.code, 1, "{output:?}");
    contains(&output.stderr, &["generation 77 is no longer active"]);
    let unknown = daemon.ctl(&["gate", "purple"]).await;
    assert_eq!(unknown.code, 1, "{unknown:?}");
    contains(&unknown.stderr, &["blue, green"]);
    let both = daemon
        .ctl(&["flip", "green", "--rehearse", "--force", "--reason", "x"])
        .await;
    assert_eq!(both.code, 2, "{both:?}");
}

#[tokio::test]
async fn gates_that_are_being_tried_by_somebody_else_are_not_tried_twice() {
    let (pair, daemon) = contract(STEPS).await;
    let held = Gate::closed();
    pair.green.on("/login", Reply::held(&held));
    let mut first = daemon
        .stream("POST /v1/services/app/gate", "{\"slot\":\"green\"}")
        .await;
    pair.green.saw("/login", 1).await;
    let second = daemon.ctl(&["gate", "green"]).await;
    assert_eq!(second.code, 1, "{second:?}");
    contains(&second.stderr, &["are being tried by somebody else"]);
    let status = daemon.ctl(&["status"]).await;
    contains(&status.stdout, &["gates of green: being tried now"]);
    held.open();
    first
        .until(|event| matches!(event, EventKind::GatesDone(_)))
        .await;
    let third = daemon.ctl(&["gate", "green"]).await;
    assert!(!third.stderr.contains("somebody else"), "{third:?}");
}

#[tokio::test]
async fn a_slot_that_turns_bad_while_its_gates_are_tried_is_refused() {
    let (pair, daemon) = contract(STEPS).await;
    let held = Gate::closed();
    let body = r#"{"result": {"token": 42}}"#;
    let length = body.len();
    let login = format!("HTTP/1.1 200 OK\r\n{LOGIN}Content-Length: {length}\r\n\r\n{body}");
    let late = [Step::Wait(held.clone()), Step::send(login)];
    pair.green.once("/login", Reply::steps(late));
    let body = "{\"to\":\"green\",\"no_wait_for_start\":true}";
    let mut flip = daemon.stream("POST /v1/services/app/flip", body).await;
    pair.green.saw("/login", 1).await;
    pair.green.health(Reply::status(500, "out of memory"));
    held.open();
    let done = flip
        .until(|event| matches!(event, EventKind::Done { .. }))
        .await;
    contains(&format!("{done:?}"), &["Refused"]);
    assert_eq!(daemon.active().await, "blue");
}

/// A slot whose program ends and starts anew while its gates ask it has not failed them.
#[tokio::test]
async fn a_slot_that_goes_while_its_gates_are_tried_and_comes_back_is_tried_again() {
    let (pair, daemon) = contract(STEPS).await;
    let held = Gate::closed();
    let late = [Step::Wait(held.clone()), Step::Reset];
    pair.green.once("/login", Reply::steps(late));
    let mut flip = daemon.begin_flip("green").await;
    pair.green.saw("/login", 1).await;
    pair.green.health(Reply::status(503, "starting again"));
    held.open();
    flip.until(|event| {
        matches!(event, EventKind::GateWaiting(waiting)
            if waiting.endpoints[0].said.contains("starting again"))
    })
    .await;
    pair.green.healthy();
    flip.until(is_published).await;
    assert_eq!(pair.green.requests_for("/login").len(), 2);
}

#[tokio::test]
async fn a_slot_without_gates_is_only_proved_healthy() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let output = daemon.ctl(&["gate", "green"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    contains(
        &output.stdout,
        &["every address is healthy", "[[service.app.gate]]"],
    );
    pair.green.health(Reply::status(500, "no database today"));
    let output = daemon.ctl(&["gate", "green", "--no-wait-for-start"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    contains(&output.stderr, &["no database today"]);
}

/// Blue does not know what these gates ask for.
async fn force_back(daemon: &Daemon) {
    let arguments = ["flip", "blue", "--force", "--reason", "back"];
    assert_eq!(daemon.ctl(&arguments).await.code, 0);
}

/// A flip with this proof; how often the gates have asked the slot by then.
async fn flip_with(pair: &Pair, daemon: &Daemon, proof: &str) -> usize {
    let body = format!("{{\"to\":\"green\",\"proof\":\"{proof}\"}}");
    let mut flip = daemon.stream("POST /v1/services/app/flip", &body).await;
    flip.until(is_published).await;
    pair.green.requests_for("/me").len()
}

#[tokio::test]
async fn a_flip_relies_on_gates_that_were_passed_just_now() {
    let (pair, daemon) = contract(STEPS).await;
    let proof = gate(&daemon, "green").await.done.proof.unwrap();
    assert_eq!(pair.green.requests_for("/me").len(), 1);
    assert_eq!(flip_with(&pair, &daemon, &proof).await, 1);
    // Once: what has been since is not known.
    force_back(&daemon).await;
    assert_eq!(flip_with(&pair, &daemon, &proof).await, 2);
}

#[tokio::test]
async fn gates_are_tried_again_when_anything_has_changed_or_the_proof_is_made_up() {
    let (pair, daemon) = contract(STEPS).await;
    assert_eq!(flip_with(&pair, &daemon, "made up").await, 1);
    force_back(&daemon).await;
    // Another release in the slot.
    let proof = gate(&daemon, "green").await.done.proof.unwrap();
    let label = "{\"slot\":\"green\",\"version\":\"v2\"}";
    daemon.call("POST /v1/services/app/label", label).await;
    assert_eq!(flip_with(&pair, &daemon, &proof).await, 3);
    // Another active slot than the one that green was compared with: blue again, but another generation of it.
    force_back(&daemon).await;
    let proof = gate(&daemon, "green").await.done.proof.unwrap();
    for _ in 0..2 {
        let forced = ["--force", "--reason", "to and fro"];
        for slot in ["green", "blue"] {
            let arguments = [&["flip", slot][..], &forced].concat();
            assert_eq!(daemon.ctl(&arguments).await.code, 0);
        }
    }
    assert_eq!(flip_with(&pair, &daemon, &proof).await, 5);
}

#[tokio::test]
async fn a_proof_is_no_good_for_a_slot_that_has_gone_since() {
    let (pair, daemon) = contract(STEPS).await;
    let proof = gate(&daemon, "green").await.done.proof.unwrap();
    pair.green.stop().await;
    let body = format!("{{\"to\":\"green\",\"proof\":\"{proof}\"}}");
    let mut flip = daemon.stream("POST /v1/services/app/flip", &body).await;
    flip.until(|event| matches!(event, EventKind::GateWaiting(_)))
        .await;
    pair.green.resume();
    flip.until(is_published).await;
    assert_eq!(pair.green.requests_for("/me").len(), 2);
}

const LATENCY: &str = r#"
[[service.app.gate]]
kind = "latency"
attempts = 1
requests = 5
"#;

/// So long for each answer to `/`.
fn slow(milliseconds: u64) -> Behaviour {
    Behaviour {
        slow_pages: Duration::from_millis(milliseconds),
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn a_slot_slower_than_the_bound_is_refused() {
    let gate =
        format!("{LATENCY}path = \"/web/login\"\nmax_p95 = \"60ms\"\nmax_increase = \"off\"\n");
    let site = Site::with(slow(80), &gate, Database::clone).await;
    let said = site.refused().await;
    contains(&said, &["gate latency, p95", "60 ms at most (5 requests)"]);
}

#[tokio::test]
async fn a_slot_much_slower_than_the_active_one_is_refused() {
    let gate = format!("{LATENCY}path = \"/web/login\"\nignore_below = \"10ms\"\n");
    let site = Site::with(slow(400), &gate, Database::clone).await;
    let said = site.refused().await;
    contains(
        &said,
        &["gate latency, compared", "of blue, 50 % more at most"],
    );
}

#[tokio::test]
async fn a_slot_as_fast_as_the_active_one_passes() {
    let gate = format!("{LATENCY}path = \"/web/login\"\nignore_below = \"1s\"\n");
    let site = Site::of(&gate).await;
    let told = gate_of(&site).await;
    assert!(told.done.passed, "{:?}", told.done);
    assert_eq!(told.check("p95").outcome, Outcome::Passed);
    assert_eq!(told.check("compared").outcome, Outcome::Passed);
    let asked = |odoo: &Odoo| odoo.record().gate_requests().len();
    assert_eq!((asked(&site.blue), asked(&site.green)), (5, 5));
}

async fn gate_of(site: &Site) -> Told {
    gate(&site.daemon, "green").await
}

#[tokio::test]
async fn an_active_slot_that_cannot_be_measured_is_inconclusive() {
    let gate_ = format!("{LATENCY}path = \"/only-on-green\"\n");
    let (pair, daemon) = contract(&gate_).await;
    pair.blue.on("/only-on-green", Reply::status(500, "what?"));
    let told = gate(&daemon, "green").await;
    assert!(!told.done.passed);
    let compared = told.check("compared");
    assert_eq!(compared.outcome, Outcome::Inconclusive);
    contains(
        &compared.said,
        &["blue (active) could not be measured: HTTP 500"],
    );
}

#[tokio::test]
async fn an_active_slot_that_is_down_does_not_stand_in_the_way() {
    let gate_ = format!("{LATENCY}path = \"/\"\n");
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("service.app.failback.mode = \"off\"")
        .block(&gate_);
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    pair.blue.stop().await;
    daemon.slot_becomes("blue", "unhealthy").await;
    let told = gate(&daemon, "green").await;
    assert!(told.done.passed, "{:?}", told.done);
    assert_eq!(told.check("compared").outcome, Outcome::Warn);
    daemon.flip("green").await;
}

#[tokio::test]
async fn every_worker_of_every_member_is_warm_after_a_warm_up() {
    let cold = Behaviour {
        workers: 4,
        cold: Duration::from_millis(400),
        ..Behaviour::default()
    };
    let gate = r#"
[[service.app.gate]]
kind = "warm_up"
name = "mine"
paths = ["/web/login"]
parallel = 4
within = "300ms"
"#;
    let site = Site::with(cold, gate, Database::clone).await;
    let output = site.daemon.ctl(&["flip", "green", "--json"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    contains(
        &output.stdout,
        &["\"event\":\"gate_progress\"", "slowest of 4 at once"],
    );
    let asked = site.green.record().gate_requests();
    let of = |member: OdooMember, path: &str| {
        let mine = asked.iter().filter(|seen| seen.member == member);
        mine.filter(|seen| seen.head.path().ends_with(path)).count()
    };
    assert!(
        of(OdooMember::Http, "/web/login") >= 8,
        "two rounds of four"
    );
    assert!(of(OdooMember::Websocket, "/web/login") >= 8, "gevent too");
    assert!(of(OdooMember::Http, "web.assets_frontend.min.js") >= 5);
    assert!(of(OdooMember::Http, "web.assets_frontend.min.css") >= 5);
    assert_eq!(of(OdooMember::Websocket, ".js"), 0);
}

#[tokio::test]
async fn a_slot_that_stays_slow_is_refused() {
    let gate = r#"
[[service.app.gate]]
kind = "warm_up"
name = "mine"
paths = ["/web/login"]
parallel = 2
attempts = 2
within = "20ms"
members = ["http"]
"#;
    let site = Site::with(slow(60), gate, Database::clone).await;
    let said = site.refused().await;
    contains(&said, &["gate mine, warm (http 127.0.0.1", "20 ms at most"]);
}

#[tokio::test]
async fn the_preset_warms_a_slot_and_only_warns() {
    let database = Database::new();
    let blue = Odoo::start_on("blue", Behaviour::default(), &database);
    let green = Odoo::start_on("green", Behaviour::default(), &database);
    let daemon = Daemon::start(&Config::odoo_that_warms(&blue, &green)).await;
    daemon.healthy().await;
    daemon.flip("green").await;
    let last = daemon.history().await.pop().unwrap();
    let names: Vec<&str> = last.gates.iter().map(|it| it.kind.as_str()).collect();
    assert_eq!(names, ["warm_up", "warm_up"], "of both members");
    assert!(green.record().most_at_once() >= 2, "as many as workers");
}
