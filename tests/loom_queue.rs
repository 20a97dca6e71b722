//! Can a place in flight or a turn in line get lost? `src/live/places.rs` itself, in every interleaving that loom finds.
//!
//! loom tells of a thread that is never woken as a deadlock. The models that must fail show that those that
//! must hold could.

#![allow(clippy::unwrap_used)]

use line::{Line, Refused, Waiting};
use loom::sync::Notify;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use order::Origin;
use places::{Place, Places};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

#[path = "../src/live/line.rs"]
#[allow(dead_code, unreachable_pub, reason = "the test uses a part of it")]
mod line;
#[path = "../src/live/order.rs"]
#[allow(dead_code, unreachable_pub, reason = "the test uses a part of it")]
mod order;
#[path = "../src/live/places.rs"]
#[allow(dead_code, unreachable_pub, reason = "the test uses a part of it")]
mod places;

/// What `places.rs` counts and locks with.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(super) use loom::sync::{Mutex, MutexGuard};
}

/// A thread's own waker.
struct Signal(Notify);

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

fn block_on(mut waiting: Waiting) -> Result<Place, Refused> {
    let signal = Arc::new(Signal(Notify::new()));
    let waker = Waker::from(Arc::clone(&signal));
    loop {
        if let Poll::Ready(outcome) = poll(&mut waiting, &waker) {
            return outcome;
        }
        signal.0.wait();
    }
}

fn poll(waiting: &mut Waiting, waker: &Waker) -> Poll<Result<Place, Refused>> {
    Pin::new(waiting).poll(&mut Context::from_waker(waker))
}

/// Threads besides the model's own: with two, fewer changes between them are tried, or it takes minutes.
#[derive(Clone, Copy)]
enum Beside {
    One,
    Two,
}

fn check(beside: Beside, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(match beside {
        Beside::One => 4,
        Beside::Two => 2,
    });
    builder.check(model);
}

fn client(number: u8) -> Origin {
    IpAddr::from([10, 0, 0, number]).into()
}

/// As `proxy/admit` takes a place.
fn take(places: &Arc<Places>, number: u8) -> Result<Place, Refused> {
    match places.try_take() {
        Some(place) => Ok(place),
        None => block_on(places.join(client(number), 1, None)?),
    }
}

/// Places, and a count of those who really hold one.
struct Upstream {
    places: Arc<Places>,
    busy: AtomicU64,
    limit: u64,
}

impl Upstream {
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Places::new(limit, &Line::new(10)),
            busy: AtomicU64::new(0),
            limit: limit as u64,
        })
    }

    fn serve(&self, number: u8) {
        let place = take(&self.places, number).unwrap();
        let busy = self.busy.fetch_add(1, Ordering::Relaxed);
        assert!(busy < self.limit, "more than the limit at once");
        self.busy.fetch_sub(1, Ordering::Relaxed);
        drop(place);
    }
}

fn everybody_is_served(beside: Beside) {
    let others = match beside {
        Beside::One => 1..2,
        Beside::Two => 1..3,
    };
    check(beside, move || {
        let upstream = Upstream::new(1);
        let others: Vec<_> = others
            .clone()
            .map(|number| {
                let upstream = Arc::clone(&upstream);
                thread::spawn(move || upstream.serve(number))
            })
            .collect();
        upstream.serve(0);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(upstream.places.taken(), 0, "a place is lost");
        assert_eq!(upstream.places.line().waiting(), 0);
    });
}

#[test]
fn two_are_served_one_at_a_time() {
    everybody_is_served(Beside::One);
}

#[test]
fn three_are_served_one_at_a_time() {
    everybody_is_served(Beside::Two);
}

/// One joins while the place is held, looks and leaves, while the place is given back.
fn one_who_leaves(leave: fn(Waiting)) {
    check(Beside::One, move || {
        let places = Places::new(1, &Line::new(10));
        let held = places.try_take().unwrap();
        let giving = thread::spawn(move || drop(held));
        let mut waiting = places.join(client(1), 1, None).unwrap();
        let _ = poll(&mut waiting, Waker::noop()).map(drop);
        leave(waiting);
        giving.join().unwrap();
        assert_eq!(places.taken(), 0, "a place is lost");
        assert!(places.try_take().is_some() || take(&places, 2).is_ok());
    });
}

#[test]
fn a_place_that_one_got_who_leaves_is_free_again() {
    one_who_leaves(drop);
}

