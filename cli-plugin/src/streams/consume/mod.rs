//! `fluvio consume`: a topic's records to stdout. A task for each partition reads; this one writes.

mod end;
mod format;
mod reader;
mod start;
mod unpack;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Stdout, Write};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use fluvio::FluvioClusterConfig;
use fluvio::dataplane::record::{Batch, RawRecords};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::end::End;
use self::format::{Shape, Style};
use self::reader::{Fed, Reader, Terms};
use self::start::StartOptions;
use self::unpack::{Damaged, each_record};
use super::produce::Level;
use super::routes::Routes;
use super::target::{Target, answer, connect};
use crate::failure::{Failure, Outcome};
use crate::places::Places;

/// Responses that wait between the readers and stdout.
const READ_AHEAD: usize = 4;
const OUTPUT_BYTES: usize = 256 * 1024;
/// How long the last word with the cluster may take.
const PART_TIMEOUT: Duration = Duration::from_secs(15);

/// Read a topic's records
#[derive(Debug, Args)]
pub struct Consume {
    /// The topic
    topic: String,
    #[command(flatten)]
    start: StartOptions,
    /// Stop after the record at this offset, in each partition
    #[arg(long, value_name = "OFFSET", help_heading = "Where to end")]
    end: Option<i64>,
    /// Stop after this many records
    #[arg(long, short = 'n', alias = "lines", value_name = "N", help_heading = "Where to end")]
    num_records: Option<u64>,
    /// Stop at the end instead of waiting for more
    #[arg(long, short = 'd', help_heading = "Where to end")]
    disable_continuous: bool,
    /// Read this partition only; can be given several times [default: all]
    #[arg(long, short = 'p', value_name = "N")]
    partition: Vec<u32>,
    /// Read all partitions
    #[arg(long, short = 'A', conflicts_with = "partition")]
    all_partitions: bool,
    /// Go on where the consumer of this name left off, and keep its position in the cluster
    #[arg(long, short = 'c', value_name = "NAME")]
    consumer: Option<String>,
    /// Show keys before values
    #[arg(long, short = 'k')]
    key_value: bool,
    /// The form of the records
    #[arg(long, short = 'O', value_enum, default_value_t = Shape::Dynamic)]
    output: Shape,
    /// A form of your own, of {{key}}, {{value}}, {{offset}}, {{partition}} and {{time}}
    #[arg(long, short = 'F', value_name = "TEMPLATE", conflicts_with = "output")]
    format: Option<String>,
    /// Which records are shown: read_uncommitted (the leader has them) or read_committed (all replicas have them)
    #[arg(long, value_enum, default_value_t = Level::ReadUncommitted)]
    isolation: Level,
    /// Bytes to fetch at once
    #[arg(long, short = 'b', value_name = "BYTES", default_value = "2MiB")]
    maxbytes: ByteSize,
    /// How long to look for the way when the connection is lost
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    patience: Duration,
}

impl Consume {
    /// Runs the command.
    pub async fn run(&self, target: &Target, places: &Places) -> Outcome {
        let style = Style::choose(self.output, self.key_value, self.format.as_deref())?;
        let terms = Arc::new(self.terms(target.config(places)?)?);
        let routes = Arc::new(Routes::find(&terms.config, &self.topic).await?);
        let partitions = self.partitions(routes.partitions)?;
        let left_off = self.left_off(&terms.config).await?;
        let (out, mut fed) = mpsc::channel(READ_AHEAD);
        let mut readers = JoinSet::new();
        let mut written = BTreeMap::new();
        for partition in &partitions {
            let mark = Arc::new(AtomicI64::new(-1));
            written.insert(*partition, Written { mark: mark.clone(), next: -1 });
            let left_off = left_off.get(partition).copied();
            let reader = Reader::new(terms.clone(), routes.clone(), *partition, left_off, out.clone(), mark);
            readers.spawn(reader.run());
        }
        drop(out);
        let end = End::new(self.num_records, self.end, partitions);
        let mut writer =
            Writer { style, end, written, out: BufWriter::with_capacity(OUTPUT_BYTES, io::stdout()) };
        let read = writer.write_all(&mut fed).await;
        // Readers learn by this that nobody listens any more, and keep the consumer's position.
        drop(fed);
        let parted = timeout(PART_TIMEOUT, part(readers)).await.unwrap_or_else(|_| {
            let failure = Failure::failed("the cluster did not answer at the end");
            if self.consumer.is_some() {
                Err(failure.with_fix("what was printed last may come again"))
            } else {
                Ok(())
            }
        });
        read.and(parted).map(|()| 0)
    }

