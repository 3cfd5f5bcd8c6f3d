//! `fluvio cluster check`: whether a cluster could start here, one line a condition, each with its fix.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{Access, access, statvfs};
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use super::book::{Asked, Book, settle};
use super::documents::RESERVE_BYTES;
use super::place::Place;
use super::process::{self, Up};
use super::{PROFILE, ports, program};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Form, Table, progress};
use crate::places::Places;
use crate::profile::{self, ProfileError};

/// What has to be free on the disk, so that something can be stored above what stays free.
const FREE_BYTES: u64 = 2 * RESERVE_BYTES;

/// Each partition has a few files open, each client one.
const OPEN_FILES: u64 = 4_096;

/// What the cluster is to be
#[derive(Debug, Args)]
pub struct Wanted {
    /// How many SPUs it has; none is ever taken away [default: 1, then as many as it has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    spu: Option<u8>,
    /// Where it keeps its records [default: with everything else about it]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The SC's port on this machine, 0 for any; SPUs get free ports from 7 above it [default: 9003]
    #[arg(long, value_name = "P")]
    port: Option<u16>,
}

/// Options of `cluster check`.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    wanted: Wanted,
    /// The form of the answer
    #[arg(long, short = 'O', value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// One condition.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What was looked at.
    pub check: String,
    /// Whether it is as it has to be.
    pub ok: bool,
    /// How it is.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// What was found, before it is judged.
#[derive(Debug)]
pub struct Facts {
    program: Result<PathBuf, Failure>,
    ports: Vec<(String, u16, PortUse)>,
    folders: Vec<Folder>,
    sockets_fit: bool,
    free_bytes: Option<u64>,
    /// Hard limit; none is unlimited.
    open_files: Option<u64>,
    profile: Result<(), ProfileError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PortUse {
    Free,
    Ours,
    Taken,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Folder {
    path: PathBuf,
    option: &'static str,
    writable: bool,
    /// Files in it that are none of ours.
    foreign: bool,
}

impl Wanted {
    /// What is asked of a cluster, made already or not, with whole paths and a port instead of 0.
    pub fn asked(&self, made: bool) -> Result<Asked, Failure> {
        let data = self.data.as_ref().map(std::path::absolute).transpose().map_err(|error| {
            Failure::usage(format!("--data names no folder: {error}")).with_fix("--data DIR")
        })?;
        // Any port will do: then the one that it has.
        let port = self.port.filter(|port| !(made && *port == 0));
        Ok(Asked { spus: self.spu, data, port: port.map(ports::asked).transpose()? })
    }
}

impl Check {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let place = Place::of(places)?;
        let made = Book::read(&place)?;
        let up = process::up(&place.noted());
        let runs = |server: &str| up.contains_key(server);
        let fresh = made.is_none();
        let book = settle(made, &self.wanted.asked(!fresh)?, &place.data(), runs, ports::is_free)?;
        let lines = lines(&Facts::gather(&place, places, &book, fresh, &up));
        output::show(self.output, lines.as_slice(), table)?;
        let failed = lines.iter().any(|line| !line.ok);
        if self.output == Form::Table {
            for line in lines.iter().filter(|line| !line.ok) {
                output::line(&format!("fix: {}: {}", line.check, line.fix.as_deref().unwrap_or("-")))?;
            }
            if !failed && up.is_empty() {
                progress::note("next: fluvio cluster start");
            }
        }
        Ok(u8::from(failed))
    }
}

fn table(lines: &[Line]) -> Table {
    let mut table = Table::new(&["STATUS", "CHECK", "FOUND"]);
    for line in lines {
        let status = if line.ok { "ok" } else { "FAILED" };
        table.row([status.to_owned(), line.check.clone(), line.found.clone()]);
    }
    table
}

impl Facts {
    /// Looks at this machine for the cluster of the book; `fresh` if it has never been started.
    pub fn gather(place: &Place, places: &Places, book: &Book, fresh: bool, up: &Up) -> Self {
        let port_use = |server: &str, port: u16| match () {
            () if up.contains_key(server) => PortUse::Ours,
            () if ports::is_free(port) => PortUse::Free,
            () => PortUse::Taken,
        };
        let spus = book.spus.iter().map(|spu| (spu.name.as_str(), spu.port));
        let servers = std::iter::once(("sc", book.port)).chain(spus);
        let elsewhere = (book.data != place.data()).then_some((book.data.as_path(), "--data DIR"));
        let folders = std::iter::once((place.folder(), "FLUVIO_DIR")).chain(elsewhere);
        Self {
            program: program::find(),
            ports: servers.map(|(name, port)| (name.to_owned(), port, port_use(name, port))).collect(),
            folders: folders
                .map(|(path, option)| Folder {
                    path: path.to_owned(),
                    option,
                    writable: is_writable(path),
                    foreign: fresh && path == book.data && holds_something(path),
                })
                .collect(),
            sockets_fit: place.is_short_enough(),
            free_bytes: free_bytes(&book.data),
            open_files: getrlimit(Resource::Nofile).maximum,
            profile: profile::read(&places.profiles)
                .map_or(Ok(()), |profiles| profiles.takes_local_cluster(PROFILE)),
        }
    }
}

/// The folder that a path is in or will be in.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"))
}

