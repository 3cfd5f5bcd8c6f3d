//! Requests changed at random, with structure kept: lengths and counts at the edges of their range, runs cut out and
//! put in twice. Whatever a client sends, it is read or refused; nothing panics outside of [`guarded`], and no
//! length is believed.
//!
//! `PROPTEST_CASES=1000000` makes it a campaign.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;

use super::admin::{self, key};
use super::schema::Encoder;
use super::schema::metadata::topic::TopicSpec;
use super::schema::sc::TryEncodableFrom;
use super::schema::sc::objects::{
    CommonCreateRequest, CreateRequest, DeleteRequest, ListRequest, ObjectApiCreateRequest,
    ObjectApiDeleteRequest, ObjectApiListRequest, ObjectApiWatchRequest, WatchRequest,
};
use super::*;
use crate::usage::Usage;

const ADMIN_VERSION: i16 = 19;

#[derive(Debug, Clone)]
enum Change {
    Byte(Index, u8),
    Short(Index, i16),
    Word(Index, i32),
    Remove(Index, usize),
    Repeat(Index, usize),
    End(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let edge = || prop_oneof![Just(0), Just(-1), Just(i32::MAX), Just(i32::MIN), -3..300_i32, any::<i32>()];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (any::<Index>(), edge()).prop_map(|(at, word)| Change::Short(at, word as i16)),
        (any::<Index>(), edge()).prop_map(|(at, word)| Change::Word(at, word)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, bytes)| Change::Remove(at, bytes)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, bytes)| Change::Repeat(at, bytes)),
        any::<Index>().prop_map(Change::End),
    ]
}

fn apply(bytes: &mut Vec<u8>, changes: &[Change]) {
    for change in changes {
        let len = bytes.len();
        if len == 0 {
            return;
        }
        let run = |at: &Index, run: usize| at.index(len)..(at.index(len) + run).min(len);
        let mut put = |at: &Index, new: &[u8]| {
            let run = run(at, new.len());
            let kept = run.len();
            bytes[run].copy_from_slice(&new[..kept]);
        };
        match change {
            Change::Byte(at, byte) => put(at, &[*byte]),
            Change::Short(at, short) => put(at, &short.to_be_bytes()),
            Change::Word(at, word) => put(at, &word.to_be_bytes()),
            Change::Remove(at, bytes_gone) => drop(bytes.drain(run(at, *bytes_gone))),
            Change::Repeat(at, again) => {
                let again = bytes[run(at, *again)].to_vec();
                bytes.splice(at.index(len)..at.index(len), again);
            }
            Change::End(at) => bytes.truncate(at.index(len)),
        }
    }
}

fn frame(key: u16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = [key.to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend(7_i32.to_be_bytes());
    frame.extend(b"\0\x06client");
    frame.extend(body);
    frame
}

fn encoded(message: &impl Encoder, version: i16) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes, version).unwrap();
    bytes
}

