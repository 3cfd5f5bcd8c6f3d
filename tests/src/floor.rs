//! What this machine's disk and loopback cost by themselves, in the same minute as a figure that builds on them.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Durations in nanoseconds, three digits.
pub type Durations = Histogram<u64>;

pub fn durations() -> anyhow::Result<Durations> {
    Ok(Histogram::new_with_bounds(1, 600_000_000_000, 3)?)
}

/// The value at a quantile.
pub fn at(histogram: &Durations, quantile: f64) -> Duration {
    Duration::from_nanos(histogram.value_at_quantile(quantile))
}

pub fn note(histogram: &mut Durations, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1));
}

/// Appends of 1 KiB, each followed by fdatasync, to a file in `folder`.
pub fn fsync(folder: &Path, rounds: u32) -> anyhow::Result<Durations> {
    let path = folder.join("floor.bin");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let mut histogram = durations()?;
    for _ in 0..rounds {
        let begun = Instant::now();
        file.write_all(&[7; 1024])?;
        file.sync_data()?;
        note(&mut histogram, begun.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(histogram)
}

/// Round trips of 100 bytes over a loopback TCP connection.
pub fn round_trip(rounds: u32) -> anyhow::Result<Durations> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let echo = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut bytes = [0; 100];
        for _ in 0..rounds {
            stream.read_exact(&mut bytes)?;
            stream.write_all(&bytes)?;
        }
        Ok(())
    });
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut histogram = durations()?;
    let mut bytes = [1; 100];
    for _ in 0..rounds {
        let begun = Instant::now();
        stream.write_all(&bytes)?;
        stream.read_exact(&mut bytes)?;
        note(&mut histogram, begun.elapsed());
    }
    echo.join().map_err(|_| anyhow::anyhow!("the echo thread ended badly"))??;
    Ok(histogram)
}
