//! What an answer to a produce request means for the batches it was about.

use fluvio::dataplane::link::ErrorCode;
use fluvio_spu_schema::produce::ProduceResponse;

use super::window::Carried;

/// What became of one partition's batches in a request.
#[derive(Debug, PartialEq)]
pub struct Fate {
    /// The partition.
    pub partition: u32,
    /// How many of them, from the first, are stored.
    pub stored: usize,
    /// Offset of the last of these.
    pub last_base: Option<i64>,
    /// Why the next one is not.
    pub refusal: Option<Refusal>,
}

/// Why a batch was not stored.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// The same batch may be stored later.
    Passing(String),
    /// It never will, as it is.
    Final {
        /// The server's reason.
        why: String,
        /// What to do about it.
        fix: &'static str,
    },
}

/// Reads an answer: one entry for each batch that was carried, in the same order.
pub fn judge(carried: &Carried, answer: &ProduceResponse) -> Vec<Fate> {
    let mut entries = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let mut fates = Vec::with_capacity(carried.len());
    for (partition, count) in carried {
        let mut fate = Fate { partition: *partition, stored: 0, last_base: None, refusal: None };
        for _ in 0..*count {
            let entry = entries.next();
            let refusal = match entry {
                Some(entry) if entry.partition_index != *partition => {
                    Some(Refusal::Passing("the SPU answered for another partition".to_owned()))
                }
                Some(entry) => weigh(&entry.error_code),
                None => {
                    Some(Refusal::Passing("the SPU answered for fewer batches than it was sent".to_owned()))
                }
            };
            // After a refusal the rest is as good as not stored: it must not end up before the refused batch.
            if fate.refusal.is_none() {
                match refusal {
                    Some(_) => fate.refusal = refusal,
                    None => {
                        fate.stored += 1;
                        fate.last_base = entry.map(|entry| entry.base_offset);
                    }
                }
            }
        }
        fates.push(fate);
    }
    fates
}

fn weigh(code: &ErrorCode) -> Option<Refusal> {
    let fix = match code {
        ErrorCode::None => return None,
        ErrorCode::MessageTooLarge => "send smaller records, or a smaller --batch-size",
        ErrorCode::PermissionDenied => "use a profile whose certificate may produce to this topic",
        ErrorCode::PartitionFull { .. } => "shorten the topic's retention, or ask for more storage",
        ErrorCode::CompressionError => "leave --compression away: the topic has a codec of its own",
        ErrorCode::TopicNotFound | ErrorCode::TopicDeleted => "fluvio topic list",
        ErrorCode::DeduplicationSmartModuleNotLoaded
        | ErrorCode::SmartModuleInvalid { .. }
        | ErrorCode::SmartModuleNotFound { .. }
        | ErrorCode::SmartModuleRuntimeError(_) => "mend the topic's SmartModule",
        other => return Some(Refusal::Passing(other.to_string())),
    };
    Some(Refusal::Final { why: code.to_string(), fix })
}

#[cfg(test)]
mod tests {
    use fluvio_spu_schema::produce::{PartitionProduceResponse, TopicProduceResponse};

    use super::*;

    /// The entries of an answer, and for each carried partition how many are stored and whether one was refused.
    type Case<'a> = (&'a [(u32, ErrorCode)], [(u32, usize, bool); 2]);

    fn answer(entries: &[(u32, ErrorCode)]) -> ProduceResponse {
        let partitions = entries.iter().map(|(partition_index, error_code)| PartitionProduceResponse {
            partition_index: *partition_index,
            error_code: error_code.clone(),
            ..Default::default()
        });
        let topic = TopicProduceResponse { name: "t".to_owned(), partitions: partitions.collect() };
        ProduceResponse { responses: vec![topic], throttle_time_ms: 0 }
    }

    fn stored(fates: &[Fate]) -> Vec<(u32, usize, bool)> {
        fates.iter().map(|fate| (fate.partition, fate.stored, fate.refusal.is_some())).collect()
    }

    #[test]
    fn batches_count_as_stored_up_to_the_first_refusal_of_their_partition() {
        use ErrorCode::{None as Stored, NotLeaderForPartition as Moved};
        let carried = vec![(0, 2), (3, 1)];
        let cases: [Case<'_>; 6] = [
            (&[(0, Stored), (0, Stored), (3, Stored)], [(0, 2, false), (3, 1, false)]),
            (&[(0, Stored), (0, Moved), (3, Stored)], [(0, 1, true), (3, 1, false)]),
            (&[(0, Moved), (0, Stored), (3, Stored)], [(0, 0, true), (3, 1, false)]),
            (&[(0, Stored), (0, Stored), (3, Moved)], [(0, 2, false), (3, 0, true)]),
            (&[(0, Stored)], [(0, 1, true), (3, 0, true)]),
            (&[(3, Stored), (0, Stored), (0, Stored)], [(0, 0, true), (3, 0, true)]),
        ];
        for (entries, expected) in cases {
            assert_eq!(stored(&judge(&carried, &answer(entries))), expected, "{entries:?}");
        }
    }

    #[test]
    fn what_no_repetition_mends_is_final() {
        let ended = |code: &ErrorCode| matches!(weigh(code), Some(Refusal::Final { .. }));
        for code in [ErrorCode::MessageTooLarge, ErrorCode::PermissionDenied, ErrorCode::TopicDeleted] {
            assert!(ended(&code), "{code:?}");
        }
        for code in
            [ErrorCode::NotLeaderForPartition, ErrorCode::StorageError, ErrorCode::Other("busy".to_owned())]
        {
            assert!(!ended(&code) && weigh(&code).is_some(), "{code:?}");
        }
        assert_eq!(weigh(&ErrorCode::None), None);
    }
}
