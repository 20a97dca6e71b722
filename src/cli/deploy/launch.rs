//! Starting a deploy, and going on with one.

use super::args::{DeployArgs, Direction};
use super::daemon::{Daemon, No};
use super::journal::{Journal, Outcome, Record};
use super::places::Places;
use super::plan::{Meant, Plan};
use super::program::open_log;
use super::show;
use super::story::Story;
use super::viewer;
use super::viewer::Role;
use crate::api::ServiceStatus;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output;
use crate::cli::output::Format;
use crate::cli::session::Session;
use crate::config::Admin;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(super) async fn dry_run(session: &Session, args: &DeployArgs) -> Result<(), Failure> {
    let meant = Meant::load(args, session.named_service())?;
    let socket = socket(session, &meant);
    let now = now(&meant, &socket).await?;
    let plan = Plan::new(&meant, args, &now, &socket)?;
    match session.output.format {
        Format::Json => output::print(&serde_json::to_string(&plan).unwrap_or_default()),
        Format::Words => {
            let places = Places::new(&meant.dir(), &plan.service);
            let mut text = plan.in_words();
            text.push_str("nothing was done");
            if let Some(story) = places.story(None).ok().filter(|story| !story.is_over()) {
                let _ = write!(text, "; deploy {} is not over yet", story.plan.id);
            }
            output::print(&text)
        }
    }
}

pub(super) async fn start(session: &Session, args: &DeployArgs) -> Result<(), Failure> {
    let meant = Meant::load(args, session.named_service())?;
    let socket = socket(session, &meant);
    let places = Places::new(&meant.dir(), meant.service().name.as_str());
    places.create()?;
    refuse_another(&places)?;
    let now = now(&meant, &socket).await?;
    let mut plan = Plan::new(&meant, args, &now, &socket)?;
    if let Some(operation) = now.operation.as_ref().filter(|_| now.phase != "settling") {
        return Err(Failure::Ended {
            exit: Exit::Refused,
            text: format!(
                "a {} to {} is under way, started by {}; wait for it, or look with `switchctl status`",
                operation.direction, operation.to, operation.by
            ),
        });
    }
    let path = write(&places, &mut plan).map_err(|cause| places.unusable(&cause))?;
    let runner = Runner {
        places: &places,
        id: &plan.id,
        journal: &path,
        socket: &socket,
    };
    runner.go(session, args).await
}

/// `--resume` and `--undo`.
pub(super) async fn go_on(
    session: &Session,
    args: &DeployArgs,
    way: Direction,
) -> Result<(), Failure> {
    let meant = Meant::load(args, session.named_service())?;
    let places = Places::new(&meant.dir(), meant.service().name.as_str());
    let story = places.story(args.id.as_deref())?;
    let id = story.plan.id.clone();
    if let Some(outcome) = story.outcome {
        return Err(over(&id, outcome));
    }
    let Some(lock) = places.lock()? else {
        return match way {
            Direction::Forward => Err(Failure::Usage(format!(
                "deploy {id} is under way; look: switchctl deploy --attach"
            ))),
            Direction::Back => {
                tell(&story, Signal::INT)?;
                viewer::watch(session, &places, &id, Role::Guest).await
            }
        };
    };
    let path = places.journal(&id);
    if way == Direction::Back && story.undoing.is_none() {
        let mut journal = Journal::open(&path).map_err(|cause| places.unusable(&cause))?;
        let why = "asked for with --undo".to_owned();
        journal
            .write(&Record::Undoing { why })
            .map_err(|cause| places.unusable(&cause))?;
    }
    drop(lock);
    let runner = Runner {
        places: &places,
        id: &id,
        journal: &path,
        socket: &story.plan.socket,
    };
    runner.go(session, args).await
}

