//! One consumer stream: sends a slice of whole batches, waits until the client has it, sends the next.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster_storage::{Isolation, Partition, ReadError, Slice, State};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::route::{AGAIN, Route};
use super::{Replica, Spu, changed};
use crate::access::{Action, On};
use crate::connection::{Close, Room, Session};
use crate::link::{Leader, PartitionKey};
use crate::peer::{Answer, Ask, Parcel, Read, Refused};
use crate::wire::schema::error_of;
use crate::wire::{ErrorCode, Header, SliceHead, StreamFetch, StreamIsolation, stream_slice};

/// A slice is at most this large whatever the client asks for, a larger first batch excepted: it lies in
/// memory until the client has taken it.
pub(super) const MAX_SLICE: usize = 4 << 20;

/// A stream that nobody serves looks again after this long at the latest, besides whenever the SC says something.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How long the SPU that leads waits for records before it says that there are none yet, in milliseconds.
const READ_PATIENCE_MS: u64 = 10_000;

/// A stream that a client opened.
pub(super) struct Stream {
    pub(super) spu: Arc<Spu>,
    pub(super) session: Arc<Session>,
    pub(super) header: Header,
    pub(super) id: u32,
    pub(super) request: StreamFetch,
    pub(super) acks: watch::Receiver<i64>,
}

/// Why a stream is over.
enum Over {
    /// The client is told this.
    Error(ErrorCode),
    /// The connection is.
    Close(Close),
    /// Another SPU leads, or soon will: it goes on there.
    Moved,
}

impl Stream {
    /// Runs until the client is gone or has been told why the stream is over: as soon as it may not consume the topic.
    pub(super) async fn run(mut self) -> Result<(), Close> {
        self.spu.usage.streams.add(1);
        let open = OpenStream(Arc::clone(&self.spu));
        let (session, topic) = (Arc::clone(&self.session), self.request.topic.clone());
        let over = tokio::select! {
            biased;
            () = session.loses(Action::Consume, On::Topic(&topic)) => Over::Error(ErrorCode::PermissionDenied),
            over = self.serve() => over,
        };
        drop(open);
        match over {
            Over::Close(close) => Err(close),
            // It is only over when it does not go on elsewhere.
            Over::Moved => Ok(()),
            Over::Error(error) => self.refuse(error).await,
        }
    }

    /// Tells the client why there is no stream, or none any more.
    async fn refuse(self, error: ErrorCode) -> Result<(), Close> {
        self.spu.usage.request_errors.add(1);
        let frame = stream_slice(&self.header, self.head(error, 0, 0), Vec::new())?;
        Ok(self.session.outbox.send(frame).await?)
    }

