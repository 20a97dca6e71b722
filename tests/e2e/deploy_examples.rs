//! The examples of docs/deploy.md, with the programs that can run here, and stand-ins for the others.

use crate::deploy::arguments;
use crate::deploy::deploying;
use crate::support::Config;
use crate::support::CtlOutput;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Postgres;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use switchd::api::EventKind;
use tempfile::TempDir;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples/deploy");

/// One example at work.
struct World {
    daemon: Daemon,
    pair: Pair,
    /// In place of `/srv` and `/var/backups`.
    root: TempDir,
}

impl World {
    async fn start(example: &str, env: &str) -> Self {
        Self::with(example, env, |config| config).await
    }

    /// The steps of `example`, with the paths of a machine replaced by ones of this test.
    async fn with(example: &str, env: &str, more: impl FnOnce(Config) -> Config) -> Self {
        let root = TempDir::new().unwrap();
        let text = std::fs::read_to_string(format!("{EXAMPLES}/{example}")).unwrap();
        let from = text.find("[[service.").expect("it has steps");
        let here = root.path().display().to_string();
        let steps = text[from..]
            .replace("service.odoo.", "service.app.")
            .replace("/usr/local/share/switchd/deploy", EXAMPLES)
            .replace("/var/backups/odoo", &format!("{here}/backups"))
            .replace("/srv/app", &here)
            .replace("/srv/odoo", &here)
            .replace("env = { PGDATABASE = \"prod\"", &format!("env = {{ {env}"));
        assert!(steps.contains(".deploy.step]]"), "{steps}");
        let pair = Pair::start().await;
        let daemon = Daemon::start(&deploying(more(pair.config()), &[steps])).await;
        daemon.healthy().await;
        std::fs::create_dir_all(root.path().join("bin")).unwrap();
        std::fs::create_dir_all(root.path().join("archives")).unwrap();
        let world = Self { daemon, pair, root };
        for name in ["systemctl", "docker"] {
            world.stub(name, "");
        }
        world
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    /// A program that notes how it was called, then does `more`.
    fn stub(&self, name: &str, more: &str) {
        let calls = self.path("calls");
        let script = format!(
            "#!/bin/sh\necho {name} \"$@\" >> {}\n{more}\n",
            calls.display()
        );
        executable(&self.path("bin").join(name), &script);
    }

    /// What was called since the last time.
    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        std::fs::remove_file(self.path("calls")).ok();
        text.lines().map(str::to_owned).collect()
    }

    /// `VERSION.tar.gz`, with one program in it.
    fn archive(&self, version: &str, program: &str, script: &str) {
        let source = TempDir::new().unwrap();
        executable(&source.path().join(program), script);
        let archive = self.path("archives").join(format!("{version}.tar.gz"));
        let made = Command::new("tar")
            .arg("-czf")
            .arg(archive)
            .arg("-C")
            .arg(source.path())
            .arg(program)
            .status()
            .unwrap();
        assert!(made.success());
    }

