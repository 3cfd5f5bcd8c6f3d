//! A cloud on Kubernetes: the node that `deploy/kubernetes/up` makes, with the chart installed on it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::guard::Guard;
use crate::person::Person;
use crate::programs;
use crate::region::Site;
use crate::tenant::Tenant;
use crate::visitor::Visitor;
use crate::wait::until;

/// A pod that does not come within this time does not come.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);

/// What `up` writes when all is up.
#[derive(Debug, Clone, Deserialize)]
struct Ready {
    portal_url: String,
    portal_ca: PathBuf,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    /// The first process of the node.
    node_pid: i32,
    /// The host's address as the node sees it.
    host_address: Ipv4Addr,
    /// The image of SC and SPU.
    cluster_image: String,
}

/// A node with the whole cloud on it. It ends with the process.
#[derive(Debug)]
pub struct Fleet {
    ready: Ready,
    guard: Guard,
}

impl Fleet {
    /// The one that all tests share: it takes a minute to come up.
    pub fn shared() -> anyhow::Result<&'static Fleet> {
        static SHARED: OnceLock<Result<Fleet, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Fleet::start("fleet").map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow::anyhow!("the shared fleet did not start: {error}"))
    }

    fn start(name: &str) -> anyhow::Result<Fleet> {
        let folder = tempfile::Builder::new().prefix("fk").rand_bytes(6).tempdir_in("/tmp")?.keep();
        let scripts = programs::tree()?.join("deploy/kubernetes");
        let guard = Guard::with(&folder, &scripts.join("down"), &programs::output("logs")?.join(name))?;
        let log = std::fs::File::create(programs::output("logs")?.join(format!("{name}.up.log")))?;
        let ended = Command::new(scripts.join("up"))
            .args(["--name", name, "--state"])
            .arg(&folder)
            .arg("--programs")
            .arg(programs::folder()?)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()
            .context("cannot start deploy/kubernetes/up")?;
        ensure!(
            ended.success(),
            "deploy/kubernetes/up ended with {ended}; see tests/output/logs/{name}.up.log"
        );
        let ready = serde_json::from_slice(&std::fs::read(folder.join("ready.json"))?)?;
        Ok(Fleet { ready, guard })
    }

    pub fn state(&self) -> &Path {
        self.guard.folder()
    }

    pub fn portal(&self) -> &str {
        self.ready.portal_url.trim_end_matches('/')
    }

    pub fn authority(&self) -> &Path {
        &self.ready.portal_ca
    }

    /// The operator's way to the API server.
    pub fn kubeconfig(&self) -> &Path {
        &self.ready.kubeconfig
    }

    /// Where the node's programs reach the host.
    pub fn host_address(&self) -> Ipv4Addr {
        self.ready.host_address
    }

    /// What a further provisioner needs to keep clusters on this node.
    pub fn site(&self, kubeconfig: PathBuf) -> Site {
        Site {
            kubeconfig,
            network_of: Some(self.ready.node_pid),
            image: self.ready.cluster_image.clone(),
            metrics: (Ipv4Addr::LOCALHOST, 0),
        }
    }

    pub fn visitor(&self) -> Visitor {
        Visitor::trusting(self.portal(), Some(self.authority()))
    }

    /// Somebody with a cluster that runs, logged in by `fluvio cloud login`.
    pub async fn tenant(&self) -> anyhow::Result<Tenant> {
        Tenant::of(Person::sign_up_in(self.visitor()).await?).await
    }

    /// The namespace of a cluster.
    pub fn namespace(cluster: &str) -> String {
        format!("fluvio-{}", cluster.replace('-', ""))
    }

    /// Stops, starts or restarts a program of the node: `kubelet`, `apiserver`, `etcd`, …
    pub fn service(&self, action: &str, name: &str) -> anyhow::Result<()> {
        let script = programs::tree()?.join("deploy/kubernetes/service");
        let output = Command::new(script).args([action, name, "--state"]).arg(self.state()).output()?;
        ensure!(output.status.success(), "{action} {name}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Runs kubectl as the operator and returns what it printed.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = tokio::process::Command::new(&self.ready.kubectl)
            .arg("--kubeconfig")
            .arg(&self.ready.kubeconfig)
            .arg("--request-timeout=20s")
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// One object, or `None` when there is none of that name.
    pub async fn object(&self, namespace: &str, kind: &str, name: &str) -> anyhow::Result<Option<Value>> {
        let text = self
            .kubectl(&["get", "--namespace", namespace, kind, name, "--ignore-not-found", "--output", "json"])
            .await?;
        if text.trim().is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&text)?)) }
    }

    /// All objects of these kinds (`pods,services`) in a namespace.
    pub async fn objects(&self, namespace: &str, kinds: &str) -> anyhow::Result<Vec<Value>> {
        let text = self.kubectl(&["get", "--namespace", namespace, kinds, "--output", "json"]).await?;
        let list: Value = serde_json::from_str(&text)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until something holds of the fleet.
    pub async fn until<T>(
        &self,
        what: &str,
        look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        until(what, SETTLED_WITHIN, look).await
    }
}

/// The names of the pods of a list that are ready.
pub fn ready_pods(objects: &[Value]) -> Vec<String> {
    let is_ready = |pod: &&Value| {
        let conditions = pod["status"]["conditions"].as_array();
        pod["metadata"]["deletionTimestamp"].is_null()
            && conditions
                .is_some_and(|all| all.iter().any(|each| each["type"] == "Ready" && each["status"] == "True"))
    };
    let mut names: Vec<String> = objects
        .iter()
        .filter(|object| object["kind"] == "Pod")
        .filter(is_ready)
        .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_string))
        .collect();
    names.sort();
    names
}
