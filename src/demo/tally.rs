//! Counts what the clients saw, by flip. Pure: time and the upstreams' counts are arguments.

use super::Colour;
use super::load::Seen;
use super::upstreams::Reached;
use crate::api::EventKind;
use std::time::Duration;
use std::time::Instant;

/// How long the new slot is watched before a flip's line is told.
const AFTERWARDS: Duration = Duration::from_millis(200);
/// A websocket may hear of its end a moment after the slot is reported empty.
const CLOSING: Duration = Duration::from_secs(5);
const REASONS_KEPT: usize = 5;

/// One flip, as the clients saw it.
#[derive(Debug, Clone)]
pub(super) struct Move {
    pub(super) number: u64,
    pub(super) from: Colour,
    pub(super) to: Colour,
    /// Since the flip before this one.
    pub(super) before: u64,
    /// From the switch until the old slot was empty, whoever answered.
    pub(super) during: u64,
    pub(super) after: u64,
    pub(super) failed: u64,
    pub(super) websockets: u64,
    /// None when the next flip came first.
    pub(super) drained_ms: Option<u64>,
    drained_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) moves: u64,
    pub(super) sent: u64,
    pub(super) answered: u64,
    /// Requests and websockets.
    pub(super) failed: u64,
    failed_requests: u64,
    pub(super) websockets_open: u64,
    pub(super) websockets_moved: u64,
    /// Reached a slot after it had been reported empty.
    pub(super) late: u64,
}

/// What the clients sent against what the upstreams got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Books {
    /// Sent, and neither answered nor failed.
    pub(super) lost: u64,
    /// Reached a slot more often than they were sent.
    pub(super) doubled: u64,
}

impl Books {
    pub(super) fn is_balanced(self) -> bool {
        self.lost == 0 && self.doubled == 0
    }
}

/// A slot that was reported empty, and what it had got by then.
#[derive(Debug, Clone, Copy)]
struct Empty {
    slot: Colour,
    reached: u64,
}

#[derive(Debug)]
pub(super) struct Tally {
    pub(super) active: Colour,
    pub(super) totals: Totals,
    /// The first few.
    pub(super) reasons: Vec<String>,
    answered_before: u64,
    failed_before: u64,
    current: Option<Move>,
    empty: Option<Empty>,
    left: [Option<Instant>; 2],
}

impl Tally {
    pub(super) fn new(active: Colour) -> Self {
        Self {
            active,
            totals: Totals::default(),
            reasons: Vec::new(),
            answered_before: 0,
            failed_before: 0,
            current: None,
            empty: None,
            left: [None; 2],
        }
    }

    pub(super) fn is_moving(&self) -> bool {
        self.current.is_some()
    }

    pub(super) fn see(&mut self, now: Instant, seen: Seen) {
        match seen {
            Seen::Sent => self.totals.sent += 1,
            Seen::Answered => {
                self.totals.answered += 1;
                match &mut self.current {
                    Some(flip) if flip.drained_at.is_some() => flip.after += 1,
                    Some(flip) => flip.during += 1,
                    None => self.answered_before += 1,
                }
            }
            Seen::Failed(why) => {
                self.totals.failed_requests += 1;
                self.fail(why);
            }
            Seen::WebsocketRefused(why) => self.fail(why),
            Seen::WebsocketBroken(why) => {
                self.totals.websockets_open -= 1;
                self.fail(why);
            }
            Seen::WebsocketOpened => self.totals.websockets_open += 1,
            Seen::WebsocketClosed(slot) => {
                self.totals.websockets_open -= 1;
                let left = self.left[slot as usize];
                if left.is_some_and(|left| now.duration_since(left) < CLOSING) {
                    self.totals.websockets_moved += 1;
                    if let Some(flip) = &mut self.current {
                        flip.websockets += 1;
                    }
                } else {
                    self.fail(format!(
                        "a websocket on {slot} was closed, and no flip left {slot}"
                    ));
                }
            }
        }
    }

    fn fail(&mut self, why: String) {
        self.totals.failed += 1;
        match &mut self.current {
            Some(flip) => flip.failed += 1,
            None => self.failed_before += 1,
        }
        if self.reasons.len() < REASONS_KEPT {
            self.reasons.push(why);
        }
    }

