//! The file with the sealing key: 32 random bytes, raw, readable by the signer's user alone. In a pod, where a
//! secret's files are root's and readable by the pod's own group, that will do as well.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::seal::{KEY_LENGTH, Sealer};

/// Why the key file cannot be used; each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file system said no.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Others could read the key.
    #[error(
        "its mode is {0:04o}: others than its owner have access; run chmod 0400 on it, and make a new key if they may have read it"
    )]
    Open(u32),
    /// Not the program's own.
    #[error("it belongs to uid {owner}, the signer runs as uid {own}; chown it to the signer's user")]
    Foreign {
        /// The file's owner.
        owner: u32,
        /// This process.
        own: u32,
    },
    /// Not a key.
    #[error("it is not a regular file of exactly {KEY_LENGTH} bytes; `signer make-key FILE` makes one")]
    Malformed,
}

/// Reads the key, refusing a file that others could have read.
pub fn read(path: &Path) -> Result<Sealer, KeyFileError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(KeyFileError::Malformed);
    }
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    closed_to_others(metadata.mode(), metadata.uid(), metadata.gid(), user, group)?;
    // One byte more than a key, so that a longer file is seen as such. The buffer never grows, so no copy
    // of the key stays behind in freed memory.
    let mut bytes = Zeroizing::new([0_u8; KEY_LENGTH + 1]);
    let mut filled = 0;
    let mut file = file;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    if filled != KEY_LENGTH {
        return Err(KeyFileError::Malformed);
    }
    Sealer::new(&bytes[..KEY_LENGTH]).map_err(|_| KeyFileError::Malformed)
}

/// Whether a file of this mode, user and group is the signer's secret, where the signer runs as `own` and with
/// `own_group` as its first group.
fn closed_to_others(mode: u32, user: u32, group: u32, own: u32, own_group: u32) -> Result<(), KeyFileError> {
    // How a kubelet hands a secret to a pod: root's own, and the pod's group may read it.
    if own != 0 && user == 0 && group == own_group && group != 0 && mode & 0o037 == 0 {
        return Ok(());
    }
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Open(mode & 0o7777));
    }
    if user != own {
        return Err(KeyFileError::Foreign { owner: user, own });
    }
    Ok(())
}

/// Makes a new key file with mode 0400. An existing file stays as it is: overwriting it would make every
/// kept CA key unreadable for ever.
pub fn make(path: &Path) -> Result<(), KeyFileError> {
    let mut key = Zeroizing::new([0_u8; KEY_LENGTH]);
    aws_lc_rs::rand::fill(&mut *key).map_err(|_| std::io::Error::other("no random bytes from the system"))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(&*key)?;
    file.sync_all()?;
    // The name must survive a power cut as well as the bytes.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        make(&path).unwrap();
        assert!(read(&path).is_ok());
        for mode in [0o440, 0o404, 0o600 | 0o020, 0o644] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read(&path), Err(KeyFileError::Open(seen)) if seen == mode), "{mode:o}");
        }
    }

    #[test]
    fn a_key_is_its_users_own_or_roots_for_its_users_group() {
        for (mode, user, group, closed) in [
            (0o400, 7, 7, true),
            (0o600, 7, 0, true),
            (0o440, 0, 7, true),
            (0o640, 0, 7, true),
            (0o440, 7, 7, false), // its own, but a group's too: nobody hands it out like that
            (0o440, 0, 8, false), // another group's
            (0o440, 0, 0, false), // root's group, which is not ours
            (0o444, 0, 7, false),
            (0o460, 0, 7, false),
            (0o400, 0, 8, false),
            (0o400, 8, 7, false),
        ] {
            let found = closed_to_others(mode, user, group, 7, 7);
            assert_eq!(found.is_ok(), closed, "{mode:o} {user}:{group} {found:?}");
        }
        // To root itself nobody hands anything: its group may have members.
        assert!(closed_to_others(0o440, 0, 0, 0, 0).is_err());
        assert!(closed_to_others(0o400, 0, 0, 0, 0).is_ok());
    }

    #[test]
    fn make_key_leaves_an_existing_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        make(&path).unwrap();
        let first = std::fs::read(&path).unwrap();
        assert!(make(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), first);
    }

    #[test]
    fn only_exactly_32_bytes_are_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for length in [0, 31, 33, 64] {
            std::fs::write(&path, vec![7; length]).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(read(&path), Err(KeyFileError::Malformed)), "{length}");
        }
    }
}
