//! What a line promises, on one thread. `tests/loom_queue.rs` has the threads.

use super::line::Line;
use super::line::Refused;
use super::line::Waiting;
use super::order::Origin;
use super::places::Place;
use super::places::Places;
use proptest::prelude::*;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

fn client(number: u8) -> Origin {
    IpAddr::from([10, 0, 0, number]).into()
}

fn poll(waiting: &mut Waiting) -> Poll<Result<Place, Refused>> {
    Pin::new(waiting).poll(&mut Context::from_waker(Waker::noop()))
}

fn is_waiting(waiting: &mut Waiting) -> bool {
    poll(waiting).is_pending()
}

#[test]
fn nobody_overtakes_those_who_wait() {
    let places = Places::new(1, &Line::new(10));
    let held = places.try_take().unwrap();
    let mut first = places.join(client(1), 1, None).unwrap();
    drop(held);
    assert!(places.try_take().is_none(), "it belongs to the first");
    assert!(matches!(poll(&mut first), Poll::Ready(Ok(_))));
}

#[test]
fn a_full_line_takes_one_of_a_client_that_has_fewer_and_sends_the_greediest_ones_newest_away() {
    let places = Places::new(1, &Line::new(3));
    let _held = places.try_take().unwrap();
    let mut greedy: Vec<_> = (0..3)
        .map(|_| places.join(client(1), 1, None).unwrap())
        .collect();
    let fourth = places.join(client(1), 1, None).map(drop);
    assert_eq!(fourth.unwrap_err(), Refused::Full);
    let mut other = places.join(client(2), 1, None).unwrap();
    assert!(matches!(
        poll(&mut greedy[2]),
        Poll::Ready(Err(Refused::Full))
    ));
    assert!(is_waiting(&mut greedy[0]) && is_waiting(&mut greedy[1]));
    assert!(is_waiting(&mut other));
    let third = places.join(client(2), 1, None).map(drop);
    assert_eq!(third.unwrap_err(), Refused::Full, "it would have as many");
}

#[test]
fn a_line_of_no_length_refuses_but_never_while_a_place_is_free() {
    let places = Places::new(1, &Line::new(0));
    let held = places.try_take().unwrap();
    let refused = places.join(client(1), 1, None).map(drop);
    assert_eq!(refused.unwrap_err(), Refused::Full);
    drop(held);
    let mut joined = places.join(client(1), 1, None).unwrap();
    assert!(matches!(poll(&mut joined), Poll::Ready(Ok(_))));
}

#[test]
fn a_flip_re_aims_those_who_wait_in_their_order() {
    let line = Line::new(10);
    let (blue, green) = (Places::new(1, &line), Places::new(2, &line));
    let _held = blue.try_take().unwrap();
    let mut waiting: Vec<_> = (0..4)
        .map(|_| blue.join(client(1), 1, None).unwrap())
        .collect();
    green.aim(2);
    let mut got = Vec::new();
    for waiter in &mut waiting[..2] {
        let Poll::Ready(Ok(place)) = poll(waiter) else {
            panic!("the first two get the new slot's places");
        };
        assert!(place.is_of(&green));
        got.push(place);
    }
    assert!(is_waiting(&mut waiting[2]) && is_waiting(&mut waiting[3]));
    assert_eq!((blue.waiting(), green.waiting()), (0, 2));
    got.pop();
    assert!(matches!(poll(&mut waiting[2]), Poll::Ready(Ok(_))));
}

#[test]
fn one_whose_place_was_left_by_a_flip_is_first_in_line_again() {
    let line = Line::new(10);
    let (blue, green) = (Places::new(1, &line), Places::new(1, &line));
    let held = blue.try_take().unwrap();
    let mut first = blue.join(client(1), 1, None).unwrap();
    let spot = first.spot();
    let mut second = blue.join(client(1), 1, None).unwrap();
    drop(held);
    let Poll::Ready(Ok(of_blue)) = poll(&mut first) else {
        panic!("its turn has come");
    };
    let held = green.try_take().unwrap();
    let mut again = green.join(client(1), 2, Some(&spot)).unwrap();
    drop(of_blue);
    assert!(is_waiting(&mut again) && is_waiting(&mut second));
    drop(held);
    assert!(matches!(poll(&mut again), Poll::Ready(Ok(_))));
}

#[test]
fn a_worker_that_has_not_seen_the_flip_is_told_to_look_again() {
    let line = Line::new(10);
    let (blue, green) = (Places::new(1, &line), Places::new(1, &line));
    let _held = blue.try_take().unwrap();
    green.aim(2);
    let late = blue.join(client(1), 1, None).map(drop);
    assert_eq!(late.unwrap_err(), Refused::Outdated);
}

