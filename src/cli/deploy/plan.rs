//! What is going to be done, decided once: a config that changes meanwhile changes nothing in a deploy under way.

use super::args::DeployArgs;
use super::meant::Meant;
use super::work::hash;
use crate::api::ServiceStatus;
use crate::cli::args::version;
use crate::cli::failure::{Exit, Failure};
use crate::config::Program;
use crate::config::format_duration;
use crate::config::{DeployStep, Service, Slot, StepKind};
use crate::net::EndpointAddr;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For a program to end that is told to, before it is taken back.
const ENDING: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) id: String,
    pub(super) service: String,
    /// Where the new version goes.
    pub(super) slot: String,
    /// Where traffic is.
    pub(super) old_slot: String,
    /// The generation that is active before.
    pub(super) generation: u64,
    pub(super) version: Option<String>,
    /// What the old slot was labelled with.
    pub(super) old_version: Option<String>,
    pub(super) reason: Option<String>,
    /// Why the slot is in quarantine, where this deploy acknowledges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) acknowledges: Option<String>,
    pub(super) by: String,
    pub(super) config: PathBuf,
    pub(super) socket: PathBuf,
    /// Of the first address of each slot.
    pub(super) url: String,
    pub(super) old_url: String,
    pub(super) hold: Duration,
    /// The longest hold that may be asked for.
    #[serde(default)]
    pub(super) hold_most: Duration,
    pub(super) watch: Duration,
    pub(super) keep: usize,
    /// In the journal without their programs.
    pub(super) steps: Vec<DeployStep>,
    /// Of the steps with their programs.
    #[serde(default)]
    pub(super) steps_hash: String,
}

impl Plan {
    /// What `args` ask for, where the daemon says that `now` is the case.
    pub(super) fn new(
        meant: &Meant,
        args: &DeployArgs,
        now: &ServiceStatus,
        socket: &Path,
    ) -> Result<Self, Failure> {
        let service = meant.service();
        let slot = target(service, args, now)?;
        let label = |name: &str| {
            let slot = now.slots.iter().find(|it| it.name == name);
            // Programs are told it: whatever no label can be is none.
            slot.and_then(|slot| slot.version.clone().filter(|it| version(it).is_ok()))
        };
        let old_slot = active(service, now)?;
        let acknowledges = acknowledged(service, args, now, &slot)?;
        Ok(Self {
            acknowledges,
            id: String::new(),
            service: service.name.to_string(),
            generation: now.generation,
            version: args.version.clone(),
            old_version: label(&old_slot),
            reason: args.reason.clone(),
            by: who(),
            config: meant.config.clone(),
            socket: socket.to_owned(),
            url: url(service, &slot),
            old_url: url(service, &old_slot),
            hold: service.deploy.hold,
            hold_most: service.hold.max_for,
            watch: service.deploy.watch,
            keep: service.deploy.keep,
            steps: service.deploy.steps.clone(),
            steps_hash: hash(&service.deploy.steps, &meant.config),
            slot,
            old_slot,
        })
    }

    /// How long clients are held where the migration is taken back: nobody may write into what is half restored. Those
    /// that wait for longer than a request may wait are answered with 503 meanwhile.
    pub(super) fn hold_with_undo(&self) -> Duration {
        let is_undone = |step: &&DeployStep| step.kind == StepKind::Migrate && step.undo.is_some();
        match self.steps.iter().find(is_undone) {
            Some(step) => (self.hold + step.undo_timeout() + ENDING).min(self.hold_most),
            None => self.hold,
        }
    }

    /// Leaves the names of the steps, and what each is.
    pub(super) fn forget_programs(&mut self) {
        for step in &mut self.steps {
            step.run = None;
            step.undo = None;
            step.dir = None;
            step.env.clear();
        }
    }

    /// Why traffic moves, for the history.
    pub(super) fn why(&self) -> String {
        let mut why = format!("deploy {}", self.id);
        if let Some(version) = &self.version {
            let _ = write!(why, " of {version}");
        }
        if let Some(reason) = &self.reason {
            let _ = write!(why, ": {reason}");
        }
        why
    }

    /// As `--dry-run` shows it.
    pub(super) fn in_words(&self) -> String {
        let version = self.version.as_deref().unwrap_or("no version given");
        let mut text = format!(
            "{}: deploy to {} ({version}); {} is active{}\n",
            self.service,
            self.slot,
            self.old_slot,
            self.old_version
                .as_deref()
                .map(|version| format!(" ({version})"))
                .unwrap_or_default()
        );
        if let Some(words) = self.quarantine_in_words() {
            let _ = writeln!(text, "  {words}");
        }
        for (at, step) in self.steps.iter().enumerate() {
            let _ = write!(text, "{:>3}. {}", at + 1, self.step_in_words(step));
        }
        text
    }

