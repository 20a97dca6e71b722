//! The real `switchctl` against a small admin server that answers what each test scripts.

#![allow(clippy::unwrap_used)]

mod program;
mod scripted;

use http::StatusCode;
use program::{command, end, interrupt, next_line, run, within};
use scripted::{Answer, Daemon, document};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixListener;

const STATUS: &str = r#"{"schema":1,"version":"0.1.0","pid":1,"started":"2026-08-01T12:00:00Z","listeners":["127.0.0.1:8080"],"config":{"path":"/c","loaded":"2026-08-01T12:00:00Z","problems":[],"needs_restart":[]},"services":[SERVICES]}"#;
const SERVICE: &str = r#"{"name":"NAME","hosts":["*"],"active":"blue","previous":null,"generation":1,"epoch":1,"phase":"steady","moved":null,"operation":null,"staying":null,"failback":{"mode":"off","moves_in_window":0,"max_moves":0},"shared":null,"slots":[],"draining":[],"of_a_later_version":true}"#;
const STARTED: &str = r#"{"schema":1,"at":"2026-08-01T12:00:00Z","service":"odoo","flip":7,"event":"started","direction":"flip","from":"blue","to":"green","by":"uid 0 (root)","reason":null}"#;
const UNHEARD_OF: &str = r#"{"schema":1,"at":"2026-08-01T12:00:00Z","service":"odoo","flip":7,"event":"of_a_later_version","slot":"green"}"#;
const PUBLISHED: &str = r#"{"schema":1,"at":"2026-08-01T12:00:01Z","service":"odoo","flip":7,"event":"published","from":"blue","to":"green","generation":8,"took_ms":3}"#;
const REFUSAL: &str = r#"{"type":"urn:switchd:refused","title":"refused","status":409,"detail":"a flip to green started by uid 7 is still gating","override":"wait for it"}"#;

fn status_of(services: &[&str]) -> String {
    let services: Vec<String> = services
        .iter()
        .map(|name| SERVICE.replace("NAME", name))
        .collect();
    STATUS.replace("SERVICES", &services.join(","))
}

