//! A look at running processes through `/proc`: who they are by what they were started with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until_blocking;

/// In what `/proc/PID/stat` counts, on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// A running process.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    pub arguments: Vec<String>,
}

impl Process {
    /// The program's file name.
    pub fn program(&self) -> &str {
        let first = self.arguments.first().map_or("", String::as_str);
        first.rsplit('/').next().unwrap_or(first)
    }

    /// Whether an argument mentions `text`.
    pub fn mentions(&self, text: &str) -> bool {
        self.arguments.iter().any(|argument| argument.contains(text))
    }

    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.pid).context("a process id is not zero")?;
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => {
                Err(error).with_context(|| format!("cannot signal {} ({})", self.program(), self.pid))
            }
        }
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        until_blocking("the killed process is gone", Duration::from_secs(10), || {
            (!self.is_alive()).then_some(())
        })
    }

    /// A zombie counts as gone, once its last thread is.
    pub fn is_alive(&self) -> bool {
        !cluster_host::is_dead(self.pid)
    }

    /// Proportional set size in bytes.
    pub fn pss(&self) -> anyhow::Result<u64> {
        self.rollup("Pss:")
    }

    /// Resident set size in bytes.
    pub fn rss(&self) -> anyhow::Result<u64> {
        self.rollup("Rss:")
    }

    fn rollup(&self, line: &str) -> anyhow::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?;
        let found =
            text.lines().find_map(|each| each.strip_prefix(line)).context("smaps_rollup has no such line")?;
        Ok(found.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
    }

    /// Processor time used so far.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/schedstat", self.pid))?;
        let mut total = stat.split_whitespace().next().context("schedstat is empty")?.parse::<u64>()?;
        // schedstat counts the main thread only; the others are beside it.
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let task = task?;
            if task.file_name().to_string_lossy() != self.pid.to_string() {
                let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                total += text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(total))
    }

    /// The same with threads that ended counted too, in steps of 10 ms.
    pub fn processor_time_of_all(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // After the program's name, which may hold anything: user and system time are the 12th and 13th field.
        let fields = stat.rsplit(") ").next().context("stat is empty")?.split_whitespace();
        let ticks: Vec<u64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(TICK * u32::try_from(ticks.iter().sum::<u64>())?)
    }

    /// The effective user id it runs under.
    pub fn uid(&self) -> anyhow::Result<u32> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).context("no Uid line")?;
        Ok(line.split_whitespace().nth(1).context("no effective uid")?.parse()?)
    }

    /// Its environment, as text.
    pub fn environment(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(format!("/proc/{}/environ", self.pid))?)
            .replace('\0', "\n"))
    }

    /// The file it executes.
    pub fn executable(&self) -> anyhow::Result<PathBuf> {
        Ok(std::fs::read_link(format!("/proc/{}/exe", self.pid))?)
    }
}

/// Every running process (zombies left out) with an argument that mentions `path`.
pub fn that_mention(path: &Path) -> Vec<Process> {
    let text = path.to_string_lossy();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let arguments: Vec<String> = line
                .split(|byte| *byte == 0)
                .filter(|part| !part.is_empty())
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect();
            let process = Process { pid, arguments };
            (process.mentions(&text) && process.is_alive()).then_some(process)
        })
        .collect()
}