#[test]
fn everybodys_place_in_the_queue_is_the_order_in_which_they_get_in() {
    let line = Line::new(10);
    let places = Places::new(1, &line);
    let _held = places.try_take().unwrap();
    let waiting: Vec<_> = [1, 1, 2]
        .map(|number| places.join(client(number), 1, None).unwrap())
        .into();
    let standing = line.standing();
    let places: Vec<_> = waiting
        .iter()
        .map(|waiter| standing[&waiter.spot().turn()])
        .collect();
    assert_eq!(places, [1, 3, 2]);
}

/// Blue is active and full, green is not: one waits for each.
struct TwoSlots {
    line: Arc<Line>,
    blue: Arc<Places>,
    green: Arc<Places>,
    held: [Place; 2],
    of_blue: Waiting,
    of_green: Waiting,
}

impl TwoSlots {
    fn new() -> Self {
        let line = Line::new(10);
        let (blue, green) = (Places::new(1, &line), Places::new(1, &line));
        Self {
            held: [blue.try_take().unwrap(), green.try_take().unwrap()],
            of_blue: blue.join(client(1), 1, None).unwrap(),
            of_green: green.join_side(client(1), 1, None).unwrap(),
            line,
            blue,
            green,
        }
    }
}

#[test]
fn who_belongs_to_another_slot_gets_a_place_of_that_one_only() {
    let mut slots = TwoSlots::new();
    assert_eq!((slots.blue.waiting(), slots.green.waiting()), (1, 1));
    assert_eq!(slots.line.waiting(), 2);
    let [of_blue, of_green] = slots.held;
    drop(of_green);
    assert!(
        is_waiting(&mut slots.of_blue),
        "green's place is not for it"
    );
    assert!(slots.green.try_take().is_none(), "it belongs to who waits");
    let Poll::Ready(Ok(place)) = poll(&mut slots.of_green) else {
        panic!("its turn has come");
    };
    assert!(place.is_of(&slots.green));
    drop(of_blue);
    assert!(matches!(poll(&mut slots.of_blue), Poll::Ready(Ok(_))));
}

#[test]
fn once_traffic_follows_to_its_slot_it_comes_before_those_who_follow() {
    let mut slots = TwoSlots::new();
    slots.green.aim(2);
    assert_eq!((slots.blue.waiting(), slots.green.waiting()), (0, 2));
    let [_of_blue, of_green] = slots.held;
    drop(of_green);
    assert!(is_waiting(&mut slots.of_blue));
    let Poll::Ready(Ok(place)) = poll(&mut slots.of_green) else {
        panic!("it was there before");
    };
    drop(place);
    assert!(matches!(poll(&mut slots.of_blue), Poll::Ready(Ok(_))));
}

#[test]
fn when_nobody_belongs_to_a_slot_any_more_those_who_wait_there_look_again() {
    let mut slots = TwoSlots::new();
    slots.green.dismiss(2);
    assert!(matches!(
        poll(&mut slots.of_green),
        Poll::Ready(Err(Refused::Outdated))
    ));
    assert!(is_waiting(&mut slots.of_blue), "it waits where it belongs");
    let late = slots.green.join_side(client(1), 1, None).map(drop);
    assert_eq!(late.unwrap_err(), Refused::Outdated, "it has not looked");
    let mut fresh = slots.green.join_side(client(1), 2, None).unwrap();
    assert!(is_waiting(&mut fresh));
    drop(slots.held);
    assert!(matches!(poll(&mut fresh), Poll::Ready(Ok(_))));
}

#[test]
fn a_line_that_closes_sends_everybody_away() {
    let mut slots = TwoSlots::new();
    slots.line.close();
    for waiting in [&mut slots.of_blue, &mut slots.of_green] {
        assert!(matches!(poll(waiting), Poll::Ready(Err(Refused::Outdated))));
    }
    let late = slots.green.join_side(client(1), 9, None).map(drop);
    assert_eq!(late.unwrap_err(), Refused::Outdated);
}

/// What can happen to a line, in any order.
#[derive(Debug, Clone)]
enum Step {
    Take(u8),
    /// Of the slot that is not active.
    TakeAside(u8),
    /// Nobody belongs to the slot that is not active any more.
    Dismiss,
    /// The n-th place in flight is given back.
    GiveBack(usize),
    Leave(usize),
    Poll(usize),
    /// The n-th who lost its place to a flip comes back.
    Flip,
    Limit(usize),
    Length(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_u8).prop_map(Step::Take),
        3 => (0..4_u8).prop_map(Step::TakeAside),
        1 => Just(Step::Dismiss),
        3 => (0..9_usize).prop_map(Step::GiveBack),
        2 => (0..9_usize).prop_map(Step::Leave),
        3 => (0..9_usize).prop_map(Step::Poll),
        1 => Just(Step::Flip),
        1 => (1..4_usize).prop_map(Step::Limit),
        1 => (0..6_usize).prop_map(Step::Length),
    ]
}

