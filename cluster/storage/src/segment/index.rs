//! The index of a segment: where to begin looking, and how far the log is known to be synced.
//!
//! `<first offset, 20 digits>.index` (big endian numbers):
//! ```text
//! byte  0  magic         8 bytes  "FLVIDX\r\n"
//!       8  version       u32      1
//!      12  base offset   i64      as in the name
//!      20  checksum      u32      crc32c of bytes 0-19
//!      24  synced length u64      of the log file: all before it was synced       \
//!      32  next offset   i64      behind the last batch before it                 | overwritten
//!      40  last append   i64      ms since 1970                                   | in place
//!      48  checksum      u32      crc32c of bytes 12-19 (base offset) and 24-47   /
//!      52  committed     i64      high-water mark when last noted              \ overwritten in place;
//!      60  checksum      u32      crc32c of bytes 12-19 (base offset) and 52-59 / 0 where nobody told one
//!      64  entries of 12 bytes, one for about each 4096 bytes of log:
//!            offset - base   u32
//!            position        u32   of the batch that begins with this offset
//!            checksum        u32   crc32c of the 8 bytes before
//! ```
//! It is advice. It is written without syncing, always after the log was synced; an entry or the mark that
//! does not check out is as good as none, and the log alone can rebuild all of it. The mark tells a torn tail
//! (behind it: cut) from damage (before it: never cut). After a crash of the process it is exact; after a power
//! cut it may be some seconds old.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, File, read_exact_at};

const MAGIC: &[u8; 8] = b"FLVIDX\r\n";
const VERSION: u32 = 1;
const IDENTITY_BYTES: usize = 24;
const MARK_BYTES: usize = 28;
const COMMITTED_AT: u64 = 52;
const COMMITTED_BYTES: usize = 12;
const ENTRIES_AT: u64 = 64;
const ENTRY_BYTES: usize = 12;

/// An entry is made for the first batch behind each run of this many bytes.
pub(crate) const SPACING: u64 = 4096;

/// How far the log is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) len: u64,
    pub(crate) next_offset: i64,
    pub(crate) last_append_ms: i64,
}

/// A batch's place in the log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: i64,
    pub(crate) position: u64,
}

/// An open index.
pub(crate) struct Index {
    file: Arc<dyn File>,
    base: i64,
}

impl Index {
    /// Makes an empty one, replacing what is there.
    pub(crate) fn create(disk: &dyn Disk, path: &Path, base: i64) -> io::Result<Self> {
        let file = disk.create(path)?;
        let mut head = [0; ENTRIES_AT as usize];
        head[..IDENTITY_BYTES].copy_from_slice(&identity(base));
        file.write_all_at(&[IoSlice::new(&head)], 0)?;
        Ok(Self { file, base })
    }

