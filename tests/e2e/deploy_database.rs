//! A change of the schema under live writers, with a real `PostgreSQL`: nobody sees it.

use crate::deploy::deploy;
use crate::deploy::deploying;
use crate::deploy::status;
use crate::deploy::step;
use crate::deploy::trace;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Postgres;
use crate::support::Site;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::request;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;
use tokio::task::JoinSet;

/// Renames a column that everybody writes to, in one transaction, as a module's update does.
const MIGRATION: &str = "\
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM partner;
SELECT pg_sleep(0.5);
UPDATE partner SET city = upper(city);
ALTER TABLE partner RENAME COLUMN city TO town;
";

/// Clients that write all the time.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    tasks: JoinSet<Written>,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) good: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) longest: Duration,
}

impl Writers {
    pub(crate) fn start(address: SocketAddr, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(write(address, Arc::clone(&stop), Arc::clone(&count)));
        }
        Self { stop, count, tasks }
    }

    /// Waits until so many more have been answered.
    pub(crate) async fn write(&self, more: usize) {
        let from = self.count.load(Ordering::SeqCst);
        eventually("the writers write", async || {
            self.count.load(Ordering::SeqCst) >= from + more
        })
        .await;
    }

    pub(crate) async fn stop(self) -> Written {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Written::default();
        for written in self.tasks.join_all().await {
            all.good += written.good;
            all.failed.extend(written.failed);
            all.longest = all.longest.max(written.longest);
        }
        all
    }
}

async fn write(address: SocketAddr, stop: Arc<AtomicBool>, count: Arc<AtomicUsize>) -> Written {
    let mut written = Written::default();
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        let mut wire = Wire::connect(address).await;
        let answered = async {
            wire.try_send(request("POST /write", "", "x")).await?;
            wire.try_answer("POST").await
        };
        match answered.await {
            Ok(answer) if answer.status() == 200 && !answer.text().contains("error") => {
                written.good += 1;
            }
            Ok(answer) => written
                .failed
                .push(format!("{}: {}", answer.status(), answer.text())),
            Err(error) => written.failed.push(error.to_string()),
        }
        written.longest = written.longest.max(began.elapsed());
        count.fetch_add(1, Ordering::SeqCst);
    }
    written
}

/// Two versions of the code on one database, and a deploy that migrates it.
struct World {
    postgres: Postgres,
    blue: Site,
    green: Site,
    daemon: Daemon,
}

impl World {
    /// The migration ends with `ending`.
    async fn start(ending: &str) -> Self {
        let postgres = Postgres::start().await;
        Site::schema(&postgres).await;
        let blue = Site::start(&postgres, "city").await;
        let green = Site::start(&postgres, "town").await;
        let mut config = Config::empty().set("service.app.initial = \"blue\"");
        for (slot, site) in [("blue", &blue), ("green", &green)] {
            let address = site.address.to_string();
            config = config.set(&format!("service.app.slots.{slot}.http = [{address:?}]"));
        }
        for key in [
            "path = \"/health\"",
            "interval = \"100ms\"",
            "fast_interval = \"20ms\"",
            "rise = 1",
        ] {
            config = config.set(&format!("service.app.health.{key}"));
        }
        let env = postgres.env();
        let backup = format!(
            "{}/config/examples/deploy/pg-backup",
            env!("CARGO_MANIFEST_DIR")
        );
        let with_env = |step: String| format!("{step}env = {env}\n");
        let steps = [
            with_env(step(
                "backup",
                &format!("BACKUPS=$PWD/backups {backup} dump"),
                "true",
            )),
            with_env(step(
                "migrate",
                "psql -Xqv ON_ERROR_STOP=1 -f migrate.sql",
                "echo undo migrate >> trace",
            )),
            step("stop_old", "echo stop_old >> trace", "true"),
        ];
        let config =
            deploying(config, &steps).file("migrate.sql", &format!("{MIGRATION}{ending}\n"));
        let daemon = Daemon::start(&config).await;
        daemon.healthy().await;
        Self {
            postgres,
            blue,
            green,
            daemon,
        }
    }
}

#[tokio::test]
async fn a_schema_changes_under_live_writers_and_no_request_fails() {
    let world = World::start("COMMIT;").await;
    let daemon = &world.daemon;
    let writers = Writers::start(daemon.address, 6);
    writers.write(50).await;
    let output = deploy(daemon, &["--version", "v2"]).await;
    writers.write(50).await;
    let written = writers.stop().await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(written.failed, [""; 0], "{output:?}");
    assert_eq!(daemon.active().await, "green");
    assert!(world.green.served() >= 50);
    let town = "SELECT bool_and(town = 'SOMEWHERE') FROM partner";
    assert_eq!(world.postgres.run(town).await, "t");
    let visits = world.postgres.run("SELECT sum(visits) FROM partner").await;
    assert_eq!(
        visits,
        written.good.to_string(),
        "what was answered was written, once"
    );

    let receipt = status(daemon).await;
    let held = &receipt["held"];
    let figure = |name: &str| held[name].as_u64().unwrap();
    assert!(
        figure("requests") > 0 && figure("refused") == 0,
        "{receipt}"
    );
    let longest = u64::try_from(written.longest.as_millis()).unwrap();
    eprintln!(
        "{} requests, 0 failed; held for {} ms; the longest request took {longest} ms",
        written.good,
        figure("ms"),
    );
    // It waited for the hold and for its turn afterwards, and for nothing else.
    assert!(figure("longest_ms") <= figure("ms") + 100, "{held}");
    assert!(
        longest >= 500 && longest <= figure("ms") * 2,
        "{longest} {held}"
    );
    assert_eq!(daemon.service("app").await.hold, None);
    let backups = std::fs::read_dir(daemon.path("backups")).unwrap();
    assert_eq!(backups.count(), 1, "the backup is there");
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_old_slot_and_no_request_fails() {
    let world = World::start("SELECT 1 / 0;\nCOMMIT;").await;
    let daemon = &world.daemon;
    let writers = Writers::start(daemon.address, 6);
    writers.write(50).await;
    let output = deploy(daemon, &["--version", "v2"]).await;
    writers.write(50).await;
    let written = writers.stop().await;
    assert_eq!(output.code, 5, "{output:?}");
    assert_eq!(written.failed, [""; 0], "{output:?}");
    assert_eq!(daemon.active().await, "blue");
    assert_eq!(trace(daemon), ["undo migrate"]);
    assert!(output.stderr.contains("division by zero"), "{output:?}");
    assert_eq!(world.green.served(), 0);
    assert!(world.blue.served() >= 100);
    let city = "SELECT bool_and(city = 'somewhere') FROM partner";
    assert_eq!(world.postgres.run(city).await, "t", "rolled back");
    assert_eq!(daemon.service("app").await.hold, None);
    eprintln!(
        "{} requests, 0 failed; {}",
        written.good,
        status(daemon).await["held"]
    );
}

/// Why all this is needed.
#[tokio::test]
async fn the_same_migration_fails_when_nobody_holds_the_writers() {
    let world = World::start("COMMIT;").await;
    let daemon = &world.daemon;
    let writers = Writers::start(daemon.address, 6);
    writers.write(50).await;
    let file = daemon.path("migrate.sql").display().to_string();
    let (good, said) = world.postgres.try_run(&["-f", &file]).await;
    writers.stop().await;
    assert!(!good, "{said}");
    assert!(
        said.contains("could not serialize access due to concurrent update"),
        "{said}"
    );
}
