//! Whoever deploys shares their rights with nobody: what others may have written is neither run nor written over.

use crate::deploy::begin;
use crate::deploy::begins;
use crate::deploy::code;
use crate::deploy::deploy;
use crate::deploy::deploying;
use crate::deploy::end;
use crate::deploy::is_gone;
use crate::deploy::journal;
use crate::deploy::runner;
use crate::deploy::step;
use crate::deploy::trace;
use crate::deploy::traced;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use rustix::process::Signal;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;

/// In place of the daemon's user.
const SOMEBODY: u32 = 65534;

/// Only root can hand files to others; anybody else has none to lose here.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

struct World {
    daemon: Daemon,
    pair: Pair,
}

impl World {
    async fn start(steps: &[String]) -> Self {
        let pair = Pair::start().await;
        let daemon = Daemon::start(&deploying(pair.config(), steps)).await;
        daemon.healthy().await;
        Self { daemon, pair }
    }

    /// The folder of the service's deploys.
    fn folder(&self) -> PathBuf {
        self.daemon.path("deploys/app")
    }

    fn config(&self, steps: &[String]) -> Config {
        deploying(self.pair.config(), steps)
    }

    /// A deploy whose process was killed while its first step ran.
    async fn interrupted(&self) -> PathBuf {
        let child = begin(&self.daemon, &[]);
        begins(&self.daemon, "prepare").await;
        let pid = runner(&self.daemon).unwrap();
        end(pid, Signal::KILL);
        code(child).await;
        is_gone(pid).await;
        self.journal_file()
    }

    fn journal_file(&self) -> PathBuf {
        let entries = std::fs::read_dir(self.folder()).unwrap();
        let mut files = entries.map(|entry| entry.unwrap().path());
        let is_journal = |path: &PathBuf| path.extension().is_some_and(|it| it == "jsonl");
        files.find(is_journal).expect("there is a journal")
    }

    /// Each way to deploy is refused before anything runs.
    async fn refused(&self, words: &str) {
        for way in ["--resume", "--undo", "--detach"] {
            let output = deploy(&self.daemon, &[way]).await;
            assert_eq!(output.code, 1, "{way}: {output:?}");
            let said = &output.stderr;
            assert!(said.contains(words), "{way}: {words}: {output:?}");
            assert!(said.contains("nothing was run"), "{way}: {output:?}");
        }
        assert_eq!(trace(&self.daemon), [""; 0]);
        assert!(!self.daemon.path("planted").exists());
        assert_eq!(self.daemon.active().await, "blue");
    }
}

/// What `switchctl` itself wrote, with programs of somebody else in it.
fn plant(journal: &Path) {
    let text = std::fs::read_to_string(journal).unwrap();
    let program = "{\"shell\":[\"touch planted\"]}";
    let planted = text
        .replace("\"run\":null", &format!("\"run\":{program}"))
        .replace("\"undo\":null", &format!("\"undo\":{program}"));
    assert_ne!(planted, text, "the journal names no program by itself");
    std::fs::write(journal, planted).unwrap();
}

fn waits() -> String {
    step(
        "prepare",
        "until test -e go; do sleep 0.02; done; echo prepare >> trace",
        "echo undo prepare >> trace",
    )
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_planted_journal_is_refused_wherever_somebody_else_could_put_it() {
    if !is_root() {
        return;
    }
    let world = World::start(&[waits()]).await;
    let journal = world.interrupted().await;
    plant(&journal);
    let folder = world.folder();
    let above = world.daemon.path("deploys");
    for place in [&above, &folder, &journal] {
        chown(place, Some(SOMEBODY), None).unwrap();
        if place == &journal {
            // A new deploy asks the last one, too.
            world.refused("belongs to").await;
        } else {
            world.refused("who could have it run programs as").await;
        }
        chown(place, Some(0), None).unwrap();
    }
    for (place, open) in [(&above, 0o775), (&folder, 0o777), (&journal, 0o666)] {
        let before = place.metadata().unwrap().permissions();
        mode(place, open);
        world.refused("can be written by").await;
        std::fs::set_permissions(place, before).unwrap();
    }
    // Even where it is taken for ours nothing runs but what the config says.
    std::fs::write(world.daemon.path("go"), "").unwrap();
    let output = deploy(&world.daemon, &["--undo"]).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert_eq!(trace(&world.daemon), ["undo prepare"]);
    assert!(!world.daemon.path("planted").exists());
}

#[tokio::test]
async fn nothing_is_written_through_a_link() {
    let world = World::start(&[traced("prepare")]).await;
    let folder = world.folder();
    std::fs::create_dir_all(&folder).unwrap();
    mode(&world.daemon.path("deploys"), 0o755);
    mode(&folder, 0o755);
    let target = world.daemon.path("shadow");
    std::fs::write(&target, "whole").unwrap();
    for name in ["deploy.lock", "program.lock"] {
        symlink(&target, folder.join(name)).unwrap();
        let output = deploy(&world.daemon, &[]).await;
        assert_ne!(output.code, 0, "{name}: {output:?}");
        assert!(output.stderr.contains("symbolic link"), "{output:?}");
        assert_eq!(trace(&world.daemon), [""; 0]);
        std::fs::remove_file(folder.join(name)).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "whole");
        for file in std::fs::read_dir(&folder).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
}

#[tokio::test]
async fn a_receipt_is_not_written_over_what_lies_there() {
    let world = World::start(&[waits()]).await;
    let child = begin(&world.daemon, &[]);
    begins(&world.daemon, "prepare").await;
    let target = world.daemon.path("shadow");
    std::fs::write(&target, "whole").unwrap();
    let journal = world.journal_file();
    for ending in ["json", "md"] {
        symlink(&target, journal.with_extension(ending)).unwrap();
    }
    std::fs::write(world.daemon.path("go"), "").unwrap();
    assert_eq!(code(child).await, 0);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "whole");
    let log = std::fs::read_to_string(journal.with_extension("log")).unwrap();
    assert!(log.contains("cannot write the receipt"), "{log}");
}

