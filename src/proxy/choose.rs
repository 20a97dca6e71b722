//! Which slot a request goes to, where that need not be the active one.
//!
//! Asked for services that have a canary or previews, and for no others.

use super::fault::Fault;
use super::local::Local;
use super::mark::Mark;
use super::mark::Visit;
use super::preview;
use super::preview::Visitor;
use super::preview::Wanted;
use super::request::RequestHead;
use crate::config::Canary as CanarySettings;
use crate::config::Service as ServiceSettings;
use crate::live::Canary;
use crate::live::Choices;
use crate::live::Service;
use crate::live::Side;
use crate::switch::Percent;
use std::cell::Cell;

/// Where a request goes.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Index into the slots of its service.
    pub slot: usize,
    /// It was asked for by name: no other will do.
    pub is_bound: bool,
    /// None when its answer says nothing of it.
    pub mark: Option<Box<Mark>>,
}

/// What becomes of a request of a service with `choices`.
pub(super) enum Chosen {
    Forward(Choice),
    Answer(Box<Local>),
}

pub(super) fn choose(
    head: &RequestHead<'_>,
    (service, choices): (&Service, &Choices),
    from: Visitor,
) -> Result<Chosen, Fault> {
    let says_slot = service.settings.preview.slot_header.is_some();
    let mut choice = match preview::wanted(head, (service, choices), from)? {
        Some(Wanted::Answer(answer)) => return Ok(Chosen::Answer(answer)),
        Some(Wanted::Slot(slot)) => Choice {
            slot,
            is_bound: slot != service.active,
            mark: None,
        },
        None => by_canary(head, (service, choices), from.is_secure),
    };
    if says_slot {
        let mark = choice.mark.get_or_insert_default();
        mark.says_slot = true;
    }
    Ok(Chosen::Forward(choice))
}

fn by_canary(
    head: &RequestHead<'_>,
    (service, choices): (&Service, &Choices),
    is_secure: bool,
) -> Choice {
    let settings = &service.settings;
    let mut choice = Choice {
        slot: service.active,
        ..Choice::default()
    };
    let Some(canary) = &choices.canary else {
        return choice;
    };
    let visitor = guest(head, (settings, canary), choices);
    if visitor.side == Side::Canary {
        choice.slot = canary.slot;
    }
    if visitor.is_new {
        let visit = Visit {
            generation: service.slots[choice.slot].generation,
            cookie: cookie(&settings.canary, canary.cookie(visitor.side), is_secure),
        };
        choice.mark = Some(Box::new(Mark {
            visit: Some(visit),
            ..Mark::default()
        }));
    }
    choice
}

/// Who asks, as far as a canary goes.
struct Guest {
    side: Side,
    /// Nobody has told it yet where it belongs.
    is_new: bool,
}

impl Guest {
    fn of(side: Side) -> Self {
        Self {
            side,
            is_new: false,
        }
    }
}

/// By the cookie, else by what a client of an API is known by, else by lot.
fn guest(
    head: &RequestHead<'_>,
    (settings, canary): (&ServiceSettings, &Canary),
    choices: &Choices,
) -> Guest {
    let rules = &settings.canary;
    let mut is_known = false;
    for (name, value) in cookies(head) {
        if name == rules.cookie.as_bytes() {
            if let Some(side) = canary.side_of(value) {
                return Guest::of(side);
            }
        } else {
            is_known |= tells_of_earlier(rules, name);
        }
    }
    if let Some(mark) = hashed(head, rules) {
        return Guest::of(canary.draw(canary.lot_of(&mark, &choices.seal)));
    }
    // What the cache keeps for all is no visit of one.
    if is_known || canary.share == Percent::NONE || is_kept_for_all(head, settings) {
        return Guest::of(Side::Active);
    }
    Guest {
        side: canary.draw(next_lot()),
        is_new: true,
    }
}

thread_local! {
    /// The lot of the next new visitor; each worker begins somewhere else.
    static LOT: Cell<u16> = Cell::new(fastrand::u16(..Percent::LOTS));
}

/// The lots are drawn without putting any back, far apart from each other: among a hundred visitors a share of
/// 5 % is five, or four, or six.
fn next_lot() -> u16 {
    // About the golden section of all lots, and prime to their number.
    const STRIDE: u16 = 6181;
    LOT.replace((LOT.get() + STRIDE) % Percent::LOTS)
}

/// Name and value of each cookie, in order.
pub(super) fn cookies<'b>(head: &RequestHead<'b>) -> impl Iterator<Item = (&'b [u8], &'b [u8])> {
    let fields = head.fields().iter();
    let lines = fields.filter(|field| field.name.eq_ignore_ascii_case("cookie"));
    let pairs = lines.flat_map(|field| field.value.split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
    })
}

fn tells_of_earlier(rules: &CanarySettings, name: &[u8]) -> bool {
    let known = rules.known_cookies.iter();
    known
        .map(String::as_bytes)
        .any(|known| known == b"*" || known == name)
}

/// The first of the headers that decide, with its value.
fn hashed(head: &RequestHead<'_>, rules: &CanarySettings) -> Option<Vec<u8>> {
    let mut headers = rules.hash_headers.iter();
    headers.find_map(|name| {
        let value = head.find(name)?;
        Some([name.as_bytes(), b"\0", value].concat())
    })
}

fn is_kept_for_all(head: &RequestHead<'_>, settings: &ServiceSettings) -> bool {
    let path = head.path.split('?').next().unwrap_or(head.path);
    let cache = &settings.cache;
    cache.enabled && cache.paths.iter().any(|pattern| pattern.covers(path))
}

/// The value of a Set-Cookie line.
fn cookie(rules: &CanarySettings, value: &str, is_secure: bool) -> Box<[u8]> {
    let (name, age) = (&rules.cookie, rules.cookie_age.as_secs());
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}")
        .into_bytes()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lots_are_spread_so_that_every_share_holds_among_few() {
        for share in ["1%", "5%", "10%", "25%", "50%"] {
            let share: Percent = share.parse().unwrap();
            let wanted = share.percent() * 5.0;
            for _ in 0..100 {
                let taken = (0..500).filter(|_| share.takes(next_lot())).count();
                let taken = f64::from(u32::try_from(taken).unwrap());
                assert!((taken - wanted).abs() <= 3.0, "{taken} of 500 at {share}");
            }
        }
        let mut lots: Vec<u16> = (0..Percent::LOTS).map(|_| next_lot()).collect();
        lots.sort_unstable();
        assert!(lots.iter().copied().eq(0..Percent::LOTS), "each once");
    }
}
