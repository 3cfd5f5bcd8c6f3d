//! The table on disk.
//!
//! One text file: a first line `fluvio-cloud-routes 1 <SHA-256 of the rest, hex>`, then the snapshot as JSON.
//! Written beside and renamed over, each synced, so that a crash leaves the old file or the new one. A file
//! that does not match its checksum is as good as none: no route is guessed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Snapshot;

const MAGIC: &str = "fluvio-cloud-routes";
const VERSION: &str = "1";
/// 64 MiB hold some 200,000 clusters; what is longer is not ours.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The file in which the last table is kept.
#[derive(Debug, Clone)]
pub struct TableFile {
    path: PathBuf,
}

/// Why the file gave no table, or did not take one.
#[derive(Debug, thiserror::Error)]
pub enum TableFileError {
    /// There is none: a first start.
    #[error("there is no table file yet")]
    Absent,
    /// It is not what was written; it stays for the operator to look at until the next table replaces it.
    #[error("the table file is damaged: {0}")]
    Damaged(&'static str),
    /// A newer gateway wrote it.
    #[error("the table file has another format version")]
    Version,
    /// The disk failed, is full, or forbids it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl TableFile {
    /// Names the file; nothing is touched yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the table that was kept last.
    pub fn read(&self) -> Result<Snapshot, TableFileError> {
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(TableFileError::Absent),
            Err(error) => return Err(error.into()),
            Ok(found) if found.len() > MAX_BYTES => return Err(TableFileError::Damaged("too long")),
            Ok(_) => {}
        }
        decode(&fs::read(&self.path)?)
    }

    /// Keeps a table: on return it is on disk whatever happens next.
    pub fn write(&self, snapshot: &Snapshot) -> Result<(), TableFileError> {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&encode(snapshot)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        File::open(folder)?.sync_all()?;
        Ok(())
    }
}

fn encode(snapshot: &Snapshot) -> Result<Vec<u8>, TableFileError> {
    let body = serde_json::to_vec(snapshot).map_err(io::Error::from)?;
    let mut bytes = format!("{MAGIC} {VERSION} {}\n", hex::encode(Sha256::digest(&body))).into_bytes();
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Snapshot, TableFileError> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or(TableFileError::Damaged("no first line"))?;
    let (line, body) = (&bytes[..end], &bytes[end + 1..]);
    let line = std::str::from_utf8(line).map_err(|_| TableFileError::Damaged("no first line"))?;
    let mut words = line.split(' ');
    if words.next() != Some(MAGIC) {
        return Err(TableFileError::Damaged("not a table file"));
    }
    if words.next() != Some(VERSION) {
        return Err(TableFileError::Version);
    }
    if words.next() != Some(hex::encode(Sha256::digest(body)).as_str()) {
        return Err(TableFileError::Damaged("the checksum differs"));
    }
    serde_json::from_slice(body).map_err(|_| TableFileError::Damaged("not a table"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ClusterRecord;

    fn sample() -> Snapshot {
        let backends = [(String::new(), "unix:/a".to_owned())].into();
        let id = uuid::Uuid::from_u128(7);
        Snapshot { clusters: vec![ClusterRecord { id, domain: "a.x".into(), max_connections: 5, backends }] }
    }

    #[test]
    fn a_kept_table_reads_back_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = TableFile::new(folder.path().join("table"));
        assert!(matches!(file.read(), Err(TableFileError::Absent)));
        file.write(&Snapshot::default()).unwrap();
        file.write(&sample()).unwrap();
        assert_eq!(file.read().unwrap(), sample());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = encode(&sample()).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(decode(&bad).is_err(), "byte {at}");
            assert!(decode(&good[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let text = String::from_utf8(encode(&sample()).unwrap()).unwrap();
        let newer = text.replacen(" 1 ", " 2 ", 1);
        assert!(matches!(decode(newer.as_bytes()), Err(TableFileError::Version)));
    }
}
