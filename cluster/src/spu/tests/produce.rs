//! What producers may send, and what they get back.

use cluster_storage::batch::patch;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::fixture::{Unit, assignment, batch, entries_of, produce, produced, string};
use crate::connection::tests::fixture::{Cluster, DEADLINE, request};
use crate::link::Assignment;
use crate::sc::topic::{Compression, TopicOptions};
use crate::spu::compressed::tests::zstd_bomb;
use crate::spu::route::HELD;

#[tokio::test]
async fn entries_of_one_partition_are_stored_in_order_and_answered_one_by_one() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let mut client = unit.client(&cluster).await;
    let (one, three) = (batch(&["a"]), batch(&["b", "c", "d"]));
    let entries: [(u32, &[u8]); 4] = [(0, &one), (0, &three), (1, &three), (0, &one)];
    let answers = produced(&mut client, "numbers", &entries).await;
    assert_eq!(answers, [(0, 0, 0), (0, 0, 1), (1, 0, 0), (0, 0, 4)]);
    let empty = client.call(0, 25, &produce("numbers", 1, &[])).await.unwrap();
    assert!(entries_of(empty).is_empty());
    let committed = client.call(0, 25, &produce("numbers", -1, &[(0, &one)])).await.unwrap();
    assert_eq!(entries_of(committed), [(0, 0, 5)]);
}

#[tokio::test]
async fn pipelined_requests_are_stored_in_the_order_of_arrival() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let mut client = unit.client(&cluster).await;
    let mut burst = Vec::new();
    for number in 0..300 {
        let records = batch(&[&number.to_string()]);
        burst.extend(request(0, 25, &produce("numbers", 1, &[(number % 2, &records)])));
    }
    client.send(&burst).await;
    for _ in 0..300 {
        assert_eq!(entries_of(client.response().await.unwrap())[0].1, 0);
    }
    for partition in 0..2 {
        let log = unit.spu.replicas().get("numbers", partition).unwrap().log.clone().unwrap();
        let slice = log.read(0, 1 << 20, cluster_storage::Isolation::Uncommitted).await.unwrap();
        let limits = cluster_storage::batch::Limits { batch_bytes: 1 << 20, batches: 1000 };
        let stored = cluster_storage::batch::split(&slice.bytes, limits).unwrap();
        let values: Vec<String> = stored
            .iter()
            .flat_map(|batch| crate::wire::records_of(&crate::usage::Usage::default(), batch).unwrap())
            .map(|(_, value)| String::from_utf8(value.to_vec()).unwrap())
            .collect();
        let expected: Vec<String> =
            (0..300).filter(|n| n % 2 == partition).map(|n: u32| n.to_string()).collect();
        assert_eq!(values, expected);
    }
}

#[tokio::test]
async fn compressed_batches_are_looked_into_and_stored_as_they_came() {
    use fluvio_compression::Compression::{Gzip, Lz4, Snappy, Zstd};
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let mut client = unit.client(&cluster).await;
    let packed = |number: u8, payload: &[u8]| {
        let mut bytes = batch(&["hello"])[..61 - 4].to_vec();
        bytes.extend(payload);
        let length = u32::try_from(bytes.len() - 12).unwrap();
        resealed(bytes, |batch| {
            batch[8..12].copy_from_slice(&length.to_be_bytes());
            batch[22] = number;
        })
    };
    let mut next = 0;
    // Few bytes that are opened at once, and many that are not.
    for value in ["hello".to_owned(), "x".repeat(300_000)] {
        let plain = batch(&[&value])[57..].to_vec();
        for (number, codec) in [(1, Gzip), (2, Snappy), (3, Lz4), (4, Zstd)] {
            let payload = codec.compress(&plain).unwrap();
            let good = packed(number, &payload);
            assert_eq!(produced(&mut client, "numbers", &[(0, &good)]).await, [(0, 0, next)], "{codec}");
            for (what, bad, code) in [
                ("not of its codec", packed(number, &plain), 9000),
                ("cut", packed(number, &payload[..payload.len() / 2]), 9000),
                ("a record missing", packed(number, &codec.compress(&plain[..plain.len() - 1]).unwrap()), 2),
            ] {
                let answered = produced(&mut client, "numbers", &[(0, &bad)]).await[0].1;
                assert!(answered == code || (what == "cut" && answered == 2), "{codec} {what}: {answered}");
            }
            let log = unit.spu.replicas().get("numbers", 0).unwrap().log.clone().unwrap();
            let slice = log.read(next, 1 << 22, cluster_storage::Isolation::Uncommitted).await.unwrap();
            assert_eq!(slice.bytes[16..], good[16..], "{codec}: stored as it came");
            next += 1;
        }
    }
    let bomb = packed(4, &zstd_bomb(32_768));
    assert_eq!(produced(&mut client, "numbers", &[(0, &bomb)]).await[0].1, 10);
    assert_eq!(unit.server.usage.decode_panics.get(), 0);
}

