//! What all slots need fails: everybody who may want to know is told, once, and when it is over.

use crate::support::Backend;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::eventually;
use serde_json::Value;
use switchd::api::EventKind;

fn config(pair: &Pair, database: &Backend) -> Config {
    let address = database.address();
    pair.config()
        .set(&format!("service.app.shared.tcp = \"{address}\""))
        .set("service.app.shared.interval = \"50ms\"")
        .set("service.app.shared.timeout = \"5s\"")
}

async fn is_down(daemon: &Daemon) -> bool {
    daemon.service("app").await.shared_trouble.is_some()
}

/// Lines of the log with this message.
fn logged(daemon: &Daemon, message: &str) -> Vec<String> {
    let log = daemon.stderr();
    let lines = log.lines().filter(|line| line.contains(message));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn trouble_of_what_all_slots_need_is_told_everywhere_once() {
    let (pair, database) = (Pair::start().await, Backend::start("database").await);
    let receiver = Backend::start("receiver").await;
    let hook = format!(
        "[[hook]]\nname = \"team\"\nurl = \"http://{}/told\"\nevents = [\"shared_down\", \"shared_up\"]\n",
        receiver.address()
    );
    let daemon = Daemon::start(&config(&pair, &database).block(&hook)).await;
    daemon.healthy().await;
    let mut events = daemon.stream("GET /v1/events", "").await;
    database.stop().await;
    let down = events
        .until(|it| matches!(it, EventKind::SharedDown { .. }))
        .await;
    let address = database.address().to_string();
    let reason = format!("{address}: connection refused");
    let told = EventKind::SharedDown {
        address: Some(address.clone()),
        reason: reason.clone(),
    };
    assert_eq!((down.service.as_str(), down.kind), ("app", told));
    let trouble = daemon.service("app").await.shared_trouble.unwrap();
    assert_eq!(
        (trouble.cause.as_str(), trouble.reason.as_str()),
        ("configured", reason.as_str())
    );
    assert!(daemon.metric(&["switchd_shared_up", "app"]).await < 0.1);
    let words = daemon.ctl(&["status"]).await.stdout;
    let lines: Vec<&str> = words.lines().collect();
    let headline = lines.iter().position(|it| it.starts_with("app (")).unwrap();
    let line = lines[headline + 1];
    assert!(
        line.starts_with("  what all slots need fails") && line.contains(&reason),
        "{words}"
    );
    let history = daemon.history().await;
    let line = history.iter().find(|it| it.command == "shared_down");
    assert_eq!(line.unwrap().reason.as_deref(), Some(reason.as_str()));
    let line = logged(&daemon, "what all slots need fails");
    assert!(line[0].contains("ERROR"), "{line:?}");

    database.resume();
    events
        .until(|it| matches!(it, EventKind::SharedUp { .. }))
        .await;
    assert!(!is_down(&daemon).await);
    assert!(daemon.metric(&["switchd_shared_up", "app"]).await > 0.9);
    assert!(
        (daemon
            .metric(&["switchd_shared_outages_total", "app"])
            .await
            - 1.0)
            .abs()
            < 0.1
    );
    let line = logged(&daemon, "what all slots need is back");
    assert!(line[0].contains("WARN"), "{line:?}");
    let history = daemon.history().await;
    assert!(history.iter().any(|it| it.command == "shared_up"));
    receiver.saw("/told", 2).await;
    let names = receiver.requests_for("/told");
    let names = names.iter().map(|seen| {
        let body = &seen.body.as_ref().unwrap().data;
        let told: Value = serde_json::from_slice(body).unwrap();
        (
            told["name"].as_str().unwrap().to_owned(),
            told["severity"].clone(),
        )
    });
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            ("shared_down".to_owned(), Value::from("critical")),
            ("shared_up".to_owned(), Value::from("info"))
        ]
    );
}

#[tokio::test]
async fn what_is_looked_at_no_more_is_no_trouble_any_more() {
    let (pair, database) = (Pair::start().await, Backend::start("database").await);
    let daemon = Daemon::start(&config(&pair, &database)).await;
    daemon.healthy().await;
    database.stop().await;
    eventually("the trouble is known", async || is_down(&daemon).await).await;
    daemon.write_config(&pair.config());
    let output = daemon.ctl(&["reload"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(!is_down(&daemon).await);
    // Nothing holds traffic back any more.
    pair.blue.stop().await;
    daemon.becomes_active("green").await;
}
