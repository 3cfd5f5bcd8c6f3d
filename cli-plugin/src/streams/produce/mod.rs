//! `fluvio produce`: lines or files into a topic, at least once, in order.
//!
//! A thread reads, cuts and packs; the task in `delivery` sends whole batches and counts acknowledgements. The published
//! client's own producer takes one record at a time and stops for good at the first error, so this goes one level
//! deeper, to the client's sockets and request types.

mod batch;
mod delivery;
mod partitioner;
mod source;
mod stored;
mod verdict;
mod window;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use fluvio::metadata::topic::CompressionAlgorithm;
use fluvio::{Compression, FluvioClusterConfig, Isolation};
use tokio::sync::{mpsc, oneshot};

use self::delivery::{Delivery, Tally, Terms};
use self::partitioner::Partitioner;
use self::source::{Cut, Input, Packing, Source};
use super::routes::Routes;
use super::target::Target;
use crate::failure::{Failure, Outcome};
use crate::output::{self, progress};
use crate::places::Places;

/// Batches that wait between the reading thread and the sending task.
const READ_AHEAD: usize = 4;
/// What a server takes in one request, less room for the request around the records.
const LARGEST_REQUEST: u64 = 32 * 1024 * 1024 - 64 * 1024;
/// Requests are filled to this and no further, so that answers come often.
const REQUEST_TARGET: u64 = 4 * 1024 * 1024;
/// All partitions' unsent batches together.
const PACKING_BYTES: usize = 64 * 1024 * 1024;
const SMALLEST_BATCH: usize = 16 * 1024;

/// Send lines or files to a topic
#[derive(Debug, Args)]
pub struct Produce {
    /// The topic
    topic: String,
    /// Read from this file instead of standard input
    #[arg(long, short = 'f', value_name = "FILE")]
    file: Option<PathBuf>,
    /// Send the whole input as one record instead of one for each line
    #[arg(long)]
    raw: bool,
    /// Split each line into key and value at the first of these
    #[arg(long, value_name = "TEXT", conflicts_with = "raw", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key_separator: Option<String>,
    /// The key of every record
    #[arg(long, value_name = "TEXT", conflicts_with = "key_separator")]
    key: Option<String>,
    /// Send to this partition only
    #[arg(long, short = 'p', value_name = "N")]
    partition: Option<u32>,
    /// Compress batches
    #[arg(long, value_enum, value_name = "TYPE")]
    compression: Option<Codec>,
    /// How long records wait for more while the input is silent, for example 10ms
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = humantime::parse_duration)]
    linger: Duration,
    /// Bytes at which a batch is sent
    #[arg(long, value_name = "BYTES", default_value = "500kB")]
    batch_size: ByteSize,
    /// Bytes of the largest record
    #[arg(long, value_name = "BYTES", default_value_t = ByteSize(LARGEST_REQUEST), hide_default_value = true)]
    max_request_size: ByteSize,
    /// What an acknowledgement means: read_uncommitted (the leader has it) or read_committed (all replicas have it)
    #[arg(long, value_enum, default_value_t = Level::ReadUncommitted)]
    isolation: Level,
    /// Requests on their way at once for a partition; a lost connection keeps the order with any number, but when the
    /// cluster refuses one request, those behind it may be stored before it, unless this is 1
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    in_flight: u16,
    /// How long to go on trying without a single acknowledgement
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// Print no summary
    #[arg(long, short = 'q')]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Upstream's names for the isolation levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// What the leader has.
    #[value(name = "read_uncommitted", alias = "ReadUncommitted", alias = "read-uncommitted")]
    ReadUncommitted,
    /// What all replicas have.
    #[value(name = "read_committed", alias = "ReadCommitted", alias = "read-committed")]
    ReadCommitted,
}

impl From<Level> for Isolation {
    fn from(level: Level) -> Self {
        match level {
            Level::ReadUncommitted => Self::ReadUncommitted,
            Level::ReadCommitted => Self::ReadCommitted,
        }
    }
}

impl Produce {
    /// Runs the command.
    pub async fn run(&self, target: &Target, places: &Places) -> Outcome {
        let input = match &self.file {
            Some(path) => Input::open(path)?,
            None => Input::stdin()?,
        };
        let config = target.config(places)?;
        let routes = Routes::find(&config, &self.topic).await?;
        let started = Instant::now();
        let (tally, ended) = self.deliver(&config, input, routes).await?;
        if !self.quiet {
            progress::note(&summary(&tally, started.elapsed()));
        }
        ended.map(|()| 0)
    }

    async fn deliver(
        &self,
        config: &FluvioClusterConfig,
        input: Input,
        routes: Routes,
    ) -> Result<(Tally, Result<(), Failure>), Failure> {
        let (batches, incoming) = mpsc::channel(READ_AHEAD);
        let source =
            Source::new(input, self.cut(), self.packing(&routes)?, self.partitioner(&routes)?, batches);
        let (over, read) = oneshot::channel();
        // Not joined when the delivery fails: the thread may be waiting for somebody to type.
        thread::Builder::new()
            .name("read".to_owned())
            .spawn(move || {
                let _unheard = over.send(source.run());
            })
            .map_err(|error| Failure::failed(format!("the reading thread could not be started: {error}")))?;
        let (tally, delivered) = Delivery::new(config, self.terms(), routes).run(incoming).await;
        let ended = match delivered {
            Ok(()) => read.await.unwrap_or_else(|_| Err(Failure::failed("reading the input broke off"))),
            Err(failure) => Err(failure),
        };
        Ok((tally, ended))
    }

