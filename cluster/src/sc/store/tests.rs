use std::collections::BTreeMap;

use uuid::Uuid;

use super::*;
use crate::sc::decide::{World, ensure_consumer_offsets};
use crate::sc::objects::{CustomSpu, Encoded, Objects};

fn metadata() -> Metadata {
    let world = World { spus: vec![(5001, true)], partitions_limit: 10, ..World::default() };
    ensure_consumer_offsets(&Metadata::default(), &world, Uuid::new_v4()).unwrap()
}

#[tokio::test]
async fn what_was_saved_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("sc")).unwrap();
    assert_eq!(store.metadata().unwrap(), None);
    let saved = metadata();
    store.save_metadata(Arc::new(saved.clone())).await.unwrap();
    assert_eq!(Store::open(dir.path().join("sc")).unwrap().metadata().unwrap(), Some(saved));
}

#[tokio::test]
async fn a_write_cut_at_any_byte_leaves_the_old_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().to_owned()).unwrap();
    let old = metadata();
    store.save_metadata(Arc::new(old.clone())).await.unwrap();
    let place = dir.path().join("metadata");
    let whole = std::fs::read(&place).unwrap();
    for cut in 0..whole.len() {
        // As a crash before the rename leaves it: the new document's beginning lies beside the old one.
        std::fs::write(dir.path().join("metadata.new"), &whole[..cut]).unwrap();
        assert_eq!(store.metadata().unwrap(), Some(old.clone()), "{cut} bytes");
    }
    let new = Metadata { revision: old.revision + 1, ..old };
    store.save_metadata(Arc::new(new.clone())).await.unwrap();
    assert_eq!(store.metadata().unwrap(), Some(new));
}

#[tokio::test]
async fn damage_is_an_error_and_never_other_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().to_owned()).unwrap();
    store.save_metadata(Arc::new(metadata())).await.unwrap();
    let place = dir.path().join("metadata");
    let whole = std::fs::read(&place).unwrap();
    for cut in 0..whole.len() {
        std::fs::write(&place, &whole[..cut]).unwrap();
        assert!(store.metadata().is_err(), "cut at {cut}");
        let mut flipped = whole.clone();
        flipped[cut] ^= 1;
        std::fs::write(&place, flipped).unwrap();
        assert!(store.metadata().is_err(), "bit flipped in byte {cut}");
    }
}

#[tokio::test]
async fn only_metadata_with_stored_objects_is_kept_from_builds_that_know_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().to_owned()).unwrap();
    let place = dir.path().join("metadata");
    let version = || std::fs::read(&place).unwrap()[8..12].to_vec();
    store.save_metadata(Arc::new(Metadata::default())).await.unwrap();
    let plain = std::fs::read(&place).unwrap();
    assert_eq!(&plain[..20], b"FLVDOC\r\n\0\0\0\x01\0\0\0\0\0\0\0\x27");
    assert_eq!(&plain[24..], br#"{"revision":0,"topics":{},"retired":{}}"#);
    assert_eq!(store.metadata().unwrap(), Some(Metadata::default()));

    let spu = CustomSpu { id: 6001, spec: Encoded(vec![7].into()) };
    let custom_spus = Arc::new(BTreeMap::from([("six".to_owned(), Arc::new(spu))]));
    let objects = Objects { custom_spus, ..Objects::default() };
    let stored = Metadata { objects, ..Metadata::default() };
    store.save_metadata(Arc::new(stored.clone())).await.unwrap();
    assert_eq!(version(), [0, 0, 0, 2]);
    assert_eq!(store.metadata().unwrap(), Some(stored));
    store.save_metadata(Arc::new(Metadata::default())).await.unwrap();
    assert_eq!(std::fs::read(&place).unwrap(), plain);
}
