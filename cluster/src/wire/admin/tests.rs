use super::*;
use crate::wire::schema::Encoder;
use crate::wire::schema::metadata::topic::{
    Bounds, CleanupPolicy, CompressionAlgorithm, Deduplication, PartitionMap, PartitionMaps, ReplicaSpec,
    SegmentBasedPolicy, TopicStorageConfig,
};
use crate::wire::schema::sc::TryEncodableFrom;
use crate::wire::schema::sc::objects::ObjectApiCreateRequest;

const VERSION: i16 = 19;

fn header(version: i16) -> Header {
    Header { key: key::CREATE, version, correlation_id: 1 }
}

fn body(name: &str, spec: WireTopicSpec) -> Bytes {
    let common = CommonCreateRequest { name: name.into(), dry_run: false, timeout: Some(500) };
    let request = ObjectApiCreateRequest::try_encode_from(CreateRequest::new(common, spec), VERSION).unwrap();
    let mut bytes = Vec::new();
    request.encode(&mut bytes, VERSION).unwrap();
    bytes.into()
}

fn read(spec: WireTopicSpec) -> Result<TopicSpec, Refusal> {
    match create(&Usage::default(), &header(VERSION), body("t", spec), true).unwrap() {
        Create::Topic { name, spec, dry_run: false, timeout_ms: Some(500) } if name == "t" => spec,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_spec_is_the_same_after_the_way_in_and_out() {
    let mut full = WireTopicSpec::new_computed(3, 1, Some(true));
    full.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy { time_in_seconds: 60 }));
    full.set_storage(TopicStorageConfig { segment_size: Some(4096), max_partition_size: Some(8192) });
    full.set_compression_type(CompressionAlgorithm::Zstd);
    let by_hand: Vec<PartitionMap> =
        (0..2).map(|id| PartitionMap { id, replicas: vec![5001], mirror: None }).collect();
    for spec in [
        WireTopicSpec::new_computed(1, 1, None),
        full,
        WireTopicSpec::new_assigned(PartitionMaps::from(by_hand)),
    ] {
        assert_eq!(spec::to_wire(&read(spec.clone()).unwrap()), spec);
    }
}

#[test]
fn a_client_cannot_make_a_system_topic() {
    let mut spec = WireTopicSpec::new_computed(1, 1, None);
    spec.set_system(true);
    assert!(!read(spec).unwrap().options.system);
}

#[test]
fn specs_that_break_a_rule_are_refused_in_upstreams_words() {
    let storage = |segment_size, max_partition_size| {
        let mut spec = WireTopicSpec::new_computed(1, 1, None);
        spec.set_storage(TopicStorageConfig { segment_size, max_partition_size });
        spec
    };
    let mut short = WireTopicSpec::new_computed(1, 1, None);
    short.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy { time_in_seconds: 9 }));
    let gap = vec![PartitionMap { id: 1, replicas: vec![5001], mirror: None }];
    for (spec, expected) in [
        (WireTopicSpec::new_computed(0, 1, None), "partition must be greater than 0"),
        (WireTopicSpec::new_computed(1, 0, None), "replication factor must be greater than 0"),
        (short, "retention_secs 9 is less than minimum 10"),
        (storage(Some(1023), None), "segment_size 1023 is less than minimum 1024"),
        (storage(None, Some(2047)), "max_partition_size 2047 is less than minimum 2048"),
        (storage(Some(4096), Some(4095)), "max_partition_size 4095 is less than segment size 4096"),
        (WireTopicSpec::new_assigned(PartitionMaps::from(gap)), "assigned partitions must start with id 0"),
        (WireTopicSpec::new_assigned(PartitionMaps::default()), "no assigned partitions found"),
    ] {
        assert_eq!(read(spec), Err(Refusal::InvalidConfiguration(expected.into())));
    }
    let mut deduplicated = WireTopicSpec::new_computed(1, 1, None);
    let bounds = Bounds { count: 1, age: None };
    deduplicated.set_deduplication(Some(Deduplication { bounds, ..Default::default() }));
    assert_eq!(read(deduplicated), Err(Refusal::DeduplicationModule));
    let mirror = WireTopicSpec::from(ReplicaSpec::Mirror(Default::default()));
    assert!(matches!(read(mirror), Err(Refusal::Unsupported(_))));
}

#[test]
fn names_follow_upstreams_rules() {
    let long = "x".repeat(63);
    for (name, valid) in [
        ("t", true),
        ("a-0", true),
        (long.as_str(), true),
        ("", false),
        ("-a", false),
        ("a-", false),
        ("A", false),
        ("a.b", false),
        ("a/b", false),
        ("ä", false),
    ] {
        assert_eq!(checked_topic_name(name.into()).is_ok(), valid, "{name:?}");
    }
    assert!(checked_topic_name(format!("{long}x")).is_err());
}

#[test]
fn bytes_that_are_no_request_are_errors() {
    let usage = Usage::default();
    let whole = body("t", WireTopicSpec::new_computed(1, 1, None));
    for cut in 0..whole.len() {
        assert!(create(&usage, &header(VERSION), whole.slice(..cut), true).is_err(), "{cut} bytes");
    }
    assert!(create(&usage, &header(9), whole, true).is_err(), "the old form of objects");
    let huge = Bytes::from_static(b"\x00\x05Topic\xff\xff\xff\xff");
    assert!(create(&usage, &header(VERSION), huge.clone(), true).is_err());
    assert!(list(&usage, &header(VERSION), huge.clone()).is_err());
    assert!(watch(&header(VERSION), huge).is_err());
    assert_eq!(usage.decode_panics.get(), 0);
}