    fn cut(&self) -> Cut {
        Cut {
            whole: self.raw,
            key_separator: self.key_separator.clone().map(String::into_bytes),
            key: self.key.clone().map(String::into_bytes),
            largest: as_size(self.max_request_size.as_u64().min(LARGEST_REQUEST)),
        }
    }

    fn packing(&self, routes: &Routes) -> Result<Packing, Failure> {
        let share = PACKING_BYTES / as_size(routes.partitions.max(1).into());
        let largest = as_size(self.max_request_size.as_u64().min(LARGEST_REQUEST));
        Ok(Packing {
            compression: compression(self.compression, &routes.compression)?,
            batch_size: as_size(self.batch_size.as_u64()).min(share.max(SMALLEST_BATCH)).min(largest),
            linger: self.linger,
            partitions: routes.partitions,
        })
    }

    fn partitioner(&self, routes: &Routes) -> Result<Partitioner, Failure> {
        match self.partition {
            None => Ok(Partitioner::spread(routes.partitions, routes.online())),
            Some(partition) if partition < routes.partitions => Ok(Partitioner::One(partition)),
            Some(partition) => Err(Failure::usage(format!(
                "topic {} has no partition {partition}, it has {}",
                self.topic, routes.partitions
            ))
            .with_fix("fluvio partition list")),
        }
    }

    fn terms(&self) -> Terms {
        let request_bytes = self.max_request_size.as_u64().min(REQUEST_TARGET);
        Terms {
            topic: self.topic.clone(),
            isolation: self.isolation.into(),
            timeout: Duration::from_millis(30_000),
            request_bytes: as_size(request_bytes),
            // Twice what is on its way: the next request is ready when an answer comes.
            window_bytes: as_size(request_bytes * (u64::from(self.in_flight) + 1)),
            in_flight: self.in_flight.into(),
            patience: self.patience,
        }
    }
}

fn as_size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The codec to use: the topic's own, if it has one, else the one that was asked for.
fn compression(asked: Option<Codec>, topic: &CompressionAlgorithm) -> Result<Compression, Failure> {
    let asked = asked.map(|codec| match codec {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Snappy => Compression::Snappy,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
    });
    let own = match topic {
        CompressionAlgorithm::Any => return Ok(asked.unwrap_or_default()),
        CompressionAlgorithm::None => Compression::None,
        CompressionAlgorithm::Gzip => Compression::Gzip,
        CompressionAlgorithm::Snappy => Compression::Snappy,
        CompressionAlgorithm::Lz4 => Compression::Lz4,
        CompressionAlgorithm::Zstd => Compression::Zstd,
    };
    match asked {
        Some(asked) if asked != own => {
            Err(Failure::usage(format!("the topic takes compression {own}, not {asked}"))
                .with_fix("leave --compression away"))
        }
        _ => Ok(own),
    }
}

fn summary(tally: &Tally, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(0.001);
    let rate = output::bytes((tally.bytes as f64 / seconds) as u64);
    let again = if tally.again > 0 { format!(", {} of them sent again", tally.again) } else { String::new() };
    let records = if tally.records == 1 { "record" } else { "records" };
    format!(
        "{} {records} stored ({}) in {seconds:.2} s: {:.0} records/s, {rate}/s{again}",
        tally.records,
        output::bytes(tally.bytes),
        tally.records as f64 / seconds
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topics_codec_wins_unless_it_takes_any() {
        use CompressionAlgorithm as Topic;
        assert_eq!(compression(None, &Topic::Any).unwrap(), Compression::None);
        assert_eq!(compression(Some(Codec::Lz4), &Topic::Any).unwrap(), Compression::Lz4);
        assert_eq!(compression(None, &Topic::Zstd).unwrap(), Compression::Zstd);
        assert_eq!(compression(Some(Codec::Zstd), &Topic::Zstd).unwrap(), Compression::Zstd);
        assert!(compression(Some(Codec::Gzip), &Topic::Zstd).is_err());
        assert!(compression(Some(Codec::Gzip), &Topic::None).is_err());
    }

    #[test]
    fn the_summary_says_what_is_stored_and_how_fast() {
        let tally = Tally { records: 2_000, bytes: 200_000, again: 0 };
        let took = Duration::from_secs(2);
        assert_eq!(
            summary(&tally, took),
            "2000 records stored (200.0 kB) in 2.00 s: 1000 records/s, 100.0 kB/s"
        );
        let tally = Tally { records: 1, bytes: 1, again: 1 };
        assert_eq!(
            summary(&tally, took),
            "1 record stored (1 B) in 2.00 s: 0 records/s, 0 B/s, 1 of them sent again"
        );
    }
}
