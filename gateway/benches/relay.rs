//! What the gateway costs: throughput, round trips, memory. `cargo bench -p gateway`.
//!
//! Everything is measured in one run on one machine, with the gateway as a program of its own: the same
//! bytes and round trips directly over loopback, through a proxy of a few lines (tokio's own copy), and
//! through the gateway.

#![allow(clippy::unwrap_used, reason = "a measurement that fails ends")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use gateway::limits::raise_open_file_limit;
use gateway::routes::{ClusterRecord, Snapshot, TableFile};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use uuid::Uuid;

const DOMAIN: &str = "a.test";
const HEADER: usize = 28;
const TRANSFER: u64 = 2 << 30;
const BLOCK: usize = 64 * 1024;
const ROUNDS: usize = 20_000;
const PIECES_ROUNDS: usize = 100;
const IDLE: usize = 5_000;

/// What a server does after the hello, told by the byte that follows it.
const ECHO: u8 = 1;
const SINK: u8 = 2;
const SOURCE: u8 = 3;

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main]
async fn main() {
    let files = raise_open_file_limit();
    let folder = tempfile::tempdir().unwrap();
    let hello = hello();
    serve_unix(&folder.path().join("sc"), hello.len());
    let direct = serve_tcp(hello.len()).await;
    let proxy = plain_proxy(direct).await;
    let (program, gateway) = start_gateway(folder.path()).await;

    let mut rows = Vec::new();
    for (name, address) in [("direct", direct), ("tokio copy", proxy), ("gateway", gateway)] {
        let up = transfer(address, &hello, SINK).await;
        let down = transfer(address, &hello, SOURCE).await;
        let (p50, p99) = round_trips(address, &hello).await;
        rows.push((name, up, down, p50, p99));
        let pieces = round_trips_in_pieces(address, &hello).await;
        println!("{name}: RTT p50 {pieces:.1} us for a client that writes in pieces and without TCP_NODELAY");
    }
    println!("{:<12} {:>12} {:>12} {:>10} {:>10}", "", "up MB/s", "down MB/s", "RTT p50 us", "RTT p99 us");
    for (name, up, down, p50, p99) in &rows {
        println!("{name:<12} {up:>12.0} {down:>12.0} {p50:>10.1} {p99:>10.1}");
    }
    let (direct, through) = (&rows[0], &rows[2]);
    println!("added RTT: p50 {:.1} us, p99 {:.1} us", through.3 - direct.3, through.4 - direct.4);
    idle(gateway, &hello, program.0.id(), files).await;
}

/// Memory of the gateway with idle connections, each of which has moved bytes both ways before.
async fn idle(gateway: SocketAddr, hello: &[u8], pid: u32, files: u64) {
    // A client's and a server's socket per connection in this process.
    let count = IDLE.min(usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(500) / 2);
    let before = resident(pid);
    let started = Instant::now();
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = open(gateway, hello, ECHO).await;
        exchange(&mut stream).await;
        connections.push(stream);
    }
    let seconds = started.elapsed().as_secs_f64();
    let each = resident(pid).saturating_sub(before) / count as u64;
    println!("{count} idle connections: {each} bytes each, opened one after the other in {seconds:.1} s");
    println!("resident: {} kB before, {} kB after", before / 1024, resident(pid) / 1024);
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn hello() -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = DOMAIN.try_into().unwrap();
    let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

async fn start_gateway(folder: &Path) -> (Program, SocketAddr) {
    let record = ClusterRecord {
        id: Uuid::from_u128(1),
        domain: DOMAIN.into(),
        max_connections: 1_000_000,
        backends: [(String::new(), format!("unix:{}", folder.join("sc").display()))].into(),
    };
    TableFile::new(folder.join("table")).write(&Snapshot { clusters: vec![record] }).unwrap();
    std::fs::write(folder.join("url"), format!("postgres:///cloud?host={}/none", folder.display())).unwrap();
    let config = format!(
        "listen = '127.0.0.1:0'\naddress_file = '{0}/address'\ndatabase_url_file = '{0}/url'\n\
         table_file = '{0}/table'\nmax_connections_per_address = 1000000\n\
         new_connections_per_second_per_address = 1000000\nnew_connections_burst_per_address = 1000000\n\
         new_connections_per_second_per_cluster = 1000000\nnew_connections_burst_per_cluster = 1000000\n",
        folder.display()
    );
    std::fs::write(folder.join("config"), config).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["serve", "--config"])
        .arg(folder.join("config"))
        .env("RUST_LOG", "error")
        .spawn()
        .unwrap();
    let program = Program(child);
    loop {
        if let Ok(text) = std::fs::read_to_string(folder.join("address")) {
            return (program, text.parse().unwrap());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn serve_unix(path: &Path, hello: usize) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, HEADER + hello));
        }
    });
}

