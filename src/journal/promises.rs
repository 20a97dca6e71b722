use crate::switch::Persisted;
use crate::switch::{FlipId, Generation, SlotName};

pub(super) fn state(active: &str, flip: u64) -> Persisted {
    Persisted {
        active: SlotName::new(active).unwrap(),
        previous: None,
        generation: Generation(flip + 1),
        flip: FlipId(flip),
        moved: None,
        unproven: false,
        automatic_moves: Vec::new(),
        quarantines: std::collections::BTreeMap::new(),
    }
}
