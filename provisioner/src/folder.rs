//! A cluster's folder, and how files are written.
//!
//! The folder belongs to the tenant's user, and the provisioner may be root: whatever the tenant puts there
//! (a link, say, in place of a file) must not lead the provisioner elsewhere. So everything inside is reached
//! from an open descriptor of the folder, one step at a time, and links are never followed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, fchmod, fchown, mkdirat, openat, renameat, unlinkat};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::process::Role;

/// The kernel's limit for the path of a Unix socket, its final zero byte not counted.
const MAX_SOCKET_PATH: usize = 107;
/// A log that grew beyond this is set aside when its process starts, and while it runs.
const MAX_LOG_BYTES: u64 = 4 << 20;

/// Where things of one cluster are.
#[derive(Debug, Clone)]
pub struct Place {
    clusters: PathBuf,
    cluster: Uuid,
}

/// Whose folder it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The tenant's user and group; `None` without root: everything is the provisioner's own.
    pub user: Option<u32>,
    /// The gateway's group.
    pub gateway_group: Option<u32>,
}

/// Why a folder cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system said no.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What.
        error: std::io::Error,
    },
    /// The operator has to choose a shorter `clusters_dir`.
    #[error("the socket path {0} is longer than {MAX_SOCKET_PATH} bytes; choose a shorter clusters_dir")]
    SocketPath(PathBuf),
    /// The tenants' users cannot get there.
    #[error("{0} is closed to the clusters' users; run chmod o+x on it, or choose another clusters_dir")]
    Closed(PathBuf),
}

impl Place {
    /// The place of a cluster below `clusters_dir`.
    pub fn new(clusters_dir: &Path, cluster: Uuid) -> Self {
        Self { clusters: clusters_dir.to_owned(), cluster }
    }

    /// Whose place it is.
    pub fn cluster(&self) -> Uuid {
        self.cluster
    }

    /// The name of the folder: never a tenant's text.
    pub fn name(&self) -> String {
        self.cluster.simple().to_string()
    }

    /// The folder.
    pub fn path(&self) -> PathBuf {
        self.clusters.join(self.name())
    }

    /// The processes' data.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The configuration file of a process.
    pub fn config_file(&self, role: Role) -> PathBuf {
        self.path().join("config").join(format!("{role}.toml"))
    }

