//! Whether one log explains what all clients of a partition saw: linearizability, for an object whose operations say
//! where they took effect. For a log that needs no search: an append says its offset, and a read is a start of it.
//!
//! What is held to: each append that was acknowledged is at its offset, once; of two appends, of which one ended
//! before the other began, the first is before the second, and one that was not acknowledged happened at one place
//! between others or not at all; every read is a start of the same log, and has nothing that was not asked for by its
//! end. A read from a leader that does not know yet that it was replaced may be of a moment before it began.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// What a client was asked to append, and what came of it. Times are since a moment that all share.
#[derive(Debug, Clone, Copy)]
pub struct Append {
    pub called: Duration,
    /// When it was acknowledged, and at which offset.
    pub returned: Option<(Duration, i64)>,
}

/// What a client read from the beginning.
#[derive(Debug, Clone)]
pub struct Read {
    pub returned: Duration,
    pub numbers: Vec<u64>,
}

/// All that clients did with one partition; each append has a number of its own.
#[derive(Debug)]
pub struct History {
    begin: Instant,
    appends: BTreeMap<u64, Append>,
    reads: Vec<Read>,
}

impl Default for History {
    fn default() -> Self {
        Self { begin: Instant::now(), appends: BTreeMap::new(), reads: Vec::new() }
    }
}

impl History {
    /// Somebody begins to append; its number.
    pub fn calls(&mut self) -> u64 {
        let number = u64::try_from(self.appends.len()).unwrap_or(u64::MAX);
        self.appends.insert(number, Append { called: self.begin.elapsed(), returned: None });
        number
    }

    /// It was acknowledged.
    pub fn returns(&mut self, number: u64, offset: i64) {
        let now = self.begin.elapsed();
        if let Some(append) = self.appends.get_mut(&number) {
            append.returned = Some((now, offset));
        }
    }

    /// Somebody has read these.
    pub fn reads(&mut self, numbers: Vec<u64>) {
        self.reads.push(Read { returned: self.begin.elapsed(), numbers });
    }

    /// Appends that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.appends.values().filter(|append| append.returned.is_some()).count()
    }

    /// Compares all of it with what the log is in the end; how many appends and reads were compared.
    pub fn check(&self, log: &[u64]) -> anyhow::Result<(usize, usize)> {
        let mut places = HashMap::new();
        for (place, number) in log.iter().enumerate() {
            ensure!(self.appends.contains_key(number), "nobody appended {number}, at {place}");
            ensure!(places.insert(*number, place).is_none(), "{number} is there twice");
        }
        for (number, append) in &self.appends {
            let Some((_, offset)) = append.returned else { continue };
            let place =
                places.get(number).with_context(|| format!("lost: {number}, acknowledged at {offset}"))?;
            ensure!(i64::try_from(*place)? == offset, "{number} is at {place}, acknowledged at {offset}");
        }
        self.check_order(log)?;
        self.reads.iter().try_for_each(|read| self.check_read(log, read))?;
        Ok((self.appends.len(), self.reads.len()))
    }

    /// From the end: whatever ended before an append began cannot be behind it.
    fn check_order(&self, log: &[u64]) -> anyhow::Result<()> {
        let mut first_end: Option<(Duration, u64)> = None;
        for number in log.iter().rev() {
            let append = self.appends[number];
            if let Some((ended, later)) = first_end.filter(|(ended, _)| *ended < append.called) {
                bail!("{later} ended at {ended:?}, and {number}, called after that, is before it");
            }
            let ended = append.returned.map(|(ended, _)| (ended, *number));
            first_end = first_end.into_iter().chain(ended).min();
        }
        Ok(())
    }

    fn check_read(&self, log: &[u64], read: &Read) -> anyhow::Result<()> {
        ensure!(log.starts_with(&read.numbers), "a read is not a start of the log: {:?}", read.numbers);
        let ahead = read.numbers.iter().find(|number| self.appends[*number].called > read.returned);
        ensure!(ahead.is_none(), "a read had {ahead:?} before anybody appended it");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(appends: &[(u64, Option<(u64, i64)>)], reads: &[(u64, &[u64])]) -> History {
        let at = Duration::from_millis;
        let appends = appends.iter().map(|(called, returned)| Append {
            called: at(*called),
            returned: returned.map(|(ended, offset)| (at(ended), offset)),
        });
        let reads =
            reads.iter().map(|(ended, numbers)| Read { returned: at(*ended), numbers: numbers.to_vec() });
        History { appends: (0..).zip(appends).collect(), reads: reads.collect(), ..History::default() }
    }

    #[test]
    fn a_log_that_explains_everything_is_accepted() {
        let seen = history(
            // The last was never acknowledged, and is there all the same; another is not.
            &[(0, Some((10, 0))), (5, Some((30, 2))), (12, Some((20, 1))), (13, None), (14, None)],
            &[(11, &[0]), (40, &[0, 2, 1, 4])],
        );
        assert_eq!(seen.check(&[0, 2, 1, 4]).unwrap(), (5, 2));
    }

    #[test]
    fn what_no_log_explains_is_named() {
        let acknowledged = |offset| Some((10, offset));
        for (appends, reads, log, word) in [
            (&[(0, acknowledged(0))][..], &[][..], &[][..], "lost"),
            (&[(0, acknowledged(1)), (0, None)], &[], &[0, 1], "is at 0"),
            (&[(0, acknowledged(0))], &[], &[0, 0], "twice"),
            (&[(0, acknowledged(0))], &[], &[0, 7], "nobody appended 7"),
            (&[(20, Some((30, 0))), (0, acknowledged(1))], &[], &[0, 1], "called after that"),
            (&[(20, None), (0, acknowledged(1))], &[], &[0, 1], "called after that"),
            (&[(0, acknowledged(0)), (0, None)], &[(5, &[1][..])], &[0, 1], "not a start"),
            (&[(9, acknowledged(0))], &[(5, &[0])], &[0], "before anybody"),
        ] {
            let error = history(appends, reads).check(log).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
