//! Reading and replacing the file itself: one writer at a time, never half a file, never readable by others.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::names::Profiles;
use crate::failure::{Failure, OrFail};

const LOCK_WAIT: Duration = Duration::from_secs(30);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// The profiles as they are; a file that does not exist holds none.
pub fn read(path: &Path) -> Result<Profiles, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(unreadable(path, &error)),
    };
    Profiles::parse(&text).map_err(|error| {
        Failure::failed(format!("{} cannot be understood: {error}", path.display()))
            .with_fix("mend the file, or move it away and run `fluvio cloud login` again")
    })
}

/// Changes the profiles: what another process writes meanwhile is neither lost nor mixed in.
pub fn update<T>(
    path: &Path,
    change: impl FnOnce(&mut Profiles) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let folder = folder_of(path);
    fs::create_dir_all(&folder).or_fail(&format!("{} could not be made", folder.display()))?;
    let _lock = lock(&path.with_extension("lock"))?;
    let mut profiles = read(path)?;
    let answer = change(&mut profiles)?;
    write_private(path, &profiles.to_string())?;
    Ok(answer)
}

/// Waits, within bounds, until this process alone holds the lock file; dropping the file lets go.
pub fn lock(path: &Path) -> Result<File, Failure> {
    let doing = format!("{} could not be locked", path.display());
    let file = File::options().create(true).truncate(false).write(true).open(path).or_fail(&doing)?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_POLL),
            Err(error) => {
                return Err(Failure::failed(format!("{doing}: {error}"))
                    .with_fix("wait for the other fluvio command to end, then try again"));
            }
        }
    }
}

/// Replaces a file that holds secrets: whole or not at all, for its owner only, and on disk when this returns.
pub fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    // A linked profile (dotfiles in a repository) stays a link: the file behind it is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let doing = format!("{} could not be written", target.display());
    let folder = folder_of(&target);
    let mut temporary = tempfile::Builder::new()
        .prefix(".fluvio-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(&folder)
        .or_fail(&doing)?;
    temporary.write_all(text.as_bytes()).or_fail(&doing)?;
    temporary.as_file().sync_all().or_fail(&doing)?;
    temporary.persist(&target).map_err(|error| error.error).or_fail(&doing)?;
    File::open(&folder).and_then(|folder| folder.sync_all()).or_fail(&doing)
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{} could not be read: {error}", path.display()))
        .with_fix("check who owns the file and its mode")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_profile_file_is_private_even_if_it_was_open_to_all_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/config");
        update(&path, |_| Ok(())).unwrap();
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        update(&path, |_| Ok(())).unwrap();
        assert_eq!(mode(&path), 0o600);
        let left: Vec<_> =
            fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "nothing but the file and its lock: {left:?}");
    }

    #[test]
    fn a_failed_change_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, "version = \"2.0\"\n# mine\n").unwrap();
        let refused: Result<(), Failure> = update(&path, |_| Err(Failure::failed("no")));
        assert!(refused.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "version = \"2.0\"\n# mine\n");
    }

    #[test]
    fn a_file_that_is_no_profile_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, "this is = = not toml").unwrap();
        assert!(update(&path, |_| Ok(())).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "this is = = not toml");
    }

    #[test]
    fn writers_in_many_threads_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        thread::scope(|scope| {
            for index in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    update(path, |profiles| {
                        profiles.set_plain_cluster(&format!("c{index}"), "127.0.0.1:9003");
                        Ok(())
                    })
                    .unwrap();
                });
            }
        });
        assert_eq!(read(&path).unwrap().list().len(), 8);
    }

    #[test]
    fn a_linked_profile_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        let link = folder.path().join("config");
        fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        update(&link, |profiles| {
            profiles.set_plain_cluster("c", "127.0.0.1:9003");
            Ok(())
        })
        .unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&real).unwrap().contains("127.0.0.1:9003"));
    }
}
