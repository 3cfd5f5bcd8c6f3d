//! Many produce requests under way, or one at a time; every acknowledgement compared with what it must be.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::batches::Prepared;
use super::link::Link;
use crate::floor::{Durations, durations, note};
use crate::wire;

/// What a stretch of work moved.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    pub records: i64,
    /// Of the records' values when produced, of stored batches when consumed.
    pub bytes: u64,
    pub took: Duration,
}

impl Moved {
    /// Millions of bytes a second.
    pub fn megabytes_a_second(&self) -> f64 {
        self.bytes as f64 / self.took.as_secs_f64() / 1e6
    }
}

/// Keeps `window` requests under way until `count` were acknowledged, the prepared ones in turn. All must have
/// the same number of records, and nobody else may write to the partition: each answer must name the next offset.
pub fn bulk(
    link: &mut Link,
    prepared: &mut [Prepared],
    count: usize,
    window: usize,
) -> anyhow::Result<Moved> {
    let each = prepared.first().context("there is nothing to send")?.n_records();
    ensure!(prepared.iter().all(|one| one.n_records() == each), "the requests differ in their records");
    let (begin, mut bytes) = (Instant::now(), 0);
    let (mut sent, mut first) = (0, None);
    for acknowledged in 0..count {
        while sent < count.min(acknowledged + window) {
            let turn = sent % prepared.len();
            bytes += prepared[turn].value_bytes() as u64;
            link.send(prepared[turn].frame(i32::try_from(sent)?))?;
            sent += 1;
        }
        let (number, offset) = acknowledgement(link)?;
        let from = offset - i64::from(number) * i64::try_from(each)?;
        ensure!(*first.get_or_insert(from) == from, "request {number} was stored at {offset}");
    }
    Ok(Moved { records: i64::try_from(count * each)?, bytes, took: begin.elapsed() })
}

/// Sends one request `rounds` times, each when the one before was acknowledged; how long each took.
pub fn one_at_a_time(link: &mut Link, prepared: &mut Prepared, rounds: i32) -> anyhow::Result<Durations> {
    let mut histogram = durations()?;
    for round in 0..rounds {
        let frame = prepared.frame(round);
        let begun = Instant::now();
        link.send(frame)?;
        let (number, _) = acknowledgement(link)?;
        note(&mut histogram, begun.elapsed());
        ensure!(number == round, "answer {number} came to request {round}");
    }
    Ok(histogram)
}

/// The next acknowledgement: to which request, and the offset of its first record.
pub fn acknowledgement(link: &mut Link) -> anyhow::Result<(i32, i64)> {
    let (number, body) = link.receive()?;
    let (code, offset) = wire::produce_outcome(&body)?;
    ensure!(code == 0, "produce was answered with error {code}");
    Ok((number, offset.context("an offset")?))
}
