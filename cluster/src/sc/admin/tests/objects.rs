//! Objects that are not topics: stored, listed, watched and there again after a restart.

use std::sync::Arc;
use std::time::Duration;

use super::fixture::{
    Process, Spu, VERSION, World, ask_list, create, create_labelled, delete_object, list, listed, news,
    watch, watch_all,
};
use super::topics::whole;
use crate::connection::tests::fixture::{Client, until};
use crate::wire::ErrorCode;
use crate::wire::schema::metadata::message::MsgType;
use crate::wire::schema::metadata::smartmodule::{
    FluvioSemVersion, SmartModuleMetadata, SmartModulePackage, SmartModuleSpec, SmartModuleWasm,
};
use crate::wire::schema::metadata::spg::{SpuGroupSpec, SpuGroupStatusResolution};
use crate::wire::schema::metadata::spu::{
    CustomSpuKey, CustomSpuSpec, SpuSpec, SpuStatusResolution, SpuType,
};
use crate::wire::schema::metadata::tableformat::{DataFormat, TableFormatColumnConfig, TableFormatSpec};
use crate::wire::schema::metadata::topic::TopicSpec;
use crate::wire::schema::sc::AdminSpec;
use crate::wire::schema::sc::objects::{ListFilter, ListRequest, ListResponse, WatchRequest};
use crate::wire::schema::{Decoder, Encoder};

fn format(column: &str) -> TableFormatSpec {
    TableFormatSpec {
        name: "orders".into(),
        input_format: Some(DataFormat::JSON),
        columns: Some(vec![TableFormatColumnConfig::new(column.into()).with_primary_key(Some(true))]),
        smartmodule: Some("m".into()),
    }
}

fn code(text: &str) -> SmartModuleWasm {
    SmartModuleWasm::from_raw_wasm_bytes(text.as_bytes()).unwrap()
}

fn plain(text: &str) -> SmartModuleSpec {
    SmartModuleSpec { meta: None, summary: None, wasm: code(text) }
}

fn packaged(version: &str) -> SmartModuleSpec {
    let package = SmartModulePackage {
        name: "map".into(),
        group: "infinyon".into(),
        version: FluvioSemVersion::parse(version).unwrap(),
        description: Some("maps".into()),
        ..Default::default()
    };
    let mut meta = SmartModuleMetadata { package, ..Default::default() };
    meta.params.insert_param("factor".into(), Default::default());
    SmartModuleSpec { meta: Some(meta), summary: None, wasm: code(version) }
}

fn spu(id: i32) -> CustomSpuSpec {
    CustomSpuSpec { id, rack: Some("attic".into()), ..Default::default() }
}

async fn names<S>(client: &mut Client, filter: &str) -> Vec<String>
where
    S: AdminSpec,
    S::Status: Encoder + Decoder + std::fmt::Debug,
    ListRequest<S>: Encoder + Decoder + std::fmt::Debug,
    ListResponse<S>: Decoder + std::fmt::Debug,
{
    list::<S>(client, filter, false, VERSION).await.into_iter().map(|object| object.name).collect()
}

fn code_files(world: &World) -> usize {
    std::fs::read_dir(world.sc_dir().join("modules")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_table_format_is_stored_listed_and_deleted() {
    let world = World::new(1);
    let (process, _spu) = open(&world).await;
    let mut client = world.admin(&process).await;
    assert_eq!(create(&mut client, "orders", format("a")).await.0, ErrorCode::None);
    assert_eq!(create(&mut client, "orders", format("b")).await.0, ErrorCode::TableFormatAlreadyExists);
    assert_eq!(create(&mut client, "people", format("b")).await.0, ErrorCode::None);
    assert!(matches!(create(&mut client, "a/b", format("b")).await.0, ErrorCode::Other(_)));
    assert_eq!(names::<TableFormatSpec>(&mut client, "").await, ["orders", "people"]);
    for version in 15..=19 {
        let found = list::<TableFormatSpec>(&mut client, "der", false, version).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].spec, format("a"));
    }
    let gone = delete_object::<TableFormatSpec>(&mut client, "orders".to_owned()).await;
    assert_eq!(gone, ErrorCode::None);
    let again = delete_object::<TableFormatSpec>(&mut client, "orders".to_owned()).await;
    assert_eq!(again, ErrorCode::TableFormatNotFound);
    assert_eq!(names::<TableFormatSpec>(&mut client, "").await, ["people"]);
}

