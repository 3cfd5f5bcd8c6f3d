//! The narrow seam to the disk.
//!
//! Everything this crate does to a disk goes through [`Disk`] and [`File`], so that the crash tests run the
//! real code over a simulated disk which forgets what was not synced and fails when told to. All calls block.

mod real;
#[cfg(any(test, feature = "simulated"))]
pub mod simulated;

pub use real::RealDisk;

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// A file system, as much of it as a log needs.
pub trait Disk: Send + Sync + 'static {
    /// Makes a folder and its parents; one that exists is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes an empty file (emptying one that exists), open for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens a file that exists for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Renames a file or folder, replacing a file of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with all that is in it.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes names created, renamed and removed in this folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Bytes a process without privileges may still write on the disk that holds `path`.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
}

/// An open file. It stays readable while it is held, also after its name is gone.
pub trait File: Send + Sync + 'static {
    /// Writes all parts one behind the other, from `position`.
    fn write_all_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()>;
    /// Reads into the buffer's start; fewer bytes than asked only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Returns when all written so far, and the length, would survive a power cut.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts the file to this length.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// The length now.
    fn length(&self) -> io::Result<u64>;
    /// A hint: lets go of what memory holds of these synced bytes, so that the next read asks the disk itself.
    fn forget_cached(&self, position: u64, bytes: u64);
}

/// Reads exactly this much; an early end of the file is an `UnexpectedEof`.
pub(crate) fn read_exact_at(file: &dyn File, buffer: &mut [u8], position: u64) -> io::Result<()> {
    let read = file.read_at(buffer, position)?;
    if read == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Whether the error says that there is no room, as opposed to a broken disk.
pub(crate) fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
