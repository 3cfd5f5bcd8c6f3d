//! When enough was read: a pure count, without streams.

use std::collections::BTreeSet;

/// How far to read.
#[derive(Debug)]
pub struct End {
    left: Option<u64>,
    last_offset: Option<i64>,
    unfinished: BTreeSet<u32>,
}

impl End {
    /// Ends after `records` records, and in each of `partitions` after the record at `last_offset`.
    pub fn new(records: Option<u64>, last_offset: Option<i64>, partitions: Vec<u32>) -> Self {
        Self { left: records, last_offset, unfinished: partitions.into_iter().collect() }
    }

    /// Whether nothing more is wanted.
    pub fn is_reached(&self) -> bool {
        self.left == Some(0) || self.unfinished.is_empty()
    }

    /// Whether this record is still wanted; counts it.
    pub fn admits(&mut self, partition: u32, offset: i64) -> bool {
        let wanted = !self.is_reached() && self.last_offset.is_none_or(|last| offset <= last);
        if wanted && let Some(left) = &mut self.left {
            *left -= 1;
        }
        if self.last_offset.is_some_and(|last| offset >= last) {
            self.unfinished.remove(&partition);
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Options `-n` and `--end`, what is read, and whether that was all.
    type Case<'a> = (Option<u64>, Option<i64>, &'a [(u32, i64)], bool);

    fn read(mut end: End, records: &[(u32, i64)]) -> (Vec<(u32, i64)>, bool) {
        let wanted =
            records.iter().copied().filter(|(partition, offset)| end.admits(*partition, *offset)).collect();
        (wanted, end.is_reached())
    }

    #[test]
    fn reading_ends_where_the_options_say() {
        let records = [(0, 5), (1, 0), (0, 6), (1, 1), (0, 7), (1, 2)];
        let cases: [Case<'_>; 6] = [
            (None, None, &records, false),
            (Some(2), None, &records[..2], true),
            (Some(9), None, &records, false),
            (Some(0), None, &[], true),
            (None, Some(6), &[(0, 5), (1, 0), (0, 6), (1, 1), (1, 2)], false),
            (None, Some(1), &[(1, 0), (1, 1)], true),
        ];
        for (count, last, wanted, reached) in cases {
            let end = End::new(count, last, vec![0, 1]);
            assert_eq!(read(end, &records), (wanted.to_vec(), reached), "{count:?} {last:?}");
        }
    }
}