#[tokio::test]
async fn a_smart_module_is_found_by_its_package_and_replaced_by_its_next_upload() {
    let world = World::new(1);
    let (process, _spu) = open(&world).await;
    let mut client = world.admin(&process).await;
    for spec in [plain("one"), plain("two")] {
        assert_eq!(create(&mut client, "plain", spec).await.0, ErrorCode::None);
    }
    for version in ["0.1.0", "0.2.0"] {
        assert_eq!(create(&mut client, "whatever", packaged(version)).await.0, ErrorCode::None);
    }
    let both = ["map-infinyon-0.1.0", "map-infinyon-0.2.0"];
    for (filter, expected) in [
        ("plain", &["plain"][..]),
        ("pla", &[]),
        ("map", &both),
        ("infinyon/map", &both),
        ("infinyon/map@0.2.0", &both[1..]),
        ("infinyon/map@0.3.0", &[]),
        ("infinyon/map@x", &[]),
        ("other/map", &[]),
    ] {
        assert_eq!(names::<SmartModuleSpec>(&mut client, filter).await, expected, "{filter}");
    }
    for version in 15..=19 {
        let mut found = list::<SmartModuleSpec>(&mut client, "plain", false, version).await;
        assert_eq!(found.remove(0).spec, plain("two"));
        let mut found = list::<SmartModuleSpec>(&mut client, "infinyon/map@0.2.0", false, version).await;
        assert_eq!(found.remove(0).spec, packaged("0.2.0"));
        let mut short =
            listed(&mut client, ListRequest::<SmartModuleSpec>::new("infinyon/map@0.2.0", true), version)
                .await;
        let short = short.remove(0).spec;
        assert_eq!(short.meta, packaged("0.2.0").meta);
        assert_eq!(short.summary.unwrap().wasm_length as usize, code("0.2.0").payload.len());
        assert!(short.wasm.payload.is_empty());
    }
    for name in ["infinyon/map@0.1.0", "map-infinyon-0.2.0", "plain"] {
        let gone = delete_object::<SmartModuleSpec>(&mut client, name.to_owned()).await;
        assert_eq!(gone, ErrorCode::None, "{name}");
    }
    let again = delete_object::<SmartModuleSpec>(&mut client, "plain".to_owned()).await;
    assert_eq!(again, ErrorCode::SmartModuleNotFound { name: "plain".into() });
    until("no code is left", || code_files(&world) == 0).await;
}

#[tokio::test]
async fn what_is_no_smart_module_is_refused_and_leaves_nothing_behind() {
    let world = World::new(1);
    let (process, _spu) = open(&world).await;
    let mut client = world.admin(&process).await;
    let raw = SmartModuleWasm::from_compressed_gzip(b"\0asm".to_vec());
    let large = [&[0x1f, 0x8b][..], &vec![0; 8 << 20]].concat();
    let large = SmartModuleWasm::from_compressed_gzip(large);
    let with = |wasm| SmartModuleSpec { wasm, ..Default::default() };
    let (code, _) = create(&mut client, "raw", with(raw)).await;
    assert!(matches!(code, ErrorCode::SmartModuleInvalid { .. }), "{code:?}");
    let (code, said) = create(&mut client, "large", with(large)).await;
    assert!(matches!(code, ErrorCode::Other(_)) && said.contains("at most 8 MiB"), "{code:?} {said}");
    assert!(names::<SmartModuleSpec>(&mut client, "").await.is_empty());
    assert_eq!(code_files(&world), 0);
}

