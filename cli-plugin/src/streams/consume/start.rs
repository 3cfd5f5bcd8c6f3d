//! Where consuming starts, as the options say it and as the partition has it.

use clap::Args;

use crate::failure::Failure;

/// Where to start; without any of these, with what comes next (or where --consumer left off)
#[derive(Debug, Args, Default)]
#[group(multiple = false)]
pub struct StartOptions {
    /// Start with the oldest record
    #[arg(long, short = 'B', help_heading = "Where to start")]
    beginning: bool,
    /// Start N records after the oldest
    #[arg(long, short = 'H', value_name = "N", num_args = 0..=1, default_missing_value = "0", help_heading = "Where to start")]
    head: Option<u32>,
    /// Start N records before the end
    #[arg(long, short = 'T', value_name = "N", num_args = 0..=1, default_missing_value = "10", help_heading = "Where to start")]
    tail: Option<u32>,
    /// Start at this offset
    #[arg(long, alias = "offset", value_name = "OFFSET", help_heading = "Where to start")]
    start: Option<i64>,
}

/// A place in a partition, before its offsets are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// So many records after the oldest.
    AfterOldest(u32),
    /// So many records before the end.
    BeforeEnd(u32),
    /// At this offset.
    At(i64),
}

/// What a partition holds: from the oldest record's offset to the one after the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The oldest record's offset.
    pub oldest: i64,
    /// The offset of the record that comes next.
    pub end: i64,
}

impl StartOptions {
    /// What they mean.
    pub fn place(&self) -> Result<Start, Failure> {
        match self {
            Self { beginning: true, .. } => Ok(Start::AfterOldest(0)),
            Self { head: Some(after), .. } => Ok(Start::AfterOldest(*after)),
            Self { tail: Some(before), .. } => Ok(Start::BeforeEnd(*before)),
            Self { start: Some(offset), .. } if *offset >= 0 => Ok(Start::At(*offset)),
            Self { start: Some(offset), .. } => {
                Err(Failure::usage(format!("{offset} is no offset")).with_fix("offsets start at 0"))
            }
            _ => Ok(Start::BeforeEnd(0)),
        }
    }
}

impl Start {
    /// The first offset to read, inside what the partition holds; `kept` is the last one that a named consumer read.
    pub fn resolve(self, held: Held, kept: Option<i64>) -> i64 {
        let wanted = match (kept, self) {
            (Some(kept), _) => kept.saturating_add(1),
            (None, Self::AfterOldest(after)) => held.oldest.saturating_add(after.into()),
            (None, Self::BeforeEnd(before)) => held.end.saturating_sub(before.into()),
            (None, Self::At(offset)) => offset,
        };
        wanted.min(held.end).max(held.oldest)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        start: StartOptions,
    }

    fn place(words: &[&str]) -> Option<Start> {
        Line::try_parse_from(["consume"].iter().chain(words)).ok()?.start.place().ok()
    }

    #[test]
    fn the_options_name_upstreams_places() {
        assert_eq!(place(&[]), Some(Start::BeforeEnd(0)));
        assert_eq!(place(&["-B"]), Some(Start::AfterOldest(0)));
        assert_eq!(place(&["-H", "5"]), Some(Start::AfterOldest(5)));
        assert_eq!(place(&["-T"]), Some(Start::BeforeEnd(10)));
        assert_eq!(place(&["-T", "3"]), Some(Start::BeforeEnd(3)));
        assert_eq!(place(&["--start", "7"]), Some(Start::At(7)));
        assert_eq!(place(&["--offset", "7"]), Some(Start::At(7)));
    }

    #[test]
    fn two_places_at_once_and_places_before_the_first_are_refused() {
        for words in [&["-B", "-T"][..], &["-B", "--start", "1"], &["--start=-1"], &["-H", "x"]] {
            assert_eq!(place(words), None, "{words:?}");
        }
    }

    #[test]
    fn a_place_becomes_an_offset_that_the_partition_holds() {
        let held = Held { oldest: 10, end: 30 };
        let cases = [
            (Start::AfterOldest(0), None, 10),
            (Start::AfterOldest(5), None, 15),
            (Start::AfterOldest(99), None, 30),
            (Start::BeforeEnd(0), None, 30),
            (Start::BeforeEnd(4), None, 26),
            (Start::BeforeEnd(99), None, 10),
            (Start::At(12), None, 12),
            (Start::At(0), None, 10),
            (Start::At(99), None, 30),
            (Start::AfterOldest(0), Some(19), 20),
            (Start::BeforeEnd(0), Some(3), 10),
            (Start::BeforeEnd(0), Some(29), 30),
            (Start::BeforeEnd(0), Some(i64::MAX), 30),
        ];
        for (start, kept, offset) in cases {
            assert_eq!(start.resolve(held, kept), offset, "{start:?} {kept:?}");
        }
    }
}
