//! A cloud on Kubernetes: the node that `deploy/kubernetes/up` makes, with the chart installed on it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::guard::Guard;
use crate::person::Person;
use crate::programs;
use crate::region::Site;
use crate::tenant::Tenant;
use crate::visitor::Visitor;
use crate::wait::until;

/// A pod that does not come within this time does not come.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);

/// What a node's `ready.json` says, as far as tests need it.
#[derive(Debug, Clone, Deserialize)]
struct Ready {
    kubeconfig: PathBuf,
    host_address: Ipv4Addr,
    node_pid: u32,
    // A node without the cloud on it has none.
    #[serde(default)]
    portal_url: String,
    #[serde(default)]
    portal_ca: PathBuf,
}

/// A node with the whole cloud on it. It ends with the process.
#[derive(Debug)]
pub struct Fleet {
    ready: Ready,
    kubectl: PathBuf,
    cluster_image: String,
    state: PathBuf,
    _guard: Option<Guard>,
}

/// Held while the API server, the kubelet or the cloud's own programs on the shared node are restarted.
static DISTURBANCE: RwLock<()> = RwLock::const_new(());

impl Fleet {
    /// The cloud's own programs are not restarted by another test meanwhile.
    pub async fn undisturbed() -> RwLockReadGuard<'static, ()> {
        DISTURBANCE.read().await
    }

    /// No test that a restart of the cloud's programs or of the API server would fail runs meanwhile.
    pub async fn disturbing() -> RwLockWriteGuard<'static, ()> {
        DISTURBANCE.write().await
    }

    /// The one that all tests share. It takes a minute to come up; while one writes a test, one that is up already
    /// will do: `FLUVIO_CLOUD_FLEET` names its state folder.
    pub fn shared() -> anyhow::Result<&'static Fleet> {
        static SHARED: OnceLock<Result<Fleet, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Fleet::start("fleet").map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow::anyhow!("the shared fleet did not start: {error}"))
    }

    fn start(name: &str) -> anyhow::Result<Fleet> {
        let images = programs::cache("images")?;
        if let Some(state) = std::env::var_os("FLUVIO_CLOUD_FLEET") {
            return Fleet::on(PathBuf::from(state), &images, None);
        }
        let build = ["--programs", path(&programs::folder()?)?, "--out", path(&images)?].map(str::to_string);
        script(name, "deploy/images/build", &build)?;
        let (guard, state) = node(name, &[])?;
        let cloud = ["--state", path(&state)?, "--images", path(&images)?].map(str::to_string);
        script(name, "deploy/kubernetes/cloud", &cloud)?;
        Fleet::on(state, &images, Some(guard))
    }

    /// A further node, with an API server and volumes of its own, for tenants' clusters and nothing else.
    pub async fn further(name: &str) -> anyhow::Result<Fleet> {
        let images = programs::cache("images")?;
        // The shared one has them built.
        Fleet::shared()?;
        let (guard, state) = node(name, &[])?;
        let load = ["--state", path(&state)?, "--images", path(&images)?, "--only", "cluster pause"];
        script(name, "deploy/images/load", &load.map(str::to_string))?;
        let fleet = Fleet::on(state, &images, Some(guard))?;
        // The one thing of the chart's that tenants' pods name.
        fleet.kubectl(&["create", "priorityclass", "fluvio-cloud-tenant", "--value=1000"]).await?;
        Ok(fleet)
    }

    fn on(state: PathBuf, images: &Path, guard: Option<Guard>) -> anyhow::Result<Fleet> {
        let ready = serde_json::from_slice(&std::fs::read(state.join("ready.json"))?)?;
        let built: Value = serde_json::from_slice(&std::fs::read(images.join("images.json"))?)?;
        let cluster_image = built["cluster"].as_str().context("an image of the cluster")?.to_string();
        Ok(Fleet { ready, kubectl: tool("kubernetes", "kubectl")?, cluster_image, state, _guard: guard })
    }

    pub fn state(&self) -> &Path {
        &self.state
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
        // Often, so that a test sees a lost Secret come back.
        let image = self.cluster_image.clone();
        Site { kubeconfig, image, metrics: None, secrets_seconds: 10, health_seconds: 10, gateway: None }
    }

    /// The image of SC and SPU under one more tag, as a new release would have.
    pub fn cluster_image_as(&self, tag: &str) -> anyhow::Result<String> {
        let (name, _) = self.cluster_image.rsplit_once(':').context("an image with a tag")?;
        let fresh = format!("{name}:{tag}");
        let output = Command::new("nsenter")
            .args([
                "--target",
                &self.ready.node_pid.to_string(),
                "--net",
                "--mount",
                "--pid",
                "--uts",
                "--ipc",
            ])
            .args(["--", "ctr", "--address", "/run/containerd/containerd.sock", "--namespace", "k8s.io"])
            .args(["images", "tag", "--force", &self.cluster_image, &fresh])
            .output()?;
        ensure!(output.status.success(), "ctr: {}", String::from_utf8_lossy(&output.stderr));
        Ok(fresh)
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
        let state = path(self.state())?.to_string();
        script("fleet", "deploy/kubernetes/service", &["--state".into(), state, action.into(), name.into()])
    }

    /// Runs kubectl as the operator and returns what it printed.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.kubectl_with(arguments, Vec::new()).await
    }

    /// Replaces the pods of a program of the cloud, and waits until the new ones are there.
    pub async fn replace(&self, program: &str) -> anyhow::Result<()> {
        let deployment = format!("deployment/{program}");
        self.kubectl(&["rollout", "restart", "--namespace=fluvio-cloud", &deployment]).await?;
        let limits = ["--timeout=150s", "--request-timeout=160s"];
        self.kubectl(&["rollout", "status", "--namespace=fluvio-cloud", &deployment, limits[0], limits[1]])
            .await?;
        Ok(())
    }

    /// The same with something on its standard input.
    async fn kubectl_with(&self, arguments: &[&str], input: Vec<u8>) -> anyhow::Result<String> {
        let mut child = tokio::process::Command::new(&self.kubectl)
            .arg("--kubeconfig")
            .arg(&self.ready.kubeconfig)
            .arg("--request-timeout=20s")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().context("a piped standard input")?;
        // What kubectl does not read is not missed.
        let _ = stdin.write_all(&input).await;
        drop(stdin);
        let output = child.wait_with_output().await?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A statement as the database's owner, for what no person can do. Returns what it printed.
    pub async fn sql(&self, statement: &str) -> anyhow::Result<String> {
        let secret =
            self.object("fluvio-cloud", "secret", "database-owner").await?.context("its password")?;
        let encoded = secret["data"]["password"].as_str().context("its password")?;
        let password = base64::engine::general_purpose::STANDARD.decode(encoded)?;
        let command = "read -r PGPASSWORD || :; export PGPASSWORD; \
                       exec psql --quiet --no-align --tuples-only --set ON_ERROR_STOP=1 \
                       --host /run/postgresql --username cloud_owner --dbname cloud --command \"$1\"";
        let pod = ["--namespace", "fluvio-cloud", "--container", "postgres", "postgres-0"];
        let mut arguments = vec!["exec", "--stdin"];
        arguments.extend(pod);
        arguments.extend(["--", "sh", "-c", command, "sh", statement]);
        self.kubectl_with(&arguments, password).await
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

/// Starts a node of this name in a folder of its own; it ends with the guard.
pub fn node(name: &str, options: &[&str]) -> anyhow::Result<(Guard, PathBuf)> {
    let folder = tempfile::Builder::new().prefix("fk").rand_bytes(6).tempdir_in("/tmp")?.keep();
    let down = programs::tree()?.join("deploy/kubernetes/down");
    let guard = Guard::with(&folder, &down, &programs::output("logs")?.join(name))?;
    let mut arguments = vec!["--name".to_string(), name.to_string(), "--state".into(), path(&folder)?.into()];
    arguments.extend(options.iter().map(|option| (*option).to_string()));
    script(name, "deploy/kubernetes/up", &arguments)?;
    Ok((guard, folder))
}

/// A program that `deploy/kubernetes/tools` builds, built on first use.
pub fn tool(set: &str, program: &str) -> anyhow::Result<PathBuf> {
    let output = Command::new(programs::tree()?.join("deploy/kubernetes/tools/build")).arg(set).output()?;
    ensure!(output.status.success(), "tools/build {set}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(Path::new(String::from_utf8(output.stdout)?.trim()).join(program))
}

/// Runs a script of the tree; what it prints is kept beside the tests' other output.
fn script(name: &str, script: &str, arguments: &[String]) -> anyhow::Result<()> {
    let kept = programs::output("logs")?.join(format!("{name}.{}.log", script.replace('/', "-")));
    let log = std::fs::File::create(&kept)?;
    let ended = Command::new(programs::tree()?.join(script))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .with_context(|| format!("cannot start {script}"))?;
    if !ended.success() {
        bail!("{script} ended with {ended}:\n{}", std::fs::read_to_string(&kept)?);
    }
    Ok(())
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is text")
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
