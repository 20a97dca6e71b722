//! From what is on disk and what the operator configured to what is in force: at the start, and at a reload.

use super::afresh::Afresh;
use super::canary_course::Watch;
use super::canary_event::PersistedCanary;
use super::disk::Disk;
use super::event::Persisted;
use super::health::SlotHealth;
use super::machine::{Seen, Switch};
use super::moment::Moment;
use super::refusal::Refusal;
use super::rules::Rules;
use super::slot::{FlipId, Generation, SlotName};
use super::watch::Watched;
use std::collections::BTreeMap;

impl Switch {
    /// Starts from `state`, as far as the slots in it are still configured; without it, from `initial`.
    ///
    /// Every slot's health is unknown at first. When traffic cannot be where it was, [`warning`](Self::warning) says so.
    #[must_use]
    pub fn new(rules: Rules, state: Option<Persisted>, now: Moment) -> Self {
        let disk = Disk::holding(state.clone());
        let (state, warning) = match state {
            Some(state) => resume(&rules, state, now),
            None => (first(&rules), None),
        };
        let mut switch = Self {
            health: BTreeMap::new(),
            rules,
            state,
            disk,
            current: None,
            settling: None,
            unsettled: false,
            drains: Vec::new(),
            shared: SlotHealth::Unknown,
            proven: None,
            starting: Some(now),
            began: now,
            canary_watch: Watch::default(),
            watched: Watched::default(),
            afresh: Afresh::default(),
            staying: None,
            shared_cause: None,
            warning,
            wake: None,
            now,
        };
        switch.forget_gone_slots();
        switch
    }

    /// May these rules replace the ones in force?
    ///
    /// # Errors
    /// [`Refusal::SlotInUse`] when they take away a slot that has traffic, or is about to get it.
    pub fn can_apply(&self, rules: &Rules) -> Result<(), Refusal> {
        let refuse = |slot: &SlotName, use_of_it| {
            Err(Refusal::SlotInUse {
                slot: slot.clone(),
                use_of_it,
            })
        };
        if !rules.slots.contains(&self.state.active) {
            return refuse(&self.state.active, "traffic is on it");
        }
        if let Some(canary) = &self.state.canary
            && !rules.slots.contains(&canary.slot)
        {
            return refuse(
                &canary.slot,
                "a canary is on it (`switchctl canary abort` ends it)",
            );
        }
        match &self.current {
            Some(current) if !rules.slots.contains(&current.operation.to) => {
                refuse(&current.operation.to, "traffic is about to move to it")
            }
            _ => Ok(()),
        }
    }

    /// Takes new rules. Another `initial` moves nothing.
    pub(super) fn configure(&mut self, rules: Rules) -> Result<(), Refusal> {
        self.can_apply(&rules)?;
        self.rules = rules;
        self.afresh.ask_at_once();
        self.forget_gone_slots();
        Ok(())
    }

    /// A slot that is configured again later starts with a clean slate.
    fn forget_gone_slots(&mut self) {
        let slots = &self.rules.slots;
        self.health.retain(|slot, _| slots.contains(slot));
        for slot in slots {
            self.health.entry(slot.clone()).or_insert_with(|| Seen {
                health: SlotHealth::Unknown,
                since: self.now,
            });
        }
        let state = &mut self.state;
        state.quarantines.retain(|slot, _| slots.contains(slot));
        state.fingerprints.retain(|slot, _| slots.contains(slot));
        state.users.retain(|slot, _| slots.contains(slot));
        state.labels.retain(|slot, _| slots.contains(slot));
        state.previous.take_if(|slot| !slots.contains(slot));
        if state.previous.is_none() {
            // There is nowhere to go back to.
            state.confirm = None;
        }
    }
}

fn first(rules: &Rules) -> Persisted {
    Persisted {
        active: rules.initial.clone(),
        previous: None,
        generation: Generation(1),
        flip: FlipId(0),
        moved: None,
        unproven: false,
        automatic_moves: Vec::new(),
        quarantines: BTreeMap::new(),
        canary: None,
        newest: Generation(1),
        fingerprints: BTreeMap::new(),
        accept_schema_change: false,
        confirm: None,
        labels: BTreeMap::new(),
        users: BTreeMap::new(),
    }
}

fn resume(rules: &Rules, mut state: Persisted, now: Moment) -> (Persisted, Option<String>) {
    // A clock that was set back would otherwise keep limits and watches running for ever.
    state.moved = state.moved.map(|at| at.min(now));
    for at in &mut state.automatic_moves {
        *at = (*at).min(now);
    }
    for quarantine in state.quarantines.values_mut() {
        quarantine.since = quarantine.since.min(now);
    }
    if let Some(confirm) = &mut state.confirm {
        confirm.until = confirm.until.min(now.after(confirm.within));
    }
    let mut warning = None;
    if !rules.slots.contains(&state.active) {
        warning = Some(format!(
            "slot {}, where traffic was, is no longer configured; traffic starts on {}, which is `initial`",
            state.active, rules.initial
        ));
        state.active = rules.initial.clone();
        let initial = state.active.clone();
        state.generation = Switch::canary_gives_way(&mut state, &initial);
        state.moved = Some(now);
        state.unproven = false;
        state.confirm = None;
    }
    state.quarantines.remove(&state.active);
    state.previous.take_if(|slot| *slot == state.active);
    state.newest = state.newest_generation();
    let known = |canary: &PersistedCanary| rules.slots.contains(&canary.slot);
    state.canary = state.canary.filter(known);
    if let Some(canary) = &mut state.canary {
        canary.since = canary.since.min(now);
        canary.changed = canary.changed.min(now);
    }
    (state, warning)
}
