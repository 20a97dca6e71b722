//! Can a flip miss a request? `src/live/admission.rs` itself, in every interleaving that loom finds.
//!
//! The models that must fail show that the ones that must hold could.

#![allow(clippy::unwrap_used)]

use admission::{EpochClock, InFlight, Kind};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

#[path = "../src/live/admission.rs"]
#[allow(dead_code, unreachable_pub, reason = "the test uses a part of it")]
mod admission;

/// What `admission.rs` counts with: loom's atomics, and a fence that a model can take away.
mod sync {
    use std::cell::Cell;

    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};

    thread_local! {
        // loom runs all threads of a model on the thread of its test.
        pub(super) static FENCES: Cell<bool> = const { Cell::new(true) };
    }

    pub(super) fn fence(ordering: Ordering) {
        if FENCES.get() {
            loom::sync::atomic::fence(ordering);
        }
    }
}

const WORKERS: usize = 2;

/// As much of `live::Live` as admission needs: the View is its own epoch, which names the generations that
/// requests may be counted on (see [`offered`]).
struct Live {
    view: AtomicU64,
    clock: EpochClock,
    in_flight: [InFlight; 2],
    torn_down: AtomicBool,
}

/// Which generation a View offers to one who would like to go to `wish`. The first View has both: 0 is the
/// canary, or the active slot. The second has 1 alone.
fn offered(view: u64, wish: usize) -> usize {
    if view == 0 { wish } else { 1 }
}

/// Does a worker look again after counting itself?
#[derive(Clone, Copy, PartialEq)]
enum Recheck {
    Yes,
    Never,
}

impl Live {
    fn new() -> Self {
        Self {
            view: AtomicU64::new(0),
            clock: EpochClock::new(0),
            in_flight: [InFlight::new(WORKERS), InFlight::new(WORKERS)],
            torn_down: AtomicBool::new(false),
        }
    }

    /// As `LiveReader::view` and `LiveReader::admit`: the generation that the caller is counted on.
    fn admit(&self, (worker, wish): (usize, usize), recheck: Recheck) -> usize {
        let mut seen = 0;
        loop {
            if seen != self.clock.now() {
                seen = self.view.load(Ordering::Acquire);
            }
            let generation = offered(seen, wish);
            self.in_flight[generation].enter(worker, Kind::Request);
            if recheck == Recheck::Never || self.clock.still(seen) {
                return generation;
            }
            self.in_flight[generation].leave(worker, Kind::Request);
            thread::yield_now();
        }
    }

    fn serve(&self, (worker, wish): (usize, usize), recheck: Recheck) {
        let generation = self.admit((worker, wish), recheck);
        if generation == 0 {
            let torn_down = self.torn_down.load(Ordering::SeqCst);
            assert!(!torn_down, "sent to a slot that was torn down");
        }
        self.in_flight[generation].leave(worker, Kind::Request);
    }

    /// As `Live::publish`, then a drain that looks once.
    fn flip(&self) {
        self.view.store(1, Ordering::Release);
        self.clock.advance(1);
        if self.in_flight[0].is_empty() {
            self.torn_down.store(true, Ordering::SeqCst);
        }
    }
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(model);
}

/// Each worker has one request, which would like to go to the generation of its `wishes`.
fn a_flip_beside_two_workers(wishes: [usize; WORKERS], recheck: Recheck) {
    check(move || {
        let live = Arc::new(Live::new());
        let workers: Vec<_> = wishes
            .into_iter()
            .enumerate()
            .map(|request| {
                let live = live.clone();
                thread::spawn(move || live.serve(request, recheck))
            })
            .collect();
        live.flip();
        for worker in workers {
            worker.join().unwrap();
        }
        assert!(live.in_flight.iter().all(InFlight::is_empty));
    });
}

#[test]
fn no_request_reaches_a_slot_that_was_found_empty_after_a_flip() {
    a_flip_beside_two_workers([0, 0], Recheck::Yes);
}

/// The canary comes to its end beside one request of its own and one of the active slot's.
#[test]
fn no_request_reaches_a_canary_that_was_found_empty_after_its_end() {
    a_flip_beside_two_workers([0, 1], Recheck::Yes);
}

#[test]
#[should_panic(expected = "sent to a slot that was torn down")]
fn without_the_second_look_the_end_of_a_canary_misses_a_request() {
    a_flip_beside_two_workers([0, 1], Recheck::Never);
}

