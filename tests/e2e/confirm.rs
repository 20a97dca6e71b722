//! Moves that go back unless they are confirmed, and rollbacks that are quick.

use crate::support::Behaviour;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Database;
use crate::support::Odoo;
use crate::support::Pair;
use crate::support::eventually;
use switchd::api::EventKind;
use switchd::api::Verdict;

#[tokio::test]
async fn a_flip_that_nobody_confirms_goes_back() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    let flip = daemon
        .ctl(&["flip", "green", "--confirm-within", "1s"])
        .await;
    assert_eq!(flip.code, 0, "{flip:?}");
    assert!(flip.stdout.contains("switchctl confirm"), "{flip:?}");
    daemon.becomes_active("blue").await;
    let history = daemon.history().await;
    let back = history.iter().find(|it| it.command == "failback").unwrap();
    assert_eq!(back.reason.as_deref(), Some("not confirmed within 1s"));
    let quarantine = daemon.slot("green").await.quarantine.unwrap();
    assert_eq!(quarantine.reason, "not confirmed within 1s");
    assert_eq!(daemon.service("app").await.confirm, None);
}

#[tokio::test]
async fn a_confirmed_flip_stays() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    let flip = daemon
        .ctl(&["flip", "green", "--confirm-within", "1h"])
        .await;
    assert_eq!(flip.code, 0, "{flip:?}");
    let confirm = daemon.service("app").await.confirm.unwrap();
    assert_eq!(confirm.back_to, "blue");
    let shown = daemon.ctl(&["status"]).await.stdout;
    assert!(shown.contains("goes back to blue in "), "{shown}");
    assert!(daemon.metric(&["switchd_unconfirmed{"]).await > 0.9);
    let confirmed = daemon.ctl(&["confirm"]).await;
    assert_eq!(
        (confirmed.code, &*confirmed.stdout),
        (0, "confirmed: green stays active (generation 2)\n")
    );
    assert_eq!(daemon.service("app").await.confirm, None);
    let again = daemon.ctl(&["confirm"]).await;
    assert_eq!(again.code, 1, "{again:?}");
    assert!(
        again.stderr.contains("no move waits to be confirmed"),
        "{again:?}"
    );
    let history = daemon.history().await;
    let said = history.iter().filter(|it| it.command == "confirm");
    let results: Vec<_> = said.map(|it| &*it.result).collect();
    assert_eq!(results, ["done", "refused"]);
}

#[tokio::test]
async fn a_crash_forgets_no_time_to_confirm() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    daemon.healthy().await;
    let flip = daemon
        .ctl(&["flip", "green", "--confirm-within", "2s"])
        .await;
    assert_eq!(flip.code, 0, "{flip:?}");
    daemon.kill_and_restart().await;
    daemon.becomes_active("blue").await;
    eventually("history tells why", async || {
        let history = daemon.history().await;
        history.iter().any(|it| {
            it.command == "failback" && it.reason.as_deref() == Some("not confirmed within 2s")
        })
    })
    .await;
}

#[tokio::test]
async fn a_time_to_confirm_that_is_none_is_refused() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for within in ["0s", "soon", "10"] {
        let body = format!("{{\"to\":\"green\",\"confirm_within\":\"{within}\"}}");
        let reply = daemon.call("POST /v1/services/app/flip", &body).await;
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(reply.text.contains("confirm_within"), "{reply:?}");
    }
    assert_eq!(daemon.active().await, "blue");
}

