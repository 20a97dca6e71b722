//! Every way to end without success, in words and as an exit code.

use super::place::Place;
use super::words;
use crate::api::Problem;
use std::fmt::{self, Write};
use std::io;
use std::process::ExitCode;

/// What the shell is told. A contract: scripts depend on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    /// The daemon said no and nothing changed; or a probe or a check failed.
    Refused = 1,
    Usage = 2,
    Unreachable = 3,
    /// The operation goes on in the daemon; only this command stopped waiting.
    StillRunning = 4,
    MovedBack = 5,
    /// Done, but requests were cut off that the application may have done.
    CutOff = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not end well.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line cannot be meant.
    Usage(String),
    /// No usable answer from there.
    Unreachable { place: Place, cause: io::Error },
    /// The connection broke, or the answer makes no sense.
    Broken { place: Place, what: String },
    /// The daemon answered with a problem.
    Refused(Box<Problem>),
    /// No longer waiting.
    StillRunning(String),
    /// The answer was complete, and it is not a success; all of it has been printed in JSON mode.
    Ended { exit: Exit, text: String },
    /// Output could not be written, or the process lacks something of its own.
    Output(io::Error),
}

impl Failure {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Unreachable { .. } | Self::Broken { .. } => Exit::Unreachable,
            Self::StillRunning(_) => Exit::StillRunning,
            Self::Ended { exit, .. } => *exit,
            // A reader that has seen enough (`| head`) is no failure.
            Self::Output(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Refused(_) | Self::Output(_) => Exit::Refused,
        }
    }

    /// For `--json`; none where stdout already holds the whole story.
    pub(super) fn problem(&self) -> Option<Problem> {
        let (name, title) = match self {
            Self::Usage(_) => ("usage", "the command line is wrong"),
            Self::Unreachable { .. } => ("unreachable", "switchd cannot be reached"),
            Self::Broken { .. } => ("broken", "the answer of switchd cannot be used"),
            Self::StillRunning(_) => ("still-running", "no longer waiting"),
            Self::Refused(problem) => return Some(problem.as_ref().clone()),
            Self::Ended { .. } | Self::Output(_) => return None,
        };
        Some(Problem {
            kind: format!("urn:switchctl:{name}"),
            title: title.to_owned(),
            status: 0,
            detail: self.to_string(),
            way_around: None,
            reasons: Vec::new(),
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::StillRunning(text) | Self::Ended { text, .. } => {
                f.write_str(text)
            }
            Self::Unreachable { place, cause } => {
                write!(f, "cannot reach switchd at {place}: {cause}")?;
                for line in advice(place, cause.kind()) {
                    write!(f, "\n  {line}")?;
                }
                Ok(())
            }
            Self::Broken { place, what } => write!(
                f,
                "{what}\n  asked at {place}; look at the log of switchd, and compare `switchctl --version` \
                 with the version that `switchctl status` shows",
            ),
            Self::Refused(problem) => f.write_str(&refusal(problem)),
            Self::Output(cause) => write!(f, "cannot write the output: {cause}"),
        }
    }
}

const OTHER_SOCKET: &str =
    "if it listens elsewhere (`[admin] socket` in its config): --socket PATH, or SWITCHD_SOCKET";

/// What to look at when nobody is there.
fn advice(place: &Place, kind: io::ErrorKind) -> &'static [&'static str] {
    if let Place::Web(_) = place {
        return &[
            "is this the `address` of [admin.tcp] in its config, and does a firewall let you through?",
            "certificates are verified: --ca FILE names whom to trust beside the CAs of this machine",
        ];
    }
    match kind {
        io::ErrorKind::NotFound => &[
            "nothing is there: is switchd running? (systemctl status switchd)",
            OTHER_SOCKET,
        ],
        io::ErrorKind::ConnectionRefused => &[
            "the socket is a left-over, nobody listens: switchd has ended; start it again (systemctl start switchd)",
            OTHER_SOCKET,
        ],
        io::ErrorKind::PermissionDenied => &[
            "this user may not open it: become a member of the group that owns it (ls -l shows which), or use sudo",
        ],
        io::ErrorKind::TimedOut => &[
            "switchd is there but does not answer: look at its log (journalctl -u switchd)",
            "traffic goes on without the admin socket; only commands have to wait",
        ],
        _ => &[
            "is switchd running? (systemctl status switchd)",
            OTHER_SOCKET,
        ],
    }
}

/// A problem as an operator reads it: what, why, and the way around.
fn refusal(problem: &Problem) -> String {
    let mut text = if problem.detail.is_empty() {
        problem.title.clone()
    } else {
        problem.detail.clone()
    };
    for reason in &problem.reasons {
        let _ = write!(text, "\n  {}", words::paragraph(reason));
    }
    if let Some(way) = &problem.way_around {
        let _ = write!(text, "\n  to do it all the same: {way}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_reasons_and_the_way_around() {
        let text = refusal(&Problem {
            kind: "urn:switchd:refused".to_owned(),
            title: "refused".to_owned(),
            status: 409,
            detail: "green is not healthy".to_owned(),
            way_around: Some("--force --reason \"...\"".to_owned()),
            reasons: vec!["http 127.0.0.1:1: connection refused".to_owned()],
        });
        assert_eq!(
            text,
            "green is not healthy\n  http 127.0.0.1:1: connection refused\n  \
             to do it all the same: --force --reason \"...\""
        );
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(failure.exit(), Exit::Done);
    }
}
