//! `fluvio topic create`.

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use fluvio::FluvioAdmin;
use fluvio::metadata::topic::{
    CleanupPolicy, CompressionAlgorithm, ReplicaSpec, SegmentBasedPolicy, TopicSpec, TopicStorageConfig,
};

use crate::failure::{Failure, Outcome};
use crate::output;
use crate::streams::target::answer;

/// Options of `topic create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The topic's name: small letters, digits and hyphens
    name: String,
    /// How many partitions it gets
    #[arg(long, short = 'p', value_name = "N", default_value_t = 1)]
    partitions: u32,
    /// On how many SPUs each partition is kept
    #[arg(long, short = 'r', value_name = "N", default_value_t = 1)]
    replication: u32,
    /// How long records stay, for example 7d or 12h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    retention_time: Option<std::time::Duration>,
    /// How large one file of the log grows, for example 100MB
    #[arg(long, value_name = "BYTES")]
    segment_size: Option<ByteSize>,
    /// How large a partition grows before its oldest records go, for example 10GB
    #[arg(long, value_name = "BYTES")]
    max_partition_size: Option<ByteSize>,
    /// Which compression producers use
    #[arg(long, value_enum, value_name = "TYPE", default_value_t = CompressionType::Any)]
    compression_type: CompressionType,
    /// Only check whether the topic could be created
    #[arg(long, short = 'd')]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompressionType {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
    Any,
}

impl Create {
    /// Runs the command.
    pub async fn run(&self, admin: &FluvioAdmin) -> Outcome {
        let spec = self.spec()?;
        let doing = format!("topic {} was not created", self.name);
        answer(&doing, admin.create(self.name.clone(), self.dry_run, spec)).await?;
        let done = if self.dry_run { "could be created" } else { "created" };
        output::line(&format!("topic \"{}\" {done}", self.name))?;
        Ok(0)
    }

    fn spec(&self) -> Result<TopicSpec, Failure> {
        let mut spec: TopicSpec = ReplicaSpec::new_computed(self.partitions, self.replication, None).into();
        if let Some(time) = self.retention_time {
            let time_in_seconds =
                u32::try_from(time.as_secs()).map_err(|_| too_much("--retention-time", "136 years"))?;
            spec.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy { time_in_seconds }));
        }
        spec.set_compression_type(match self.compression_type {
            CompressionType::None => CompressionAlgorithm::None,
            CompressionType::Gzip => CompressionAlgorithm::Gzip,
            CompressionType::Snappy => CompressionAlgorithm::Snappy,
            CompressionType::Lz4 => CompressionAlgorithm::Lz4,
            CompressionType::Zstd => CompressionAlgorithm::Zstd,
            CompressionType::Any => CompressionAlgorithm::Any,
        });
        if self.segment_size.is_some() || self.max_partition_size.is_some() {
            let segment_size = self.segment_size.map(|size| u32::try_from(size.as_u64())).transpose();
            spec.set_storage(TopicStorageConfig {
                segment_size: segment_size.map_err(|_| too_much("--segment-size", "4 GiB"))?,
                max_partition_size: self.max_partition_size.map(|size| size.as_u64()),
            });
        }
        // The server checks the same; asking here saves the way there.
        match spec.validate_config() {
            Some(why) => Err(Failure::usage(format!("topic {} cannot be like this: {why}", self.name))),
            None => Ok(spec),
        }
    }
}

fn too_much(option: &str, bound: &str) -> Failure {
    Failure::usage(format!("{option} is beyond {bound}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    fn spec(words: &[&str]) -> Result<TopicSpec, Failure> {
        Line::try_parse_from(["create", "t"].iter().chain(words)).unwrap().create.spec()
    }

    #[test]
    fn the_options_become_the_topic_that_was_meant() {
        let spec = spec(&[
            "-p",
            "3",
            "--retention-time",
            "7d",
            "--segment-size",
            "100MB",
            "--max-partition-size",
            "1GB",
        ]);
        let spec = spec.unwrap();
        assert_eq!(spec.partitions(), 3);
        assert_eq!(spec.replication_factor(), Some(1));
        assert_eq!(spec.retention_secs(), 7 * 24 * 3600);
        let storage = spec.get_storage().unwrap();
        assert_eq!(
            (storage.segment_size, storage.max_partition_size),
            (Some(100_000_000), Some(1_000_000_000))
        );
        assert_eq!(*spec.get_compression_type(), CompressionAlgorithm::Any);
    }

    #[test]
    fn what_no_server_takes_is_wrong_use() {
        for words in [
            ["--retention-time", "5s"],
            ["--segment-size", "100"],
            ["--segment-size", "5GB"],
            ["--max-partition-size", "1kB"],
            ["--retention-time", "200y"],
        ] {
            assert_eq!(spec(&words).unwrap_err().exit_code(), 2, "{words:?}");
        }
    }
}
