//! Whose processes live on this host.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cluster_host::is_dead;

/// The living processes of a user: proof that none is left, and what to end if one is.
pub fn processes_of_user(uid: u32) -> std::io::Result<Vec<i32>> {
    let of_user = living()?.into_iter().filter(|(_, owner)| *owner == uid);
    Ok(of_user.map(|(pid, _)| pid).collect())
}

/// The users of which a process is living.
pub fn users_of_processes() -> std::io::Result<BTreeSet<u32>> {
    Ok(living()?.into_iter().map(|(_, owner)| owner).collect())
}

/// All living processes and their users.
fn living() -> std::io::Result<Vec<(i32, u32)>> {
    let processes = fs::read_dir("/proc")?.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, real_uid(&entry.path())?))
    });
    Ok(processes.filter(|(pid, _)| !is_dead(*pid)).collect())
}

fn real_uid(process: &Path) -> Option<u32> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