    /// Opens one; none if it is not there or not an index of this segment.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, base: i64) -> Option<Self> {
        let file = disk.open(path).ok()?;
        let mut head = [0; ENTRIES_AT as usize];
        read_exact_at(&*file, &mut head, 0).ok()?;
        (head[..IDENTITY_BYTES] == identity(base)).then_some(Self { file, base })
    }

    /// How far the log was synced when this was last written.
    pub(crate) fn mark(&self) -> Option<Mark> {
        let mut bytes = [0; MARK_BYTES];
        read_exact_at(&*self.file, &mut bytes, IDENTITY_BYTES as u64).ok()?;
        let word = |at: usize| bytes[at..].first_chunk::<8>().copied().unwrap_or_default();
        let mark = Mark {
            len: u64::from_be_bytes(word(0)),
            next_offset: i64::from_be_bytes(word(8)),
            last_append_ms: i64::from_be_bytes(word(16)),
        };
        (bytes == self.encode_mark(mark)).then_some(mark)
    }

    pub(crate) fn set_mark(&self, mark: Mark) -> io::Result<()> {
        self.file.write_all_at(&[IoSlice::new(&self.encode_mark(mark))], IDENTITY_BYTES as u64)
    }

    /// How far the log was committed when this was last written; none if nobody told one.
    pub(crate) fn committed(&self) -> Option<i64> {
        let mut bytes = [0; COMMITTED_BYTES];
        read_exact_at(&*self.file, &mut bytes, COMMITTED_AT).ok()?;
        let offset = i64::from_be_bytes(bytes[..8].first_chunk::<8>().copied().unwrap_or_default());
        (bytes == self.encode_committed(offset)).then_some(offset)
    }

    pub(crate) fn set_committed(&self, offset: i64) -> io::Result<()> {
        self.file.write_all_at(&[IoSlice::new(&self.encode_committed(offset))], COMMITTED_AT)
    }

    /// Writes entries behind the first `count`; returns the new count. What does not fit into an entry is left
    /// out: the batch is then found from the one before.
    pub(crate) fn append(&self, count: u64, entries: &[Entry]) -> io::Result<u64> {
        let bytes: Vec<u8> = entries.iter().filter_map(|entry| self.encode_entry(*entry)).flatten().collect();
        if !bytes.is_empty() {
            self.file.write_all_at(&[IoSlice::new(&bytes)], entry_at(count))?;
        }
        Ok(count + (bytes.len() / ENTRY_BYTES) as u64)
    }

    /// Cuts entries that are damaged or not before `len` off the end; returns how many are left.
    pub(crate) fn cut(&self, len: u64) -> io::Result<u64> {
        let mut count = self.count()?;
        while count > 0 && self.entry(count - 1).is_none_or(|entry| entry.position >= len) {
            count -= 1;
        }
        self.file.truncate(entry_at(count))?;
        Ok(count)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The position of a batch that begins at or before `offset`, as near as the index knows, and before
    /// `len`; none if it knows none. A damaged entry counts as one too far, so that an earlier one is taken.
    pub(crate) fn find(&self, offset: i64, len: u64) -> Option<Entry> {
        let (mut low, mut high) = (0, self.count().ok()?);
        let mut best = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle).filter(|entry| entry.offset <= offset && entry.position < len) {
                Some(entry) => {
                    best = Some(entry);
                    low = middle + 1;
                }
                None => high = middle,
            }
        }
        best
    }

    /// The entries of batches behind `position`, in order; damaged ones are left out.
    pub(crate) fn behind(&self, position: u64) -> impl Iterator<Item = Entry> {
        let entries = (0..self.count().unwrap_or(0)).filter_map(|number| self.entry(number));
        entries.filter(move |entry| entry.position > position)
    }

    fn count(&self) -> io::Result<u64> {
        Ok(self.file.length()?.saturating_sub(ENTRIES_AT) / ENTRY_BYTES as u64)
    }

    fn entry(&self, number: u64) -> Option<Entry> {
        let mut bytes = [0; ENTRY_BYTES];
        read_exact_at(&*self.file, &mut bytes, entry_at(number)).ok()?;
        let word = |at: usize| bytes[at..].first_chunk::<4>().copied().unwrap_or_default();
        let entry = Entry {
            offset: self.base.checked_add(i64::from(u32::from_be_bytes(word(0))))?,
            position: u64::from(u32::from_be_bytes(word(4))),
        };
        (u32::from_be_bytes(word(8)) == crc32c::crc32c(&bytes[..8])).then_some(entry)
    }

    fn encode_entry(&self, entry: Entry) -> Option<[u8; ENTRY_BYTES]> {
        let mut bytes = [0; ENTRY_BYTES];
        let offset = u32::try_from(entry.offset - self.base).ok()?;
        bytes[..4].copy_from_slice(&offset.to_be_bytes());
        bytes[4..8].copy_from_slice(&u32::try_from(entry.position).ok()?.to_be_bytes());
        let checksum = crc32c::crc32c(&bytes[..8]);
        bytes[8..].copy_from_slice(&checksum.to_be_bytes());
        Some(bytes)
    }

    fn encode_committed(&self, offset: i64) -> [u8; COMMITTED_BYTES] {
        let mut bytes = [0; COMMITTED_BYTES];
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&self.base.to_be_bytes()), &bytes[..8]);
        bytes[8..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn encode_mark(&self, mark: Mark) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(&mark.len.to_be_bytes());
        bytes[8..16].copy_from_slice(&mark.next_offset.to_be_bytes());
        bytes[16..24].copy_from_slice(&mark.last_append_ms.to_be_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&self.base.to_be_bytes()), &bytes[..24]);
        bytes[24..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

fn identity(base: i64) -> [u8; IDENTITY_BYTES] {
    let mut bytes = [0; IDENTITY_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_be_bytes());
    bytes[12..20].copy_from_slice(&base.to_be_bytes());
    let checksum = crc32c::crc32c(&bytes[..20]);
    bytes[20..].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn entry_at(number: u64) -> u64 {
    ENTRIES_AT + number * ENTRY_BYTES as u64
}