/// The batch with something in it changed, and its checksum made right again.
fn resealed(mut batch: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut batch);
    let checksum = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    batch
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

#[tokio::test]
async fn hostile_batches_are_refused_and_nothing_of_them_is_stored() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let mut client = unit.client(&cluster).await;
    let good = batch(&["hello", "world"]).to_vec();
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let mut short = good.clone();
    short.pop();
    let mut trailing = good.clone();
    trailing.extend([1, 2, 3]);
    for (what, bytes) in [
        ("one byte of a record changed", changed(70, 0xee)),
        ("a checksum changed", changed(17, good[17] ^ 1)),
        ("a byte is missing", short),
        ("bytes behind the batch", trailing),
        ("a length of zero", resealed(good.clone(), |batch| batch[8..12].fill(0))),
        ("a negative length", resealed(good.clone(), |batch| batch[8] = 0xff)),
        (
            "a length of 2 GiB",
            resealed(good.clone(), |batch| batch[8..12].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff])),
        ),
        ("another format", resealed(good.clone(), |batch| batch[16] = 1)),
        ("an unknown codec", resealed(good.clone(), |batch| batch[22] = 7)),
        ("no records by its header", resealed(good.clone(), |batch| batch[23..27].fill(0xff))),
        ("more records than there are", resealed(good.clone(), |batch| batch[26] = 9)),
        ("a count of four billion", resealed(good.clone(), |batch| batch[57..61].fill(0xff))),
        (
            "a record of a gigabyte",
            resealed(good.clone(), |batch| batch[61..66].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff, 0x0f])),
        ),
        ("an endless number", resealed(good.clone(), |batch| batch[61..72].fill(0xff))),
        ("a key flag of 9", resealed(good.clone(), |batch| batch[65] = 9)),
        ("a few bytes", vec![1, 2, 3]),
        ("zeros", vec![0; 200]),
    ] {
        let answers = produced(&mut client, "numbers", &[(0, &bytes)]).await;
        assert_ne!(answers[0].1, 0, "{what}");
    }
    // Offset and epoch are the server's to set: whatever a client writes there does not count.
    let mut renamed = good.clone();
    patch(&mut renamed, i64::MAX, i32::MIN);
    assert_eq!(produced(&mut client, "numbers", &[(0, &renamed)]).await, [(0, 0, 0)]);
    assert_eq!(unit.server.usage.decode_panics.get(), 0);
}

