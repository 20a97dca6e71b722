//! `switchctl deploy`: to the end, or back to where it was.

use crate::support::Config;
use crate::support::CtlOutput;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use serde_json::Value;
use std::process::Stdio;
use switchd::api::EventKind;
use tokio::process::Child;

/// A step whose program leaves a line in the file `trace`, and whose undo leaves another.
pub(crate) fn traced(name: &str) -> String {
    step(
        name,
        &format!("echo {name} >> trace"),
        &format!("echo undo {name} >> trace"),
    )
}

/// A step of two lines for a shell.
pub(crate) fn step(name: &str, run: &str, undo: &str) -> String {
    format!(
        "[[service.app.deploy.step]]\nname = {name:?}\nshell = true\nrun = {run:?}\nundo = {undo:?}\n"
    )
}

/// With these steps, and no more waiting than is needed.
pub(crate) fn deploying(config: Config, steps: &[String]) -> Config {
    let config = config
        .set("service.app.deploy.dir = \"DIR/deploys\"")
        .set("service.app.deploy.watch = \"100ms\"")
        .set("service.app.watch.time = \"1s\"");
    config.block(&steps.concat())
}

async fn daemon(pair: &Pair, steps: &[String]) -> Daemon {
    let daemon = Daemon::start(&deploying(pair.config(), steps)).await;
    daemon.healthy().await;
    daemon
}

/// The arguments of a deploy, with `more` of them.
pub(crate) fn arguments<'a>(config: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["deploy", "--config", config], more].concat()
}

pub(crate) async fn deploy(daemon: &Daemon, more: &[&str]) -> CtlOutput {
    let config = daemon.config_path().display().to_string();
    daemon.ctl(&arguments(&config, more)).await
}