#[tokio::test]
async fn a_rollback_to_a_slot_that_is_well_asks_each_endpoint_once() {
    let pair = Pair::start().await;
    // Two passes in a row would take a minute.
    let config = pair.config().set("service.app.health.rise = 1");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    daemon.flip("green").await;
    let slow = config
        .set("service.app.health.rise = 2")
        .set("service.app.health.interval = \"1h\"")
        .set("service.app.health.fast_interval = \"1h\"")
        .set("service.app.flip.gate_timeout = \"2h\"");
    daemon.write_config(&slow);
    assert_eq!(daemon.ctl(&["reload"]).await.code, 0);
    let back = daemon
        .stream("POST /v1/services/app/rollback", "{}")
        .await
        .all()
        .await;
    let asked: Vec<_> = back
        .iter()
        .filter_map(|event| match event {
            EventKind::Probe { streak, needed, .. } => Some((*streak, *needed)),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [(1, 1)]);
    let verdict = back.iter().find_map(|event| match event {
        EventKind::Done { verdict, .. } => Some(*verdict),
        _ => None,
    });
    assert_eq!(verdict, Some(Verdict::Done));
    assert_eq!(daemon.active().await, "blue");
}

/// Green's code is newer than blue's, and the gate looks at the database.
const GATE: &str = r#"
[[service.app.gate]]
kind = "odoo"
database = "prod"
login = "admin"
password = "admin"
attempts = 1
"#;

#[tokio::test]
async fn the_first_migration_of_all_closes_the_way_back_too() {
    let database = Database::new();
    let blue = Odoo::start_on("blue", Behaviour::default(), &database);
    let newer = Behaviour {
        modules: vec![
            ("base", "18.0.1.3"),
            ("web", "18.0.1.0"),
            ("lab_mod", "18.0.2.0"),
        ],
        ..Behaviour::default()
    };
    let green = Odoo::start_on("green", newer, &database);
    let config = Config::odoo(&blue, &green)
        .set("service.app.hosts = [\"erp.example.com\"]")
        .block(GATE);
    let mut daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    // Nobody has looked at blue's database before.
    database.install("lab_mod", "18.0.2.0");
    daemon.flip("green").await;

    daemon.kill_and_restart().await;
    daemon.healthy().await;
    let refused = daemon.ctl(&["rollback"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("have changed since blue last served"),
        "{refused:?}"
    );
    green.kill();
    eventually("traffic stays, and status says why", async || {
        let staying = daemon.service("app").await.staying;
        staying.is_some_and(|why| why.contains("have changed since blue last served"))
    })
    .await;
    assert_eq!(daemon.active().await, "green");
}

#[tokio::test]
async fn the_way_back_stays_open_after_a_first_move_without_a_migration() {
    let database = Database::new();
    let blue = Odoo::start_on("blue", Behaviour::default(), &database);
    let green = Odoo::start_on("green", Behaviour::default(), &database);
    let config = Config::odoo(&blue, &green)
        .set("service.app.hosts = [\"erp.example.com\"]")
        .block(GATE);
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    daemon.flip("green").await;
    let back = daemon.ctl(&["rollback"]).await;
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(daemon.active().await, "blue");
}

#[tokio::test]
async fn nothing_goes_back_to_code_that_the_database_has_left_behind() {
    let database = Database::new();
    let blue = Odoo::start_on("blue", Behaviour::default(), &database);
    let newer = Behaviour {
        modules: vec![
            ("base", "18.0.1.3"),
            ("web", "18.0.1.0"),
            ("lab_mod", "18.0.2.0"),
        ],
        ..Behaviour::default()
    };
    let green = Odoo::start_on("green", newer, &database);
    let config = Config::odoo(&blue, &green)
        .set("service.app.hosts = [\"erp.example.com\"]")
        .block(GATE);
    let mut daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    // Blue's gate sees the old database, green's the new one.
    let forced = ["flip", "green", "--force", "--reason", "to come back"];
    assert_eq!(daemon.ctl(&forced).await.code, 0);
    daemon.flip("blue").await;
    database.install("lab_mod", "18.0.2.0");
    daemon.flip("green").await;

    let blocked = daemon.service("app").await.failback.blocked.unwrap();
    assert!(
        blocked.contains("have changed since blue last served"),
        "{blocked}"
    );
    let shown = daemon.ctl(&["status"]).await.stdout;
    assert!(
        shown.contains("no failback by itself: the database's modules"),
        "{shown}"
    );
    daemon.kill_and_restart().await;
    daemon.healthy().await;
    let refused = daemon.ctl(&["rollback"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("--accept-schema-change"),
        "{refused:?}"
    );
    green.kill();
    eventually("traffic stays, and status says why", async || {
        let staying = daemon.service("app").await.staying;
        staying.is_some_and(|why| why.contains("have changed since blue last served"))
    })
    .await;
    assert_eq!(daemon.active().await, "green");
    let accepted = [
        "rollback",
        "--accept-schema-change",
        "--force",
        "--reason",
        "better than nothing",
    ];
    assert_eq!(daemon.ctl(&accepted).await.code, 0);
    assert_eq!(daemon.active().await, "blue");
}
