//! A stranger on a slot's port: somebody else listens there than when the slot last served.
//!
//! On a shared host anybody may bind the port of a slot that is stopped, and answer its health check. So each probe
//! that passes looks which user listens, and fails where that is neither who was seen when the address last served
//! nor the configured `owner`. What follows is what follows from any failed probe: nothing moves there by itself, the
//! gate refuses, a canary ends. An address that has never served has nobody to be compared with.

use super::clock::stamp;
use super::conductor::Conductor;
use super::events::About;
use super::log_level::log_at;
use crate::api::EventKind;
use crate::api::StrangerStatus;
use crate::net::EndpointAddr;
use crate::net::may_be_local;
use crate::net::user_in_words;
use crate::net::users_listening;
use crate::switch::Event;
use crate::switch::Moment;
use crate::switch::SlotName;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::Level;

/// Looks at the kernel's table at the same time: one that hangs must not take all blocking threads.
static LOOKS: Semaphore = Semaphore::const_new(8);

/// Who may listen at one address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Allowed {
    /// It has never served.
    #[default]
    Anybody,
    /// Who listened when it last served.
    Seen(BTreeSet<u32>),
    /// Who the config says.
    Configured(u32),
}

/// What one address's probes compare with.
#[derive(Debug, Default)]
pub(super) struct Expected(Mutex<Allowed>);

impl Expected {
    pub(super) fn get(&self) -> Allowed {
        // Whole, whoever panicked.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set(&self, allowed: Allowed) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = allowed;
    }

    /// None where nothing speaks against whoever listens. Of several that share a port any stranger counts.
    pub(super) fn stranger(&self, slot: &SlotName, listening: &BTreeSet<u32>) -> Option<Stranger> {
        let allowed = self.get();
        let mut strangers = listening.clone();
        strangers.retain(|user| match &allowed {
            Allowed::Anybody => false,
            Allowed::Seen(seen) => !seen.contains(user),
            Allowed::Configured(owner) => owner != user,
        });
        (!strangers.is_empty()).then(|| Stranger {
            slot: slot.clone(),
            users: strangers,
            allowed,
        })
    }
}

/// Who listens where somebody else should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stranger {
    slot: SlotName,
    users: BTreeSet<u32>,
    allowed: Allowed,
}

fn in_words(users: &BTreeSet<u32>) -> String {
    let all: Vec<String> = users.iter().map(|user| user_in_words(*user)).collect();
    all.join(" and ")
}

impl Stranger {
    /// Not where the config says who is right.
    pub(super) fn may_be_accepted(&self) -> bool {
        !matches!(self.allowed, Allowed::Configured(_))
    }

    fn expected(&self) -> String {
        match &self.allowed {
            Allowed::Anybody => String::new(),
            Allowed::Seen(seen) => in_words(seen),
            Allowed::Configured(owner) => user_in_words(*owner),
        }
    }

    fn remedy(&self) -> String {
        let slot = &self.slot;
        match &self.allowed {
            Allowed::Configured(_) => {
                format!(
                    "find out who that is; if it is right, change `owner` of {slot} in the config"
                )
            }
            _ => format!("find out who that is; if it is right, `switchctl ack {slot}`"),
        }
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match &self.allowed {
            Allowed::Configured(_) => "which is its `owner`",
            _ => "as when it last served",
        };
        let (who, expected) = (in_words(&self.users), self.expected());
        write!(
            f,
            "{who} listens there, not {expected}, {why}; {}",
            self.remedy()
        )
    }
}

/// Who listens at an address; empty where that is not known, or not within the time.
pub(super) async fn listening(address: &EndpointAddr, within: Duration) -> BTreeSet<u32> {
    if !may_be_local(address) {
        return BTreeSet::new();
    }
    let address = address.clone();
    let look = async move {
        let turn = LOOKS.acquire().await.ok()?;
        let look = move || {
            let users = users_listening(&address);
            drop(turn);
            users
        };
        tokio::task::spawn_blocking(look).await.ok()
    };
    let looked = tokio::time::timeout(within, look).await;
    looked.ok().flatten().unwrap_or_default()
}

/// What is told of the strangers of one service.
#[derive(Debug, Clone)]
pub(super) struct Told {
    since: Moment,
    address: String,
    stranger: Stranger,
}

impl Told {
    pub(super) fn status(&self) -> StrangerStatus {
        StrangerStatus {
            since: stamp(self.since),
            endpoint: self.address.clone(),
            listening: in_words(&self.stranger.users),
            expected: self.stranger.expected(),
            remedy: self.stranger.remedy(),
        }
    }
}

impl Conductor {
    /// Says to all probers of a service who may listen: as configured, else as seen when the address last served.
    pub(super) fn expect_users(&mut self, at: usize) {
        let service = &self.services[at];
        for slot in &service.settings.slots {
            let seen = service.switch.users(&slot.name);
            for watched in self.stock.endpoints.of(&service.name, &slot.name) {
                let address = &*watched.endpoint().label;
                let seen = seen.and_then(|seen| seen.get(address));
                let allowed = match (slot.owner, seen) {
                    (Some(owner), _) => Allowed::Configured(owner),
                    (None, Some(seen)) => Allowed::Seen(seen.clone()),
                    (None, None) => Allowed::Anybody,
                };
                watched.expected().set(allowed);
            }
        }
    }

