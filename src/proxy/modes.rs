//! Maintenance and read-only: who gets in, and what waits.

use super::calls::is_read;
use super::client::Client;
use super::client::write_all;
use super::fault::Closed;
use super::fault::Fault;
use super::fault::Timer;
use super::fields::Field;
use super::flight::State;
use super::framing::Framing;
use super::guard::Refused;
use super::local::Local;
use super::prepare::Decision;
use super::prepare::Judge;
use super::prepare::Look;
use super::request::RequestHead;
use super::response::Asked;
use crate::config::ReadOnly as ReadOnlySettings;
use crate::live::Maintenance;
use crate::live::ModeCounts;
use crate::live::Service;
use std::net::IpAddr;
use std::time::Duration;
use std::time::SystemTime;

/// Holds the secret of those who get in during maintenance.
const COOKIE: &[u8] = b"switchd_bypass=";
/// A visit of it and the secret sets the cookie.
const LINK: &str = "/.switchd/bypass/";
/// Longer calls are not looked into: they write.
const LONGEST_CALL: u64 = 64 * 1024;
/// How long a client may take to send one.
const PATIENCE: Duration = Duration::from_secs(10);
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// How a request stands with the modes of its service.
enum Standing {
    In,
    /// It writes, and waits.
    Waits,
    /// Its body has to be here to tell.
    Unknown(Peek),
    Refused(Fault),
    Answered(Local),
}

/// When a request may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    AtOnce,
    /// It writes: once its service may be written.
    OnceWritable,
}

/// What is needed of a request before more can be said of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peek {
    /// Bytes of head and body.
    until: usize,
    expects_continue: bool,
}

/// When a request may come in; something else to do with it where it may not.
/// The head stands at the front of `bytes`.
pub(super) fn check(
    head: &RequestHead<'_>,
    bytes: &[u8],
    whose: (&Service, IpAddr),
    judge: Judge<'_>,
) -> Result<Entry, Box<Decision>> {
    let instead = match stand(head, bytes, whose, judge) {
        Standing::In => return Ok(Entry::AtOnce),
        Standing::Waits => return Ok(Entry::OnceWritable),
        Standing::Unknown(peek) => Decision::Peek(peek),
        Standing::Answered(local) => Decision::Answer(Box::new(local)),
        Standing::Refused(fault) => Decision::Refuse(Box::new(Refused {
            length: head.length,
            asked: Asked::of(head),
            framing: head.framing,
            fault,
            comparison: None,
        })),
    };
    Err(Box::new(instead))
}

fn stand(
    head: &RequestHead<'_>,
    bytes: &[u8],
    (service, caller): (&Service, IpAddr),
    judge: Judge<'_>,
) -> Standing {
    let Some(modes) = &service.modes else {
        return Standing::In;
    };
    let settings = &service.settings;
    if settings.hold.lets_pass(head.method, head.path.as_bytes()) {
        return Standing::In;
    }
    if let Some(maintenance) = &modes.maintenance {
        if let Some(local) = bypass(head, maintenance, judge) {
            return Standing::Answered(local);
        }
        if !maintenance.lets_in(caller) && !has_secret(head, maintenance) {
            ModeCounts::add(&modes.refused.maintenance);
            return Standing::Refused(closed(maintenance));
        }
    }
    let Some(read_only) = &modes.read_only else {
        return Standing::In;
    };
    match reads(head, bytes, &settings.read_only, judge.look) {
        Reading::Reads => Standing::In,
        Reading::Unknown(peek) => Standing::Unknown(peek),
        Reading::Writes if read_only.writes.is_some() => Standing::Waits,
        Reading::Writes => {
            ModeCounts::add(&modes.refused.read_only);
            Standing::Refused(Fault::ReadOnly)
        }
    }
}

fn closed(maintenance: &Maintenance) -> Fault {
    let until = maintenance.until;
    let wait = until.and_then(|until| until.duration_since(SystemTime::now()).ok());
    Fault::Maintenance(Box::new(Closed {
        message: maintenance.message.clone(),
        wait,
    }))
}

fn has_secret(head: &RequestHead<'_>, maintenance: &Maintenance) -> bool {
    let fields = head.fields().iter();
    let cookies = fields.filter(|field| field.name.eq_ignore_ascii_case("cookie"));
    let mut pairs = cookies.flat_map(|field| field.value.split(|byte| *byte == b';'));
    pairs.any(|pair| {
        let secret = pair.trim_ascii().strip_prefix(COOKIE);
        secret.is_some_and(|secret| maintenance.is_known_by(secret))
    })
}

/// The answer to a visit of the link.
fn bypass(head: &RequestHead<'_>, maintenance: &Maintenance, judge: Judge<'_>) -> Option<Local> {
    let secret = head.path.strip_prefix(LINK)?;
    if !matches!(head.method, "GET" | "HEAD") || !maintenance.is_known_by(secret.as_bytes()) {
        return None;
    }
    let is_https =
        judge.peer.is_secure || head.value(Field::ForwardedProto) == Some(b"https".as_slice());
    let secure = if is_https { "; Secure" } else { "" };
    let name = String::from_utf8_lossy(COOKIE);
    let lines = format!(
        "Location: /\r\nSet-Cookie: {name}{secret}; Path=/; HttpOnly; SameSite=Lax{secure}\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
    );
    Some(Local {
        length: head.length,
        asked: Asked::of(head),
        framing: head.framing,
        status: 303,
        lines: lines.into(),
        body: Vec::new(),
    })
}

enum Reading {
    Reads,
    Writes,
    Unknown(Peek),
}

fn reads(head: &RequestHead<'_>, bytes: &[u8], settings: &ReadOnlySettings, look: Look) -> Reading {
    if matches!(head.method, "GET" | "HEAD" | "OPTIONS") {
        return Reading::Reads;
    }
    let path = head.path.split('?').next().unwrap_or(head.path);
    if settings.paths.iter().any(|known| known.is(path)) {
        return Reading::Reads;
    }
    if head.method != "POST" {
        return Reading::Writes;
    }
    if settings.is_named_read(path) {
        return Reading::Reads;
    }
    if !settings.calls.iter().any(|known| known.covers(path)) {
        return Reading::Writes;
    }
    let Framing::Length(length @ 1..=LONGEST_CALL) = head.framing else {
        return Reading::Writes;
    };
    // At most `LONGEST_CALL`.
    let until = head.length + usize::try_from(length).unwrap_or(usize::MAX);
    match bytes.get(head.length..until) {
        Some(body) if is_read(body, &settings.methods) => Reading::Reads,
        // Where the body is kept elsewhere, nobody looks into it again.
        None if look != Look::Received => Reading::Unknown(Peek {
            until,
            expects_continue: head.expects_continue,
        }),
        Some(_) | None => Reading::Writes,
    }
}

/// Takes from the client what is needed to say more.
pub(super) async fn take(client: &mut Client, peek: Peek) -> Result<(), Fault> {
    let flight = client.flight.clone();
    flight.at(State::Receiving);
    flight.arm(Timer::ClientIdle, PATIENCE);
    if peek.expects_continue {
        let told = write_all(&client.stream, CONTINUE, || {}).await;
        told.map_err(|_| Fault::ClientGone)?;
    }
    while client.input.len() < peek.until {
        match client.fill().await {
            Ok(0) | Err(_) => return Err(Fault::ClientGone),
            Ok(_) => {}
        }
    }
    flight.disarm();
    Ok(())
}