#[tokio::test]
async fn what_a_producer_may_not_do_has_its_own_code() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let mut settings = cluster.settings();
    settings.limits.message_bytes = 20_000;
    let mut view = super::fixture::numbers();
    let gzip = TopicOptions { compression: Compression::Gzip, ..TopicOptions::default() };
    view.push(assignment("gzip", 0, 7, gzip));
    let unit = Unit::start(folder.path(), settings.clone(), view).await;
    let mut client = unit.client(&cluster).await;
    let records = batch(&["x"]);
    let large = batch(&[&"x".repeat(25_000)]);
    for (what, topic, partition, bytes, code) in [
        ("stored", "numbers", 0, &records, 0),
        ("no such topic", "letters", 0, &records, 6),
        ("no such partition", "numbers", 2, &records, 6),
        ("the system topic", "consumer-offset", 0, &records, 13),
        ("another codec", "gzip", 0, &records, 9000),
        ("too large", "numbers", 0, &large, 10),
    ] {
        assert_eq!(produced(&mut client, topic, &[(partition, bytes)]).await[0].1, code, "{what}");
    }
    let mut filtered = produce("numbers", 1, &[(0, &records)]);
    filtered.truncate(filtered.len() - 4);
    filtered.extend([0, 0, 0, 1, 0]);
    string(&mut filtered, "upper");
    filtered.extend([0; 20]);
    assert_eq!(entries_of(client.call(0, 25, &filtered).await.unwrap())[0].1, 6001);

    settings.limits.storage_bytes = 0;
    unit.server.change(settings);
    let full = async {
        // The quota follows the settings a moment later.
        while produced(&mut client, "numbers", &[(0, &records)]).await[0].1 != 72 {}
    };
    timeout(DEADLINE, full).await.unwrap();
}

#[tokio::test]
async fn all_entries_of_a_request_are_held_together_and_not_one_after_the_other() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let alone = assignment("numbers", 0, 1, TopicOptions::default());
    let away = Assignment { leader: 5002, replicas: vec![5002], ..alone };
    let unit = Unit::start(folder.path(), cluster.settings(), vec![away]).await;
    let mut client = unit.client(&cluster).await;
    let one = batch(&["a"]);
    client.send(&request(0, 25, &produce("numbers", 1, &[(0, &one[..]); 10]))).await;
    // One wait, and not ten of them.
    let length = timeout(HELD * 2, client.0.read_i32()).await.unwrap().unwrap();
    let mut response = vec![0; usize::try_from(length).unwrap()];
    client.0.read_exact(&mut response).await.unwrap();
    let codes: Vec<i16> = entries_of(response.split_off(4)).iter().map(|(_, code, _)| *code).collect();
    assert_eq!(codes, [6; 10], "nobody leads it");
}

#[tokio::test]
async fn hostile_requests_close_the_connection() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let whole = produce("numbers", 1, &[(0, &batch(&["x"]))]);
    let mut huge_count = whole[..11].to_vec();
    huge_count[7..11].fill(0x7f);
    let mut lying = whole.clone();
    let at = 11 + 2 + "numbers".len() + 4 + 4;
    lying[at..at + 4].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
    let negative_timeout = {
        let mut bytes = whole.clone();
        bytes[3] = 0x80;
        bytes
    };
    let too_many_topics = {
        let mut bytes = whole[..7].to_vec();
        bytes.extend(70_000u32.to_be_bytes());
        bytes.extend(vec![0; 6 * 70_000 + 4]);
        bytes
    };
    for (what, key, version, body) in [
        ("seventy thousand topics", 0, 25, too_many_topics),
        ("a list longer than any client's", 1002, 25, vec![0; 300 << 10]),
        ("acknowledgements longer than any client's", 1005, 0, vec![0; 300 << 10]),
        ("a cut request", 0, 25, whole[..whole.len() - 9].to_vec()),
        ("two billion topics", 0, 25, huge_count),
        ("records beyond the frame", 0, 25, lying),
        ("a negative timeout", 0, 25, negative_timeout),
        ("produce of the future", 0, 26, whole.clone()),
        ("a stream of the past", 1003, 22, vec![]),
        ("half a stream request", 1003, 25, vec![0, 1]),
        ("acknowledgements beyond the frame", 1005, 0, vec![0x10, 0, 0, 0]),
        ("legacy fetch", 1, 10, vec![]),
        ("mirroring", 2000, 25, vec![]),
        ("an SC's request", 1001, 19, vec![]),
        ("half an offset", 1006, 25, vec![0; 5]),
        ("half a deletion", 1007, 25, vec![0, 9]),
        ("half a filter", 1008, 25, vec![1, 1, 0]),
    ] {
        let mut client = unit.client(&cluster).await;
        client.send(&request(key, version, &body)).await;
        client.closed().await;
        let mut other = unit.client(&cluster).await;
        assert!(other.call(18, 2, &[]).await.is_some(), "{what}");
    }
}
