//! `fluvio cluster status`: what of the local cluster is up, and whether a client could use it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::book::Book;
use super::control::{Control, Health};
use super::place::{Place, bytes_below};
use super::process;
use crate::failure::Outcome;
use crate::output::{self, Form, Table, progress};
use crate::places::Places;
use cluster_host::Known;

/// Options of `cluster status`.
#[derive(Debug, Args)]
pub struct Show {
    /// The form of the answer
    #[arg(long, short = 'O', value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// How the cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// There is none on this machine.
    None,
    /// None of its servers is up.
    Stopped,
    /// Something is up, and not all is well.
    Degraded,
    /// A client can use it.
    Running,
}

/// What is told of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topics: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_bytes: Option<u64>,
    servers: Vec<Server>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Server {
    name: String,
    address: String,
    pid: Option<i32>,
    health: &'static str,
    log: PathBuf,
}

/// What was found, before it is judged.
struct Facts<'a> {
    place: &'a Place,
    /// Servers that were started and not stopped since.
    noted: BTreeMap<String, Known>,
    /// Those of them that are up.
    up: Vec<String>,
    /// What the SC says, or why it does not.
    health: Result<Health, String>,
    /// Bytes of its data.
    bytes: u64,
}

impl Show {
    /// Runs the command: exit code 0 if a client can use the cluster, else 1.
    pub async fn run(&self, places: &Places) -> Outcome {
        let place = Place::of(places)?;
        let book = Book::read(&place)?;
        let noted = place.noted();
        let up: Vec<String> = process::up(&noted).into_keys().collect();
        let health = match up.is_empty() {
            true => Err("it does not run".to_owned()),
            false => Control::new(place.socket("control")).health().await.map_err(|error| error.to_string()),
        };
        let bytes = book.as_ref().map_or(0, |book| bytes_below(&book.data));
        let status = judge(book.as_ref(), &Facts { place: &place, noted, up, health, bytes });
        match self.output {
            Form::Table => output::print(&text(&status))?,
            form => output::show(form, &status, |_| Table::new(&[]))?,
        }
        if self.output == Form::Table && status.state != State::Running {
            progress::note("next: fluvio cluster start");
        }
        Ok(u8::from(status.state != State::Running))
    }
}

fn judge(book: Option<&Book>, facts: &Facts<'_>) -> Status {
    let Some(book) = book else {
        return Status {
            state: State::None,
            reason: Some("there is no cluster on this machine yet".to_owned()),
            endpoint: None,
            topics: None,
            partitions: None,
            data: None,
            data_bytes: None,
            servers: Vec::new(),
        };
    };
    let health = facts.health.as_ref().ok();
    let (state, reason) = state(book, facts);
    Status {
        state,
        reason,
        endpoint: Some(book.endpoint()),
        topics: health.map(|health| health.topics),
        partitions: health.map(|health| health.partitions),
        data: Some(book.data.clone()),
        data_bytes: Some(facts.bytes),
        servers: book.servers().map(|name| server(book, facts, name)).collect(),
    }
}

fn state(book: &Book, facts: &Facts<'_>) -> (State, Option<String>) {
    let is_up = |server: &&str| facts.up.iter().any(|up| up == server);
    if facts.up.is_empty() {
        let fell = "its servers died, or the machine was restarted";
        return (State::Stopped, (!facts.noted.is_empty()).then(|| fell.to_owned()));
    }
    let down: Vec<&str> = book.servers().filter(|server| !is_up(server)).collect();
    if !down.is_empty() {
        return (State::Degraded, Some(format!("not running: {}", down.join(", "))));
    }
    match &facts.health {
        Ok(health) if health.ready => (State::Running, None),
        Ok(health) => (State::Degraded, health.reason.clone()),
        Err(why) => (State::Degraded, Some(why.clone())),
    }
}

fn server(book: &Book, facts: &Facts<'_>, name: &str) -> Server {
    let up = facts.up.iter().any(|up| up == name);
    let registered = facts
        .health
        .as_ref()
        .map(|health| name == "sc" || health.spus.iter().any(|spu| spu.name == name && spu.online));
    let health = match (up, registered) {
        (true, Ok(true)) => "ok",
        (true, Ok(false)) => "not registered",
        (true, Err(_)) if name == "sc" => "no answer",
        (true, Err(_)) => "unknown",
        // One that was stopped is not noted any more.
        (false, _) if facts.noted.contains_key(name) => "died",
        (false, _) => "stopped",
    };
    Server {
        name: name.to_owned(),
        address: book.address_of(name),
        pid: facts.noted.get(name).filter(|_| up).map(|known| known.pid),
        health,
        log: facts.place.log_of(name),
    }
}

