//! `switchctl token new`: needs no running switchd.

use super::failure::Failure;
use super::output;
use super::output::Format;
use super::session::Session;
use crate::config::{Role, TokenHash, fresh_token, token_lines};
use crate::switch::ServiceName;
use clap::{Args, Subcommand};
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    what: TokenVerb,
}

#[derive(Debug, Subcommand)]
enum TokenVerb {
    /// Make a token: printed once, with the lines that make switchd know it
    New(NewArgs),
}

#[derive(Debug, Args)]
struct NewArgs {
    /// As it is called in the history
    #[arg(long, value_name = "NAME", default_value = "ci")]
    name: ServiceName,
    /// What it lets its bearer do: view, operate (move traffic too) or admin (everything)
    #[arg(long, value_name = "ROLE", default_value = "view", value_parser = Role::parse)]
    role: Role,
    /// For these services alone; may be given several times
    #[arg(long = "for", value_name = "SERVICE")]
    services: Vec<ServiceName>,
}

pub(super) fn run(session: &Session, args: &TokenArgs) -> Result<(), Failure> {
    let TokenVerb::New(args) = &args.what;
    let Some(token) = fresh_token() else {
        let cause = std::io::Error::other("this machine gives no random bytes");
        return Err(Failure::Output(cause));
    };
    let hash = TokenHash::of(&token);
    let lines = token_lines(args.name.as_str(), &hash, args.role, &args.services);
    output::print(&match session.output.format {
        Format::Json => json!({
            "token": token,
            "name": args.name.as_str(),
            "hash": hash.to_string(),
            "role": args.role.word(),
            "services": args.services,
            "toml": lines,
        })
        .to_string(),
        Format::Words => format!(
            "{token}\n\nThis is the token; it is shown this once and kept nowhere. Put these lines into the \
             config of\nswitchd, and it is known after the next reload:\n\n{lines}"
        ),
    })
}
