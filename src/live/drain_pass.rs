//! Requests that pass a hold because others under way may need them: a report fetches its own styles.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// Lets requests pass one hold until nothing is under way but such requests. In a View: they pass.
#[derive(Debug, Default)]
pub struct DrainPass {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// One that passes. Made after it was counted on a slot, dropped before it is counted down.
#[derive(Debug)]
pub struct Passing(Arc<DrainPass>);

impl DrainPass {
    /// One passes that has been counted on a slot.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Passing {
        // Release: who sees it begun sees it counted.
        self.begun.fetch_add(1, Ordering::Release);
        Passing(Arc::clone(self))
    }

    /// How many are under way according to `count`, but for those that pass: never fewer than there are.
    ///
    /// Those that pass are looked at from both sides of the count: whoever has begun before it and not ended
    /// after it was counted.
    pub fn others(&self, count: impl FnOnce() -> u64) -> u64 {
        let begun = self.begun.load(Ordering::Acquire);
        // Acquire, for each part of it: who sees one counted down sees that it has ended.
        let all = count();
        let ended = self.ended.load(Ordering::Acquire);
        all.saturating_sub(begun.saturating_sub(ended))
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        // Release: pairs with `others`; the count goes down after it, with release too.
        self.0.ended.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_passes_is_not_waited_for_and_everybody_else_is() {
        let pass = Arc::new(DrainPass::default());
        assert_eq!(pass.others(|| 1), 1);
        let passing = pass.begin();
        assert_eq!(pass.others(|| 2), 1);
        assert_eq!(pass.others(|| 1), 0);
        // One that ends, and one that begins, while it is counted.
        let mut passing = Some(passing);
        assert_eq!(
            pass.others(|| {
                passing.take();
                1
            }),
            1
        );
        let mut next = None;
        assert_eq!(
            pass.others(|| {
                next = Some(pass.begin());
                2
            }),
            2
        );
    }
}
