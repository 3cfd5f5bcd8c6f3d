//! Keeps one cluster's processes running, whatever happens to Postgres or to the rest of the provisioner.
//!
//! A task of its own per cluster, with one input (the goal) and one output (what runs). It keeps its own
//! bookkeeping file, so that a new provisioner adopts what runs and misses no death.

use cluster_host::Known;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use serde::{Deserialize, Serialize};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Launcher, Role};
use crate::folder::{self, Place};

/// How long a process has for its orderly end before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// A killed process that is not gone by then hangs in the kernel; it is tried again later.
const KILL_GRACE: Duration = Duration::from_secs(5);
/// A process that lived this long did not fail at its start.
const LIVED: Duration = Duration::from_secs(10);
/// A process that writes without end must not fill the disk.
const BOUND_LOGS_EVERY: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// Whatever ran when the last provisioner wrote its bookkeeping: nothing else is known yet.
    AsBefore,
    /// These processes and no others.
    Run(Vec<Role>),
    /// Nothing for now; the bookkeeping keeps what shall run again with the next provisioner.
    Rest,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleState {
    /// It runs.
    Up {
        /// Its process id, which its sockets' peers can compare.
        pid: i32,
        /// Whether it came up after dying; for the reason that a tenant reads.
        failures: u32,
    },
    /// It died, and is started again after a pause.
    Down {
        /// Deaths in a row.
        failures: u32,
        /// How it ended.
        ended: String,
    },
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Supervision {
    /// The processes that shall run.
    pub roles: BTreeMap<Role, RoleState>,
    /// The goal is reached in what it forbids: no other process of the cluster runs.
    pub nothing_else: bool,
    /// Times that a process was started again after it died, since the cluster was made.
    pub restarts: u32,
    /// How the last process that died ended.
    pub last_end: Option<String>,
}

impl Supervision {
    /// Whether exactly these roles are kept running.
    pub fn keeps(&self, roles: &[Role]) -> bool {
        self.nothing_else
            && self.roles.len() == roles.len()
            && roles.iter().all(|role| self.roles.contains_key(role))
    }
}

/// The bookkeeping file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Book {
    goal: Vec<Role>,
    processes: BTreeMap<Role, Known>,
    #[serde(default)]
    restarts: u32,
}

/// The handle on a cluster's supervision.
pub struct Supervisor {
    goal: watch::Sender<Goal>,
    state: watch::Receiver<Supervision>,
    task: tokio::task::JoinHandle<()>,
}

impl Supervisor {
    /// Starts supervising. Adoption happens first; `book` is the bookkeeping file.
    pub fn start(launcher: Launcher, place: Place, book: PathBuf, goal: Goal) -> Self {
        let (goal, goals) = watch::channel(goal);
        let (states, state) = watch::channel(Supervision::default());
        let (deaths, dead) = mpsc::channel(64);
        let launcher = Arc::new(launcher);
        let work = Work {
            launcher,
            place,
            file: book,
            book: Book::default(),
            up: BTreeMap::new(),
            down: BTreeMap::new(),
            last_end: None,
            deaths,
        };
        let task = tokio::spawn(work.run(goals, dead, states));
        Self { goal, state, task }
    }

    /// Sets what shall run.
    pub fn aim(&self, goal: Goal) {
        self.goal.send_if_modified(|current| {
            let changed = *current != goal;
            *current = goal;
            changed
        });
    }

    /// What runs; changes are announced.
    pub fn state(&self) -> watch::Receiver<Supervision> {
        self.state.clone()
    }
}