/// A deploy that is watched by this test.
pub(crate) fn begin(daemon: &Daemon, more: &[&str]) -> Child {
    let config = daemon.config_path().display().to_string();
    let mut command = daemon.ctl_command(&arguments(&config, more));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

pub(crate) fn trace(daemon: &Daemon) -> Vec<String> {
    let text = std::fs::read_to_string(daemon.path("trace")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// `deploy --status`, as a document.
pub(crate) async fn status(daemon: &Daemon) -> Value {
    let output = deploy(daemon, &["--status", "--json"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    output.json()
}

/// What every line of the newest journal says.
pub(crate) fn journal(daemon: &Daemon) -> Vec<Value> {
    let dir = daemon.path("deploys/app");
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "jsonl"));
    files.sort_by_key(|path| path.metadata().unwrap().modified().unwrap());
    let Some(newest) = files.pop() else {
        return Vec::new();
    };
    let text = std::fs::read_to_string(newest).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines.filter_map(Result::ok).collect()
}

/// The process that does the work.
pub(crate) fn runner(daemon: &Daemon) -> Option<Pid> {
    let pid = journal(daemon)
        .iter()
        .rev()
        .find(|line| line["record"] == "running")?["pid"]
        .as_i64()?;
    Pid::from_raw(i32::try_from(pid).unwrap())
}

pub(crate) async fn begins(daemon: &Daemon, step: &str) {
    eventually(&format!("{step} begins"), async || {
        journal(daemon)
            .iter()
            .any(|line| line["record"] == "started" && line["step"] == step)
    })
    .await;
}

pub(crate) async fn code(mut child: Child) -> i32 {
    let ended = tokio::time::timeout(crate::support::DEADLINE, child.wait());
    ended.await.expect("it ends").unwrap().code().unwrap_or(-1)
}

pub(crate) fn end(pid: Pid, signal: Signal) {
    kill_process(pid, signal).unwrap();
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id().expect("it runs")).unwrap();
    end(Pid::from_raw(pid).unwrap(), signal);
}

pub(crate) async fn is_gone(pid: Pid) {
    eventually("the process is gone", async || {
        rustix::process::test_kill_process(pid).is_err()
    })
    .await;
}

#[tokio::test]
async fn a_deploy_takes_its_steps_in_order_and_leaves_a_receipt() {
    let pair = Pair::start().await;
    let steps = ["backup", "prepare", "start", "mine", "stop_old"].map(traced);
    let daemon = daemon(&pair, &steps).await;
    let output = deploy(&daemon, &["--version", "v2.1.0", "--reason", "ticket 7"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(
        trace(&daemon),
        ["backup", "prepare", "start", "mine", "stop_old"]
    );
    assert_eq!(daemon.active().await, "green");
    assert!(
        output.stdout.contains("green (v2.1.0) is active"),
        "{output:?}"
    );
    assert!(output.stderr.contains("[6/8] flip"), "{output:?}");

    let receipt = status(&daemon).await;
    assert_eq!(receipt["outcome"], "done");
    assert_eq!(receipt["reason"], "ticket 7");
    let id = receipt["id"].as_str().unwrap();
    let read = |ending: &str| {
        let path = daemon.path(&format!("deploys/app/{id}.{ending}"));
        std::fs::read_to_string(path).unwrap()
    };
    let json: Value = serde_json::from_str(&read("json")).unwrap();
    assert_eq!(json["version"], "v2.1.0");
    assert_eq!(json["steps"].as_array().unwrap().len(), 8);
    assert!(json["by"].as_str().unwrap().starts_with("uid "), "{json}");
    let markdown = read("md");
    assert!(markdown.contains("| why | ticket 7 |"), "{markdown}");
    assert!(markdown.contains("| stop_old | done |"), "{markdown}");

    let history = daemon.history().await;
    let flip = history.iter().find(|it| it.command == "flip").unwrap();
    assert_eq!(flip.version.as_deref(), Some("v2.1.0"));
    assert_eq!(
        flip.reason.as_deref(),
        Some(&*format!("deploy {id} of v2.1.0: ticket 7"))
    );
}

#[tokio::test]
async fn a_deploy_that_cut_off_requests_says_so_and_ends_with_a_code_of_its_own() {
    let pair = Pair::start().await;
    pair.blue.on("/never", Reply::never());
    let config = pair
        .config()
        .set("service.app.flip.drain_requests = \"100ms\"");
    let daemon = Daemon::start(&deploying(config, &[])).await;
    daemon.healthy().await;
    let mut client = Wire::connect(daemon.address).await;
    client.send(request("POST /never", "", "x")).await;
    pair.blue.saw("/never", 1).await;
    let output = deploy(&daemon, &["--to", "green"]).await;
    assert_eq!(output.code, 6, "{output:?}");
    let told = &output.stderr;
    assert!(told.contains("green is active"), "{told}");
    assert!(told.contains("1 request was cut off"), "{told}");
    assert_eq!(daemon.active().await, "green");
}

#[tokio::test]
async fn a_step_that_fails_takes_all_back_in_reverse_order() {
    let pair = Pair::start().await;
    let steps = [
        traced("prepare"),
        step(
            "start",
            "echo half; echo no room >&2; exit 3",
            "echo undo start >> trace",
        ),
        traced("mine"),
    ];
    let daemon = daemon(&pair, &steps).await;
    let output = deploy(&daemon, &["--version", "v2"]).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert_eq!(trace(&daemon), ["prepare", "undo start", "undo prepare"]);
    assert_eq!(daemon.active().await, "blue");
    for words in [
        "start: exit code 3",
        "no room",
        "start: taken back",
        "prepare: taken back",
    ] {
        assert!(output.stderr.contains(words), "{words}: {output:?}");
    }
    assert_eq!(status(&daemon).await["outcome"], "undone");
}

#[tokio::test]
async fn what_fails_after_the_flip_moves_traffic_back() {
    let pair = Pair::start().await;
    let steps = [
        traced("start"),
        step("stop_old", "exit 1", "echo undo stop_old >> trace"),
    ];
    let daemon = daemon(&pair, &steps).await;
    let output = deploy(&daemon, &["--version", "v2"]).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert_eq!(trace(&daemon), ["start", "undo stop_old", "undo start"]);
    assert_eq!(daemon.active().await, "blue");
    assert_eq!(
        daemon.slot("green").await.version,
        None,
        "its label went, too"
    );
    let moves: Vec<_> = daemon
        .history()
        .await
        .into_iter()
        .filter_map(|it| it.to)
        .collect();
    assert!(moves.contains(&"green".to_owned()), "{moves:?}");
}

#[tokio::test]
async fn a_slot_that_is_not_well_gets_no_traffic() {
    let pair = Pair::start().await;
    let config = pair.config().set("service.app.flip.gate_timeout = \"2s\"");
    let daemon = Daemon::start(&deploying(config, &[traced("start")])).await;
    pair.green.stop().await;
    daemon.slot_becomes("green", "unhealthy").await;
    let output = deploy(&daemon, &[]).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert!(output.stderr.contains("gates: "), "{output:?}");
    assert!(
        output
            .stderr
            .contains("connection refused, and still after 2s (flip.gate_timeout)"),
        "{output:?}"
    );
    assert_eq!(trace(&daemon), ["start", "undo start"]);
}

#[tokio::test]
async fn a_program_knows_what_it_works_on() {
    let pair = Pair::start().await;
    let print = "env | grep -E '^(SLOT|OLD_SLOT|VERSION|OLD_VERSION|SERVICE|URL|STEP|UNDO|FLIPPED|MINE)=' | sort >> trace; exit 1";
    let steps = [format!(
        "{}env = {{ MINE = \"x y\" }}\n",
        step("prepare", print, print)
    )];
    let daemon = daemon(&pair, &steps).await;
    daemon
        .call(
            "POST /v1/services/app/label",
            "{\"slot\":\"blue\",\"version\":\"v1\"}",
        )
        .await;
    deploy(&daemon, &["--version", "v2"]).await;
    let url = format!("URL=http://{}", pair.green.address());
    let mut expected = vec![
        "FLIPPED=",
        "MINE=x y",
        "OLD_SLOT=blue",
        "OLD_VERSION=v1",
        "SERVICE=app",
        "SLOT=green",
        "STEP=prepare",
        "UNDO=",
        &url,
        "VERSION=v2",
    ];
    let once = expected.clone();
    expected.extend(once);
    expected[17] = "UNDO=1";
    assert_eq!(trace(&daemon), expected);
}

#[tokio::test]
async fn no_shell_reads_what_is_no_script() {
    let pair = Pair::start().await;
    let steps = [
        "[[service.app.deploy.step]]\nname = \"prepare\"\nrun = [\"touch\", \"a; $HOME b\"]\n"
            .to_owned(),
    ];
    let daemon = daemon(&pair, &steps).await;
    assert_eq!(deploy(&daemon, &[]).await.code, 0);
    assert!(daemon.path("a; $HOME b").exists());
}

#[tokio::test]
async fn a_dry_run_shows_the_plan_and_does_nothing() {
    let pair = Pair::start().await;
    let steps = [traced("prepare"), traced("migrate")];
    let daemon = daemon(&pair, &steps).await;
    let output = deploy(&daemon, &["--dry-run", "--version", "v9"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    for words in [
        "deploy to green (v9)",
        "1. prepare",
        "echo prepare",
        "clients are held",
        "5. watch",
        "nothing was done",
    ] {
        assert!(output.stdout.contains(words), "{words}: {}", output.stdout);
    }
    assert!(trace(&daemon).is_empty() && !daemon.path("deploys").exists());
}

#[tokio::test]
async fn one_deploy_of_a_service_at_a_time() {
    let pair = Pair::start().await;
    let steps = [step(
        "prepare",
        "until test -e go; do sleep 0.02; done",
        "true",
    )];
    let daemon = daemon(&pair, &steps).await;
    let first = begin(&daemon, &[]);
    begins(&daemon, "prepare").await;
    let second = deploy(&daemon, &[]).await;
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("is under way"), "{second:?}");
    std::fs::write(daemon.path("go"), "").unwrap();
    assert_eq!(code(first).await, 0);
}

/// Runs until it is ended, and says so.
fn endless(name: &str) -> String {
    let run = "trap 'echo ended >> trace; exit 1' TERM; echo begun >> trace; while :; do sleep 0.05; done";
    step(name, run, &format!("echo undo {name} >> trace"))
}

async fn says(daemon: &Daemon, line: &str) {
    eventually(&format!("the trace says {line}"), async || {
        trace(daemon).iter().any(|it| it == line)
    })
    .await;
}

#[tokio::test]
async fn ctrl_c_ends_the_program_and_takes_all_back() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair, &[traced("backup"), endless("prepare")]).await;
    for (number, way) in [Signal::INT, Signal::TERM].into_iter().enumerate() {
        let child = begin(&daemon, &[]);
        eventually("it has begun", async || {
            trace(&daemon).iter().filter(|it| *it == "begun").count() == number + 1
        })
        .await;
        signal(&child, way);
        assert_eq!(code(child).await, 5);
    }
    let once = ["backup", "begun", "ended", "undo prepare", "undo backup"];
    assert_eq!(trace(&daemon), [once, once].concat());
}

#[tokio::test]
async fn a_hangup_of_the_runner_takes_all_back() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair, &[endless("prepare")]).await;
    let child = begin(&daemon, &[]);
    says(&daemon, "begun").await;
    end(runner(&daemon).unwrap(), Signal::HUP);
    assert_eq!(code(child).await, 5);
    assert_eq!(trace(&daemon), ["begun", "ended", "undo prepare"]);
}

#[tokio::test]
async fn a_lost_connection_ends_the_watching_only() {
    let pair = Pair::start().await;
    let steps = [step(
        "prepare",
        "until test -e go; do sleep 0.02; done",
        "true",
    )];
    let daemon = daemon(&pair, &steps).await;
    let mut child = begin(&daemon, &[]);
    begins(&daemon, "prepare").await;
    let pid = runner(&daemon).unwrap();
    let session = rustix::process::getsid(Some(pid)).unwrap();
    assert_eq!(
        session, pid,
        "it leads a session, which no terminal belongs to"
    );
    signal(&child, Signal::HUP);
    child.wait().await.unwrap();
    let attached = begin(&daemon, &["--attach"]);
    std::fs::write(daemon.path("go"), "").unwrap();
    assert_eq!(code(attached).await, 0);
    assert_eq!(daemon.active().await, "green");
}

#[tokio::test]
async fn a_detached_deploy_goes_on_by_itself() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair, &[traced("prepare")]).await;
    let output = deploy(&daemon, &["--detach"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("goes on by itself"), "{output:?}");
    daemon.becomes_active("green").await;
    let attached = deploy(&daemon, &["--attach"]).await;
    assert_eq!(attached.code, 0, "{attached:?}");
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_ended() {
    let pair = Pair::start().await;
    let steps = [format!("{}timeout = \"300ms\"\n", endless("prepare"))];
    let daemon = daemon(&pair, &steps).await;
    let output = deploy(&daemon, &[]).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert!(output.stderr.contains("not over after 300ms"), "{output:?}");
    assert_eq!(trace(&daemon), ["begun", "ended", "undo prepare"]);
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_told_and_left_to_people() {
    let pair = Pair::start().await;
    let steps = [
        traced("backup"),
        step("prepare", "true", "echo stuck; exit 9"),
        step("start", "exit 1", "true"),
    ];
    let daemon = daemon(&pair, &steps).await;
    let output = deploy(&daemon, &[]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output
            .stderr
            .contains("prepare: NOT taken back: exit code 9"),
        "{output:?}"
    );
    assert_eq!(
        trace(&daemon),
        ["backup", "undo backup"],
        "the rest was taken back"
    );
}

#[tokio::test]
async fn traffic_that_cannot_go_back_keeps_what_it_stands_on() {
    let pair = Pair::start().await;
    let steps = [traced("start"), step("stop_old", "exit 1", "true")];
    let config = pair.config().set("service.app.flip.gate_timeout = \"2s\"");
    let daemon = Daemon::start(&deploying(config, &steps)).await;
    daemon.healthy().await;
    // The old slot is gone as soon as traffic has left it.
    let child = begin(&daemon, &[]);
    begins(&daemon, "watch").await;
    pair.blue.stop().await;
    assert_eq!(code(child).await, 1);
    assert_eq!(daemon.active().await, "green");
    assert_eq!(trace(&daemon), ["start"], "the new slot was not stopped");
}

#[tokio::test]
async fn a_crash_ends_the_program_and_resume_goes_on() {
    let pair = Pair::start().await;
    let run = "trap 'echo ended >> trace; exit 1' TERM; echo begun >> trace; until test -e go; do sleep 0.02; done";
    let steps = [traced("backup"), step("prepare", run, "echo undo >> trace")];
    let daemon = daemon(&pair, &steps).await;
    let child = begin(&daemon, &["--version", "v3"]);
    says(&daemon, "begun").await;
    let pid = runner(&daemon).unwrap();
    end(pid, Signal::KILL);
    assert_eq!(code(child).await, 1);
    says(&daemon, "ended").await;

    let output = deploy(&daemon, &["--status"]).await;
    assert!(output.stdout.contains("was interrupted"), "{output:?}");
    let refused = deploy(&daemon, &[]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("--resume"), "{refused:?}");

    std::fs::write(daemon.path("go"), "").unwrap();
    let resumed = deploy(&daemon, &["--resume"]).await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(trace(&daemon), ["backup", "begun", "ended", "begun"]);
    assert_eq!(daemon.slot("green").await.version.as_deref(), Some("v3"));
    let over = deploy(&daemon, &["--resume"]).await;
    assert_eq!(over.code, 1, "{over:?}");
}

#[tokio::test]
async fn a_crash_can_be_taken_back() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair, &[traced("backup"), endless("prepare")]).await;
    let child = begin(&daemon, &[]);
    says(&daemon, "begun").await;
    end(runner(&daemon).unwrap(), Signal::KILL);
    assert_eq!(code(child).await, 1);
    let output = deploy(&daemon, &["--undo"]).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert_eq!(
        trace(&daemon),
        ["backup", "begun", "ended", "undo prepare", "undo backup"]
    );
}

