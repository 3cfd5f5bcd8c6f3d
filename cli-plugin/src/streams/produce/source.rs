//! The input: read in large pieces on a thread of its own, split into records, packed into batches.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fluvio::Compression;
use memchr::memchr_iter;
use memchr::memmem::Finder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc::Sender;

use super::batch::{Packed, Packer, RECORD_OVERHEAD};
use super::partitioner::Partitioner;
use crate::failure::{Failure, OrFail};

const READ_BYTES: usize = 256 * 1024;

/// How records are cut out of the input.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The whole input is one record.
    pub whole: bool,
    /// What stands between key and value on a line.
    pub key_separator: Option<Vec<u8>>,
    /// The key of every record.
    pub key: Option<Vec<u8>>,
    /// The largest record.
    pub largest: usize,
}

/// How records become batches.
#[derive(Debug, Clone, Copy)]
pub struct Packing {
    /// The codec.
    pub compression: Compression,
    /// Bytes at which a batch is sent.
    pub batch_size: usize,
    /// How long a batch waits for more while the input is silent.
    pub linger: Duration,
    /// Partitions of the topic.
    pub partitions: u32,
}

/// Where the records come from.
#[derive(Debug)]
pub struct Input {
    file: File,
    /// Whether a read can wait for somebody: then batches are sent before it does.
    may_wait: bool,
    /// Whether a person types.
    prompt: bool,
}

impl Input {
    /// A file.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let doing = format!("{} cannot be read", path.display());
        let file = File::open(path).or_fail(&doing)?;
        let kind = file.metadata().or_fail(&doing)?.file_type();
        if kind.is_dir() {
            return Err(Failure::usage(format!("{} is a folder", path.display())));
        }
        Ok(Self { may_wait: !kind.is_file(), file, prompt: false })
    }

    /// Standard input.
    pub fn stdin() -> Result<Self, Failure> {
        let stdin = io::stdin();
        let prompt = stdin.is_terminal();
        let file = File::from(stdin.as_fd().try_clone_to_owned().or_fail("standard input cannot be read")?);
        let may_wait = !file.metadata().is_ok_and(|metadata| metadata.is_file());
        Ok(Self { file, may_wait, prompt })
    }

    /// Whether a read would answer at once, or within `patience`.
    fn is_ready_within(&self, patience: Duration) -> bool {
        if !self.may_wait {
            return true;
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        };
        // What cannot be polled is read, which answers for itself.
        poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&timeout)).map_or(true, |ready| ready > 0)
    }
}

/// The reading thread's work.
pub struct Source {
    input: Input,
    cut: Cut,
    packing: Packing,
    partitioner: Partitioner,
    separator: Option<Finder<'static>>,
    packers: Vec<Packer>,
    /// When the oldest unsent record came in.
    oldest: Option<Instant>,
    records: u64,
    out: Sender<Packed>,
}

/// The other side has given up: it says why.
struct Unheard;

/// Why reading stopped before the end.
enum Stop {
    Unheard,
    Failed(Failure),
}

