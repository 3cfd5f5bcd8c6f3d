//! The way into a region of a test's own: a gateway for its clusters, and its entry in the portal's list.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use crate::cloud::Cloud;
use crate::wait::until_blocking;
use crate::{programs, replica};

/// See the module. It ends when it is dropped.
#[derive(Debug)]
pub struct Border {
    pub address: SocketAddr,
    table: PathBuf,
    child: Child,
}

impl Border {
    /// Opens a region of this name on Kubernetes.
    pub fn open(cloud: &Cloud, region: &str) -> anyhow::Result<Border> {
        let file = |name: &str| cloud.state().join(format!("{region}.{name}"));
        let (settings, published, table) = (file("toml"), file("address"), file("table"));
        let text = format!(
            "listen = '127.0.0.1:0'\naddress_file = '{}'\ndatabase_url_file = '{}'\ntable_file = '{}'\n\
             name = '{region}'\nregion = '{region}'\n",
            published.display(),
            cloud.state().join("secrets/gateway.database-url").display(),
            table.display(),
        );
        std::fs::write(&settings, text)?;
        let log = std::fs::File::create(cloud.state().join(format!("logs/{region}.gateway.log")))?;
        let child = Command::new(programs::program("gateway")?)
            .args(["serve", "--config"])
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start a gateway")?;
        let listening = || std::fs::read_to_string(&published).ok()?.trim().parse().ok();
        let address = until_blocking("the gateway listens", Duration::from_secs(30), listening);
        let border = Border { address: address?, table, child };
        let endpoint = border.address.to_string();
        let add =
            ["region", "add", region, "--title", region, "--runtime", "kubernetes", "--endpoint", &endpoint];
        replica::portal(cloud, &add)?;
        Ok(border)
    }

    /// The gateway's table, as it keeps it on disk.
    pub fn routes(&self) -> String {
        std::fs::read_to_string(&self.table).unwrap_or_default()
    }
}

impl Drop for Border {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
