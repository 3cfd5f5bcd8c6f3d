use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cluster_storage::disk::{Disk, File, RealDisk};
use uuid::Uuid;

use super::files::CodeFiles;
use super::*;
use crate::sc::Refusal;
use crate::sc::metadata::Metadata;

const OWN: [OwnSpu<'static>; 2] = [(5001, "main-0"), (5002, "main-1")];

fn spec(n_bytes: usize) -> Encoded {
    Encoded(vec![7; n_bytes].into())
}

fn format(name: &str) -> Asked {
    Asked::TableFormat(name.into(), TableFormat { spec: spec(3) })
}

fn module(name: &str, bytes: u32) -> Asked {
    let code = Code { file: Uuid::new_v4(), bytes, sha256: String::new() };
    Asked::SmartModule(name.into(), SmartModule { meta: None, code })
}

fn spu(name: &str, id: i32) -> Asked {
    Asked::CustomSpu(name.into(), CustomSpu { id, spec: spec(3) })
}

fn module_key(name: &str, store_id: &str) -> Asked {
    Asked::Delete(Key::SmartModule { name: name.into(), store_id: store_id.into() })
}

/// Done one after the other.
fn after(asked: impl IntoIterator<Item = Asked>) -> Metadata {
    asked.into_iter().fold(Metadata::default(), |metadata, asked| decide(&metadata, &OWN, asked).unwrap())
}

/// What is there, by kind and name.
fn there(metadata: &Metadata) -> String {
    let objects = &metadata.objects;
    let names = objects.table_formats.keys().map(|name| format!("t:{name}"));
    let names = names.chain(objects.smart_modules.keys().map(|name| format!("m:{name}")));
    let names = names.chain(objects.custom_spus.keys().map(|name| format!("s:{name}")));
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_comes_and_goes() {
    let full = || after([format("t"), module("m", 5), module("n-g-0.1.0", 5), spu("s", 7)]);
    let whole = "t:t m:m m:n-g-0.1.0 s:s";
    for (asked, expected) in [
        (format("u"), "t:t t:u m:m m:n-g-0.1.0 s:s"),
        (module("m", 6), whole),
        (spu("r", 8), "t:t m:m m:n-g-0.1.0 s:r s:s"),
        (Asked::Delete(Key::TableFormat("t".into())), "m:m m:n-g-0.1.0 s:s"),
        (module_key("m", "m"), "t:t m:n-g-0.1.0 s:s"),
        (module_key("g/n@0.1.0", "n-g-0.1.0"), "t:t m:m s:s"),
        (Asked::Delete(Key::SpuNamed("s".into())), "t:t m:m m:n-g-0.1.0"),
        (Asked::Delete(Key::SpuWithId(7)), "t:t m:m m:n-g-0.1.0"),
    ] {
        let before = full();
        let next = decide(&before, &OWN, asked.clone()).unwrap();
        assert_eq!((there(&next).as_str(), next.revision), (expected, before.revision + 1), "{asked:?}");
        assert_eq!((&next.topics, &next.retired), (&before.topics, &before.retired));
    }
}

#[test]
fn an_object_that_did_not_change_stays_the_same() {
    let before = after([format("t"), module("m", 5)]);
    let next = decide(&before, &OWN, format("u")).unwrap();
    assert!(Arc::ptr_eq(&before.objects.smart_modules, &next.objects.smart_modules));
    assert!(Arc::ptr_eq(&before.objects.table_formats["t"], &next.objects.table_formats["t"]));
}

#[test]
fn what_is_refused_and_why() {
    let full = after([format("t"), module("m", 5), spu("s", 7)]);
    let refused = |asked: Asked| decide(&full, &OWN, asked).unwrap_err();
    assert_eq!(refused(format("t")), Refusal::TableFormatExists("t".into()));
    assert_eq!(
        refused(Asked::Delete(Key::TableFormat("m".into()))),
        Refusal::TableFormatNotFound("m".into())
    );
    assert_eq!(refused(module_key("g/m", "m-g")), Refusal::SmartModuleNotFound("g/m".into()));
    for (name, id) in [("s", 8), ("r", 7), ("main-0", 8), ("r", 5002)] {
        assert!(matches!(refused(spu(name, id)), Refusal::SpuExists(_)), "{name} {id}");
    }
    for key in [Key::SpuNamed("r".into()), Key::SpuWithId(8)] {
        assert!(matches!(refused(Asked::Delete(key)), Refusal::SpuNotFound(_)));
    }
    for key in [Key::SpuNamed("main-0".into()), Key::SpuWithId(5002)] {
        assert!(matches!(refused(Asked::Delete(key)), Refusal::OwnSpu(_)));
    }
    let long = "x".repeat(256);
    for name in ["", "a/b", "a@1", "a b", "ä", "..\n", &long] {
        for asked in [format(name), module(name, 5), spu(name, 9)] {
            assert!(matches!(refused(asked), Refusal::Object(_)), "{name:?}");
        }
    }
    for asked in [spu("r.s", 9), spu("r", -1)] {
        assert!(matches!(refused(asked), Refusal::Object(_)));
    }
    let large = Asked::TableFormat("l".into(), TableFormat { spec: spec((16 << 10) + 1) });
    assert!(refused(large).to_string().contains("at most 16384 bytes"));
}

#[test]
fn no_kind_grows_without_bound_and_the_refusal_names_the_bound() {
    let hundred = |one: fn(String) -> Asked| after((0..100).map(|n| one(format!("n{n}"))));
    for (full, one_more, replaced) in [
        (hundred(|name| format(&name)), format("more"), None),
        (hundred(|name| module(&name, 5)), module("more", 5), Some(module("n7", 6))),
        (hundred(|name| spu(&name, name[1..].parse().unwrap())), spu("more", 100), None),
    ] {
        let said = decide(&full, &OWN, one_more).unwrap_err().to_string();
        assert!(said.contains("at most 100"), "{said}");
        assert!(replaced.is_none_or(|asked| decide(&full, &OWN, asked).is_ok()));
    }
    let said = decide(&Metadata::default(), &OWN, module("m", MODULE_BYTES_MAX + 1)).unwrap_err().to_string();
    assert!(said.contains("at most 8 MiB"), "{said}");
    let four = after((0..4).map(|n| module(&format!("n{n}"), MODULE_BYTES_MAX)));
    let said = decide(&four, &OWN, module("more", 1)).unwrap_err().to_string();
    assert!(said.contains("at most 32 MiB"), "{said}");
    assert!(decide(&four, &OWN, module("n2", MODULE_BYTES_MAX)).is_ok(), "what is replaced does not count");
}

#[test]
fn metadata_from_before_there_were_objects_is_read_and_written_as_it_was() {
    let older = r#"{"revision":3,"topics":{},"retired":{}}"#;
    let metadata: Metadata = serde_json::from_str(older).unwrap();
    assert!(metadata.objects.is_empty());
    assert_eq!(serde_json::to_string(&metadata).unwrap(), older);
}

#[test]
fn objects_are_read_as_they_were_written() {
    let meta = Some(Encoded(Bytes::from_static(&[0, 0x1f, 0xff])));
    let code = Code { file: Uuid::nil(), bytes: 9, sha256: "ab".into() };
    let packaged = Asked::SmartModule("p".into(), SmartModule { meta, code });
    let metadata = after([format("t"), module("m", 5), packaged, spu("s", 7)]);
    let written = serde_json::to_string(&metadata).unwrap();
    assert!(
        written.contains(r#""meta":"001fff","file":"00000000-0000-0000-0000-000000000000","bytes":9"#),
        "{written}"
    );
    assert_eq!(serde_json::from_str::<Metadata>(&written).unwrap(), metadata);
    for damaged in ["0", "0g", "é"] {
        assert!(serde_json::from_str::<Encoded>(&format!("{damaged:?}")).is_err());
    }
}

/// A folder of code files, and an object that names each of these.
fn folder(dir: &tempfile::TempDir, codes: &[Code]) -> (CodeFiles, Objects) {
    let files = CodeFiles::new(dir.path().join("modules"), Arc::new(RealDisk));
    let module =
        |code: &Code| (code.sha256.clone(), Arc::new(SmartModule { meta: None, code: code.clone() }));
    let smart_modules = Arc::new(codes.iter().map(module).collect());
    (files, Objects { smart_modules, ..Objects::default() })
}

#[test]
fn code_is_read_as_it_was_written_and_nothing_else_is_read_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = folder(&dir, &[]);
    let (one, other) = (files.write(b"one").unwrap(), files.write(b"two").unwrap());
    assert_eq!(files.read(&one).unwrap(), "one");
    let path = |code: &Code| dir.path().join("modules").join(code.file.to_string());
    std::fs::copy(path(&other), path(&one)).unwrap();
    assert!(files.read(&one).unwrap_err().contains("something else"));
    let mut bytes = std::fs::read(path(&other)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path(&other), bytes).unwrap();
    assert!(files.read(&other).is_err());
    files.remove(other.file);
    assert!(files.read(&other).unwrap_err().contains("missing"));
    files.remove(other.file);
}

#[test]
fn a_start_removes_what_nobody_names_and_survives_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = folder(&dir, &[]);
    files.tidy(&Objects::default());
    let (kept, missing) = (files.write(b"kept").unwrap(), files.write(b"missing").unwrap());
    files.write(b"never named").unwrap();
    std::fs::write(dir.path().join("modules/half.new"), b"x").unwrap();
    files.remove(missing.file);
    let (files, objects) = folder(&dir, &[kept.clone(), missing]);
    files.tidy(&objects);
    assert_eq!(files.read(&kept).unwrap(), "kept");
    assert_eq!(std::fs::read_dir(dir.path().join("modules")).unwrap().count(), 1);
}

/// A disk that fails to sync this folder, and to rename anything if there is none.
struct Fails(Option<PathBuf>);

impl Disk for Fails {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        RealDisk.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        RealDisk.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.0.is_none() { Err(io::ErrorKind::StorageFull.into()) } else { RealDisk.rename(from, to) }
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.0.as_deref() == Some(path) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            RealDisk.sync_dir(path)
        }
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(path)
    }
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_space(path)
    }
}

#[test]
fn code_that_cannot_be_kept_leaves_no_file_and_its_folder_is_kept_first() {
    let dir = tempfile::tempdir().unwrap();
    let modules = dir.path().join("modules");
    // The last is the folder in which the folder itself is.
    for failing in [None, Some(modules.clone()), Some(dir.path().to_owned())] {
        let files = CodeFiles::new(modules.clone(), Arc::new(Fails(failing.clone())));
        assert!(files.write(b"code").is_err(), "{failing:?}");
        assert_eq!(std::fs::read_dir(&modules).unwrap().count(), 0, "{failing:?}");
    }
}
