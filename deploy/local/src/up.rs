//! Starting in order (database, signer and gateway, portal, provisioner), saying when all is up, and stopping
//! in the other order.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

use crate::UpOptions;
use crate::configuration::{self, Paths, gateway_endpoint, portal_url};
use crate::ports::{self, Ports};
use crate::state::State;
use crate::supervisor::{Program, Roster, Running, keep};
use crate::walls::{self, Walls};
use crate::{database, left_over, reach};

const PROGRAMS: [&str; 5] = ["portal", "signer", "provisioner", "gateway", "fluvio-cluster"];
/// How long the programs may take to answer after they were started.
const PATIENCE: Duration = Duration::from_secs(60);

/// `ready.json`: what tools need to know of a cloud that is up.
#[derive(Serialize)]
struct Ready<'a> {
    portal_url: &'a str,
    gateway: &'a str,
    pid: u32,
    programs: BTreeMap<String, i32>,
    postgres_socket_dir: PathBuf,
}

/// Serves the cloud until Ctrl-C or SIGTERM.
pub async fn up(options: UpOptions) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut stop = Stop::new()?;
    let programs = programs_folder(options.programs.clone())?;
    let state = Arc::new(State::open(&options.state)?);
    let walls = walls::raise(&state.path(""))?;
    if walls.is_some() {
        check_reach(&state.path(""))?;
    } else {
        tracing::warn!(
            "not started as root: clusters run as one user and are not walled off from each other by it"
        );
    }
    let _ = std::fs::remove_file(state.path("ready.json"));
    left_over::end(&state).await?;
    let ports = ports::settle(&state, options.portal_port, options.gateway_port)?;
    let roster = Roster::new(state.clone());
    let mut running = Vec::new();
    let outcome = tokio::select! {
        outcome = start_all(&state, &options, &programs, ports, walls, &roster, &mut running) => outcome,
        () = stop.asked() => Err(anyhow::anyhow!("stopped before all was up")),
    };
    if outcome.is_ok() {
        say_ready(ports, began.elapsed());
        serve(&state, ports, &roster, &mut stop).await?;
        eprintln!(
            "Stopping: clusters and programs end in order, and their state stays in {}",
            state.path("").display()
        );
    }
    let _ = std::fs::remove_file(state.path("ready.json"));
    while let Some(program) = running.pop() {
        program.stop().await;
    }
    outcome
}

/// The folder with the built programs, all of them there.
pub fn programs_folder(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let folder = match given {
        Some(folder) => folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?,
        None => std::env::current_exe()?.parent().context("this program has no folder")?.to_owned(),
    };
    if let Some(missing) = PROGRAMS.iter().find(|program| !folder.join(program).exists()) {
        bail!("{missing} is not in {}\nfix: build it, or name the folder with --programs", folder.display());
    }
    Ok(folder)
}

/// Starts everything; what was started is in `running`, in order, even after an error.
async fn start_all(
    state: &Arc<State>,
    options: &UpOptions,
    programs: &Path,
    ports: Ports,
    walls: Option<Walls>,
    roster: &Roster,
    running: &mut Vec<Running>,
) -> anyhow::Result<()> {
    let programs = reachable_programs(state, programs, walls)?;
    if options.database_url_file.is_none() {
        running.push(keep(database::prepare(state).await?, roster.clone())?);
    }
    let keys = make_keys(state, &programs, walls).await?;
    let paths = Paths {
        cluster_program: &programs.join("fluvio-cluster"),
        jwt_key: &keys.jwt,
        sealing_key: &keys.sealing,
    };
    configuration::write(state, options, ports, walls, &paths)?;
    database::open(state, options.database_url_file.as_deref()).await?;
    run_once(&programs.join("portal"), &["migrate", "--config"], &state.configuration("portal")).await?;
    database::admit(state, walls).await?;
    make_folders(state, walls)?;
    // What an earlier gateway wrote says nothing of the one to come.
    let _ = std::fs::remove_file(configuration::gateway_address_file(state));
    let user = |pick: fn(Walls) -> u32| walls.map(pick).map(|id| (id, id));
    for (name, user) in [
        ("signer", user(|walls| walls.signer)),
        ("gateway", user(|walls| walls.gateway)),
        ("portal", user(|walls| walls.portal)),
        ("provisioner", None),
    ] {
        let program = Program {
            name,
            path: programs.join(name),
            arguments: vec![
                "serve".into(),
                "--config".into(),
                state.configuration(name).display().to_string(),
            ],
            user,
            stop: Signal::TERM,
        };
        running.push(keep(program, roster.clone())?);
    }
    wait_until_served(state, ports).await
}

struct Keys {
    jwt: PathBuf,
    sealing: PathBuf,
}