    /// That the deploy goes to a slot in quarantine; none where it does not.
    pub(super) fn quarantine_in_words(&self) -> Option<String> {
        let why = self.acknowledges.as_ref()?;
        let slot = &self.slot;
        Some(format!(
            "{slot} is in quarantine ({why}); this deploy acknowledges that"
        ))
    }

    fn step_in_words(&self, step: &DeployStep) -> String {
        let Self { slot, old_slot, .. } = self;
        let mut text = format!("{}\n", step.name);
        let mut line = |words: String| {
            let _ = writeln!(text, "     {words}");
        };
        match step.kind {
            StepKind::Migrate => line(format!(
                "clients are held from here until the flip is done, at most {}; it begins when no request is under way",
                format_duration(self.hold)
            )),
            StepKind::Gates => line(format!("switchd proves {slot}")),
            StepKind::Flip => line(format!(
                "traffic moves from {old_slot} to {slot}; taken back: it moves to {old_slot} again"
            )),
            StepKind::Watch if self.watch.is_zero() => {
                line("nobody waits (watch = \"0s\")".to_owned());
            }
            StepKind::Watch => line(format!(
                "{slot} must stay active for {}",
                format_duration(self.watch)
            )),
            _ => {}
        }
        if let Some(run) = &step.run {
            line(format!(
                "{} (at most {})",
                written(run),
                format_duration(step.timeout)
            ));
        }
        match &step.undo {
            Some(undo) => line(format!("taken back by: {}", written(undo))),
            None if step.run.is_some() => line("not taken back: it has no `undo`".to_owned()),
            None => {}
        }
        text
    }
}

/// As a shell would take it.
pub(super) fn written(program: &Program) -> String {
    let (words, by_shell) = match program {
        Program::Direct(words) => (words, false),
        Program::Shell(words) => (words, true),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./=:,@%+".contains(&b);
    let quoted: Vec<String> = words
        .iter()
        .map(|word| {
            if !word.is_empty() && word.bytes().all(plain) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', "'\\''"))
            }
        })
        .collect();
    if by_shell {
        format!("sh -c {}", quoted.join(" "))
    } else {
        quoted.join(" ")
    }
}

/// Programs are told its name, so it must be one of the config.
fn active(service: &Service, now: &ServiceStatus) -> Result<String, Failure> {
    let is_known = |slot: &Slot| slot.name.as_str() == now.active;
    if service.slots.iter().any(is_known) {
        return Ok(now.active.clone());
    }
    Err(Failure::Ended {
        exit: Exit::Refused,
        text: format!(
            "switchd says that {:?} is active, and the config knows no such slot\n  is it the config that switchd runs \
             with? --config FILE",
            now.active
        ),
    })
}

fn target(service: &Service, args: &DeployArgs, now: &ServiceStatus) -> Result<String, Failure> {
    let refused = |text: String| Failure::Ended {
        exit: Exit::Refused,
        text,
    };
    if let Some(wanted) = &args.to {
        if wanted.as_str() == now.active {
            return Err(refused(format!(
                "{wanted} is active: a deploy goes to a slot without traffic\n  leave --to out, or name another slot"
            )));
        }
        if !service.slots.iter().any(|slot| slot.name == *wanted) {
            let names: Vec<&str> = service.slots.iter().map(|it| it.name.as_str()).collect();
            return Err(Failure::Usage(format!(
                "there is no slot {wanted}; {} has {}",
                service.name,
                names.join(", ")
            )));
        }
        return Ok(wanted.to_string());
    }
    let idle: Vec<&str> = service
        .slots
        .iter()
        .map(|slot| slot.name.as_str())
        .filter(|name| *name != now.active)
        .collect();
    match idle[..] {
        [only] => Ok(only.to_owned()),
        _ => Err(Failure::Usage(format!(
            "which slot? {} are idle\n  name one: --to SLOT",
            idle.join(", ")
        ))),
    }
}

