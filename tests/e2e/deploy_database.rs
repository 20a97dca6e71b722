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
use crate::support::pass;
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
        Self::with(ending, &[], |config, _| config).await
    }

    /// With a step before the migration and one after the flip, and more in the config.
    async fn with(
        ending: &str,
        around: &[String],
        more: impl Fn(Config, &Postgres) -> Config,
    ) -> Self {
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
        let [before, after] = match around {
            [before, after] => [before.clone(), after.clone()],
            _ => [String::new(), String::new()],
        };
        let flip = "[[service.app.deploy.step]]\nname = \"flip\"\n".to_owned();
        let steps = [
            with_env(step(
                "backup",
                &format!("BACKUPS=$PWD/backups {backup} dump"),
                "true",
            )),
            before,
            with_env(step(
                "migrate",
                "psql -Xqv ON_ERROR_STOP=1 -f migrate.sql",
                "echo undo migrate >> trace",
            )),
            flip,
            after,
            step("stop_old", "echo stop_old >> trace", "true"),
        ];
        let config = more(config, &postgres);
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

/// Odoo's cron: it takes the next job every few milliseconds, does it in one transaction, and counts it. It is there
/// while the file `cron` is, as a unit of systemd is while it is started.
struct Cron {
    task: tokio::task::JoinHandle<Vec<String>>,
    stop: Arc<AtomicBool>,
}

impl Cron {
    async fn start(world: &World) -> Self {
        world
            .postgres
            .run(
                "CREATE TABLE job (id serial PRIMARY KEY, runs int NOT NULL); \
                 INSERT INTO partner VALUES (1000, 'somewhere')",
            )
            .await;
        let switch = world.daemon.path("cron");
        std::fs::write(&switch, "").unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&stop);
        let mut session = world.postgres.session();
        session
            .query("SET application_name = 'odoo-cron'")
            .await
            .unwrap();
        let task = tokio::spawn(async move {
            let mut failed = Vec::new();
            while !over.load(Ordering::SeqCst) {
                if !switch.exists() {
                    let stopped = switch.with_extension("stopped");
                    std::fs::write(stopped, "").unwrap();
                    pass(Duration::from_millis(10)).await;
                    continue;
                }
                for sql in [
                    "BEGIN ISOLATION LEVEL REPEATABLE READ",
                    "INSERT INTO job (runs) VALUES (1)",
                    "UPDATE partner SET visits = visits + 0 WHERE id = 1000",
                    "SELECT pg_sleep(0.02)",
                    "COMMIT",
                ] {
                    if let Err(error) = session.query(sql).await {
                        failed.push(format!("{}: {}", error.code, error.message));
                    }
                }
            }
            failed
        });
        Self { task, stop }
    }

    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}

/// As `systemctl stop`: it returns when the job under way has ended.
const STOP_CRON: &str = "rm -f cron cron.stopped; until test -e cron.stopped; do :; done";

async fn jobs(world: &World) -> usize {
    world
        .postgres
        .run("SELECT count(*) FROM job")
        .await
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_cron_job_that_writes_is_waited_for_and_named_and_no_migration_begins_beside_it() {
    let world = World::with("COMMIT;", &[], |config, postgres| {
        let database = postgres.connection();
        config
            .set(&format!("service.app.deploy.database = {database:?}"))
            .set("service.app.deploy.hold = \"4s\"")
    })
    .await;
    let mut job = world.postgres.session();
    for sql in [
        "SET application_name = 'odoo-cron'",
        "BEGIN",
        "UPDATE partner SET visits = visits WHERE id = 0",
    ] {
        job.query(sql).await.unwrap();
    }
    let output = deploy(&world.daemon, &["--version", "v2"]).await;
    assert_eq!(output.code, 5, "{output:?}");
    let told = &output.stderr;
    assert!(
        told.contains("waiting for others that work on the database"),
        "{told}"
    );
    let line = told.lines().find(|line| line.contains("odoo-cron (pid "));
    let line = line.unwrap_or_else(|| panic!("{told}"));
    assert!(line.contains("idle in transaction for"), "{line}");
    assert!(line.contains("has written: UPDATE partner"), "{line}");
    assert!(told.contains("nothing was migrated"), "{told}");
    assert_eq!(
        trace(&world.daemon),
        [""; 0],
        "there was nothing to take back"
    );
    assert_eq!(world.daemon.active().await, "blue");
    assert_eq!(world.daemon.service("app").await.hold, None);

    let connection = world.postgres.connection();
    let hold = ["hold", "--drain", "--for", "3s", "--database", &connection];
    let held = world.daemon.ctl(&hold).await;
    assert_eq!(held.code, 1, "{held:?}");
    assert!(held.stderr.contains("odoo-cron (pid "), "{held:?}");
    job.query("COMMIT").await.unwrap();
    let hold = ["hold", "--drain", "--leave", "--database", &connection];
    let held = world.daemon.ctl(&hold).await;
    assert_eq!(held.code, 0, "{held:?}");
    assert!(
        held.stderr
            .contains("no other session works on the database"),
        "{held:?}"
    );
    world.daemon.ctl(&["release"]).await;
}

#[tokio::test]
async fn scheduled_jobs_stop_for_a_migration_and_each_is_done_once() {
    let cron = [
        step("stop_cron", STOP_CRON, "touch cron"),
        step("start_cron", "touch cron", STOP_CRON),
    ];
    let world = World::with("COMMIT;", &cron, |config, postgres| {
        let database = postgres.connection();
        config.set(&format!("service.app.deploy.database = {database:?}"))
    })
    .await;
    let cron = Cron::start(&world).await;
    eventually("jobs run", async || jobs(&world).await > 5).await;
    let writers = Writers::start(world.daemon.address, 3);
    writers.write(20).await;
    let output = deploy(&world.daemon, &["--version", "v2"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        output
            .stderr
            .contains("no other session works on the database"),
        "{output:?}"
    );
    let before = jobs(&world).await;
    eventually("jobs run on the new code", async || {
        jobs(&world).await > before + 5
    })
    .await;
    assert_eq!(writers.stop().await.failed, [""; 0], "{output:?}");
    assert_eq!(cron.end().await, [""; 0], "no job failed");
    let runs = "SELECT bool_and(runs = 1) AND count(*) = max(id) FROM job";
    assert_eq!(world.postgres.run(runs).await, "t", "each once");
}

#[tokio::test]
async fn a_database_that_cannot_be_looked_at_is_not_migrated_and_none_is_told_as_such() {
    let world = World::with("COMMIT;", &[], |config, _| {
        config.set("service.app.deploy.database = \"host=/nowhere dbname=prod\"")
    })
    .await;
    let output = deploy(&world.daemon, &["--version", "v2"]).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert!(
        output
            .stderr
            .contains("who else writes to the database cannot be seen: psql: "),
        "{output:?}"
    );
    assert_eq!(trace(&world.daemon), [""; 0]);
    let hold = world.daemon.ctl(&["hold", "--drain", "--leave"]).await;
    assert_eq!(hold.code, 0, "{hold:?}");
    assert!(hold.stderr.contains("was not looked at"), "{hold:?}");
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
