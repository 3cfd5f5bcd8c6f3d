//! A writer without mercy: batches by hand, many under way at once, every acknowledgement noted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rand::RngExt;

use crate::node::{Node, Owner};
use crate::oracle::Promises;
use crate::raw::{self, Stream};
use crate::stream::Read;
use crate::wait::until;
use crate::wire;

/// Requests under way at once.
const WINDOW: usize = 8;
/// Most records of one request.
const MOST: u64 = 20;

/// What was promised in one topic's partition 0, and the number that the next record gets. It outlives its writers.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<(Promises, u64)>>);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, (Promises, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn acknowledged(&self) -> usize {
        self.lock().0.len()
    }

    /// Compares the partition, read from its beginning, with what was promised.
    pub fn check(&self, records: &[Read]) -> anyhow::Result<()> {
        self.lock().0.check(0, records)
    }
}

/// A thread that writes until it is stopped or its server is gone.
#[derive(Debug)]
pub struct Hammer {
    pub ledger: Ledger,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Hammer {
    pub fn start(node: &Node, owner: &Owner, topic: &str) -> anyhow::Result<Hammer> {
        Hammer::go_on(node, owner, topic, Ledger::default())
    }

    /// Goes on where an earlier writer ended.
    pub fn go_on(node: &Node, owner: &Owner, topic: &str, ledger: Ledger) -> anyhow::Result<Hammer> {
        let (address, name) = node.spu()?;
        let mut stream = raw::connect_as(address, &owner.credentials, &name)?;
        wire::send(&mut stream, &wire::api_versions(1))?;
        wire::receive(&mut stream)?.context("the SPU answers")?;
        stream.sock.set_read_timeout(Some(Duration::from_secs(60)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (told, noted, topic) = (stop.clone(), ledger.clone(), topic.to_string());
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                round(&mut stream, &topic, &noted)?;
            }
            Ok(())
        });
        Ok(Hammer { ledger, stop, thread: Some(thread) })
    }

    pub fn acknowledged(&self) -> usize {
        self.ledger.acknowledged()
    }

    pub fn check(&self, records: &[Read]) -> anyhow::Result<()> {
        self.ledger.check(records)
    }

    /// Waits until that many records were acknowledged in all.
    pub async fn reach(&self, goal: usize) -> anyhow::Result<()> {
        until("more acknowledgements", Duration::from_secs(30), async || {
            if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
                bail!("the writer ended");
            }
            Ok((self.acknowledged() >= goal).then_some(()))
        })
        .await
    }

    /// Stops it, and says how it ended: an error when its server went away under it.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().context("it runs")?.join() {
            Ok(outcome) => outcome,
            Err(_) => bail!("the writer ended badly"),
        }
    }
}

impl Drop for Hammer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn round(stream: &mut Stream, topic: &str, ledger: &Ledger) -> anyhow::Result<()> {
    let mut sent = Vec::new();
    for correlation in 0..i32::try_from(WINDOW)? {
        let count = rand::rng().random_range(1..=MOST);
        let from = {
            let mut ledger = ledger.lock();
            ledger.1 += count;
            ledger.1 - count
        };
        let values: Vec<Vec<u8>> = (from..from + count)
            .map(|number| format!("{number} {}", "w".repeat((number * 37 % 400) as usize)).into_bytes())
            .collect();
        let records: Vec<Vec<u8>> =
            values.iter().zip(0..).map(|(value, place)| wire::record_at(place, value)).collect();
        let batch = wire::batch(0, i32::try_from(count)?, &wire::records(&records));
        wire::send(stream, &wire::produce(correlation, topic, 0, &batch))?;
        sent.push(values);
    }
    // Answers may overtake one another.
    for _ in 0..sent.len() {
        let (correlation, body) = wire::receive(stream)?.context("the SPU hung up")?;
        let values =
            usize::try_from(correlation).ok().and_then(|at| sent.get(at)).context("an answer to nothing")?;
        let (code, base) = wire::produce_outcome(&body)?;
        ensure!(code == 0, "produce was answered with {code}");
        let mut ledger = ledger.lock();
        for (offset, value) in (base.context("an offset")?..).zip(values) {
            ledger.0.note(0, offset, value)?;
        }
    }
    Ok(())
}
