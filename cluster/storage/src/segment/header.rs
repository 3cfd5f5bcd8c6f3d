//! The header of a log file.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::{LogFile, log_name};
use crate::disk::{Disk, File, read_exact_at};
use crate::error::{Corruption, OpenError};

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 36;
const CHECKED_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"FLVLOG\r\n";
const VERSION: u32 = 1;

/// What a segment is from its first moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) base: i64,
    pub(crate) created_ms: i64,
    pub(crate) leader_epoch: i32,
}

/// Why there is no new log file.
#[derive(Debug)]
pub(crate) enum CreateError {
    /// It surely has no name.
    NotThere(io::Error),
    /// It may be there after a restart.
    MaybeThere(io::Error),
}

/// Makes an empty log file, durably, name and all.
pub(crate) fn create(
    disk: &dyn Disk,
    folder: &Path,
    identity: Identity,
) -> Result<Arc<dyn File>, CreateError> {
    let path = folder.join(log_name(identity.base));
    let unnamed = path.with_extension("log.new");
    let file = write_header(disk, &unnamed, identity).map_err(|error| {
        // Best effort: what is left is removed at the next opening.
        disk.remove(&unnamed).ok();
        CreateError::NotThere(error)
    })?;
    disk.rename(&unnamed, &path).map_err(CreateError::MaybeThere)?;
    disk.sync_dir(folder).map_err(CreateError::MaybeThere)?;
    Ok(file)
}

fn write_header(disk: &dyn Disk, path: &Path, identity: Identity) -> io::Result<Arc<dyn File>> {
    let file = disk.create(path)?;
    file.write_all_at(&[IoSlice::new(&encode(identity))], 0)?;
    file.sync_data()?;
    Ok(file)
}

/// Opens a log file and checks its header.
pub(crate) fn open(disk: &dyn Disk, folder: &Path, base: i64) -> Result<LogFile, OpenError> {
    let path = folder.join(log_name(base));
    let damaged = |position, reason: &str| {
        OpenError::Corrupt(Corruption { file: path.clone(), position, reason: reason.to_owned() })
    };
    let file = disk.open(&path).map_err(OpenError::io(&path))?;
    let len = file.length().map_err(OpenError::io(&path))?;
    if len < HEADER_BYTES as u64 {
        return Err(damaged(len, "the file is shorter than its header"));
    }
    let mut bytes = [0; HEADER_BYTES];
    read_exact_at(&*file, &mut bytes, 0).map_err(OpenError::io(&path))?;
    let checksum = crc32c::crc32c(&bytes[..CHECKED_BYTES]).to_be_bytes();
    if bytes[..8] != *MAGIC || bytes[CHECKED_BYTES..] != checksum {
        return Err(damaged(0, "the header is not that of a log file"));
    }
    let version = u32::from_be_bytes(take(&bytes, 8));
    if version != VERSION {
        return Err(OpenError::Incompatible { file: path, version, known: VERSION });
    }
    let identity = Identity {
        base: i64::from_be_bytes(take(&bytes, 12)),
        created_ms: i64::from_be_bytes(take(&bytes, 20)),
        leader_epoch: i32::from_be_bytes(take(&bytes, 28)),
    };
    if identity.base != base {
        return Err(damaged(12, "the base offset is not that of the file's name"));
    }
    Ok(LogFile { file, identity, len })
}

/// Whether the file begins with the header that it was made with.
pub(super) fn is_whole(file: &dyn File, identity: Identity) -> io::Result<bool> {
    let mut bytes = [0; HEADER_BYTES];
    read_exact_at(file, &mut bytes, 0)?;
    Ok(bytes == encode(identity))
}

pub(crate) fn encode(identity: Identity) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_be_bytes());
    bytes[12..20].copy_from_slice(&identity.base.to_be_bytes());
    bytes[20..28].copy_from_slice(&identity.created_ms.to_be_bytes());
    bytes[28..32].copy_from_slice(&identity.leader_epoch.to_be_bytes());
    let checksum = crc32c::crc32c(&bytes[..CHECKED_BYTES]);
    bytes[CHECKED_BYTES..].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The `N` bytes at a place known to lie inside of the header.
fn take<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&header[at..at + N]);
    out
}