#[test]
#[should_panic(expected = "a place is lost")]
fn one_who_does_not_leave_the_line_takes_the_place_along() {
    one_who_leaves(std::mem::forget);
}

#[test]
fn a_place_that_one_got_who_leaves_goes_to_the_next() {
    check(Beside::Two, || {
        let places = Places::new(1, &Line::new(10));
        let held = places.try_take().unwrap();
        let leaving = {
            let places = Arc::clone(&places);
            thread::spawn(move || drop(places.join(client(1), 1, None)))
        };
        let giving = thread::spawn(move || drop(held));
        drop(take(&places, 2).unwrap());
        leaving.join().unwrap();
        giving.join().unwrap();
        assert_eq!(places.taken(), 0, "a place is lost");
        assert_eq!(places.line().waiting(), 0);
    });
}

/// One waits for a place of blue while blue's is given back and traffic moves to green.
#[test]
fn one_who_waits_gets_a_place_whenever_a_flip_comes() {
    check(Beside::Two, || {
        let line = Line::new(10);
        let (blue, green) = (Places::new(1, &line), Places::new(1, &line));
        let epoch = Arc::new(AtomicU64::new(1));
        let held = blue.try_take().unwrap();
        let control = {
            let (green, epoch) = (Arc::clone(&green), Arc::clone(&epoch));
            thread::spawn(move || {
                epoch.store(2, Ordering::Release);
                green.aim(2);
            })
        };
        let giving = thread::spawn(move || drop(held));
        serve_where_traffic_goes(&[blue.clone(), green.clone()], &epoch);
        control.join().unwrap();
        giving.join().unwrap();
        assert_eq!((blue.taken(), green.taken()), (0, 0), "a place is lost");
        assert_eq!(line.waiting(), 0);
    });
}

/// As `proxy/admit`: a place of the slot that is active when it is held.
fn serve_where_traffic_goes(slots: &[Arc<Places>; 2], epoch: &AtomicU64) {
    let mut before = None;
    loop {
        let seen = epoch.load(Ordering::Acquire);
        let places = &slots[usize::try_from(seen).unwrap() - 1];
        let place = match places.try_take() {
            Some(place) => place,
            None => match places.join(client(1), seen, before.as_ref()) {
                Ok(waiting) => {
                    before = Some(waiting.spot());
                    block_on(waiting).unwrap()
                }
                Err(Refused::Outdated) => continue,
                Err(Refused::Full) => panic!("there is room in the line"),
            },
        };
        let active = &slots[usize::try_from(epoch.load(Ordering::Acquire)).unwrap() - 1];
        if place.is_of(active) {
            return;
        }
    }
}

#[test]
fn one_who_waits_gets_a_place_that_a_reload_adds() {
    check(Beside::One, || {
        let places = Places::new(1, &Line::new(10));
        let held = places.try_take().unwrap();
        let control = {
            let places = Arc::clone(&places);
            thread::spawn(move || places.set_limit(2))
        };
        drop(take(&places, 1).unwrap());
        control.join().unwrap();
        drop(held);
        assert_eq!(places.taken(), 0, "a place is lost");
    });
}

#[test]
fn a_line_that_closes_lets_nobody_wait() {
    check(Beside::One, || {
        let places = Places::new(1, &Line::new(10));
        let held = places.try_take().unwrap();
        let control = {
            let places = Arc::clone(&places);
            thread::spawn(move || places.line().close())
        };
        assert_eq!(take(&places, 1).unwrap_err(), Refused::Outdated);
        control.join().unwrap();
        drop(held);
        assert_eq!(places.taken(), 0, "a place is lost");
    });
}

/// One who waits for blue's place, which is not given back, while traffic moves to green.
fn a_flip(then: fn(&Arc<Places>)) {
    check(Beside::One, move || {
        let line = Line::new(10);
        let (blue, green) = (Places::new(1, &line), Places::new(1, &line));
        let held = blue.try_take().unwrap();
        let mut waiting = blue.join(client(1), 1, None).unwrap();
        let control = thread::spawn(move || then(&green));
        control.join().unwrap();
        let served = poll(&mut waiting, Waker::noop()).is_ready();
        drop((waiting, held));
        assert!(served, "one waits beside a free place");
    });
}

#[test]
fn after_a_flip_nobody_waits_for_the_slot_that_was_left() {
    a_flip(|green| green.aim(2));
}

