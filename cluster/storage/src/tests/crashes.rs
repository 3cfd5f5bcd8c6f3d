//! Power cuts: nothing acknowledged is lost, nothing has a hole, nothing is there that nobody sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use proptest::prelude::*;
use tokio::task::JoinSet;

use super::sample::batch;
use super::world::{DEADLINE, open, read_all};
use crate::disk::simulated::{Random, SimulatedDisk};
use crate::{Config, Durability, Partition};

const PRODUCERS: u32 = 3;
const APPENDS: u32 = 12;

/// What one producer did in one life of the machine: sends numbered values until one is refused; returns what
/// was acknowledged.
async fn produce(partition: Partition, life: u32, producer: u32, seed: u64) -> BTreeMap<i64, Vec<u8>> {
    let mut random = Random(seed);
    let mut tickets = Vec::new();
    for number in 0..APPENDS {
        let value = |part: u32, size: u64| {
            let mut value = format!("{life}/{producer}/{number}/{part}/").into_bytes();
            value.resize(value.len() + size as usize, b'.');
            value
        };
        let values: Vec<_> =
            (0..=random.below(2) as u32).map(|part| value(part, random.below(700))).collect();
        let batches = values.iter().map(|value| batch(&[value])).collect();
        match partition.enqueue(batches).await {
            Ok(ticket) => tickets.push((ticket, values)),
            Err(_) => break,
        }
        if random.below(3) == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut acknowledged = BTreeMap::new();
    for (ticket, values) in tickets {
        if let Ok(appended) = ticket.await {
            acknowledged.extend((appended.base_offset..).zip(values));
        }
    }
    acknowledged
}

/// One life of the machine: recover, check, produce until the power goes.
async fn live(
    disk: &SimulatedDisk,
    config: &Config,
    life: u32,
    random: &mut Random,
    known: &mut BTreeMap<i64, Vec<u8>>,
) {
    // It may go while recovering, too.
    disk.cut_power_after(5 + random.below(120));
    let Ok(partition) = open(disk, config).await else { return };
    let Ok(found) = read_all(&partition).await else { return };
    check(&found, known, config.durability);
    *known = found.into_iter().collect();
    let mut producers = JoinSet::new();
    for producer in 0..PRODUCERS {
        producers.spawn(produce(partition.clone(), life, producer, random.next()));
    }
    while let Some(acknowledged) = producers.join_next().await {
        for (offset, value) in acknowledged.unwrap() {
            assert_eq!(known.insert(offset, value), None, "an offset was given twice");
        }
    }
    partition.close().await;
}

/// What was recovered holds all that was acknowledged, and each producer's values without one missing in
/// between.
fn check(found: &[(i64, Vec<u8>)], known: &BTreeMap<i64, Vec<u8>>, durability: Durability) {
    let there: BTreeMap<_, _> = found.iter().cloned().collect();
    for (offset, value) in known {
        match there.get(offset) {
            Some(stored) => assert_eq!(stored, value, "offset {offset} was altered"),
            None => assert_eq!(durability, Durability::Memory, "acknowledged offset {offset} is lost"),
        }
    }
    let mut last = BTreeMap::new();
    for (_, value) in found {
        let text = String::from_utf8(value.clone()).unwrap();
        let mut fields = text.split('/').map(|field| field.parse::<u32>());
        let mut field = || fields.next().unwrap().unwrap();
        let (life, producer, number, part) = (field(), field(), field(), field());
        let expected = match (last.get(&(life, producer)), part) {
            (None, _) => (0, 0),
            (Some(&(before, _)), 0) => (before + 1, 0),
            (Some(&(before, part_before)), _) => (before, part_before + 1),
        };
        assert_eq!((number, part), expected, "a hole in producer {producer}'s values in life {life}");
        last.insert((life, producer), (number, part));
    }
}

fn run(seed: u64, durability: Durability) {
    let mut random = Random(seed);
    let segment_bytes = [1024, 4096, 1 << 20][random.below(3) as usize];
    let config = Config { segment_bytes, durability, tail_bytes: 0, ..Config::default() };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let mut disk = SimulatedDisk::new(random.next());
        let mut known = BTreeMap::new();
        for life in 0..3 {
            tokio::time::timeout(DEADLINE, live(&disk, &config, life, &mut random, &mut known))
                .await
                .expect("a life hangs");
            disk = disk.restart();
        }
        let partition = open(&disk, &config).await.expect("recovery fails after a power cut");
        check(&read_all(&partition).await.unwrap(), &known, durability);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    // Three cuts each.
    #[test]
    fn nothing_acknowledged_is_lost_in_a_power_cut(seed: u64) {
        run(seed, Durability::Disk);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_syncing_a_power_cut_still_leaves_no_hole(seed: u64) {
        run(seed, Durability::Memory);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_waits_for_the_sync() {
    let disk = SimulatedDisk::new(1);
    let partition = open(&disk, &Config::default()).await.unwrap();
    let (entered, in_sync) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    disk.on_sync(Arc::new(move || {
        entered.send(()).ok();
        released.lock().unwrap().recv_timeout(DEADLINE).ok();
    }));
    let (answered, flag) = (Arc::new(AtomicBool::new(false)), partition.clone());
    let mut leo = partition.watch_leo();
    let ticket = partition.enqueue(vec![batch(&[b"a"])]).await.unwrap();
    let answered_too = Arc::clone(&answered);
    let waiter = tokio::spawn(async move {
        let appended = ticket.await;
        answered_too.store(true, Ordering::SeqCst);
        appended
    });
    tokio::task::spawn_blocking(move || in_sync.recv_timeout(DEADLINE).unwrap()).await.unwrap();
    // Written, so those who read what is not committed see it; not synced, so nobody else hears of it.
    leo.wait_for(|leo| *leo == 1).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!answered.load(Ordering::SeqCst), "acknowledged before the sync");
    assert_eq!(flag.offsets().hw, 0);
    release.send(()).unwrap();
    assert_eq!(waiter.await.unwrap().unwrap().base_offset, 0);
    assert_eq!(flag.offsets().hw, 1);
}
