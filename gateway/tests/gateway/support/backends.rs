//! Servers of clusters, on Unix sockets.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::within;

/// Length of the header for an IPv4 client.
pub const HEADER: usize = 28;

/// Hands every connection to the test.
pub struct Manual {
    listener: UnixListener,
}

impl Manual {
    pub fn at(path: PathBuf) -> Self {
        Self { listener: UnixListener::bind(path).unwrap() }
    }

    /// The next connection, with its PROXY header read.
    pub async fn accept(&self) -> (UnixStream, [u8; HEADER]) {
        let (mut stream, _) = within("a connection from the gateway", self.listener.accept()).await.unwrap();
        let mut header = [0; HEADER];
        within("the header", stream.read_exact(&mut header)).await.unwrap();
        (stream, header)
    }
}

/// Says its name after the header to everyone, and then echoes.
pub struct Named {
    tasks: JoinSet<()>,
    served: Arc<AtomicUsize>,
}

impl Named {
    pub fn at(path: PathBuf, name: &'static str) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let served = Arc::new(AtomicUsize::new(0));
        let counted = served.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(stream, name));
            }
        });
        Self { tasks, served }
    }

    /// Connections so far.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }

    /// Dies with all its connections.
    pub async fn kill(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn serve(mut stream: UnixStream, name: &str) {
    let mut header = [0; HEADER];
    if stream.read_exact(&mut header).await.is_err() || stream.write_all(name.as_bytes()).await.is_err() {
        return;
    }
    let (mut read, mut write) = stream.split();
    let _ = tokio::io::copy(&mut read, &mut write).await;
}

/// What a server saw: header and bytes of each connection, once it ended.
pub fn recorder(path: PathBuf) -> mpsc::UnboundedReceiver<Vec<u8>> {
    let listener = UnixListener::bind(path).unwrap();
    let (send, receive) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let send = send.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let _ = stream.read_to_end(&mut seen).await;
                let _ = send.send(seen);
            });
        }
    });
    receive
}