#[tokio::test]
async fn a_log_that_became_a_link_ends_the_deploy() {
    let world = World::start(&[waits(), traced("start")]).await;
    let child = begin(&world.daemon, &[]);
    begins(&world.daemon, "prepare").await;
    let target = world.daemon.path("shadow");
    std::fs::write(&target, "whole").unwrap();
    let log = world.journal_file().with_extension("log");
    std::fs::remove_file(&log).unwrap();
    symlink(&target, &log).unwrap();
    std::fs::write(world.daemon.path("go"), "").unwrap();
    assert_eq!(code(child).await, 1, "the undo has no log, either");
    let trace = trace(&world.daemon);
    assert!(trace.iter().all(|it| it == "prepare"), "{trace:?}");
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "whole");
}

#[tokio::test]
async fn a_folder_that_was_replaced_is_not_used() {
    if !is_root() {
        return;
    }
    let world = World::start(&[waits(), traced("start")]).await;
    let child = begin(&world.daemon, &[]);
    begins(&world.daemon, "prepare").await;
    let (folder, ours) = (world.folder(), world.daemon.path("deploys/ours"));
    std::fs::rename(&folder, ours).unwrap();
    std::fs::create_dir(&folder).unwrap();
    chown(&folder, Some(SOMEBODY), None).unwrap();
    std::fs::write(world.daemon.path("go"), "").unwrap();
    assert_eq!(code(child).await, 1);
    let trace = trace(&world.daemon);
    assert!(
        trace.iter().all(|it| it == "prepare"),
        "no other program ran: {trace:?}"
    );
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[tokio::test]
async fn a_config_that_others_may_write_is_not_run() {
    if !is_root() {
        return;
    }
    let world = World::start(&[traced("prepare")]).await;
    let config = world.daemon.config_path();
    chown(&config, Some(SOMEBODY), None).unwrap();
    world.refused("the config says what a deploy runs").await;
    chown(&config, Some(0), None).unwrap();
    mode(&config, 0o662);
    world.refused("can be written by").await;
    mode(&config, 0o644);
    assert_eq!(deploy(&world.daemon, &[]).await.code, 0);
}

#[tokio::test]
async fn a_deploy_does_not_go_on_with_other_steps_than_it_began_with() {
    let world = World::start(&[waits()]).await;
    world.interrupted().await;
    let undo = "echo another undo >> trace";
    let changed = world.config(&[step("prepare", "true", undo)]);
    world.daemon.write_config(&changed);
    for way in ["--resume", "--undo"] {
        let output = deploy(&world.daemon, &[way]).await;
        assert_eq!(output.code, 1, "{output:?}");
        for words in ["are not those that deploy", "--with-current-steps"] {
            assert!(output.stderr.contains(words), "{words}: {output:?}");
        }
    }
    // What was begun must be there.
    let renamed = world.config(&[step("start", "true", undo)]);
    world.daemon.write_config(&renamed);
    let output = deploy(&world.daemon, &["--undo", "--with-current-steps"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output.stderr.contains("began the step prepare"),
        "{output:?}"
    );
    assert_eq!(trace(&world.daemon), [""; 0]);
    world.daemon.write_config(&changed);
    let output = deploy(&world.daemon, &["--undo", "--with-current-steps"]).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert_eq!(trace(&world.daemon), ["another undo"]);
}

#[tokio::test]
async fn a_process_that_is_not_ours_is_never_told_to_stop() {
    let world = World::start(&[waits()]).await;
    let child = begin(&world.daemon, &[]);
    begins(&world.daemon, "prepare").await;
    let mut other = tokio::process::Command::new("sleep")
        .arg("infinity")
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = other.id().unwrap();
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(world.journal_file())
        .unwrap();
    writeln!(
        file,
        "{{\"at\":\"2026-08-01T12:00:00Z\",\"record\":\"running\",\"pid\":{pid}}}"
    )
    .unwrap();
    let output = deploy(&world.daemon, &["--undo"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("does not work on it"), "{output:?}");
    assert!(other.try_wait().unwrap().is_none(), "it lives");
    std::fs::write(world.daemon.path("go"), "").unwrap();
    assert_eq!(code(child).await, 0);
    let planned = &journal(&world.daemon)[0];
    assert_eq!(planned["record"], "planned");
    assert_eq!(planned["steps"][0]["run"], serde_json::Value::Null);
}
