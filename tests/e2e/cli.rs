//! `switchctl` and `switchd check`, as an operator meets them.

use crate::support::Backend;
use crate::support::CtlOutput;
use crate::support::Daemon;
use crate::support::Gate;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use crate::support::switchd;
use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::BufReader;

fn is_plain(output: &CtlOutput) {
    let both = format!("{}{}", output.stdout, output.stderr);
    assert!(
        !both.contains('\x1b'),
        "colours and cursor play off a terminal: {output:?}"
    );
}

#[tokio::test]
async fn status_shows_slots_health_and_the_active_one() {
    let pair = Pair::start().await;
    pair.green.health(Reply::status(500, "still migrating"));
    let daemon = pair.daemon().await;
    daemon.slot_becomes("green", "unhealthy").await;
    let output = daemon.ctl(&["status"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    for word in ["app", "blue", "green", "active", "still migrating"] {
        assert!(output.stdout.contains(word), "{word}: {output:?}");
    }
    is_plain(&output);
}

#[tokio::test]
async fn every_verb_speaks_json() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    for verb in [
        &["status"][..],
        &["probe", "green"],
        &["ps"],
        &["history"],
        &["reload"],
    ] {
        let output = daemon.ctl(&[verb, &["--json"]].concat()).await;
        assert_eq!(output.code, 0, "{verb:?}: {output:?}");
        assert_eq!(output.json()["schema"], 1, "{verb:?}");
    }
    let flip = daemon.ctl(&["flip", "green", "--json"]).await;
    assert_eq!(flip.code, 0, "{flip:?}");
    let last = flip.stdout.lines().last().unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(
        (&last["event"], &last["verdict"]),
        (&"done".into(), &"done".into())
    );
}

#[tokio::test]
async fn a_flip_reports_on_stdout_and_tells_its_progress_on_stderr() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let output = daemon.flip("green").await;
    assert!(output.stdout.contains("green"), "{output:?}");
    assert!(!output.stderr.is_empty(), "{output:?}");
    is_plain(&output);
    let again = daemon.flip("green").await;
    assert!(again.stdout.contains("green"), "{again:?}");
}

#[tokio::test]
async fn a_wrong_command_line_ends_with_2() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for arguments in [
        &["flip"][..],
        &["fly", "green"],
        &["status", "--what"],
        &["kill", "x"],
    ] {
        let output = daemon.ctl(arguments).await;
        assert_eq!(output.code, 2, "{arguments:?}: {output:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{output:?}"
        );
    }
}

#[tokio::test]
async fn a_daemon_that_cannot_be_reached_ends_with_3() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    for arguments in [&["status"][..], &["flip", "green"], &["ps"], &["history"]] {
        let output = daemon.ctl(arguments).await;
        assert_eq!(output.code, 3, "{arguments:?}: {output:?}");
        let socket = daemon.socket().display().to_string();
        assert!(
            output.stderr.contains(&socket),
            "it names the socket: {output:?}"
        );
    }
}

#[tokio::test]
async fn a_flip_that_takes_too_long_ends_with_4_and_goes_on() {
    let pair = Pair::start().await;
    let gate = Gate::closed();
    let daemon = pair.daemon().await;
    let _client = pair.occupy(&daemon, &gate).await;
    let output = daemon.ctl(&["flip", "green", "--timeout", "1s"]).await;
    assert_eq!(output.code, 4, "{output:?}");
    assert!(
        output.stderr.contains("switchctl"),
        "how to look again: {output:?}"
    );
    assert_eq!(daemon.active().await, "green");
    gate.open();
    eventually("the daemon finishes it", async || {
        daemon
            .history()
            .await
            .iter()
            .any(|record| record.result == "done")
    })
    .await;
}