    /// Takes an event of the admin API; gives the flip that it ends early, if it does.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        event: &EventKind,
        reached: Reached,
    ) -> Option<Move> {
        match event {
            // A flip back that somebody else has ordered. This is heard late on a busy machine: the slot may have
            // got requests again in the meantime, by rights.
            EventKind::Started { to, .. } => {
                self.empty.take_if(|empty| empty.slot.as_str() == to);
                None
            }
            EventKind::Published { from, to, .. } => {
                let (from, to) = (Colour::named(from)?, Colour::named(to)?);
                let ended = self.current.take();
                self.empty = None;
                self.active = to;
                self.left[from as usize] = Some(now);
                self.totals.moves += 1;
                self.current = Some(Move {
                    number: self.totals.moves,
                    from,
                    to,
                    before: std::mem::take(&mut self.answered_before),
                    during: 0,
                    after: 0,
                    failed: std::mem::take(&mut self.failed_before),
                    websockets: 0,
                    drained_ms: None,
                    drained_at: None,
                });
                ended
            }
            EventKind::Drained { slot, took_ms, .. } => {
                let flip = self.current.as_mut()?;
                if flip.from.as_str() == slot && flip.drained_at.is_none() {
                    flip.drained_ms = Some(*took_ms);
                    flip.drained_at = Some(now);
                    self.empty = Some(Empty {
                        slot: flip.from,
                        reached: reached[flip.from as usize],
                    });
                }
                None
            }
            _ => None,
        }
    }

    /// The flip whose line is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<Move> {
        let drained = self.current.as_ref()?.drained_at?;
        if now.duration_since(drained) < AFTERWARDS {
            return None;
        }
        self.current.take()
    }

    /// To be asked when no request is under way.
    pub(super) fn books(&self, reached: Reached) -> Books {
        let totals = self.totals;
        Books {
            lost: totals
                .sent
                .saturating_sub(totals.answered + totals.failed_requests),
            doubled: reached.iter().sum::<u64>().saturating_sub(totals.sent),
        }
    }

    pub(super) fn is_well(&self) -> bool {
        self.totals.failed == 0 && self.totals.late == 0
    }

    /// Counts what reached the empty slot. To be asked before a flip back to it is ordered.
    pub(super) fn check_empty(&mut self, reached: Reached) {
        if let Some(empty) = self.empty.take() {
            self.totals.late += reached[empty.slot as usize].saturating_sub(empty.reached);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(to: Colour) -> EventKind {
        EventKind::Started {
            direction: "flip".to_owned(),
            from: to.other().to_string(),
            to: to.to_string(),
            by: "uid 1".to_owned(),
            reason: None,
            quarantine: None,
        }
    }

    fn published(to: Colour) -> EventKind {
        EventKind::Published {
            from: to.other().to_string(),
            to: to.to_string(),
            generation: 2,
            took_ms: 1,
        }
    }

    fn drained(slot: Colour) -> EventKind {
        EventKind::Drained {
            slot: slot.to_string(),
            generation: 1,
            cut: 0,
            took_ms: 70,
        }
    }

    const NONE: Reached = [0, 0];

    #[test]
    fn answers_count_before_during_and_after_a_flip() {
        let now = Instant::now();
        let mut tally = Tally::new(Colour::Blue);
        tally.see(now, Seen::Answered);
        tally.hear(now, &published(Colour::Green), NONE);
        assert_eq!(tally.active, Colour::Green);
        tally.see(now, Seen::Answered);
        tally.see(now, Seen::Answered);
        assert!(
            tally.due(now + AFTERWARDS).is_none(),
            "blue is not empty yet"
        );
        tally.hear(now, &drained(Colour::Blue), NONE);
        tally.see(now, Seen::Answered);
        assert!(tally.due(now).is_none(), "green is watched for a while");
        let flip = tally.due(now + AFTERWARDS).unwrap();
        assert_eq!((flip.before, flip.during, flip.after), (1, 2, 1));
        assert_eq!((flip.failed, flip.drained_ms), (0, Some(70)));
        assert!(!tally.is_moving());
    }

    #[test]
    fn a_flip_during_a_drain_tells_the_first_one_at_once() {
        let now = Instant::now();
        let mut tally = Tally::new(Colour::Blue);
        tally.hear(now, &published(Colour::Green), NONE);
        let first = tally.hear(now, &published(Colour::Blue), NONE).unwrap();
        assert_eq!((first.to, first.drained_ms), (Colour::Green, None));
        assert_eq!(tally.totals.moves, 2);
    }

    #[test]
    fn a_request_at_an_empty_slot_is_late() {
        let now = Instant::now();
        let mut tally = Tally::new(Colour::Blue);
        let at_blue = |blue| [blue, 50];
        tally.hear(now, &published(Colour::Green), at_blue(10));
        tally.hear(now, &drained(Colour::Blue), at_blue(12));
        tally.check_empty(at_blue(13));
        assert_eq!(tally.totals.late, 1);
    }

    #[test]
    fn what_comes_once_a_flip_back_has_begun_is_not_late() {
        let now = Instant::now();
        let mut tally = Tally::new(Colour::Blue);
        tally.hear(now, &published(Colour::Green), [10, 0]);
        tally.hear(now, &drained(Colour::Blue), [12, 50]);
        tally.hear(now, &started(Colour::Blue), [13, 60]);
        tally.check_empty([14, 60]);
        assert_eq!(tally.totals.late, 0);
    }

    #[test]
    fn the_books_show_a_lost_and_a_doubled_request() {
        let now = Instant::now();
        let mut tally = Tally::new(Colour::Blue);
        for _ in 0..3 {
            tally.see(now, Seen::Sent);
        }
        tally.see(now, Seen::Answered);
        tally.see(now, Seen::Failed("cut".to_owned()));
        let books = tally.books([3, 1]);
        assert_eq!((books.lost, books.doubled), (1, 1));
        assert!(!tally.is_well() && !books.is_balanced());
    }

    #[test]
    fn a_websocket_that_closes_without_a_flip_is_a_failure() {
        let now = Instant::now();
        let mut tally = Tally::new(Colour::Blue);
        for _ in 0..2 {
            tally.see(now, Seen::WebsocketOpened);
        }
        tally.hear(now, &published(Colour::Green), NONE);
        tally.see(now, Seen::WebsocketClosed(Colour::Blue));
        assert_eq!((tally.totals.failed, tally.totals.websockets_moved), (0, 1));
        tally.see(now, Seen::WebsocketClosed(Colour::Green));
        assert_eq!((tally.totals.failed, tally.totals.websockets_moved), (1, 1));
        assert_eq!(tally.reasons.len(), 1);
    }
}