#[tokio::test]
async fn a_custom_spu_is_listed_as_away_and_gets_nothing() {
    let world = World::new(1);
    let (process, _spu) = open(&world).await;
    let mut client = world.admin(&process).await;
    assert_eq!(create(&mut client, "custom-spu-6001", spu(6001)).await.0, ErrorCode::None);
    for (name, id) in [("custom-spu-6001", 1), ("other", 6001), ("main-0", 1), ("other", 5001)] {
        assert_eq!(create(&mut client, name, spu(id)).await.0, ErrorCode::SpuAlreadyExists, "{name} {id}");
    }
    assert_eq!(create(&mut client, "two", spu(6002)).await.0, ErrorCode::None);
    let custom = list::<CustomSpuSpec>(&mut client, "custom", false, VERSION).await;
    assert_eq!((custom.len(), custom[0].spec.clone()), (1, spu(6001)));
    let spus = list::<SpuSpec>(&mut client, "", false, VERSION).await;
    let shown: Vec<_> = spus
        .iter()
        .map(|spu| (spu.spec.id, spu.spec.spu_type.clone(), spu.status.resolution.clone()))
        .collect();
    let (online, offline) = (SpuStatusResolution::Online, SpuStatusResolution::Offline);
    assert_eq!(shown.len(), 3);
    assert!(shown.contains(&(5001, SpuType::Managed, online)));
    assert!(shown.contains(&(6001, SpuType::Custom, offline.clone())));
    assert!(shown.contains(&(6002, SpuType::Custom, offline)));
    let many = TopicSpec::new_computed(5, 1, None);
    assert_eq!(create(&mut client, "many", many).await.0, ErrorCode::None);
    let state = process.sc.state().borrow().clone();
    assert!(state.partitions.values().all(|partition| partition.replicas == [5001]));
    assert_eq!(state.spus.len(), 1, "nothing else counts it");
    for (key, expected) in [
        (CustomSpuKey::Id(6001), ErrorCode::None),
        (CustomSpuKey::Name("two".into()), ErrorCode::None),
        (CustomSpuKey::Id(6001), ErrorCode::SpuNotFound),
        (CustomSpuKey::Name("main-0".into()), ErrorCode::SpuError),
        (CustomSpuKey::Id(5001), ErrorCode::SpuError),
    ] {
        assert_eq!(delete_object::<CustomSpuSpec>(&mut client, key).await, expected);
    }
    assert_eq!(names::<SpuSpec>(&mut client, "").await, ["main-0"]);
}

#[tokio::test]
async fn the_clusters_own_spus_are_its_one_group() {
    let world = World::new(3);
    let process = world.start().await;
    let mut client = world.admin(&process).await;
    for (filter, n) in [("", 1), ("ai", 1), ("other", 0)] {
        assert_eq!(list::<SpuGroupSpec>(&mut client, filter, false, VERSION).await.len(), n);
    }
    let group = list::<SpuGroupSpec>(&mut client, "", false, VERSION).await.remove(0);
    assert_eq!((group.name.as_str(), group.spec.replicas, group.spec.min_id), ("main", 3, 5001));
    assert_eq!(group.status.resolution, SpuGroupStatusResolution::Reserved);
    let more = SpuGroupSpec { replicas: 1, min_id: 7000, ..Default::default() };
    for name in ["main", "more"] {
        let (code, said) = create(&mut client, name, more.clone()).await;
        assert!(matches!(code, ErrorCode::Other(_)) && said.contains("in the portal"), "{said}");
    }
    let code = delete_object::<SpuGroupSpec>(&mut client, "main".to_owned()).await;
    assert!(matches!(&code, ErrorCode::Other(said) if said.contains("one group, 'main'")), "{code:?}");
}

#[tokio::test]
async fn a_watch_tells_what_changed_and_nothing_else() {
    let world = World::new(1);
    let (process, _spu) = open(&world).await;
    let mut admin = world.admin(&process).await;
    let (mut formats, mut modules) = (world.user(&process).await, world.user(&process).await);
    let (mut short, mut spus) = (world.user(&process).await, world.user(&process).await);
    assert_eq!(create(&mut admin, "there", plain("there")).await.0, ErrorCode::None);
    watch_all::<TableFormatSpec>(&mut formats).await;
    watch_all::<SmartModuleSpec>(&mut modules).await;
    watch(&mut short, WatchRequest::<SmartModuleSpec>::summary()).await;
    watch_all::<SpuSpec>(&mut spus).await;
    assert_eq!(news::<TableFormatSpec>(&mut formats).await.changes[0].header, MsgType::DELETE);
    assert_eq!(news::<SmartModuleSpec>(&mut modules).await.all[0].spec, plain("there"));
    assert!(news::<SmartModuleSpec>(&mut short).await.all[0].spec.summary.is_some());
    let mut epoch = news::<SpuSpec>(&mut spus).await.epoch;

    assert_eq!(create(&mut admin, "orders", format("a")).await.0, ErrorCode::None);
    let told = news::<TableFormatSpec>(&mut formats).await;
    assert_eq!((told.all.len(), told.changes.len()), (0, 1));
    assert_eq!((&told.changes[0].header, &told.changes[0].content.spec), (&MsgType::UPDATE, &format("a")));
    assert_eq!(create(&mut admin, "new", plain("new")).await.0, ErrorCode::None);
    let told = news::<SmartModuleSpec>(&mut modules).await;
    assert_eq!((told.all.len(), told.changes.len()), (0, 1), "only the one that changed");
    assert_eq!(
        (told.changes[0].content.name.as_str(), &told.changes[0].content.spec),
        ("new", &plain("new"))
    );
    assert_eq!(create(&mut admin, "six", spu(6)).await.0, ErrorCode::None);
    let told = news::<SpuSpec>(&mut spus).await;
    assert_eq!((told.changes.len(), told.changes[0].content.spec.id), (1, 6));
    assert!(told.epoch > std::mem::replace(&mut epoch, told.epoch));

    delete_object::<TableFormatSpec>(&mut admin, "orders".to_owned()).await;
    let told = news::<TableFormatSpec>(&mut formats).await.changes.remove(0);
    assert_eq!((told.header, told.content.name.as_str()), (MsgType::DELETE, "orders"));
    delete_object::<SmartModuleSpec>(&mut admin, "there".to_owned()).await;
    let told = news::<SmartModuleSpec>(&mut modules).await.changes.remove(0);
    assert_eq!((told.header, told.content.name.as_str()), (MsgType::DELETE, "there"));
    delete_object::<CustomSpuSpec>(&mut admin, CustomSpuKey::Id(6)).await;
    let told = news::<SpuSpec>(&mut spus).await;
    assert_eq!((told.changes.len(), &told.changes[0].header), (1, &MsgType::DELETE));
    assert!(told.epoch > epoch);
}

