use std::io::{Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::thread;

use tokio::sync::mpsc;

use super::*;

type Cutting = Result<Vec<(u32, Option<String>, String)>, String>;

fn lines() -> Cut {
    Cut { whole: false, key_separator: None, key: None, largest: 1_000_000 }
}

fn packing(partitions: u32) -> Packing {
    Packing { compression: Compression::None, batch_size: 4_096, linger: Duration::ZERO, partitions }
}

fn records(batch: &Packed) -> Vec<(u32, Option<String>, String)> {
    let text = |data: &fluvio::dataplane::record::RecordData| data.as_utf8_lossy_string().into_owned();
    let records = batch.batch.memory_records().unwrap();
    records
        .iter()
        .map(|record| (batch.partition, record.key.as_ref().map(text), text(&record.value)))
        .collect()
}

fn cut(input: Input, cut: Cut, packing: Packing) -> Cutting {
    let (sender, mut receiver) = mpsc::channel(2);
    let partitioner = Partitioner::spread(packing.partitions, vec![]);
    let reading = thread::spawn(move || Source::new(input, cut, packing, partitioner, sender).run());
    let mut all = Vec::new();
    while let Some(batch) = receiver.blocking_recv() {
        all.extend(records(&batch));
    }
    match reading.join().unwrap() {
        Ok(()) => Ok(all),
        Err(failure) => Err(format!("{failure} after {} records", all.len())),
    }
}

fn file(text: &[u8]) -> Input {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    Input { file, may_wait: false, prompt: false }
}

fn values(cutting: Cutting) -> Vec<String> {
    cutting.unwrap().into_iter().map(|(_, _, value)| value).collect()
}

#[test]
fn lines_are_cut_as_everybody_cuts_them() {
    let cases: [(&[u8], &[&str]); 6] = [
        (b"", &[]),
        (b"one", &["one"]),
        (b"one\n", &["one"]),
        (b"one\r\ntwo\r", &["one", "two"]),
        (b"\n\nthree\n", &["", "", "three"]),
        (b"a\rb\n", &["a\rb"]),
    ];
    for (text, expected) in cases {
        assert_eq!(values(cut(file(text), lines(), packing(1))), expected);
    }
}

#[test]
fn lines_longer_than_one_read_and_batches_smaller_than_the_input_lose_nothing() {
    let expected: Vec<String> = (0..300).map(|index| format!("{index}-{}", "x".repeat(index * 37))).collect();
    let text = expected.join("\n") + "\n" + &"y".repeat(READ_BYTES * 2 + 7);
    let mut cutting = values(cut(file(text.as_bytes()), lines(), packing(1)));
    assert_eq!(cutting.pop().unwrap().len(), READ_BYTES * 2 + 7);
    assert_eq!(cutting, expected);
}

#[test]
fn keys_come_from_the_line_or_from_the_option() {
    let separated = Cut { key_separator: Some(b"::".to_vec()), ..lines() };
    let keyed = cut(file(b"k::v\n::empty\na::b::c\n"), separated, packing(1)).unwrap();
    let pairs: Vec<_> = keyed.into_iter().map(|(_, key, value)| (key.unwrap(), value)).collect();
    assert_eq!(pairs, [("k", "v"), ("", "empty"), ("a", "b::c")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    let fixed = cut(file(b"a\nb\n"), Cut { key: Some(b"all".to_vec()), ..lines() }, packing(1)).unwrap();
    assert!(fixed.iter().all(|(_, key, _)| key.as_deref() == Some("all")) && fixed.len() == 2);
}

#[test]
fn a_line_without_its_separator_stops_the_run_after_the_lines_before_it() {
    let separated = Cut { key_separator: Some(b":".to_vec()), ..lines() };
    let stopped = cut(file(b"a:1\nb:2\nnone\nc:3\n"), separated, packing(1));
    assert_eq!(stopped.unwrap_err(), "line 3 has no key separator `:` after 2 records");
}

#[test]
fn a_record_beyond_the_bound_stops_the_run_in_lines_and_whole() {
    for whole in [false, true] {
        let bound = Cut { whole, largest: 500, ..lines() };
        let stopped = cut(file(&[b'x'; 600]), bound, packing(1)).unwrap_err();
        assert_eq!(stopped, "record 1 is larger than 500 bytes after 0 records");
    }
}

#[test]
fn the_whole_input_can_be_one_record_newlines_and_all() {
    let whole = Cut { whole: true, ..lines() };
    assert_eq!(values(cut(file(b"a\r\nb\n"), whole, packing(1))), ["a\r\nb\n"]);
}

#[test]
fn records_without_keys_take_turns_over_the_partitions() {
    let cutting = cut(file(b"a\nb\nc\n"), lines(), packing(2)).unwrap();
    let of = |number| {
        cutting.iter().filter(|(p, _, _)| *p == number).map(|(_, _, v)| v.as_str()).collect::<Vec<_>>()
    };
    assert_eq!((of(0), of(1)), (vec!["a", "c"], vec!["b"]));
}

#[test]
fn a_silent_pipe_holds_nothing_back() {
    let (reader, writer) = io::pipe().unwrap();
    let input = Input { file: File::from(OwnedFd::from(reader)), may_wait: true, prompt: false };
    let mut writer = File::from(OwnedFd::from(writer));
    let (sender, mut receiver) = mpsc::channel(2);
    let source = Source::new(input, lines(), packing(1), Partitioner::One(0), sender);
    let reading = thread::spawn(move || source.run());
    for line in ["first", "second"] {
        writeln!(writer, "{line}").unwrap();
        // The pipe stays open and silent: the record has to come without more input.
        assert_eq!(records(&receiver.blocking_recv().unwrap())[0].2, line);
    }
    drop(writer);
    assert!(receiver.blocking_recv().is_none());
    assert!(reading.join().unwrap().is_ok());
}

#[test]
fn a_reader_that_nobody_listens_to_ends_quietly() {
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let input = file(&b"line\n".repeat(10_000));
    assert!(Source::new(input, lines(), packing(1), Partitioner::One(0), sender).run().is_ok());
}
