//! `switchctl maintenance` and `switchctl read-only`

use super::failure::Failure;
use super::sentence::{Sentence, say};
use super::session::Session;
use super::style::{Look, Paint};
use super::table::printable;
use super::words;
use crate::api::{
    MaintenanceRequest, MaintenanceStatus, ModesStatus, ReadOnlyRequest, ReadOnlyStatus,
};
use crate::config::parse_duration;
use clap::{Args as Group, Subcommand, ValueEnum};
use jiff::civil::Time;
use jiff::{Timestamp, Zoned};

#[derive(Debug, Group)]
pub(super) struct MaintenanceArgs {
    #[command(subcommand)]
    what: MaintenanceVerb,
}

#[derive(Debug, Subcommand)]
enum MaintenanceVerb {
    /// Answer 503 to everybody but those who are allowed in; it stays on over restarts
    On(MaintenanceOn),
    /// Let everybody in again
    Off {
        /// Why; kept in the history
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

#[derive(Debug, Group)]
struct MaintenanceOn {
    /// What clients are told, in one sentence
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// When it is expected to be over (30m, 2h, 22:00, or RFC 3339): told to clients; it ends with `off` alone
    #[arg(long, value_name = "WHEN", value_parser = when)]
    until: Option<Timestamp>,
    /// A network or an address that gets in all the same; may be repeated
    #[arg(long, value_name = "NETWORK")]
    allow: Vec<String>,
    /// Make a secret cookie that lets its holders in, and print a link that sets it
    #[arg(long)]
    bypass_cookie: bool,
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Group)]
pub(super) struct ReadOnlyArgs {
    /// Whether the service may be read only, or written too
    #[arg(value_name = "on|off")]
    to: OnOff,
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnOff {
    /// What writes is refused, or waits (`read_only.writes`); it stays so over restarts
    On,
    Off,
}

fn when(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let now = Zoned::now();
    if let Ok(wait) = parse_duration(text) {
        let later = now.timestamp().checked_add(wait);
        return later.map_err(|error| error.to_string());
    }
    let clock: Time = text
        .parse()
        .map_err(|_| "write 30m, 2h, 22:00 or 2026-08-01T22:00:00Z".to_owned())?;
    let today = now.with().time(clock).build();
    let today = today.map_err(|error| error.to_string())?;
    if today > now {
        return Ok(today.timestamp());
    }
    let tomorrow = today.tomorrow().map_err(|error| error.to_string())?;
    Ok(tomorrow.timestamp())
}

pub(super) async fn maintenance(session: &Session, args: &MaintenanceArgs) -> Result<(), Failure> {
    let path = session.service_path("maintenance").await?;
    let request = match &args.what {
        MaintenanceVerb::On(on) => MaintenanceRequest {
            on: true,
            message: on.message.clone(),
            until: on.until.map(|time| time.to_string()),
            allow: on.allow.clone(),
            bypass: on.bypass_cookie,
            reason: on.reason.clone(),
        },
        MaintenanceVerb::Off { reason } => MaintenanceRequest {
            reason: reason.clone(),
            ..MaintenanceRequest::default()
        },
    };
    let document = session.client.post(&path, &request).await?;
    session.show(&document, render_maintenance)
}

pub(super) async fn read_only(session: &Session, args: &ReadOnlyArgs) -> Result<(), Failure> {
    let path = session.service_path("read_only").await?;
    let request = ReadOnlyRequest {
        on: args.to == OnOff::On,
        reason: args.reason.clone(),
    };
    let document = session.client.post(&path, &request).await?;
    session.show(&document, |modes: &ModesStatus, _| match &modes.read_only {
        Some(mode) if mode.writes == "hold" => {
            "read only: what writes waits, within the bounds of a hold; end it with `switchctl read-only off`"
                .to_owned()
        }
        Some(_) => {
            "read only: what writes is answered with 503; end it with `switchctl read-only off`"
                .to_owned()
        }
        None => "may be written again".to_owned(),
    })
}

fn render_maintenance(modes: &ModesStatus, look: &Look) -> String {
    let Some(mode) = &modes.maintenance else {
        return "maintenance is off: everybody gets in".to_owned();
    };
    let mut text =
        "maintenance is on: clients get 503; end it with `switchctl maintenance off`".to_owned();
    if let Some(until) = &mode.until {
        text += "\n  they are told to come back in ";
        text += &words::until(until, look);
    }
    if !mode.allow.is_empty() {
        text += "\n  these get in: ";
        text += &mode.allow.join(", ");
    }
    if let Some(bypass) = &modes.bypass {
        let host = bypass.hosts.first().map_or("HOST", String::as_str);
        text += "\n  a visit of this link lets a browser in: https://";
        text += host;
        text += &bypass.path;
        text += "\n  the cookie itself: ";
        text += &bypass.cookie;
    }
    text
}

/// Its event in words.
pub(super) fn sentence(mode: &str, on: bool, by: &str, message: Option<&str>) -> Sentence {
    let mode = mode.replace('_', " ");
    let why = message.map(|it| format!(": {it}")).unwrap_or_default();
    let (state, paint) = if on {
        ("on", Paint::Notable)
    } else {
        ("off", Paint::Good)
    };
    say(format!("{mode} is {state}, asked for by {by}{why}"), paint)
}

/// Their lines in `status`.
pub(super) fn maintenance_line(mode: &MaintenanceStatus, look: &Look) -> String {
    let message = mode
        .message
        .as_deref()
        .map(|it| format!(": {it}"))
        .unwrap_or_default();
    let until = mode
        .until
        .as_ref()
        .map(|until| format!(", expected to be over in {}", words::until(until, look)))
        .unwrap_or_default();
    printable(&format!(
        "in maintenance by {} for {}{message}{until}; {} turned away",
        mode.by,
        words::since(&mode.since, look),
        words::many(mode.refused, "request"),
    ))
}

pub(super) fn read_only_line(mode: &ReadOnlyStatus, look: &Look) -> String {
    let writes = if mode.writes == "hold" {
        format!("{} waiting", words::many(mode.waiting, "write"))
    } else {
        format!("{} turned away", words::many(mode.refused, "write"))
    };
    printable(&format!(
        "read only by {} for {}; {writes}",
        mode.by,
        words::since(&mode.since, look)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::style::tests::look;
    use super::*;
    use crate::api::Bypass;

    #[test]
    fn a_time_may_be_written_in_the_ways_people_say_it() {
        assert_eq!(
            when("2026-08-01T22:00:00Z").unwrap().to_string(),
            "2026-08-01T22:00:00Z"
        );
        let soon = when("2h").unwrap();
        assert!(soon > Timestamp::now());
        let clock = when("22:00").unwrap();
        assert!(clock > Timestamp::now());
        assert!(when("soon").is_err());
    }

    #[test]
    fn maintenance_shows_who_gets_in_and_how() {
        let modes = ModesStatus {
            schema: 1,
            maintenance: Some(MaintenanceStatus {
                by: "uid 0 (root)".to_owned(),
                since: "2026-08-01T12:00:00Z".to_owned(),
                until: Some("2026-08-01T12:35:00Z".to_owned()),
                message: Some("Back at half past.".to_owned()),
                allow: vec!["10.0.0.0/8".to_owned()],
                bypass: true,
                refused: 3,
            }),
            read_only: None,
            bypass: Some(Bypass {
                path: "/.switchd/bypass/abc".to_owned(),
                cookie: "switchd_bypass=abc".to_owned(),
                hosts: vec!["erp.example.com".to_owned()],
            }),
        };
        assert_eq!(
            render_maintenance(&modes, &look()),
            "maintenance is on: clients get 503; end it with `switchctl maintenance off`\n  \
             they are told to come back in 30 min\n  these get in: 10.0.0.0/8\n  \
             a visit of this link lets a browser in: https://erp.example.com/.switchd/bypass/abc\n  \
             the cookie itself: switchd_bypass=abc"
        );
        assert_eq!(
            maintenance_line(modes.maintenance.as_ref().unwrap(), &look()),
            "in maintenance by uid 0 (root) for 5 min: Back at half past., expected to be over in 30 min; \
             3 requests turned away"
        );
    }
}