/// Everything that one thread can do to a line, and what must hold after each step.
struct Stage {
    line: Arc<Line>,
    slots: [Arc<Places>; 2],
    limit: usize,
    flips: u64,
    epoch: u64,
    held: Vec<Place>,
    waiting: Vec<Waiter>,
}

struct Waiter {
    waiting: Waiting,
    /// It belongs to a slot, whichever is active.
    belongs: bool,
}

impl Stage {
    fn active(&self) -> &Arc<Places> {
        &self.slots[usize::try_from(self.flips % 2).unwrap()]
    }

    fn idle(&self) -> &Arc<Places> {
        &self.slots[usize::try_from((self.flips + 1) % 2).unwrap()]
    }

    fn joined(&mut self, joined: Result<Waiting, Refused>, belongs: bool) {
        match joined {
            Ok(waiting) => self.waiting.push(Waiter { waiting, belongs }),
            Err(refused) => assert_eq!(refused, Refused::Full),
        }
    }

    fn act(&mut self, step: &Step) {
        match step {
            Step::Take(number) => {
                if let Some(place) = self.active().try_take() {
                    self.held.push(place);
                } else {
                    let joined = self.active().join(client(*number), self.epoch, None);
                    self.joined(joined, false);
                }
            }
            Step::TakeAside(number) => {
                if let Some(place) = self.idle().try_take() {
                    self.held.push(place);
                } else {
                    let joined = self.idle().join_side(client(*number), self.epoch, None);
                    self.joined(joined, true);
                }
            }
            Step::Dismiss => {
                self.epoch += 1;
                self.idle().dismiss(self.epoch);
            }
            Step::GiveBack(at) if *at < self.held.len() => drop(self.held.remove(*at)),
            Step::Leave(at) if *at < self.waiting.len() => drop(self.waiting.remove(*at)),
            Step::Poll(at) if *at < self.waiting.len() => self.poll(*at),
            Step::Flip => {
                self.flips += 1;
                self.epoch += 1;
                self.active().aim(self.epoch);
            }
            Step::Limit(limit) => {
                self.limit = *limit;
                self.slots.iter().for_each(|slot| slot.set_limit(*limit));
            }
            Step::Length(length) => self.line.set_length(*length),
            Step::GiveBack(_) | Step::Leave(_) | Step::Poll(_) => {}
        }
    }

    fn poll(&mut self, at: usize) {
        let Poll::Ready(outcome) = poll(&mut self.waiting[at].waiting) else {
            return;
        };
        let Waiter { waiting, belongs } = self.waiting.remove(at);
        match outcome {
            Ok(place) if belongs || place.is_of(self.active()) => self.held.push(place),
            // As `proxy/admit`: back to where it stood, for the slot that is active now.
            Ok(_) => {
                let spot = waiting.spot();
                let again = self.active().join(client(0), self.epoch, Some(&spot));
                self.joined(again, false);
            }
            Err(Refused::Outdated) => assert!(belongs, "only those are sent away"),
            Err(refused) => assert_eq!(refused, Refused::Full),
        }
    }

    fn check(&self) {
        let inner = self.line.lock();
        let mut in_use = [0, 0];
        for place in inner.given() {
            in_use[self.index(place)] += 1;
        }
        drop(inner);
        for place in &self.held {
            in_use[self.index(place)] += 1;
        }
        let taken = [self.slots[0].taken(), self.slots[1].taken()];
        assert_eq!(taken, in_use, "a place is lost or held twice");
        for slot in &self.slots {
            let may_wait = slot.waiting() == 0 || slot.taken() >= self.limit;
            assert!(may_wait, "one waits beside a free place");
        }
    }

    fn index(&self, place: &Place) -> usize {
        usize::from(place.is_of(&self.slots[1]))
    }
}

proptest! {
    #[test]
    fn no_place_is_lost_and_nobody_waits_beside_a_free_one(steps in prop::collection::vec(step(), 0..60)) {
        let line = Line::new(4);
        let slots = [Places::new(2, &line), Places::new(2, &line)];
        slots[1].aim(1);
        let mut stage = Stage { line, slots, limit: 2, flips: 1, epoch: 1, held: Vec::new(), waiting: Vec::new() };
        for step in steps {
            stage.act(&step);
            stage.check();
        }
        stage.waiting.clear();
        stage.held.clear();
        stage.check();
        prop_assert!(stage.line.lock().is_forgotten(), "somebody is remembered");
    }
}
