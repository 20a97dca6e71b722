//! One service as the conductor holds it: its machine, its pictures, what is under way.

use super::canary::CanaryJudge;
use super::gates::SlotGates;
use super::hold_desk::HoldDesk;
use super::modes::ModeDesk;
use super::shadow::Shadowing;
use super::shared_trouble::SharedTroubles;
use super::strangers;
use super::underway::Underway;
use super::views::Stock;
use super::watch::LastMinutes;
use super::watch::Watching;
use crate::config::Service as ServiceSettings;
use crate::filter::Filter;
use crate::live::Links;
use crate::live::Seal;
use crate::live::Service;
use crate::live::Slot;
use crate::switch::CanaryRules;
use crate::switch::Generation;
use crate::switch::Moment;
use crate::switch::Persisted;
use crate::switch::Rules;
use crate::switch::ServiceName;
use crate::switch::SlotHealth;
use crate::switch::SlotName;
use crate::switch::Switch;
use crate::tls::Upstream;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;
use tokio::task::AbortHandle;

#[derive(Debug)]
pub(super) struct Steered {
    pub(super) name: ServiceName,
    pub(super) settings: Arc<ServiceSettings>,
    pub(super) filter: Option<Arc<Filter>>,
    pub(super) switch: Switch,
    /// When the machine wants to look again.
    pub(super) wake: Option<Moment>,
    /// In the order of the settings.
    pub(super) slots: Vec<Arc<Slot>>,
    pub(super) active: usize,
    /// Where a canary is, as workers were shown it.
    pub(super) canary: Option<usize>,
    /// What traffic left last.
    pub(super) left: Option<Arc<Slot>>,
    /// Requests that the canary's slot had when that was last looked at.
    pub(super) came_to_canary: Option<u64>,
    pub(super) links: Links,
    /// How it does.
    pub(super) canary_judge: Option<CanaryJudge>,
    pub(super) seal: Arc<Seal>,
    /// Every picture that somebody may still count on.
    pictures: Vec<Weak<Slot>>,
    pub(super) underway: Vec<Underway>,
    /// The gate of the operation that is being proven.
    pub(super) gating: Option<AbortHandle>,
    pub(super) drains: Vec<Draining>,
    /// What the machine was told last.
    pub(super) health: BTreeMap<SlotName, Told>,
    pub(super) shared: Option<SharedCheck>,
    pub(super) shared_troubles: SharedTroubles,
    /// Slots on whose ports somebody else listens.
    pub(super) strangers: BTreeMap<SlotName, strangers::Told>,
    pub(super) watching: Watching,
    pub(super) last_minutes: LastMinutes,
    pub(super) holds: HoldDesk,
    /// Copies that were asked for last.
    pub(super) shadow: Option<Shadowing>,
    pub(super) modes: ModeDesk,
    pub(super) flips: BTreeMap<FlipKind, u64>,
    pub(super) gates: SlotGates,
}

/// A health and since when it has been that, whatever the words.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) health: SlotHealth,
    pub(super) since: Option<Moment>,
}

impl Told {
    /// True when anything about it is new.
    pub(super) fn update(&mut self, health: SlotHealth, now: Moment) -> bool {
        if std::mem::discriminant(&health) != std::mem::discriminant(&self.health) {
            self.since = Some(now);
        }
        let is_new = health != self.health;
        self.health = health;
        is_new
    }

    pub(super) fn reason(&self) -> Option<&str> {
        self.health.trouble()
    }
}

/// A generation that was left.
#[derive(Debug)]
pub(super) struct Draining {
    pub(super) slot: SlotName,
    pub(super) generation: Generation,
    pub(super) since: Moment,
    pub(super) until: Moment,
    pub(super) pictures: Vec<Arc<Slot>>,
}

/// The task that looks at what all slots share.
#[derive(Debug)]
pub(super) struct SharedCheck {
    pub(super) task: Option<AbortHandle>,
    pub(super) told: Told,
}