impl Drop for Supervisor {
    /// The processes go on: their end is a goal, never the end of their supervision.
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Up {
    known: Known,
    pidfd: OwnedFd,
    since: Instant,
    failures: u32,
}

struct Down {
    failures: u32,
    ended: String,
    again: Instant,
}

struct Death {
    role: Role,
    pid: i32,
    ended: String,
}

struct Work {
    launcher: Arc<Launcher>,
    place: Place,
    file: PathBuf,
    book: Book,
    up: BTreeMap<Role, Up>,
    down: BTreeMap<Role, Down>,
    last_end: Option<String>,
    deaths: mpsc::Sender<Death>,
}

impl Work {
    async fn run(
        mut self,
        mut goals: watch::Receiver<Goal>,
        mut dead: mpsc::Receiver<Death>,
        states: watch::Sender<Supervision>,
    ) {
        self.adopt();
        loop {
            let goal = goals.borrow_and_update().clone();
            self.take_up(&goal);
            let wanted = if goal == Goal::Rest { Vec::new() } else { self.book.goal.clone() };
            self.publish(&states, &wanted);
            self.stop_others(&wanted, &mut dead).await;
            self.start_missing(&wanted).await;
            self.publish(&states, &wanted);
            let again = self.down.values().map(|down| down.again).min();
            tokio::select! {
                () = tokio::time::sleep(BOUND_LOGS_EVERY) => self.bound_logs().await,
                changed = goals.changed() => if changed.is_err() { return },
                Some(death) = dead.recv() => self.note(death),
                () = sleep_until(again) => {}
            }
        }
    }

    /// Finds the processes of the last provisioner. What is not found died unseen, and is started like any
    /// other that died.
    fn adopt(&mut self) {
        self.book = folder::read_json(&self.file).unwrap_or_default();
        for (role, known) in self.book.processes.clone() {
            match known.find().map(|pidfd| self.watch(role, known.clone(), pidfd, 0)) {
                Some(Ok(())) => info!(cluster = %self.place.cluster(), %role, pid = known.pid, "adopted"),
                Some(Err(error)) => {
                    error!(cluster = %self.place.cluster(), %role, %error, "cannot watch a process")
                }
                None => self.mark_dead(role, "ended while nobody watched".into(), 0),
            }
        }
        self.book.processes = self.up.iter().map(|(role, up)| (*role, up.known.clone())).collect();
    }

    fn take_up(&mut self, goal: &Goal) {
        let Goal::Run(roles) = goal else { return };
        self.down.retain(|role, _| roles.contains(role));
        if self.book.goal != *roles {
            self.book.goal.clone_from(roles);
            self.save();
        }
    }

    fn save(&self) {
        // Not flushed to the disk: it describes processes, and a machine that loses it lost them too.
        if let Err(error) = folder::write_json(&self.file, &self.book, folder::Durable::No) {
            error!(file = %self.file.display(), %error, "cannot write the bookkeeping");
        }
    }

    /// Waits for a process's end in a task of its own.
    fn watch(&mut self, role: Role, known: Known, pidfd: OwnedFd, failures: u32) -> std::io::Result<()> {
        // Only its readiness is used, which for a pidfd means that the process ended; the runtime has no
        // type of its own for descriptors that are never read.
        let readable = pipe::Receiver::from_owned_fd_unchecked(pidfd.try_clone()?)?;
        let (deaths, pid) = (self.deaths.clone(), known.pid);
        tokio::spawn(async move {
            let _ = readable.readable().await;
            let ended = reap(readable.as_fd());
            let _ = deaths.send(Death { role, pid, ended }).await;
        });
        self.down.remove(&role);
        self.up.insert(role, Up { known, pidfd, since: Instant::now(), failures });
        Ok(())
    }

    fn note(&mut self, death: Death) {
        if self.up.get(&death.role).is_none_or(|up| up.known.pid != death.pid) {
            return;
        }
        if let Some(up) = self.up.remove(&death.role) {
            let failures = if up.since.elapsed() >= LIVED { 0 } else { up.failures };
            warn!(cluster = %self.place.cluster(), role = %death.role, ended = death.ended, "a process ended");
            self.mark_dead(death.role, death.ended, failures);
        }
    }

    fn mark_dead(&mut self, role: Role, ended: String, failures: u32) {
        let again = Instant::now() + pause_before_start(failures);
        self.last_end = Some(format!("{role} {ended}"));
        self.down.insert(role, Down { failures: failures + 1, ended, again });
    }

    async fn start_missing(&mut self, wanted: &[Role]) {
        for role in wanted {
            let due = self.down.get(role).is_none_or(|down| down.again <= Instant::now());
            if self.up.contains_key(role) || !due {
                continue;
            }
            let failures = self.down.get(role).map_or(0, |down| down.failures);
            if let Err(error) = self.start(*role, failures).await {
                error!(cluster = %self.place.cluster(), %role, %error, "cannot start a process");
                self.mark_dead(*role, format!("could not be started: {error}"), failures);
            }
        }
    }

