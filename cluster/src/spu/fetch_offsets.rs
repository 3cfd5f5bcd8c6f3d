//! FetchOffsets: where partitions begin and end.

use super::Spu;
use crate::connection::Close;
use crate::wire::{ErrorCode, FetchOffsets, Frame, Header, OffsetsOfPartition, fetch_offsets_response};

impl Spu {
    /// Answers from memory.
    pub(super) fn fetch_offsets(
        &self,
        header: &Header,
        request: FetchOffsets,
        permitted: bool,
    ) -> Result<Frame, Close> {
        let of_partition = |topic: &str, partition| {
            let found = if permitted {
                self.replicas.leader(topic, partition, ErrorCode::PartitionNotLeader)
            } else {
                Err(ErrorCode::PermissionDenied)
            };
            match found {
                Ok((_, log)) => {
                    let offsets = log.offsets();
                    let (start, last_stable) = (offsets.log_start, offsets.hw);
                    OffsetsOfPartition { partition, error: ErrorCode::None, start, last_stable }
                }
                Err(error) => OffsetsOfPartition { partition, error, start: -1, last_stable: -1 },
            }
        };
        let topics = request
            .topics
            .into_iter()
            .map(|(topic, partitions)| {
                let offsets = partitions.into_iter().map(|number| of_partition(&topic, number)).collect();
                (topic, offsets)
            })
            .collect();
        Ok(fetch_offsets_response(header, topics)?)
    }
}
