//! Keeps programs alive: starts each in a process group of its own (Ctrl-C reaches only us, and we stop them
//! in order), starts it again when it ends, and writes down who runs.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::left_over::{self, Process};
use crate::state::State;

/// Wait before the first new start, doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A program that ran this long starts with a short pause again.
const STEADY: Duration = Duration::from_secs(30);
/// How long a program may take to stop before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// A log that is longer at a start makes way for a new one; one old log is kept.
const LONGEST_LOG: u64 = 16 << 20;

/// How to start a program.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name in logs and files.
    pub name: &'static str,
    /// The executable.
    pub path: PathBuf,
    /// Its arguments. Never a secret: other users can read them.
    pub arguments: Vec<String>,
    /// User and group, when not ours.
    pub user: Option<(u32, u32)>,
    /// How it is asked to stop in order.
    pub stop: Signal,
}

/// A program that is kept alive.
pub struct Running {
    name: &'static str,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Who runs now; kept on disk too.
#[derive(Clone)]
pub struct Roster {
    state: Arc<State>,
    programs: Arc<Mutex<BTreeMap<String, Process>>>,
    /// Tells that the roster changed.
    changed: watch::Sender<u64>,
}

impl Roster {
    /// An empty roster.
    pub fn new(state: Arc<State>) -> Roster {
        Roster { state, programs: Arc::default(), changed: watch::Sender::new(0) }
    }

    /// Names and process ids.
    pub fn pids(&self) -> BTreeMap<String, i32> {
        let programs = self.programs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        programs.iter().map(|(name, process)| (name.clone(), process.pid)).collect()
    }

    /// Wakes on each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn set(&self, name: &str, process: Option<Process>) {
        let mut programs = self.programs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match process {
            Some(process) => programs.insert(name.to_owned(), process),
            None => programs.remove(name),
        };
        if let Err(error) = left_over::record(&self.state, &programs) {
            tracing::warn!("who runs could not be written down: {error:#}");
        }
        self.changed.send_modify(|count| *count += 1);
    }
}

/// Starts a program and keeps it alive until it is stopped.
pub fn keep(program: Program, roster: Roster) -> anyhow::Result<Running> {
    let child = start(&program, &roster)?;
    let (stop, stopped) = watch::channel(false);
    let name = program.name;
    Ok(Running { name, stop, task: tokio::spawn(watch_over(program, roster, child, stopped)) })
}

impl Running {
    /// Asks the program to stop, waits, and kills it when it takes too long.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if self.task.await.is_err() {
            tracing::warn!("the watch over the {} ended early", self.name);
        }
    }
}

fn start(program: &Program, roster: &Roster) -> anyhow::Result<Child> {
    let log = roster.state.path(&format!("logs/{}.log", program.name));
    let out = open_log(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(&program.path);
    command
        .args(&program.arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .envs(std::env::var("RUST_LOG").map(|level| ("RUST_LOG", level)))
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out);
    if let Some((user, group)) = program.user {
        // As root this drops the supplementary groups too.
        command.uid(user).gid(group);
    }
    let child = command.spawn().with_context(|| format!("cannot start {}", program.path.display()))?;
    roster.set(program.name, child.id().and_then(|pid| Process::find(pid.cast_signed())));
    Ok(child)
}

fn open_log(path: &Path) -> std::io::Result<std::fs::File> {
    if std::fs::metadata(path).is_ok_and(|log| log.len() > LONGEST_LOG) {
        std::fs::rename(path, path.with_extension("log.old"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

async fn watch_over(program: Program, roster: Roster, mut child: Child, mut stopped: watch::Receiver<bool>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let ended = tokio::select! {
            status = child.wait() => Some(status),
            () = asked(&mut stopped) => None,
        };
        let Some(status) = ended else { return end(&program, &roster, child).await };
        tracing::warn!("the {} ended ({}), starting it again", program.name, outcome(status));
        pause = if began.elapsed() > STEADY { FIRST_PAUSE } else { pause };
        child = loop {
            let in_time = tokio::time::timeout(pause, asked(&mut stopped)).await;
            if in_time.is_ok() {
                return roster.set(program.name, None);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            match start(&program, &roster) {
                Ok(child) => break child,
                Err(error) => tracing::error!("the {} does not start: {error:#}", program.name),
            }
        };
    }
}

/// Ends when a stop is asked for, or nobody is left to ask.
async fn asked(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn end(program: &Program, roster: &Roster, mut child: Child) {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        // The child is not waited for yet, so its id cannot be anyone else's.
        let _ = kill_process(pid, program.stop);
    }
    if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        tracing::warn!("the {} did not stop within {} s and is killed", program.name, PATIENCE.as_secs());
        let _ = child.kill().await;
    }
    roster.set(program.name, None);
}

fn outcome(status: std::io::Result<std::process::ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(name: &'static str) -> Program {
        Program {
            name,
            path: "/bin/sleep".into(),
            arguments: vec!["60".into()],
            user: None,
            stop: Signal::TERM,
        }
    }

    #[tokio::test]
    async fn a_killed_program_is_started_again_and_a_stopped_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(folder.path()).unwrap());
        let roster = Roster::new(state);
        let running = keep(sleeper("portal"), roster.clone()).unwrap();
        let first = roster.pids()["portal"];
        kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
        let mut changes = roster.changes();
        tokio::time::timeout(Duration::from_secs(10), async {
            while roster.pids().get("portal").is_none_or(|pid| *pid == first) {
                changes.changed().await.unwrap();
            }
        })
        .await
        .unwrap();
        let second = roster.pids()["portal"];
        running.stop().await;
        assert!(roster.pids().is_empty());
        assert_eq!(Process::find(second), None);
    }
}
