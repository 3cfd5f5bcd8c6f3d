//! Starts a cluster process: in a session of its own, as its tenant's user, within its limits, with nothing
//! inherited from the provisioner but its log.
//!
//! Two steps, so that no process is ever running that the bookkeeping does not know. The provisioner starts
//! itself with the hidden command `launch`, which waits on its standard input. The provisioner writes down
//! which process that is, then sends one byte, and the launcher becomes the cluster program (same process).
//! A provisioner that dies in between closes the pipe, and the launcher ends.

use cluster_host::Known;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Args;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, pidfd_open, setrlimit, setsid, umask};

use super::{Role, walls};

/// Threads a tenant's user may have; far above what a cluster uses.
const MAX_THREADS: u64 = 2_048;

/// The kernel ends a tenant's process before anything else when memory runs out.
const OOM_SCORE: &str = "500";

/// What a cluster process cannot exceed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// RLIMIT_DATA. Not RLIMIT_AS: mapped files cost address space but no memory of the machine.
    pub memory_bytes: u64,
    /// RLIMIT_NOFILE.
    pub open_files: u64,
}

/// How the processes of one cluster are started.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// This program.
    pub itself: PathBuf,
    /// The cluster program.
    pub program: PathBuf,
    /// The cluster's folder, the processes' working directory.
    pub folder: PathBuf,
    /// The tenant's user and group; `None` without root.
    pub user: Option<u32>,
    /// What a process cannot exceed.
    pub limits: Limits,
}

/// The arguments of the hidden command.
#[derive(Debug, Args)]
pub struct LaunchArguments {
    #[arg(long)]
    user: Option<u32>,
    #[arg(long)]
    folder: PathBuf,
    #[arg(long)]
    memory_bytes: u64,
    #[arg(long)]
    open_files: u64,
    #[arg(last = true, required = true)]
    command: Vec<PathBuf>,
}

/// A started launcher that still waits for its go-ahead.
pub struct Waiting {
    child: Child,
    /// Which process it is, and will be as the cluster program.
    pub known: Known,
    /// The process.
    pub pidfd: OwnedFd,
}

impl Launcher {
    /// Starts the launcher for a role. Nothing of the cluster runs yet.
    pub fn start(&self, role: Role, config: &Path, log: File) -> std::io::Result<Waiting> {
        let mut command = Command::new(&self.itself);
        command.arg("launch").arg("--folder").arg(&self.folder);
        if let Some(user) = self.user {
            command.arg("--user").arg(user.to_string());
        }
        command.arg("--memory-bytes").arg(self.limits.memory_bytes.to_string());
        command.arg("--open-files").arg(self.limits.open_files.to_string());
        command.arg("--").arg(&self.program).arg(role.command()).arg("--config").arg(config);
        let errors = log.try_clone()?;
        let mut child = command.env_clear().stdin(Stdio::piped()).stdout(log).stderr(errors).spawn()?;
        let pid = child.id().cast_signed();
        let described = Known::of_child(pid).and_then(|known| {
            let raw = Pid::from_raw(pid).ok_or_else(|| std::io::Error::other("a child without an id"))?;
            Ok((known, pidfd_open(raw, PidfdFlags::empty())?))
        });
        match described {
            Ok((known, pidfd)) => Ok(Waiting { child, known, pidfd }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }
}

impl Waiting {
    /// Gives the go-ahead.
    pub fn go(mut self) -> std::io::Result<(Known, OwnedFd)> {
        let pipe = self.child.stdin.take();
        let told =
            pipe.ok_or_else(|| std::io::Error::other("no pipe")).and_then(|mut pipe| pipe.write_all(b"!"));
        match told {
            Ok(()) => Ok((self.known, self.pidfd)),
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    /// Gives no go-ahead: the launcher ends.
    pub fn abandon(mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What makes glibc give memory back after load, so that a cluster that rests is small again (mallopt(3)): two
/// arenas instead of eight a core, and fixed thresholds instead of ones that grow with the first large buffer.
const MEMORY_GOES_BACK: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// The launcher's side: waits for the go-ahead, confines itself and becomes the cluster program. Returns
/// only when that fails, or when there is no go-ahead.
pub fn launch_and_become(arguments: &LaunchArguments) -> std::io::Error {
    match confine(arguments) {
        Ok(true) => {}
        Ok(false) => return std::io::Error::other("no go-ahead"),
        Err(error) => return error,
    }
    let Some((program, rest)) = arguments.command.split_first() else {
        return std::io::Error::other("no program named");
    };
    let mut command = Command::new(program);
    command.args(rest).env_clear().envs(MEMORY_GOES_BACK).stdin(Stdio::null());
    if let Some(user) = arguments.user {
        // The standard library drops the supplementary groups as well when it changes the user as root.
        command.gid(user).uid(user);
    }
    let error = command.exec();
    std::io::Error::new(error.kind(), format!("cannot run {}: {error}", program.display()))
}

fn confine(arguments: &LaunchArguments) -> std::io::Result<bool> {
    let mut go = [0_u8];
    if std::io::stdin().read(&mut go)? == 0 {
        return Ok(false);
    }
    setsid()?;
    // As root, and before the user changes: the folders above the cluster's need not be open to tenants.
    std::env::set_current_dir(&arguments.folder)?;
    umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Without root, a higher score than one's own is allowed too; a kernel without it is no reason to fail.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    limit(Resource::Core, 0)?;
    limit(Resource::Data, arguments.memory_bytes)?;
    limit(Resource::Nofile, arguments.open_files)?;
    if arguments.user.is_some() {
        // Counts all processes of a user, so it means something only where the user is the tenant's own.
        limit(Resource::Nproc, MAX_THREADS)?;
    }
    rustix::thread::set_no_new_privs(true)?;
    let program = arguments.command.first().map(PathBuf::as_path).unwrap_or(Path::new("/"));
    if !walls::raise(&arguments.folder, program).map_err(std::io::Error::other)? {
        // Into the cluster's log, where an operator looks who wonders about it.
        eprintln!("this kernel has no Landlock: the process can read whatever its user can");
    }
    Ok(true)
}

/// Lowers a limit, hard and soft; one that is lower already stays.
fn limit(resource: Resource, value: u64) -> std::io::Result<()> {
    let ceiling = rustix::process::getrlimit(resource).maximum;
    let value = ceiling.map_or(value, |ceiling| ceiling.min(value));
    Ok(setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}
