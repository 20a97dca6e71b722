//! What ends a hold: its time, its holder, a release, a reload, the daemon's own end.

use crate::hold::LONG;
use crate::hold::held;
use crate::hold::hold;
use crate::hold::is_released;
use crate::hold::over;
use crate::hold::release;
use crate::hold::status;
use crate::hold::waiting;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::EventStream;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::get;
use crate::support::request;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use std::process::Stdio;
use switchd::api::EventKind;
use switchd::api::ReleaseCause;
use tokio::io::AsyncReadExt;
use tokio::process::Child;

fn cause(event: &EventKind) -> ReleaseCause {
    match event {
        EventKind::Released { why, .. } => *why,
        other => panic!("{other:?}"),
    }
}

async fn ended(mut events: EventStream) -> ReleaseCause {
    cause(&events.until(is_released).await.kind)
}

#[tokio::test]
async fn its_time_is_over() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let events = hold(&daemon, r#"{"for":"400ms"}"#).await;
    let answer = get(daemon.address, "/waits").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(ended(events).await, ReleaseCause::Deadline);
    assert_eq!(daemon.history().await.last().unwrap().result, "deadline");
}

#[tokio::test]
async fn its_holder_is_gone() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut all = daemon.stream("GET /v1/events", "").await;
    let lease = hold(&daemon, LONG).await;
    let mut client = held(&daemon, "GET /waits", 1).await;
    drop(lease);
    assert_eq!(client.answer("GET").await.status(), 200);
    let released = all.until(is_released).await;
    assert_eq!(cause(&released.kind), ReleaseCause::LeaseLost);
    assert_eq!(status(&daemon).await, None);
}

#[tokio::test]
async fn one_that_is_no_lease_outlives_its_connection() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut all = daemon.stream("GET /v1/events", "").await;
    drop(hold(&daemon, r#"{"for":"5m","lease":false}"#).await);
    let mut client = held(&daemon, "GET /waits", 1).await;
    // Told once a second, for as long as it holds.
    let holding = |it: &EventKind| matches!(it, EventKind::Holding { waiting: 1, .. });
    all.until(holding).await;
    release(&daemon).await;
    assert_eq!(client.answer("GET").await.status(), 200);
    let released = all.until(is_released).await;
    assert_eq!(cause(&released.kind), ReleaseCause::Asked);
}

#[tokio::test]
async fn a_reload_takes_its_service_away() {
    let (pair, others) = (Pair::start().await, Pair::start().await);
    let named = |config: Config, name: &str| {
        config.set(&format!("service.{name}.hosts = [\"{name}.test\"]"))
    };
    let daemon = Daemon::start(&named(pair.config(), "app")).await;
    let events = hold(&daemon, LONG).await;
    let mut client = held(&daemon, "GET /waits", 1).await;
    let other = Config::empty().service("other", &others.blue, &others.green);
    daemon.write_config(&named(other, "other"));
    assert_eq!(daemon.call("POST /v1/reload", "").await.status, 200);
    assert_eq!(client.answer("GET").await.status(), 421);
    assert_eq!(ended(events).await, ReleaseCause::Removed);
}

#[tokio::test]
async fn a_reload_of_its_service_changes_nothing_for_it() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let _events = hold(&daemon, LONG).await;
    let mut client = held(&daemon, "GET /waits", 1).await;
    daemon.write_config(&pair.config().set("service.app.timeouts.total = \"1m\""));
    assert_eq!(daemon.call("POST /v1/reload", "").await.status, 200);
    waiting(&daemon, 1).await;
    assert_eq!(pair.blue.count(), 0);
    release(&daemon).await;
    assert_eq!(client.answer("GET").await.status(), 200);
}

#[tokio::test]
async fn a_daemon_that_is_killed_comes_back_without_it_and_tells() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    let _events = hold(&daemon, r#"{"for":"5m","lease":false}"#).await;
    daemon.kill_and_restart().await;
    assert_eq!(status(&daemon).await, None);
    assert_eq!(get(daemon.address, "/").await.status(), 200);
    let history = daemon.history().await;
    let record = history.iter().find(|it| it.command == "hold").unwrap();
    assert_eq!(record.result, "interrupted");
}

#[tokio::test]
async fn a_daemon_that_stops_lets_everybody_go() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    let _events = hold(&daemon, r#"{"for":"5m","lease":false}"#).await;
    let mut client = held(&daemon, "GET /waits", 1).await;
    daemon.signal(Signal::TERM);
    assert_eq!(client.answer("GET").await.status(), 200);
    assert_eq!(daemon.ended().await.code(), Some(0));
}

/// `switchctl hold`, once it holds.
async fn foreground(daemon: &Daemon, arguments: &[&str]) -> Child {
    let mut command = daemon.ctl_command(arguments);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    crate::support::eventually("it holds", async || status(daemon).await.is_some()).await;
    child
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn its_command_is_killed() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let holder = foreground(&daemon, &["hold", "--for", "5m"]).await;
    let mut client = held(&daemon, "GET /waits", 1).await;
    signal(&holder, Signal::KILL);
    assert_eq!(client.answer("GET").await.status(), 200);
    over(&daemon).await;
    assert_eq!(get(daemon.address, "/").await.status(), 200);
}

#[tokio::test]
async fn ctrl_c_releases_and_says_what_it_cost() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut holder = foreground(&daemon, &["hold", "--for", "5m", "--drain"]).await;
    let mut client = held(&daemon, "GET /waits", 1).await;
    signal(&holder, Signal::INT);
    assert_eq!(client.answer("GET").await.status(), 200);
    assert_eq!(holder.wait().await.unwrap().code(), Some(0));
    let (mut out, mut told) = (String::new(), String::new());
    holder
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .await
        .unwrap();
    holder
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .await
        .unwrap();
    assert!(
        out.contains("app: released after") && out.contains("1 request waited for"),
        "{out}"
    );
    assert!(
        told.contains("app is held for 5m at most; Ctrl-C releases"),
        "{told}"
    );
    assert!(told.contains("drained"), "{told}");
}

#[tokio::test]
async fn one_that_is_left_behind_is_released_by_another_command() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let left = daemon
        .ctl(&["hold", "--leave", "--drain", "--for", "5m"])
        .await;
    assert_eq!(left.code, 0, "{left:?}");
    assert!(
        left.stdout.contains("drained after") && left.stdout.contains("switchctl release"),
        "{left:?}"
    );
    let mut client = held(&daemon, "GET /waits", 1).await;
    let released = daemon.ctl(&["release"]).await;
    assert_eq!(released.code, 0, "{released:?}");
    assert!(
        released.stdout.contains("1 request goes on now"),
        "{released:?}"
    );
    assert_eq!(client.answer("GET").await.status(), 200);
    over(&daemon).await;
    let again = daemon.ctl(&["release"]).await;
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("app is not held"), "{again:?}");
}

#[tokio::test]
async fn a_hold_that_was_over_before_it_had_drained_is_a_failure() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let gate = crate::support::Gate::closed();
    pair.blue.on("/slow", Reply::held(&gate));
    let mut slow = Wire::connect(daemon.address).await;
    slow.send(request("GET /slow", "", "")).await;
    pair.blue.saw("/slow", 1).await;
    let failed = daemon.ctl(&["hold", "--drain", "--for", "300ms"]).await;
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("its time was over"), "{failed:?}");
    let done = daemon.ctl(&["hold", "--for", "200ms"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    gate.open();
    assert_eq!(slow.answer("GET").await.text(), "held");
}
