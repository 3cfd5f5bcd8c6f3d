//! How often what happens, for one life: in some the SC is slow, in others disks are, in others nothing stays up. What
//! takes a rare order of events in an even mixture is common in one of them.

use rand::RngExt;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Produce,
    Sync,
    HearInSc,
    HearFromSc,
    Follow,
    Feed,
    HearInStream,
    Calm,
    House,
    Fault,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Crash,
    Pause,
    Link,
    Stream,
    Leave,
    ScDisk,
    Sc,
    Power,
    Disk,
    Clock,
}

const STEPS: [(Step, u32); 10] = [
    (Step::Produce, 15),
    (Step::Sync, 15),
    (Step::HearInSc, 15),
    (Step::HearFromSc, 15),
    (Step::Follow, 10),
    (Step::Feed, 10),
    (Step::HearInStream, 14),
    (Step::Calm, 1),
    (Step::House, 2),
    (Step::Fault, 5),
];

const FAULTS: [(Fault, u32); 10] = [
    (Fault::Crash, 20),
    (Fault::Pause, 20),
    (Fault::Link, 40),
    (Fault::Stream, 10),
    (Fault::Leave, 4),
    (Fault::ScDisk, 2),
    (Fault::Sc, 4),
    (Fault::Power, 10),
    (Fault::Disk, 10),
    (Fault::Clock, 10),
];

/// One life's mixture.
pub(super) struct Nature {
    steps: WeightedIndex<u32>,
    faults: WeightedIndex<u32>,
    /// The SPU that hears late from the SC; 0 for none.
    pub(super) slow: i32,
}

impl Nature {
    /// As a seed wills it.
    pub(super) fn of(random: &mut StdRng) -> Self {
        let mut times = |weight: u32| weight * [1, 3, 10, 30][random.random_range(0..4)];
        let steps = WeightedIndex::new(STEPS.map(|(_, weight)| times(weight))).unwrap();
        let faults = WeightedIndex::new(FAULTS.map(|(_, weight)| times(weight))).unwrap();
        Self { steps, faults, slow: random.random_range(0..=4) }
    }

    /// Everything in its turn.
    pub(super) fn even() -> Self {
        let steps = WeightedIndex::new(STEPS.map(|(_, weight)| weight)).unwrap();
        let faults = WeightedIndex::new(FAULTS.map(|(_, weight)| weight)).unwrap();
        Self { steps, faults, slow: 0 }
    }

    pub(super) fn step(&self, random: &mut StdRng) -> Step {
        STEPS[self.steps.sample(random)].0
    }

    pub(super) fn fault(&self, random: &mut StdRng) -> Fault {
        FAULTS[self.faults.sample(random)].0
    }
}
