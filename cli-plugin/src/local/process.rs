//! Which servers are up, and how they are ended.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use cluster_host::Known;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

/// Processes that are up, each held by a descriptor that means no other.
pub type Up = BTreeMap<String, OwnedFd>;

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