    /// After a probe: who serves for the first time is remembered, a stranger is told of, and that he is gone.
    pub(super) fn look_at_listeners(&mut self, at: usize, slot: &SlotName) {
        let service = &self.services[at];
        let index = service.index_of(slot);
        let serves = index.is_some_and(|it| it == service.active || Some(it) == service.canary);
        let endpoints = self.stock.endpoints.of(&service.name, slot);
        let is_new = |it: &&super::endpoints::Watched| {
            serves && !it.listening.is_empty() && it.expected().get() == Allowed::Anybody
        };
        let new: BTreeMap<String, BTreeSet<u32>> = endpoints
            .filter(is_new)
            .map(|it| (it.endpoint().label.to_string(), it.listening.clone()))
            .collect();
        if !new.is_empty() {
            self.remember_users(at, slot, new);
        }
        self.tell_stranger(at, slot);
    }

    fn remember_users(&mut self, at: usize, slot: &SlotName, new: BTreeMap<String, BTreeSet<u32>>) {
        let service = &self.services[at];
        let mut users = service.switch.users(slot).cloned().unwrap_or_default();
        // Addresses that are no longer configured are forgotten.
        let endpoints = self.stock.endpoints.of(&service.name, slot);
        let configured: BTreeSet<&str> = endpoints.map(|it| &*it.endpoint().label).collect();
        users.retain(|address, _| configured.contains(address.as_str()));
        users.extend(new);
        let slot = slot.clone();
        self.event(at, Event::Users { slot, users });
        self.expect_users(at);
    }

    fn tell_stranger(&mut self, at: usize, slot: &SlotName) {
        let now = self.jobs.clock.now();
        let service = &mut self.services[at];
        let mut endpoints = self.stock.endpoints.of(&service.name, slot);
        let found =
            endpoints.find_map(|it| Some((it.endpoint().label.to_string(), it.stranger.clone()?)));
        drop(endpoints);
        let before = service.strangers.get(slot).map(|told| &told.stranger);
        if before == found.as_ref().map(|(_, stranger)| stranger) {
            return;
        }
        let about = About::service(service.name.as_str());
        let Some((address, stranger)) = found else {
            service.strangers.remove(slot);
            tracing::warn!(service = %service.name, %slot, "no stranger listens on the slot's port any more");
            let slot = slot.to_string();
            self.jobs
                .events
                .tell(about, EventKind::OwnerRestored { slot });
            return;
        };
        let is_active = service.slots[service.active].name == *slot;
        let level = if is_active { Level::ERROR } else { Level::WARN };
        let (listening, expected) = (in_words(&stranger.users), stranger.expected());
        log_at!(level, service = %service.name, %slot, endpoint = address, listening, expected,
            "a stranger listens on the slot's port");
        let kind = EventKind::OwnerChanged {
            slot: slot.to_string(),
            endpoint: address.clone(),
            listening,
            expected,
        };
        self.jobs.events.tell(about, kind);
        let told = Told {
            since: now,
            address,
            stranger,
        };
        service.strangers.insert(slot.clone(), told);
        if service
            .shadow_on()
            .is_some_and(|shadow| shadow.slot == *slot)
            && self.end_shadow(at, "a stranger listens on its port")
        {
            self.publish();
        }
    }

    /// An operator says that whoever listens there is right; who that is, in words. None where nobody is a stranger,
    /// or where the config says who is right.
    pub(super) fn accept_users(&mut self, at: usize, slot: &SlotName) -> Option<String> {
        let service = &self.services[at];
        let endpoints = self.stock.endpoints.of(&service.name, slot);
        let accepted: BTreeMap<String, BTreeSet<u32>> = endpoints
            .filter(|it| it.may_welcome())
            .map(|it| (it.endpoint().label.to_string(), it.listening.clone()))
            .collect();
        if accepted.is_empty() {
            return None;
        }
        let users = accepted.values().flatten().copied().collect();
        self.stock.endpoints.welcome(&service.name, slot);
        self.remember_users(at, slot, accepted);
        self.tell_stranger(at, slot);
        Some(in_words(&users))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(allowed: Allowed, listening: &[u32]) -> Option<String> {
        let expected = Expected::default();
        expected.set(allowed);
        let slot = SlotName::new("green").unwrap();
        let stranger = expected.stranger(&slot, &listening.iter().copied().collect());
        stranger.map(|it| it.to_string())
    }

    #[test]
    fn who_was_seen_or_configured_is_no_stranger_and_who_never_served_has_none() {
        assert_eq!(stranger(Allowed::Anybody, &[65534]), None);
        assert_eq!(stranger(Allowed::Seen([7].into()), &[7]), None);
        assert_eq!(stranger(Allowed::Configured(7), &[7]), None);
        // Nothing is known: that is no verdict.
        assert_eq!(stranger(Allowed::Seen([7].into()), &[]), None);
    }

    #[test]
    fn of_several_that_share_a_port_the_stranger_counts_and_the_words_say_what_to_do() {
        let words = stranger(Allowed::Seen([4_000_007].into()), &[4_000_007, 4_000_008]);
        assert_eq!(
            words.unwrap(),
            "uid 4000008 listens there, not uid 4000007, as when it last served; find out who that is; if it is \
             right, `switchctl ack green`"
        );
        let words = stranger(Allowed::Configured(4_000_007), &[4_000_008]);
        assert!(
            words
                .unwrap()
                .contains("change `owner` of green in the config")
        );
    }
}