    fn terms(&self, config: FluvioClusterConfig) -> Result<Terms, Failure> {
        let max_bytes = i32::try_from(self.maxbytes.as_u64())
            .map_err(|_| Failure::usage("--maxbytes is beyond 2 GiB").with_fix("a few MB is plenty"))?;
        Ok(Terms {
            config,
            topic: self.topic.clone(),
            start: self.start.place()?,
            follow: !self.disable_continuous,
            consumer: self.consumer.clone(),
            isolation: self.isolation.into(),
            max_bytes,
            patience: self.patience,
        })
    }

    fn partitions(&self, count: u32) -> Result<Vec<u32>, Failure> {
        if let Some(beyond) = self.partition.iter().find(|partition| **partition >= count) {
            return Err(Failure::usage(format!(
                "topic {} has no partition {beyond}, it has {count}",
                self.topic
            ))
            .with_fix("fluvio partition list"));
        }
        let mut partitions =
            if self.partition.is_empty() { (0..count).collect() } else { self.partition.clone() };
        partitions.sort_unstable();
        partitions.dedup();
        Ok(partitions)
    }

    /// The last offsets that a consumer of this name read, by partition.
    async fn left_off(&self, config: &FluvioClusterConfig) -> Result<BTreeMap<u32, i64>, Failure> {
        let Some(consumer) = &self.consumer else { return Ok(BTreeMap::new()) };
        let fluvio = connect(config).await?;
        let offsets =
            answer("the consumer's position cannot be looked up", fluvio.consumer_offsets()).await?;
        let ours =
            offsets.into_iter().filter(|kept| kept.consumer_id == *consumer && kept.topic == self.topic);
        Ok(ours.map(|kept| (kept.partition, kept.offset)).collect())
    }
}

async fn part(mut readers: JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    let mut parted = Ok(());
    while let Some(reader) = readers.join_next().await {
        let reader = reader.unwrap_or_else(|_| Err(Failure::failed("a reader broke off")));
        parted = parted.and(reader);
    }
    parted
}

/// Puts records on stdout and says how far it came.
struct Writer {
    style: Style,
    end: End,
    written: BTreeMap<u32, Written>,
    out: BufWriter<Stdout>,
}

/// How far a partition was written.
struct Written {
    /// What is out for sure, for the partition's reader.
    mark: Arc<AtomicI64>,
    /// What is out once the buffer is.
    next: i64,
}

/// Why a record was not written.
enum Unwritten {
    Output(io::Error),
    Damaged(Damaged),
}

impl From<Damaged> for Unwritten {
    fn from(damaged: Damaged) -> Self {
        Self::Damaged(damaged)
    }
}

impl From<Unwritten> for Failure {
    fn from(unwritten: Unwritten) -> Self {
        match unwritten {
            Unwritten::Output(error) => Self::from_output(&error),
            Unwritten::Damaged(damaged) => Self::failed(damaged.to_string())
                .with_fix("go on behind it with --start, and tell whoever runs the cluster"),
        }
    }
}

impl Writer {
    async fn write_all(&mut self, fed: &mut mpsc::Receiver<Fed>) -> Result<(), Failure> {
        let mut interrupted = pin!(tokio::signal::ctrl_c());
        let mut open = self.written.len();
        while open > 0 && !self.end.is_reached() {
            let next = match fed.try_recv() {
                Ok(next) => Some(next),
                Err(_) => {
                    // Nothing more is there: what came so far must not wait for it.
                    self.flush()?;
                    tokio::select! {
                        next = fed.recv() => next,
                        _ = &mut interrupted => None,
                    }
                }
            };
            match next {
                Some(Fed::Batches(partition, from, batches)) => self.write(partition, from, &batches)?,
                Some(Fed::End) => open -= 1,
                Some(Fed::Failed(failure)) => {
                    self.flush()?;
                    return Err(failure);
                }
                None => break,
            }
        }
        self.flush()
    }

    fn write(&mut self, partition: u32, from: i64, batches: &[Batch<RawRecords>]) -> Result<(), Failure> {
        let Self { style, end, written, out } = self;
        for batch in batches {
            each_record(partition, batch, from, |record| {
                if end.admits(partition, record.offset) {
                    style.write(&record, out).map_err(Unwritten::Output)?;
                    if let Some(written) = written.get_mut(&partition) {
                        written.next = record.offset + 1;
                    }
                }
                Ok::<_, Unwritten>(!end.is_reached())
            })?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::from_output(&error))?;
        for written in self.written.values() {
            written.mark.store(written.next, Ordering::Release);
        }
        Ok(())
    }
}