#[test]
fn types_are_known_by_their_labels() {
    for (label, expected) in [("SPU", Some(Kind::Spu)), ("Spu", None), ("", None), ("Topics", None)] {
        let mut bytes = u16::try_from(label.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(label.as_bytes());
        let content = [&0i64.to_be_bytes()[..], &[1]].concat();
        bytes.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        bytes.extend(content);
        let expected = Watch { kind: expected, summary: true };
        assert_eq!(watch(&header(VERSION), bytes.into()).unwrap(), expected, "{label:?}");
    }
}

#[test]
fn a_full_partition_is_shown_to_older_clients_as_one_that_can_be_read() {
    use crate::link::PartitionKey;
    use crate::sc::state::{Numbers, PartitionView, Resolution};
    use crate::sc::topic::TopicOptions;
    use crate::wire::schema::Decoder;
    use crate::wire::schema::metadata::partition::{PartitionResolution, PartitionSpec};
    use crate::wire::schema::sc::objects::{ListResponse, ObjectApiListResponse};

    let key = PartitionKey { topic: "t".into(), partition: 0 };
    let view = PartitionView {
        topic_id: uuid::Uuid::nil(),
        leader: 5001,
        replicas: vec![5001],
        options: TopicOptions::default(),
        resolution: Resolution::OutOfStorage,
        numbers: Numbers { base_offset: 3, high_watermark: 5, log_end: 7, size: 11, damaged: 0 },
        n_in_sync: 1,
        followers: Vec::new(),
    };
    for (version, expected) in [
        (15, PartitionResolution::Online),
        (18, PartitionResolution::Online),
        (19, PartitionResolution::OutOfStorage),
    ] {
        let frame = list_partitions(&header(version), &[(&key, &view)]).unwrap();
        let bytes: Vec<u8> = frame.parts().flat_map(|part| part.to_vec()).collect();
        let response = ObjectApiListResponse::decode_from(&mut &bytes[8..], version).unwrap();
        let response: ListResponse<PartitionSpec> = response.downcast().unwrap().unwrap();
        let partition = response.inner().remove(0);
        assert_eq!(partition.status.resolution, expected);
        assert_eq!(
            (partition.name.as_str(), partition.status.leader.leo, partition.status.size),
            ("t-0", 7, 11)
        );
        // This field came with version 16.
        assert_eq!(partition.status.base_offset, if version < 16 { 0 } else { 3 });
    }
}

#[test]
fn a_smart_module_is_called_by_its_name_and_as_much_of_the_rest_as_one_likes() {
    for (kept, asked, expected) in [
        ("upper", "upper", true),
        ("upper", "upp", false),
        ("upper", "acme/upper", false),
        ("acme/map@0.1.0", "map", true),
        ("acme/map@0.1.0", "acme/map", true),
        ("acme/map@0.1.0", "acme/map@0.1.0", true),
        ("acme/map@0.1.0", "acme/map@0.2.0", false),
        ("acme/map@0.1.0", "other/map", false),
        ("acme/map@0.1.0", "acme/map@x", false),
    ] {
        assert_eq!(is_called(kept, asked), expected, "{kept} as {asked}");
    }
}

#[test]
fn every_truncation_of_a_smart_module_is_refused_without_a_panic() {
    use crate::wire::schema::metadata::smartmodule::{SmartModuleMetadata, SmartModuleSpec, SmartModuleWasm};

    let mut meta = SmartModuleMetadata::default();
    meta.params.insert_param("factor".into(), Default::default());
    let wasm = SmartModuleWasm::from_compressed_gzip(vec![0x1f, 0x8b, 0, 0]);
    let spec = SmartModuleSpec { meta: Some(meta), summary: None, wasm };
    let common = CommonCreateRequest { name: "m".into(), dry_run: true, timeout: Some(500) };
    let usage = Usage::default();
    for version in [15, 18, VERSION] {
        let request = CreateRequest::new(common.clone(), spec.clone());
        let mut content = Vec::new();
        request.encode(&mut content, version).unwrap();
        let labelled = |content: &[u8]| {
            let length = u32::try_from(content.len()).unwrap().to_be_bytes();
            Bytes::from([&b"\x00\x0bSmartModule"[..], &length, content].concat())
        };
        for cut in 0..content.len() {
            assert!(
                create(&usage, &header(version), labelled(&content[..cut]), true).is_err(),
                "{cut} bytes"
            );
        }
        let Create::Object(whole) = create(&usage, &header(version), labelled(&content), true).unwrap()
        else {
            panic!("no object")
        };
        assert_eq!((whole.name.as_str(), whole.dry_run), ("--0.1.0", true));
        assert!(
            matches!(whole.object, Ok(NewObject::SmartModule { meta: Some(_), wasm }) if wasm.len() == 4)
        );
    }
    assert_eq!(usage.decode_panics.get(), 0);
}
