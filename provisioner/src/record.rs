//! What the provisioner keeps about a cluster on its own disk: what Postgres does not hold (server keys) and
//! what must be known without it (which cluster a folder and its processes belong to).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::folder::{self, Durable};

/// The file, one per cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Format of the file.
    pub version: u32,
    /// The cluster.
    pub cluster: Uuid,
    /// SPUs that the cluster was given; never less than before, because an SPU holds data.
    pub spus: u8,
    /// The certificate request whose key and certificate the cluster uses.
    pub identity: Option<Uuid>,
    /// A request that is under way; its key is kept already.
    pub asked: Option<Uuid>,
    /// Added to the wanted generation to give the settings' own, which also grows with a new certificate.
    pub offset: u64,
    /// Set before the first file of the cluster is removed for good: whatever happens then, the rest goes too.
    pub purging: bool,
}

/// The version that this build writes.
const VERSION: u32 = 1;

/// A cluster's own part of `state_dir`.
#[derive(Debug, Clone)]
pub struct Shelf {
    folder: PathBuf,
    cluster: Uuid,
}

impl Shelf {
    /// The shelf of a cluster.
    pub fn new(state_dir: &Path, cluster: Uuid) -> Self {
        Self { folder: shelves(state_dir).join(cluster.simple().to_string()), cluster }
    }

    /// The clusters that have one.
    pub fn all(state_dir: &Path) -> Vec<Uuid> {
        let entries = std::fs::read_dir(shelves(state_dir)).into_iter().flatten().flatten();
        entries.filter_map(|entry| Uuid::try_parse(entry.file_name().to_str()?).ok()).collect()
    }

    /// The record; a new one for a new cluster.
    pub fn record(&self) -> Record {
        let kept: Option<Record> = folder::read_json(&self.folder.join("record.json"));
        kept.filter(|record| record.version == VERSION && record.cluster == self.cluster).unwrap_or(Record {
            version: VERSION,
            cluster: self.cluster,
            spus: 0,
            identity: None,
            asked: None,
            offset: 0,
            purging: false,
        })
    }

    /// Writes the record.
    pub fn keep(&self, record: &Record) -> std::io::Result<()> {
        self.make()?;
        folder::write_json(&self.folder.join("record.json"), record, Durable::Yes)
    }

    /// Where the supervision keeps its own.
    pub fn processes_file(&self) -> PathBuf {
        self.folder.join("processes.json")
    }

    /// Makes the shelf's folder.
    pub fn make(&self) -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }

    /// Keeps the private key that belongs to a certificate request.
    pub fn keep_key(&self, request: Uuid, pem: &str) -> std::io::Result<()> {
        self.make()?;
        folder::write(&self.key_file(request), pem.as_bytes(), Durable::Yes)
    }

    /// The private key that belongs to a certificate request.
    pub fn key(&self, request: Uuid) -> Option<String> {
        std::fs::read_to_string(self.key_file(request)).ok()
    }

    /// Forgets a private key.
    pub fn drop_key(&self, request: Uuid) {
        // A key without its certificate opens nothing; the shelf's end removes what is left here.
        let _ = std::fs::remove_file(self.key_file(request));
    }

    /// Since when nobody wants this cluster, kept over restarts; the first call marks the time.
    pub fn orphaned_for(&self) -> std::io::Result<std::time::Duration> {
        let mark = self.folder.join("orphaned");
        match std::fs::metadata(&mark) {
            Ok(metadata) => Ok(metadata.modified()?.elapsed().unwrap_or_default()),
            Err(_) => std::fs::write(&mark, b"").map(|()| std::time::Duration::ZERO),
        }
    }

    /// The cluster is wanted after all.
    pub fn not_orphaned(&self) {
        let _ = std::fs::remove_file(self.folder.join("orphaned"));
    }

    /// Removes the shelf.
    pub fn remove(&self) -> std::io::Result<()> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn key_file(&self, request: Uuid) -> PathBuf {
        self.folder.join(format!("{}.key.pem", request.simple()))
    }
}

fn shelves(state_dir: &Path) -> PathBuf {
    state_dir.join("clusters")
}
