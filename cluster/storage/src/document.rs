//! Small documents, kept durably: whole or not at all.
//!
//! For metadata that is read at the start and replaced as a whole. A file is
//! ```text
//! byte  0  magic      8 bytes  "FLVDOC\r\n"
//!       8  version    u32      of the content, the caller's
//!      12  length     u64      of the content
//!      20  checksum   u32      crc32c of bytes 0-19 and of the content
//!      24  content
//! ```
//! with big endian numbers. It is written beside its place, synced, renamed and its folder synced: after a power
//! cut the old or the new document is there, never a mixture. All functions block.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::disk::{Disk, read_exact_at};
use crate::error::{Corruption, OpenError};

const MAGIC: &[u8; 8] = b"FLVDOC\r\n";
const HEADER_BYTES: usize = 24;
/// No document of ours is near this; a larger length is damage.
const MOST_BYTES: u64 = 256 << 20;

/// Replaces the document at `path`. When this returns, the new one survives a power cut.
pub fn save(disk: &dyn Disk, path: &Path, version: u32, content: &[u8]) -> io::Result<()> {
    if content.len() as u64 > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the document is too large"));
    }
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let beside = beside(path);
    let header = header(version, content);
    let file = disk.create(&beside)?;
    file.write_all_at(&[IoSlice::new(&header), IoSlice::new(content)], 0)?;
    file.sync_data()?;
    disk.rename(&beside, path)?;
    disk.sync_dir(folder)
}

/// Reads the document at `path`: its version and content, or none if there is no such file.
pub fn load(disk: &dyn Disk, path: &Path) -> Result<Option<(u32, Vec<u8>)>, OpenError> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io(path)(error)),
    };
    let len = file.length().map_err(OpenError::io(path))?;
    if len < HEADER_BYTES as u64 || len > MOST_BYTES + HEADER_BYTES as u64 {
        return Err(damaged(path, "its length is impossible"));
    }
    let mut bytes = vec![0; len as usize];
    read_exact_at(&*file, &mut bytes, 0).map_err(OpenError::io(path))?;
    let content = bytes.split_off(HEADER_BYTES);
    let version = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    if bytes != header(version, &content) {
        return Err(damaged(path, "header and content do not match"));
    }
    Ok(Some((version, content)))
}

/// [`save`] for what serialises to JSON.
pub fn save_json<T: Serialize>(disk: &dyn Disk, path: &Path, version: u32, value: &T) -> io::Result<()> {
    save(disk, path, version, &serde_json::to_vec(value)?)
}

/// [`load`] for JSON of a version up to `known`.
pub fn load_json<T: DeserializeOwned>(
    disk: &dyn Disk,
    path: &Path,
    known: u32,
) -> Result<Option<T>, OpenError> {
    let Some((version, content)) = load(disk, path)? else { return Ok(None) };
    if version > known {
        return Err(OpenError::Incompatible { file: path.to_owned(), version, known });
    }
    serde_json::from_slice(&content)
        .map(Some)
        .map_err(|error| damaged(path, &format!("its content is not what it should be: {error}")))
}

fn header(version: u32, content: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&version.to_be_bytes());
    header[12..20].copy_from_slice(&(content.len() as u64).to_be_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[..20]), content);
    header[20..].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// Where the document lies until it takes its place; a failed [`save`] can leave it there.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn damaged(path: &Path, reason: &str) -> OpenError {
    OpenError::Corrupt(Corruption { file: path.to_owned(), position: 0, reason: reason.to_owned() })
}
