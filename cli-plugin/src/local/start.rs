//! `fluvio cluster start`: starts what is missing of the local cluster and waits until a client can use it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use cluster_settings::Settings;
use fluvio::FluvioClusterConfig;
use tokio::time::sleep;

use super::book::{Book, settle};
use super::check::{Facts, Line, Wanted, lines};
use super::control::{Control, ControlError, Health};
use super::launch::{self, Started, last_words};
use super::place::Place;
use super::{PROFILE, documents, ports, process, program};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::progress::{self, Progress};
use crate::output::{self, Table};
use crate::places::Places;
use crate::profile;
use crate::streams::target;

/// Until a client can use it. Logs are read after a crash, so a large cluster takes its time.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// What is waited for until the SC has more to say.
const EARLY: &str = "its servers start";

/// Options of `cluster start`.
#[derive(Debug, Args)]
pub struct Start {
    #[command(flatten)]
    wanted: Wanted,
}

impl Start {
    /// Runs the command.
    pub async fn run(&self, places: &Places) -> Outcome {
        let place = Place::of(places)?;
        place.make()?;
        let _alone = place.lock()?;
        let made = Book::read(&place)?;
        let up = process::up(&place.noted());
        let runs = |server: &str| up.contains_key(server);
        let asked = self.wanted.asked(made.is_some())?;
        let mut book = settle(made.clone(), &asked, &place.data(), runs, ports::is_free)?;
        let facts = Facts::gather(&place, places, &book, made.is_none(), &up);
        refuse_what_fails(lines(&facts))?;
        let missing: Vec<String> = book.servers().filter(|server| !runs(server)).map(str::to_owned).collect();
        let mut progress = Progress::start("starting the local cluster");
        let mut started = Vec::new();
        if !missing.is_empty() {
            book.generation += 1;
            book.write(&place)?;
            make_data(&book.data)?;
            let program = program::find()?;
            for server in &missing {
                let text = documents::configuration(&place, &book, server)?;
                profile::write_private(&place.config(server), &text)?;
                started.push(launch::start(&place, &program, server)?);
            }
        }
        until_healthy(&place, &mut started, &documents::settings(&book), &mut progress).await?;
        progress.step("connecting as a client");
        let config = FluvioClusterConfig::new(book.endpoint());
        target::connect(&config).await?;
        progress.finish();
        profile::update(&places.profiles, |all| {
            all.set_local_cluster(PROFILE, &book.endpoint())
                .map_err(|error| Failure::failed(error.to_string()).with_fix("fluvio profile list"))
        })?;
        say(&book, made.as_ref(), &missing)
    }
}

/// The first condition that is not met ends the start, before any server is started.
fn refuse_what_fails(lines: Vec<Line>) -> Result<(), Failure> {
    let Some(line) = lines.into_iter().find(|line| !line.ok) else { return Ok(()) };
    let failure = Failure::failed(format!("the local cluster cannot start: {}: {}", line.check, line.found));
    Err(failure.with_fix(line.fix.unwrap_or_else(|| "fluvio cluster check".to_owned())))
}

fn make_data(folder: &Path) -> Result<(), Failure> {
    if fs::metadata(folder).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .or_fail(&format!("{} could not be made", folder.display()))
}

/// Gives the servers their settings and waits until the SC says that a client could use the cluster.
async fn until_healthy(
    place: &Place,
    started: &mut [Started],
    settings: &Settings,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let control = Control::new(place.socket("control"));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut health = control.health().await;
        if health.as_ref().is_ok_and(|health| health.generation < settings.generation) {
            health = control.push(settings).await.map(|()| Health::default());
        }
        let seen = match health {
            Ok(health) if health.ready => return Ok(()),
            Ok(health) => health.reason.unwrap_or_else(|| EARLY.to_owned()),
            Err(error @ ControlError::Refused(_)) => {
                return Err(Failure::failed(error.to_string())
                    .with_fix(format!("look into {}", place.log_of("sc").display())));
            }
            Err(ControlError::Away(why)) => why,
        };
        for server in started.iter_mut() {
            if let Some(how) = server.ended() {
                let words = last_words(place, &server.name);
                return Err(Failure::failed(format!("{} ended at once ({how}):{words}", server.name))
                    .with_fix(format!(
                        "mend what it says; all of it is in {}",
                        place.log_of(&server.name).display()
                    )));
            }
        }
        if Instant::now() >= deadline {
            let what =
                format!("the local cluster was not ready after {} seconds: {seen}", PATIENCE.as_secs());
            return Err(Failure::failed(what)
                .with_fix("fluvio cluster status; then start it again, or look at its logs"));
        }
        progress.step(&format!("waiting for the local cluster: {}", in_short(&seen)));
        sleep(POLL).await;
    }
}

/// A socket that is not there yet is no news for a person.
fn in_short(seen: &str) -> &str {
    if seen.contains("os error") { EARLY } else { seen }
}

fn say(book: &Book, made: Option<&Book>, missing: &[String]) -> Outcome {
    let n_spus = book.spus.len();
    let spus = if n_spus == 1 { "1 SPU".to_owned() } else { format!("{n_spus} SPUs") };
    if missing.is_empty() {
        output::line(&format!("the local cluster is running already, with {spus}"))?;
    } else if missing.len() <= n_spus && made.is_some() {
        output::line(&format!("the local cluster is running, with {spus}; started {}", missing.join(", ")))?;
    } else {
        output::line(&format!("the local cluster is running, with {spus}"))?;
    }
    let pairs = Table::of_pairs([
        ("endpoint", book.endpoint()),
        ("profile", format!("{PROFILE}, current now")),
        ("data", book.data.display().to_string()),
    ]);
    output::print(&pairs.render())?;
    if made.is_none() {
        progress::note(
            "it has no TLS and no passwords: whoever is on this machine can use it, and nobody else",
        );
    }
    output::line("next: fluvio topic create my-topic")?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_condition_that_fails_is_the_error_and_its_fix_the_way_out() {
        let line = |check: &str, fix: Option<&str>| Line {
            check: check.to_owned(),
            ok: fix.is_none(),
            found: format!("{check} as found"),
            fix: fix.map(str::to_owned),
        };
        assert!(refuse_what_fails(vec![line("a", None)]).is_ok());
        let lines = vec![line("a", None), line("b", Some("mend b")), line("c", Some("mend c"))];
        let failure = refuse_what_fails(lines).unwrap_err();
        assert_eq!(failure.to_string(), "the local cluster cannot start: b: b as found");
        assert_eq!(failure.fix(), Some("mend b"));
    }

    #[test]
    fn what_is_waited_for_is_said_in_a_persons_words() {
        assert_eq!(in_short("No such file or directory (os error 2)"), "its servers start");
        assert_eq!(in_short("not registered: main-1"), "not registered: main-1");
    }
}