    /// A socket of the cluster.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.path().join("run").join(format!("{name}.sock"))
    }

    /// Makes the folder ready: every part with its owner and mode, whatever was there before.
    pub fn prepare(&self, owner: Ownership, files: &[(String, String)]) -> Result<(), FolderError> {
        let longest = self.socket("control-main-0");
        if longest.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(FolderError::SocketPath(longest));
        }
        if owner.user.is_some() {
            self.check_open_to_tenants()?;
        }
        let failed = |path: PathBuf| move |error: std::io::Error| FolderError::Io { path, error };
        let clusters = open_folder(rustix::fs::CWD, &self.clusters).map_err(failed(self.clusters.clone()))?;
        let group = owner.gateway_group.or(owner.user);
        // The gateway may pass through and reach the sockets. Its group is handed down to the sockets by the
        // set-group-id bit: the processes themselves are not in it, or they could pass into other folders.
        let own =
            ensure_folder(&clusters, &self.name(), 0o710, owner.user, group).map_err(failed(self.path()))?;
        for (name, mode, group) in
            [("data", 0o700, owner.user), ("config", 0o700, owner.user), ("run", 0o2710, group)]
        {
            let part =
                ensure_folder(&own, name, mode, owner.user, group).map_err(failed(self.path().join(name)))?;
            if name == "config" {
                for (file, text) in files {
                    put(&part, file, text.as_bytes(), owner.user).map_err(failed(self.path().join(file)))?;
                }
            }
        }
        Ok(())
    }

    /// Root gets everywhere, so only a look tells whether the tenants' users do.
    fn check_open_to_tenants(&self) -> Result<(), FolderError> {
        use std::os::unix::fs::PermissionsExt;
        for folder in self.clusters.ancestors() {
            let metadata = std::fs::metadata(folder)
                .map_err(|error| FolderError::Io { path: folder.to_owned(), error })?;
            if metadata.permissions().mode() & 0o001 == 0 {
                return Err(FolderError::Closed(folder.to_owned()));
            }
        }
        Ok(())
    }

    /// Opens the log of a process for appending; a large one is set aside first.
    pub fn open_log(&self, role: Role) -> std::io::Result<File> {
        let own = open_folder(rustix::fs::CWD, &self.path())?;
        let name = format!("{role}.log");
        let log = open_log_in(&own, &name)?;
        if log.metadata()?.len() <= MAX_LOG_BYTES {
            return Ok(log);
        }
        renameat(&own, &name, &own, format!("{name}.1"))?;
        open_log_in(&own, &name)
    }

    /// Bounds the log of a running process, which keeps writing into the same file: the newest half of the
    /// bound is set aside, and the file starts again from nothing.
    pub fn bound_log(&self, role: Role) -> std::io::Result<()> {
        let own = open_folder(rustix::fs::CWD, &self.path())?;
        let name = format!("{role}.log");
        let mut log = open_log_in(&own, &name)?;
        let length = log.metadata()?.len();
        if length <= MAX_LOG_BYTES {
            return Ok(());
        }
        let mut newest = Vec::new();
        std::io::Seek::seek(&mut log, std::io::SeekFrom::Start(length - MAX_LOG_BYTES / 2))?;
        Read::by_ref(&mut log).take(MAX_LOG_BYTES / 2).read_to_end(&mut newest)?;
        let aside = openat(
            &own,
            format!("{name}.1"),
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | SAFE,
            Mode::from_raw_mode(0o600),
        )?;
        File::from(aside).write_all(&newest)?;
        log.set_len(0)
    }

    /// Whether nothing of the cluster is on the disk.
    pub fn is_gone(&self) -> bool {
        matches!(std::fs::symlink_metadata(self.path()), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
    }

    /// Removes everything. The standard library's removal follows no links either.
    pub fn remove(&self) -> std::io::Result<()> {
        match std::fs::remove_dir_all(self.path()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The user that owns the folder, if it is there.
    pub fn owner(&self) -> Option<u32> {
        use std::os::unix::fs::MetadataExt;
        std::fs::symlink_metadata(self.path()).ok().map(|metadata| metadata.uid())
    }
}

const SAFE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

fn open_folder<Fd: std::os::fd::AsFd>(at: Fd, path: &Path) -> std::io::Result<OwnedFd> {
    Ok(openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | SAFE, Mode::empty())?)
}

fn open_log_in(own: &OwnedFd, name: &str) -> std::io::Result<File> {
    // Not blocking: a named pipe in place of the log must not hold the provisioner up.
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK | SAFE;
    let file = File::from(openat(own, name, flags, Mode::from_raw_mode(0o600))?);
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("the log is not a regular file"));
    }
    Ok(file)
}

fn ensure_folder(
    parent: &OwnedFd,
    name: &str,
    mode: u32,
    user: Option<u32>,
    group: Option<u32>,
) -> std::io::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Err(error) if error != rustix::io::Errno::EXIST => return Err(error.into()),
        _ => {}
    }
    let folder = open_folder(parent, Path::new(name))?;
    let is = rustix::fs::fstat(&folder)?;
    let differs = |is: u32, wanted: Option<u32>| wanted.is_some_and(|wanted| wanted != is);
    if user.is_some() && (differs(is.st_uid, user) || differs(is.st_gid, group)) {
        fchown(&folder, user.map(Uid::from_raw), group.map(Gid::from_raw))?;
    }
    // After the owner: changing that clears the set-group-id bit.
    if Mode::from_raw_mode(rustix::fs::fstat(&folder)?.st_mode) != Mode::from_raw_mode(mode) {
        fchmod(&folder, Mode::from_raw_mode(mode))?;
    }
    Ok(folder)
}

/// Writes a file that the tenant's user may read and nobody may write; the same contents are left alone.
fn put(folder: &OwnedFd, name: &str, contents: &[u8], user: Option<u32>) -> std::io::Result<()> {
    if let Ok(current) = openat(folder, name, OFlags::RDONLY | OFlags::NONBLOCK | SAFE, Mode::empty()) {
        let mut text = Vec::new();
        File::from(current).take(contents.len() as u64 + 1).read_to_end(&mut text)?;
        if text == contents {
            return Ok(());
        }
    }
    let new = format!("{name}.new");
    let _ = unlinkat(folder, &new, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | SAFE;
    let file = openat(folder, &new, flags, Mode::from_raw_mode(0o400))?;
    if user.is_some() {
        fchown(&file, user.map(Uid::from_raw), user.map(Gid::from_raw))?;
    }
    let mut file = File::from(file);
    file.write_all(contents)?;
    file.sync_all()?;
    Ok(renameat(folder, &new, folder, name)?)
}

/// Whether a file must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// Flushed, with its name.
    Yes,
    /// Whole or not at all for whoever reads it, but a power cut may bring back the one before.
    No,
}

