//! What leads to a slot that is not active: a secret, a host, a cookie, and links that are good once.

use super::seal::Seal;
use super::seal::is_same;
use crate::config::Preview as PreviewSettings;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// The links of one service that somebody may still follow.
#[derive(Debug, Clone, Default)]
pub struct Links(Vec<Arc<Link>>);

/// It leads to a slot once.
#[derive(Debug)]
pub struct Link {
    token: Box<str>,
    pub slot: SlotName,
    /// Seconds since the Unix epoch.
    until: u64,
    is_used: AtomicBool,
}

/// More than anybody needs at a time; the oldest gives way.
const MOST_LINKS: usize = 100;

/// Seconds since the Unix epoch.
#[must_use]
pub fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Links {
    /// These and one more, without those that lead nowhere any more.
    #[must_use]
    pub fn with(&self, token: &str, slot: SlotName, until: u64) -> Self {
        let now = seconds();
        let good = self.0.iter().filter(|link| link.is_good(now));
        let mut links: Vec<_> = good.cloned().collect();
        if links.len() >= MOST_LINKS {
            links.remove(0);
        }
        links.push(Arc::new(Link {
            token: token.into(),
            slot,
            until,
            is_used: AtomicBool::new(false),
        }));
        Self(links)
    }

    /// Follows the link of this token; none when there is none, or somebody has followed it already.
    #[must_use]
    pub fn follow(&self, token: &[u8]) -> Option<&SlotName> {
        let now = seconds();
        let mut links = self.0.iter();
        let link = links.find(|link| is_same(link.token.as_bytes(), token))?;
        // Relaxed: one of those who try is the first, and nothing else hangs on it.
        let is_first = link.is_good(now) && !link.is_used.swap(true, Ordering::Relaxed);
        is_first.then_some(&link.slot)
    }
}

impl Link {
    fn is_good(&self, now: u64) -> bool {
        now < self.until && !self.is_used.load(Ordering::Relaxed)
    }
}

/// What the header of a preview names: a slot, or the idle one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    Idle,
    Slot(&'a [u8]),
}

/// What a header's value leads to; none where the secret is another one. It is `SECRET` or `SLOT:SECRET`.
#[must_use]
pub fn named<'a>(settings: &PreviewSettings, value: &'a [u8]) -> Option<Named<'a>> {
    let secret = settings.secret.as_ref()?.reveal().as_bytes();
    if is_same(secret, value) {
        return Some(Named::Idle);
    }
    let at = value.len().checked_sub(secret.len() + 1)?;
    let is_right = value[at] == b':' && is_same(secret, &value[at + 1..]);
    is_right.then(|| Named::Slot(&value[..at]))
}

/// The value of the cookie that leads to `slot` until then.
#[must_use]
pub fn cookie(seal: &Seal, service: &ServiceName, slot: &SlotName, until: u64) -> String {
    let until = until.to_string();
    let parts = parts(service, slot.as_str(), &until);
    format!("{slot}.{until}.{}", seal.text_of(&parts))
}

/// The slot that a cookie leads to now; none where it is too old, or of somebody else's making.
#[must_use]
pub fn slot_of<'a>(seal: &Seal, service: &ServiceName, cookie: &'a [u8]) -> Option<&'a str> {
    let text = std::str::from_utf8(cookie).ok()?;
    let (rest, mark) = text.rsplit_once('.')?;
    let (slot, until) = rest.rsplit_once('.')?;
    let is_ours = seal.is_of(&parts(service, slot, until), mark.as_bytes());
    let is_good = until.parse::<u64>().is_ok_and(|until| seconds() < until);
    (is_ours && is_good).then_some(slot)
}

fn parts<'a>(service: &'a ServiceName, slot: &'a str, until: &'a str) -> [&'a [u8]; 4] {
    [
        b"preview",
        service.as_str().as_bytes(),
        slot.as_bytes(),
        until.as_bytes(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::seal::KEY_BYTES;
    use super::*;
    use crate::config::Secret;

    fn green() -> SlotName {
        SlotName::new("green").unwrap()
    }

    #[test]
    fn a_link_is_good_once_and_for_a_time() {
        let later = seconds() + 60;
        let links = Links::default()
            .with("one", green(), later)
            .with("two", green(), seconds());
        assert_eq!(links.follow(b"other"), None);
        assert_eq!(links.follow(b"one"), Some(&green()));
        assert_eq!(links.follow(b"one"), None, "followed already");
        assert_eq!(links.follow(b"two"), None, "too old");
        let more = links.with("three", green(), later);
        assert_eq!(more.0.len(), 1, "the others lead nowhere");
        assert_eq!(more.follow(b"three"), Some(&green()));
    }

    #[test]
    fn there_are_never_more_links_than_so_many() {
        let later = seconds() + 60;
        let all = (0..250).map(|number| format!("token-{number}"));
        let links = all.fold(Links::default(), |links, token| {
            links.with(&token, green(), later)
        });
        assert_eq!(links.0.len(), MOST_LINKS);
        assert!(links.follow(b"token-249").is_some() && links.follow(b"token-1").is_none());
    }

    #[test]
    fn a_cookie_is_good_for_its_service_and_its_time_and_cannot_be_made_up() {
        let (seal, other) = (Seal::new(&[7; KEY_BYTES]), Seal::new(&[8; KEY_BYTES]));
        let service = ServiceName::new("odoo").unwrap();
        let value = cookie(&seal, &service, &green(), seconds() + 60);
        assert_eq!(slot_of(&seal, &service, value.as_bytes()), Some("green"));
        assert_eq!(slot_of(&other, &service, value.as_bytes()), None);
        let elsewhere = ServiceName::new("shop").unwrap();
        assert_eq!(slot_of(&seal, &elsewhere, value.as_bytes()), None);
        let old = cookie(&seal, &service, &green(), seconds());
        assert_eq!(slot_of(&seal, &service, old.as_bytes()), None);
        let longer = value.replacen("green.", "green.9", 1);
        for forged in [longer.as_str(), "green", "green.1.", "..", ""] {
            assert_eq!(
                slot_of(&seal, &service, forged.as_bytes()),
                None,
                "{forged}"
            );
        }
    }

    #[test]
    fn a_header_names_the_secret_and_perhaps_a_slot() {
        let settings = PreviewSettings {
            secret: Some(Secret::new("tell:nobody".to_owned())),
            ..PreviewSettings::default()
        };
        assert_eq!(named(&settings, b"tell:nobody"), Some(Named::Idle));
        let red = named(&settings, b"red:tell:nobody");
        assert_eq!(red, Some(Named::Slot(b"red")));
        for wrong in [
            &b""[..],
            b"nobody",
            b"tell:nobodx",
            b"red-tell:nobody",
            b"x",
        ] {
            assert_eq!(named(&settings, wrong), None);
        }
        assert_eq!(named(&PreviewSettings::default(), b""), None);
    }
}
