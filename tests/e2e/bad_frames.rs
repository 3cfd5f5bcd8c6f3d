use std::io::Write;

use e2e::cloud::Cloud;
use e2e::raw::{self, Stream};
use e2e::stream::{create_topic, produce, producer, read_all, whole_flow};
use e2e::tenant::Tenant;
use e2e::wire::{self, Bytes};
use fluvio::{Isolation, TopicProducerConfigBuilder};

/// A connection to the tenant's SPU with the version talk behind it.
fn spu(tenant: &Tenant) -> anyhow::Result<Stream> {
    let who = tenant.credentials()?;
    let mut stream = raw::connect_as(Cloud::shared()?.gateway()?, &who, &format!("main-0.{}", who.domain))?;
    wire::send(&mut stream, &wire::api_versions(1))?;
    anyhow::ensure!(wire::receive(&mut stream)?.is_some(), "an honest client is served");
    Ok(stream)
}

fn sc(tenant: &Tenant) -> anyhow::Result<Stream> {
    let who = tenant.credentials()?;
    let mut stream = raw::connect_as(Cloud::shared()?.gateway()?, &who, &who.domain)?;
    wire::send(&mut stream, &wire::api_versions(1))?;
    anyhow::ensure!(wire::receive(&mut stream)?.is_some(), "an honest client is served");
    Ok(stream)
}

/// The processes of the cluster before and after: the same, so nothing died; and not much larger.
struct Steady {
    before: Vec<(i32, u64)>,
    cluster: String,
}

impl Steady {
    fn of(tenant: &Tenant) -> anyhow::Result<Steady> {
        let cluster = tenant.cluster.id.clone();
        Ok(Steady { before: Steady::look(&cluster)?, cluster })
    }

