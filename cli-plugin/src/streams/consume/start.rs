//! Where consuming starts and where it ends, as the options say it.

use clap::Args;
use fluvio::Offset;

use crate::failure::Failure;

/// Where to start; without any of these, with what comes next (or where --consumer left off)
#[derive(Debug, Args, Default)]
#[group(multiple = false)]
pub struct Start {
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

impl Start {
    /// The client's way of saying it.
    pub fn offset(&self) -> Result<Offset, Failure> {
        match self {
            Self { beginning: true, .. } => Ok(Offset::beginning()),
            Self { head: Some(after), .. } => Ok(Offset::from_beginning(*after)),
            Self { tail: Some(before), .. } => Ok(Offset::from_end(*before)),
            Self { start: Some(offset), .. } => Offset::absolute(*offset)
                .map_err(|_| Failure::usage(format!("{offset} is no offset")).with_fix("offsets start at 0")),
            _ => Ok(Offset::end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        start: Start,
    }

    fn offset(words: &[&str]) -> Option<Offset> {
        Line::try_parse_from(["consume"].iter().chain(words)).ok()?.start.offset().ok()
    }

    #[test]
    fn the_options_name_upstreams_places() {
        assert_eq!(offset(&[]), Some(Offset::end()));
        assert_eq!(offset(&["-B"]), Some(Offset::beginning()));
        assert_eq!(offset(&["-H", "5"]), Some(Offset::from_beginning(5)));
        assert_eq!(offset(&["-T"]), Some(Offset::from_end(10)));
        assert_eq!(offset(&["-T", "3"]), Some(Offset::from_end(3)));
        assert_eq!(offset(&["--start", "7"]), Offset::absolute(7).ok());
        assert_eq!(offset(&["--offset", "7"]), Offset::absolute(7).ok());
    }

    #[test]
    fn two_places_at_once_and_places_before_the_first_are_refused() {
        for words in [&["-B", "-T"][..], &["-B", "--start", "1"], &["--start=-1"], &["-H", "x"]] {
            assert_eq!(offset(words), None, "{words:?}");
        }
    }
}
