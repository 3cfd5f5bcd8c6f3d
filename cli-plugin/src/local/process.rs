//! Tells a server's process from every other, and ends it.
//!
//! A process id alone is given to another process sooner or later. With the process's start time and the id of the
//! machine's boot it means one process for ever; and a pidfd, once it is known to be that process's, keeps meaning it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// One process, for ever: `{"pid":4711,"start":180942,"boot":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot (`/proc/<pid>/stat`, field 22).
    start: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    boot: String,
}

/// Processes that are up, each held by a descriptor that means no other.
pub type Up = BTreeMap<String, OwnedFd>;

impl Known {
    /// Describes a child that was not waited for, so that nothing can have taken its id.
    pub fn of_child(pid: i32) -> io::Result<Self> {
        let start = start_time(pid).ok_or_else(|| io::Error::other("a new process has no start time"))?;
        Ok(Self { pid, start, boot: boot_id()? })
    }

    /// The process, if it still runs.
    pub fn find(&self) -> Option<OwnedFd> {
        if boot_id().ok()? != self.boot {
            return None;
        }
        // First the descriptor, then the comparison: what has this start time now is what the descriptor was opened on.
        let pidfd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        (start_time(self.pid)? == self.start).then_some(pidfd)
    }
}

/// Those that still run.
pub fn up(noted: &BTreeMap<String, Known>) -> Up {
    noted.iter().filter_map(|(name, known)| Some((name.clone(), known.find()?))).collect()
}

/// Sends all of them the signal and waits until they have ended; answers those that have not.
pub fn end(up: Up, signal: Signal, patience: Duration) -> Up {
    for pidfd in up.values() {
        // An error means that it has ended already, which is looked at below.
        let _ended = pidfd_send_signal(pidfd, signal);
    }
    let deadline = Instant::now() + patience;
    up.into_iter().filter(|(_, pidfd)| !has_ended(pidfd, deadline)).collect()
}

/// A pidfd becomes readable when its process ends, pidfd_open(2).
fn has_ended(pidfd: &OwnedFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], timeout.as_ref()) {
            Ok(n_ended) => return n_ended > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn start_time(pid: i32) -> Option<u64> {
    start_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 22 of a `/proc/<pid>/stat` line, behind a program's name that may itself hold spaces and brackets. A zombie
/// has ended and has none.
fn start_in(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(22 - 4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> (Child, Known) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let known = Known::of_child(child.id().cast_signed()).unwrap();
        (child, known)
    }

    #[test]
    fn the_start_time_is_found_behind_any_program_name() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_in(&format!("12 (a) b) {fields}")), Some(4711));
        assert_eq!(start_in(&format!("12 (sh) {}", fields.replacen('S', "Z", 1))), None);
        assert_eq!(start_in("12 (sh"), None);
    }

    #[test]
    fn only_the_very_process_that_was_written_down_is_found_and_ended() {
        let (mut child, known) = sleeper();
        let reused = Known { start: known.start + 1, ..known.clone() };
        let before = Known { boot: "another boot".into(), ..known.clone() };
        assert!(reused.find().is_none() && before.find().is_none());
        let noted = BTreeMap::from([("sc".into(), known.clone()), ("main-0".into(), reused)]);
        let up = up(&noted);
        assert_eq!(up.keys().collect::<Vec<_>>(), ["sc"]);
        assert!(end(up, Signal::TERM, Duration::from_secs(10)).is_empty());
        assert!(known.find().is_none(), "a zombie does not run");
        child.wait().unwrap();
    }

    #[test]
    fn who_does_not_end_in_time_is_told() {
        let (mut child, known) = sleeper();
        let up = up(&BTreeMap::from([("sc".into(), known)]));
        let left = end(up, Signal::CONT, Duration::from_millis(20));
        assert_eq!(left.len(), 1);
        assert!(end(left, Signal::KILL, Duration::from_secs(10)).is_empty());
        child.wait().unwrap();
    }
}
