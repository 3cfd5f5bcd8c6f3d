//! `fluvio cluster delete`: ends the servers and removes the records, the folder and the profile.

use std::fs;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::path::Path;

use clap::Args;

use super::PROFILE;
use super::book::Book;
use super::place::{Place, bytes_below};
use super::shutdown::end_all;
use crate::failure::{Failure, OrFail, Outcome};
use crate::output;
use crate::places::Places;
use crate::profile;

/// Options of `cluster delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Do not ask
    #[arg(long, short = 'y', visible_alias = "force")]
    yes: bool,
}

impl Delete {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let place = Place::of(places)?;
        if !place.folder().exists() {
            remove_profile(places)?;
            output::line("there is no local cluster")?;
            return Ok(0);
        }
        let _alone = place.lock()?;
        let book = Book::read(&place)?;
        if !self.yes && book.is_some() {
            confirm(book.as_ref())?;
        }
        end_all(&place)?;
        if let Some(book) = &book {
            remove_records(book)?;
        }
        let doing = format!("{} could not be removed", place.folder().display());
        fs::remove_dir_all(place.folder()).or_fail(&doing)?;
        let forgotten = remove_profile(places)?;
        output::line("the local cluster and its records are deleted")?;
        if forgotten {
            output::line(&format!("removed profile {PROFILE}"))?;
        }
        Ok(0)
    }
}

/// Only what the servers made: the folder was named by a person and may be on a disk of its own.
fn remove_records(book: &Book) -> Result<(), Failure> {
    for server in book.servers() {
        let folder = book.data.join(server);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).or_fail(&format!("{} could not be removed", folder.display()));
            }
            _ => {}
        }
    }
    remove_if_empty(&book.data)
}

fn remove_if_empty(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir(folder) {
        Ok(()) => Ok(()),
        // Somebody else's files are in it, or a disk is mounted on it.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty | ErrorKind::ResourceBusy
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(error).or_fail(&format!("{} could not be removed", folder.display())),
    }
}

/// Whether there was one of ours.
fn remove_profile(places: &Places) -> Result<bool, Failure> {
    if !profile::read(&places.profiles)?.is_local(PROFILE) {
        return Ok(false);
    }
    profile::update(&places.profiles, |all| {
        all.delete(PROFILE)
            .map_err(|error| Failure::failed(error.to_string()).with_fix("fluvio profile list"))
    })?;
    Ok(true)
}

fn confirm(book: Option<&Book>) -> Result<(), Failure> {
    let size = book.map_or(0, |book| bytes_below(&book.data));
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "deleting the local cluster deletes its records, and there is no terminal to ask on",
        )
        .with_fix("fluvio cluster delete --yes"));
    }
    let mut stderr = io::stderr().lock();
    let mut answer = String::new();
    write!(stderr, "type {PROFILE} to delete the local cluster and its data ({}): ", output::bytes(size))
        .and_then(|()| stderr.flush())
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::failed(format!("the answer could not be read: {error}")))?;
    if answer.trim() == PROFILE {
        return Ok(());
    }
    Err(Failure::usage(format!("nothing was deleted: the answer was not `{PROFILE}`"))
        .with_fix("fluvio cluster delete, or fluvio cluster delete --yes"))
}
