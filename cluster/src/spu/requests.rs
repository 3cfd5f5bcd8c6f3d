//! What clients ask an SPU for, and who may.

use std::sync::Arc;

use futures_util::FutureExt;

use super::Spu;
use super::stream::Stream;
use super::streams::{Reader, Streams};
use super::turns::Turns;
use crate::access::{Action, On};
use crate::connection::{Close, MAX_STREAMS, Service, Session, Work};
use crate::link::PartitionKey;
use crate::wire::{
    DeleteConsumerOffset, ErrorCode, FetchConsumerOffsets, FetchOffsets, ProduceRequest, Request, Server,
    SliceHead, StreamFetch, UpdateConsumerOffset, api_versions, stream_slice, update_offsets,
    update_offsets_response,
};

/// A client sends everything that waits for this SPU in one request: by default up to a hundred batches of a
/// partition, which is 50 MB with batches of 500 kB. What is limited is each batch; this only bounds memory.
const FRAME_CAP: usize = 128 << 20;

/// Bytes of a request that brings neither records nor a SmartModule: what its lists become in memory is many times
/// that. Enough for the offsets of 60,000 partitions.
const LISTS_CAP: usize = 256 << 10;

/// Answers clients for one SPU.
#[derive(Debug)]
pub struct Requests {
    spu: Arc<Spu>,
}

/// What is kept for each connection.
#[derive(Debug)]
pub struct Connection {
    session: Arc<Session>,
    streams: Streams,
    /// Produce requests queue their batches in the order of arrival.
    turns: Turns,
}

impl Requests {
    pub(super) fn new(spu: Arc<Spu>) -> Self {
        Self { spu }
    }
}

impl Service for Requests {
    type Connection = Connection;

    fn frame_cap(&self) -> usize {
        FRAME_CAP
    }

    fn open(&self, session: &Arc<Session>) -> Connection {
        let session = Arc::clone(session);
        Connection { session, streams: Streams::default(), turns: Turns::default() }
    }

    fn request(&self, connection: &mut Connection, request: Request) -> Result<Work, Close> {
        let header = request.header;
        if !Server::Spu.understands(&header) {
            return Err(Close::NotServed { key: header.key, version: header.version });
        }
        if !matches!(header.key, 0 | 1003) && request.body.len() > LISTS_CAP {
            return Err(Close::TooMuch("a request of more than 256 KiB that brings no records"));
        }
        match header.key {
            18 => Ok(Work::Reply(api_versions(Server::Spu, &header)?)),
            0 => self.produce(connection, request),
            1002 => {
                let asked = FetchOffsets::parse(request.body)?;
                let session = Arc::clone(&connection.session);
                Ok(Work::Later(Arc::clone(&self.spu).fetch_offsets(header, asked, session).boxed()))
            }
            1003 => self.stream_fetch(connection, request),
            1005 => {
                let status =
                    |ack: crate::wire::OffsetAck| (ack.stream_id, connection.streams.acknowledge(ack));
                let statuses = update_offsets(request.body)?.into_iter().map(status).collect();
                Ok(Work::Reply(update_offsets_response(&header, statuses)?))
            }
            1006..=1008 => self.consumer_offsets(connection, request),
            key => Err(Close::NotServed { key, version: header.version }),
        }
    }
}

impl Requests {
    fn produce(&self, connection: &mut Connection, request: Request) -> Result<Work, Close> {
        let header = request.header;
        let mut asked = ProduceRequest::parse(request.body)?;
        if let Some(smartmodule) = asked.smartmodule.take() {
            let refusal = smartmodule.refusal(|name| self.spu.is_kept(name));
            return Ok(Work::Reply(self.spu.refuse_produce(&header, asked, &refusal)?));
        }
        let turn = connection.turns.next();
        let session = Arc::clone(&connection.session);
        Ok(Work::Later(Arc::clone(&self.spu).produce(header, asked, turn, session).boxed()))
    }

    fn stream_fetch(&self, connection: &mut Connection, request: Request) -> Result<Work, Close> {
        let asked = StreamFetch::parse(request.body)?;
        let session = Arc::clone(&connection.session);
        // The protocol has no word for the end of a stream: a client that drops one does not tell.
        if connection.streams.count() >= MAX_STREAMS {
            let reason = format!(
                "this connection has {MAX_STREAMS} streams, also those that were dropped; connect again"
            );
            let head = SliceHead {
                topic: &asked.topic,
                partition: asked.partition,
                stream_id: 0,
                error: ErrorCode::Other(reason),
                high_watermark: 0,
                log_start_offset: 0,
            };
            return Ok(Work::Reply(stream_slice(&request.header, head, Vec::new())?));
        }
        let key = PartitionKey { topic: asked.topic.clone(), partition: asked.partition };
        let reader = Reader { consumer: asked.consumer_id.clone(), key };
        let (id, acks) = connection.streams.open(reader);
        let spu = Arc::clone(&self.spu);
        let stream = Stream { spu, session, header: request.header, id, request: asked, acks };
        Ok(Work::Stream(stream.run().boxed()))
    }

    fn consumer_offsets(&self, connection: &Connection, request: Request) -> Result<Work, Close> {
        let Request { header, body, .. } = request;
        let session = Arc::clone(&connection.session);
        let may = |topic: Option<&str>| session.may(Action::ConsumerOffsets, On::of(topic));
        let spu = Arc::clone(&self.spu);
        Ok(Work::Later(match header.key {
            1006 => {
                let asked = UpdateConsumerOffset::parse(body)?;
                let reader = connection.streams.reader(asked.stream_id);
                let permitted = may(reader.as_ref().map(|reader| reader.key.topic.as_str()));
                async move { spu.update_consumer(&header, asked, reader, permitted).await }.boxed()
            }
            1007 => {
                let asked = DeleteConsumerOffset::parse(body)?;
                let permitted = may(Some(&asked.topic));
                async move { spu.delete_consumer(&header, asked, permitted).await }.boxed()
            }
            _ => {
                let asked = FetchConsumerOffsets::parse(body, header.version)?;
                async move { spu.list_consumers(&header, asked, &session).await }.boxed()
            }
        }))
    }
}