/// Replaces a file of the provisioner's own bookkeeping.
pub fn write(path: &Path, contents: &[u8], durable: Durable) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let new = path.with_extension("new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(contents)?;
    if durable == Durable::Yes {
        file.sync_all()?;
    }
    std::fs::rename(&new, path)?;
    if let (Durable::Yes, Some(parent)) = (durable, path.parent()) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// [`write`] as JSON.
pub fn write_json<T: Serialize>(path: &Path, value: &T, durable: Durable) -> std::io::Result<()> {
    write(path, &serde_json::to_vec_pretty(value)?, durable)
}

/// Reads a JSON file; `None` when it is not there or is not what it should be.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = Place::new(folder.path(), Uuid::from_u128(1));
        (folder, place)
    }

    const OWN: Ownership = Ownership { user: None, gateway_group: None };

    #[test]
    fn a_second_preparation_changes_nothing() {
        let (_folder, place) = place();
        let files = [("node.toml".to_owned(), "a = 1\n".to_owned())];
        place.prepare(OWN, &files).unwrap();
        let inode = || {
            use std::os::unix::fs::MetadataExt;
            std::fs::metadata(place.config_file(Role::Node)).unwrap().ino()
        };
        let before = inode();
        place.prepare(OWN, &files).unwrap();
        assert_eq!(inode(), before);
        place.prepare(OWN, &[("node.toml".to_owned(), "a = 2\n".to_owned())]).unwrap();
        assert_eq!(std::fs::read_to_string(place.config_file(Role::Node)).unwrap(), "a = 2\n");
    }

    #[test]
    fn a_link_in_place_of_a_folder_is_not_followed() {
        let (folder, place) = place();
        place.prepare(OWN, &[]).unwrap();
        let elsewhere = folder.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        let config = place.path().join("config");
        std::fs::remove_dir(&config).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &config).unwrap();
        assert!(place.prepare(OWN, &[("node.toml".to_owned(), "x".to_owned())]).is_err());
        assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    }

    #[test]
    fn removal_takes_links_away_and_leaves_what_they_point_to() {
        let (folder, place) = place();
        place.prepare(OWN, &[]).unwrap();
        let victim = folder.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::fs::write(victim.join("file"), b"x").unwrap();
        std::os::unix::fs::symlink(&victim, place.data().join("link")).unwrap();
        place.remove().unwrap();
        assert!(place.is_gone() && victim.join("file").exists());
        place.remove().unwrap();
    }

    #[test]
    fn a_log_stays_bounded_at_a_start_and_while_it_is_written() {
        let (_folder, place) = place();
        place.prepare(OWN, &[]).unwrap();
        let mut log = place.open_log(Role::Node).unwrap();
        let lines = vec![b'x'; usize::try_from(MAX_LOG_BYTES).unwrap() + 1];
        log.write_all(&lines).unwrap();
        place.bound_log(Role::Node).unwrap();
        let aside = place.path().join("node.log.1");
        assert_eq!(std::fs::metadata(&aside).unwrap().len(), MAX_LOG_BYTES / 2);
        // The process still writes through the descriptor that it was given.
        log.write_all(b"after").unwrap();
        assert_eq!(std::fs::read(place.path().join("node.log")).unwrap(), b"after");
        log.write_all(&lines).unwrap();
        let fresh = place.open_log(Role::Node).unwrap();
        assert_eq!(fresh.metadata().unwrap().len(), 0);
        assert!(std::fs::metadata(&aside).unwrap().len() > MAX_LOG_BYTES);
    }

    #[test]
    fn a_clusters_dir_too_deep_for_sockets_is_refused_with_a_way_out() {
        let place = Place::new(&PathBuf::from(format!("/{}", "d".repeat(90))), Uuid::from_u128(1));
        let error = place.prepare(OWN, &[]).unwrap_err();
        assert!(error.to_string().contains("choose a shorter clusters_dir"), "{error}");
    }
}
