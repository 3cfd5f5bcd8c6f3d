//! Measures the log against the floor of the disk it stands on, both in the same run.
//!
//! `cargo run --release -p cluster-storage --example bench -- FOLDER` (on the disk to be measured; about 20 s).

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster_storage::batch::Batch;
use cluster_storage::{Config, Durability, Isolation, Partition, PartitionName, Store};
use tokio::task::JoinSet;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Appends per latency figure, and rounds between which floor and log take turns.
const APPENDS: usize = 2000;
const ROUNDS: usize = 4;
const THROUGHPUT_TIME: Duration = Duration::from_secs(2);

fn main() -> Outcome {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "target/storage-bench".to_owned());
    fs::create_dir_all(&folder)?;
    let folder = Path::new(&folder);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        println!("load average: {}", fs::read_to_string("/proc/loadavg")?.trim());
        warm(folder)?;
        latency(folder, 100).await?;
        latency(folder, 16 << 10).await?;
        throughput(folder, 1, 16 << 10, 64, Durability::Disk).await?;
        throughput(folder, 1, 16 << 10, 64, Durability::Memory).await?;
        throughput(folder, 1, 1 << 20, 8, Durability::Disk).await?;
        throughput(folder, 4, 16 << 10, 16, Durability::Disk).await?;
        reading(folder).await
    })
}

/// First touch of a thin disk is slow and would be measured as ours.
fn warm(folder: &Path) -> Outcome {
    let path = folder.join("warm");
    let mut file = fs::File::create(&path)?;
    let block = vec![1; 1 << 20];
    for _ in 0..2048 {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    Ok(fs::remove_file(path)?)
}

/// One append in flight, beside a plain append and fdatasync of the same size. They take turns, so that both
/// meet the same disk.
async fn latency(folder: &Path, size: usize) -> Outcome {
    let partition = open(folder, "latency", Durability::Disk).await?;
    let path = folder.join("floor");
    let mut plain = fs::File::create(&path)?;
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    let batch = batch(size);
    for _ in 0..ROUNDS {
        for _ in 0..APPENDS / ROUNDS {
            let start = Instant::now();
            plain.write_all(batch.bytes())?;
            plain.sync_data()?;
            floor.push(start.elapsed());
        }
        for _ in 0..APPENDS / ROUNDS {
            let start = Instant::now();
            partition.append(vec![batch.clone()]).await?;
            ours.push(start.elapsed());
        }
    }
    let (floor, ours) = (Spread::of(floor), Spread::of(ours));
    let over = ours.p50.saturating_sub(floor.p50);
    println!("append {size} B, one in flight: floor {floor}; log {ours}; p50 {over:.1?} over the floor");
    partition.delete().await?;
    Ok(fs::remove_file(path)?)
}

/// As much as goes through with so many partitions, and so many appends in flight in each.
async fn throughput(
    folder: &Path,
    partitions: usize,
    size: usize,
    in_flight: usize,
    durability: Durability,
) -> Outcome {
    let batch = batch(size);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    let mut opened = Vec::new();
    for number in 0..partitions {
        let partition = open(folder, &format!("throughput{number}"), durability).await?;
        for _ in 0..in_flight {
            let (partition, batch) = (partition.clone(), batch.clone());
            tasks.spawn(async move {
                let mut bytes = 0;
                while start.elapsed() < THROUGHPUT_TIME {
                    partition.append(vec![batch.clone()]).await?;
                    bytes += batch.bytes().len();
                }
                Outcome::Ok(bytes)
            });
        }
        opened.push(partition);
    }
    let mut bytes = 0;
    while let Some(done) = tasks.join_next().await {
        bytes += done??;
    }
    let rate = megabytes_per_second(bytes, start.elapsed());
    for partition in opened {
        partition.delete().await?;
    }
    // While one half of what is in flight is being synced, the other half gathers: that is what a sync carries.
    let floor = sequential_floor(folder, size * in_flight.div_ceil(2), bytes.min(1 << 30))?;
    println!(
        "append {partitions} x {in_flight} in flight of {size} B, {durability:?}: {rate:.0} MB/s; floor with fdatasync {floor:.0} MB/s"
    );
    Ok(())
}

/// Writes of this size, each with an fdatasync.
fn sequential_floor(folder: &Path, size: usize, total: usize) -> Outcome<f64> {
    let path = folder.join("floor");
    let mut plain = fs::File::create(&path)?;
    let block = vec![1; size];
    let start = Instant::now();
    let mut written = 0;
    while written < total {
        plain.write_all(&block)?;
        plain.sync_data()?;
        written += size;
    }
    let rate = megabytes_per_second(written, start.elapsed());
    fs::remove_file(path)?;
    Ok(rate)
}

/// Reads of a mebibyte each through a log of a gibibyte, every batch checked.
async fn reading(folder: &Path) -> Outcome {
    let partition = open(folder, "reading", Durability::Memory).await?;
    let batch = batch(16 << 10);
    for _ in 0..1024 {
        partition.append(vec![batch.clone(); 64]).await?;
    }
    let start = Instant::now();
    let (mut from, mut bytes) = (0, 0);
    while from < partition.offsets().hw {
        let slice = partition.read(from, 1 << 20, Isolation::Committed).await?;
        bytes += slice.bytes.len();
        from = slice.next_offset;
    }
    println!("read 1 MiB slices: {:.0} MB/s", megabytes_per_second(bytes, start.elapsed()));
    partition.close().await;
    drop(partition);
    let start = Instant::now();
    let partition = open(folder, "reading", Durability::Disk).await?;
    println!("reopen after an orderly end, 1 GiB segment: {:.1?}", start.elapsed());
    partition.close().await;
    // As after a power cut that lost the index: all of it is checked.
    let name = PartitionName::new("reading", 0).ok_or("a name")?;
    for entry in fs::read_dir(folder.join(name.to_string()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "index") {
            fs::remove_file(path)?;
        }
    }
    let start = Instant::now();
    let partition = open(folder, "reading", Durability::Disk).await?;
    println!("reopen without an index, 1 GiB segment: {:.1?}", start.elapsed());
    Ok(partition.delete().await?)
}

async fn open(folder: &Path, topic: &str, durability: Durability) -> Outcome<Partition> {
    let name = PartitionName::new(topic, 0).ok_or("a topic's name")?;
    let store = Store::new(folder, u64::MAX, 0);
    Ok(store.open(&name, Config { durability, segment_bytes: 2 << 30, ..Config::default() }).await?)
}

/// One record of this many bytes.
fn batch(size: usize) -> Batch {
    let mut bytes = vec![b'.'; 57 + size];
    bytes[..57].fill(0);
    bytes[8..12].copy_from_slice(&(45 + size as u32).to_be_bytes());
    bytes[16] = 2;
    let checksum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    Batch::parse(&Bytes::from(bytes)).expect("a good batch")
}

fn megabytes_per_second(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

struct Spread {
    p50: Duration,
    p99: Duration,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
        Self { p50: at(0.5), p99: at(0.99) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "p50 {:.1?} p99 {:.1?}", self.p50, self.p99)
    }
}