fn is_writable(path: &Path) -> bool {
    let folder = existing(path);
    folder.is_dir() && access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

fn holds_something(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
}

fn free_bytes(path: &Path) -> Option<u64> {
    let found = statvfs(existing(path)).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The judgement, in the order in which a person would mend things.
pub fn lines(facts: &Facts) -> Vec<Line> {
    let mut lines = vec![match &facts.program {
        Ok(path) => line("program", None, path.display().to_string()),
        Err(failure) => line("program", failure.fix().map(str::to_owned), failure.to_string()),
    }];
    lines.extend(facts.ports.iter().map(port_line));
    lines.extend(facts.folders.iter().map(|folder| folder_line(folder, facts.sockets_fit)));
    lines.push(disk_line(facts.free_bytes));
    let found = facts.open_files.map_or("unlimited".to_owned(), |most| format!("{most} at most"));
    let few = facts.open_files.filter(|most| *most < OPEN_FILES);
    let fix = few.map(|_| {
        format!("allow your user at least {OPEN_FILES} (limits.conf(5), nofile), then log in again")
    });
    lines.push(line("open files", fix, found));
    lines.push(match &facts.profile {
        Ok(()) => line("profile", None, format!("{PROFILE} is free or of the cluster on this machine")),
        Err(error) => {
            let fix = format!("fluvio profile rename {PROFILE} another-name");
            line("profile", Some(fix), error.to_string())
        }
    });
    lines
}

/// A condition that is met unless it has a fix.
fn line(check: impl Into<String>, fix: Option<String>, found: String) -> Line {
    Line { check: check.into(), ok: fix.is_none(), found, fix }
}

fn port_line((server, port, found): &(String, u16, PortUse)) -> Line {
    let check = format!("port of {server}");
    match found {
        PortUse::Free => line(check, None, format!("{port} is free")),
        PortUse::Ours => line(check, None, format!("{port} is in use by this cluster")),
        PortUse::Taken => {
            let other = if *port > u16::MAX - 1000 { 9003 } else { port + 1000 };
            let fix = format!(
                "end the program that has it (ss -ltnp 'sport = :{port}' shows which), or: fluvio cluster start --port {other}"
            );
            line(check, Some(fix), format!("{port} is taken by another program"))
        }
    }
}

fn folder_line(folder: &Folder, sockets_fit: bool) -> Line {
    let Folder { path, option, .. } = folder;
    let is_data = *option != "FLUVIO_DIR";
    let check = if is_data { "records" } else { "folder" };
    let shown = path.display();
    if !folder.writable {
        let fix = format!("let your user write there, or choose another with {option}");
        return line(check, Some(fix), format!("{shown} cannot be written"));
    }
    if folder.foreign {
        let fix = "name a folder that is empty or not there yet: fluvio cluster start --data DIR".to_owned();
        return line(check, Some(fix), format!("{shown} holds files that are not of this cluster"));
    }
    if !is_data && !sockets_fit {
        let fix = "choose a folder with a shorter path with FLUVIO_DIR".to_owned();
        return line(check, Some(fix), format!("{shown} is too long a path for sockets below it"));
    }
    line(check, None, shown.to_string())
}

fn disk_line(free: Option<u64>) -> Line {
    let check = "free disk";
    match free {
        Some(free) if free >= FREE_BYTES => line(check, None, output::bytes(free)),
        Some(free) => {
            let found = format!("{}, and {} is needed", output::bytes(free), output::bytes(FREE_BYTES));
            line(check, Some("free some, or name another disk with --data DIR".to_owned()), found)
        }
        None => {
            let fix = "check the disk, or name another with --data DIR".to_owned();
            line(check, Some(fix), "the disk does not say".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            program: Ok("/bin/fluvio-cluster".into()),
            ports: vec![("sc".into(), 9003, PortUse::Free), ("main-0".into(), 9010, PortUse::Ours)],
            folders: vec![folder("FLUVIO_DIR"), folder("--data DIR")],
            sockets_fit: true,
            free_bytes: Some(FREE_BYTES),
            open_files: Some(OPEN_FILES),
            profile: Ok(()),
        }
    }

    fn folder(option: &'static str) -> Folder {
        Folder { path: "/f".into(), option, writable: true, foreign: false }
    }

    #[test]
    fn a_machine_that_is_ready_has_no_fixes() {
        let lines = lines(&good());
        assert!(lines.iter().all(|line| line.ok && line.fix.is_none()), "{lines:?}");
        let checks: Vec<&str> = lines.iter().map(|line| line.check.as_str()).collect();
        assert_eq!(
            checks,
            [
                "program",
                "port of sc",
                "port of main-0",
                "folder",
                "records",
                "free disk",
                "open files",
                "profile"
            ]
        );
        assert!(
            table(&lines)
                .render()
                .starts_with("STATUS  CHECK           FOUND\nok      program         /bin/")
        );
    }

    #[test]
    fn each_fault_fails_its_own_line_and_says_what_to_do() {
        type Break = fn(&mut Facts);
        let cases: [(&str, &str, &str, Break); 9] = [
            ("program", "is not on PATH", "put it there", |facts| {
                facts.program = Err(Failure::failed("it is not on PATH").with_fix("put it there"));
            }),
            ("port of sc", "taken by another", "--port 10003", |facts| facts.ports[0].2 = PortUse::Taken),
            ("folder", "cannot be written", "FLUVIO_DIR", |facts| facts.folders[0].writable = false),
            ("folder", "too long", "shorter", |facts| facts.sockets_fit = false),
            ("records", "cannot be written", "--data DIR", |facts| facts.folders[1].writable = false),
            ("records", "not of this cluster", "empty", |facts| facts.folders[1].foreign = true),
            ("free disk", "is needed", "--data DIR", |facts| facts.free_bytes = Some(FREE_BYTES - 1)),
            ("open files", "4095 at most", "at least 4096", |facts| facts.open_files = Some(OPEN_FILES - 1)),
            ("profile", "another cluster", "profile rename", |facts| {
                facts.profile = Err(ProfileError::OfAnotherCluster(PROFILE.into()));
            }),
        ];
        for (check, found, fix, fault) in cases {
            let mut facts = good();
            fault(&mut facts);
            let failed: Vec<Line> = lines(&facts).into_iter().filter(|line| !line.ok).collect();
            let [line] = &failed[..] else { panic!("{check}: {failed:?}") };
            assert_eq!(line.check, check);
            assert!(line.found.contains(found), "{line:?}");
            assert!(line.fix.as_ref().is_some_and(|text| text.contains(fix)), "{line:?}");
        }
        assert!(lines(&Facts { open_files: None, ..good() }).iter().all(|line| line.ok));
        assert_eq!(lines(&Facts { free_bytes: None, ..good() }).iter().filter(|line| !line.ok).count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_above_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_writable(&folder.path().join("deep/er")));
        assert!(!holds_something(folder.path()));
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(!is_writable(&folder.path().join("file/er")), "a file is in the way");
        assert!(holds_something(folder.path()));
        assert!(free_bytes(&folder.path().join("deep/er")).is_some());
    }
}