#[test]
#[should_panic(expected = "sent to a slot that was torn down")]
fn without_the_second_look_a_flip_misses_a_request() {
    a_flip_beside_two_workers([0, 0], Recheck::Never);
}

#[test]
#[should_panic(expected = "sent to a slot that was torn down")]
fn without_the_fences_a_flip_misses_a_request() {
    sync::FENCES.set(false);
    a_flip_beside_two_workers([0, 0], Recheck::Yes);
}

/// One request under way that changes its kind twice, and somebody who counts meanwhile.
fn a_count_beside_a_change(change: fn(&InFlight, Kind, Kind)) {
    check(move || {
        let in_flight = Arc::new(InFlight::new(1));
        in_flight.enter(0, Kind::Request);
        let counter = in_flight.clone();
        let counting = thread::spawn(move || {
            for _ in 0..2 {
                assert!(!counter.is_empty(), "seen as gone");
                assert_eq!(counter.counts().total(), 1, "seen as gone, or twice");
            }
        });
        change(&in_flight, Kind::Request, Kind::Transfer);
        change(&in_flight, Kind::Transfer, Kind::Websocket);
        counting.join().unwrap();
        assert_eq!(in_flight.counts().of(Kind::Websocket), 1);
        in_flight.leave(0, Kind::Websocket);
        assert!(in_flight.is_empty());
    });
}

#[test]
fn a_request_that_changes_its_kind_is_never_seen_as_gone_or_twice() {
    a_count_beside_a_change(|in_flight, from, to| in_flight.change(0, from, to));
}

#[test]
#[should_panic(expected = "seen as gone")]
fn a_change_in_two_steps_is_seen_as_gone() {
    a_count_beside_a_change(|in_flight, from, to| {
        in_flight.leave(0, from);
        in_flight.enter(0, to);
    });
}

/// What an ended request did happened before anybody finds the slot empty.
#[test]
fn whoever_finds_a_slot_empty_sees_everything_its_requests_did() {
    check(|| {
        let live = Arc::new(Live::new());
        let done = Arc::new(AtomicU64::new(0));
        live.in_flight[0].enter(0, Kind::Request);
        let drain = {
            let (live, done) = (live.clone(), done.clone());
            thread::spawn(move || {
                live.clock.advance(1);
                if live.in_flight[0].is_empty() {
                    assert_eq!(done.load(Ordering::Relaxed), 1, "found empty too early");
                }
            })
        };
        done.store(1, Ordering::Relaxed);
        live.in_flight[0].leave(0, Kind::Request);
        drain.join().unwrap();
    });
}

impl Live {
    /// As `proxy/admit` where the View with the number 1 holds the service: false for whoever has to wait.
    fn admit_unless_held(&self, worker: usize, recheck: Recheck) -> bool {
        loop {
            let seen = self.view.load(Ordering::Acquire);
            if seen == 1 {
                return false;
            }
            self.in_flight[0].enter(worker, Kind::Request);
            if recheck == Recheck::Never || self.clock.still(seen) {
                return true;
            }
            self.in_flight[0].leave(worker, Kind::Request);
            thread::yield_now();
        }
    }
}

/// A hold is published and the slot is found empty: then a migration begins, which nobody may write beside.
fn a_hold_beside_two_workers(recheck: Recheck) {
    check(move || {
        let live = Arc::new(Live::new());
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let live = live.clone();
                thread::spawn(move || {
                    if live.admit_unless_held(worker, recheck) {
                        let migrates = live.torn_down.load(Ordering::SeqCst);
                        assert!(!migrates, "a request beside the migration");
                        live.in_flight[0].leave(worker, Kind::Request);
                    }
                })
            })
            .collect();
        live.flip();
        for worker in workers {
            worker.join().unwrap();
        }
        assert!(live.in_flight.iter().all(InFlight::is_empty));
    });
}

#[test]
fn no_request_runs_beside_what_begins_when_a_held_slot_was_found_empty() {
    a_hold_beside_two_workers(Recheck::Yes);
}

#[test]
#[should_panic(expected = "a request beside the migration")]
fn without_the_second_look_a_hold_misses_a_request() {
    a_hold_beside_two_workers(Recheck::Never);
}