impl Drop for SharedCheck {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl SharedCheck {
    fn for_service(settings: &ServiceSettings) -> Option<Self> {
        settings.shared.as_ref().map(|_| Self {
            task: None,
            told: Told::default(),
        })
    }
}

/// How the metrics tell flips apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FlipKind {
    pub(super) direction: &'static str,
    pub(super) result: &'static str,
}

pub(super) fn rules(settings: &ServiceSettings) -> Rules {
    Rules {
        slots: settings
            .slots
            .iter()
            .map(|slot| slot.name.clone())
            .collect(),
        initial: settings.initial.clone(),
        failback: settings.failback.clone(),
        canary: CanaryRules {
            is_judged: settings.watch.rules.enabled,
            ..settings.canary.rules.clone()
        },
        round: round(settings),
        evidence: evidence(settings),
    }
}

/// In so long every endpoint has been probed once.
fn round(settings: &ServiceSettings) -> Duration {
    let members = settings.slots.iter().flat_map(|slot| &slot.members);
    let longest = members.map(|member| member.health.interval).max();
    longest.unwrap_or_default()
}

/// How far back the watch counts.
fn evidence(settings: &ServiceSettings) -> Duration {
    let rules = &settings.watch.rules;
    rules.critical.window.max(rules.at_once_window)
}

impl Steered {
    pub(super) fn new(
        settings: ServiceSettings,
        state: Option<Persisted>,
        stock: &mut Stock,
        now: Moment,
    ) -> Self {
        let switch = Switch::new(rules(&settings), state, now);
        let mut steered = Self {
            name: settings.name.clone(),
            shared: SharedCheck::for_service(&settings),
            filter: stock.filter(&settings, None),
            holds: HoldDesk::new(&settings.hold),
            modes: ModeDesk::new(&settings),
            settings: Arc::new(settings),
            switch,
            wake: None,
            slots: Vec::new(),
            active: 0,
            canary: None,
            left: None,
            came_to_canary: None,
            links: Links::default(),
            canary_judge: None,
            seal: Arc::clone(&stock.seal),
            pictures: Vec::new(),
            underway: Vec::new(),
            gating: None,
            drains: Vec::new(),
            health: BTreeMap::new(),
            shared_troubles: SharedTroubles::default(),
            strangers: BTreeMap::new(),
            watching: Watching::default(),
            last_minutes: LastMinutes::default(),
            shadow: None,
            flips: BTreeMap::new(),
            gates: SlotGates::default(),
        };
        steered.draw_all(stock);
        steered
    }

    fn draw_all(&mut self, stock: &mut Stock) {
        let settings = Arc::clone(&self.settings);
        for (index, slot) in settings.slots.iter().enumerate() {
            let is_active = slot.name == *self.switch.active();
            let canary = self.switch.canary().filter(|it| it.slot == slot.name);
            let generation = match canary {
                _ if is_active => self.switch.generation(),
                Some(canary) => canary.generation,
                None => Generation(0),
            };
            if canary.is_some() {
                self.canary = Some(index);
            }
            if is_active {
                self.active = index;
            }
            let picture = stock.slot(&settings, slot, generation);
            self.remember(&picture);
            self.slots.push(picture);
        }
    }

    fn remember(&mut self, picture: &Arc<Slot>) {
        self.pictures.retain(|picture| picture.strong_count() > 0);
        self.pictures.push(Arc::downgrade(picture));
    }

    pub(super) fn active_slot(&self) -> &Arc<Slot> {
        &self.slots[self.active]
    }

    pub(super) fn index_of(&self, slot: &SlotName) -> Option<usize> {
        self.slots.iter().position(|it| it.name == *slot)
    }

    /// Makes `slot` the active one, as a generation of its own, or as that of the canary that was there. All that
    /// was left by that.
    pub(super) fn activate(
        &mut self,
        slot: &SlotName,
        generation: Generation,
        stock: &mut Stock,
    ) -> Vec<Arc<Slot>> {
        let Some(index) = self.index_of(slot) else {
            return Vec::new();
        };
        // Who is on a canary that traffic follows to stays where it is.
        if self.slots[index].generation != generation {
            self.redraw(index, generation, stock);
        }
        // What was left only empties: who comes there on purpose is counted elsewhere.
        let ended = self.canary.take().filter(|canary| *canary != index);
        let all = ended.into_iter().chain([self.active]);
        let left: Vec<_> = all
            .map(|index| self.redraw(index, Generation(0), stock))
            .collect();
        self.left = left.last().cloned();
        self.active = index;
        left
    }

