//! How often what happened.

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) flips: u64,
    pub(crate) rollbacks: u64,
    pub(crate) failbacks: u64,
    pub(crate) forced: u64,
    pub(crate) gates_failed: u64,
    pub(crate) records_failed: u64,
    pub(crate) busy: u64,
    pub(crate) crashes_steady: u64,
    pub(crate) crashes_gating: u64,
    pub(crate) crashes_publishing: u64,
    pub(crate) crashes_settling: u64,
    /// Comebacks on the slot that was written and not yet published.
    pub(crate) came_back_elsewhere: u64,
    pub(crate) drained_side_by_side: u64,
    pub(crate) stayed: u64,
    pub(crate) quarantines_ended: u64,
    pub(crate) canaries: u64,
    pub(crate) promoted: u64,
    pub(crate) confirmed: u64,
    pub(crate) unconfirmed: u64,
    pub(crate) breaches: u64,
    pub(crate) left_behind: u64,
    pub(crate) shared_causes: u64,
    pub(crate) graces: u64,
    pub(crate) doubts: u64,
    pub(crate) unasked: u64,
    /// Away from a slot that nobody could reach, to one in quarantine or over the limit.
    pub(crate) rescues: u64,
    /// Away from a slot that may not have been to blame.
    pub(crate) spared: u64,
}

impl Tally {
    fn all(&mut self) -> [(&'static str, &mut u64); 27] {
        [
            ("flips", &mut self.flips),
            ("rollbacks", &mut self.rollbacks),
            ("failbacks", &mut self.failbacks),
            ("forced moves", &mut self.forced),
            ("failed gates", &mut self.gates_failed),
            ("failed records", &mut self.records_failed),
            ("refusals as busy", &mut self.busy),
            ("crashes while steady", &mut self.crashes_steady),
            ("crashes while gating", &mut self.crashes_gating),
            ("crashes while publishing", &mut self.crashes_publishing),
            ("crashes while settling", &mut self.crashes_settling),
            ("comebacks elsewhere", &mut self.came_back_elsewhere),
            ("drains side by side", &mut self.drained_side_by_side),
            ("stays on a bad slot", &mut self.stayed),
            ("ends of a quarantine", &mut self.quarantines_ended),
            ("shares of a canary", &mut self.canaries),
            ("moves to a canary", &mut self.promoted),
            ("moves confirmed", &mut self.confirmed),
            ("moves back unconfirmed", &mut self.unconfirmed),
            ("moves back by the watch", &mut self.breaches),
            ("stays because of the database", &mut self.left_behind),
            ("shared causes", &mut self.shared_causes),
            ("graces after one", &mut self.graces),
            ("doubts of the watch", &mut self.doubts),
            ("questions we could not ask", &mut self.unasked),
            ("moves that beat a rule", &mut self.rescues),
            ("moves that blame nobody", &mut self.spared),
        ]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let mut other = Self { ..*other };
        for ((_, sum), (_, more)) in self.all().into_iter().zip(other.all()) {
            *sum += *more;
        }
    }

    pub(crate) fn check_that_everything_happened(mut self) {
        for (what, times) in self.all() {
            println!("{times:>8} {what}");
            assert!(*times > 0, "no {what} in any story");
        }
    }
}
