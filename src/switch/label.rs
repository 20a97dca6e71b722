//! What runs in a slot, in the operator's words: shown everywhere, and decides nothing.

use super::event::{Actor, Effect, Notice};
use super::machine::Switch;
use super::refusal::Refusal;
use super::slot::SlotName;
use std::fmt;
use std::sync::Arc;

/// Why a text cannot be a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a version is 1 to 128 letters, digits and any of . _ - + : @ ~, and starts with a letter or digit; got {0:?}"
)]
pub struct LabelError(pub String);

/// A version such as `v2.1.0`: good for a log line, a metric, and the name of a folder.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Label(Arc<str>);

impl Label {
    /// # Errors
    /// [`LabelError`] holds the text that was refused.
    pub fn new(text: &str) -> Result<Self, LabelError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-+:@~".contains(&b);
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && text.len() <= 128 && text.bytes().all(plain) {
            return Ok(Self(text.into()));
        }
        Err(LabelError(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Label {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

impl Switch {
    /// What `slot` was said to run.
    #[must_use]
    pub fn label(&self, slot: &SlotName) -> Option<&Label> {
        self.state.labels.get(slot)
    }

    /// Labels a slot, or takes its label away.
    pub(super) fn put_label(
        &mut self,
        by: Actor,
        slot: SlotName,
        label: Option<Label>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        self.known(&slot)?;
        if self.label(&slot) == label.as_ref() {
            return Ok(());
        }
        match label.clone() {
            Some(label) => self.state.labels.insert(slot.clone(), label),
            None => self.state.labels.remove(&slot),
        };
        effects.push(Effect::Tell(Notice::Labelled { slot, label, by }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CanaryRules, Command, Event, FailbackMode, FailbackRules, Moment, Rules};
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_label_is_good_for_a_folder_and_for_a_metric() {
        for good in ["v2.1.0", "18.0-20260801", "1", "sha256:ab", "a+b~1@x_y"] {
            assert_eq!(Label::new(good).unwrap().as_str(), good);
        }
        let long = "x".repeat(129);
        for bad in [
            "", ".", "..", "../x", "a/b", "a b", "a\"b", "-x", "ü", "a\n", &long,
        ] {
            assert!(Label::new(bad).is_err(), "{bad:?}");
        }
    }

    fn slot(name: &str) -> SlotName {
        SlotName::new(name).unwrap()
    }

    fn rules(slots: &[&str]) -> Rules {
        Rules {
            slots: slots.iter().map(|name| slot(name)).collect(),
            initial: slot(slots[0]),
            canary: CanaryRules::default(),
            round: Duration::from_secs(2),
            evidence: Duration::ZERO,
            failback: FailbackRules {
                mode: FailbackMode::Off,
                watch: Duration::ZERO,
                quarantine: Duration::ZERO,
                acknowledge: false,
                start_grace: Duration::ZERO,
                shared_grace: Duration::ZERO,
                max_moves: 0,
                window: Duration::ZERO,
            },
        }
    }

    fn labelled(switch: &mut Switch, name: &str, label: Option<&str>) -> Vec<Effect> {
        let command = Command::Label {
            slot: slot(name),
            label: label.map(|label| Label::new(label).unwrap()),
        };
        let by = Actor("alice".to_owned());
        let event = Event::Command { by, command };
        switch.apply(Moment(2), event).unwrap()
    }

    fn is_recorded(effects: &[Effect]) -> bool {
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Record(_)))
    }

    #[test]
    fn a_label_is_written_down_and_lasts_as_long_as_its_slot() {
        let mut switch = Switch::new(rules(&["blue", "green"]), None, Moment(1));
        assert!(is_recorded(&labelled(&mut switch, "green", Some("v2"))));
        assert!(!is_recorded(&labelled(&mut switch, "green", Some("v2"))));
        let restarted = Switch::new(
            rules(&["blue", "green"]),
            Some(switch.persisted()),
            Moment(3),
        );
        let label = |switch: &Switch| switch.label(&slot("green")).map(ToString::to_string);
        assert_eq!(label(&restarted).as_deref(), Some("v2"));
        let without = Switch::new(rules(&["blue", "red"]), Some(switch.persisted()), Moment(3));
        assert_eq!(label(&without), None);
        labelled(&mut switch, "green", None);
        assert_eq!(label(&switch), None);
    }
}
