//! A Kubernetes API server without a node: objects are checked, admitted and kept as on a whole cluster, but no
//! container runs.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::guard::Guard;
use crate::{chart, programs};

/// An API server of its own. It ends with the process.
#[derive(Debug)]
pub struct Nodeless {
    kubeconfig: PathBuf,
    _guard: Guard,
}

#[derive(Deserialize)]
struct Ready {
    kubeconfig: PathBuf,
}

impl Nodeless {
    /// With the chart installed, for tests that change nothing of the chart's.
    pub fn shared() -> anyhow::Result<&'static Nodeless> {
        static SHARED: OnceLock<Result<Nodeless, String>> = OnceLock::new();
        let start = || {
            let server = Nodeless::start("shared")?;
            server.install("one-node", &[])?;
            Ok(server)
        };
        SHARED
            .get_or_init(|| start().map_err(|error: anyhow::Error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow::anyhow!("the shared server did not start: {error}"))
    }

    /// A new one, with the namespace that the chart is installed into.
    pub fn start(name: &str) -> anyhow::Result<Nodeless> {
        let folder = tempfile::Builder::new().prefix("fa").rand_bytes(6).tempdir_in("/tmp")?.keep();
        let scripts = programs::tree()?.join("deploy/kubernetes");
        let logs = programs::output("logs")?;
        let guard = Guard::with(&folder, &scripts.join("down"), &logs.join(format!("api-server-{name}")))?;
        let log = std::fs::File::create(logs.join(format!("api-server-{name}.up.log")))?;
        let ended = Command::new(scripts.join("up"))
            .args(["--api-only", "--name", &format!("api-{name}"), "--state"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()
            .context("cannot start deploy/kubernetes/up")?;
        ensure!(ended.success(), "up ended with {ended}; see tests/output/logs/api-server-{name}.up.log");
        let ready: Ready = serde_json::from_slice(&std::fs::read(folder.join("ready.json"))?)?;
        let server = Nodeless { kubeconfig: ready.kubeconfig, _guard: guard };
        server.kubectl(&["create", "namespace", chart::NAMESPACE])?;
        let restricted = "pod-security.kubernetes.io/enforce=restricted";
        server.kubectl(&["label", "namespace", chart::NAMESPACE, restricted])?;
        Ok(server)
    }

    /// Installs or upgrades the chart.
    pub fn install(&self, values: &'static str, set: &[&str]) -> anyhow::Result<()> {
        let values = chart::value_set(values)?;
        let mut helm = self.helm()?;
        helm.args(["upgrade", "--install", "fluvio-cloud"]).arg(chart::folder()?);
        helm.args(["--namespace", chart::NAMESPACE]).args(values.arguments());
        for each in set {
            helm.args(["--set", each]);
        }
        let output = helm.output()?;
        ensure!(output.status.success(), "helm: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Helm, as the operator of this server.
    pub fn helm(&self) -> anyhow::Result<Command> {
        let mut helm = chart::helm()?;
        helm.arg("--kubeconfig").arg(&self.kubeconfig);
        Ok(helm)
    }

    /// Runs kubectl as the operator and returns what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.attempt(arguments, None)?;
        ensure!(
            output.status.success(),
            "kubectl {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs kubectl, with an object on its standard input, and returns how it went.
    pub fn attempt(&self, arguments: &[&str], object: Option<&Value>) -> anyhow::Result<Output> {
        let mut kubectl = Command::new(programs::kubernetes_tool("kubectl")?)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--request-timeout=20s")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start kubectl")?;
        let mut input = kubectl.stdin.take().context("a pipe")?;
        if let Some(object) = object {
            input.write_all(&serde_json::to_vec(object)?)?;
        }
        drop(input);
        Ok(kubectl.wait_with_output()?)
    }

    /// Objects of these kinds in the chart's namespace.
    pub fn objects(&self, kinds: &str) -> anyhow::Result<Vec<Value>> {
        let text = self.kubectl(&["get", kinds, "--namespace", chart::NAMESPACE, "--output", "json"])?;
        let list: Value = serde_json::from_str(&text)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// The operator's way in.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}
