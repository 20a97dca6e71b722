//! Who else works on the database when a migration is to begin.

use super::hold::Hold;
use super::journal::Record;
use super::runner::{Runner, millis};
use crate::cli::database::{Activity, Looking, Seen};
use crate::cli::words;
use crate::config::format_duration;
use std::time::Duration;
use tokio::time::Instant;

impl Runner {
    /// Waits until nobody else works on the database, as far as that can be seen. The migration needs time of the
    /// hold as well: half of it is waited at most.
    pub(super) async fn wait_for_database(&mut self) -> Result<(), String> {
        let Some(connection) = self.database() else {
            let words = "who else writes to the database was not looked at (`database` in [service.NAME.deploy])";
            return self.say_of_database(words.to_owned(), false);
        };
        let most = self.story.plan.hold / 2;
        let since = Instant::now();
        let mut stop = std::pin::pin!(self.signals.clone().stop());
        let over = self.hold.as_ref().map(Hold::over);
        let over = async {
            match over {
                Some(over) => over.await,
                None => std::future::pending().await,
            }
        };
        let mut over = std::pin::pin!(over);
        let mut looking = Looking::begin(connection);
        let mut last = None;
        loop {
            let seen = tokio::select! {
                seen = looking.next() => seen,
                why = &mut stop => return Err(why),
                why = &mut over => return Err(why),
                () = tokio::time::sleep_until(since + most) => return Err(still_at_work(most, last.as_ref())),
            };
            match seen {
                Seen::Busy(activity) => {
                    let who = activity.in_words();
                    let words = format!("waiting for others that work on the database:\n{who}");
                    self.say_of_database(words, true)?;
                    last = Some(activity);
                }
                Seen::Quiet(activity) => {
                    let took = words::took(millis(since.elapsed()));
                    let unseen = activity.unseen();
                    let words = format!("no other session works on the database ({took}){unseen}");
                    return self.say_of_database(words, false);
                }
                Seen::Blind(why) => {
                    return Err(format!(
                        "who else writes to the database cannot be seen: {why}"
                    ));
                }
            }
        }
    }

    fn say_of_database(&mut self, words: String, busy: bool) -> Result<(), String> {
        self.note(&Record::Database { words, busy })
    }

    /// As the config says it now: what is written in a journal is not connected to.
    fn database(&self) -> Option<String> {
        let plan = &self.story.plan;
        let settings = crate::config::load(&plan.config).ok()?;
        let mut services = settings.services.into_iter();
        let service = services.find(|it| it.name.as_str() == plan.service)?;
        service.deploy.database
    }
}

fn still_at_work(most: Duration, activity: Option<&Activity>) -> String {
    let most = format_duration(most);
    let who = activity.map(Activity::in_words).unwrap_or_default();
    format!(
        "others still work on the database after {most}, so nothing was migrated:\n{who}\n\
         stop what writes by itself, such as scheduled jobs, in a step before this one"
    )
}