/// One honest request of each kind.
fn requests() -> Vec<(Server, Vec<u8>)> {
    let common = CommonCreateRequest { name: "numbers".into(), ..Default::default() };
    let create = CreateRequest::new(common, TopicSpec::new_computed(3, 1, Some(true)));
    let create = ObjectApiCreateRequest::try_encode_from(create, ADMIN_VERSION).unwrap();
    let delete: DeleteRequest<TopicSpec> = DeleteRequest::with("numbers".to_owned(), true);
    let delete = ObjectApiDeleteRequest::try_encode_from(delete, ADMIN_VERSION).unwrap();
    let list = ListRequest::<TopicSpec>::new("numbers", false);
    let list = ObjectApiListRequest::try_encode_from(list, ADMIN_VERSION).unwrap();
    let watch = WatchRequest::<TopicSpec>::default();
    let watch = ObjectApiWatchRequest::try_encode_from(watch, ADMIN_VERSION).unwrap();
    let batch = record_batch(&[(Bytes::new(), Bytes::from_static(b"value"))], 1).unwrap();
    let mut produce = b"\0\0\x01\0\0\x05\xdc\0\0\0\x01\0\x07numbers\0\0\0\x01\0\0\0\0".to_vec();
    produce.extend(u32::try_from(batch.len()).unwrap().to_be_bytes());
    produce.extend(&batch);
    produce.extend([0; 4]);
    let fetch = b"\0\x07numbers\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\x10\0\x01\0\0\0\0\x01\0\x02me";
    let sc = [
        frame(key::CREATE, ADMIN_VERSION, &encoded(&create, ADMIN_VERSION)),
        frame(key::DELETE, ADMIN_VERSION, &encoded(&delete, ADMIN_VERSION)),
        frame(key::LIST, ADMIN_VERSION, &encoded(&list, ADMIN_VERSION)),
        frame(key::WATCH, ADMIN_VERSION, &encoded(&watch, ADMIN_VERSION)),
    ];
    let spu = [
        frame(0, 25, &produce),
        frame(1002, 25, b"\0\0\0\x01\0\x07numbers\0\0\0\x01\0\0\0\0\0"),
        frame(1003, 25, fetch),
        frame(1005, 25, b"\0\0\0\x01\0\0\0\0\0\0\0\x07\0\0\0\x01"),
        frame(1006, 25, b"\0\0\0\0\0\0\0\x07\0\0\0\x01"),
        frame(1007, 25, b"\0\x07numbers\0\0\0\0\0\x02me"),
        frame(1008, 25, b"\x01\x01\0\x07numbers\0\0\0\0\x01\0\x02me"),
    ];
    let of = |server: Server| move |frame| (server, frame);
    sc.into_iter().map(of(Server::Sc)).chain(spu.into_iter().map(of(Server::Spu))).collect()
}

/// Reads a request as the SC or the SPU does; what was read of it, for a person.
fn understood(usage: &Usage, server: Server, request: Request) -> Result<String, Malformed> {
    let (header, body) = (request.header, request.body);
    use Server::{Sc, Spu};
    Ok(match (server, header.key) {
        (Sc, key::CREATE) => format!("{:?}", admin::create(usage, &header, body, true)?),
        (Sc, key::DELETE) => format!("{:?}", admin::delete(usage, &header, body)?),
        (Sc, key::LIST) => format!("{:?}", admin::list(usage, &header, body)?),
        (Sc, key::WATCH) => format!("{:?}", admin::watch(&header, body)?),
        (Spu, 0) => format!("{:?}", ProduceRequest::parse(body)?),
        (Spu, 1002) => format!("{:?}", FetchOffsets::parse(body)?),
        (Spu, 1003) => format!("{:?}", StreamFetch::parse(body)?),
        (Spu, 1005) => format!("{:?}", update_offsets(body)?),
        (Spu, 1006) => format!("{:?}", UpdateConsumerOffset::parse(body)?),
        (Spu, 1007) => format!("{:?}", DeleteConsumerOffset::parse(body)?),
        (Spu, 1008) => format!("{:?}", FetchConsumerOffsets::parse(body, header.version)?),
        _ => String::new(),
    })
}

#[test]
fn the_requests_that_are_changed_are_honest_ones() {
    for (server, request) in requests() {
        let request = Request::parse(request.into()).unwrap();
        let key = request.header.key;
        let understood = understood(&Usage::default(), server, request).unwrap();
        assert!(
            key == 1005 || key == 1006 || understood.contains("umbers") || key == key::WATCH,
            "{understood}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_a_request_does_more_than_have_it_refused(
        which in 0..11_usize,
        changes in proptest::collection::vec(change(), 1..5),
    ) {
        let (server, mut bytes) = requests()[which].clone();
        apply(&mut bytes, &changes);
        let sent = bytes.len();
        if let Ok(request) = Request::parse(bytes.into()) {
            prop_assert!(request.body.len() <= sent);
            if let Ok(read) = understood(&Usage::default(), server, request) {
                // What was read is not larger than what was sent, but for the names of fields.
                prop_assert!(read.len() < 4_096 + 64 * sent, "{} bytes of {sent}: {read}", read.len());
            }
        }
    }
}
