//! Who did what, when, why, and how it ended: all of it, and only what is asked for.

use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;
use switchd::api::AuditRecord;
use switchd::api::History;

async fn search(daemon: &Daemon, query: &str) -> Vec<AuditRecord> {
    let call = format!("GET /v1/history?{query}");
    let history: History = daemon.call(&call, "").await.json();
    history.operations
}

fn kinds(records: &[AuditRecord]) -> Vec<&str> {
    records.iter().map(|it| it.command.as_str()).collect()
}

#[tokio::test]
async fn every_operation_tells_who_why_with_what_result_and_how_long() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;
    let mut flip = daemon
        .stream(
            "POST /v1/services/app/flip",
            "{\"to\":\"green\",\"reason\":\"release 18\"}",
        )
        .await;
    flip.until(crate::flip::is_published).await;
    gate.open();
    flip.all().await;
    pair.blue.health(Reply::status(503, "no database"));
    daemon.slot_becomes("blue", "unhealthy").await;
    assert_eq!(
        daemon
            .ctl(&["flip", "blue", "--no-wait-for-start"])
            .await
            .code,
        1
    );
    assert_eq!(
        daemon
            .ctl(&["rollback", "--force", "--reason", "I know"])
            .await
            .code,
        0
    );
    pair.blue.healthy();
    daemon.call("POST /v1/reload", "").await;
    daemon
        .call(
            "POST /v1/cache/purge",
            "{\"service\":\"app\",\"prefix\":\"/web\"}",
        )
        .await;
    let history = daemon.history().await;
    let told = kinds(&history);
    assert_eq!(told[..3], ["flip", "flip", "rollback"], "{told:?}");
    assert_eq!(
        told[told.len() - 2..],
        ["reload", "cache_purge"],
        "{told:?}"
    );
    assert!(
        history
            .iter()
            .all(|it| !it.actor.is_empty() && !it.at.is_empty())
    );
    let done = &history[0];
    assert_eq!(
        (&*done.result, done.reason.as_deref()),
        ("done", Some("release 18"))
    );
    assert!(done.actor.starts_with("uid "), "{done:?}");
    assert_eq!(
        (done.from.as_deref(), done.to.as_deref()),
        (Some("blue"), Some("green"))
    );
    let [gate, published, took] =
        [done.gate_ms, done.published_ms, done.took_ms].map(Option::unwrap);
    assert!(gate <= published && published <= took, "{done:?}");
    assert!(done.drained_ms.is_some() && done.cut == 0, "{done:?}");
    let refused = &history[1];
    assert_eq!(refused.result, "refused");
    assert!(
        refused.gate_ms.is_some() && refused.published_ms.is_none(),
        "{refused:?}"
    );
    assert!(
        refused.details.concat().contains("no database"),
        "{refused:?}"
    );
    let forced = &history[2];
    assert!(forced.forced && forced.gate_ms.is_none(), "{forced:?}");
    let purge = history.last().unwrap();
    assert_eq!((&*purge.service, purge.details.len()), ("app", 1));
}

#[tokio::test]
async fn the_history_shows_what_is_asked_for() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    daemon.flip("green").await;
    daemon.flip("blue").await;
    daemon.call("POST /v1/reload", "").await;
    daemon.ctl(&["flip", "purple"]).await;
    let all = daemon.history().await;
    assert_eq!(kinds(&all), ["flip", "flip", "reload", "flip"]);
    let third = all[2].at.replace(':', "%3A");
    for (query, expected) in [
        ("to=green".to_owned(), &all[..1]),
        ("slot=green".to_owned(), &all[..2]),
        ("kind=reload".to_owned(), &all[2..3]),
        ("outcome=refused".to_owned(), &all[3..]),
        ("kind=flip&outcome=done&limit=1".to_owned(), &all[1..2]),
        ("actor=uid".to_owned(), &all[..]),
        ("actor=nobody".to_owned(), &all[..0]),
        ("service=app&to=purple".to_owned(), &all[3..]),
        (format!("since={third}"), &all[2..]),
        ("kind=call".to_owned(), &all[..0]),
    ] {
        assert_eq!(search(&daemon, &query).await, expected, "{query}");
    }
    for wrong in [
        "since=yesterday",
        "limit=0",
        "limit=x",
        "form=green",
        "service=nobody",
    ] {
        let reply = daemon.call(&format!("GET /v1/history?{wrong}"), "").await;
        assert!([400, 404].contains(&reply.status), "{wrong}: {reply:?}");
    }
}

#[tokio::test]
async fn the_command_line_has_the_same_filters() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    daemon.flip("green").await;
    daemon.flip("blue").await;
    daemon.call("POST /v1/reload", "").await;
    for (filters, expected) in [
        (&["--to", "green"][..], 1),
        (&["--slot", "green"], 2),
        (&["--kind", "reload"], 1),
        (&["--outcome", "moved-back"], 0),
        (&["--outcome", "done", "-n", "2"], 2),
        (&["--actor", "no&body"], 0),
        (&["--since", "1h"], 3),
        (&["--since", "2100-01-01T00:00:00Z"], 0),
        (&["--service", "app"], 2),
    ] {
        let output = daemon
            .ctl(&[&["history", "--json"], filters].concat())
            .await;
        assert_eq!(output.code, 0, "{output:?}");
        let history: History = serde_json::from_value(output.json()).unwrap();
        assert_eq!(history.operations.len(), expected, "{filters:?}");
    }
    let nothing = daemon.ctl(&["history", "--to", "purple"]).await;
    assert_eq!(nothing.stdout, "nothing of the kind has been done\n");
    for wrong in [&["--since", "soon"][..], &["-n", "0"]] {
        assert_eq!(
            daemon.ctl(&[&["history"], wrong].concat()).await.code,
            2,
            "{wrong:?}"
        );
    }
}

#[tokio::test]
async fn a_killed_request_is_in_the_history_of_its_service() {
    let pair = Pair::start().await;
    pair.blue.on("/slow", Reply::never());
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;
    let id = daemon.requests().await[0].id.to_string();
    assert_eq!(daemon.ctl(&["kill", &id]).await.code, 0);
    eventually("it is kept", async || {
        search(&daemon, "kind=kill&service=app&slot=blue")
            .await
            .len()
            == 1
    })
    .await;
}
