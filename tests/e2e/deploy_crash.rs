//! A deploy whose programs are killed, at each of its steps: nothing is lost, and the story ends.

use crate::deploy::begin;
use crate::deploy::begins;
use crate::deploy::code;
use crate::deploy::deploy;
use crate::deploy::deploying;
use crate::deploy::is_gone;
use crate::deploy::runner;
use crate::deploy::status;
use crate::deploy::step;
use crate::deploy::trace;
use crate::deploy_database::Writers;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::eventually;
use crate::support::get;
use rustix::process::Signal;
use rustix::process::kill_process;

const STEPS: [&str; 8] = [
    "backup", "prepare", "start", "migrate", "gates", "flip", "watch", "stop_old",
];

/// A program that goes on for as long as the file `stop-NAME` is there.
fn stoppable(name: &str) -> String {
    if name == "flip" {
        return "[[service.app.deploy.step]]\nname = \"flip\"\n".to_owned();
    }
    step(
        name,
        &format!("echo {name} >> trace; while test -e stop-{name}; do sleep 0.02; done"),
        &format!("echo undo {name} >> trace"),
    )
}

async fn daemon(pair: &Pair) -> Daemon {
    let config = deploying(pair.config(), &STEPS.map(stoppable));
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    daemon
}

fn stop_at(daemon: &Daemon, step: &str) {
    std::fs::write(daemon.path(&format!("stop-{step}")), "").unwrap();
}

fn go_on(daemon: &Daemon, step: &str) {
    std::fs::remove_file(daemon.path(&format!("stop-{step}"))).unwrap();
}

async fn nobody_is_held(daemon: &Daemon) {
    eventually("nobody is held", async || {
        daemon.service("app").await.hold.is_none()
    })
    .await;
}

/// Kills the deploy at `step`, then goes on with `way`. Where traffic was, and whether it was over already.
async fn killed_at(daemon: &Daemon, step: &str, way: &str) {
    let old = daemon.active().await;
    std::fs::remove_file(daemon.path("trace")).ok();
    stop_at(daemon, step);
    let child = begin(daemon, &[]);
    begins_now(daemon, step).await;
    let pid = runner(daemon).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    assert_eq!(
        code(child).await,
        1,
        "{step}: it tells that it was interrupted"
    );
    is_gone(pid).await;
    nobody_is_held(daemon).await;
    go_on(daemon, step);
    let output = deploy(daemon, &[way]).await;
    let receipt = status(daemon).await;
    let now = daemon.active().await;
    if way == "--resume" {
        assert_eq!(output.code, 0, "{step}: {output:?}");
        assert_ne!(now, old, "{step}: {receipt}");
    } else {
        assert_eq!(output.code, 5, "{step}: {output:?}");
        assert_eq!(now, old, "{step}: {receipt}");
        for (at, name) in STEPS
            .iter()
            .enumerate()
            .filter(|(_, name)| **name != "flip")
        {
            let begun = STEPS.iter().position(|it| *it == step).unwrap() >= at;
            let undone = trace(daemon)
                .iter()
                .filter(|it| **it == format!("undo {name}"))
                .count();
            assert_eq!(
                undone,
                usize::from(begun),
                "{step}: {name}: {:?}",
                trace(daemon)
            );
        }
    }
    nobody_is_held(daemon).await;
}

/// As [`begins`], for a step whose deploy is the newest: its journal may not be there yet.
async fn begins_now(daemon: &Daemon, step: &str) {
    if step != "flip" {
        eventually(&format!("{step} runs"), async || {
            trace(daemon).iter().any(|it| it == step)
        })
        .await;
        return;
    }
    eventually("the gates' program has run", async || {
        trace(daemon).iter().any(|it| it == "gates")
    })
    .await;
    begins(daemon, step).await;
}

#[tokio::test]
async fn kill_9_of_switchctl_at_any_step_loses_nothing_and_resume_finishes() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair).await;
    let writers = Writers::start(daemon.address, 3);
    for step in STEPS {
        killed_at(&daemon, step, "--resume").await;
        writers.write(5).await;
    }
    let written = writers.stop().await;
    assert_eq!(written.failed, [""; 0]);
    eprintln!(
        "{} requests, 0 failed, over {} deploys",
        written.good,
        STEPS.len()
    );
}

#[tokio::test]
async fn kill_9_of_switchctl_at_any_step_loses_nothing_and_undo_finishes() {
    let pair = Pair::start().await;
    let daemon = daemon(&pair).await;
    let writers = Writers::start(daemon.address, 3);
    for step in STEPS {
        killed_at(&daemon, step, "--undo").await;
        writers.write(5).await;
    }
    let written = writers.stop().await;
    assert_eq!(written.failed, [""; 0]);
    eprintln!(
        "{} requests, 0 failed, over {} deploys",
        written.good,
        STEPS.len()
    );
}

#[tokio::test]
async fn kill_9_of_switchd_at_any_step_loses_nothing_after_its_restart() {
    let pair = Pair::start().await;
    let mut daemon = daemon(&pair).await;
    for step in STEPS {
        let old = daemon.active().await;
        std::fs::remove_file(daemon.path("trace")).ok();
        stop_at(&daemon, step);
        let child = begin(&daemon, &[]);
        begins_now(&daemon, step).await;
        daemon.kill_and_restart().await;
        go_on(&daemon, step);
        let code = code(child).await;
        let now = daemon.active().await;
        // Whoever wrote while the migration ran was not held: that one is taken back.
        let expected = if step == "migrate" { 5 } else { 0 };
        assert_eq!(code, expected, "{step}: {}", status(&daemon).await);
        assert_eq!(now == old, step == "migrate", "{step}");
        nobody_is_held(&daemon).await;
        for _ in 0..20 {
            let answer = get(daemon.address, "/").await;
            assert_eq!(answer.status(), 200, "{step}: {}", answer.text());
        }
    }
}
