//! What was assigned last, kept durably beside the logs: an SPU serves from it before it has reached the SC,
//! and an SC that lost its disk is rebuilt from it.

use std::path::{Path, PathBuf};

use cluster_storage::OpenError;
use cluster_storage::disk::RealDisk;
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
    Ok(document::load_json(&RealDisk, &path(folder), VERSION)?.unwrap_or_default())
}

/// Replaces them; on disk when this returns.
pub(super) async fn save(folder: &Path, assignments: Vec<Assignment>) -> std::io::Result<()> {
    let folder = folder.to_owned();
    spawn_blocking(move || {
        std::fs::create_dir_all(&folder)?;
        document::save_json(&RealDisk, &path(&folder), VERSION, &assignments)
    })
    .await?
}