    fn look(cluster: &str) -> anyhow::Result<Vec<(i32, u64)>> {
        let mut found = Vec::new();
        for process in Cloud::shared()?.cluster(cluster) {
            found.push((process.pid, process.rss()?));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn check(self, most_more: u64) -> anyhow::Result<()> {
        let after = Steady::look(&self.cluster)?;
        assert_eq!(after.len(), self.before.len());
        for ((pid, before), (now_pid, now)) in self.before.iter().zip(&after) {
            assert_eq!(pid, now_pid, "the process was restarted: it had died");
            assert!(*now < before + most_more, "grew from {before} to {now} bytes");
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_that_lies_ends_the_connection_and_nothing_else() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let steady = Steady::of(&tenant)?;
    for length in [0, -1, i32::MIN, i32::MAX, 0x4000_0000, 1, 9] {
        for open in [spu, sc] {
            let mut stream = open(&tenant)?;
            let frame = Bytes::default().i32(length).raw(&[0; 64]).0;
            wire::send(&mut stream, &frame)?;
            // A frame of nine bytes has no room for a header; the others are no lengths at all.
            let answer = wire::receive(&mut stream)?;
            assert!(answer.is_none(), "length {length} was answered");
        }
    }
    steady.check(64 << 20)?;
    whole_flow(&tenant, "after-the-lengths").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_nobody_knows_or_that_is_cut_short_breaks_nothing() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let steady = Steady::of(&tenant)?;
    let bodies: Vec<Vec<u8>> = vec![vec![], vec![0xff; 3], vec![0xff; 400], vec![0; 400]];
    for api in [0, 1, 18, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 2000, 7, 9999, u16::MAX] {
        for version in [-1, 0, 15, 19, 23, 25, i16::MAX] {
            for body in &bodies {
                for open in [spu, sc] {
                    let mut stream = open(&tenant)?;
                    wire::send(&mut stream, &wire::frame(api, version, 7, body))?;
                    // Answered with an error or closed; a stream may also just wait. Then the next client comes.
                    stream.sock.set_read_timeout(Some(std::time::Duration::from_millis(5)))?;
                    let _ = wire::receive(&mut stream);
                }
            }
        }
    }
    steady.check(64 << 20)?;
    whole_flow(&tenant, "after-the-unknown").await
}

/// A tenant with a topic that holds three good records, and what must still be there afterwards.
async fn with_records(topic: &str) -> anyhow::Result<Tenant> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    create_topic(&tenant.admin().await?, topic, 1).await?;
    let good: Vec<Vec<u8>> = (0..3).map(|n| format!("good {n}").into_bytes()).collect();
    produce(&producer(&tenant.client().await?, topic).await?, &good).await?;
    Ok(tenant)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_lie_about_themselves_are_refused_and_never_stored() -> anyhow::Result<()> {
    let tenant = with_records("lies").await?;
    let steady = Steady::of(&tenant)?;
    let honest = wire::batch(0, 1, &wire::records(&[wire::record(b"honest")]));
    let mut flipped = honest.clone();
    *flipped.last_mut().expect("bytes") ^= 0x40;
    let mut short = honest.clone();
    short[8..12].copy_from_slice(&44_i32.to_be_bytes());
    let mut long = honest.clone();
    long[8..12].copy_from_slice(&0x7000_0000_i32.to_be_bytes());
    let mut negative = honest.clone();
    negative[8..12].copy_from_slice(&(-1_i32).to_be_bytes());
    let mut magic = honest.clone();
    magic[16] = 9;
    let value_of = |length: i64| {
        let inner = Bytes::default().u8(0).varint(0).varint(0).u8(0).varint(length).raw(b"abc").varint(0).0;
        let record = Bytes::default().varint(i64::try_from(inner.len()).unwrap_or(0)).raw(&inner).0;
        wire::batch(0, 1, &wire::records(&[record]))
    };
    let record_of = |length: i64| {
        let record = Bytes::default().varint(length).raw(b"\0\0\0\0\x06abc\0").0;
        wire::batch(0, 1, &wire::records(&[record]))
    };
    let endless = wire::batch(0, 1, &[&1_u32.to_be_bytes()[..], &[0xff; 40]].concat());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a flipped bit", flipped),
        ("a batch shorter than its header", short),
        ("a batch longer than the request", long),
        ("a negative batch length", negative),
        ("another format", magic),
        ("half a batch", honest[..honest.len() - 4].to_vec()),
        ("a value of two gigabytes", value_of(1 << 31)),
        ("a value of 2^62 bytes", value_of(1 << 62)),
        ("a value longer than its record", value_of(50)),
        ("a negative value length", value_of(-5)),
        ("a record of two gigabytes", record_of(0x7fff_ffff)),
        ("a negative record length", record_of(-3)),
        ("a number without an end", endless),
        ("more records promised than sent", wire::batch(0, 1000, &wire::records(&[wire::record(b"one")]))),
        ("four billion records", wire::batch(0, 1, &u32::MAX.to_be_bytes())),
        ("an unknown codec", wire::batch(7, 1, &wire::records(&[wire::record(b"x")]))),
        ("gzip that is none", wire::batch(1, 1, b"this is not gzip")),
        ("zstd that is none", wire::batch(4, 1, &[0xff; 64])),
        ("records cut in the middle", wire::batch(0, 1, &[0, 0, 0, 1, 20, 0])),
        ("no room for a count", wire::batch(0, 1, &[0, 0])),
    ];
    for (what, batch) in cases {
        let mut stream = spu(&tenant)?;
        wire::send(&mut stream, &wire::produce(5, "lies", 0, &batch))?;
        if let Some((_, body)) = wire::receive(&mut stream)? {
            let (code, _) = wire::produce_outcome(&body)?;
            assert_ne!(code, 0, "{what} was acknowledged");
        }
    }
    steady.check(64 << 20)?;
    let client = tenant.client().await?;
    let records = read_all(&client, "lies", 0, Isolation::ReadUncommitted).await?;
    assert_eq!(records.len(), 3, "only the good ones are there");
    let offsets = produce(&producer(&client, "lies").await?, &[b"good 3".to_vec()]).await?;
    assert_eq!(offsets, [3]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_written_by_hand_is_read_by_the_published_client() -> anyhow::Result<()> {
    let tenant = with_records("by-hand").await?;
    let mut stream = spu(&tenant)?;
    let batch = wire::batch(0, 2, &wire::records(&[wire::record(b"first"), wire::record_at(1, b"second")]));
    wire::send(&mut stream, &wire::produce(9, "by-hand", 0, &batch))?;
    let (correlation, body) = wire::receive(&mut stream)?.expect("an answer");
    assert_eq!((correlation, wire::produce_outcome(&body)?), (9, (0, Some(3))));
    let records = read_all(&tenant.client().await?, "by-hand", 0, Isolation::ReadCommitted).await?;
    assert_eq!(records.len(), 5);
    assert_eq!((records[3].value.as_slice(), records[4].value.as_slice()), (&b"first"[..], &b"second"[..]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decompression_bomb_costs_the_server_nothing() -> anyhow::Result<()> {
    let tenant = with_records("bombs").await?;
    let steady = Steady::of(&tenant)?;
    // 4 GiB of zeros: zstd says so in about 130 kB of repeated-byte blocks.
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    for block in 0..32_768_u32 {
        let last = u32::from(block == 32_767);
        let header = last | (1 << 1) | (131_072 << 3);
        bomb.extend_from_slice(&header.to_le_bytes()[..3]);
        bomb.push(0);
    }
    for attempt in 0..8 {
        let mut stream = spu(&tenant)?;
        wire::send(&mut stream, &wire::produce(attempt, "bombs", 0, &wire::batch(4, 1, &bomb)))?;
        if let Some((_, body)) = wire::receive(&mut stream)? {
            assert_ne!(wire::produce_outcome(&body)?.0, 0, "a bomb was acknowledged");
        }
    }
    steady.check(128 << 20)?;
    let records = read_all(&tenant.client().await?, "bombs", 0, Isolation::ReadUncommitted).await?;
    assert_eq!(records.len(), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn max_bytes_of_zero_or_less_still_brings_one_whole_batch_or_an_error() -> anyhow::Result<()> {
    let tenant = with_records("fetches").await?;
    for max_bytes in [0, -1, i32::MIN, 1, i32::MAX] {
        let mut stream = spu(&tenant)?;
        wire::send(&mut stream, &wire::stream_fetch(3, "fetches", 0, 0, max_bytes))?;
        if let Some((correlation, body)) = wire::receive(&mut stream)? {
            assert_eq!(correlation, 3);
            let whole = body.windows(6).any(|part| part == b"good 0")
                && body.windows(6).any(|part| part == b"good 2");
            let code = error_code(&body, "fetches")?;
            assert!(whole || code != 0, "max_bytes {max_bytes}: part of a batch");
        }
    }
    Ok(())
}

/// Topic, stream id, partition index, then the code.
fn error_code(body: &[u8], topic: &str) -> anyhow::Result<i16> {
    let at = 2 + topic.len() + 4 + 4;
    Ok(i16::from_be_bytes(body.get(at..at + 2).expect("a whole answer").try_into()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_beyond_the_end_or_before_the_beginning_is_an_error() -> anyhow::Result<()> {
    let tenant = with_records("beyond").await?;
    for offset in [4, i64::MAX, -1, i64::MIN] {
        let mut stream = spu(&tenant)?;
        wire::send(&mut stream, &wire::stream_fetch(4, "beyond", 0, offset, 1 << 20))?;
        let (_, body) = wire::receive(&mut stream)?.expect("an answer with an error");
        assert_ne!(error_code(&body, "beyond")?, 0, "offset {offset}");
    }
    for (topic, partition) in [("no-such-topic", 0), ("beyond", 1), ("beyond", u32::MAX), ("", 0)] {
        let mut stream = spu(&tenant)?;
        wire::send(&mut stream, &wire::stream_fetch(4, topic, partition, 0, 1 << 20))?;
        if let Some((_, body)) = wire::receive(&mut stream)? {
            assert_ne!(error_code(&body, topic)?, 0, "{topic:?} {partition}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_limit_is_refused_and_the_next_is_taken() -> anyhow::Result<()> {
    let tenant = with_records("limit").await?;
    let client = tenant.client().await?;
    let mut config = TopicProducerConfigBuilder::default();
    config.batch_size(64 << 20).max_request_size(64 << 20);
    let large = client.topic_producer_with_config("limit", config.build()?).await?;
    let refused = produce(&large, &[vec![7; 40 << 20]]).await;
    assert!(refused.is_err(), "40 MiB in one message were taken");
    let client = tenant.client().await?;
    assert_eq!(produce(&producer(&client, "limit").await?, &[b"small".to_vec()]).await?, [3]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_drawn_at_random_kill_nobody() -> anyhow::Result<()> {
    use rand::{Rng, RngExt, SeedableRng};
    let tenant = with_records("random").await?;
    let steady = Steady::of(&tenant)?;
    let seed = rand::rng().random::<u64>();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let honest =
        wire::produce(5, "random", 0, &wire::batch(0, 1, &wire::records(&[wire::record(b"honest")])));
    for _ in 0..300 {
        let mut frame = honest.clone();
        // All but the frame's length and the correlation id.
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(4..frame.len());
            frame[at] = random.random();
        }
        let mut stream = spu(&tenant)?;
        wire::send(&mut stream, &frame)?;
        stream.sock.set_read_timeout(Some(std::time::Duration::from_millis(5)))?;
        let _ = wire::receive(&mut stream);
        let mut noise = vec![0; random.random_range(1..2000)];
        random.fill_bytes(&mut noise);
        let _ = stream.write_all(&noise);
    }
    steady.check(64 << 20)?;
    whole_flow(&tenant, "after-the-noise").await
}
