use fluvio::Compression;

use super::super::batch::Packer;
use super::*;

fn batch(partition: u32, name: &str) -> Packed {
    let mut packer = Packer::new(partition, Compression::None, 1_000);
    packer.push(None, name.as_bytes(), 0);
    packer.take().unwrap()
}

fn name(batch: &Packed) -> String {
    let records = batch.batch.memory_records().unwrap();
    records[0].value.as_str().unwrap().to_owned()
}

fn window(batches: &[(u32, &str)]) -> Window {
    let mut window = Window::default();
    for (partition, name) in batches {
        window.push(batch(*partition, name));
    }
    window
}

/// Takes batches for a request whose size allows exactly `count` of them.
fn take(window: &mut Window, partitions: &[u32], count: usize) -> (Vec<String>, Carried) {
    let (taken, carried, _) = window.take(partitions, batch(0, "a").size() * count);
    (taken.iter().map(name).collect(), carried)
}

#[test]
fn the_acknowledged_prefix_leaves_and_the_rest_stays_in_order() {
    let mut window = window(&[(0, "a"), (0, "b"), (0, "c"), (0, "d")]);
    assert_eq!(take(&mut window, &[0], 2).0, ["a", "b"]);
    assert_eq!(take(&mut window, &[0], 1).0, ["c"]);
    assert_eq!(window.acknowledge(0, 2).records, 2);
    assert_eq!(window.records(), 2);
    assert_eq!(take(&mut window, &[0], 9).0, ["d"]);
    window.acknowledge(0, 2);
    assert!(window.is_empty());
    assert_eq!(window.waiting().count(), 0);
}

#[test]
fn after_an_error_exactly_what_was_not_acknowledged_is_sent_again_in_order() {
    // (how many of four batches are sent, how many of them are acknowledged before the error, what is sent next)
    let cases: [(usize, usize, &[&str]); 6] = [
        (0, 0, &["a", "b", "c", "d"]),
        (1, 0, &["a", "b", "c", "d"]),
        (4, 0, &["a", "b", "c", "d"]),
        (4, 1, &["b", "c", "d"]),
        (3, 3, &["d"]),
        (4, 4, &[]),
    ];
    for (sent, acknowledged, next) in cases {
        let mut window = window(&[(0, "a"), (0, "b"), (0, "c"), (0, "d")]);
        for _ in 0..sent {
            take(&mut window, &[0], 1);
        }
        window.acknowledge(0, acknowledged);
        window.rewind(0);
        assert_eq!(take(&mut window, &[0], 9).0, next, "{sent} sent, {acknowledged} acknowledged");
    }
}

#[test]
fn what_came_in_after_the_error_waits_behind_what_is_sent_again() {
    let mut window = window(&[(0, "a"), (0, "b")]);
    take(&mut window, &[0], 9);
    window.rewind(0);
    window.push(batch(0, "c"));
    let (_, _, again) = window.take(&[0], usize::MAX);
    assert_eq!(again, 2, "only what was sent before counts as sent again");
    window.rewind(0);
    assert_eq!(take(&mut window, &[0], 9).0, ["a", "b", "c"]);
}

#[test]
fn an_error_in_one_partition_leaves_the_others_in_flight() {
    let mut window = window(&[(0, "a"), (1, "x"), (0, "b"), (1, "y")]);
    let (names, carried) = take(&mut window, &[0, 1], 9);
    assert_eq!(
        (names, carried),
        (vec!["a".into(), "b".into(), "x".into(), "y".into()], vec![(0, 2), (1, 2)])
    );
    window.rewind(1);
    assert_eq!(window.waiting().collect::<Vec<_>>(), [1]);
    assert_eq!(window.acknowledge(0, 2).records, 2);
    assert_eq!(take(&mut window, &[0, 1], 9).0, ["x", "y"]);
}

#[test]
fn a_request_holds_what_fits_and_always_at_least_one_batch() {
    let mut window = window(&[(0, "a"), (0, "b"), (1, "x")]);
    assert_eq!(window.take(&[0, 1], 1).1, [(0, 1)]);
    assert_eq!(take(&mut window, &[0, 1], 2).1, [(0, 1), (1, 1)]);
    assert_eq!(take(&mut window, &[0, 1], 2).1, []);
}

#[test]
fn bytes_come_and_go_with_the_batches_and_rewinding_changes_none() {
    let mut window = window(&[(0, "a"), (0, "b")]);
    let size = batch(0, "a").size();
    assert_eq!(window.bytes(), 2 * size);
    take(&mut window, &[0], 9);
    window.rewind(0);
    assert_eq!(window.bytes(), 2 * size);
    take(&mut window, &[0], 9);
    assert_eq!(window.acknowledge(0, 1), Acknowledged { records: 1, bytes: 1, last: 1 });
    assert_eq!(window.bytes(), size);
}

#[test]
fn an_answer_for_more_than_was_sent_takes_no_more_than_was_sent() {
    let mut window = window(&[(0, "a"), (0, "b")]);
    take(&mut window, &[0], 1);
    assert_eq!(window.acknowledge(0, 5).records, 1);
    assert_eq!(window.acknowledge(7, 1), Acknowledged::default());
    assert_eq!(window.records(), 1);
}

/// Every order of sending, acknowledging and failing that a seed gives: what is stored is the input, each batch at
/// least once, and each first copy after all first copies before it.
#[test]
fn whatever_happens_the_log_holds_the_input_in_order() {
    for seed in 0..300_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let names: Vec<String> = (0..20).map(|index| format!("{index:02}")).collect();
        let (mut window, mut log, mut pushed) = (Window::default(), Vec::new(), 0);
        let mut requests: VecDeque<Vec<String>> = VecDeque::new();
        while pushed < names.len() || !window.is_empty() {
            match next(4) {
                0 if pushed < names.len() => {
                    window.push(batch(0, &names[pushed]));
                    pushed += 1;
                }
                1 => {
                    let (taken, _, _) = window.take(&[0], batch(0, "00").size() * 2);
                    if !taken.is_empty() {
                        requests.push_back(taken.iter().map(name).collect());
                    }
                }
                2 => {
                    if let Some(request) = requests.pop_front() {
                        window.acknowledge(0, request.len());
                        log.extend(request);
                    }
                }
                _ => {
                    // The connection dies: the server may have stored any prefix of what was on its way.
                    let on_the_way: Vec<String> = requests.drain(..).flatten().collect();
                    let stored = next(on_the_way.len() as u64 + 1) as usize;
                    log.extend_from_slice(&on_the_way[..stored]);
                    window.rewind(0);
                }
            }
        }
        let mut firsts = Vec::new();
        for stored in &log {
            if !firsts.contains(stored) {
                firsts.push(stored.clone());
            }
        }
        assert_eq!(firsts, names, "seed {seed}: {log:?}");
    }
}
