//! The steps of a deploy: their names, their programs, their order.

use super::keys::{Names, Section, key, repeated, section};
use super::problem::At;
use super::table::Table;
use super::value::{Value, Zero, clip};
use std::path::PathBuf;
use std::time::Duration;

/// One step.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DeployStep {
    pub kind: StepKind,
    /// Each step has a name of its own.
    pub name: String,
    /// None where switchctl does it by itself.
    pub run: Option<Program>,
    pub undo: Option<Program>,
    /// None means the folder of the config file.
    pub dir: Option<PathBuf>,
    /// Added to the environment of switchctl.
    pub env: Vec<(String, String)>,
    /// For `run`.
    pub timeout: Duration,
    /// For `undo`; none means as long as `run`.
    #[serde(default)]
    pub undo_timeout: Option<Duration>,
}

impl DeployStep {
    #[must_use]
    pub fn undo_timeout(&self) -> Duration {
        self.undo_timeout.unwrap_or(self.timeout)
    }
}

/// What a step is to switchctl; declared in the order in which they come.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    Backup,
    Prepare,
    Start,
    /// Runs while the clients are held; they are released after `flip`.
    Migrate,
    Gates,
    Flip,
    Watch,
    StopOld,
    /// A step with a name of the operator's own.
    Own,
}

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// Started as it is; no shell reads it.
    Direct(Vec<String>),
    /// For `sh -c`: the script, then what it sees as `$1` and so on.
    Shell(Vec<String>),
}

impl StepKind {
    const KNOWN: [Self; 8] = [
        Self::Backup,
        Self::Prepare,
        Self::Start,
        Self::Migrate,
        Self::Gates,
        Self::Flip,
        Self::Watch,
        Self::StopOld,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Prepare => "prepare",
            Self::Start => "start",
            Self::Migrate => "migrate",
            Self::Gates => "gates",
            Self::Flip => "flip",
            Self::Watch => "watch",
            Self::StopOld => "stop_old",
            Self::Own => "own",
        }
    }

    fn of(name: &str) -> Self {
        let known = Self::KNOWN.into_iter().find(|kind| kind.name() == name);
        known.unwrap_or(Self::Own)
    }

    /// Whether switchctl has something to do of itself, so that no program is needed.
    const fn is_ours(self) -> bool {
        matches!(self, Self::Gates | Self::Flip | Self::Watch)
    }
}

const STEP_TIMEOUT: Duration = Duration::from_mins(10);
const MOST_STEPS: usize = 50;

