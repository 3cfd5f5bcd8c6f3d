//! Reading a log file from end to end, as recovery does: it trusts nothing but what checks out.

use std::io;

use super::header::Identity;
use super::index::{Entry, SPACING};
use crate::batch::{self, HEADER_BYTES as BATCH_HEADER_BYTES, Header};
use crate::disk::File;

/// Bytes read at once.
pub(super) const WINDOW: usize = 1 << 20;
/// A batch header with the optional schema id.
pub(super) const LOOK_BYTES: usize = BATCH_HEADER_BYTES + 4;

/// How far a log file is good.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// Behind the last good batch.
    pub(crate) position: u64,
    /// Offset behind the last good batch.
    pub(crate) next_offset: i64,
    /// The largest timestamp seen; -1 for none.
    pub(crate) max_timestamp: i64,
    /// For the index.
    pub(crate) entries: Vec<Entry>,
    /// Why the scan ended before the end of the file.
    pub(crate) stopped: Option<String>,
}

/// Checks batch after batch from `position`, where `offset` is expected, to `len`.
pub(crate) fn scan(
    file: &dyn File,
    identity: Identity,
    position: u64,
    offset: i64,
    len: u64,
) -> io::Result<Scanned> {
    let mut scanned =
        Scanned { position, next_offset: offset, max_timestamp: -1, entries: Vec::new(), stopped: None };
    let mut entry_due = position;
    let mut window = Window::from(position);
    while scanned.position < len {
        let at = scanned.position;
        let header = match window
            .at(file, at, LOOK_BYTES, len)
            .map(|bytes| check(bytes, identity, scanned.next_offset, len - at))?
        {
            Ok(header) => header,
            Err(reason) => return Ok(Scanned { stopped: Some(reason), ..scanned }),
        };
        let bytes = window.at(file, at, header.total_bytes, len)?;
        if let Err(error) = batch::verify(bytes) {
            return Ok(Scanned { stopped: Some(error.to_string()), ..scanned });
        }
        if at >= entry_due {
            scanned.entries.push(Entry { offset: header.base_offset, position: at });
            entry_due = at + SPACING;
        }
        scanned.max_timestamp = scanned.max_timestamp.max(header.max_timestamp);
        scanned.next_offset += header.records();
        scanned.position += header.total_bytes as u64;
    }
    Ok(scanned)
}

/// Checks a batch header against what the log knows: which offset and epoch it must have, and how many bytes
/// are left for it. The checksum is not looked at.
pub(super) fn check(bytes: &[u8], identity: Identity, offset: i64, left: u64) -> Result<Header, String> {
    let header = Header::parse(bytes).map_err(|error| error.to_string())?;
    if header.base_offset != offset {
        return Err(format!("offset {offset} was expected and {} is there", header.base_offset));
    }
    if header.leader_epoch != identity.leader_epoch {
        let (expected, found) = (identity.leader_epoch, header.leader_epoch);
        return Err(format!("leader epoch {expected} was expected and {found} is there"));
    }
    if header.total_bytes as u64 > left {
        return Err(format!("a batch of {} bytes where {left} are left", header.total_bytes));
    }
    header.next_offset().ok_or_else(|| "its offsets run out of range".to_owned())?;
    Ok(header)
}

/// A part of the file in memory.
pub(super) struct Window {
    bytes: Vec<u8>,
    position: u64,
    /// Bytes read at once where more than that are not wanted.
    ahead: usize,
}

impl Window {
    /// For reading on from `position`.
    pub(super) fn from(position: u64) -> Self {
        Self { bytes: Vec::new(), position, ahead: WINDOW }
    }

    /// For a look at `position` and no further.
    pub(super) fn narrow(position: u64) -> Self {
        Self { bytes: Vec::new(), position, ahead: 0 }
    }

    /// The bytes at `position`: `wanted` of them, fewer only where `len` ends them.
    pub(super) fn at(
        &mut self,
        file: &dyn File,
        position: u64,
        wanted: usize,
        len: u64,
    ) -> io::Result<&[u8]> {
        // A position behind the end comes of an index that lies.
        let left = usize::try_from(len.saturating_sub(position)).unwrap_or(usize::MAX);
        let wanted = wanted.min(left);
        let skip = usize::try_from(position - self.position).unwrap_or(usize::MAX);
        if skip.saturating_add(wanted) > self.bytes.len() {
            let bytes = std::mem::take(&mut self.bytes);
            self.position = position;
            self.bytes = read_ahead(file, bytes, position, wanted, self.ahead.min(left))?;
            let read = self.bytes.len();
            return Ok(&self.bytes[..wanted.min(read)]);
        }
        Ok(&self.bytes[skip..skip + wanted])
    }
}

/// Bytes from `position` on, more than are wanted if the disk gives them: one bad block must not cost what lies
/// before it.
fn read_ahead(
    file: &dyn File,
    mut bytes: Vec<u8>,
    position: u64,
    wanted: usize,
    ahead: usize,
) -> io::Result<Vec<u8>> {
    bytes.resize(wanted.max(ahead), 0);
    let read = file.read_at(&mut bytes, position).or_else(|error| {
        if bytes.len() <= wanted {
            return Err(error);
        }
        bytes.truncate(wanted);
        file.read_at(&mut bytes, position)
    })?;
    bytes.truncate(read);
    Ok(bytes)
}