impl From<Unheard> for Stop {
    fn from(_: Unheard) -> Self {
        Self::Unheard
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Source {
    /// Prepares to read; batches go to `out`, which bounds how far ahead the reading gets.
    pub fn new(
        input: Input,
        cut: Cut,
        packing: Packing,
        partitioner: Partitioner,
        out: Sender<Packed>,
    ) -> Self {
        let packers = (0..packing.partitions)
            .map(|number| Packer::new(number, packing.compression, packing.batch_size));
        let separator = cut.key_separator.as_ref().map(|separator| Finder::new(separator).into_owned());
        Self {
            input,
            packers: packers.collect(),
            cut,
            packing,
            partitioner,
            separator,
            oldest: None,
            records: 0,
            out,
        }
    }

    /// Reads to the end. What was cut before a failure is handed over first.
    pub fn run(mut self) -> Result<(), Failure> {
        let read = if self.cut.whole { self.read_whole() } else { self.read_lines() };
        let flushed = match read {
            Err(Stop::Unheard) => return Ok(()),
            Ok(()) | Err(Stop::Failed(_)) => self.flush(),
        };
        match (read, flushed) {
            (Err(Stop::Failed(failure)), _) | (_, Err(Stop::Failed(failure))) => Err(failure),
            _ => Ok(()),
        }
    }

    fn read_whole(&mut self) -> Result<(), Stop> {
        let mut bytes = Vec::new();
        let limit = self.cut.largest as u64 + 1;
        Read::by_ref(&mut self.input.file)
            .take(limit)
            .read_to_end(&mut bytes)
            .or_fail("the input cannot be read")?;
        let key = self.cut.key.clone();
        self.push(key.as_deref(), &bytes, now())
    }

    fn read_lines(&mut self) -> Result<(), Stop> {
        let mut buffer = vec![0; READ_BYTES];
        let mut filled = 0;
        loop {
            if filled == buffer.len() {
                self.check_size(filled)?;
                buffer.resize(buffer.len() * 2, 0);
            }
            self.before_reading()?;
            let count = match self.input.file.read(&mut buffer[filled..]) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Failure::failed(format!("the input cannot be read: {error}")).into());
                }
            };
            if count == 0 {
                break;
            }
            let searched = filled;
            filled += count;
            let used = self.push_lines(&buffer[..filled], searched)?;
            buffer.copy_within(used..filled, 0);
            filled -= used;
        }
        if filled > 0 {
            let last = std::mem::take(&mut buffer);
            self.push_line(without_return(&last[..filled]), now())?;
        }
        Ok(())
    }

    /// Pushes every whole line of `bytes`, in which no line ends before `searched`; answers how many bytes they took.
    fn push_lines(&mut self, bytes: &[u8], searched: usize) -> Result<usize, Stop> {
        let now = now();
        let mut start = 0;
        for end in memchr_iter(b'\n', &bytes[searched..]) {
            let end = searched + end;
            self.push_line(without_return(&bytes[start..end]), now)?;
            start = end + 1;
        }
        Ok(start)
    }

    fn push_line(&mut self, line: &[u8], now: i64) -> Result<(), Stop> {
        if let Some(finder) = &self.separator {
            let Some(at) = finder.find(line) else {
                return Err(self.no_separator().into());
            };
            return self.push(Some(&line[..at]), &line[at + finder.needle().len()..], now);
        }
        match self.cut.key.take() {
            None => self.push(None, line, now),
            Some(key) => {
                let pushed = self.push(Some(&key), line, now);
                self.cut.key = Some(key);
                pushed
            }
        }
    }

    fn push(&mut self, key: Option<&[u8]>, value: &[u8], now: i64) -> Result<(), Stop> {
        let size = key.map_or(0, <[u8]>::len) + value.len();
        self.check_size(size)?;
        let partition = self.partitioner.choose(key) as usize;
        let Some(packer) = self.packers.get_mut(partition) else {
            return Err(Failure::usage(format!("the topic has no partition {partition}")).into());
        };
        if packer.is_full_for(size) {
            let full = packer.take().or_fail("a batch could not be compressed")?;
            self.out.blocking_send(full).map_err(|_| Unheard)?;
        }
        packer.push(key, value, now);
        self.records += 1;
        Ok(())
    }

    /// Sends what is there before a read that may wait: at once, or after the linger time.
    fn before_reading(&mut self) -> Result<(), Stop> {
        let pending = self.packers.iter().any(|packer| !packer.is_empty());
        if !pending {
            self.oldest = None;
        } else if self.input.may_wait {
            let oldest = *self.oldest.get_or_insert_with(Instant::now);
            let left = self.packing.linger.saturating_sub(oldest.elapsed());
            if !self.input.is_ready_within(left) {
                self.flush()?;
                self.oldest = None;
            }
        }
        if self.input.prompt {
            let mut stderr = io::stderr().lock();
            let _cosmetic = write!(stderr, "> ").and_then(|()| stderr.flush());
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Stop> {
        for packer in self.packers.iter_mut().filter(|packer| !packer.is_empty()) {
            let batch = packer.take().or_fail("a batch could not be compressed")?;
            self.out.blocking_send(batch).map_err(|_| Unheard)?;
        }
        Ok(())
    }

    fn check_size(&self, size: usize) -> Result<(), Failure> {
        if size + RECORD_OVERHEAD <= self.cut.largest {
            return Ok(());
        }
        Err(Failure::failed(format!("record {} is larger than {} bytes", self.records + 1, self.cut.largest))
            .with_fix("the records before it were sent; cut it smaller, or raise --max-request-size"))
    }

    fn no_separator(&self) -> Failure {
        let separator =
            String::from_utf8_lossy(self.cut.key_separator.as_deref().unwrap_or_default()).into_owned();
        Failure::failed(format!("line {} has no key separator `{separator}`", self.records + 1))
            .with_fix("the lines before it were sent; mend it and send the rest")
    }
}

/// A line's end may be `\r\n`, as the standard library's lines have it too.
fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