async fn serve_tcp(hello: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(serve(stream, hello));
        }
    });
    address
}

async fn plain_proxy(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let _ = copy_bidirectional_with_sizes(&mut client, &mut server, BLOCK, BLOCK).await;
            });
        }
    });
    address
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, skip: usize) -> std::io::Result<()> {
    let mut first = vec![0; skip + 1];
    stream.read_exact(&mut first).await?;
    match first[skip] {
        ECHO => {
            let mut message = [0; 64];
            loop {
                stream.read_exact(&mut message).await?;
                stream.write_all(&message).await?;
            }
        }
        SINK => {
            let mut block = vec![0; 4 * BLOCK];
            let mut left = TRANSFER;
            while left > 0 {
                let n = stream.read(&mut block).await?;
                if n == 0 {
                    return Ok(());
                }
                left -= n as u64;
            }
            stream.write_all(&[1]).await
        }
        _ => {
            let block = vec![0; BLOCK];
            for _ in 0..TRANSFER / BLOCK as u64 {
                stream.write_all(&block).await?;
            }
            Ok(())
        }
    }
}

async fn open(address: SocketAddr, hello: &[u8], kind: u8) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(&[hello, &[kind]].concat()).await.unwrap();
    stream
}

/// MB/s of one connection in one direction.
async fn transfer(address: SocketAddr, hello: &[u8], kind: u8) -> f64 {
    let mut stream = open(address, hello, kind).await;
    let started = Instant::now();
    if kind == SINK {
        let block = vec![0; BLOCK];
        for _ in 0..TRANSFER / BLOCK as u64 {
            stream.write_all(&block).await.unwrap();
        }
        stream.read_exact(&mut [0; 1]).await.unwrap();
    } else {
        let mut block = vec![0; 4 * BLOCK];
        let mut left = TRANSFER;
        while left > 0 {
            let n = stream.read(&mut block).await.unwrap();
            assert!(n > 0, "the transfer ended early");
            left -= n as u64;
        }
    }
    TRANSFER as f64 / 1e6 / started.elapsed().as_secs_f64()
}

async fn exchange(stream: &mut TcpStream) {
    let mut message = [7; 64];
    stream.write_all(&message).await.unwrap();
    stream.read_exact(&mut message).await.unwrap();
}

/// Median in microseconds for a client that, as the published one, writes a message in pieces and leaves it
/// to the kernel when to send them.
async fn round_trips_in_pieces(address: SocketAddr, hello: &[u8]) -> f64 {
    let mut stream = open(address, hello, ECHO).await;
    stream.set_nodelay(false).unwrap();
    let mut message = [7; 64];
    let mut times = Vec::with_capacity(PIECES_ROUNDS);
    for _ in 0..PIECES_ROUNDS {
        let started = Instant::now();
        for piece in message.chunks(16) {
            stream.write_all(piece).await.unwrap();
        }
        stream.read_exact(&mut message).await.unwrap();
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    times[PIECES_ROUNDS / 2]
}

/// Median and 99th percentile of small round trips, in microseconds.
async fn round_trips(address: SocketAddr, hello: &[u8]) -> (f64, f64) {
    let mut stream = open(address, hello, ECHO).await;
    for _ in 0..ROUNDS / 10 {
        exchange(&mut stream).await;
    }
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        exchange(&mut stream).await;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    (times[ROUNDS / 2], times[ROUNDS * 99 / 100])
}
