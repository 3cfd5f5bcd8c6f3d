//! What a killed `up` leaves behind: its programs go on without it. The next start ends them before it
//! starts its own. A process is known by its id *and* its start time, so that an id that was given to
//! another since is left alone. Cluster processes are not touched: the provisioner adopts them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use cluster_host::start_time;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::state::State;

const FILE: &str = "programs.json";
/// How long a program may take to stop when asked.
const PATIENCE: Duration = Duration::from_secs(8);

/// A process, for good: ids are given again, start times are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Clock ticks from boot to its start (`/proc/<pid>/stat`, field 22).
    pub started: u64,
}

impl Process {
    /// The process that now has this id.
    pub fn find(pid: i32) -> Option<Process> {
        start_time(pid).map(|started| Process { pid, started })
    }

    fn is_alive(self) -> bool {
        Process::find(self.pid) == Some(self)
    }
}

/// Writes down who runs.
pub fn record(state: &State, programs: &BTreeMap<String, Process>) -> anyhow::Result<()> {
    state.write(FILE, &serde_json::to_vec_pretty(programs)?, None)?;
    Ok(())
}

/// Ends every program that an earlier `up` left, the database last.
pub async fn end(state: &State) -> anyhow::Result<()> {
    let Some(text) = state.read(FILE)? else { return Ok(()) };
    let programs: BTreeMap<String, Process> = serde_json::from_str(&text).unwrap_or_default();
    let (database, others): (Vec<_>, Vec<_>) = programs.into_iter().partition(|(name, _)| name == "postgres");
    for group in [others, database] {
        for (name, process) in &group {
            // SIGINT is Postgres' fast stop; the others stop in order on SIGTERM.
            let signal = if name == "postgres" { Signal::INT } else { Signal::TERM };
            if send(*process, signal) {
                tracing::info!("ending the {name} that an earlier start left");
            }
        }
        for (name, process) in group {
            wait_for_end(&name, process).await?;
        }
    }
    record(state, &BTreeMap::new())
}

/// Signals the process if it is still that one; the pidfd makes look and signal one step.
fn send(process: Process, signal: Signal) -> bool {
    let Some(pid) = Pid::from_raw(process.pid) else { return false };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    process.is_alive() && pidfd_send_signal(&handle, signal).is_ok()
}

async fn wait_for_end(name: &str, process: Process) -> anyhow::Result<()> {
    let asked = Instant::now();
    while process.is_alive() {
        let waited = asked.elapsed();
        if waited > PATIENCE {
            send(process, Signal::KILL);
        }
        if waited > PATIENCE * 2 {
            bail!(
                "the {name} of an earlier start (process {}) does not end\nfix: end it, then start again",
                process.pid
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_process_that_was_written_down_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let mut mine = tokio::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut another = tokio::process::Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let process = |child: &tokio::process::Child| Process::find(child.id().unwrap() as i32).unwrap();
        let reused = Process { started: process(&another).started + 1, ..process(&another) };
        record(&state, &BTreeMap::from([("portal".into(), process(&mine)), ("gateway".into(), reused)]))
            .unwrap();
        let (ended, status) = tokio::join!(end(&state), mine.wait());
        ended.unwrap();
        assert!(!status.unwrap().success());
        assert!(another.try_wait().unwrap().is_none());
    }
}
