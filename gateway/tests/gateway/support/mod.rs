//! A world around a gateway: clusters that answer, clients that call.

pub mod backends;
pub mod hellos;
pub mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway::config::Config;
use gateway::routes::{ClusterRecord, Snapshot, TableFile};
use gateway::server::Running;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

/// Long enough for a machine that compiles meanwhile; never waited for when all is well.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for something that must happen.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen in time"),
    }
}

/// Polls a condition until it holds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A temporary folder in which a gateway keeps its files and clusters their sockets.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn socket(&self, name: &str) -> String {
        format!("unix:{}", self.path(name).display())
    }

    /// The text of a configuration with a database that is away, and further lines.
    pub fn config_text(&self, more: &str) -> String {
        let url_file = self.path("database-url");
        if !url_file.exists() {
            let nowhere = self.0.path().join("no-such-folder");
            std::fs::write(&url_file, format!("postgres:///cloud?host={}", nowhere.display())).unwrap();
        }
        format!(
            "listen = '127.0.0.1:0'\naddress_file = '{}'\ndatabase_url_file = '{}'\ntable_file = '{}'\n{more}\n",
            self.path("address").display(),
            url_file.display(),
            self.path("table").display(),
        )
    }

    pub fn config(&self, more: &str) -> Config {
        Config::parse(&self.config_text(more)).unwrap()
    }

    /// Puts a table on disk, as an earlier gateway would have left it.
    pub fn keep_table(&self, clusters: Vec<ClusterRecord>) {
        TableFile::new(self.path("table")).write(&Snapshot { clusters }).unwrap();
    }

    /// Starts a gateway that has these clusters from its table file.
    pub async fn gateway(&self, clusters: Vec<ClusterRecord>, more: &str) -> Running {
        self.keep_table(clusters);
        Running::start(self.config(more)).await.unwrap()
    }
}

/// A cluster with a generous limit.
pub fn cluster(id: u128, domain: &str, backends: &[(&str, &str)]) -> ClusterRecord {
    let backends = backends.iter().map(|(name, address)| ((*name).into(), (*address).into())).collect();
    ClusterRecord { id: Uuid::from_u128(id), domain: domain.into(), max_connections: 100_000, backends }
}

/// Sends bytes and returns all that comes back until the end. A reset after the end of what was sent back is
/// an end too; one without any answer is shown by `None`.
pub async fn call(address: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut client = TcpStream::connect(address).await.unwrap();
    // A gateway that has already refused need not take the rest.
    let _ = client.write_all(bytes).await;
    answer(&mut client).await
}

/// Everything until the end of the stream.
pub async fn answer(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    match within("the end of the stream", client.read_to_end(&mut all)).await {
        Ok(_) => Some(all),
        Err(_) if !all.is_empty() => Some(all),
        Err(_) => None,
    }
}

/// Resident memory of a process, in bytes.
pub fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