#[tokio::test]
async fn only_an_admin_stores_and_deletes() {
    let world = World::new(1);
    let (process, _spu) = open(&world).await;
    let mut admin = world.admin(&process).await;
    assert_eq!(create(&mut admin, "orders", format("a")).await.0, ErrorCode::None);
    let mut user = world.user(&process).await;
    let denied = ErrorCode::PermissionDenied;
    assert_eq!(create(&mut user, "x", format("a")).await.0, denied);
    assert_eq!(create(&mut user, "x", plain("x")).await.0, denied);
    assert_eq!(create(&mut user, "x", spu(6)).await.0, denied);
    assert_eq!(create(&mut user, "x", SpuGroupSpec::default()).await.0, denied);
    assert_eq!(create_labelled(&mut user, "Mirror").await.0, denied);
    assert_eq!(delete_object::<TableFormatSpec>(&mut user, "orders".to_owned()).await, denied);
    assert_eq!(delete_object::<SmartModuleSpec>(&mut user, "x".to_owned()).await, denied);
    assert_eq!(delete_object::<CustomSpuSpec>(&mut user, CustomSpuKey::Id(6)).await, denied);
    assert_eq!(delete_object::<SpuGroupSpec>(&mut user, "main".to_owned()).await, denied);
    assert_eq!(names::<TableFormatSpec>(&mut user, "").await, ["orders"]);
    assert_eq!(code_files(&world), 0);
}

#[tokio::test]
async fn a_request_of_more_than_1_mib_is_refused_unless_it_uploads_a_smart_module() {
    let world = World::new(1);
    let (process, _spu) = open(&world).await;
    let long = "x".repeat(20_000);
    let names: Vec<_> = (0..60).map(|_| ListFilter::from(long.clone())).collect();
    let many_names = ListRequest::<TopicSpec>::new(names, false);
    assert!(ask_list(&mut world.user(&process).await, many_names).await.is_none(), "closed");
    let raw = SmartModuleWasm::from_compressed_gzip(vec![0; 2 << 20]);
    let large = SmartModuleSpec { wasm: raw, ..Default::default() };
    let mut user = world.user(&process).await;
    assert_eq!(create(&mut user, "x", large.clone()).await.0, ErrorCode::PermissionDenied);
    let (code, _) = create(&mut world.admin(&process).await, "x", large).await;
    assert!(matches!(code, ErrorCode::SmartModuleInvalid { .. }), "{code:?}");
}

#[tokio::test]
async fn a_list_is_asked_for_by_1000_names_at_most() {
    let world = World::new(1);
    let (process, _spu) = open(&world).await;
    let mut client = world.admin(&process).await;
    assert_eq!(create(&mut client, "plain", plain("one")).await.0, ErrorCode::None);
    let names =
        |n| (0..n).map(|i| ListFilter::from(format!("m{i}"))).chain([ListFilter::from("plain".to_owned())]);
    let asked = |n| ListRequest::<SmartModuleSpec>::new(names(n).collect::<Vec<_>>(), true);
    assert_eq!(listed(&mut client, asked(999), VERSION).await.len(), 1);
    assert!(ask_list(&mut client, asked(1000)).await.is_none(), "closed");
}

