//! Ways to a slot that is not active, for those who are let there.

use super::choose::cookies;
use super::fault::Fault;
use super::framing::Framing;
use super::local::Local;
use super::request::RequestHead;
use super::response::Asked;
use crate::config::Preview as Settings;
use crate::live::Choices;
use crate::live::Named;
use crate::live::Service;
use crate::live::preview;
use crate::switch::SlotName;
use std::net::IpAddr;

/// Where links lead; the token follows.
const LINKS: &str = "/.switchd/preview/";

/// What a request wants of a preview.
pub(super) enum Wanted {
    /// An index into the slots of its service.
    Slot(usize),
    Answer(Box<Local>),
}

/// From whom a request comes.
#[derive(Clone, Copy)]
pub(super) struct Visitor {
    pub caller: IpAddr,
    /// Over TLS, all the way.
    pub is_secure: bool,
}

/// None for one that wants no preview, or has no right to one and none to know of it.
pub(super) fn wanted(
    head: &RequestHead<'_>,
    (service, choices): (&Service, &Choices),
    visitor: Visitor,
) -> Result<Option<Wanted>, Fault> {
    let settings = &service.settings.preview;
    if !settings.enabled {
        return Ok(None);
    }
    let networks = &settings.allow;
    let is_allowed = networks.iter().any(|it| it.contains(visitor.caller));
    if let Some(value) = head.find(&settings.header) {
        let named = preview::named(settings, value).filter(|_| is_allowed);
        let slot = match named.ok_or(Fault::Denied)? {
            Named::Idle => idle(service),
            Named::Slot(name) => position(service, name).ok_or(Fault::Denied)?,
        };
        return Ok(Some(Wanted::Slot(slot)));
    }
    if let Some(token) = head.path.strip_prefix(LINKS) {
        let is_get = head.method == "GET" && matches!(head.framing, Framing::None);
        if !is_allowed || !is_get {
            return Err(Fault::Denied);
        }
        let slot = choices.links.follow(token.as_bytes());
        let answer = match slot {
            Some(slot) => welcome(head, (service, choices), slot, visitor.is_secure),
            None => gone(head),
        };
        return Ok(Some(Wanted::Answer(Box::new(answer))));
    }
    let with_cookie = is_allowed.then(|| by_cookie(head, (service, choices), settings));
    if let Some(slot) = with_cookie.flatten() {
        return Ok(Some(Wanted::Slot(slot)));
    }
    let is_host = |host: &String| head.host_name().eq_ignore_ascii_case(host.as_bytes());
    if settings.host.as_ref().is_some_and(is_host) {
        if !is_allowed {
            return Err(Fault::Denied);
        }
        return Ok(Some(Wanted::Slot(idle(service))));
    }
    Ok(None)
}

/// A cookie that is void keeps nobody from the site: it counts for nothing then.
fn by_cookie(
    head: &RequestHead<'_>,
    (service, choices): (&Service, &Choices),
    settings: &Settings,
) -> Option<usize> {
    let mut ours = cookies(head).filter(|(name, _)| *name == settings.cookie.as_bytes());
    ours.find_map(|(_, value)| {
        let slot = preview::slot_of(&choices.seal, &service.settings.name, value)?;
        position(service, slot.as_bytes())
    })
}

fn position(service: &Service, name: &[u8]) -> Option<usize> {
    let mut slots = service.slots.iter();
    slots.position(|slot| slot.name.as_str().as_bytes() == name)
}

/// The first that is not active.
fn idle(service: &Service) -> usize {
    let mut others = (0..service.slots.len()).filter(|at| *at != service.active);
    others.next().unwrap_or(service.active)
}

/// To the front page, with the cookie that leads to the slot.
fn welcome(
    head: &RequestHead<'_>,
    (service, choices): (&Service, &Choices),
    slot: &SlotName,
    is_secure: bool,
) -> Local {
    let settings = &service.settings.preview;
    let age = settings.cookie_age.as_secs();
    let until = preview::seconds() + age;
    let value = preview::cookie(&choices.seal, &service.settings.name, slot, until);
    let (name, secure) = (&settings.cookie, if is_secure { "; Secure" } else { "" });
    answer(
        head,
        303,
        format!(
            "Location: /\r\nSet-Cookie: {name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}\r\n"
        ),
        format!("You see slot {slot} now: /\n"),
    )
}

fn gone(head: &RequestHead<'_>) -> Local {
    let text = "410 Gone: this link was followed before, or is too old.\n\
                Ask for another one: switchctl preview SLOT\n";
    answer(head, 410, String::new(), text.to_owned())
}

fn answer(head: &RequestHead<'_>, status: u16, lines: String, body: String) -> Local {
    let common = "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
                  Referrer-Policy: no-referrer\r\n";
    Local {
        length: head.length,
        asked: Asked::of(head),
        framing: head.framing,
        status,
        lines: (lines + common).into_bytes(),
        body: body.into_bytes(),
    }
}
