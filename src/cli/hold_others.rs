//! Who else works on the database while a service is held, for `switchctl hold --drain`.

use super::database::{Activity, Looking, Seen};
use super::failure::Failure;
use super::hold::HoldArgs;
use super::output;
use super::output::{Format, Progress};
use super::session::Session;
use super::style::Paint;
use super::words;
use crate::api::SCHEMA;
use serde_json::json;

/// What is known of them.
#[derive(Debug)]
pub(super) enum Others {
    /// Nobody says how to connect.
    Unknown,
    /// How, once no request is under way.
    Later(String),
    /// And who was there last.
    Looking(Looking, Option<Activity>),
    /// Nobody is at work.
    Gone,
    /// Whether somebody is at work cannot be seen.
    Unseen,
}

impl Others {
    pub(super) async fn new(session: &Session, args: &HoldArgs) -> Self {
        let named = args.database.clone().filter(|it| !it.is_empty());
        let connection = match named {
            Some(connection) => Some(connection),
            None if args.drain => configured(session, args).await,
            None => None,
        };
        connection.map_or(Self::Unknown, Self::Later)
    }

    /// No request is under way any more.
    pub(super) fn begin(&mut self, session: &Session, progress: &mut Progress) {
        match std::mem::replace(self, Self::Unknown) {
            Self::Later(connection) => *self = Self::Looking(Looking::begin(connection), None),
            Self::Unknown if session.output.format == Format::Words => progress.milestone(
                Paint::Plain,
                "  who else writes to the database was not looked at (--database CONNECTION)",
            ),
            other => *self = other,
        }
    }

    /// Never where nobody looks. Cancel safe.
    pub(super) async fn next(&mut self) -> Seen {
        match self {
            Self::Looking(looking, _) => looking.next().await,
            _ => std::future::pending().await,
        }
    }

    pub(super) fn take(
        &mut self,
        seen: Seen,
        session: &Session,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        if session.output.format == Format::Json {
            let line = json!({"schema": SCHEMA, "event": "database", "seen": seen});
            output::print(&line.to_string())?;
        }
        let (paint, text) = match &seen {
            Seen::Busy(activity) => {
                let who = words::deep_paragraph(&activity.in_words());
                let text = format!("waiting for others that work on the database:\n    {who}");
                (Paint::Notable, text)
            }
            Seen::Quiet(activity) => {
                let unseen = activity.unseen();
                let text = format!("no other session works on the database{unseen}");
                (Paint::Good, text)
            }
            Seen::Blind(why) => {
                let text = format!("who else writes to the database cannot be seen: {why}");
                (Paint::Bad, text)
            }
        };
        if session.output.format == Format::Words {
            progress.milestone(paint, &format!("  {text}"));
        }
        match (seen, &mut *self) {
            (Seen::Busy(activity), Self::Looking(_, last)) => *last = Some(activity),
            (Seen::Quiet(_), _) => *self = Self::Gone,
            (Seen::Blind(_), _) => *self = Self::Unseen,
            (Seen::Busy(_), _) => {}
        }
        Ok(())
    }

    /// As far as anybody looks.
    pub(super) fn are_done(&self) -> bool {
        matches!(self, Self::Unknown | Self::Gone)
    }

    /// Who is to be told of when time is up: lines behind a sentence.
    pub(super) fn still_there(&self) -> String {
        match self {
            Self::Looking(_, Some(activity)) => {
                let who = words::deep_paragraph(&activity.in_words());
                format!("\n  others that work on the database:\n    {who}")
            }
            Self::Unseen => {
                "\n  who else writes to the database could not be seen: see above".to_owned()
            }
            _ => String::new(),
        }
    }
}

/// As the config file says it, if there is one here: switchd may run elsewhere.
async fn configured(session: &Session, args: &HoldArgs) -> Option<String> {
    let service = session.service().await.ok()?;
    let settings = crate::config::load(&args.config).ok()?;
    let mut services = settings.services.into_iter();
    services
        .find(|it| it.name.as_str() == service)?
        .deploy
        .database
}