fn text(status: &Status) -> String {
    let word = match status.state {
        State::None => "none",
        State::Stopped => "stopped",
        State::Degraded => "degraded",
        State::Running => "running",
    };
    let why = status.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let Some((endpoint, data)) = status.endpoint.as_ref().zip(status.data.as_ref()) else {
        return Table::of_pairs([("state", format!("{word}{why}"))]).render();
    };
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let pairs = Table::of_pairs([
        ("state", format!("{word}{why}")),
        ("endpoint", endpoint.clone()),
        ("topics", count(status.topics)),
        ("partitions", count(status.partitions)),
        ("data", format!("{} in {}", output::bytes(status.data_bytes.unwrap_or(0)), data.display())),
    ]);
    let mut servers = Table::new(&["SERVER", "ADDRESS", "PID", "HEALTH", "LOG"]);
    for server in &status.servers {
        servers.row([
            server.name.clone(),
            server.address.clone(),
            server.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            server.health.to_owned(),
            server.log.display().to_string(),
        ]);
    }
    format!("{}\n{}", pairs.render(), servers.render())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::book::{Asked, settle};
    use super::*;

    fn book() -> Book {
        let asked = Asked { spus: Some(2), ..Asked::default() };
        settle(None, &asked, Path::new("/d"), |_| false, |_| true).unwrap()
    }

    fn place() -> Place {
        Place::of(&Places {
            profiles: "/p".into(),
            cloud: "/c".into(),
            local: "/l".into(),
            extensions: "/e".into(),
        })
        .unwrap()
    }

    /// Of three servers: those that were started, those that are up, and what the SC says of its SPUs.
    fn judged(noted: &[&str], up: &[&str], health: Result<(bool, &str), &str>) -> Status {
        let known = Known::of_child(std::process::id().cast_signed()).unwrap();
        let health = health.map_err(str::to_owned).map(|(ready, online)| {
            serde_json::from_value(serde_json::json!({
                "ready": ready, "reason": (!ready).then_some("the SC's reason"), "topics": 2, "partitions": 5,
                "spus": [{ "name": "main-0", "online": online.contains('0') },
                         { "name": "main-1", "online": online.contains('1') }],
            }))
            .unwrap()
        });
        let facts = Facts {
            place: &place(),
            noted: noted.iter().map(|name| ((*name).to_owned(), known.clone())).collect(),
            up: up.iter().map(|name| (*name).to_owned()).collect(),
            health,
            bytes: 1_500_000,
        };
        judge(Some(&book()), &facts)
    }

    #[test]
    fn the_state_says_what_a_client_would_meet_and_why() {
        let all = ["sc", "main-0", "main-1"];
        let sees = |status: &Status| {
            let health: Vec<&str> = status.servers.iter().map(|server| server.health).collect();
            (status.state, status.reason.clone().unwrap_or_default(), health.join(", "))
        };
        let cases = [
            (judged(&all, &all, Ok((true, "01"))), State::Running, "", "ok, ok, ok"),
            (
                judged(&all, &all, Ok((false, "0"))),
                State::Degraded,
                "the SC's reason",
                "ok, ok, not registered",
            ),
            (judged(&all, &all, Err("timeout")), State::Degraded, "timeout", "no answer, unknown, unknown"),
            (
                judged(&all, &["sc", "main-0"], Ok((false, "0"))),
                State::Degraded,
                "not running: main-1",
                "ok, ok, died",
            ),
            (
                judged(&all, &["main-0", "main-1"], Err("away")),
                State::Degraded,
                "not running: sc",
                "died, unknown, unknown",
            ),
            (judged(&[], &[], Err("away")), State::Stopped, "", "stopped, stopped, stopped"),
            (
                judged(&all, &[], Err("away")),
                State::Stopped,
                "its servers died, or the machine was restarted",
                "died, died, died",
            ),
        ];
        for (status, state, reason, health) in cases {
            assert_eq!(sees(&status), (state, reason.to_owned(), health.to_owned()));
        }
    }

    #[test]
    fn a_person_and_a_program_read_the_same() {
        let all = ["sc", "main-0", "main-1"];
        let status = judged(&all, &all, Ok((true, "01")));
        let pid = std::process::id();
        let expected = format!(
            "state       running\nendpoint    localhost:9003\ntopics      2\npartitions  5\ndata        1.5 MB in /d\n\n\
             SERVER  ADDRESS         PID{0}HEALTH  LOG\n\
             sc      localhost:9003  {pid}  ok      /l/log/sc.log\n\
             main-0  localhost:9010  {pid}  ok      /l/log/main-0.log\n\
             main-1  localhost:9011  {pid}  ok      /l/log/main-1.log\n",
            " ".repeat(pid.to_string().len().max(3) - 1),
        );
        assert_eq!(text(&status), expected);
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["state"], "running");
        assert_eq!(json["servers"][2]["address"], "localhost:9011");
        assert_eq!((&json["topics"], &json["data_bytes"]), (&2.into(), &1_500_000.into()));
    }

    #[test]
    fn without_a_cluster_there_is_nothing_to_show_but_that() {
        let facts = Facts {
            place: &place(),
            noted: BTreeMap::new(),
            up: Vec::new(),
            health: Err("away".into()),
            bytes: 0,
        };
        let status = judge(None, &facts);
        assert_eq!(text(&status), "state  none: there is no cluster on this machine yet\n");
        assert_eq!(serde_json::to_value(&status).unwrap()["servers"], serde_json::json!([]));
    }
}
