//! A partition read to its end over one connection.

use std::io::Read;
use std::time::Instant;

use anyhow::{Context, ensure};

use super::link::Link;
use super::produce::Moved;
use super::slice::{self, Slice};
use crate::wire;

/// More than an SPU puts into one response, so that its own limit is what counts.
pub const MOST_BYTES: i32 = 16 << 20;
/// Of the stream's requests and of acknowledgements.
const STREAM: i32 = 2;
const ACKNOWLEDGED: i32 = 3;
/// A longer response is a lie.
const LONGEST: u64 = 64 << 20;

/// Reads partition 0 from an offset up to another, acknowledging each response when all of it is here.
pub fn read(link: &mut Link, topic: &str, from: i64, to: i64) -> anyhow::Result<Moved> {
    let begin = Instant::now();
    link.send(&wire::stream_fetch(STREAM, topic, 0, from, MOST_BYTES))?;
    let (mut next, mut bytes) = (from, 0);
    while next < to {
        let Some(slice) = response(link, next)? else { continue };
        (next, bytes) = (slice.next, bytes + slice.bytes);
        link.send(&wire::update_offsets(ACKNOWLEDGED, slice.stream_id, next))?;
    }
    ensure!(next == to, "the partition goes on to {next}, beyond {to}");
    Ok(Moved { records: to - from, bytes, took: begin.elapsed() })
}

/// The next response, if it is the stream's.
fn response(link: &mut Link, expected: i64) -> anyhow::Result<Option<Slice>> {
    let mut head = [0; 8];
    link.stream.read_exact(&mut head).context("the stream ended")?;
    let [length, correlation] = [[head[0], head[1], head[2], head[3]], [head[4], head[5], head[6], head[7]]];
    let length = u64::from(u32::from_be_bytes(length)).checked_sub(4).context("a response without an id")?;
    ensure!(length <= LONGEST, "a response of {length} bytes");
    if i32::from_be_bytes(correlation) == STREAM {
        return Ok(Some(slice::read(&mut link.stream, length, expected)?));
    }
    slice::skip(&mut link.stream, length)?;
    Ok(None)
}
