//! The state folder: everything that a cloud on one machine keeps, and nothing outside it.
//!
//! | entry | what |
//! |---|---|
//! | `postgres/` | the database's files, its server's own user only |
//! | `run/` | the database's socket |
//! | `secrets/` | one file a secret, each readable by one program |
//! | `configuration/` | the file each program is started with |
//! | `portal/`, `signer/`, `provisioner/`, `gateway/` | what each program keeps |
//! | `clusters/` | one folder a cluster |
//! | `logs/` | one file a program |
//! | `ports.json` | the ports picked at the first start |
//! | `programs.json` | who runs, for the next start after a crash |
//! | `ready.json` | written when all is up; tools wait for it |

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};

/// A cluster's socket path is the state folder, `/clusters/`, 32 hex digits, `/run/` and a name: the kernel
/// takes 107 bytes in all.
const LONGEST_STATE_PATH: usize = 107 - "/clusters/".len() - 32 - "/run/control-main-00.sock".len();

/// The state folder of a cloud.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    /// Held while the cloud is up, so that two never share a folder.
    _lock: Option<File>,
}

/// Where the state is kept when nothing else is said.
pub fn default_folder() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/fluvio-cloud");
    }
    match std::env::var_os("HOME") {
        Some(home) => PathBuf::from(home).join(".local/share/fluvio-cloud"),
        None => std::env::temp_dir().join("fluvio-cloud"),
    }
}

impl State {
    /// Makes or finds the folder and takes it for this process.
    pub fn open(folder: &Path) -> anyhow::Result<State> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the state folder {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let length = folder.as_os_str().len();
        if length > LONGEST_STATE_PATH {
            bail!(
                "the state folder's path has {length} bytes, and Unix sockets below it allow {LONGEST_STATE_PATH}\n\
                 fix: choose a shorter one with --state"
            );
        }
        // Traversal only: what is inside decides for itself who reads it.
        fs::set_permissions(&folder, Permissions::from_mode(0o711))?;
        let lock = File::create(folder.join("lock"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "another cloud is up on {}\nfix: stop it, or choose another folder with --state and other ports",
                folder.display()
            );
        }
        let state = State { folder, _lock: Some(lock) };
        for (name, mode) in [
            ("secrets", 0o711),
            ("configuration", 0o711),
            ("logs", 0o700),
            ("run", 0o711),
            ("clusters", 0o711),
        ] {
            state.make_folder(name, mode, None)?;
        }
        Ok(state)
    }

    /// Finds the folder of a cloud that another process serves.
    pub fn open_existing(folder: &Path) -> anyhow::Result<State> {
        let folder = folder.canonicalize().with_context(|| {
            format!("there is no cloud in {}\nfix: name its folder with --state", folder.display())
        })?;
        Ok(State { folder, _lock: None })
    }

    /// A path below the state folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The file that `program` is started with.
    pub fn configuration(&self, program: &str) -> PathBuf {
        self.path(&format!("configuration/{program}.toml"))
    }

    /// Makes a folder, with a mode and, for an `owner`, that user and group.
    pub fn make_folder(&self, name: &str, mode: u32, owner: Option<u32>) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        if let Some(id) = owner {
            chown(&path, Some(id), Some(id))?;
        }
        Ok(path)
    }

    /// Writes a file whole or not at all, readable by its `owner` only.
    pub fn write(&self, name: &str, content: &[u8], owner: Option<u32>) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        let fresh = path.with_extension("new");
        let _ = fs::remove_file(&fresh);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(&fresh)
            .with_context(|| format!("cannot write {}", path.display()))?;
        file.write_all(content)?;
        if let Some(id) = owner {
            chown(&fresh, Some(id), Some(id))?;
        }
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        if let Some(parent) = path.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(path)
    }

    /// The text of a file, or `None` when there is none yet.
    pub fn read(&self, name: &str) -> anyhow::Result<Option<String>> {
        match fs::read_to_string(self.path(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", self.path(name).display())),
        }
    }

    /// The secret kept under `name`, made by `make` the first time.
    pub fn secret(
        &self,
        name: &str,
        owner: Option<u32>,
        make: impl FnOnce() -> anyhow::Result<String>,
    ) -> anyhow::Result<(PathBuf, String)> {
        let name = format!("secrets/{name}");
        if let Some(secret) = self.read(&name)? {
            return Ok((self.path(&name), secret));
        }
        let secret = make()?;
        Ok((self.write(&name, secret.as_bytes(), owner)?, secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clouds_never_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = State::open(folder.path()).unwrap();
        assert!(State::open(folder.path()).unwrap_err().to_string().contains("another cloud is up"));
        drop(first);
        State::open(folder.path()).unwrap();
    }

    #[test]
    fn a_path_too_long_for_sockets_is_refused_with_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let error = State::open(&folder.path().join("x".repeat(100))).unwrap_err().to_string();
        assert!(error.contains("fix: choose a shorter one"), "{error}");
    }

    #[test]
    fn a_secret_is_made_once_and_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let (path, made) = state.secret("word", None, || Ok("first".into())).unwrap();
        let (_, found) = state.secret("word", None, || Ok("second".into())).unwrap();
        assert_eq!((made.as_str(), found.as_str()), ("first", "first"));
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o400);
    }
}