    /// Puts a picture with counts of its own in the place of another, which is given back.
    pub(super) fn redraw(
        &mut self,
        index: usize,
        generation: Generation,
        stock: &mut Stock,
    ) -> Arc<Slot> {
        let settings = Arc::clone(&self.settings);
        let picture = stock.slot(&settings, &settings.slots[index], generation);
        self.remember(&picture);
        std::mem::replace(&mut self.slots[index], picture)
    }

    /// Takes new settings; slots whose picture stays the same keep it, with its counts.
    /// The settings hold the active slot.
    pub(super) fn configure(&mut self, settings: ServiceSettings, stock: &mut Stock) {
        let old_settings = std::mem::replace(&mut self.settings, Arc::new(settings));
        let settings = Arc::clone(&self.settings);
        self.filter = stock.filter(&settings, self.filter.as_deref());
        self.holds.configure(&settings.hold);
        self.configure_shadow();
        if old_settings.shared != settings.shared {
            self.shared = SharedCheck::for_service(&settings);
        }
        let old = std::mem::take(&mut self.slots);
        for slot in &settings.slots {
            let known = old_settings
                .slots
                .iter()
                .position(|it| it.name == slot.name);
            let kept = known.filter(|index| {
                let was = (&*old_settings, &old_settings.slots[*index]);
                super::views::same_picture(was, (&*settings, slot))
            });
            let generation = known.map_or(Generation(0), |index| old[index].generation);
            let picture = match kept {
                Some(index) => Arc::clone(&old[index]),
                None => stock.slot(&settings, slot, generation),
            };
            if kept.is_none() {
                self.remember(&picture);
            }
            if slot.name == *self.switch.active() {
                self.active = self.slots.len();
            }
            self.slots.push(picture);
        }
        let canary = self.switch.canary().map(|canary| &canary.slot);
        self.canary = canary.and_then(|slot| self.index_of(slot));
        self.strangers
            .retain(|name, _| settings.slots.iter().any(|slot| slot.name == *name));
        self.health
            .retain(|name, _| settings.slots.iter().any(|slot| slot.name == *name));
    }

    /// Every picture of any slot that somebody may still count on.
    pub(super) fn all_pictures(&self) -> Vec<Arc<Slot>> {
        self.pictures.iter().filter_map(Weak::upgrade).collect()
    }

    /// Every picture of a slot that somebody may still count on.
    pub(super) fn pictures_of(&self, slot: &SlotName) -> Vec<Arc<Slot>> {
        let mut all = self.all_pictures();
        all.retain(|picture| picture.name == *slot);
        all
    }

    pub(super) fn pictures_of_generation(
        &self,
        slot: &SlotName,
        generation: Generation,
    ) -> Vec<Arc<Slot>> {
        let all = self.pictures_of(slot).into_iter();
        all.filter(|picture| picture.generation == generation)
            .collect()
    }

    /// As workers see it.
    pub(super) fn picture(&self, tls: Option<Arc<Upstream>>) -> Service {
        Service {
            tls,
            settings: Arc::clone(&self.settings),
            filter: self.filter.clone(),
            active: self.active,
            slots: self.slots.clone(),
            left: self.left.clone(),
            choices: self.choices(),
            hold: self.holds.current.as_ref().map(|it| Arc::clone(&it.hold)),
            drain_pass: self.holds.drain_pass(),
            shadow: self.shadow.as_ref().and_then(Shadowing::picture),
            outage: self.holds.outage.picture(&self.settings.hold),
            modes: self.modes.picture(),
        }
    }

    pub(super) fn count(&mut self, direction: &'static str, result: &'static str) {
        *self
            .flips
            .entry(FlipKind { direction, result })
            .or_default() += 1;
    }
}