    async fn serve(&mut self) -> Over {
        if let Some(smartmodule) = self.request.smartmodule.take() {
            return Over::Error(smartmodule.refusal(|name| self.spu.is_kept(name)));
        }
        let key = PartitionKey { topic: self.request.topic.clone(), partition: self.request.partition };
        let mut view = self.spu.link.view();
        let (mut position, mut topic_id, mut pause) = (self.request.offset, None, AGAIN);
        loop {
            view.mark_unchanged();
            let before = position;
            let route = match self.spu.route(&key, ErrorCode::NotLeaderForPartition) {
                Ok(route) => route,
                Err(error) => return Over::Error(error),
            };
            // A topic of the same name is another one: its offsets mean other records.
            if topic_id.is_some() && route.topic_id().is_some_and(|now| topic_id != Some(now)) {
                return Over::Error(ErrorCode::TopicDeleted);
            }
            topic_id = topic_id.or(route.topic_id());
            let over = match route {
                Route::Here(replica, log) => self.serve_here(&replica, &log, &mut position).await,
                Route::There(leader) => self.serve_there(leader, &key, &mut position).await,
                Route::Soon => Over::Moved,
            };
            if !matches!(over, Over::Moved) {
                return over;
            }
            // However long there is no leader, the consumer has nothing to do but to wait, and may as well do it here.
            // Many of them together must not call an SPU that is gone all the time.
            pause = if position == before { pause } else { AGAIN };
            tokio::select! {
                () = changed(&mut view) => {}
                () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    /// Sends from a log of this SPU for as long as it leads.
    async fn serve_here(&mut self, replica: &Replica, log: &Partition, position: &mut i64) -> Over {
        let lead = self.spu.leads.get(&replica.assignment.key).filter(|_| replica.has_copies());
        let over = lead.map(|lead| lead.over()).unwrap_or_default();
        loop {
            match self.step(log, &over, *position).await {
                Ok(next) => *position = next,
                Err(over) => return over,
            }
        }
    }

    /// Sends what the SPU that leads gives, until it does not any more.
    async fn serve_there(&mut self, leader: Leader, key: &PartitionKey, position: &mut i64) -> Over {
        loop {
            let ask = Ask::Read(Read {
                key: key.clone(),
                topic_id: Some(leader.topic_id),
                from: *position,
                max_bytes: self.max_bytes(),
                committed: self.isolation() == Isolation::Committed,
                patience_ms: READ_PATIENCE_MS,
            });
            let (next_offset, log_start, hw, bytes) =
                match self.spu.peers.call::<Answer>(leader.spu, &ask, Bytes::new()).await {
                    Ok(Parcel { head: Answer::Refused(Refused::Code(code)), .. }) => {
                        return Over::Error(error_of(&code));
                    }
                    Ok(Parcel { head: Answer::Slice { next_offset, log_start, hw }, payload }) => {
                        (next_offset, log_start, hw, payload)
                    }
                    Ok(_) | Err(_) => return Over::Moved,
                };
            if bytes.is_empty() {
                continue;
            }
            let room = match self.session.outbox.room(bytes.len()).await {
                Ok(room) => room,
                Err(closed) => return Over::Close(closed.into()),
            };
            if let Err(over) = self.send(room, bytes, hw, log_start) {
                return over;
            }
            changed(&mut self.acks).await;
            *position = (*self.acks.borrow_and_update()).min(next_offset);
        }
    }

    fn max_bytes(&self) -> usize {
        usize::try_from(self.request.max_bytes).unwrap_or(0).clamp(1, MAX_SLICE)
    }

    fn send(&mut self, room: Room, bytes: Bytes, hw: i64, log_start: i64) -> Result<(), Over> {
        self.spu.usage.record_bytes_out.add(bytes.len() as u64);
        let head = self.head(ErrorCode::None, hw, log_start);
        let frame =
            stream_slice(&self.header, head, vec![bytes]).map_err(|error| Over::Close(error.into()))?;
        // What was acknowledged before this slice says nothing about it.
        self.acks.mark_unchanged();
        room.send(frame).map_err(|closed| Over::Close(closed.into()))
    }

    /// Sends one slice from `position` and returns where to go on.
    async fn step(&mut self, log: &Partition, over: &CancellationToken, position: i64) -> Result<i64, Over> {
        let max_bytes = self.max_bytes();
        tokio::select! {
            waited = self.wait_for_records(log, position) => waited?,
            // Only here: what was sent must be acknowledged before it is known where to go on.
            () = over.cancelled() => return Err(Over::Moved),
        }
        let room = self.session.outbox.room(max_bytes).await.map_err(|closed| Over::Close(closed.into()))?;
        let key = PartitionKey { topic: self.request.topic.clone(), partition: self.request.partition };
        let slice = self.spu.read_whole(&key, log, (position, max_bytes, self.isolation())).await;
        let slice = slice.map_err(|error| match error {
            ReadError::Closed if log.state() == State::Closed => Over::Moved,
            error => Over::Error(unreadable(error, position, &log.state())),
        })?;
        if slice.bytes.is_empty() {
            return Ok(position);
        }
        let Slice { bytes, next_offset, offsets, .. } = slice;
        self.send(room, bytes, offsets.hw, offsets.log_start)?;
        self.wait_for_ack(log, next_offset).await
    }

    fn isolation(&self) -> Isolation {
        match self.request.isolation {
            StreamIsolation::Committed => Isolation::Committed,
            StreamIsolation::Uncommitted => Isolation::Uncommitted,
        }
    }

    /// Returns when a read at `position` gives something: records, or an error.
    async fn wait_for_records(&self, log: &Partition, position: i64) -> Result<(), Over> {
        let mut end = match self.isolation() {
            Isolation::Committed => log.watch_hw(),
            Isolation::Uncommitted => log.watch_leo(),
        };
        let mut state = log.watch_state();
        loop {
            ended(&state.borrow_and_update())?;
            let offsets = log.offsets();
            let readable = *end.borrow_and_update();
            if position < readable || position < offsets.log_start || position > offsets.leo {
                return Ok(());
            }
            tokio::select! {
                () = changed(&mut end) => {}
                () = changed(&mut state) => {}
            }
        }
    }

    /// The client answers each slice with the offset it wants next: that, or what was sent up to if it is
    /// beyond (nothing that it was not sent is passed over).
    async fn wait_for_ack(&mut self, log: &Partition, sent_to: i64) -> Result<i64, Over> {
        let mut state = log.watch_state();
        loop {
            tokio::select! {
                () = changed(&mut self.acks) => return Ok((*self.acks.borrow_and_update()).min(sent_to)),
                () = changed(&mut state) => match ended(&state.borrow_and_update()) {
                    // Where it goes on is not known before the client has answered.
                    Ok(()) | Err(Over::Moved) => {}
                    over => over?,
                },
            }
        }
    }

    fn head(&self, error: ErrorCode, high_watermark: i64, log_start_offset: i64) -> SliceHead<'_> {
        SliceHead {
            topic: &self.request.topic,
            partition: self.request.partition,
            stream_id: self.id,
            error,
            high_watermark,
            log_start_offset,
        }
    }
}

/// Counts an open stream off when it is dropped, however it ends.
struct OpenStream(Arc<Spu>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.usage.streams.sub(1);
    }
}

/// A log that was closed or deleted ends its streams.
fn ended(state: &State) -> Result<(), Over> {
    match state {
        State::Open | State::ReadOnly { .. } => Ok(()),
        State::Closed => Err(Over::Moved),
        State::Deleted => Err(Over::Error(ErrorCode::TopicDeleted)),
    }
}

pub(super) fn unreadable(error: ReadError, position: i64, state: &State) -> ErrorCode {
    match error {
        ReadError::Evicted { next } => ErrorCode::OffsetEvicted { offset: position, next_available: next },
        ReadError::OutOfRange { end } => {
            ErrorCode::Other(format!("offset {position} is outside of the partition, which ends at {end}"))
        }
        ReadError::Closed if *state == State::Deleted => ErrorCode::TopicDeleted,
        ReadError::Closed => ErrorCode::NotLeaderForPartition,
        // Told already, once for each place.
        ReadError::Corrupt(_) => ErrorCode::StorageError,
        ReadError::Io { .. } => {
            tracing::error!(%error, "a partition cannot be read");
            ErrorCode::StorageError
        }
    }
}
