//! Thousands of tenants on a real API server, scheduler and controllers, whose nodes and pods are simulated (kwok): what
//! the provisioner costs, beside what the API server and its controllers need for the same objects.
//!
//! What is simulated: nodes, pods, volumes, and the SCs' answers ([`servers`]). What is not: every object and its way
//! through the API server, certificates and their signer, the database, the settings that each SC is given over
//! mutual TLS, and the questions after its health.

mod findings;
mod floor;
mod servers;
mod usage;

pub use findings::{Change, Findings, Settled};
pub use floor::Floor;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hyper::Method;
use serde_json::{Value, json};
use sqlx::Row;
use uuid::Uuid;

use crate::api_server::{ApiServer, Line};
use crate::cloud::Cloud;
use crate::fleet::{node, tool};
use crate::guard::Guard;
use crate::processes::Process;
use crate::programs;
use crate::region::{Region, Site};
use crate::wait::until_every;
use servers::Servers;

/// Pods that a simulated node takes.
const PODS_PER_NODE: usize = 1_000;
/// Tenants for whose Services a node's own range of addresses is enough.
const SMALL: usize = 500;
/// A look at a large fleet costs something.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Nothing happened for so long: nothing will.
const QUIET: Duration = Duration::from_secs(3);

/// A simulated fleet of one region.
pub struct Scale {
    name: String,
    cloud: Cloud,
    region: Region,
    api: ApiServer,
    servers: Arc<Servers>,
    metrics: String,
    node: i32,
    kwok: Child,
    _guard: Guard,
}

impl Drop for Scale {
    fn drop(&mut self) {
        let _ = self.kwok.kill();
        let _ = self.kwok.wait();
    }
}

/// The provisioner's calls to the API server so far.
#[derive(Debug, Clone)]
struct Calls {
    by_verb: BTreeMap<String, u64>,
}

impl Calls {
    fn of(&self, verbs: impl Fn(&str) -> bool) -> u64 {
        self.by_verb.iter().filter(|(verb, _)| verbs(verb)).map(|(_, count)| count).sum()
    }

    fn all(&self) -> u64 {
        self.of(|_| true)
    }

    fn changing(&self) -> u64 {
        self.of(|verb| !["get", "list", "watch"].contains(&verb))
    }

    fn since(&self, before: &Calls) -> Calls {
        let then = |verb: &String| before.by_verb.get(verb).copied().unwrap_or(0);
        let by_verb = self.by_verb.iter().map(|(verb, count)| (verb.clone(), count - then(verb)));
        Calls { by_verb: by_verb.collect() }
    }
}

impl Scale {
    /// An API server, simulated nodes for that many tenants, and an embedded cloud for the rest.
    pub async fn start(name: &str, tenants: usize) -> anyhow::Result<Scale> {
        let mut options = vec!["--api-only"];
        if tenants > SMALL {
            options.extend(["--services", "10.96.0.0/12"]);
        }
        let (guard, state) = node(name, &options)?;
        let ready: Value = serde_json::from_slice(&std::fs::read(state.join("ready.json"))?)?;
        let node = i32::try_from(ready["node_pid"].as_i64().context("a node")?)?;
        let kubeconfig = state.join("kubeconfig");
        let api = ApiServer::of(&kubeconfig)?;
        let mut line = api.line().await?;
        line.apply(&priority_class()).await?;
        for number in 0..=(tenants + sample(tenants)) * 2 / PODS_PER_NODE {
            line.apply(&simulated_node(number)).await?;
        }
        let kwok = kwok(name, node, &kubeconfig)?;
        let cloud = Cloud::start(name, &[])?;
        let services = ready["services"].as_str().context("a range of addresses")?;
        let servers = Servers::start(node, services, api.clone(), cloud.database().await?).await?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let metrics = format!("127.0.0.1:{port}");
        let site = Site {
            kubeconfig,
            image: "simulated".into(),
            metrics: Some(metrics.clone()),
            secrets_seconds: 600,
            health_seconds: 60,
            gateway: None,
        };
        let region = Region::new(&cloud, name, site).await?;
        Ok(Scale { name: name.into(), cloud, region, api, servers, metrics, node, kwok, _guard: guard })
    }

