//! The life of one partition on three SPUs, as a seed wills it: crashes that lose what was not synced, pauses, links that
//! break, words that come late. What decides is the real code ([`super::leading`], [`super::answer`] and
//! [`crate::sc::decide`]); logs, streams and the SC's links are as simple as they can be. After each step nothing
//! that was committed may be missing where it must be, and at the end, when all is well again, all copies are one.

mod sc;
mod spu;
mod world;

use world::World;

/// Steps of one life, and how many lives.
const STEPS: u32 = 3_000;
const SEEDS: u64 = 300;

#[test]
fn three_hundred_lives_lose_nothing_committed() {
    let seeds =
        std::env::var("FLUVIO_CLOUD_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let first = std::env::var("FLUVIO_CLOUD_SEED").ok().and_then(|seed| seed.parse().ok());
    let (mut n_committed, mut n_epochs) = (0, 0);
    for seed in first.map_or(0..seeds, |seed| seed..seed + 1) {
        let _said = SaidIfItFails(seed);
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.heal();
        n_committed += world.committed.len();
        n_epochs += world.epoch();
    }
    println!("{seeds} lives, {n_committed} records committed in {n_epochs} epochs: none lost, no copy apart");
    assert!(n_committed > 0);
}

/// Whoever sees a life fail can live it again.
struct SaidIfItFails(u64);

impl Drop for SaidIfItFails {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("this was FLUVIO_CLOUD_SEED={}", self.0);
        }
    }
}

#[test]
fn the_same_seed_is_the_same_life() {
    let life = |seed| {
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.step());
        (world.committed.clone(), world.epoch())
    };
    for seed in [1, 7, 100] {
        assert_eq!(life(seed), life(seed));
    }
}
