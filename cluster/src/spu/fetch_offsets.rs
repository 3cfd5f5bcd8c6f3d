//! FetchOffsets: where partitions begin and end.

use std::sync::Arc;

use tokio::time::Instant;

use super::Spu;
use super::elsewhere::Bounds;
use super::route::HELD;
use crate::access::{Action, On};
use crate::connection::{Close, Session};
use crate::link::PartitionKey;
use crate::wire::{ErrorCode, FetchOffsets, Frame, Header, OffsetsOfPartition, fetch_offsets_response};

impl Spu {
    /// Answers from memory, here or at the SPU that leads.
    pub(super) async fn fetch_offsets(
        self: Arc<Self>,
        header: Header,
        request: FetchOffsets,
        session: Arc<Session>,
    ) -> Result<Frame, Close> {
        // Of all partitions together: the client waits once for all of them.
        let deadline = Instant::now() + HELD;
        let mut topics = Vec::with_capacity(request.topics.len());
        for (topic, partitions) in request.topics {
            let permitted = session.may(Action::Consume, On::Topic(&topic));
            let mut offsets = Vec::with_capacity(partitions.len());
            for partition in partitions {
                let key = PartitionKey { topic: topic.clone(), partition };
                let found = match permitted {
                    true => self.bounds(&key, ErrorCode::PartitionNotLeader, deadline).await,
                    false => Err(ErrorCode::PermissionDenied),
                };
                offsets.push(match found {
                    Ok(Bounds { log_start: start, hw: last_stable }) => {
                        OffsetsOfPartition { partition, error: ErrorCode::None, start, last_stable }
                    }
                    Err(error) => OffsetsOfPartition { partition, error, start: -1, last_stable: -1 },
                });
            }
            topics.push((topic, offsets));
        }
        Ok(fetch_offsets_response(&header, topics)?)
    }
}
