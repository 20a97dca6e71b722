//! All that a service asks of those who come in.

use super::asked::Asked;
use super::counts::Counts;
use super::passwords::Attempt;
use super::passwords::Look;
use super::passwords::Passwords;
use super::path::Prefix;
use super::zone::Zone;
use crate::config::Access;
use crate::config::Network;
use crate::config::Service;
use std::sync::Arc;
use std::time::Duration;

/// One service's filter, shared by all workers. What a reload does not change goes on as it was.
#[derive(Debug)]
pub struct Filter {
    access: Access,
    blocked: Vec<Prefix>,
    zones: Vec<Arc<Zone>>,
    passwords: Option<Arc<Passwords>>,
    counts: Arc<Counts<3>>,
}

/// Why a request does not come in, or not yet.
#[derive(Debug)]
pub enum Refusal {
    /// Not this client.
    Client,
    /// Not this path.
    Path,
    /// Not so soon.
    Rate(Arc<Zone>, Duration),
    /// Not without a password.
    Password(Arc<Passwords>),
    /// Not after so many wrong ones.
    Attempts(Duration),
    /// The password has to be looked at first.
    Compare(Arc<Passwords>, Attempt),
}

/// What a filter has refused since it was made, besides the zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused {
    pub clients: u64,
    pub paths: u64,
    pub passwords: u64,
}

const CLIENTS: usize = 0;
const PATHS: usize = 1;
const PASSWORDS: usize = 2;

impl Filter {
    /// None for a service that asks for nothing. `before` is what was in force.
    #[must_use]
    pub fn build(settings: &Service, before: Option<&Self>, workers: usize) -> Option<Arc<Self>> {
        let Service {
            access,
            rate_limits,
            ..
        } = settings;
        if *access == Access::default() && rate_limits.is_empty() {
            return None;
        }
        let zone = |wanted: &crate::config::RateLimit| {
            let mut known = before.into_iter().flat_map(|filter| &filter.zones);
            let kept = known.find(|zone| zone.settings() == wanted).cloned();
            kept.unwrap_or_else(|| Arc::new(Zone::new(wanted.clone(), workers)))
        };
        let passwords = access.basic_auth.as_ref().map(|wanted| {
            let known = before.and_then(|filter| filter.passwords.clone());
            let kept = known.filter(|passwords| passwords.settings() == wanted);
            kept.unwrap_or_else(|| Arc::new(Passwords::new(wanted.clone())))
        });
        let counts = before.map(|filter| Arc::clone(&filter.counts));
        Some(Arc::new(Self {
            access: access.clone(),
            blocked: access.blocked.iter().map(|it| Prefix::new(it)).collect(),
            zones: rate_limits.iter().map(zone).collect(),
            passwords,
            counts: counts.unwrap_or_else(|| Arc::new(Counts::new(workers))),
        }))
    }

    /// The first look at a request: counts it.
    #[must_use]
    pub fn refuses(&self, asked: &Asked<'_>) -> Option<Refusal> {
        let refusal = self
            .refuses_still(asked)
            .or_else(|| self.limits(asked))
            .or_else(|| self.asks(asked));
        match &refusal {
            Some(Refusal::Client) => self.counts.add(asked.worker, CLIENTS),
            Some(Refusal::Path) => self.counts.add(asked.worker, PATHS),
            Some(Refusal::Password(_) | Refusal::Attempts(_)) => {
                self.password_refused(asked.worker);
            }
            None | Some(Refusal::Rate(..) | Refusal::Compare(..)) => {}
        }
        refusal
    }

    /// A further look, when the settings may have changed: counts nothing and asks for no password.
    #[must_use]
    pub fn refuses_still(&self, asked: &Asked<'_>) -> Option<Refusal> {
        if !self.access.lets_in(asked.client) {
            return Some(Refusal::Client);
        }
        let is_exempt = |networks: &[Network]| networks.iter().any(|it| it.contains(asked.client));
        let is_blocked =
            asked.path.may_be_below(&self.blocked) && !is_exempt(&self.access.blocked_allow);
        is_blocked.then_some(Refusal::Path)
    }

    /// By which name a request comes, right or wrong, where one is needed: then its name and password are
    /// for us, and for nobody behind us.
    #[must_use]
    pub fn user(&self, asked: &Asked<'_>) -> Option<Vec<u8>> {
        let passwords = self.passwords.as_ref()?;
        passwords
            .are_needed(asked)
            .then(|| Passwords::name(asked).unwrap_or_default())
    }

    /// One was compared and is wrong.
    pub fn password_refused(&self, worker: usize) {
        self.counts.add(worker, PASSWORDS);
    }

    #[must_use]
    pub fn zones(&self) -> &[Arc<Zone>] {
        &self.zones
    }

    #[must_use]
    pub fn refused(&self) -> Refused {
        Refused {
            clients: self.counts.sum(CLIENTS),
            paths: self.counts.sum(PATHS),
            passwords: self.counts.sum(PASSWORDS),
        }
    }

    fn limits(&self, asked: &Asked<'_>) -> Option<Refusal> {
        for (at, zone) in self.zones.iter().enumerate() {
            if let Some(wait) = zone.take(asked) {
                // Who is refused by one zone has used up nothing of the others.
                self.zones[..at]
                    .iter()
                    .for_each(|zone| zone.give_back(asked));
                return Some(Refusal::Rate(Arc::clone(zone), wait));
            }
        }
        None
    }

