//! `fluvio consume`: a topic's records to stdout.

mod end;
mod format;
mod start;

use std::io::{self, BufWriter, Write};
use std::pin::pin;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use clap::Args;
use fluvio::Fluvio;
use fluvio::consumer::{ConsumerConfigExt, ConsumerStream, OffsetManagementStrategy, Record, RetryMode};
use fluvio::dataplane::link::ErrorCode;
use futures_util::StreamExt;
use tokio::time::timeout;

use self::end::End;
use self::format::{Shape, Shown, Style};
use self::start::Start;
use super::produce::Level;
use super::target::{Target, answer};
use crate::failure::{Failure, Outcome};
use crate::places::Places;

/// Records that are written before stdout is flushed, if so many are there already.
const WRITE_AHEAD: usize = 4096;
const OUTPUT_BYTES: usize = 256 * 1024;
/// How often a named consumer's position is stored while it runs.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Read a topic's records
#[derive(Debug, Args)]
pub struct Consume {
    /// The topic
    topic: String,
    #[command(flatten)]
    start: Start,
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
    #[arg(long, short = 'b', value_name = "BYTES")]
    maxbytes: Option<ByteSize>,
}

impl Consume {
    /// Runs the command.
    pub async fn run(&self, target: &Target, places: &Places) -> Outcome {
        let style = Style::choose(self.output, self.key_value, self.format.as_deref())?;
        let config = self.config()?;
        let (fluvio, _) = target.connect(places).await?;
        let partitions = self.partitions(&fluvio).await?;
        let mut stream = answer("consuming could not start", fluvio.consumer_with_config(config)).await?;
        let end = End::new(self.num_records, self.end, partitions);
        let read = self.read(&mut stream, &style, end).await;
        let kept = if self.consumer.is_some() { keep_position(&mut stream).await } else { Ok(()) };
        read.and(kept).map(|()| 0)
    }

    fn config(&self) -> Result<ConsumerConfigExt, Failure> {
        let mut builder = ConsumerConfigExt::builder();
        builder
            .topic(self.topic.clone())
            .offset_start(self.start.offset()?)
            .disable_continuous(self.disable_continuous)
            .isolation(self.isolation.into())
            .retry_mode(RetryMode::TryUntil(100));
        for partition in &self.partition {
            builder.partition(*partition);
        }
        if let Some(name) = &self.consumer {
            // Kept by our own hand after the records were written, so that none is skipped when writing them fails.
            builder.offset_consumer(name.clone()).offset_strategy(OffsetManagementStrategy::Manual);
        }
        if let Some(bytes) = self.maxbytes {
            let bytes =
                i32::try_from(bytes.as_u64()).map_err(|_| Failure::usage("--maxbytes is beyond 2 GiB"))?;
            builder.max_bytes(bytes);
        }
        builder.build().map_err(|error| Failure::usage(format!("{error:#}")))
    }

    /// The partitions that are read; the client would wait for one that does not exist.
    async fn partitions(&self, fluvio: &Fluvio) -> Result<Vec<u32>, Failure> {
        use fluvio::metadata::objects::ListRequest;
        use fluvio::metadata::topic::TopicSpec;

        let admin = fluvio.admin().await;
        let mut topics = Vec::new();
        for system in [false, true] {
            let request = ListRequest::<TopicSpec>::new(self.topic.as_str(), false).system(system);
            topics.extend(
                answer("the topic cannot be looked up", admin.list_with_config::<TopicSpec, String>(request))
                    .await?,
            );
        }
        let topic = topics.into_iter().find(|topic| topic.name == self.topic).ok_or_else(|| {
            Failure::failed(format!("there is no topic named `{}`", self.topic)).with_fix("fluvio topic list")
        })?;
        let count = topic.spec.partitions();
        if let Some(beyond) = self.partition.iter().find(|partition| **partition >= count) {
            return Err(Failure::usage(format!(
                "topic {} has no partition {beyond}, it has {count}",
                self.topic
            ))
            .with_fix("fluvio partition list"));
        }
        Ok(if self.partition.is_empty() { (0..count).collect() } else { self.partition.clone() })
    }

    async fn read(
        &self,
        stream: &mut impl ConsumerStream<Item = Result<Record, ErrorCode>>,
        style: &Style,
        mut end: End,
    ) -> Result<(), Failure> {
        let mut out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
        let mut interrupted = pin!(tokio::signal::ctrl_c());
        let mut kept = Instant::now();
        while !end.is_reached() {
            // All that is there already is written at once; when nothing is, stdout was flushed before waiting.
            let mut ready = (&mut *stream).ready_chunks(WRITE_AHEAD);
            let next = tokio::select! {
                next = ready.next() => next,
                _ = &mut interrupted => None,
            };
            let Some(records) = next else { break };
            let broken = write_all(records, style, &mut end, &mut out)
                .and_then(|broken| out.flush().map(|()| broken))
                .map_err(|error| Failure::from_output(&error))?;
            if let Some(error) = broken {
                return Err(stopped(&error));
            }
            if self.consumer.is_some() && kept.elapsed() >= COMMIT_EVERY {
                keep_position(stream).await?;
                kept = Instant::now();
            }
        }
        Ok(())
    }
}

/// Writes records up to the end; answers the error that stood between them, if one did.
fn write_all(
    records: Vec<Result<Record, ErrorCode>>,
    style: &Style,
    end: &mut End,
    out: &mut impl Write,
) -> io::Result<Option<ErrorCode>> {
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(error) => return Ok(Some(error)),
        };
        if end.admits(record.partition, record.offset) {
            style.write(&Shown::from(&record), out)?;
        }
        if end.is_reached() {
            break;
        }
    }
    Ok(None)
}

async fn keep_position(stream: &mut impl ConsumerStream) -> Result<(), Failure> {
    let keeping = async {
        stream.offset_commit().await?;
        stream.offset_flush().await
    };
    let why = match timeout(COMMIT_TIMEOUT, keeping).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the cluster did not answer".to_owned(),
    };
    Err(Failure::failed(format!("the consumer's position was not kept: {why}"))
        .with_fix("what was printed last may come again next time"))
}

fn stopped(error: &ErrorCode) -> Failure {
    let failure = Failure::failed(format!("consuming stopped: {error}"));
    match error {
        ErrorCode::OffsetEvicted { next_available, .. } => failure
            .with_fix(format!("those records are gone by retention; go on with --start {next_available}")),
        ErrorCode::OffsetOutOfRange => {
            failure.with_fix("fluvio partition list shows which offsets there are")
        }
        ErrorCode::PermissionDenied => {
            failure.with_fix("use a profile whose certificate may read this topic")
        }
        ErrorCode::TopicDeleted => failure.with_fix("fluvio topic list"),
        _ => failure
            .with_fix("run the command again; `fluvio partition list` shows whether the partition is online"),
    }
}
