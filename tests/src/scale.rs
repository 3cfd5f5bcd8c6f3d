//! Thousands of tenants on a real API server whose nodes and pods are simulated (kwok): what the provisioner costs,
//! beside what the API server alone needs for the same objects.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api_server::{ApiServer, Line};
use crate::cloud::Cloud;
use crate::fleet::{node, tool};
use crate::guard::Guard;
use crate::processes::Process;
use crate::programs;
use crate::region::{Region, Site};
use crate::wait::until;

/// Tenants whose objects are applied without a provisioner, for the floor.
const FLOOR_TENANTS: usize = 40;
/// Connections that do so at the same time.
const FLOOR_CONNECTIONS: usize = 16;
/// Pods that a simulated node takes.
const PODS_PER_NODE: usize = 1_000;
/// What one run found.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    pub tenants: usize,
    /// Objects that the provisioner makes for a tenant, its Secrets not counted.
    pub objects_per_tenant: usize,
    /// Seconds from the wish until every object is there.
    pub converged_seconds: f64,
    /// Seconds that the API server needs to take the same objects from 16 connections, from a sample.
    pub floor_seconds: f64,
    /// Calls of the provisioner to the API server, for a tenant.
    pub calls_per_tenant: f64,
    /// Processor time of the provisioner, for a tenant, in milliseconds.
    pub processor_ms_per_tenant: f64,
    pub provisioner_pss_bytes: u64,
    pub portal_pss_bytes: u64,
    /// Changing calls of a provisioner that was started anew on the settled world.
    pub settled_changes: u64,
    /// Seconds until that provisioner had looked at everything.
    pub settled_seconds: f64,
    /// Calls and processor time for one more SPU of one tenant among all.
    pub one_change_calls: u64,
    pub one_change_processor_ms: f64,
    pub one_change_seconds: f64,
}

/// A simulated fleet of one region.
#[derive(Debug)]
pub struct Scale {
    cloud: Cloud,
    region: Region,
    state: PathBuf,
    metrics: String,
    kwok: Child,
    _guard: Guard,
}

impl Drop for Scale {
    fn drop(&mut self) {
        let _ = self.kwok.kill();
        let _ = self.kwok.wait();
    }
}

impl Scale {
    /// An API server, simulated nodes for that many tenants, and an embedded cloud for the rest.
    pub async fn start(name: &str, tenants: usize) -> anyhow::Result<Scale> {
        let (guard, state) = node(name, &["--api-only", "--services", "10.96.0.0/12"])?;
        let kubeconfig = state.join("kubeconfig");
        let kwok = Command::new(tool("kwok", "kwok")?)
            .args(["--manage-all-nodes=true", "--node-lease-duration-seconds=0", "--kubeconfig"])
            .arg(&kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(programs::output("logs")?.join(format!("{name}.kwok.log")))?)
            .spawn()?;
        let mut line = ApiServer::of(&kubeconfig)?.line().await?;
        for number in 0..=(tenants + FLOOR_TENANTS) * 3 / PODS_PER_NODE {
            line.apply(&simulated_node(number)).await?;
        }
        let cloud = Cloud::start(name, &[])?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let metrics = format!("127.0.0.1:{port}");
        let site =
            Site { kubeconfig, image: "simulated".into(), metrics: Some(metrics.clone()), gateway: None };
        let region = Region::new(&cloud, name, site).await?;
        Ok(Scale { cloud, region, state, metrics, kwok, _guard: guard })
    }

    /// Makes the tenants, then looks at what a settled world and one change cost.
    pub async fn measure(&self, tenants: usize) -> anyhow::Result<Findings> {
        let objects = self.rendered(Uuid::new_v4())?;
        let floor_each = self.floor().await?;
        self.region.start()?;
        let process = self.provisioner()?;
        let (began, clusters) =
            (Instant::now(), self.region.want(&self.cloud, i32::try_from(tenants)?, 1).await?);
        self.until_there(tenants, &objects).await?;
        let converged = began.elapsed();
        self.until_quiet().await?;
        let (calls, _) = self.calls().await?;
        let processor = process.processor_time()?;
        let (settled_changes, settled) = self.settled_pass().await?;
        let process = self.provisioner()?;
        let before = (self.calls().await?.0, process.processor_time()?, Instant::now());
        self.one_change(clusters[tenants / 2]).await?;
        let took = before.2.elapsed();
        self.until_quiet().await?;
        let portal = self.cloud.program("portal");
        self.cloud_answers().await?;
        #[allow(clippy::cast_precision_loss, reason = "counts of a report")]
        let each = |total: f64| total / tenants as f64;
        Ok(Findings {
            tenants,
            objects_per_tenant: objects.len(),
            converged_seconds: converged.as_secs_f64(),
            floor_seconds: floor_each.as_secs_f64() * tenants as f64,
            calls_per_tenant: each(calls as f64),
            processor_ms_per_tenant: each(processor.as_secs_f64() * 1e3),
            provisioner_pss_bytes: process.pss()?,
            portal_pss_bytes: portal.first().context("a portal")?.pss()?,
            settled_changes,
            settled_seconds: settled.as_secs_f64(),
            one_change_calls: self.calls().await?.0 - before.0,
            one_change_processor_ms: (process.processor_time()? - before.1).as_secs_f64() * 1e3,
            one_change_seconds: took.as_secs_f64(),
        })
    }

    fn provisioner(&self) -> anyhow::Result<Process> {
        let pid = i32::try_from(self.region.pid().context("the provisioner runs")?)?;
        Ok(Process { pid, arguments: Vec::new() })
    }

