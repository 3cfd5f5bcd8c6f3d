//! The life of one partition on three of four SPUs, as a seed wills it: power cuts in the middle of anything, disks that
//! are full, fail or are lost, the SC's too, pauses, links that break, words that come late, SPUs that are to leave. What
//! decides is the real code ([`super::leading`], [`super::answer`] and [`crate::sc::decide`]), and so is what keeps: the
//! logs, their recovery and cutting back, the documents of SPUs and SC, over disks that forget what was not synced
//! ([`cluster_storage::disk::simulated`]). Streams and the SC's links are as simple as they can be. After each step
//! nothing that was committed may be missing where it must be, and at the end, when all is well again, all copies are one.

mod copy;
mod nature;
mod sc;
mod spu;
mod world;

use world::World;

/// Steps of one life, and how many lives.
const STEPS: u32 = 3_000;
const SEEDS: u64 = 300;

#[test]
fn three_hundred_lives_lose_nothing_committed() {
    let asked = |name: &str| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let (first, seeds) = match asked("FLUVIO_CLOUD_SEED") {
        Some(seed) => (seed, 1),
        None => (asked("FLUVIO_CLOUD_FIRST_SEED").unwrap_or(0), asked("FLUVIO_CLOUD_SEEDS").unwrap_or(SEEDS)),
    };
    let (mut n_committed, mut n_epochs) = (0, 0);
    for seed in first..first + seeds {
        let _said = SaidIfItFails(seed);
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.heal();
        n_committed += world.committed.len();
        n_epochs += u64::from(world.epoch());
        if (seed + 1).is_multiple_of(10_000) {
            println!("seed {seed}: none lost so far");
        }
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