    fn asks(&self, asked: &Asked<'_>) -> Option<Refusal> {
        let passwords = self.passwords.as_ref()?;
        if !passwords.are_needed(asked) {
            return None;
        }
        match passwords.look(asked) {
            Look::Right => None,
            Look::Missing => Some(Refusal::Password(Arc::clone(passwords))),
            Look::TooOften(wait) => Some(Refusal::Attempts(wait)),
            Look::Unknown(attempt) => Some(Refusal::Compare(Arc::clone(passwords), attempt)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::asked::tests::asked;
    use super::super::path::Path;
    use super::super::zone::tests::settings;
    use super::*;
    use crate::config::RateLimit;
    use crate::config::parse;
    use std::path::Path as FilePath;

    fn service(more: &str) -> Service {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:8080\"\n[service.a.slots.x]\nhttp = [\"127.0.0.1:1\"]\n[service.a.slots.y]\nhttp = [\"127.0.0.1:2\"]\n{more}"
        );
        let settings = parse(&text, FilePath::new("switchd.toml")).unwrap();
        settings.services.into_iter().next().unwrap()
    }

    fn filter(more: &str) -> Arc<Filter> {
        Filter::build(&service(more), None, 1).unwrap()
    }

    #[test]
    fn a_service_that_asks_for_nothing_has_no_filter() {
        assert!(Filter::build(&service(""), None, 1).is_none());
        assert!(Filter::build(&service("[service.a.access]\nallow = []"), None, 1).is_none());
    }

    #[test]
    fn the_smallest_network_decides() {
        let filter = filter(
            "[service.a.access]\nallow = [\"10.0.0.0/8\", \"10.6.6.6\", \"fd00::/8\"]\ndeny = [\"10.6.0.0/16\"]",
        );
        let is_in = |client: &str| filter.refuses(&asked(client, &[])).is_none();
        assert!(is_in("10.1.1.1") && is_in("10.6.6.6") && is_in("fd00::1"));
        assert!(!is_in("10.6.6.7") && !is_in("192.0.2.1") && !is_in("::1"));
        assert_eq!(filter.refused().clients, 3);
        let others = self::filter("[service.a.access]\ndeny = [\"10.6.0.0/16\"]");
        assert!(others.refuses(&asked("192.0.2.1", &[])).is_none());
        assert!(others.refuses(&asked("10.6.0.1", &[])).is_some());
    }

    #[test]
    fn a_blocked_path_is_open_to_those_it_is_open_to() {
        let filter = filter(
            "[service.a.access]\nblocked = [\"/web/database\"]\nblocked_allow = [\"10.0.0.0/8\"]",
        );
        let to = |client, path| Asked {
            path: Path::of(path),
            ..asked(client, &[])
        };
        let outside = filter.refuses(&to("192.0.2.1", "//web/%64atabase"));
        assert!(matches!(outside, Some(Refusal::Path)), "{outside:?}");
        assert!(filter.refuses(&to("10.0.0.1", "/web/database")).is_none());
        assert!(filter.refuses(&to("192.0.2.1", "/web")).is_none());
        assert_eq!(filter.refused().paths, 1);
    }

    #[test]
    fn a_request_passes_all_zones_or_uses_up_none() {
        let text = |name: &str, burst: u32| {
            format!(
                "[[service.a.rate_limit]]\nname = \"{name}\"\nrate = \"1r/h\"\nburst = {burst}\n"
            )
        };
        let filter = filter(&(text("wide", 9) + &text("narrow", 1)));
        let one = asked("10.0.0.1", &[]);
        assert!(filter.refuses(&one).is_none() && filter.refuses(&one).is_none());
        for _ in 0..50 {
            match filter.refuses(&one) {
                Some(Refusal::Rate(zone, _)) => assert_eq!(zone.settings().name, "narrow"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(filter.zones()[0].counts().allowed, 2);
        let left = (0..20).filter(|_| filter.zones()[0].take(&one).is_none());
        assert_eq!(left.count(), 8, "ten in all, and two have passed");
    }

    #[test]
    fn a_further_look_uses_up_nothing() {
        let filter = filter("[[service.a.rate_limit]]\nname = \"n\"\nrate = \"1r/h\"\n");
        let one = asked("10.0.0.1", &[]);
        for _ in 0..5 {
            assert!(filter.refuses_still(&one).is_none());
        }
        assert!(filter.refuses(&one).is_none());
        assert!(filter.refuses(&one).is_some());
    }

    #[test]
    fn what_a_reload_leaves_alone_goes_on_as_it_was() {
        let with = |limits: Vec<RateLimit>| Service {
            rate_limits: limits,
            ..service("")
        };
        let named = |name: &str| RateLimit {
            name: name.into(),
            ..settings(1, 0)
        };
        let one = asked("10.0.0.1", &[]);
        let before = Filter::build(&with(vec![named("a"), named("b")]), None, 1).unwrap();
        assert!(before.refuses(&one).is_none());
        let changed = RateLimit {
            burst: 1,
            ..named("b")
        };
        let after = Filter::build(&with(vec![changed, named("a")]), Some(&before), 1).unwrap();
        assert!(Arc::ptr_eq(&after.zones[1], &before.zones[0]));
        assert!(
            after.zones[0].take(&one).is_none(),
            "a changed zone begins anew"
        );
        assert!(after.zones[1].take(&one).is_some());
    }
}