    /// What the provisioner would make for a cluster of this id, as the program itself prints it.
    fn rendered(&self, cluster: Uuid) -> anyhow::Result<Vec<Value>> {
        let output = Command::new(programs::program("provisioner")?)
            .args(["render", "--config"])
            .arg(self.region.folder().join("provisioner.toml"))
            .args(["--output", "json", "--cluster", &cluster.to_string()])
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let list: Value = serde_json::from_slice(&output.stdout)?;
        let objects = list["items"].as_array().or(list.as_array()).context("a list of objects")?;
        ensure!(objects.len() > 10, "{} objects", objects.len());
        Ok(objects.clone())
    }

    /// The time that the API server needs for one tenant's objects when it is given all it can take.
    async fn floor(&self) -> anyhow::Result<Duration> {
        let api = ApiServer::of(&self.state.join("kubeconfig"))?;
        let mut tenants = Vec::new();
        for _ in 0..FLOOR_TENANTS {
            tenants.push(self.rendered(Uuid::new_v4())?);
        }
        let began = Instant::now();
        let tenants = std::sync::Arc::new(std::sync::Mutex::new(tenants));
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..FLOOR_CONNECTIONS {
            let (mut line, tenants) = (api.line().await?, tenants.clone());
            workers.spawn(async move {
                loop {
                    let next = tenants.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
                    let Some(objects) = next else { return anyhow::Ok(()) };
                    for object in &objects {
                        line.apply(object).await?;
                    }
                }
            });
        }
        while let Some(worker) = workers.join_next().await {
            worker??;
        }
        Ok(began.elapsed() / u32::try_from(FLOOR_TENANTS)?)
    }

    async fn line(&self) -> anyhow::Result<Line> {
        ApiServer::of(&self.state.join("kubeconfig"))?.line().await
    }

    /// Waits until the API server has every object of every tenant.
    async fn until_there(&self, tenants: usize, objects: &[Value]) -> anyhow::Result<()> {
        let mut line = self.line().await?;
        let of = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).count() as u64;
        let all = (tenants + FLOOR_TENANTS) as u64;
        for (collection, kind) in [
            ("/apis/apps/v1/statefulsets", "StatefulSet"),
            ("/apis/networking.k8s.io/v1/networkpolicies", "NetworkPolicy"),
            ("/apis/policy/v1/poddisruptionbudgets", "PodDisruptionBudget"),
            ("/apis/rbac.authorization.k8s.io/v1/rolebindings", "RoleBinding"),
        ] {
            let wanted = of(kind) * all;
            until(&format!("{wanted} of {collection}"), patience(tenants), async || {
                let found = line.count(collection).await?;
                ensure!(found >= wanted, "{found} are there");
                Ok(Some(()))
            })
            .await
            .with_context(|| self.region.end_of_log())?;
        }
        Ok(())
    }

    /// Waits until nothing waits for its turn and no further call is made for a moment.
    async fn until_quiet(&self) -> anyhow::Result<()> {
        let mut last = (u64::MAX, Instant::now());
        until("the provisioner has nothing to do", Duration::from_secs(1_200), async || {
            let (_, changes) = self.calls().await?;
            if changes != last.0 {
                last = (changes, Instant::now());
            }
            let waiting = self.metric("provisioner_clusters_waiting").await?;
            Ok((waiting == 0 && last.1.elapsed() > Duration::from_secs(5)).then_some(()))
        })
        .await
    }

    /// A provisioner that was never here before looks at everything: its changing calls, and how long it took.
    async fn settled_pass(&self) -> anyhow::Result<(u64, Duration)> {
        self.region.kill();
        self.region.start()?;
        let began = Instant::now();
        until("the new provisioner holds every cluster", Duration::from_secs(600), async || {
            let known = self.metric("provisioner_clusters_known").await?;
            let held = self.metric("provisioner_clusters_held").await?;
            let waiting = self.metric("provisioner_clusters_waiting").await?;
            Ok((known > 0 && held == known && waiting == 0).then_some(()))
        })
        .await?;
        let took = began.elapsed();
        self.until_quiet().await?;
        Ok((self.calls().await?.1, took))
    }

    async fn one_change(&self, cluster: Uuid) -> anyhow::Result<()> {
        self.region.want_spus(&self.cloud, cluster, 2).await?;
        let namespace = format!("fluvio-{}", cluster.simple());
        let path = format!("/apis/apps/v1/namespaces/{namespace}/statefulsets/main");
        let mut line = self.line().await?;
        until("the other SPU is wanted of Kubernetes", Duration::from_secs(60), async || {
            let (_, body) = line.ask(Method::GET, &path, "application/json", Vec::new()).await?;
            let set: Value = serde_json::from_slice(&body)?;
            Ok((set["spec"]["replicas"] == 2).then_some(()))
        })
        .await
    }

    /// The portal draws the fleet page once, so that its memory is that of a portal in use.
    async fn cloud_answers(&self) -> anyhow::Result<()> {
        let person = crate::person::Person::sign_up(&self.cloud).await?;
        self.cloud.grant_operator(&person.email)?;
        person.browser.get("/fleet").await?.expect(200)?;
        Ok(())
    }

    /// Calls to the API server so far: all, and those that change something.
    async fn calls(&self) -> anyhow::Result<(u64, u64)> {
        let text = self.metrics().await?;
        let mut total = (0, 0);
        for line in text.lines().filter_map(|line| line.strip_prefix("provisioner_api_calls_total{verb=\"")) {
            let (verb, count) = line.split_once("\"} ").context("a count")?;
            let count: u64 = count.parse()?;
            total.0 += count;
            if !["get", "list", "watch"].contains(&verb) {
                total.1 += count;
            }
        }
        Ok(total)
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

fn patience(tenants: usize) -> Duration {
    Duration::from_secs(300) + Duration::from_millis(1_500) * u32::try_from(tenants).unwrap_or(u32::MAX)
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
