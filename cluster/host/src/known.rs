//! Tells a process from every other, over restarts of whoever started it and of the machine.
//!
//! A process id alone is used again by the kernel. With the process's start time and the id of the machine's
//! boot it names one process for ever; and a pidfd, once it is known to be that process's, keeps meaning it.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

/// One process, for ever: `{"pid":4711,"start":180942,"boot":"…"}`.
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
        (start_time(self.pid)? == self.start).then_some(pidfd)
    }
}

fn boot_id() -> std::io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Field 22 of a `/proc/<pid>/stat` line, of a process that has not ended.
///
/// A zombie has ended, unless other threads than its first still run: then its sockets and files are still open, as
/// for a moment behind each SIGKILL.
fn start_in(stat: &str) -> Option<u64> {
    // The state, field 3, is the first behind the name, which may itself hold spaces and brackets; field 20 is how many
    // threads there are.
    let mut fields = stat.rsplit_once(") ")?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let n_threads: u32 = fields.nth(20 - 4)?.parse().ok()?;
    let ended = state == "X" || (state == "Z" && n_threads <= 1);
    let start = fields.nth(22 - 21)?.parse().ok()?;
    (!ended).then_some(start)
}

/// When a process started, in clock ticks since boot; none if it has ended, whether or not its parent noticed.
pub fn start_time(pid: i32) -> Option<u64> {
    start_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether a process has ended, whether or not its parent noticed.
pub fn is_dead(pid: i32) -> bool {
    start_time(pid).is_none()
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
    fn the_start_time_is_found_behind_any_program_name_until_the_last_thread_has_ended() {
        for (state, n_threads, start) in [
            ("S", 1, Some(4711)),
            ("R", 9, Some(4711)),
            ("Z", 1, None),
            ("Z", 0, None),
            // Its first thread has ended, another still holds its sockets.
            ("Z", 2, Some(4711)),
            ("X", 1, None),
        ] {
            let line =
                format!("12 (a) b) {state} 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 {n_threads} 18 4711 20");
            assert_eq!(start_in(&line), start, "{line}");
        }
        assert_eq!(start_in("12 (sh"), None);
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