    /// Makes the tenants, then looks at what a settled world and one change cost.
    pub async fn measure(&self, tenants: usize) -> anyhow::Result<Findings> {
        let config = self.region.folder().join("provisioner.toml");
        let before = self.usage();
        let mut floor = floor::measure(&self.api, &config, sample(tenants)).await?;
        floor.processor_seconds = usage::spent(&before, &self.usage());
        floor.processor_seconds.values_mut().for_each(|seconds| *seconds /= floor.tenants as f64);
        self.say("the floor is measured", &floor);
        self.region.start()?;
        let first = self.region.want(&self.cloud, 1, 1).await?;
        self.until_running(1).await?;
        let change_alone = self.change(first[0], 2).await?;
        self.say("one change of one tenant alone", &change_alone);
        let (before, calls) = (self.usage(), self.calls().await?);
        let began = Instant::now();
        let others = i32::try_from(tenants - 1)?;
        let clusters = self.region.want(&self.cloud, others, 1).await?;
        self.until_running(tenants).await?;
        let converged = began.elapsed();
        let after = self.usage();
        let each = |total: f64| total / f64::from(others);
        let made = self.calls().await?.since(&calls);
        let spent = usage::spent(&before, &after);
        self.say("all run", &(converged.as_secs_f64(), &spent, &made.by_verb));
        let provisioner_converged_bytes = self.provisioner()?.pss()?;
        let change_among = self.change(clusters[clusters.len() / 2], 2).await?;
        let (settled_changes, settled_seconds) = self.restart(tenants).await?;
        let settled = self.settled(tenants).await?;
        self.fleet_page().await?;
        let portal = self.cloud.program("portal");
        let last = self.usage();
        Ok(Findings {
            tenants,
            converged_seconds: converged.as_secs_f64(),
            floor_seconds: floor.running_seconds * f64::from(others),
            floor,
            calls_per_tenant: each(made.all() as f64),
            calls: made.by_verb,
            processor_ms_per_tenant: each(spent.get("provisioner").copied().unwrap_or(0.0) * 1e3),
            processor_seconds: spent,
            provisioner_converged_bytes,
            provisioner_restarted_bytes: self.provisioner()?.pss()?,
            portal_bytes: portal.first().context("a portal")?.pss()?,
            memory_mib: usage::memory(&last),
            change_alone,
            change_among,
            settled_changes,
            settled_seconds,
            settled,
        })
    }

    fn say(&self, what: &str, found: &impl serde::Serialize) {
        eprintln!("{}: {what}: {}", self.name, serde_json::to_string(found).unwrap_or_default());
    }

    fn provisioner(&self) -> anyhow::Result<Process> {
        let pid = i32::try_from(self.region.pid().context("the provisioner runs")?)?;
        Ok(Process { pid, arguments: Vec::new() })
    }

    fn usage(&self) -> usage::Usage {
        let pid = |id: u32| i32::try_from(id).unwrap_or(-1);
        let mut others: Vec<_> = self.region.pid().map(|id| ("provisioner", pid(id))).into_iter().collect();
        others.extend(["postgres", "signer", "portal"].into_iter().filter_map(|program| {
            // The first is the one that started the others.
            Some((program, self.cloud.program(program).first()?.pid))
        }));
        // Without what it started, which is counted by itself.
        let mut usage = usage::of(self.node, &others);
        usage::add(&mut usage, "simulated SCs and this measurement", pid(std::process::id()));
        usage
    }

    /// Waits until so many clusters run: what their tenants read, by the database.
    async fn until_running(&self, tenants: usize) -> anyhow::Result<()> {
        let mut database = self.cloud.database().await?;
        let patience = Duration::from_secs(120) + Duration::from_secs(1) * u32::try_from(tenants)?;
        let waited = until_every(LOOK_EVERY, "all clusters run", patience, async || {
            let row = sqlx::query(
                "SELECT count(*) FROM clusters c JOIN cluster_status s ON s.cluster_id = c.id
                 WHERE c.region = $1 AND s.state = 'running' AND s.reason = ''",
            );
            let running: i64 = row.bind(&self.name).fetch_one(&mut database).await?.get(0);
            ensure!(running >= i64::try_from(tenants)?, "{running} of {tenants} run");
            Ok(Some(()))
        });
        waited.await.with_context(|| self.region.end_of_log())
    }

    /// Waits until no further call is made that changes something, and no cluster waits for its turn.
    async fn until_quiet(&self) -> anyhow::Result<()> {
        let mut last = (u64::MAX, Instant::now());
        until_every(LOOK_EVERY, "the provisioner changes nothing", Duration::from_secs(600), async || {
            let changing = self.calls().await?.changing();
            if changing != last.0 {
                last = (changing, Instant::now());
            }
            let waiting = self.metric("provisioner_clusters_waiting").await?;
            Ok((waiting == 0 && last.1.elapsed() > QUIET).then_some(()))
        })
        .await
    }

    /// Another number of SPUs for one cluster, until it runs with it.
    async fn change(&self, cluster: Uuid, spus: i32) -> anyhow::Result<Change> {
        self.until_quiet().await?;
        let (calls, began) = (self.calls().await?, Instant::now());
        self.region.want_spus(&self.cloud, cluster, spus).await?;
        let namespace = format!("fluvio-{}", cluster.simple());
        let path = format!("/apis/apps/v1/namespaces/{namespace}/statefulsets/main");
        let mut line = self.line().await?;
        let limit = Duration::from_secs(120);
        let whole = async || {
            let (_, body) = line.ask(Method::GET, &path, "application/json", Vec::new()).await?;
            let set: Value = serde_json::from_slice(&body)?;
            Ok((set["status"]["readyReplicas"] == spus).then_some(()))
        };
        until_every(Duration::from_millis(20), "the other SPU runs", limit, whole).await?;
        let mut database = self.cloud.database().await?;
        until_every(Duration::from_millis(20), "its settings are in force", limit, async || {
            let row = sqlx::query(
                "SELECT state = 'running' AND reason = '' AND spus_ready = $2 FROM cluster_status
                 WHERE cluster_id = $1",
            );
            let row = row.bind(cluster).bind(spus).fetch_one(&mut database).await?;
            Ok(row.get::<bool, _>(0).then_some(()))
        })
        .await
        .with_context(|| self.region.end_of_log())?;
        let took = began.elapsed();
        self.until_quiet().await?;
        // The names of the Secrets of all clusters are looked at by the clock, and by nothing else.
        let calls = self.calls().await?.since(&calls).of(|verb| verb != "list");
        Ok(Change { calls, seconds: took.as_secs_f64() })
    }