    async fn start(&mut self, role: Role, failures: u32) -> std::io::Result<()> {
        let (launcher, place) = (Arc::clone(&self.launcher), self.place.clone());
        let launch = move || {
            let log = place.open_log(role)?;
            launcher.start(role, &place.config_file(role), log)
        };
        let waiting = tokio::task::spawn_blocking(launch).await.map_err(std::io::Error::other)??;
        self.book.processes.insert(role, waiting.known.clone());
        self.book.restarts += u32::from(failures > 0);
        if let Err(error) = folder::write_json(&self.file, &self.book, folder::Durable::No) {
            waiting.abandon();
            return Err(error);
        }
        let (known, pidfd) = waiting.go()?;
        info!(cluster = %self.place.cluster(), %role, pid = known.pid, "started");
        self.watch(role, known, pidfd, failures)
    }

    async fn bound_logs(&self) {
        let (place, roles): (_, Vec<Role>) = (self.place.clone(), self.up.keys().copied().collect());
        let bound = move || roles.into_iter().try_for_each(|role| place.bound_log(role));
        if let Ok(Err(error)) = tokio::task::spawn_blocking(bound).await {
            warn!(cluster = %self.place.cluster(), %error, "cannot bound a log");
        }
    }

    /// Ends what shall not run, all at once, and waits until it is gone.
    async fn stop_others(&mut self, wanted: &[Role], dead: &mut mpsc::Receiver<Death>) {
        let others: Vec<Role> = self.up.keys().copied().filter(|role| !wanted.contains(role)).collect();
        self.down.retain(|role, _| wanted.contains(role));
        if others.is_empty() {
            return;
        }
        for (signal, grace) in [(Signal::TERM, STOP_GRACE), (Signal::KILL, KILL_GRACE)] {
            for up in others.iter().filter_map(|role| self.up.get(role)) {
                // An error means that it is gone; its death is on the way.
                let _ = pidfd_send_signal(up.pidfd.as_fd(), signal);
            }
            let end = Instant::now() + grace;
            while others.iter().any(|role| self.up.contains_key(role)) {
                let Ok(Some(death)) = tokio::time::timeout_at(end, dead.recv()).await else { break };
                if others.contains(&death.role) {
                    self.up.remove(&death.role);
                    info!(cluster = %self.place.cluster(), role = %death.role, ended = death.ended, "stopped");
                } else {
                    self.note(death);
                }
            }
        }
        self.book.processes = self.up.iter().map(|(role, up)| (*role, up.known.clone())).collect();
        self.save();
    }

    fn publish(&self, states: &watch::Sender<Supervision>, wanted: &[Role]) {
        let state = |role: &Role| {
            if let Some(up) = self.up.get(role) {
                let failures = if up.since.elapsed() >= LIVED { 0 } else { up.failures };
                return RoleState::Up { pid: up.known.pid, failures };
            }
            let (failures, ended) =
                self.down.get(role).map_or((0, String::new()), |down| (down.failures, down.ended.clone()));
            RoleState::Down { failures, ended }
        };
        let now = Supervision {
            roles: wanted.iter().map(|role| (*role, state(role))).collect(),
            nothing_else: self.up.keys().all(|role| wanted.contains(role)),
            restarts: self.book.restarts,
            last_end: self.last_end.clone(),
        };
        states.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
    }
}

/// At once the first time, then from a quarter of a second, doubled, to half a minute.
fn pause_before_start(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        _ => FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_PAUSE),
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Collects a dead child and tells how it ended. An adopted process is not our child: the kernel gave it to
/// the machine's first process, which collects it.
fn reap(pidfd: BorrowedFd<'_>) -> String {
    match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("ended with code {code}"),
            (_, Some(signal)) => format!("was ended by signal {signal}"),
            _ => "ended".into(),
        },
        _ => "ended".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_the_pauses_grow_to_half_a_minute() {
        let pauses: Vec<u128> = (0..10).map(|failures| pause_before_start(failures).as_millis()).collect();
        assert_eq!(pauses, [0, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(pause_before_start(u32::MAX), LONGEST_PAUSE);
    }
}
