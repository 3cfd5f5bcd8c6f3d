//! Whether batches whose answer was lost are stored all the same, so that they are not sent twice.
//!
//! A stored batch has the bytes that were sent: its records, its timestamps, its number of records. So what follows on
//! the last acknowledged record tells which of the batches that were on their way arrived. A server holds the answer
//! about a partition's end until it knows what the leader before had stored.

use std::collections::VecDeque;
use std::time::Duration;

use fluvio::Isolation;
use fluvio::dataplane::api::Request;
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::{Batch, RawRecords};
use fluvio_socket::VersionedSerialSocket;
use fluvio_spu_schema::server::fetch_offset::FetchOffsetsRequest;
use fluvio_spu_schema::server::stream_fetch::DefaultStreamFetchRequest;
use fluvio_spu_schema::server::update_offset::{OffsetUpdate, UpdateOffsetsRequest};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::batch::Packed;
use crate::streams::target::causes;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const READ_BYTES: i32 = 4 << 20;
const QUEUE: usize = 10;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// How many of the batches, from the first, are stored.
    pub count: usize,
    /// Behind the last of them, or where the search began.
    pub behind: i64,
}

/// Looks which of these batches are stored at `from` or behind it; why it cannot be said, if it cannot.
pub async fn stored(
    socket: &VersionedSerialSocket,
    topic: &str,
    partition: u32,
    from: i64,
    sent: &[&Packed],
) -> Result<Stored, String> {
    let (start, end) = bounds(socket, topic, partition).await?;
    let from = from.max(start);
    let mut found = Found { sent: sent.iter().copied().collect(), stored: Stored { count: 0, behind: from } };
    if from >= end {
        return Ok(found.stored);
    }
    let request = DefaultStreamFetchRequest::builder()
        .topic(topic.to_owned())
        .partition(partition)
        .fetch_offset(from)
        .isolation(Isolation::ReadCommitted)
        .max_bytes(READ_BYTES)
        .build()
        .map_err(|error| error.to_string())?;
    let request = socket.new_request(request, socket.lookup_version::<DefaultStreamFetchRequest>());
    let opening = timeout(ANSWER_TIMEOUT, socket.create_stream(request, QUEUE)).await;
    let mut responses = Box::pin(opening.map_err(|_| late())?.map_err(causes)?);
    let mut next = from;
    while next < end && !found.is_over() {
        let response = timeout(ANSWER_TIMEOUT, responses.next()).await.map_err(|_| late())?;
        let response = response.ok_or("the connection ended")?.map_err(causes)?;
        let fetched = response.partition;
        if fetched.error_code != ErrorCode::None {
            return Err(fetched.error_code.to_string());
        }
        for batch in &fetched.records.batches {
            found.look_at(batch);
            next = next.max(batch.base_offset + i64::from(batch.last_offset_delta()) + 1);
        }
        let update = OffsetUpdate { offset: next, session_id: response.stream_id };
        ask(socket, UpdateOffsetsRequest { offsets: vec![update] }).await?;
    }
    Ok(found.stored)
}

/// Goes through stored batches in order and finds the sent ones among those of others.
struct Found<'a> {
    sent: VecDeque<&'a Packed>,
    stored: Stored,
}

impl Found<'_> {
    fn is_over(&self) -> bool {
        self.sent.is_empty()
    }

    fn look_at(&mut self, stored: &Batch<RawRecords>) {
        if self.sent.front().is_some_and(|sent| same(&sent.batch, stored)) {
            self.sent.pop_front();
            self.stored.count += 1;
            self.stored.behind = stored.base_offset + i64::from(stored.last_offset_delta()) + 1;
        }
    }
}

fn same(sent: &Batch<RawRecords>, stored: &Batch<RawRecords>) -> bool {
    sent.last_offset_delta() == stored.last_offset_delta()
        && sent.header.first_timestamp == stored.header.first_timestamp
        && sent.records().0 == stored.records().0
}

async fn bounds(socket: &VersionedSerialSocket, topic: &str, partition: u32) -> Result<(i64, i64), String> {
    let answer = ask(socket, FetchOffsetsRequest::new(topic.to_owned(), partition)).await?;
    let found = answer.topics.iter().flat_map(|topic| &topic.partitions).next();
    let found = found.ok_or("the SPU told no offsets")?;
    match &found.error_code {
        ErrorCode::None => Ok((found.start_offset, found.last_stable_offset)),
        code => Err(code.to_string()),
    }
}

async fn ask<R: Request + Send + Sync>(
    socket: &VersionedSerialSocket,
    request: R,
) -> Result<R::Response, String> {
    timeout(ANSWER_TIMEOUT, socket.send_receive(request)).await.map_err(|_| late())?.map_err(causes)
}

fn late() -> String {
    "the SPU does not answer".to_owned()
}

#[cfg(test)]
mod tests {
    use fluvio::Compression;

    use super::super::batch::Packer;
    use super::*;

    fn packed(value: &str) -> Packed {
        let mut packer = Packer::new(0, Compression::None, 1000);
        packer.push(None, value.as_bytes(), 1_000);
        packer.take().unwrap()
    }

    #[test]
    fn sent_batches_are_found_among_others_in_their_order() {
        // What was sent, what is stored, and how many of the sent are.
        for (sent, stored, expected) in [
            (&["a", "b"][..], &["x", "a", "y", "b"][..], 2),
            (&["a", "b"], &["a", "x"], 1),
            (&["a", "b"], &["x", "y"], 0),
            // The younger one alone is sent again behind the older one, to keep the order.
            (&["a", "b"], &["b"], 0),
            // As often as it was sent.
            (&["a", "a"], &["a", "x"], 1),
            (&["a", "a"], &["a", "a", "a"], 2),
        ] {
            let sent: Vec<Packed> = sent.iter().map(|value| packed(value)).collect();
            let nothing = Stored { count: 0, behind: 0 };
            let mut found = Found { sent: sent.iter().collect(), stored: nothing };
            for value in stored {
                found.look_at(&packed(value).batch);
            }
            assert_eq!(found.stored.count, expected);
        }
    }
}
