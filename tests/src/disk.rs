//! A small disk of the test's own: ext4 in a file, over a loop device. Its power can be cut, and it can be full.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// An ext4 file system in a file, mounted over a loop device.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
    _folder: tempfile::TempDir,
}

impl Disk {
    pub fn make(bytes: u64) -> anyhow::Result<Disk> {
        let folder = tempfile::Builder::new().prefix("fdisk").tempdir_in("/tmp")?;
        let image = folder.path().join("disk.img");
        std::fs::File::create(&image)?.set_len(bytes)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=1"]).arg(&image))?;
        Disk::mount(folder, image)
    }

    fn mount(folder: tempfile::TempDir, image: PathBuf) -> anyhow::Result<Disk> {
        let mount = folder.path().join("mnt");
        std::fs::create_dir(&mount)?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount))?;
        Ok(Disk { image, mount, _folder: folder })
    }

    /// What a disk would hold if the power went now: the bytes that reached it, and nothing of the page cache above.
    pub fn cut(&self) -> anyhow::Result<Disk> {
        let folder = tempfile::Builder::new().prefix("fdisk").tempdir_in("/tmp")?;
        let image = folder.path().join("disk.img");
        run(Command::new("cp").arg("--sparse=always").arg(&self.image).arg(&image))?;
        Disk::mount(folder, image)
    }

    /// A folder on it.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.mount.join(name)
    }

    /// From now on whoever writes or syncs waits, as on a disk that does not answer. Reads go on.
    pub fn hang(&self) -> anyhow::Result<()> {
        run(Command::new("fsfreeze").arg("--freeze").arg(&self.mount))
    }

    /// It answers again, and does what waits.
    pub fn answer(&self) -> anyhow::Result<()> {
        run(Command::new("fsfreeze").arg("--unfreeze").arg(&self.mount))
    }

    /// Bytes that are free on it.
    pub fn free(&self) -> anyhow::Result<u64> {
        let found = rustix::fs::statvfs(&self.mount)?;
        Ok(found.f_bavail * found.f_frsize)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever waits for it could not even be killed.
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&self.mount).stderr(Stdio::null()).status();
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Why this machine cannot mount one, if it cannot.
pub fn cannot_mount() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting a disk image needs root");
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("there is no loop device");
    }
    None
}
