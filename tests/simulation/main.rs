//! The switch in a model world on virtual time: probes, gates, a disk, operators, and crashes; what all slots
//! share goes away, each slot recovers from that in its own time, and now and then we lack what it takes to ask.
//!
//! Every seed is one story, told the same way each time. `SWITCHD_SIM_SEED=7 cargo test --test
//! simulation -- --nocapture` tells one; `SWITCHD_SIM_SEEDS=100000` lets more of them happen.

#![allow(clippy::unwrap_used)]

mod nature;
mod referee;
mod tally;
mod world;

use tally::Tally;
use world::World;

const SEEDS: u64 = 1_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("the variable holds a number"))
}

/// Says how to see a failed story again.
struct Story(u64);

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "seed {seed} failed; see it with: SWITCHD_SIM_SEED={seed} cargo test --test simulation -- --nocapture"
            );
        }
    }
}

fn play(seed: u64) -> World {
    let _story = Story(seed);
    let mut world = World::new(seed);
    world.play();
    world.come_to_rest();
    world
}

#[test]
fn whatever_happens_traffic_is_where_the_disk_says() {
    if let Some(seed) = number("SWITCHD_SIM_SEED") {
        let _story = Story(seed);
        let mut world = World::new(seed).aloud();
        world.play();
        world.come_to_rest();
        return;
    }
    let mut tally = Tally::default();
    for seed in 0..number("SWITCHD_SIM_SEEDS").unwrap_or(SEEDS) {
        tally.add(&play(seed).tally);
    }
    // A world in which nothing happens proves nothing.
    tally.check_that_everything_happened();
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    for seed in 0..20 {
        assert_eq!(play(seed).told, play(seed).told, "seed {seed}");
    }
    assert_ne!(play(1).told, play(2).told);
}