/// Makes the portal's and the signer's keys, once.
async fn make_keys(state: &State, programs: &Path, walls: Option<Walls>) -> anyhow::Result<Keys> {
    let make = || Ok(rcgen::KeyPair::generate()?.serialize_pem());
    let (jwt, _) = state.secret("portal.jwt-key.pem", walls.map(|walls| walls.portal), make)?;
    let folder = state.make_folder("signer", 0o700, None)?;
    let sealing = folder.join("sealing.key");
    if !sealing.exists() {
        run_once(&programs.join("signer"), &["make-key"], &sealing).await?;
    }
    if let Some(walls) = walls {
        std::os::unix::fs::chown(&sealing, Some(walls.signer), Some(walls.signer))?;
        std::os::unix::fs::chown(&folder, Some(walls.signer), Some(walls.signer))?;
    }
    Ok(Keys { jwt, sealing })
}

fn make_folders(state: &State, walls: Option<Walls>) -> anyhow::Result<()> {
    state.make_folder("portal", 0o700, walls.map(|walls| walls.portal))?;
    state.make_folder("gateway", 0o700, walls.map(|walls| walls.gateway))?;
    state.make_folder("provisioner", 0o700, None)?;
    Ok(())
}

/// The programs where unprivileged users can run them: where they are, else as copies in the state folder.
fn reachable_programs(state: &State, programs: &Path, walls: Option<Walls>) -> anyhow::Result<PathBuf> {
    if walls.is_none() || reach::closed_ancestor(&programs.join("portal")).is_none() {
        return Ok(programs.to_owned());
    }
    let copies = state.make_folder("programs", 0o755, None)?;
    for program in PROGRAMS {
        // Copy, then rename: a cluster that still runs from the old file keeps it.
        let fresh = copies.join(format!("{program}.new"));
        std::fs::copy(programs.join(program), &fresh)?;
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755))?;
        std::fs::rename(&fresh, copies.join(program))?;
    }
    Ok(copies)
}

fn check_reach(state: &Path) -> anyhow::Result<()> {
    if let Some(closed) = reach::closed_ancestor(&state.join("clusters")) {
        bail!(
            "programs that are not root cannot reach the state folder: {} is closed to them\n\
             fix: choose a folder that others can pass with --state",
            closed.display()
        );
    }
    Ok(())
}

async fn run_once(program: &Path, arguments: &[&str], file: &Path) -> anyhow::Result<()> {
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .arg(file)
        .env_clear()
        .output()
        .await
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!(
            "{} {} failed: {}",
            program.display(),
            arguments[0],
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Waits until the portal says that it is ready and our own gateway that it serves: to find somebody at its
/// port would say nothing of who it is.
async fn wait_until_served(state: &State, ports: Ports) -> anyhow::Result<()> {
    let asked = Instant::now();
    while !(gateway_serves(state, ports.gateway) && portal_answers(ports.portal).await) {
        if asked.elapsed() > PATIENCE {
            bail!("the programs do not answer\nfix: read the files in {}", state.path("logs").display());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn gateway_serves(state: &State, port: u16) -> bool {
    let text = std::fs::read_to_string(configuration::gateway_address_file(state)).unwrap_or_default();
    text.trim().parse::<std::net::SocketAddr>().is_ok_and(|address| address.port() == port)
}

/// One plain HTTP request on loopback: a client library would be the only one in this program.
async fn portal_answers(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await?;
        Ok::<_, std::io::Error>(status.ends_with(b" 200"))
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), ask).await, Ok(Ok(true)))
}

/// Keeps `ready.json` true until a stop is asked for.
async fn serve(state: &State, ports: Ports, roster: &Roster, stop: &mut Stop) -> anyhow::Result<()> {
    let mut changes = roster.changes();
    loop {
        changes.borrow_and_update();
        let ready = Ready {
            portal_url: &portal_url(ports),
            gateway: &gateway_endpoint(ports),
            pid: std::process::id(),
            programs: roster.pids(),
            postgres_socket_dir: state.path("run/postgres"),
        };
        state.write("ready.json", &serde_json::to_vec_pretty(&ready)?, None)?;
        tokio::select! {
            _ = changes.changed() => {}
            () = stop.asked() => return Ok(()),
        }
    }
}

fn say_ready(ports: Ports, took: Duration) {
    let url = portal_url(ports);
    println!("Fluvio Cloud is up after {:.1} s.\n", took.as_secs_f64());
    println!("  Portal    {url}");
    println!("  Gateway   {}\n", gateway_endpoint(ports));
    println!("First steps");
    println!("  1. Sign up at {url}/signup; the mail with the link is at {url}/outbox");
    println!("  2. fluvio cloud login --remote {url}");
    println!("  3. fluvio topic create greetings");
    println!("  4. echo hello | fluvio produce greetings");
    println!("  5. fluvio consume greetings -B\n");
    println!("Ctrl-C stops it; the next start finds everything again.");
}

/// Ctrl-C or SIGTERM.
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> anyhow::Result<Stop> {
        Ok(Stop { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
