//! Starting a deploy, and going on with one.

use super::args::{DeployArgs, Direction};
use super::daemon::{Daemon, No};
use super::journal::{Journal, Outcome, Record};
use super::meant::Meant;
use super::places::Places;
use super::plan::Plan;
use super::program::open_log;
use super::show;
use super::story::Story;
use super::viewer;
use super::viewer::Role;
use super::work::Work;
use crate::api::ServiceStatus;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output;
use crate::cli::output::Format;
use crate::cli::session::Session;
use crate::config::Admin;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
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
            let places = meant.known_places()?;
            let mut text = plan.in_words();
            text.push_str("nothing was done");
            let last = places.and_then(|places| places.story(None).ok());
            if let Some(story) = last.filter(|story| !story.is_over()) {
                let _ = write!(text, "; deploy {} is not over yet", story.plan.id);
            }
            output::print(&text)
        }
    }
}

pub(super) async fn start(session: &Session, args: &DeployArgs) -> Result<(), Failure> {
    let meant = Meant::to_run(args, session.named_service())?;
    let socket = socket(session, &meant);
    let left = meant.known_places()?.is_none().then(|| meant.left_behind());
    let places = Places::create(&meant.dir()?)?;
    if let Some(words) = left.flatten() {
        eprintln!("note: {words}");
    }
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
    write(&places, &mut plan).map_err(|cause| places.unusable(&cause))?;
    let runner = Runner {
        places: &places,
        id: &plan.id,
        work: &Work::of(&meant),
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
    let meant = Meant::to_run(args, session.named_service())?;
    let places = meant.places()?;
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
                tell(&places, &story, Signal::INT)?;
                viewer::watch(session, &places, &id, Role::Guest).await
            }
        };
    };
    let work = Work::of(&meant);
    work.fits(&story, args.with_current_steps)?;
    if way == Direction::Back && story.undoing.is_none() {
        let mut journal = Journal::open(&places, &id).map_err(|cause| places.unusable(&cause))?;
        let why = "asked for with --undo".to_owned();
        journal
            .write(&Record::Undoing { why })
            .map_err(|cause| places.unusable(&cause))?;
    }
    drop(lock);
    let runner = Runner {
        places: &places,
        id: &id,
        work: &work,
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

/// Sends a signal to the process of the deploy, and to no other one: it must be a runner of this very journal.
pub(super) fn tell(places: &Places, story: &Story, signal: Signal) -> Result<(), Failure> {
    let pid = story.pid.and_then(|pid| i32::try_from(pid).ok());
    let id = &story.plan.id;
    let Some(pid) = pid.and_then(Pid::from_raw) else {
        return Err(Failure::Usage(format!(
            "deploy {id} has not begun yet; ask again"
        )));
    };
    // What the number means cannot change any more once it is open.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        // It has just ended.
        return Ok(());
    };
    if !is_runner(pid, &places.journal(id)) {
        return Err(Failure::Ended {
            exit: Exit::Refused,
            text: format!(
                "process {}, which the journal of deploy {id} names, does not work on it: it was told nothing\n  look \
                 who holds deploy.lock: fuser {}",
                pid.as_raw_nonzero(),
                places.folder().path().join("deploy.lock").display()
            ),
        });
    }
    pidfd_send_signal(process, signal).map_err(|cause| Failure::Output(cause.into()))
}

/// Whether this process belongs to us, and was started for this journal.
fn is_runner(pid: Pid, journal: &Path) -> bool {
    let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let me = rustix::process::geteuid().as_raw();
    let is_ours = proc.metadata().is_ok_and(|it| it.uid() == me);
    let line = std::fs::read(proc.join("cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let named = [b"--runner".as_slice(), journal.as_os_str().as_bytes()];
    is_ours && words.windows(2).any(|pair| pair == named)
}

/// One deploy of a service at a time, and none on top of one that was interrupted.
fn refuse_another(places: &Places) -> Result<(), Failure> {
    let refused = |text: String| Failure::Ended {
        exit: Exit::Refused,
        text,
    };
    let last = match places.story(None) {
        // Somebody else may have written it.
        Err(refused @ Failure::Ended { .. }) => return Err(refused),
        // There is none, or the crash came before its first line was whole: nothing was begun.
        last => last.ok().filter(|story| !story.is_over()),
    };
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
fn write(places: &Places, plan: &mut Plan) -> std::io::Result<()> {
    let now = super::journal::now();
    let time = now.strftime("%Y%m%d-%H%M%S").to_string();
    let mut number = 1;
    loop {
        plan.id = match number {
            1 => time.clone(),
            number => format!("{time}-{number}"),
        };
        if let Some(mut journal) = Journal::create(places, &plan.id)? {
            let mut kept = plan.clone();
            kept.forget_programs();
            return journal.write(&Record::Planned(Box::new(kept)));
        }
        number += 1;
    }
}

/// The process that is going to do the work.
struct Runner<'r> {
    places: &'r Places,
    id: &'r str,
    work: &'r Work,
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
        let log = open_log(self.places, self.id)?;
        let mut child = Command::new("/proc/self/exe")
            .arg0("switchctl")
            .arg("--socket")
            .arg(self.socket)
            .args(["deploy", "--runner"])
            .arg(self.places.journal(self.id))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        if let Some(pipe) = child.stdin.take() {
            // A runner that has ended tells by its log.
            let _ = self.work.send(pipe);
        }
        Ok(child)
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
