//! Who did what.

use super::answer;
use super::answer::Answer;
use super::problem;
use super::problem::Wrong;
use super::problem::bad_request;
use super::query::Query;
use super::server::Admin;
use super::sight::Sight;
use crate::journal::Search;
use jiff::Timestamp;

/// Operations that are shown unless more or fewer are asked for.
const SHOWN: usize = 100;

impl Admin {
    pub(super) async fn history(&self, query: &Query, sight: &Sight) -> Result<Answer, Wrong> {
        let search = Search {
            service: query.owned("service"),
            services: sight.services(),
            slot: query.owned("slot"),
            to: query.owned("to"),
            actor: query.owned("actor"),
            kind: query.owned("kind"),
            outcome: query.owned("outcome"),
            since: query.text("since").map(since).transpose()?,
            limit: query.limit(SHOWN),
        };
        let history = self.control.history(search).await;
        history.map(|it| answer::json(&it)).map_err(problem::denied)
    }
}

fn since(text: &str) -> Result<Timestamp, Wrong> {
    text.parse().map_err(|_| {
        bad_request(&format!(
            "since is a time such as 2026-08-01T12:00:00Z; got {text:?}"
        ))
    })
}