/// A release that went wrong leaves its slot in quarantine, and the mended one goes to that same slot: a deploy that
/// runs a program before the gates puts something new there, and that is acknowledgement enough. One that does not is a
/// plain flip, and asks as a flip does.
fn acknowledged(
    service: &Service,
    args: &DeployArgs,
    now: &ServiceStatus,
    slot: &str,
) -> Result<Option<String>, Failure> {
    let found = now.slots.iter().find(|it| it.name == slot);
    let quarantine = found.and_then(|it| it.quarantine.as_ref());
    let Some(quarantine) = quarantine.filter(|it| !it.acknowledged) else {
        return Ok(None);
    };
    let steps = service.deploy.steps.iter();
    let mut before = steps.take_while(|step| step.kind != StepKind::Gates);
    if args.ack || before.any(|step| step.run.is_some()) {
        return Ok(Some(quarantine.reason.clone()));
    }
    let why = &quarantine.reason;
    Err(Failure::Ended {
        exit: Exit::Refused,
        text: format!(
            "{slot} is in quarantine ({why}), and this deploy starts nothing new in it\n  once it is mended: --ack, or switchctl ack {slot}"
        ),
    })
}

fn url(service: &Service, slot: &str) -> String {
    let slot = service.slots.iter().find(|it| it.name.as_str() == slot);
    let member = slot.and_then(|slot| slot.members.first());
    let address = member.and_then(|member| member.addresses.first());
    let scheme = match service.upstream_tls {
        Some(_) => "https",
        None => "http",
    };
    match address {
        Some(EndpointAddr::Unix(path)) => format!("unix:{}", path.display()),
        Some(address) => format!("{scheme}://{address}"),
        None => String::new(),
    }
}

/// `uid 0 (root, for alice)`.
fn who() -> String {
    let uid = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = user_of(&users, uid);
    let behind = std::env::var("SUDO_USER").ok();
    let behind = behind.as_deref().filter(|behind| name != Some(behind));
    match (name, behind) {
        (Some(name), Some(behind)) => format!("uid {uid} ({name}, for {behind})"),
        (Some(only), None) | (None, Some(only)) => format!("uid {uid} ({only})"),
        (None, None) => format!("uid {uid}"),
    }
}

/// Who has this number in the text of `/etc/passwd`.
pub(super) fn user_of(users: &str, uid: u32) -> Option<&str> {
    let mut users = users.lines().map(|line| line.split(':'));
    users.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cli::deploy) fn plan() -> Plan {
        let step = |kind, name: &str| DeployStep {
            kind,
            name: name.to_owned(),
            run: Some(Program::Direct(vec!["true".to_owned()])),
            undo: None,
            dir: None,
            env: Vec::new(),
            timeout: Duration::from_mins(10),
            undo_timeout: None,
        };
        Plan {
            id: "20260801-120000".to_owned(),
            service: "odoo".to_owned(),
            slot: "green".to_owned(),
            old_slot: "blue".to_owned(),
            generation: 3,
            version: Some("v2".to_owned()),
            old_version: None,
            reason: Some("ticket | 7".to_owned()),
            acknowledges: None,
            by: "uid 0 (root)".to_owned(),
            config: "/etc/switchd/switchd.toml".into(),
            socket: "/run/switchd/admin.sock".into(),
            url: "http://127.0.0.1:8169".to_owned(),
            old_url: "http://127.0.0.1:8069".to_owned(),
            hold: Duration::from_mins(2),
            hold_most: Duration::from_mins(10),
            watch: Duration::ZERO,
            keep: 20,
            steps: vec![
                step(StepKind::Prepare, "prepare"),
                step(StepKind::Migrate, "migrate"),
                step(StepKind::Flip, "flip"),
                step(StepKind::Own, "tell"),
            ],
            steps_hash: String::new(),
        }
    }

    #[test]
    fn a_user_has_a_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\nalice:x:1000:1000::/:\n";
        assert_eq!(user_of(users, 1000), Some("alice"));
        assert_eq!(user_of(users, 7), None);
    }

    #[test]
    fn a_program_is_shown_as_a_shell_would_take_it() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        let direct = Program::Direct(words(&["pg_dump", "-f", "/a b", "it's", ""]));
        assert_eq!(written(&direct), r"pg_dump -f '/a b' 'it'\''s' ''");
        let shell = Program::Shell(words(&["echo $1", "x"]));
        assert_eq!(written(&shell), "sh -c 'echo $1' x");
    }

    #[test]
    fn the_plan_says_what_will_happen() {
        let text = plan().in_words();
        assert_eq!(
            text,
            "\
odoo: deploy to green (v2); blue is active
  1. prepare
     true (at most 10m)
     not taken back: it has no `undo`
  2. migrate
     clients are held from here until the flip is done, at most 2m; it begins when no request is under way
     true (at most 10m)
     not taken back: it has no `undo`
  3. flip
     traffic moves from blue to green; taken back: it moves to blue again
     true (at most 10m)
     not taken back: it has no `undo`
  4. tell
     true (at most 10m)
     not taken back: it has no `undo`
"
        );
    }
}
