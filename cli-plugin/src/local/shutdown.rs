//! `fluvio cluster shutdown`: ends the servers and keeps the records.

use std::time::Duration;

use clap::Args;
use rustix::process::Signal;

use super::place::Place;
use super::process;
use crate::failure::{Failure, Outcome};
use crate::output::progress::Progress;
use crate::output::{self, progress};
use crate::places::Places;

/// A server gives everything four seconds to end.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// The kernel ends what it is told to, unless a disk hangs.
const KILL_GRACE: Duration = Duration::from_secs(10);

/// Options of `cluster shutdown`.
#[derive(Debug, Args)]
pub struct Shutdown {}

impl Shutdown {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let place = Place::of(places)?;
        if !place.folder().exists() {
            output::line("there is no local cluster")?;
            return Ok(0);
        }
        let _alone = place.lock()?;
        if end_all(&place)? == 0 {
            output::line("the local cluster was not running; its records are kept")?;
        } else {
            output::line("the local cluster has stopped; its records are kept")?;
        }
        output::line("next: fluvio cluster start, or fluvio cluster delete")?;
        Ok(0)
    }
}

/// Ends all servers, in order if they can and by force if not; answers how many were up.
pub fn end_all(place: &Place) -> Result<usize, Failure> {
    let up = process::up(&place.noted());
    let n_up = up.len();
    if n_up > 0 {
        let mut progress = Progress::start("stopping the local cluster");
        let mut left = process::end(up, Signal::TERM, STOP_GRACE);
        if !left.is_empty() {
            let names: Vec<&str> = left.keys().map(String::as_str).collect();
            progress.step(&format!("ending {} by force", names.join(", ")));
            left = process::end(left, Signal::KILL, KILL_GRACE);
        }
        progress.finish();
        if let Some(name) = left.keys().next() {
            let pid = place.noted().get(name).map_or(0, |known| known.pid);
            return Err(Failure::failed(format!("{name} (process {pid}) does not end, even by force"))
                .with_fix("check the disk that it may be waiting for, then run this command again"));
        }
    } else if !place.noted().is_empty() {
        progress::note("its servers had died before");
    }
    place.forget_processes()?;
    Ok(n_up)
}