#[tokio::test]
async fn a_version_is_shown_wherever_slots_are() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    daemon.healthy().await;
    let output = daemon.ctl(&["flip", "green", "--version", "v2.1.0"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(
        daemon.slot("green").await.version.as_deref(),
        Some("v2.1.0")
    );
    let page = daemon.call("GET /metrics", "").await.text;
    let line = "switchd_slot_info{service=\"app\",slot=\"green\",version=\"v2.1.0\"} 1";
    assert!(page.contains(line), "{page}");
    let history = daemon.ctl(&["history"]).await;
    assert!(history.stdout.contains("(v2.1.0)"), "{history:?}");
    assert!(
        daemon.stderr().contains("version=\"v2.1.0\""),
        "{}",
        daemon.stderr()
    );
    daemon.kill_and_restart().await;
    let status = daemon.ctl(&["status"]).await;
    assert!(
        status.stdout.contains("VERSION") && status.stdout.contains("v2.1.0"),
        "{status:?}"
    );
    let wrong = daemon
        .call(
            "POST /v1/services/app/label",
            "{\"slot\":\"green\",\"version\":\"../x\"}",
        )
        .await;
    assert_eq!(wrong.status, 400, "{}", wrong.text);
}

/// What stops the old slot is taken back by starting it, and programs take their time to start.
#[tokio::test]
async fn a_flip_is_taken_back_to_an_old_slot_that_is_starting_again() {
    let pair = Pair::start().await;
    let steps = [
        step(
            "stop_old",
            "echo stop >> trace; while [ ! -e stopped ]; do sleep 0.02; done",
            "echo start >> trace",
        ),
        step("tell", "exit 1", "true"),
    ];
    let daemon = daemon(&pair, &steps).await;
    let mut events = daemon.stream("GET /v1/events", "").await;
    let child = begin(&daemon, &[]);
    eventually("the old slot is to be stopped", async || {
        trace(&daemon) == ["stop"]
    })
    .await;
    pair.blue.stop().await;
    std::fs::write(daemon.path("stopped"), "").unwrap();
    events
        .until(|event| matches!(event, EventKind::GateWaiting(waiting) if waiting.slot == "blue"))
        .await;
    assert_eq!(trace(&daemon), ["stop", "start"]);
    pair.blue.resume();
    assert_eq!(code(child).await, 5);
    assert_eq!(daemon.active().await, "blue");
}

/// The usual story: the release was bad, its slot is in quarantine, and the mended one goes to the same slot.
#[tokio::test]
async fn a_deploy_that_starts_something_new_in_a_quarantined_slot_needs_no_further_word() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair, &[traced("start")]).await;
    let output = deploy(&daemon, &["--version", "v2"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    pair.green.health(Reply::status(500, "a bad release"));
    daemon.becomes_active("blue").await;
    pair.green.healthy();
    daemon.slot_becomes("green", "healthy").await;
    let plan = deploy(&daemon, &["--version", "v3", "--dry-run"]).await;
    assert!(
        plan.stdout.contains("this deploy acknowledges that"),
        "{plan:?}"
    );
    let output = deploy(&daemon, &["--version", "v3"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        output.stderr.contains("green is in quarantine (")
            && output.stderr.contains("this deploy acknowledges that"),
        "{output:?}"
    );
    assert_eq!(daemon.active().await, "green");
    assert!(daemon.slot("green").await.quarantine.is_none());
}

#[tokio::test]
async fn a_deploy_that_starts_nothing_in_a_quarantined_slot_asks_first() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair, &[]).await;
    daemon.flip("green").await;
    pair.green.health(Reply::status(500, "a bad release"));
    daemon.becomes_active("blue").await;
    pair.green.healthy();
    daemon.slot_becomes("green", "healthy").await;
    let refused = deploy(&daemon, &[]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    for words in ["green is in quarantine (", "--ack, or switchctl ack green"] {
        assert!(refused.stderr.contains(words), "{words}: {refused:?}");
    }
    assert_eq!(deploy(&daemon, &["--ack"]).await.code, 0);
    assert_eq!(daemon.active().await, "green");
}

const CONTRACT: &str = r#"
[[service.app.gate]]
kind = "http"
name = "contract"
[[service.app.gate.step]]
path = "/contract"
"#;

/// Clients are held meanwhile.
#[tokio::test]
async fn a_deploy_tries_the_gates_once() {
    let pair = Pair::start().await;
    let steps = [CONTRACT.to_owned(), traced("migrate")];
    let daemon = daemon(&pair, &steps).await;
    let probes = pair.green.probes().len();
    let output = deploy(&daemon, &["--version", "v2"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(pair.green.requests_for("/contract").len(), 1);
    assert!(pair.green.probes().len() > probes, "and probes it anew");
    let receipt = status(&daemon).await;
    assert!(receipt["gates_reused_ms"].is_u64(), "{receipt}");
    let id = receipt["id"].as_str().unwrap();
    let markdown = daemon.path(&format!("deploys/app/{id}.md"));
    let markdown = std::fs::read_to_string(markdown).unwrap();
    assert!(
        markdown.contains("The gates were tried once: the flip followed after"),
        "{markdown}"
    );
    let history = daemon.history().await;
    let flip = history.iter().find(|it| it.command == "flip").unwrap();
    assert!(
        flip.details[0].starts_with("green had passed its gates "),
        "{flip:?}"
    );
}

/// It may have put anything there.
#[tokio::test]
async fn gates_are_tried_again_after_a_program_of_the_deploy() {
    let pair = Pair::start().await;
    let steps = [
        CONTRACT.to_owned(),
        "[[service.app.deploy.step]]\nname = \"gates\"\n".to_owned(),
        traced("mine"),
    ];
    let daemon = daemon(&pair, &steps).await;
    let output = deploy(&daemon, &[]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(trace(&daemon), ["mine"]);
    assert_eq!(pair.green.requests_for("/contract").len(), 2);
}