pub(super) const DEPLOY_STEP: Section = repeated(
    "service.NAME.deploy.step",
    &[
        key("name", r#""prepare""#),
        key("run", r#"["/usr/local/bin/release", "prepare"]"#),
        key("undo", r#"["/usr/local/bin/release", "undo"]"#),
        key("shell", "true"),
        key("dir", r#""/srv/odoo""#),
        key("env", r#"{ PGDATABASE = "prod" }"#),
        key("timeout", r#""10m""#),
        key("undo_timeout", r#""10m""#),
    ],
);

/// Names with their values, for steps.
pub(super) const DEPLOY_ENV: Section = Section {
    names: Names::Values,
    ..section("service.NAME.deploy.step.env", &[])
};

/// What was written, and where.
struct WrittenStep {
    step: DeployStep,
    at: At,
}

/// Reads every `[[service.NAME.deploy.step]]`.
pub(super) fn read(deploy: &Table<'_>) -> Vec<DeployStep> {
    let mut written: Vec<WrittenStep> = Vec::new();
    for table in deploy.tables("step", &DEPLOY_STEP) {
        let Some(next) = step(&table) else { continue };
        refuse_disorder(&table, &written, &next);
        written.push(next);
        if written.len() == MOST_STEPS + 1 {
            table.report().add(
                &table.at,
                format!("more than {MOST_STEPS} steps"),
                "let one program do several of them",
            );
        }
    }
    with_ours(written.into_iter().map(|it| it.step).collect())
}

fn step(table: &Table<'_>) -> Option<WrittenStep> {
    let name = name(table);
    let dir = table.get("dir").and_then(|value| value.absolute_path());
    let env = env(table);
    let timeout = table.duration("timeout", Zero::Refused, STEP_TIMEOUT);
    let undo_timeout = table.get("undo_timeout");
    let undo_timeout = undo_timeout.map(|_| table.duration("undo_timeout", Zero::Refused, timeout));
    let by_shell = table.flag("shell", false);
    let run = table.get("run");
    let undo = table.get("undo");
    let program = |value: &Option<Value<'_>>| {
        let value = value.as_ref()?;
        program(value, by_shell)
    };
    let (run_by, undo_by) = (program(&run), program(&undo));
    let (name, at) = name?;
    let kind = StepKind::of(&name);
    if kind == StepKind::Flip
        && let Some(value) = run.as_ref().or(undo.as_ref())
    {
        value.wrong(
            "the step `flip` takes no program: switchd moves the traffic, and moves it back",
            "write a step of your own before or after it",
        );
    }
    if run.is_none() && !kind.is_ours() {
        table.missing("run");
    }
    Some(WrittenStep {
        step: DeployStep {
            kind,
            name,
            run: run_by,
            undo: undo_by,
            dir,
            env,
            timeout,
            undo_timeout,
        },
        at,
    })
}

fn name(table: &Table<'_>) -> Option<(String, At)> {
    let Some(value) = table.get("name") else {
        table.missing("name");
        return None;
    };
    let text = value.text()?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
        value.wrong(
            format!("\"{}\" cannot be the name of a step", clip(text)),
            "use 1 to 64 of a-z, 0-9, - and _",
        );
        return None;
    }
    Some((text.to_owned(), value.at))
}

fn refuse_disorder(table: &Table<'_>, before: &[WrittenStep], next: &WrittenStep) {
    let report = table.report();
    let name = &next.step.name;
    if let Some(first) = before.iter().find(|it| it.step.name == *name) {
        let line = report.line(&first.at);
        report.add(
            &next.at,
            format!("two steps are called \"{name}\""),
            format!("give this one or the one on line {line} another name"),
        );
        return;
    }
    let late = |it: &&WrittenStep| it.step.kind != StepKind::Own && it.step.kind > next.step.kind;
    if next.step.kind != StepKind::Own
        && let Some(late) = before.iter().find(late)
    {
        let known: Vec<&str> = StepKind::KNOWN.iter().map(|kind| kind.name()).collect();
        report.add(
            &next.at,
            format!("`{name}` comes after `{}`", late.step.name),
            format!(
                "steps run in the order of the file; these have an order of their own: {}",
                known.join(", ")
            ),
        );
    }
}

/// A list, or the text of a script where a shell was asked for.
fn program(value: &Value<'_>, by_shell: bool) -> Option<Program> {
    if value.is_text() {
        let text = value.text()?;
        if by_shell && !text.trim().is_empty() {
            return Some(Program::Shell(vec![text.to_owned()]));
        }
        let name = value.name().to_owned();
        value.wrong(
            format!("`{name}` is a list: the program, then its arguments"),
            format!("write {name} = [\"program\", \"argument\"], or shell = true beside it"),
        );
        return None;
    }
    let mut words = Vec::new();
    for item in value.list()? {
        words.push(item.text()?.to_owned());
    }
    if words.first().is_none_or(|first| first.trim().is_empty()) {
        value.wrong(
            format!("`{}` names no program", value.name()),
            format!("write {} = [\"program\", \"argument\"]", value.name()),
        );
        return None;
    }
    if words.iter().any(|word| word.contains('\0')) {
        value.wrong(
            format!(
                "`{}` holds a character that no program can be given",
                value.name()
            ),
            "leave \\u0000 out",
        );
        return None;
    }
    Some(if by_shell {
        Program::Shell(words)
    } else {
        Program::Direct(words)
    })
}

fn env(table: &Table<'_>) -> Vec<(String, String)> {
    let Some(value) = table.get("env") else {
        return Vec::new();
    };
    let Some(entries) = value.as_table("env".to_owned(), &DEPLOY_ENV) else {
        value.expected("a table");
        return Vec::new();
    };
    let mut variables = Vec::new();
    for named in entries.others() {
        if named.name.is_empty() || named.name.contains(['=', '\0']) {
            let shown = clip(named.name);
            table.report().add(
                &named.at,
                format!("`{shown}` cannot be the name of a variable"),
                "use letters, digits and _, as in PGDATABASE",
            );
            continue;
        }
        let value = named.value.clone().called(named.name, "\"prod\"");
        if let Some(text) = value.text() {
            variables.push((named.name.to_owned(), text.to_owned()));
        }
    }
    variables
}

/// Puts `gates`, `flip` and `watch` where they belong, unless they were written.
pub(super) fn with_ours(mut steps: Vec<DeployStep>) -> Vec<DeployStep> {
    let place = |steps: &[DeployStep], kind| steps.iter().position(|step| step.kind == kind);
    let ours = |kind: StepKind| DeployStep {
        kind,
        name: kind.name().to_owned(),
        run: None,
        undo: None,
        dir: None,
        env: Vec::new(),
        timeout: STEP_TIMEOUT,
        undo_timeout: None,
    };
    let flip = place(&steps, StepKind::Flip).unwrap_or_else(|| {
        let after = [StepKind::Watch, StepKind::StopOld];
        let next = after.into_iter().find_map(|kind| place(&steps, kind));
        let at = next.unwrap_or(steps.len());
        steps.insert(at, ours(StepKind::Flip));
        at
    });
    if place(&steps, StepKind::Watch).is_none() {
        steps.insert(flip + 1, ours(StepKind::Watch));
    }
    if place(&steps, StepKind::Gates).is_none() {
        steps.insert(flip, ours(StepKind::Gates));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<String> {
        let steps = names.iter().map(|name| DeployStep {
            kind: StepKind::of(name),
            name: (*name).to_owned(),
            run: None,
            undo: None,
            dir: None,
            env: Vec::new(),
            timeout: STEP_TIMEOUT,
            undo_timeout: None,
        });
        let steps = with_ours(steps.collect());
        steps.into_iter().map(|step| step.name).collect()
    }

    #[test]
    fn what_switchctl_does_itself_comes_where_it_belongs() {
        assert_eq!(named(&[]), ["gates", "flip", "watch"]);
        assert_eq!(
            named(&["start", "migrate", "stop_old", "tell"]),
            [
                "start", "migrate", "gates", "flip", "watch", "stop_old", "tell"
            ]
        );
        assert_eq!(
            named(&["start", "flip", "tell", "stop_old"]),
            ["start", "gates", "flip", "watch", "tell", "stop_old"]
        );
        assert_eq!(
            named(&["gates", "mine", "watch"]),
            ["gates", "mine", "flip", "watch"]
        );
    }
}
