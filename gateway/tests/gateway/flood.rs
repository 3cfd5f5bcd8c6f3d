//! Ten thousand half-open connections against the built program.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use gateway::hello::refuse::REFUSAL;
use gateway::limits::raise_open_file_limit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::backends::Named;
use crate::support::hellos::real_hello;
use crate::support::{Folder, answer, cluster, resident, until, within};

const WANTED: usize = 10_000;
const PER_ADDRESS: usize = 400;
const MOST_BYTES_EACH: u64 = 20 * 1024;

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn half_open(address: SocketAddr, number: usize) -> TcpStream {
    let from = [127, 0, 1, (number / PER_ADDRESS) as u8 + 1];
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut client = within("a place in the queue", socket.connect(address)).await.unwrap();
    client.write_all(&[22]).await.unwrap();
    client
}

async fn is_served(address: SocketAddr) -> bool {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(&real_hello("a.test")).await.unwrap();
    let mut greeting = [0; 6];
    within("the greeting", client.read_exact(&mut greeting)).await.is_ok() && &greeting == b"tenant"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_half_open_connections_cost_little_hurt_nobody_and_end() {
    let files = usize::try_from(raise_open_file_limit()).unwrap_or(usize::MAX);
    // Both programs hold one socket each; a machine with a low limit gets a smaller flood.
    let flood = WANTED.min(files.saturating_sub(1_000));
    let folder = Folder::new();
    let _server = Named::at(folder.path("sc"), "tenant");
    folder.keep_table(vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])]);
    // None of them may end before the last has come, on a slow machine either.
    let more = "handshake_timeout_ms = 25000\nmetrics_listen = '127.0.0.1:0'";
    let more = format!("{more}\nmetrics_address_file = '{}'", folder.path("metrics").display());
    std::fs::write(folder.path("config"), folder.config_text(&more)).unwrap();
    let program = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["serve", "--config"])
        .arg(folder.path("config"))
        .stderr(Stdio::null())
        .spawn();
    let program = Program(program.unwrap());
    let published = folder.path("metrics");
    until("the addresses are published", async || published.exists()).await;
    let read =
        |name: &str| -> SocketAddr { std::fs::read_to_string(folder.path(name)).unwrap().parse().unwrap() };
    let (address, metrics) = (read("address"), read("metrics"));
    assert!(is_served(address).await);

    let before = resident(program.0.id());
    let mut silent = Vec::with_capacity(flood);
    for number in 0..flood {
        silent.push(half_open(address, number).await);
        if number % 1_000 == 0 {
            assert!(is_served(address).await, "a good client suffers at {number}");
        }
    }
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let wanted = format!("gateway_half_open {flood}\n");
    until("all are half-open", async || {
        let text = crate::support::call(metrics, request).await.unwrap();
        String::from_utf8_lossy(&text).contains(&wanted)
    })
    .await;
    for client in &mut silent {
        client.write_all(&[3]).await.unwrap();
    }
    let each = resident(program.0.id()).saturating_sub(before) / flood as u64;
    eprintln!("{flood} half-open connections, {each} bytes each");
    assert!(each <= MOST_BYTES_EACH, "{each} bytes each");
    assert!(is_served(address).await, "a good client suffers");
    for client in &mut silent {
        assert_eq!(answer(client).await.as_deref(), Some(&REFUSAL[..]));
    }
    assert!(is_served(address).await);
}
