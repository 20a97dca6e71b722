//! `switchctl hooks`, `switchctl hooks test NAME`

use super::failure::Failure;
use super::session::Session;
use super::style::{Look, Paint};
use super::table::{Cell, Table};
use super::words;
use crate::api::{HookList, HookStatus, HookTested};
use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

#[derive(Debug, Args)]
pub(super) struct HooksArgs {
    #[command(subcommand)]
    what: Option<HooksVerb>,
}

#[derive(Debug, Subcommand)]
enum HooksVerb {
    /// Send one message to hook NAME now, and say whether it was taken
    Test(TestArgs),
}

#[derive(Debug, Args)]
struct TestArgs {
    #[arg(value_name = "NAME")]
    name: String,
}

pub(super) async fn run(session: &Session, args: &HooksArgs) -> Result<(), Failure> {
    match &args.what {
        None => {
            let document = session.client.get("/v1/hooks").await?;
            session.show(&document, render)
        }
        Some(HooksVerb::Test(args)) => {
            let name = utf8_percent_encode(&args.name, NON_ALPHANUMERIC);
            let path = format!("/v1/hooks/{name}/test");
            let document = session.client.post(&path, &()).await?;
            session.show(&document, |tested: &HookTested, _| {
                format!(
                    "{} took the message ({})",
                    tested.name,
                    words::took(tested.took_ms)
                )
            })
        }
    }
}

fn render(list: &HookList, look: &Look) -> String {
    if list.hooks.is_empty() {
        return "nobody else is told: there is no [[hook]] in the config".to_owned();
    }
    let headings = ["NAME", "KIND", "WHERE", "STATE"].map(Cell::new);
    let numbers = ["QUEUED", "DELIVERED", "GIVEN UP", "DROPPED"].map(Cell::number);
    let words = ["LAST", "WHY NOT"].map(Cell::new);
    let all = headings.into_iter().chain(numbers).chain(words).collect();
    let mut table = Table::new("", all);
    for hook in &list.hooks {
        table.row(row(hook, look));
    }
    table.render(look.style)
}

fn row(hook: &HookStatus, look: &Look) -> Vec<Cell> {
    let paint = if hook.error.is_some() {
        Paint::Bad
    } else {
        Paint::Good
    };
    let counts = [hook.queued, hook.delivered, hook.failed, hook.dropped];
    let last = hook.last_delivered.as_deref();
    let texts = [&hook.name, &hook.kind, &hook.url].map(Cell::new);
    let mut cells: Vec<Cell> = texts.into_iter().collect();
    cells.push(Cell::new(&hook.state).painted(paint));
    cells.extend(counts.map(|count| Cell::number(count.to_string())));
    cells.push(Cell::new(
        last.map_or_else(|| "never".to_owned(), |at| words::date(at, look)),
    ));
    cells.push(Cell::new(hook.error.clone().unwrap_or_default()));
    cells
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;

    #[test]
    fn a_hook_is_a_line_that_says_how_it_goes() {
        let hook = |name: &str, error: Option<&str>| HookStatus {
            name: name.to_owned(),
            kind: "json".to_owned(),
            url: "https://ci.example/...".to_owned(),
            state: "idle".to_owned(),
            delivered: 12,
            last_delivered: Some("2026-08-01T12:00:00.5Z".to_owned()),
            error: error.map(str::to_owned),
            ..HookStatus::default()
        };
        let list = HookList {
            schema: 1,
            hooks: vec![hook("team", None), hook("dead", Some("cannot connect"))],
        };
        assert_eq!(
            render(&list, &look()),
            "\
NAME  KIND  WHERE                   STATE  QUEUED  DELIVERED  GIVEN UP  DROPPED  LAST                 WHY NOT
team  json  https://ci.example/...  idle        0         12         0        0  2026-08-01 12:00:00
dead  json  https://ci.example/...  idle        0         12         0        0  2026-08-01 12:00:00  cannot connect
"
        );
    }
}