fn done(verdict: &str, active: &str) -> String {
    let (reasons, drained) = match verdict {
        "refused" => (
            r#"["green http 127.0.0.1:8169: connection refused"]"#,
            "null",
        ),
        "moved_back" => (r#"["green http 127.0.0.1:8169: HTTP 500: oops"]"#, "null"),
        _ => ("[]", "1200"),
    };
    format!(
        r#"{{"schema":1,"at":"2026-08-01T12:00:02Z","service":"odoo","flip":7,"event":"done","verdict":"{verdict}","active":"{active}","reasons":{reasons},"took_ms":1300,"drained_ms":{drained},"cut":0}}"#
    )
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// One service, and one answer to `flip` and `rollback`.
fn flipping(answer: Answer) -> Daemon {
    Daemon::start(&[
        ("GET /v1/status", document(status_of(&["odoo"]))),
        ("POST /v1/services/odoo/flip", answer.clone()),
        ("POST /v1/services/odoo/rollback", answer),
    ])
}

#[tokio::test]
async fn a_flip_that_is_done_exits_0_with_its_result_on_stdout_and_progress_on_stderr() {
    let daemon = flipping(Answer::Lines(lines(&[
        STARTED,
        UNHEARD_OF,
        PUBLISHED,
        &done("done", "green"),
    ])));
    let ended = daemon.run(&["flip", "green"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        ended.stdout,
        "odoo: green is active; blue drained in 1.2 s, nothing cut off\n"
    );
    assert_eq!(
        ended.stderr,
        "flip from blue to green, asked for by uid 0 (root)\n  \
         green is live as generation 8; no new request reaches blue\n"
    );
}

#[tokio::test]
async fn what_was_asked_for_reaches_the_daemon_word_for_word() {
    let daemon = flipping(Answer::Lines(vec![done("done", "green")]));
    let force = ["--force", "--reason", "fire \"drill\"", "--no-wait"];
    let flip = [&["flip", "green", "--expect-generation", "7"], &force[..]].concat();
    assert_eq!(daemon.run(&flip).await.code, 0);
    assert_eq!(
        daemon.run(&[&["rollback"], &force[..]].concat()).await.code,
        0
    );
    let asked = daemon.asked();
    assert_eq!(
        asked[1],
        r#"POST /v1/services/odoo/flip {"to":"green","force":true,"reason":"fire \"drill\"","expect_generation":7,"no_wait":true,"rehearse":false,"confirm_within":null,"accept_schema_change":false}"#
    );
    assert_eq!(
        asked[3],
        r#"POST /v1/services/odoo/rollback {"force":true,"reason":"fire \"drill\"","no_wait":true,"accept_schema_change":false}"#
    );
}

#[tokio::test]
async fn a_flip_to_the_active_slot_exits_0() {
    let daemon = flipping(Answer::Lines(vec![done("unchanged", "green")]));
    let ended = daemon.run(&["flip", "green"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert_eq!(
        ended.stdout,
        "odoo: green was active already; nothing changed\n"
    );
}

#[tokio::test]
async fn a_gate_that_says_no_exits_1_with_the_reason_and_the_override() {
    let daemon = flipping(Answer::Lines(lines(&[STARTED, &done("refused", "blue")])));
    let ended = daemon.run(&["flip", "green"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("green http 127.0.0.1:8169: connection refused"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("--force --reason"), "{ended:?}");
}

#[tokio::test]
async fn a_refused_command_exits_1_with_the_daemons_own_words() {
    let refusal = Answer::Document(StatusCode::CONFLICT, REFUSAL.to_owned());
    let daemon = flipping(refusal);
    let ended = daemon.run(&["flip", "green"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(
        ended.stderr,
        "switchctl: a flip to green started by uid 7 is still gating\n  \
         to do it all the same: wait for it\n"
    );
    let ended = daemon.run(&["rollback", "--json"]).await;
    assert_eq!(
        (ended.code, ended.stdout.trim_end()),
        (1, REFUSAL),
        "{ended:?}"
    );
}

#[tokio::test]
async fn traffic_that_moved_back_exits_5() {
    let daemon = flipping(Answer::Lines(lines(&[
        STARTED,
        PUBLISHED,
        &done("moved_back", "blue"),
    ])));
    let ended = daemon.run(&["flip", "green"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (5, ""), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("traffic moved back by itself, blue is active"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("HTTP 500: oops"), "{ended:?}");
    assert!(ended.stderr.contains("switchctl ack green"), "{ended:?}");
}

#[tokio::test]
async fn a_timeout_exits_4_and_says_how_to_look_again() {
    let daemon = flipping(Answer::Open(lines(&[STARTED, PUBLISHED])));
    let ended = daemon.run(&["flip", "green", "--timeout", "300ms"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (4, ""), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("the flip to green goes on in switchd"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("switchctl status"), "{ended:?}");
}

#[tokio::test]
async fn control_c_detaches_from_a_flip_with_exit_4() {
    let daemon = flipping(Answer::Open(lines(&[STARTED])));
    let mut child = command(&daemon.socket(), &["flip", "green"])
        .spawn()
        .unwrap();
    let told = next_line(&mut child).await;
    assert!(told.starts_with("flip from blue to green"), "{told}");
    interrupt(&child).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("detached: the flip to green goes on in switchd"),
        "{ended:?}"
    );
    assert!(
        ended.stderr.contains("switchctl events --follow"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_daemon_that_dies_in_the_middle_exits_3_and_points_to_the_journal() {
    let daemon = flipping(Answer::Lines(lines(&[STARTED])));
    let ended = daemon.run(&["flip", "green"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("switchctl history"), "{ended:?}");
}

#[tokio::test]
async fn an_absent_daemon_exits_3_and_names_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("no.sock");
    for verb in [
        &["status"][..],
        &["flip", "green"],
        &["events", "--follow"],
        &["ps"],
    ] {
        let ended = run(&socket, verb).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{ended:?}");
        assert!(
            ended.stderr.contains(&socket.display().to_string()),
            "{ended:?}"
        );
        assert!(ended.stderr.contains("is switchd running?"), "{ended:?}");
    }
    let ended = run(&socket, &["status", "--json"]).await;
    assert!(
        ended
            .stdout
            .contains(r#""type":"urn:switchctl:unreachable""#),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_socket_nobody_listens_on_is_told_from_an_absent_one() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("left-over.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let ended = run(&socket, &["status"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(
        ended.stderr.contains("left-over, nobody listens"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn something_else_behind_the_socket_exits_3() {
    let daemon = Daemon::start(&[("GET /v1/status", document("<html>"))]);
    let ended = daemon.run(&["status"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(
        ended.stderr.contains("is not what was expected"),
        "{ended:?}"
    );
    let ended = daemon.run(&["history"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("HTTP 404"), "{ended:?}");
}

#[tokio::test]
async fn several_services_need_a_name_and_are_listed() {
    let daemon = Daemon::start(&[
        ("GET /v1/status", document(status_of(&["odoo", "shop"]))),
        (
            "POST /v1/services/shop/flip",
            Answer::Lines(vec![done("done", "green")]),
        ),
    ]);
    let ended = daemon.run(&["flip", "green"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("odoo, shop"), "{ended:?}");
    assert!(ended.stderr.contains("--service"), "{ended:?}");
    assert_eq!(
        daemon
            .run(&["flip", "green", "--service", "shop"])
            .await
            .code,
        0
    );
}

#[tokio::test]
async fn the_status_of_a_service_that_is_not_there_exits_1_and_names_those_that_are() {
    let daemon = Daemon::start(&[("GET /v1/status", document(status_of(&["odoo", "shop"])))]);
    for format in [&[][..], &["--json"]] {
        let ended = daemon
            .run(&[&["status", "--service", "nope"], format].concat())
            .await;
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains("odoo, shop"), "{ended:?}");
    }
    let known = daemon.run(&["status", "--service", "shop"]).await;
    assert_eq!(known.code, 0, "{known:?}");
    assert!(known.stdout.contains("shop"), "{known:?}");
    assert!(!known.stdout.contains("odoo"), "{known:?}");
}

#[tokio::test]
async fn a_wrong_command_line_exits_2_without_asking_the_daemon() {
    let daemon = Daemon::start(&[]);
    for wrong in [
        &["flop"][..],
        &["flip"],
        &["flip", "UP"],
        &["flip", "green", "--force"],
        &["kill", "x"],
    ] {
        let ended = daemon.run(wrong).await;
        assert_eq!(ended.code, 2, "{ended:?}");
    }
    assert_eq!(daemon.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn json_passes_documents_and_streams_through_untouched() {
    let status = status_of(&["odoo"]);
    let last = done("done", "green");
    let daemon = Daemon::start(&[
        ("GET /v1/status", document(status.clone())),
        (
            "POST /v1/services/odoo/flip",
            Answer::Lines(lines(&[STARTED, UNHEARD_OF, &last])),
        ),
    ]);
    let ended = daemon.run(&["status", "--json"]).await;
    assert_eq!((ended.code, ended.stdout), (0, format!("{status}\n")));
    let ended = daemon.run(&["flip", "green", "--json"]).await;
    assert_eq!(
        (ended.code, ended.stdout),
        (0, format!("{STARTED}\n{UNHEARD_OF}\n{last}\n"))
    );
    assert_eq!(ended.stderr, "");
}

#[tokio::test]
async fn a_failed_probe_shows_its_results_and_exits_1() {
    let report = r#"{"schema":1,"slot":"green","passed":false,"endpoints":[{"member":"http","address":"127.0.0.1:8169","at":"2026-08-01T12:00:00Z","took_ms":0.5,"passed":false,"result":"connection refused"}]}"#;
    let daemon = Daemon::start(&[
        ("GET /v1/status", document(status_of(&["odoo"]))),
        ("POST /v1/services/odoo/probe", document(report)),
    ]);
    let ended = daemon.run(&["probe", "green"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("127.0.0.1:8169  0.5 ms  connection refused"),
        "{ended:?}"
    );
    assert_eq!(
        daemon.asked()[1],
        r#"POST /v1/services/odoo/probe {"slot":"green"}"#
    );
}

#[tokio::test]
async fn kill_ack_and_reload_say_what_became_of_them() {
    let daemon = Daemon::start(&[
        (
            "DELETE /v1/requests/42",
            document(r#"{"schema":1,"id":42}"#),
        ),
        (
            "POST /v1/services/odoo/ack",
            document(r#"{"schema":1,"slot":"blue","remaining":null}"#),
        ),
        (
            "POST /v1/reload",
            document(r#"{"schema":1,"changes":[],"needs_restart":[]}"#),
        ),
    ]);
    let killed = daemon.run(&["kill", "42"]).await;
    assert_eq!(
        (killed.code, killed.stdout.as_str()),
        (0, "request 42 is ended\n")
    );
    let acknowledged = daemon.run(&["ack", "blue", "--service", "odoo"]).await;
    assert_eq!(
        acknowledged.stdout,
        "blue is acknowledged; its quarantine is over\n"
    );
    let reloaded = daemon.run(&["reload"]).await;
    assert_eq!(reloaded.stdout, "the config is valid; nothing changed\n");
}

#[tokio::test]
async fn history_and_ps_ask_for_what_was_chosen() {
    let daemon = Daemon::start(&[
        (
            "GET /v1/history?limit=5&service=odoo",
            document(r#"{"schema":1,"operations":[]}"#),
        ),
        (
            "GET /v1/ps?service=odoo",
            document(r#"{"schema":1,"requests":[]}"#),
        ),
    ]);
    let history = daemon
        .run(&["history", "--limit", "5", "--service", "odoo"])
        .await;
    assert_eq!(
        (history.code, history.stdout.as_str()),
        (0, "nothing has been done yet\n")
    );
    let ps = daemon.run(&["ps", "--service", "odoo"]).await;
    assert_eq!(
        (ps.code, ps.stdout.as_str()),
        (0, "no request is under way\n")
    );
}

#[tokio::test]
async fn events_end_after_one_without_follow_and_at_control_c_with_it() {
    let daemon = Daemon::start(&[("GET /v1/events", Answer::Open(lines(&[STARTED, PUBLISHED])))]);
    let one = daemon.run(&["events"]).await;
    assert_eq!(one.code, 0, "{one:?}");
    assert_eq!(one.stdout.lines().count(), 1, "{one:?}");

    let mut child = command(&daemon.socket(), &["events", "--follow"])
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = within(stdout.next_line()).await.unwrap().unwrap();
    let second = within(stdout.next_line()).await.unwrap().unwrap();
    assert!(
        first.contains("12:00:00  odoo #7  flip from blue to green"),
        "{first}"
    );
    assert!(
        second.contains("12:00:01  odoo #7  green is live"),
        "{second}"
    );
    interrupt(&child).await;
    assert_eq!(end(child).await.code, 0);
}

#[tokio::test]
async fn status_watch_shows_it_again_until_control_c() {
    let daemon = Daemon::start(&[("GET /v1/status", document(status_of(&["odoo"])))]);
    let mut child = command(&daemon.socket(), &["status", "--watch", "--json"])
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = within(stdout.next_line()).await.unwrap().unwrap();
        assert_eq!(line, status_of(&["odoo"]));
    }
    interrupt(&child).await;
    assert_eq!(end(child).await.code, 0);
}

#[tokio::test]
async fn colours_only_on_a_terminal_or_when_asked_for() {
    let daemon = Daemon::start(&[("GET /v1/status", document(status_of(&["odoo"])))]);
    let plain = daemon.run(&["status"]).await;
    assert!(!plain.stdout.contains('\x1b'), "{plain:?}");
    let coloured = daemon.run(&["status", "--color", "always"]).await;
    assert!(coloured.stdout.contains('\x1b'), "{coloured:?}");
}

#[tokio::test]
async fn a_reader_that_leaves_early_is_no_failure() {
    let daemon = Daemon::start(&[("GET /v1/status", document(status_of(&["odoo"])))]);
    let mut child = command(&daemon.socket(), &["status"]).spawn().unwrap();
    drop(child.stdout.take());
    let ended = end(child).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
}