#[test]
#[should_panic(expected = "one waits beside a free place")]
fn a_flip_that_forgets_those_in_line_leaves_them_waiting() {
    a_flip(|_| {});
}

/// One who belongs to green, whose place is given back, while somebody else waits for blue's.
#[test]
fn one_who_belongs_to_a_slot_gets_its_place_whoever_waits_for_the_other() {
    check(Beside::Two, || {
        let line = Line::new(10);
        let (blue, green) = (Places::new(1, &line), Places::new(1, &line));
        let held = [blue.try_take().unwrap(), green.try_take().unwrap()];
        let giving = thread::spawn(move || drop(held));
        let other = {
            let blue = Arc::clone(&blue);
            thread::spawn(move || drop(take(&blue, 1).unwrap()))
        };
        let place = match green.try_take() {
            Some(place) => place,
            None => block_on(green.join_side(client(1), 1, None).unwrap()).unwrap(),
        };
        assert!(place.is_of(&green));
        drop(place);
        giving.join().unwrap();
        other.join().unwrap();
        assert_eq!((blue.taken(), green.taken()), (0, 0), "a place is lost");
        assert_eq!(line.waiting(), 0);
    });
}

/// One who belongs to green, whose place nobody gives back, while that comes to an end.
fn an_end_of_belonging(then: fn(&Places)) {
    check(Beside::One, move || {
        let green = Places::new(1, &Line::new(10));
        let held = green.try_take().unwrap();
        let control = {
            let green = Arc::clone(&green);
            thread::spawn(move || then(&green))
        };
        let mut joined = green.join_side(client(1), 1, None);
        control.join().unwrap();
        let waits = joined
            .as_mut()
            .is_ok_and(|waiting| poll(waiting, Waker::noop()).is_pending());
        drop((joined, held));
        assert!(!waits, "one waits where nobody belongs");
        assert_eq!(green.taken(), 0, "a place is lost");
    });
}

#[test]
fn nobody_is_left_waiting_where_nobody_belongs_any_more() {
    an_end_of_belonging(|green| green.dismiss(2));
}

#[test]
#[should_panic(expected = "one waits where nobody belongs")]
fn without_a_word_one_is_left_waiting() {
    an_end_of_belonging(|_| {});
}

/// As `live/hold`: places of which there are none. One comes while those in line are let go and the hold is opened.
fn the_end_of_a_hold(open: fn(&Arc<Places>)) {
    check(Beside::One, move || {
        let places = Places::new(0, &Line::new(10));
        let control = {
            let places = Arc::clone(&places);
            thread::spawn(move || {
                places.let_go(1);
                open(&places);
            })
        };
        let mut waiting = places.join(client(1), 1, None).unwrap();
        control.join().unwrap();
        let is_let_go = poll(&mut waiting, Waker::noop()).is_ready();
        drop(waiting);
        assert!(is_let_go, "one waits behind a hold that is over");
        assert_eq!((places.taken(), places.line().waiting()), (0, 0));
    });
}

#[test]
fn whoever_comes_to_a_hold_that_ends_is_let_go() {
    the_end_of_a_hold(|places| places.set_limit(usize::MAX));
}

#[test]
#[should_panic(expected = "one waits behind a hold that is over")]
fn a_hold_that_is_not_opened_forgets_those_who_come_late() {
    the_end_of_a_hold(|_| {});
}

/// One is let go by a hold while the next one begins: it goes on, or it waits for the next.
#[test]
fn one_who_is_let_go_while_the_next_hold_begins_is_not_forgotten() {
    check(Beside::One, || {
        let line = Line::new(10);
        let (first, next) = (Places::new(0, &line), Places::new(0, &line));
        let mut waiting = first.join(client(1), 1, None).unwrap();
        let control = {
            let (first, next) = (Arc::clone(&first), Arc::clone(&next));
            thread::spawn(move || {
                first.let_go(1);
                next.aim(2);
            })
        };
        let early = poll(&mut waiting, Waker::noop());
        control.join().unwrap();
        let place = match early {
            Poll::Ready(outcome) => outcome.unwrap(),
            Poll::Pending => block_on(waiting).unwrap(),
        };
        assert!(
            place.is_of(&first),
            "it was let go before the next one began"
        );
        drop(place);
        next.set_limit(usize::MAX);
        assert_eq!((first.taken(), line.waiting()), (0, 0));
    });
}
