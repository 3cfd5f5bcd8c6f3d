//! Who runs as whom. As root, every program has a user id of its own and every cluster gets one from a
//! range of this cloud's own; two clouds on one machine never share a range. Without root there are no
//! walls, and the cloud says so.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// The first range starts here, far above people and Debian's own users.
const FIRST: u32 = 600_000;
/// Ids in a range: the programs take the first few, clusters the rest.
const RANGE: u32 = 10_000;
/// Ranges that are looked at before giving up.
const RANGES: u32 = 100;

/// User ids of a cloud; each is a group id too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walls {
    /// The portal's.
    pub portal: u32,
    /// The signer's.
    pub signer: u32,
    /// The gateway's.
    pub gateway: u32,
    /// The first one for clusters.
    pub clusters: u32,
    /// How many there are for clusters.
    pub cluster_count: u32,
}

/// One line of the machine-wide register: who has which range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Taken {
    first: u32,
    state: PathBuf,
}

/// Takes a range for the cloud in `state`, or finds the one it has. `None` without root.
pub fn raise(state: &Path) -> anyhow::Result<Option<Walls>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    raise_in(Path::new("/var/lib/fluvio-cloud-users"), state).map(Some)
}

fn raise_in(register: &Path, state: &Path) -> anyhow::Result<Walls> {
    fs::create_dir_all(register).with_context(|| format!("cannot make {}", register.display()))?;
    let lock = fs::File::create(register.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let file = register.join("ranges.json");
    let taken: Vec<Taken> = match fs::read(&file) {
        Ok(text) => {
            serde_json::from_slice(&text).with_context(|| format!("{} is not readable", file.display()))?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    // A folder that is gone has no files left that could belong to its old range.
    let mut kept: Vec<Taken> =
        taken.into_iter().filter(|other| other.state == state || other.state.exists()).collect();
    let Some(first) = choose(&kept, state) else {
        bail!(
            "all {RANGES} ranges of user ids are taken by clouds on this machine\nfix: remove an unused state folder"
        );
    };
    if !kept.iter().any(|other| other.first == first) {
        kept.push(Taken { first, state: state.to_owned() });
    }
    let fresh = register.join("ranges.new");
    let mut out = fs::File::create(&fresh)?;
    out.write_all(&serde_json::to_vec_pretty(&kept)?)?;
    out.sync_all()?;
    fs::rename(&fresh, &file)?;
    Ok(walls(first))
}

/// The range that `state` has, else the lowest that nobody has.
fn choose(taken: &[Taken], state: &Path) -> Option<u32> {
    if let Some(own) = taken.iter().find(|other| other.state == state) {
        return Some(own.first);
    }
    (0..RANGES)
        .map(|range| FIRST + range * RANGE)
        .find(|first| taken.iter().all(|other| other.first != *first))
}

fn walls(first: u32) -> Walls {
    Walls {
        portal: first,
        signer: first + 1,
        gateway: first + 2,
        clusters: first + 10,
        cluster_count: RANGE - 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clouds_get_ranges_apart_and_find_them_again() {
        let folder = tempfile::tempdir().unwrap();
        let register = folder.path().join("register");
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        fs::create_dir_all(&one).unwrap();
        fs::create_dir_all(&two).unwrap();
        let first = raise_in(&register, &one).unwrap();
        let second = raise_in(&register, &two).unwrap();
        assert!(first.clusters + first.cluster_count <= second.portal);
        assert_eq!(raise_in(&register, &one).unwrap(), first);
        fs::remove_dir(&one).unwrap();
        let third = raise_in(&register, &folder.path().join("three")).unwrap();
        assert_eq!(third, first, "the range of a removed cloud is free again");
    }
}