#[tokio::test]
async fn without_room_for_code_only_its_length_is_shown_and_the_connection_lives_on() {
    let world = World::new(1);
    let (process, _spu) = open(&world).await;
    assert_eq!(create(&mut world.admin(&process).await, "plain", plain("one")).await.0, ErrorCode::None);
    let mut room = None;
    let running = world.serve(&process.sc, |service| {
        service.modules.turn_within = Duration::ZERO;
        room = Some(Arc::clone(&service.modules.room));
    });
    let running = running.await;
    let mut client = Client::admitted(&running, &world.cluster, world.cluster.user).await;
    let taken = room.unwrap().acquire_many_owned(64 << 10).await.unwrap();
    let short = list::<SmartModuleSpec>(&mut client, "", false, VERSION).await.remove(0).spec;
    assert!(short.summary.is_some() && short.wasm.payload.is_empty());
    watch_all::<SmartModuleSpec>(&mut client).await;
    assert!(news::<SmartModuleSpec>(&mut client).await.all[0].spec.summary.is_some());
    drop(taken);
    assert_eq!(list::<SmartModuleSpec>(&mut client, "", false, VERSION).await[0].spec, plain("one"));
}

#[tokio::test]
async fn who_does_not_take_code_in_time_is_cut_off() {
    let world = World::new(1);
    let (process, _spu) = open(&world).await;
    let mut bytes = vec![0; 8 << 20];
    bytes[..2].copy_from_slice(&[0x1f, 0x8b]);
    let large = SmartModuleSpec { wasm: SmartModuleWasm::from_compressed_gzip(bytes), ..Default::default() };
    for name in ["one", "two"] {
        assert_eq!(create(&mut world.admin(&process).await, name, large.clone()).await.0, ErrorCode::None);
    }
    // Nobody takes 16 MiB in no time.
    let running = world.serve(&process.sc, |service| service.modules.written_within = Duration::ZERO).await;
    let mut client = Client::admitted(&running, &world.cluster, world.cluster.user).await;
    assert_eq!(listed(&mut client, ListRequest::<SmartModuleSpec>::new("", true), VERSION).await.len(), 2);
    assert!(ask_list(&mut client, ListRequest::<SmartModuleSpec>::new("", false)).await.is_none(), "closed");
    let mut client = world.user(&process).await;
    assert_eq!(list::<SmartModuleSpec>(&mut client, "", false, VERSION).await[0].spec, large);
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart_and_lost_code_is_no_reason_not_to_start() {
    let world = World::new(1);
    {
        let (process, _spu) = open(&world).await;
        let mut client = world.admin(&process).await;
        assert_eq!(create(&mut client, "orders", format("a")).await.0, ErrorCode::None);
        assert_eq!(create(&mut client, "plain", plain("one")).await.0, ErrorCode::None);
        assert_eq!(create(&mut client, "six", spu(6)).await.0, ErrorCode::None);
    }
    {
        let process = world.start().await;
        let mut client = world.admin(&process).await;
        assert_eq!(list::<TableFormatSpec>(&mut client, "", false, VERSION).await[0].spec, format("a"));
        assert_eq!(list::<SmartModuleSpec>(&mut client, "", false, VERSION).await[0].spec, plain("one"));
        assert_eq!(list::<CustomSpuSpec>(&mut client, "", false, VERSION).await[0].spec, spu(6));
        assert_eq!(names::<SpuSpec>(&mut client, "").await, ["main-0", "six"]);
    }
    let file = std::fs::read_dir(world.sc_dir().join("modules")).unwrap().next().unwrap().unwrap();
    std::fs::write(file.path(), b"damaged").unwrap();
    let process = world.start().await;
    let mut client = world.admin(&process).await;
    let lost = list::<SmartModuleSpec>(&mut client, "", false, VERSION).await.remove(0);
    assert_eq!((lost.name.as_str(), lost.spec.wasm.payload.len()), ("plain", 0));
    assert_eq!(create(&mut client, "plain", plain("one")).await.0, ErrorCode::None);
    assert_eq!(list::<SmartModuleSpec>(&mut client, "", false, VERSION).await[0].spec, plain("one"));
}

/// An SC that takes changes, since its SPU has come.
async fn open(world: &World) -> (Process, Spu) {
    let process = world.start().await;
    let spu = world.spu(0).await;
    whole(&process.sc).await;
    (process, spu)
}
