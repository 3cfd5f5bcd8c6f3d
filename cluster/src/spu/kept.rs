//! What was assigned last, kept durably beside the logs: an SPU serves from it before it has reached the SC,
//! and an SC that lost its disk is rebuilt from it.

use std::io;
use std::path::{Path, PathBuf};

use cluster_storage::OpenError;
use cluster_storage::disk::{Disk, RealDisk};
use cluster_storage::document;
use tokio::task::spawn_blocking;

use crate::link::Assignment;

/// Version of the document's content: a JSON array of assignments.
const VERSION: u32 = 1;

fn path(folder: &Path) -> PathBuf {
    folder.join("assignments")
}

/// The assignments that the SPU of this folder kept; none if it never had any.
pub fn load(folder: &Path) -> Result<Vec<Assignment>, OpenError> {
    read(&RealDisk, folder)
}

/// The same from any disk.
pub(super) fn read(disk: &dyn Disk, folder: &Path) -> Result<Vec<Assignment>, OpenError> {
    Ok(document::load_json(disk, &path(folder), VERSION)?.unwrap_or_default())
}

/// Replaces them; on disk when this returns. Blocks.
pub(super) fn write(disk: &dyn Disk, folder: &Path, assignments: &[Assignment]) -> io::Result<()> {
    disk.create_dir(folder)?;
    document::save_json(disk, &path(folder), VERSION, &assignments)
}

/// [`write`] to the machine's own disk.
pub(super) async fn save(folder: &Path, assignments: Vec<Assignment>) -> io::Result<()> {
    let folder = folder.to_owned();
    spawn_blocking(move || write(&RealDisk, &folder, &assignments)).await?
}
