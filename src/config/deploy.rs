//! What `switchctl deploy` does, step by step. The daemon checks it and never runs any of it.

use super::change::Differences;
use super::deploy_steps::{self, DeployStep};
use super::hold::Hold;
use super::keys::{Section, key, section};
use super::table::Table;
use super::units::format_duration;
use super::value::{Zero, clip};
use std::path::PathBuf;
use std::time::Duration;

/// How a service is deployed.
#[derive(Debug, Clone, PartialEq)]
pub struct Deploy {
    /// Where journals, logs and receipts are kept; none means a folder that belongs to whoever deploys.
    pub dir: Option<PathBuf>,
    /// How `switchctl` reaches the database, to see who else works on it: a connection string of libpq. The daemon never
    /// connects.
    pub database: Option<String>,
    /// The longest time that clients may be held while `migrate` runs.
    pub hold: Duration,
    /// How long the new slot must stay active after the flip; zero means that nobody looks.
    pub watch: Duration,
    /// How many finished deploys are kept.
    pub keep: usize,
    /// In order, with the three that need no program: `gates`, `flip` and `watch`.
    pub steps: Vec<DeployStep>,
}

impl Default for Deploy {
    fn default() -> Self {
        Self {
            dir: None,
            database: None,
            hold: Hold::default().max_wait,
            watch: Duration::from_mins(2),
            keep: 20,
            steps: deploy_steps::with_ours(Vec::new()),
        }
    }
}

pub(super) const DEPLOY: Section = section(
    "service.NAME.deploy",
    &[
        key("dir", r#""/srv/deploys""#),
        key("database", r#""service=odoo""#),
        key("hold", r#""90s""#),
        key("watch", r#""2m""#),
        key("keep", "20"),
        key("step", "[[service.NAME.deploy.step]]"),
    ],
);

/// Reads `[service.NAME.deploy]`.
pub(super) fn read(service: &Table<'_>, holds: &Hold) -> Deploy {
    let table = service.table("deploy", &DEPLOY);
    let default = Deploy::default();
    let dir = table.get("dir").filter(|value| !value.is_word(""));
    Deploy {
        dir: dir.and_then(|value| value.absolute_path()),
        database: database(&table),
        hold: hold(&table, holds),
        watch: table.duration("watch", Zero::Allowed, default.watch),
        keep: table.number("keep", 1..=10_000, default.keep),
        steps: deploy_steps::read(&table),
    }
}

/// Passwords have their own place, which the daemon does not read.
fn database(deploy: &Table<'_>) -> Option<String> {
    let value = deploy.get("database").filter(|value| !value.is_word(""))?;
    let text = value.text()?;
    let lower = text.to_ascii_lowercase();
    let after_scheme = lower.split_once("://").map(|(_, after)| after);
    let user = after_scheme.and_then(|after| Some(after.split('/').next()?.rsplit_once('@')?.0));
    if lower.contains("password") || user.is_some_and(|user| user.contains(':')) {
        value.wrong(
            "`database` holds a password",
            "leave it out, and put it where libpq looks for it: ~/.pgpass of whoever deploys, or PGPASSFILE",
        );
        return None;
    }
    let is_plain = !text.starts_with('-') && !text.contains(char::is_control);
    if !is_plain || !(text.contains('=') || after_scheme.is_some()) {
        value.wrong(
            format!("\"{}\" is no connection string", clip(text)),
            "write it as psql takes it: \"host=/run/postgresql dbname=prod\", \"service=odoo\" or \"postgresql://host/prod\"",
        );
        return None;
    }
    Some(text.to_owned())
}

/// As long as a request may wait, unless it is written.
fn hold(deploy: &Table<'_>, holds: &Hold) -> Duration {
    let most = holds.max_wait.min(holds.max_for);
    let hold = deploy.duration("hold", Zero::Refused, most);
    if hold > most
        && let Some(value) = deploy.get("hold")
    {
        let (key, most) = if holds.max_wait == most {
            ("max_wait", "a request may wait")
        } else {
            ("max_for", "a hold may last")
        };
        value.wrong(
            format!("`hold` is longer than {most}"),
            format!("shorten `hold`, or lengthen `{key}` in [service.NAME.hold]"),
        );
    }
    hold
}

/// What a reload changes; nothing of it concerns the daemon.
pub(super) fn changes(lines: &mut Differences, old: &Deploy, new: &Deploy) {
    let dir = |deploy: &Deploy| match &deploy.dir {
        Some(dir) => dir.display().to_string(),
        None => "that of whoever deploys".to_owned(),
    };
    lines.value("deploy dir", &dir(old), &dir(new));
    lines.value(
        "deploy hold",
        &format_duration(old.hold),
        &format_duration(new.hold),
    );
    lines.value(
        "deploy watch",
        &format_duration(old.watch),
        &format_duration(new.watch),
    );
    let database = |deploy: &Deploy| match &deploy.database {
        Some(database) => database.clone(),
        None => "not told".to_owned(),
    };
    lines.value("deploy database", &database(old), &database(new));
    lines.value("deploy keep", &old.keep, &new.keep);
    if old.steps != new.steps {
        // Arguments and variables may hold what must not be seen.
        lines.told("deploy steps changed");
    }
}
