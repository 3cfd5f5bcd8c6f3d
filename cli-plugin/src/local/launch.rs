//! Starts a server that goes on when this program and its terminal are gone.
//!
//! Two steps, so that no server ever runs that nobody knows of. This program starts itself with the hidden command
//! `cluster launch`, which waits on its standard input. It writes down which process that is and sends one byte; then
//! the launcher leaves the terminal's session and becomes the server (the same process). If this program dies in
//! between, the pipe closes and the launcher ends.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, setsid};

use super::place::Place;
use crate::failure::{Failure, OrFail, Outcome};
use cluster_host::Known;

/// Files that a server may have open, if the user may have so many.
const OPEN_FILES: u64 = 65_536;

/// A log that has grown beyond this is put aside at the server's next start.
const LOG_BYTES: u64 = 8 << 20;

/// So much of the end of a log is shown to a person.
const LOG_LINES: usize = 8;

/// Arguments of the hidden command.
#[derive(Debug, Args)]
pub struct Launch {
    #[arg(long)]
    folder: PathBuf,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// A server that was started just now.
pub struct Started {
    /// `sc` or an SPU's name.
    pub name: String,
    child: Child,
}

impl Launch {
    /// Waits for the go-ahead and becomes the server. Returns only when that fails.
    pub fn run(&self) -> Outcome {
        let mut go = [0_u8];
        if io::stdin().read(&mut go).or_fail("no go-ahead")? == 0 {
            return Err(Failure::failed("no go-ahead"));
        }
        setsid().or_fail("the terminal's session cannot be left")?;
        env::set_current_dir(&self.folder)
            .or_fail(&format!("{} cannot be entered", self.folder.display()))?;
        let ceiling = getrlimit(Resource::Nofile).maximum;
        let current = ceiling.map_or(OPEN_FILES, |ceiling| ceiling.min(OPEN_FILES));
        setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: ceiling })
            .or_fail("the limit of open files cannot be set")?;
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Failure::usage("no program is named"));
        };
        let mut server = Command::new(program);
        server.args(arguments).env_clear().envs(kept(&["RUST_LOG"])).stdin(Stdio::null());
        let error = server.exec();
        Err(Failure::failed(format!("{} cannot be run: {error}", Path::new(program).display())))
    }
}

impl Started {
    /// How the server ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(status.to_string())
    }
}

/// Starts a server and writes down which process it is.
pub fn start(place: &Place, program: &Path, name: &str) -> Result<Started, Failure> {
    let doing = format!("{name} cannot be started");
    let itself = env::current_exe().or_fail(&doing)?;
    let log = open_log(&place.log_of(name)).or_fail(&doing)?;
    let errors = log.try_clone().or_fail(&doing)?;
    let mut command = Command::new(itself);
    command.args(["cluster", "launch", "--folder"]).arg(place.folder()).arg("--").arg(program);
    command.arg(if name == "sc" { "sc" } else { "spu" }).arg("--config").arg(place.config(name));
    // A server is the same whoever's shell starts it; only how much it says may be chosen. The others are for us.
    let variables = kept(&["RUST_LOG", "HOME", "FLUVIO_DIR", "FLV_PROFILE_PATH"]);
    command.env_clear().envs(variables).stdin(Stdio::piped()).stdout(log).stderr(errors);
    let mut child = command.spawn().or_fail(&doing)?;
    let noted = Known::of_child(child.id().cast_signed()).or_fail(&doing);
    let told = noted.and_then(|known| place.note(name, &known)).and_then(|()| {
        let mut pipe = child.stdin.take().ok_or_else(|| Failure::failed(format!("{doing}: no pipe")))?;
        pipe.write_all(b"!").or_fail(&doing)
    });
    if let Err(failure) = told {
        drop(child.stdin.take());
        let _ended = child.wait();
        return Err(failure);
    }
    Ok(Started { name: name.to_owned(), child })
}

fn kept(names: &[&'static str]) -> Vec<(&'static str, OsString)> {
    names.iter().filter_map(|name| Some((*name, env::var_os(name)?))).collect()
}

fn open_log(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|log| log.len() > LOG_BYTES) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    File::options().create(true).append(true).open(path)
}

/// The last lines of a server's log, indented, for a person who wonders why it ended.
pub fn last_words(place: &Place, name: &str) -> String {
    let text = fs::read(place.log_of(name)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    lines[from..].iter().map(|line| format!("\n  {}", line.escape_debug())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_put_aside_and_a_short_one_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sc.log");
        fs::write(&path, "before\n").unwrap();
        open_log(&path).unwrap().write_all(b"now\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\nnow\n");
        File::options().write(true).open(&path).unwrap().set_len(LOG_BYTES + 1).unwrap();
        open_log(&path).unwrap().write_all(b"later\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "later\n");
        assert_eq!(fs::metadata(folder.path().join("sc.log.old")).unwrap().len(), LOG_BYTES + 1);
    }
}
