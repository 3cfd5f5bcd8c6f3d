//! A topic's spec, to and from the wire.

use crate::sc::Refusal;
use crate::sc::topic::{Compression, Replicas, TopicOptions, TopicSpec};
use crate::wire::schema::metadata::topic::{
    CleanupPolicy, CompressionAlgorithm, PartitionMap, PartitionMaps, ReplicaSpec, SegmentBasedPolicy,
    TopicSpec as WireTopicSpec, TopicStorageConfig,
};

/// The spec, or what is wrong with it. The rules and their wording are the schema crate's own.
pub fn from_wire(wire: &WireTopicSpec) -> Result<TopicSpec, Refusal> {
    let invalid = |problem: String| Refusal::InvalidConfiguration(problem);
    let replicas = replicas_from_wire(wire.replicas())?;
    if let Some(problem) = wire.validate_config() {
        return Err(invalid(problem));
    }
    if wire.get_deduplication().is_some() {
        return Err(Refusal::DeduplicationModule);
    }
    let storage = wire.get_storage();
    Ok(TopicSpec {
        replicas,
        options: TopicOptions {
            retention_seconds: wire.get_clean_policy().map(CleanupPolicy::retention_secs),
            segment_bytes: storage.and_then(|storage| storage.segment_size),
            partition_bytes: storage.and_then(|storage| storage.max_partition_size),
            compression: compression_from_wire(wire.get_compression_type()),
            // What a client says here is not believed: the SC alone makes system topics.
            system: false,
        },
    })
}

fn replicas_from_wire(wire: &ReplicaSpec) -> Result<Replicas, Refusal> {
    let invalid = |error: &dyn std::fmt::Display| Refusal::InvalidConfiguration(error.to_string());
    match wire {
        ReplicaSpec::Computed(param) => {
            ReplicaSpec::valid_partition(&param.partitions).map_err(|error| invalid(&error))?;
            ReplicaSpec::valid_replication_factor(&param.replication_factor)
                .map_err(|error| invalid(&error))?;
            Ok(Replicas::Computed {
                partitions: param.partitions,
                replication_factor: param.replication_factor,
                ignore_rack: param.ignore_rack_assignment,
            })
        }
        ReplicaSpec::Assigned(maps) => {
            maps.validate().map_err(|error| invalid(&error))?;
            Ok(Replicas::Assigned(maps.maps().iter().map(|map| map.replicas.clone()).collect()))
        }
        ReplicaSpec::Mirror(_) => {
            Err(Refusal::Unsupported("mirror topics are not available on this cluster".into()))
        }
    }
}

/// The spec as clients get to see it.
pub fn to_wire(spec: &TopicSpec) -> WireTopicSpec {
    let mut wire = WireTopicSpec::from(match &spec.replicas {
        Replicas::Computed { partitions, replication_factor, ignore_rack } => {
            ReplicaSpec::new_computed(*partitions, *replication_factor, Some(*ignore_rack))
        }
        Replicas::Assigned(map) => {
            let maps: Vec<PartitionMap> = (0..)
                .zip(map)
                .map(|(id, replicas)| PartitionMap { id, replicas: replicas.clone(), mirror: None })
                .collect();
            ReplicaSpec::Assigned(PartitionMaps::from(maps))
        }
    });
    if let Some(policy) = cleanup_policy(&spec.options) {
        wire.set_cleanup_policy(policy);
    }
    if let Some(storage) = storage(&spec.options) {
        wire.set_storage(storage);
    }
    wire.set_compression_type(compression_to_wire(spec.options.compression));
    wire.set_system(spec.options.system);
    wire
}

pub fn cleanup_policy(options: &TopicOptions) -> Option<CleanupPolicy> {
    let policy = |time_in_seconds| CleanupPolicy::Segment(SegmentBasedPolicy { time_in_seconds });
    options.retention_seconds.map(policy)
}

pub fn storage(options: &TopicOptions) -> Option<TopicStorageConfig> {
    (options.segment_bytes.is_some() || options.partition_bytes.is_some()).then_some(TopicStorageConfig {
        segment_size: options.segment_bytes,
        max_partition_size: options.partition_bytes,
    })
}

fn compression_from_wire(wire: &CompressionAlgorithm) -> Compression {
    match wire {
        CompressionAlgorithm::None => Compression::None,
        CompressionAlgorithm::Gzip => Compression::Gzip,
        CompressionAlgorithm::Snappy => Compression::Snappy,
        CompressionAlgorithm::Lz4 => Compression::Lz4,
        CompressionAlgorithm::Any => Compression::Any,
        CompressionAlgorithm::Zstd => Compression::Zstd,
    }
}

pub fn compression_to_wire(compression: Compression) -> CompressionAlgorithm {
    match compression {
        Compression::None => CompressionAlgorithm::None,
        Compression::Gzip => CompressionAlgorithm::Gzip,
        Compression::Snappy => CompressionAlgorithm::Snappy,
        Compression::Lz4 => CompressionAlgorithm::Lz4,
        Compression::Any => CompressionAlgorithm::Any,
        Compression::Zstd => CompressionAlgorithm::Zstd,
    }
}
