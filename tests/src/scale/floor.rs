//! What the API server and its controllers need for tenants' objects when nobody thinks about them: a client that
//! looks at nothing and keeps nothing gives it all that it takes.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api_server::ApiServer;
use crate::programs;
use crate::wait::until_every;

/// Connections at the same time.
const CONNECTIONS: usize = 16;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The Secrets that a tenant keeps. Made here with content of the usual size.
const SECRETS: [&str; 3] = ["server", "internal", "control"];
/// A namespace that no provisioner takes for a tenant's.
const PREFIX: &str = "floor-";

/// For one tenant, of a sample.
#[derive(Debug, Clone, Serialize)]
pub struct Floor {
    /// Tenants of the sample.
    pub tenants: usize,
    /// Objects a tenant, Secrets included.
    pub objects: usize,
    /// Seconds a tenant until the API server has taken the objects.
    pub taken_seconds: f64,
    /// Seconds a tenant until the simulated pods run, too.
    pub running_seconds: f64,
    /// Who used the processor for one of them, in seconds.
    pub processor_seconds: BTreeMap<String, f64>,
}

/// Measures it. `config` is a provisioner's configuration.
pub async fn measure(api: &ApiServer, config: &std::path::Path, tenants: usize) -> anyhow::Result<Floor> {
    let sample: Vec<Vec<Value>> =
        (0..tenants).map(|_| rendered(config, Uuid::new_v4())).collect::<Result<_, _>>()?;
    let objects = sample.first().map_or(0, Vec::len);
    let sets: Vec<String> = sample.iter().flatten().filter_map(set_path).collect();
    let began = Instant::now();
    apply(api, sample).await?;
    let taken = began.elapsed();
    let mut line = api.line().await?;
    for set in sets {
        until_every(LOOK_EVERY, &set, Duration::from_secs(300), async || {
            let (_, body) = line.ask(Method::GET, &set, "application/json", Vec::new()).await?;
            let found: Value = serde_json::from_slice(&body)?;
            Ok((found["status"]["readyReplicas"] == 1).then_some(()))
        })
        .await?;
    }
    let running = began.elapsed();
    let each = |whole: Duration| whole.as_secs_f64() / tenants as f64;
    Ok(Floor {
        tenants,
        objects,
        taken_seconds: each(taken),
        running_seconds: each(running),
        processor_seconds: BTreeMap::new(),
    })
}

fn set_path(object: &Value) -> Option<String> {
    let part = |name: &str| object["metadata"][name].as_str();
    let (namespace, name) = part("namespace").zip(part("name"))?;
    let path = || format!("/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}");
    (object["kind"] == "StatefulSet").then(path)
}

async fn apply(api: &ApiServer, sample: Vec<Vec<Value>>) -> anyhow::Result<()> {
    let sample = Arc::new(Mutex::new(sample));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (mut line, sample) = (api.line().await?, sample.clone());
        workers.spawn(async move {
            loop {
                let next = sample.lock().unwrap_or_else(PoisonError::into_inner).pop();
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
    Ok(())
}

/// What the provisioner would make for a cluster of this id, as the program itself prints it, and its Secrets.
fn rendered(config: &std::path::Path, cluster: Uuid) -> anyhow::Result<Vec<Value>> {
    let output = Command::new(programs::program("provisioner")?)
        .args(["render", "--config"])
        .arg(config)
        .args(["--output", "json", "--cluster", &cluster.to_string()])
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let namespace = format!("{PREFIX}{}", cluster.simple());
    let list: Value =
        serde_json::from_str(&text.replace(&format!("fluvio-{}", cluster.simple()), &namespace))?;
    let objects = list["items"].as_array().or(list.as_array()).context("a list of objects")?;
    ensure!(objects.len() > 10, "{} objects", objects.len());
    // StatefulSets last, as the provisioner writes them: their pods need the rest.
    let (sets, mut all): (Vec<Value>, Vec<Value>) =
        objects.iter().cloned().partition(|object| object["kind"] == "StatefulSet");
    all.extend(SECRETS.map(|name| secret(&namespace, name)));
    all.extend(sets);
    Ok(all)
}

fn secret(namespace: &str, name: &str) -> Value {
    let pem = |bytes: usize| "x".repeat(bytes);
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "immutable": true,
        "stringData": {"tls.crt": pem(900), "tls.key": pem(240), "ca.crt": pem(700)},
    })
}
