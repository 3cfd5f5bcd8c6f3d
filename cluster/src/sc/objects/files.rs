//! The code of SmartModules, each in a file of its own.
//!
//! In the folder `modules`, a file named by a UUID is a document as [`document`] has it, of version 1, whose content is
//! what the client uploaded: WebAssembly compressed with gzip. It is on disk before the metadata names it, and removed
//! after the metadata ceased to. A file that no metadata names was left by a crash in between.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use cluster_storage::disk::Disk;
use cluster_storage::document;
use uuid::Uuid;

use super::{Code, Objects};

const VERSION: u32 = 1;

/// The folder.
#[derive(Clone)]
pub struct CodeFiles {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
}

impl std::fmt::Debug for CodeFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeFiles").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl CodeFiles {
    /// In this folder, which need not exist. All functions block.
    pub fn new(dir: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self { dir, disk }
    }

    /// Writes the code to a new file, which survives a power cut when this returns. A failed one leaves nothing there,
    /// as far as the disk lets it.
    pub fn write(&self, wasm: &[u8]) -> std::io::Result<Code> {
        let code = Code { file: Uuid::new_v4(), sha256: digest_of(wasm), ..Code::unwritten(wasm) };
        self.make_dir()?;
        let path = self.path(code.file);
        document::save(&*self.disk, &path, VERSION, wasm).inspect_err(|_| {
            // What never came to be cannot be removed either.
            let _ = self.disk.remove(&document::beside(&path));
            let _ = self.disk.remove(&path);
        })?;
        Ok(code)
    }

    /// Also where the folder exists: a crash may have come between its making and its sync.
    fn make_dir(&self) -> std::io::Result<()> {
        self.disk.create_dir(&self.dir)?;
        self.dir.parent().map_or(Ok(()), |parent| self.disk.sync_dir(parent))
    }

    /// Reads it again; why not, if it is missing or not what was written.
    pub fn read(&self, code: &Code) -> Result<Bytes, String> {
        let found = document::load(&*self.disk, &self.path(code.file)).map_err(|error| error.to_string())?;
        let (version, wasm) = found.ok_or("its file is missing")?;
        if version > VERSION {
            return Err(format!("its file is of version {version}, and this build knows {VERSION}"));
        }
        if digest_of(&wasm) != code.sha256 {
            return Err("its file holds something else".into());
        }
        Ok(wasm.into())
    }

    /// Removes it; at worst it lies there until the next start.
    pub fn remove(&self, file: Uuid) {
        if let Err(error) = self.disk.remove(&self.path(file)) {
            tracing::warn!(%error, %file, "the code of a SmartModule that is gone could not be removed");
        }
    }

    /// Once at the start: removes what nobody names. What is missing or damaged is not looked for: whoever lists it is
    /// told, since a start has no time to read all of it.
    pub fn tidy(&self, objects: &Objects) {
        let named = || objects.smart_modules.values().map(|module| module.code.file);
        // No folder, no files.
        for name in self.disk.list(&self.dir).unwrap_or_default() {
            if !named().any(|file| file.to_string() == name)
                && let Err(error) = self.disk.remove(&self.dir.join(&name))
            {
                tracing::warn!(%error, name, "the rest of an upload could not be removed");
            }
        }
    }

    fn path(&self, file: Uuid) -> PathBuf {
        self.dir.join(file.to_string())
    }
}

fn digest_of(wasm: &[u8]) -> String {
    hex::encode(digest(&SHA256, wasm))
}