#[tokio::test]
async fn ctrl_c_only_detaches_and_says_how_to_look_again() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let held = Gate::closed();
    pair.green.health(Reply::held(&held));
    let mut events = daemon.stream("GET /v1/events", "").await;
    let mut child = daemon
        .ctl_command(&["flip", "green"])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    // Its first line of progress: from here on it listens to the daemon, and to Ctrl-C.
    let mut said = String::new();
    stderr.read_line(&mut said).await.unwrap();
    events
        .until(|event| matches!(event, switchd::api::EventKind::Started { .. }))
        .await;
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
    stderr.read_to_string(&mut said).await.unwrap();
    let code = child.wait().await.unwrap().code();
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("switchctl status") || said.contains("switchctl events"),
        "{said}"
    );
    held.open();
    daemon.becomes_active("green").await;
}

#[tokio::test]
async fn which_service_is_meant_must_be_said_only_when_there_are_several() {
    let pair = Pair::start().await;
    let shop = Pair::start().await;
    let config = pair
        .config()
        .service("shop", &shop.blue, &shop.green)
        .set("service.app.hosts = [\"app.test\"]")
        .set("service.shop.hosts = [\"shop.test\"]");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    let unsaid = daemon.ctl(&["flip", "green"]).await;
    assert!([1, 2].contains(&unsaid.code), "{unsaid:?}");
    assert!(unsaid.stderr.contains("--service"), "{unsaid:?}");
    assert!(unsaid.stderr.contains("shop"), "it names them: {unsaid:?}");
    let said = daemon.ctl(&["--service", "shop", "flip", "green"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(daemon.service("shop").await.active, "green");
    assert_eq!(daemon.service("app").await.active, "blue");
}

#[tokio::test]
async fn probe_ends_with_1_when_the_slot_fails() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let well = daemon.ctl(&["probe", "green"]).await;
    assert_eq!(well.code, 0, "{well:?}");
    pair.green.health(Reply::status(503, "come back later"));
    let ill = daemon.ctl(&["probe", "green"]).await;
    assert_eq!(ill.code, 1, "{ill:?}");
    assert!(ill.stdout.contains("come back later"), "{ill:?}");
}

#[tokio::test]
async fn ps_and_kill_work_together() {
    let pair = Pair::start().await;
    pair.blue.on("/never", Reply::never());
    let daemon = pair.daemon().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("GET /never", "", "")).await;
    pair.blue.saw("/never", 1).await;
    let shown = daemon.ctl(&["ps"]).await;
    assert!(shown.stdout.contains("/never"), "{shown:?}");
    let listed = daemon.ctl(&["ps", "--json"]).await.json();
    let id = listed["requests"][0]["id"].to_string();
    assert!(shown.stdout.contains(&id), "{shown:?}");
    assert_eq!(daemon.ctl(&["kill", &id]).await.code, 0);
    let answer = client.try_answer("GET").await;
    assert!(
        answer.as_ref().map_or(true, |a| a.status() == 503),
        "{answer:?}"
    );
    let again = daemon.ctl(&["kill", &id]).await;
    assert_eq!(again.code, 1, "{again:?}");
}