    /// A provisioner that was never here before looks at everything: its changing calls, and how long it took until
    /// it had asked every cluster.
    async fn restart(&self, tenants: usize) -> anyhow::Result<(u64, f64)> {
        self.region.kill();
        self.region.start()?;
        let began = Instant::now();
        let asked = self.servers.asked();
        until_every(LOOK_EVERY, "it holds and has asked all", Duration::from_secs(900), async || {
            let held = self.metric("provisioner_clusters_held").await?;
            let waiting = self.metric("provisioner_clusters_waiting").await?;
            let asked = self.servers.asked() - asked;
            ensure!(held == tenants as u64, "it holds {held}, and asked {asked}");
            Ok((waiting == 0 && asked >= tenants as u64).then_some(()))
        })
        .await?;
        let took = began.elapsed();
        self.until_quiet().await?;
        self.until_running(tenants).await?;
        Ok((self.calls().await?.changing(), took.as_secs_f64()))
    }

    /// Looks at the settled world until as many questions were asked as there are tenants.
    async fn settled(&self, tenants: usize) -> anyhow::Result<Settled> {
        let (usage, calls) = (self.usage(), self.calls().await?);
        let (began, asked) = (Instant::now(), self.servers.asked());
        until_every(LOOK_EVERY, "a round of questions", Duration::from_secs(300), async || {
            Ok((self.servers.asked() - asked >= tenants as u64).then_some(()))
        })
        .await?;
        let seconds = began.elapsed().as_secs_f64();
        let spent = usage::spent(&usage, &self.usage());
        Ok(Settled {
            seconds,
            questions_per_second: (self.servers.asked() - asked) as f64 / seconds,
            calls_per_second: self.calls().await?.since(&calls).all() as f64 / seconds,
            processor_percent: spent.into_iter().map(|(name, spent)| (name, spent / seconds * 1e2)).collect(),
        })
    }

    async fn line(&self) -> anyhow::Result<Line> {
        self.api.line().await
    }

    /// The portal draws the fleet page once, so that its memory is that of a portal in use.
    async fn fleet_page(&self) -> anyhow::Result<()> {
        let person = crate::person::Person::sign_up(&self.cloud).await?;
        self.cloud.grant_operator(&person.email)?;
        person.browser.get("/fleet").await?.expect(200)?;
        Ok(())
    }

    async fn calls(&self) -> anyhow::Result<Calls> {
        let text = self.metrics().await?;
        let mut by_verb = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("provisioner_api_calls_total{verb=\"")) {
            let (verb, count) = line.split_once("\"} ").context("a count")?;
            by_verb.insert(verb.to_string(), count.parse()?);
        }
        Ok(Calls { by_verb })
    }

    async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.metrics().await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).context("the metric")?;
        Ok(line.trim().parse()?)
    }

    async fn metrics(&self) -> anyhow::Result<String> {
        let visitor = crate::visitor::Visitor::at(&format!("http://{}", self.metrics));
        Ok(visitor.get("/metrics").await?.expect(200)?.text())
    }
}

/// Tenants of the floor's sample.
fn sample(tenants: usize) -> usize {
    (tenants / 5).clamp(40, 200)
}

/// Among the node's own processes, so that it ends with them.
fn kwok(name: &str, node: i32, kubeconfig: &Path) -> anyhow::Result<Child> {
    let log = programs::output("logs")?.join(format!("{name}.kwok.log"));
    let child = Command::new("nsenter")
        .args(["--target", &node.to_string(), "--net", "--pid"])
        .arg(tool("kwok", "kwok")?)
        .args(["--manage-all-nodes=true", "--node-lease-duration-seconds=0", "--kubeconfig"])
        .arg(kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(log)?)
        .spawn()?;
    Ok(child)
}

/// Comes with the chart otherwise.
fn priority_class() -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "fluvio-cloud-tenant"},
        "value": 0,
    })
}

fn simulated_node(number: usize) -> Value {
    let room = json!({"cpu": "4000", "memory": "16Ti", "pods": PODS_PER_NODE.to_string(), "ephemeral-storage": "64Ti"});
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": format!("simulated-{number}"), "labels": {"topology.kubernetes.io/zone": "zone-a"}},
        "status": {"allocatable": room, "capacity": room},
    })
}
