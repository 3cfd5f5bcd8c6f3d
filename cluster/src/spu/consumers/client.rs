//! The three requests of clients.

use std::sync::Arc;

use super::super::streams::Reader;
use crate::access::{Action, On};
use crate::connection::{Close, Session};
use crate::link::{OffsetsRequest, PartitionKey};
use crate::spu::Spu;
use crate::wire::{
    ConsumerOffset, DeleteConsumerOffset, ErrorCode, FetchConsumerOffsets, FetchConsumerOffsetsResponse,
    Frame, Header, UpdateConsumerOffset, consumer_offset_deleted, consumer_offset_updated,
};

impl Spu {
    /// Moves the offset of the consumer that reads on a stream.
    pub(in crate::spu) async fn update_consumer(
        &self,
        header: &Header,
        asked: UpdateConsumerOffset,
        reader: Option<Arc<Reader>>,
        permitted: bool,
    ) -> Result<Frame, Close> {
        let error = match self.moved(asked.offset, reader, permitted).await {
            Ok(()) => ErrorCode::None,
            Err(error) => error,
        };
        Ok(consumer_offset_updated(header, asked.offset, error)?)
    }

    async fn moved(
        &self,
        offset: i64,
        reader: Option<Arc<Reader>>,
        permitted: bool,
    ) -> Result<(), ErrorCode> {
        if !permitted {
            return Err(ErrorCode::PermissionDenied);
        }
        let reader = reader.ok_or(ErrorCode::FetchSessionNotFoud)?;
        let no_consumer = || ErrorCode::Other("stream without consumer id".into());
        let consumer_id = reader.consumer.clone().ok_or_else(no_consumer)?;
        let request = OffsetsRequest::Update { consumer_id, key: reader.key.clone(), offset };
        self.consumers_call(request).await.map(drop).map_err(ErrorCode::OffsetFlushRequestError)
    }

    /// Forgets a consumer of one partition.
    pub(in crate::spu) async fn delete_consumer(
        &self,
        header: &Header,
        asked: DeleteConsumerOffset,
        permitted: bool,
    ) -> Result<Frame, Close> {
        let error = if permitted {
            let key = PartitionKey { topic: asked.topic, partition: asked.partition };
            let request = OffsetsRequest::Delete { consumer_id: asked.consumer, key };
            self.consumers_call(request).await.map_or_else(ErrorCode::Other, |_| ErrorCode::None)
        } else {
            ErrorCode::PermissionDenied
        };
        Ok(consumer_offset_deleted(header, error)?)
    }

    /// Lists consumers of the topics that the client may consume.
    pub(in crate::spu) async fn list_consumers(
        &self,
        header: &Header,
        asked: FetchConsumerOffsets,
        session: &Session,
    ) -> Result<Frame, Close> {
        let key = asked.replica.map(|(topic, partition)| PartitionKey { topic, partition });
        let may = |topic: Option<&str>| session.may(Action::ConsumerOffsets, On::of(topic));
        let found = if may(key.as_ref().map(|key| key.topic.as_str())) {
            let request = OffsetsRequest::Fetch { consumer_id: asked.consumer, key };
            self.consumers_call(request).await.map_err(ErrorCode::Other)
        } else {
            Err(ErrorCode::PermissionDenied)
        };
        let (error, offsets) = match found {
            Ok(offsets) => (ErrorCode::None, offsets),
            Err(error) => (error, Vec::new()),
        };
        let seen = offsets.into_iter().filter(|found| may(Some(&found.key.topic)));
        let offsets = seen.map(|found| ConsumerOffset {
            consumer: found.consumer_id,
            topic: found.key.topic,
            partition: found.key.partition,
            offset: found.offset,
            modified: found.modified,
        });
        Ok(FetchConsumerOffsetsResponse { error, offsets: offsets.collect() }.encode(header)?)
    }
}