    async fn deploy(&self, more: &[&str]) -> CtlOutput {
        let config = self.daemon.config_path().display().to_string();
        let mut command = self.daemon.ctl_command(&arguments(&config, more));
        let path = format!(
            "{}:{}",
            self.path("bin").display(),
            std::env::var("PATH").unwrap()
        );
        command
            .env("PATH", path)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(crate::support::DEADLINE, command.output());
        let output = output.await.expect("it ends").unwrap();
        CtlOutput {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// # Panics
    /// When it is not done.
    async fn deployed(&self, version: &str) {
        let output = self.deploy(&["--version", version]).await;
        assert_eq!(output.code, 0, "{version}: {output:?}");
    }

    /// A deploy to a slot that does not listen when its program has been started, as `systemctl restart` and
    /// `docker compose up --detach` leave it. It comes once it is waited for, or so much later as
    /// `SWITCHD_TEST_START` says.
    async fn deployed_late(&self, version: &str) {
        self.pair.green.stop().await;
        let mut events = self.daemon.stream("GET /v1/events", "").await;
        let comes = async {
            events
                .until(|event| {
                    matches!(event, EventKind::GateWaiting(waiting)
                        if waiting.endpoints[0].said == "connection refused")
                })
                .await;
            let later = std::env::var("SWITCHD_TEST_START").unwrap_or_default();
            if let Ok(seconds) = later.parse() {
                crate::support::pass(Duration::from_secs(seconds)).await;
            }
            self.pair.green.resume();
        };
        tokio::join!(self.deployed(version), comes);
        assert_eq!(self.daemon.active().await, "green");
    }

    /// A deploy to a slot that never listens.
    async fn taken_back(&self, version: &str) {
        self.pair.green.stop().await;
        let output = self.deploy(&["--version", version]).await;
        assert_eq!(output.code, 5, "{output:?}");
        for words in [
            "waiting for green: http",
            "connection refused, and still after 2s (flip.gate_timeout)",
            "gates: taken back",
        ] {
            assert!(output.stderr.contains(words), "{words}: {output:?}");
        }
        assert_eq!(self.daemon.active().await, "blue");
    }

    /// The release that a slot runs.
    fn current(&self, slot: &str) -> String {
        let link = std::fs::read_link(self.path(&format!("slots/{slot}/current"))).unwrap();
        link.file_name().unwrap().to_str().unwrap().to_owned()
    }

    fn releases(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("releases")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

fn executable(path: &Path, script: &str) {
    std::fs::write(path, script).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn compose_starts_the_new_one_and_stops_the_old_one() {
    let world = World::start("compose.toml", "").await;
    world.deployed("v2.1.0").await;
    assert_eq!(
        world.calls(),
        [
            "docker compose --env-file green.env pull app-green",
            "docker compose --env-file green.env up --detach --no-deps --wait app-green",
            "docker compose stop app-blue",
        ]
    );
    let env = std::fs::read_to_string(world.path("green.env")).unwrap();
    assert_eq!(env, "GREEN_VERSION=v2.1.0\n");
    // The container does not become healthy.
    world.stub(
        "docker",
        "case \"$*\" in *up*) echo unhealthy >&2; exit 1;; esac",
    );
    let output = world.deploy(&["--version", "v2.2.0"]).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert_eq!(
        world.calls().last().map(String::as_str),
        Some("docker compose --env-file blue.env stop app-blue")
    );
    assert_eq!(world.daemon.active().await, "green");
}

#[tokio::test]
async fn releases_lie_in_folders_and_any_that_is_kept_can_come_back() {
    let world = World::start("systemd.toml", "").await;
    for version in ["v1", "v2", "v3"] {
        world.archive(version, "app", "#!/bin/sh\n");
        world.deployed(version).await;
    }
    assert_eq!(
        world.calls()[..2],
        ["systemctl restart app@green", "systemctl stop app@blue"]
    );
    assert_eq!(
        [world.current("green"), world.current("blue")],
        ["v3", "v2"]
    );
    // Its archive is gone; the release itself is kept.
    std::fs::remove_file(world.path("archives/v1.tar.gz")).unwrap();
    world.deployed("v1").await;
    assert_eq!(
        [world.current("green"), world.current("blue")],
        ["v3", "v1"]
    );
    assert_eq!(
        world.daemon.slot("blue").await.version.as_deref(),
        Some("v1")
    );
    assert_eq!(world.daemon.active().await, "blue");

    // The new one does not start: green runs again what it ran.
    world.archive("v4", "app", "#!/bin/sh\n");
    world.stub("systemctl", "test \"$1\" != restart");
    let output = world.deploy(&["--version", "v4"]).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert_eq!(world.current("green"), "v3");
    // What was never there is told, with what is.
    let output = world.deploy(&["--version", "v9"]).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert!(output.stderr.contains("v9.tar.gz"), "{output:?}");
}

#[tokio::test]
async fn old_releases_go_but_none_that_a_slot_runs() {
    let world = World::start("systemd.toml", "").await;
    for number in 1..=7 {
        let version = format!("v{number}");
        world.archive(&version, "app", "#!/bin/sh\n");
        world.deployed(&version).await;
    }
    let releases = world.releases();
    assert_eq!(releases.len(), 5, "{releases:?}");
    assert!(releases.contains(&"v6".to_owned()) && releases.contains(&"v7".to_owned()));
    let list = Command::new(format!("{EXAMPLES}/release"))
        .arg("list")
        .env("ROOT", world.root.path())
        .output()
        .unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(
        list.contains("v7 green\n") && list.contains("v6 blue\n"),
        "{list}"
    );
}

fn in_a_hurry(config: Config) -> Config {
    config.set("service.app.flip.gate_timeout = \"2s\"")
}

#[tokio::test]
async fn with_compose_a_slot_that_listens_later_is_waited_for() {
    let world = World::start("compose.toml", "").await;
    world.deployed_late("v2").await;
    let calls = world.calls();
    assert_eq!(
        calls.last().map(String::as_str),
        Some("docker compose stop app-blue")
    );
}

#[tokio::test]
async fn with_compose_a_slot_that_never_listens_is_taken_back() {
    let world = World::with("compose.toml", "", in_a_hurry).await;
    world.taken_back("v2").await;
    let calls = world.calls();
    assert_eq!(
        calls.last().map(String::as_str),
        Some("docker compose --env-file green.env stop app-green")
    );
}

#[tokio::test]
async fn with_systemd_a_slot_that_listens_later_is_waited_for() {
    let world = World::start("systemd.toml", "").await;
    world.archive("v2", "app", "#!/bin/sh\n");
    world.deployed_late("v2").await;
    assert_eq!(
        world.calls(),
        ["systemctl restart app@green", "systemctl stop app@blue"]
    );
}

#[tokio::test]
async fn with_systemd_a_slot_that_never_listens_is_taken_back() {
    let world = World::with("systemd.toml", "", in_a_hurry).await;
    world.archive("v2", "app", "#!/bin/sh\n");
    world.taken_back("v2").await;
    assert_eq!(
        world.calls(),
        ["systemctl restart app@green", "systemctl stop app@green"]
    );
    assert!(!world.path("slots/green/current").exists());
}

#[tokio::test]
async fn with_odoo_a_slot_that_listens_later_is_waited_for() {
    let postgres = Postgres::start().await;
    let world = odoo(&postgres, "").await;
    world.deployed_late("18.1").await;
    assert_eq!(
        world.calls()[2..],
        [
            "systemctl restart odoo@green",
            "systemctl enable --now odoo-cron@green",
            "systemctl stop odoo@blue"
        ]
    );
    assert_eq!(postgres.run("SELECT name FROM ir_module").await, "new");
}

#[tokio::test]
async fn with_odoo_a_slot_that_never_listens_is_taken_back_with_the_backup() {
    let postgres = Postgres::start().await;
    let world = odoo_with(&postgres, "", in_a_hurry).await;
    world.taken_back("18.1").await;
    assert_eq!(
        world.calls()[2..],
        [
            "systemctl restart odoo@green",
            "systemctl stop odoo@green",
            "systemctl enable --now odoo-cron@blue"
        ]
    );
    assert_eq!(postgres.run("SELECT name FROM ir_module").await, "old");
}

async fn odoo(postgres: &Postgres, update: &str) -> World {
    odoo_with(postgres, update, |config| config).await
}

async fn odoo_with(
    postgres: &Postgres,
    update: &str,
    more: impl FnOnce(Config) -> Config,
) -> World {
    postgres
        .run("CREATE TABLE ir_module (name text); INSERT INTO ir_module VALUES ('old')")
        .await;
    let variables = postgres.env();
    let variables = variables.trim_matches(['{', '}', ' ']);
    let world = World::with("odoo.toml", variables, more).await;
    let calls = world.path("calls");
    let script = format!(
        "#!/bin/sh\necho odoo-bin \"$@\" >> {}\npsql -Xqc \"UPDATE ir_module SET name = 'new'\"\n{update}\n",
        calls.display()
    );
    world.archive("18.1", "odoo-bin", &script);
    world
}

#[tokio::test]
async fn odoo_is_backed_up_and_updated_while_clients_wait() {
    let postgres = Postgres::start().await;
    let world = odoo(&postgres, "").await;
    world.deployed("18.1").await;
    let calls = world.calls();
    assert!(
        calls[1].starts_with("odoo-bin --config /etc/odoo/green.conf --database prod --update all"),
        "{calls:?}"
    );
    assert_eq!(calls[0], "systemctl disable --now odoo-cron@blue");
    assert_eq!(
        calls[2..],
        [
            "systemctl restart odoo@green",
            "systemctl enable --now odoo-cron@green",
            "systemctl stop odoo@blue"
        ]
    );
    assert_eq!(postgres.run("SELECT name FROM ir_module").await, "new");
    let backups = std::fs::read_dir(world.path("backups")).unwrap();
    assert_eq!(backups.count(), 1);
}

#[tokio::test]
async fn an_update_that_fails_half_way_gets_the_backup_back() {
    let postgres = Postgres::start().await;
    let world = odoo(&postgres, "exit 1").await;
    let output = world.deploy(&["--version", "18.1"]).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert_eq!(
        postgres.run("SELECT name FROM ir_module").await,
        "old",
        "{output:?}"
    );
    assert_eq!(world.daemon.active().await, "blue");
}

/// Runs `pg-backup` by itself.
fn backup(postgres: &Postgres, dir: &Path, id: &str, verb: &str, flipped: &str) -> CtlOutput {
    let mut command = Command::new(format!("{EXAMPLES}/pg-backup"));
    for pair in postgres.env().trim_matches(['{', '}', ' ']).split(", ") {
        let (name, value) = pair.split_once(" = ").unwrap();
        command.env(name, value.trim_matches('"'));
    }
    let output = command
        .arg(verb)
        .env("BACKUPS", dir)
        .env("KEEP", "2")
        .env("DEPLOY_ID", id)
        .env("FLIPPED", flipped)
        .output()
        .unwrap();
    CtlOutput {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[tokio::test]
async fn backups_are_verified_kept_for_a_while_and_never_put_over_newer_data() {
    let postgres = Postgres::start().await;
    let dir = TempDir::new().unwrap();
    let empty = backup(&postgres, dir.path(), "0", "dump", "");
    assert_ne!(empty.code, 0, "nothing in it: {empty:?}");
    postgres
        .run("CREATE TABLE a (b int); INSERT INTO a VALUES (1)")
        .await;
    for id in ["1", "2", "3", "4"] {
        let output = backup(&postgres, dir.path(), id, "dump", "");
        assert_eq!(output.code, 0, "{output:?}");
        assert!(output.stdout.contains("verified: 1 tables"), "{output:?}");
    }
    assert_eq!(backup(&postgres, dir.path(), "1", "prune", "").code, 0);
    let dump = |id: &str| dir.path().join(format!("prod-{id}.dump"));
    assert!(dump("4").exists() && !dump("2").exists());
    assert!(dump("1").exists(), "the one of this deploy stays");

    // Cut short: it is found out before anything is made of it.
    let whole = std::fs::read(dump("1")).unwrap();
    std::fs::write(dump("1"), &whole[..whole.len() - 40]).unwrap();
    assert_ne!(backup(&postgres, dir.path(), "1", "unpack", "").code, 0);
    postgres.run("UPDATE a SET b = 2").await;
    let unpacked = backup(&postgres, dir.path(), "4", "unpack", "");
    assert_eq!(unpacked.code, 0, "{unpacked:?}");
    assert_eq!(postgres.run("SELECT b FROM a").await, "2", "left alone");
}

/// A copy is put back only where no client can have written since it was made.
#[tokio::test]
async fn a_copy_is_put_back_only_under_one_hold() {
    let postgres = Postgres::start().await;
    let dir = TempDir::new().unwrap();
    postgres
        .run("CREATE TABLE a (b int); INSERT INTO a VALUES (1)")
        .await;
    let nothing = backup(&postgres, dir.path(), "1", "restore", "");
    assert_eq!(nothing.code, 0, "no migration began: {nothing:?}");
    assert_eq!(backup(&postgres, dir.path(), "1", "save", "").code, 0);
    postgres.run("UPDATE a SET b = 2").await;
    for (flipped, words) in [("", "clients were not held"), ("1", "traffic has been")] {
        let refused = backup(&postgres, dir.path(), "1", "restore", flipped);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains(words), "{refused:?}");
        assert_eq!(postgres.run("SELECT b FROM a").await, "2");
    }
}

/// The backup is slow, and a client is answered after it was begun. Then the migration fails with a new table.
#[tokio::test]
async fn what_was_written_after_the_backup_outlives_a_migration_that_fails() {
    let postgres = Postgres::start().await;
    let update = "psql -Xqc 'CREATE TABLE lab_extra (uid int REFERENCES res_users)'; exit 1";
    let world = odoo(&postgres, update).await;
    postgres
        .run("CREATE TABLE res_users (id int PRIMARY KEY); INSERT INTO res_users VALUES (1)")
        .await;
    // Its own folder is the first of PATH.
    let real =
        "PATH=${PATH#*:} pg_dump \"$@\" || exit 1; psql -Xqc 'INSERT INTO res_users VALUES (2)'";
    world.stub("pg_dump", real);
    let output = world.deploy(&["--version", "18.1"]).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert_eq!(postgres.run("SELECT count(*) FROM res_users").await, "2");
    assert_eq!(postgres.run("SELECT name FROM ir_module").await, "old");
    let table = postgres
        .run("SELECT to_regclass('lab_extra') IS NULL")
        .await;
    assert_eq!(table, "t", "{output:?}");
    let kept = "SELECT count(*) FROM pg_database WHERE datname LIKE 'prod_failed_%'";
    assert_eq!(postgres.run(kept).await, "1");
}
