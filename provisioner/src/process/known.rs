//! Tells a process from every other, over restarts of the provisioner and of the machine.
//!
//! A process id alone is used again by the kernel. With the process's start time and the id of the machine's
//! boot it names one process for ever; and a pidfd, once it is known to be that process's, keeps meaning it.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

/// One process, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot (`/proc/<pid>/stat`, field 22).
    pub start: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
}

impl Known {
    /// Describes a running process of which it is certain that it has not been replaced: a child that was
    /// not waited for.
    pub fn of_child(pid: i32) -> std::io::Result<Self> {
        let start =
            start_time(pid).ok_or_else(|| std::io::Error::other("a new process has no start time"))?;
        Ok(Self { pid, start, boot: boot_id()? })
    }

    /// The process, if it still runs.
    pub fn find(&self) -> Option<OwnedFd> {
        if boot_id().ok()? != self.boot {
            return None;
        }
        // First the descriptor, then the comparison: whatever has this start time now is what the descriptor
        // was opened on, or it is gone and the descriptor says so.
        let pidfd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        (start_time(self.pid)? == self.start && !is_dead(self.pid)).then_some(pidfd)
    }
}

fn boot_id() -> std::io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The fields of `/proc/<pid>/stat` after the command, which may itself hold spaces and brackets.
fn stat_fields(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split_ascii_whitespace().map(str::to_owned).collect())
}

fn start_time(pid: i32) -> Option<u64> {
    // Field 22 of the whole line; the state, field 3, is the first after the command.
    stat_fields(pid)?.get(22 - 3)?.parse().ok()
}

/// Whether a process is dead and only waits for its parent to notice.
fn is_dead(pid: i32) -> bool {
    stat_fields(pid).is_none_or(|fields| matches!(fields.first().map(String::as_str), Some("Z" | "X")))
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_found_until_it_ends_and_never_again() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let known = Known::of_child(child.id() as i32).unwrap();
        assert!(known.find().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(known.find().is_none());
    }

    #[test]
    fn another_process_with_the_same_id_is_not_taken_for_it() {
        let own = Known::of_child(std::process::id() as i32).unwrap();
        assert!(own.find().is_some());
        assert!(Known { start: own.start + 1, ..own.clone() }.find().is_none());
        assert!(Known { boot: "another".into(), ..own }.find().is_none());
    }

    #[test]
    fn a_dead_child_that_nobody_waited_for_is_not_running() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let known = Known::of_child(child.id() as i32).unwrap();
        child.kill().unwrap();
        let gone = (0..10_000).any(|_| {
            std::thread::yield_now();
            known.find().is_none()
        });
        assert!(gone);
        child.wait().unwrap();
    }
}
