//! Thousands of consumers of one partition, a task and a connection each.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::link::Spu;
use super::slice;
use crate::wait::{until, within};
use crate::wire;

/// Handshakes under way at once; an SPU gives each of them five seconds.
const AT_ONCE: usize = 32;
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);
/// Of one response: the records that a crowd reads are few.
const MOST_BYTES: i32 = 64 << 10;
const STREAM: i32 = 2;
const ACKNOWLEDGED: i32 = 3;

/// Consumers that stay until they are dropped.
#[derive(Debug)]
pub struct Crowd {
    tasks: JoinSet<anyhow::Result<()>>,
    /// The next offset that each waits for.
    reached: Arc<Vec<AtomicI64>>,
}

impl Crowd {
    /// Connects so many, who all read partition 0 from its beginning.
    pub async fn gather(spu: &Spu, topic: &str, count: usize) -> anyhow::Result<Crowd> {
        let reached: Arc<Vec<AtomicI64>> = Arc::new((0..count).map(|_| AtomicI64::new(0)).collect());
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut joining = JoinSet::new();
        for number in 0..count {
            let (spu, topic, places) = (spu.clone(), topic.to_string(), Arc::clone(&places));
            joining.spawn(async move {
                let _place = places.acquire_owned().await?;
                let joined = within("a consumer is connected", CONNECTED_WITHIN, join(&spu, &topic)).await;
                joined.map(|stream| (number, stream)).with_context(|| format!("consumer {number}"))
            });
        }
        let mut tasks = JoinSet::new();
        while let Some(joined) = joining.join_next().await {
            let (number, stream) = joined??;
            tasks.spawn(follow(stream, Arc::clone(&reached), number));
        }
        Ok(Crowd { tasks, reached })
    }

    /// Waits until each has everything before `offset`; an error when one of them is gone.
    pub async fn reach(&mut self, offset: i64, limit: Duration) -> anyhow::Result<()> {
        until("all consumers have it", limit, async || {
            if let Some(ended) = self.tasks.try_join_next() {
                ended??;
                bail!("a consumer ended");
            }
            Ok(self.reached.iter().all(|at| at.load(Ordering::Relaxed) >= offset).then_some(()))
        })
        .await
        .with_context(|| {
            let short = self.reached.iter().filter(|at| at.load(Ordering::Relaxed) < offset).count();
            format!("{short} of {} consumers lack records", self.reached.len())
        })
    }
}

async fn join(spu: &Spu, topic: &str) -> anyhow::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(spu.address).await?;
    socket.set_nodelay(true)?;
    let connector = TlsConnector::from(spu.config.clone().context("a crowd comes with TLS")?);
    let mut stream = connector.connect(spu.server_name()?, socket).await?;
    stream.write_all(&wire::api_versions(1)).await?;
    stream.flush().await?;
    response(&mut stream).await?;
    stream.write_all(&wire::stream_fetch(STREAM, topic, 0, 0, MOST_BYTES)).await?;
    stream.flush().await?;
    Ok(stream)
}

/// Reads for as long as the crowd is wanted.
async fn follow(
    mut stream: TlsStream<TcpStream>,
    reached: Arc<Vec<AtomicI64>>,
    number: usize,
) -> anyhow::Result<()> {
    loop {
        let (correlation, body) = response(&mut stream).await?;
        if correlation != STREAM {
            continue;
        }
        let expected = reached[number].load(Ordering::Relaxed);
        let slice = slice::read(&mut &*body, body.len() as u64, expected)?;
        reached[number].store(slice.next, Ordering::Relaxed);
        stream.write_all(&wire::update_offsets(ACKNOWLEDGED, slice.stream_id, slice.next)).await?;
        stream.flush().await?;
    }
}

/// The next response: correlation id and body.
async fn response(stream: &mut TlsStream<TcpStream>) -> anyhow::Result<(i32, Vec<u8>)> {
    let length = stream.read_i32().await.context("the SPU hung up")?;
    let correlation = stream.read_i32().await?;
    let length = usize::try_from(length).unwrap_or(0).checked_sub(4).context("a response without an id")?;
    ensure!(length <= 8 << 20, "a response of {length} bytes");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((correlation, body))
}
