//! The SC's files: the metadata and the last settings, each a document that is there whole or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster_settings::Settings;
use cluster_storage::disk::{Disk, RealDisk};
use cluster_storage::{OpenError, document};
use serde::Serialize;

use super::metadata::Metadata;
use super::objects::files::CodeFiles;

/// Versions of the two documents that this build writes, and the newest that it reads. Builds that read only version 1
/// of the metadata would lose its stored objects without a word; so with such it is of version 2, which they refuse.
const METADATA_VERSION: u32 = 2;
const METADATA_VERSION_WITHOUT_OBJECTS: u32 = 1;
const SETTINGS_VERSION: u32 = 1;

/// The files cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What is on disk is damaged or from a newer version.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The disk does not take it.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
}

/// The SC's folder.
#[derive(Clone)]
pub struct Store {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Store {
    /// The store in this folder, which is made if it is missing.
    pub fn open(dir: PathBuf) -> Result<Self, StoreError> {
        Self::over(dir, Arc::new(RealDisk))
    }

    /// The same on any disk.
    pub fn over(dir: PathBuf, disk: Arc<dyn Disk>) -> Result<Self, StoreError> {
        disk.create_dir(&dir).map_err(|reason| StoreError::Write { path: dir.clone(), reason })?;
        Ok(Self { dir, disk })
    }

    /// The metadata; `None` if there never was any, or its disk was lost.
    pub fn metadata(&self) -> Result<Option<Metadata>, StoreError> {
        Ok(document::load_json(&*self.disk, &self.metadata_path(), METADATA_VERSION)?)
    }

    /// The last settings.
    pub fn settings(&self) -> Result<Option<Settings>, StoreError> {
        Ok(document::load_json(&*self.disk, &self.settings_path(), SETTINGS_VERSION)?)
    }

    /// The code of SmartModules.
    pub fn code_files(&self) -> CodeFiles {
        CodeFiles::new(self.in_dir("modules"), Arc::clone(&self.disk))
    }

    /// Keeps the metadata; it survives a power cut when this returns.
    pub async fn save_metadata(&self, metadata: Arc<Metadata>) -> Result<(), StoreError> {
        let store = self.clone();
        without_blocking(self.metadata_path(), move || store.write_metadata(&metadata)).await
    }

    /// The same for whoever may block.
    pub(crate) fn write_metadata(&self, metadata: &Metadata) -> Result<(), StoreError> {
        let plain = metadata.objects.is_empty();
        let version = if plain { METADATA_VERSION_WITHOUT_OBJECTS } else { METADATA_VERSION };
        self.write(self.metadata_path(), version, metadata)
    }

    /// Keeps the settings.
    pub async fn save_settings(&self, settings: Settings) -> Result<(), StoreError> {
        let (store, path) = (self.clone(), self.settings_path());
        without_blocking(path.clone(), move || store.write(path, SETTINGS_VERSION, &settings)).await
    }

    fn write(&self, path: PathBuf, version: u32, value: &impl Serialize) -> Result<(), StoreError> {
        let written = document::save_json(&*self.disk, &path, version, value);
        written.map_err(|reason| StoreError::Write { path, reason })
    }

    fn metadata_path(&self) -> PathBuf {
        self.in_dir("metadata")
    }

    fn settings_path(&self) -> PathBuf {
        self.in_dir("settings")
    }

    fn in_dir(&self, name: &str) -> PathBuf {
        Path::join(&self.dir, name)
    }
}

async fn without_blocking(
    path: PathBuf,
    write: impl FnOnce() -> Result<(), StoreError> + Send + 'static,
) -> Result<(), StoreError> {
    let written = tokio::task::spawn_blocking(write).await;
    written.unwrap_or_else(|panic| Err(StoreError::Write { path, reason: std::io::Error::other(panic) }))
}

#[cfg(test)]
mod tests;
