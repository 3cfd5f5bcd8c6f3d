//! The consumer streams of one connection.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::link::PartitionKey;
use crate::wire::{ErrorCode, OffsetAck};

/// An ended stream is forgotten when this many more have been opened, and not at once: nobody else would
/// notice its end.
const SWEEP_AT: usize = 64;

/// What a connection knows of one of its streams.
#[derive(Debug)]
struct Entry {
    acks: watch::Sender<i64>,
    reader: Arc<Reader>,
}

/// Who reads what.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) consumer: Option<String>,
    pub(super) key: PartitionKey,
}

/// The streams of one connection, by number.
#[derive(Debug, Default)]
pub(super) struct Streams {
    last_id: u32,
    open: HashMap<u32, Entry>,
}

impl Streams {
    /// Streams that have not ended.
    pub(super) fn count(&mut self) -> usize {
        self.open.retain(|_, entry| !entry.acks.is_closed());
        self.open.len()
    }

    /// A new stream: its number and where its acknowledgements arrive. It ends when the receiver is dropped.
    pub(super) fn open(&mut self, reader: Reader) -> (u32, watch::Receiver<i64>) {
        if self.open.len() >= SWEEP_AT {
            self.open.retain(|_, entry| !entry.acks.is_closed());
        }
        self.last_id = self.last_id.wrapping_add(1);
        let (acks, receiver) = watch::channel(0);
        self.open.insert(self.last_id, Entry { acks, reader: Arc::new(reader) });
        (self.last_id, receiver)
    }

    /// Passes an acknowledgement to its stream.
    pub(super) fn acknowledge(&self, ack: OffsetAck) -> ErrorCode {
        match self.live(ack.stream_id) {
            Some(entry) => {
                entry.acks.send_replace(ack.offset);
                ErrorCode::None
            }
            None => ErrorCode::FetchSessionNotFoud,
        }
    }

    /// Who reads on this stream.
    pub(super) fn reader(&self, stream_id: u32) -> Option<Arc<Reader>> {
        self.live(stream_id).map(|entry| Arc::clone(&entry.reader))
    }

    fn live(&self, stream_id: u32) -> Option<&Entry> {
        self.open.get(&stream_id).filter(|entry| !entry.acks.is_closed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Reader {
        Reader { consumer: None, key: PartitionKey { topic: "numbers".into(), partition: 0 } }
    }

    #[test]
    fn an_acknowledgement_reaches_its_stream_only_while_it_lives() {
        let mut streams = Streams::default();
        let (first, mut first_acks) = streams.open(reader());
        let (second, second_acks) = streams.open(reader());
        assert_eq!((first, second), (1, 2));
        let ack = |stream_id| OffsetAck { offset: 9, stream_id };
        assert_eq!(streams.acknowledge(ack(1)), ErrorCode::None);
        assert_eq!(*first_acks.borrow_and_update(), 9);
        assert!(!second_acks.has_changed().unwrap());
        drop(second_acks);
        assert_eq!(streams.acknowledge(ack(2)), ErrorCode::FetchSessionNotFoud);
        assert_eq!(streams.acknowledge(ack(3)), ErrorCode::FetchSessionNotFoud);
    }

    #[test]
    fn ended_streams_are_forgotten() {
        let mut streams = Streams::default();
        for _ in 0..1000 {
            drop(streams.open(reader()));
        }
        assert!(streams.open.len() <= SWEEP_AT);
        let (_, _open) = streams.open(reader());
        assert_eq!(streams.count(), 1);
    }
}