#[tokio::test]
async fn history_tells_who_did_what_and_how_it_ended() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.flip("green").await;
    pair.blue.stop().await;
    daemon
        .ctl(&[
            "flip",
            "blue",
            "--no-wait-for-start",
            "--reason",
            "the old one was better",
        ])
        .await;
    let output = daemon.ctl(&["history"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    for word in ["flip", "green", "done", "refused"] {
        assert!(output.stdout.contains(word), "{word}: {output:?}");
    }
    let one = daemon
        .ctl(&["history", "--json", "--limit", "1"])
        .await
        .json();
    assert_eq!(one["operations"].as_array().unwrap().len(), 1);
    assert_eq!(one["operations"][0]["reason"], "the old one was better");
}

#[tokio::test]
async fn events_follow_what_happens() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    daemon.healthy().await;
    let mut child = daemon
        .ctl_command(&["events", "--follow", "--json"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // When its reader is there cannot be seen from here: flip until it tells of one.
    let mut flips = 0;
    let told = loop {
        daemon
            .flip(if flips % 2 == 0 { "green" } else { "blue" })
            .await;
        flips += 1;
        let line = tokio::time::timeout(std::time::Duration::from_millis(200), lines.next_line());
        if let Ok(line) = line.await {
            break line.unwrap().unwrap();
        }
    };
    let event: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(event["service"], "app", "{told}");
    assert!(event["event"].is_string(), "{told}");
}

#[tokio::test]
async fn status_watch_shows_changes_as_they_happen() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut child = daemon
        .ctl_command(&["status", "--watch", "--json"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    let mut read_until = async |wanted: &str| {
        while !text.contains(wanted) {
            let line = tokio::time::timeout(crate::support::DEADLINE, output.read_line(&mut text));
            assert!(
                line.await.expect("it goes on").unwrap() > 0,
                "{wanted} in {text}"
            );
        }
    };
    read_until("\"active\":\"blue\"").await;
    daemon.flip("green").await;
    read_until("\"active\":\"green\"").await;
}

#[tokio::test]
async fn check_explains_what_a_preset_means_as_a_config_that_means_the_same() {
    let output = switchd(&[
        "check",
        "--explain",
        "--config",
        "config/examples/odoo.toml",
    ])
    .await;
    assert_eq!(output.code, 0, "{output:?}");
    for line in [
        "close_code = 4002                                   # preset",
        "max_in_flight = 16                                  # preset",
        "drain_websockets = \"30s\"                            # default",
        "websocket = [\"127.0.0.1:8072\"]                      # line 22",
    ] {
        assert!(output.stdout.contains(line), "{line}: {}", output.stdout);
    }
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("explained.toml");
    std::fs::write(&file, &output.stdout).unwrap();
    let name = file.to_str().unwrap();
    let again = switchd(&["check", "--explain", "--config", name]).await;
    assert_eq!(again.code, 0, "{again:?}");
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.map(|line| line.split(" # ").next().unwrap_or_default().trim_end());
        values.map(str::to_owned).collect()
    };
    assert_eq!(values(&again.stdout), values(&output.stdout));
}

#[tokio::test]
async fn check_accepts_a_good_file_and_lists_every_problem_of_a_bad_one() {
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("switchd.toml");
    let name = file.to_str().unwrap();
    let good = crate::support::Config::pair(&blue, &green);
    std::fs::write(&file, good.text(dir.path())).unwrap();
    let output = switchd(&["check", "--config", name]).await;
    assert_eq!(output.code, 0, "{output:?}");

    let bad = good
        .set("limits.header_timeout = \"ten seconds\"")
        .set("service.app.surprise = 1")
        .set("service.app.initial = \"purple\"")
        .set("service.app.slots.red.http = [\"127.0.0.1\"]")
        .route("/x", "nobody")
        .set(&format!(
            "service.app.slots.green.http = [\"{}\"]",
            blue.address()
        ));
    std::fs::write(&file, bad.text(dir.path())).unwrap();
    let output = switchd(&["check", "--config", name]).await;
    assert_eq!(output.code, 1, "{output:?}");
    let said = format!("{}{}", output.stdout, output.stderr);
    for word in [
        "header_timeout",
        "surprise",
        "purple",
        "127.0.0.1",
        "nobody",
        "help: ",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let places = said
        .lines()
        .filter(|line| line.starts_with(&format!("{name}:")))
        .count();
    assert!(places >= 6, "each with its place: {said}");

    let pair = Pair { blue, green };
    let daemon = pair.daemon().await;
    let ctl = daemon.ctl(&["check", name]).await;
    assert_eq!(ctl.code, 1, "{ctl:?}");
    assert_eq!(get(daemon.address, "/").await.status(), 200);
}

#[tokio::test]
async fn a_config_that_does_not_hold_stops_the_start_with_its_problems() {
    let pair = Pair::start().await;
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("switchd.toml");
    let bad = pair.config().set("service.app.initial = \"purple\"");
    std::fs::write(&file, bad.text(dir.path())).unwrap();
    let output = switchd(&["run", "--config", file.to_str().unwrap()]).await;
    assert_ne!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("purple"), "{output:?}");
    let missing = switchd(&["run", "--config", "/does/not/exist.toml"]).await;
    assert_ne!(missing.code, 0);
    assert!(
        missing.stderr.contains("/does/not/exist.toml"),
        "{missing:?}"
    );
}
