//! The folder of the local cluster. Everything about it is in here, but for its records when `--data` says so:
//!
//! ```text
//! local/               for its owner only
//!   cluster.json       what was made (`book.rs`)
//!   lock               held by the command that changes the cluster
//!   sc.toml            configuration of a server; main-0.toml and on for the SPUs
//!   log/sc.log         what a server said; the log before it is sc.log.old
//!   run/sc.json        which process a server is (`process.rs`)
//!   run/*.sock         sockets between the servers, and for us
//!   data/              the records: sc/, main-0/ and on
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, OrFail};
use crate::places::Places;
use crate::profile;
use cluster_host::Known;

/// Longest path of a Unix socket, unix(7).
const SOCKET_PATH_BYTES: usize = 107;

/// Where the local cluster of this user is.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
}

impl Place {
    /// The one folder, whether it is there or not.
    pub fn of(places: &Places) -> Result<Self, Failure> {
        let folder = std::path::absolute(&places.local);
        Ok(Self { folder: folder.or_fail("the folder of the local cluster cannot be found")? })
    }

    /// Makes the folders, for their owner only.
    pub fn make(&self) -> Result<(), Failure> {
        for folder in [self.folder.clone(), self.run(), self.log()] {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| {
                Failure::failed(format!("{} could not be made: {error}", folder.display()))
                    .with_fix("check who owns the folder above it, or choose another with FLUVIO_DIR")
            })?;
        }
        Ok(())
    }

    /// Waits until no other command changes the cluster. The place must have been made.
    pub fn lock(&self) -> Result<File, Failure> {
        profile::lock(&self.folder.join("lock"))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What was made.
    pub fn book(&self) -> PathBuf {
        self.folder.join("cluster.json")
    }

    /// The records, if nobody wants them elsewhere.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A server's configuration.
    pub fn config(&self, server: &str) -> PathBuf {
        self.folder.join(format!("{server}.toml"))
    }

    /// What a server said.
    pub fn log_of(&self, server: &str) -> PathBuf {
        self.log().join(format!("{server}.log"))
    }

    /// A socket.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.run().join(format!("{name}.sock"))
    }

    /// Whether the kernel takes the paths of sockets here, of which none has a longer name than `peer-main-99`.
    pub fn is_short_enough(&self) -> bool {
        self.socket("peer-main-99").as_os_str().len() <= SOCKET_PATH_BYTES
    }

    /// Writes down which process a server is.
    pub fn note(&self, server: &str, known: &Known) -> Result<(), Failure> {
        let text = serde_json::to_string(known).or_fail("a process cannot be written down")?;
        profile::write_private(&self.run().join(format!("{server}.json")), &text)
    }

    /// The servers that were started and not stopped since. Some of them may have ended by themselves.
    pub fn noted(&self) -> BTreeMap<String, Known> {
        let entries = fs::read_dir(self.run()).into_iter().flatten().flatten();
        let known = entries.filter_map(|entry| {
            let path = entry.path();
            let name = path.file_name()?.to_str()?.strip_suffix(".json")?.to_owned();
            Some((name, serde_json::from_slice(&fs::read(&path).ok()?).ok()?))
        });
        known.collect()
    }

    /// Forgets the processes and their sockets, which have all ended.
    pub fn forget_processes(&self) -> Result<(), Failure> {
        match fs::remove_dir_all(self.run()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).or_fail(&format!("{} could not be removed", self.run().display()))
            }
            _ => Ok(()),
        }
    }

    fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}

/// Bytes of all files below a folder; what cannot be read counts nothing.
pub fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    bytes.sum()
}
