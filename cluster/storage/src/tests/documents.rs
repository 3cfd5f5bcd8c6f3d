//! Small documents survive whatever happens to them, or say that they did not.

use std::io::ErrorKind;
use std::path::Path;

use crate::OpenError;
use crate::disk::simulated::{Fault, SimulatedDisk};
use crate::document::{load, load_json, save, save_json};

const PATH: &str = "/state.doc";

#[test]
fn a_document_is_the_old_or_the_new_one_whatever_fails() {
    let path = Path::new(PATH);
    for at in 1..=6 {
        for seed in 0..10 {
            let disk = SimulatedDisk::new(seed);
            assert!(load(&disk, path).unwrap().is_none());
            save(&disk, path, 1, b"old").unwrap();
            disk.set_fault(Some(Fault { at, kind: ErrorKind::StorageFull, lasting: true }));
            let saved = save(&disk, path, 2, b"the new one");
            assert_eq!(saved.is_ok(), at == 6, "operation {at}");
            let (version, content) = load(&disk.restart(), path).unwrap().unwrap();
            match (version, content.as_slice()) {
                (1, b"old") => assert!(saved.is_err(), "a saved document is lost"),
                (2, b"the new one") => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_damaged_document_is_never_taken_for_a_good_one() {
    let (disk, path) = (SimulatedDisk::new(1), Path::new(PATH));
    save(&disk, path, 1, b"content").unwrap();
    let bytes = disk.bytes(path).unwrap();
    for bit in 0..bytes.len() * 8 {
        let damaged = disk.copy();
        damaged.damage(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        assert!(matches!(load(&damaged, path), Err(OpenError::Corrupt(_))), "bit {bit}");
    }
    for cut in 0..bytes.len() {
        let damaged = disk.copy();
        damaged.damage(path, |bytes| bytes.truncate(cut));
        assert!(matches!(load(&damaged, path), Err(OpenError::Corrupt(_))), "cut at {cut}");
    }
}

#[test]
fn json_of_a_newer_version_is_refused() {
    let (disk, path) = (SimulatedDisk::new(1), Path::new(PATH));
    save_json(&disk, path, 3, &vec![1, 2]).unwrap();
    assert_eq!(load_json::<Vec<u32>>(&disk, path, 3).unwrap(), Some(vec![1, 2]));
    let newer = load_json::<Vec<u32>>(&disk, path, 2);
    assert!(matches!(newer, Err(OpenError::Incompatible { version: 3, known: 2, .. })));
    assert!(matches!(load_json::<String>(&disk, path, 3), Err(OpenError::Corrupt(_))));
}