fn over(id: &str, outcome: Outcome) -> Failure {
    let text = match outcome {
        Outcome::Done => format!(
            "deploy {id} is done, there is nothing to go on with\n  to move traffic back: switchctl rollback"
        ),
        Outcome::Undone => format!("deploy {id} was taken back already; start a new one"),
        Outcome::Stuck => format!(
            "deploy {id} is over, with something left to do by hand\n  look: switchctl deploy --status"
        ),
    };
    Failure::Ended {
        exit: Exit::Refused,
        text,
    }
}

pub(super) fn tell(story: &Story, signal: Signal) -> Result<(), Failure> {
    let pid = story.pid.and_then(|pid| i32::try_from(pid).ok());
    let Some(pid) = pid.and_then(Pid::from_raw) else {
        return Err(Failure::Usage(format!(
            "deploy {} has not begun yet; ask again",
            story.plan.id
        )));
    };
    kill_process(pid, signal).map_err(|cause| Failure::Output(cause.into()))
}

/// One deploy of a service at a time, and none on top of one that was interrupted.
fn refuse_another(places: &Places) -> Result<(), Failure> {
    let refused = |text: String| Failure::Ended {
        exit: Exit::Refused,
        text,
    };
    let last = places.story(None).ok().filter(|story| !story.is_over());
    if places.lock()?.is_none() {
        let id = last.map(|story| story.plan.id).unwrap_or_default();
        return Err(refused(format!(
            "deploy {id} of this service is under way\n  look: switchctl deploy --attach"
        )));
    }
    if let Some(story) = last {
        return Err(refused(format!(
            "deploy {} was interrupted and is not over\n{}",
            story.plan.id,
            show::NEXT.trim_end()
        )));
    }
    Ok(())
}

/// Gives the plan a name of its own, and puts it on disk.
fn write(places: &Places, plan: &mut Plan) -> std::io::Result<PathBuf> {
    let now = super::journal::now();
    let time = now.strftime("%Y%m%d-%H%M%S").to_string();
    let mut number = 1;
    loop {
        plan.id = match number {
            1 => time.clone(),
            number => format!("{time}-{number}"),
        };
        let path = places.journal(&plan.id);
        if let Some(mut journal) = Journal::create(&path)? {
            journal.write(&Record::Planned(Box::new(plan.clone())))?;
            return Ok(path);
        }
        number += 1;
    }
}

/// The process that is going to do the work.
struct Runner<'r> {
    places: &'r Places,
    id: &'r str,
    journal: &'r Path,
    socket: &'r Path,
}

impl Runner<'_> {
    /// Starts it, and stays as its viewer unless that was not wanted.
    async fn go(&self, session: &Session, args: &DeployArgs) -> Result<(), Failure> {
        let child = self.start().map_err(Failure::Output)?;
        let id = self.id;
        if !args.detach {
            return viewer::watch(session, self.places, id, Role::Owner(child)).await;
        }
        output::print(&match session.output.format {
            Format::Json => {
                serde_json::json!({ "schema": crate::api::SCHEMA, "id": id }).to_string()
            }
            Format::Words => format!(
                "deploy {id} goes on by itself\n  look: switchctl deploy --attach, switchctl deploy --status"
            ),
        })
    }

    fn start(&self) -> std::io::Result<Child> {
        let log = open_log(&self.places.log(self.id))?;
        Command::new("/proc/self/exe")
            .arg0("switchctl")
            .arg("--socket")
            .arg(self.socket)
            .args(["deploy", "--runner"])
            .arg(self.journal)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
    }
}

/// The one that was named, or else the one of the config.
fn socket(session: &Session, meant: &Meant) -> PathBuf {
    let named = session.client.socket();
    if named == Admin::default().socket {
        meant.settings.admin.socket.clone()
    } else {
        named.to_owned()
    }
}

async fn now(meant: &Meant, socket: &Path) -> Result<ServiceStatus, Failure> {
    let daemon = Daemon::new(socket.to_owned(), meant.service().name.as_str());
    daemon.service_now().await.map_err(|no| match no {
        No::Gone(text) => Failure::Ended {
            exit: Exit::Unreachable,
            text,
        },
        No::Refused(text) => Failure::Usage(text),
    })
}
