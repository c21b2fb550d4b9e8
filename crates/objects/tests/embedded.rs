//! What only the embedded store promises: full disks, read-only directories, formats, damage.
#![allow(clippy::disallowed_methods)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prunella_objects::{Created, Embedded, ObjectKey, Objects, ObjectsError, Op, Remedy, SMALL_BYTES, TakeIn};
use prunella_sys::Sys;
use tokio::task::JoinSet;

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

fn open(dir: &Path) -> Embedded {
    Embedded::open(&Sys::real(), dir).unwrap()
}

#[tokio::test]
async fn a_full_disk_is_a_definite_no_that_spoils_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open_split(&Sys::real(), dir.path(), dir.path(), Some(40)).unwrap());
    let mut writers = JoinSet::new();
    for n in 0..64 {
        let store = store.clone();
        writers.spawn(async move {
            // Every second one can never fit.
            let size = if n % 2 == 0 { 100 } else { 60_000 };
            let ops =
                (0..4).map(|i| Op::Create { key: key(&format!("{n}/{i}")), bytes: vec![7; size].into() }).collect();
            (n, store.batch(ops).await)
        });
    }
    let outcomes = writers.join_all().await;
    let mut full = 0;
    for (n, outcome) in outcomes {
        let there = store.list(&format!("{n}/"), None, 9).await.unwrap().len();
        match outcome {
            Ok(_) => assert_eq!((there, n % 2), (4, 0)),
            Err(error) => {
                assert!(matches!(&error, ObjectsError::NoSpace { path } if path == dir.path()), "{error:?}");
                assert_eq!(error.remedy(), Remedy::AskUser);
                assert_eq!((there, n % 2), (0, 1), "what was refused is not there");
                full += 1;
            }
        }
    }
    assert_eq!(full, 32);
    drop(store);
    // Room was made.
    let store = open(dir.path());
    assert_eq!(store.create(&key("1/0"), vec![7; 60_000].into()).await.unwrap(), Created::New);
}

#[tokio::test]
async fn a_store_in_a_directory_that_refuses_writes_says_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let fs = prunella_testkit::CrashFs::new();
    let sys = Sys { fs: Arc::new(fs.clone()), ..Sys::real() };
    for kind in [std::io::ErrorKind::ReadOnlyFilesystem, std::io::ErrorKind::PermissionDenied] {
        fs.fail_once_after(0, kind);
        let error = Embedded::open_split(&sys, Path::new("/new"), dir.path(), None).err().unwrap();
        assert!(matches!(&error, ObjectsError::ReadOnly { path } if path == Path::new("/new")), "{error:?}");
    }
}

#[tokio::test]
async fn a_store_opened_for_reading_reads_and_refuses_every_write() {
    let dir = tempfile::tempdir().unwrap();
    let large: Bytes = vec![1; SMALL_BYTES + 1].into();
    let writer = open(dir.path());
    assert_eq!(writer.create(&key("small"), "s".into()).await.unwrap(), Created::New);
    assert_eq!(writer.create(&key("large"), large.clone()).await.unwrap(), Created::New);
    let reader = Embedded::open_read_only(&Sys::real(), dir.path()).unwrap();
    assert!(reader.info().read_only && !writer.info().read_only);
    assert_eq!(reader.info().store_id, writer.info().store_id);
    for _ in 0..2 {
        assert_eq!(reader.get(&key("small")).await.unwrap(), Some("s".into()));
        assert_eq!(reader.get(&key("large")).await.unwrap(), Some(large.clone()));
        let source = dir.path().join("source");
        std::fs::write(&source, "x").unwrap();
        let refused = [
            reader.create(&key("n"), "x".into()).await.err(),
            reader.create(&key("n"), large.clone()).await.err(),
            reader.overwrite(&key("n"), "x".into()).await.err(),
            reader.delete(&key("small")).await.err(),
            reader.batch(vec![Op::Create { key: key("n"), bytes: large.clone() }]).await.err(),
            reader.create_from_file(&key("n"), &source, TakeIn::Copy).await.err(),
        ];
        assert!(refused.iter().all(|error| matches!(error, Some(ObjectsError::ReadOnly { .. }))), "{refused:?}");
    }
    assert_eq!(writer.list("", None, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn opening_for_reading_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let error = Embedded::open_read_only(&Sys::real(), dir.path()).err().unwrap();
    assert!(matches!(error, ObjectsError::NoStore { .. }), "{error:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name_and_garbage_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let record = dir.path().join("prunella.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, r#"{"kind":"prunella-store","format":2,"unknown":{}}"#).unwrap();
    let newer = Embedded::open(&Sys::real(), dir.path()).err().unwrap();
    assert!(matches!(newer, ObjectsError::NewerFormat { found: 2, supported: 1, .. }), "{newer:?}");
    for garbage in ["", "{", r#"{"kind":"other","format":1}"#] {
        std::fs::write(&record, garbage).unwrap();
        let error = Embedded::open(&Sys::real(), dir.path()).err().unwrap();
        assert!(matches!(error, ObjectsError::Corrupt { key: None, .. }), "{error:?}");
    }
    std::fs::write(&record, text).unwrap();
    drop(open(dir.path()));
    for name in ["store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join(name));
    }
    std::fs::write(dir.path().join("store.db"), [b'x'; 9000]).unwrap();
    let error = Embedded::open(&Sys::real(), dir.path()).err().unwrap();
    assert!(matches!(error, ObjectsError::Corrupt { .. }), "{error:?}");
    assert_eq!(error.remedy(), Remedy::MakeAnew);
}

#[tokio::test]
async fn a_lost_or_shortened_file_is_damage_and_never_absence() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.create(&key("data/ab/x"), vec![1; SMALL_BYTES + 1].into()).await.unwrap(), Created::New);
    let path = store.local_path(&key("data/ab/x")).await.unwrap().unwrap();
    assert_eq!(path, dir.path().join("data/ab/x"));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "short").unwrap();
    let short = store.get(&key("data/ab/x")).await;
    assert!(matches!(&short, Err(ObjectsError::Corrupt { key: Some(k), .. }) if *k == key("data/ab/x")), "{short:?}");
    assert!(matches!(store.open(&key("data/ab/x")).await, Err(ObjectsError::Corrupt { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(store.get(&key("data/ab/x")).await, Err(ObjectsError::Corrupt { .. })));
    assert!(matches!(store.open(&key("data/ab/x")).await, Err(ObjectsError::Corrupt { .. })));
    assert!(store.delete(&key("data/ab/x")).await.unwrap(), "what is damaged can be deleted");
    assert_eq!(store.get(&key("data/ab/x")).await.unwrap(), None);
}

#[tokio::test]
async fn get_refuses_more_than_it_can_hold_and_open_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let source = dir.path().join("source");
    std::fs::File::create(&source).unwrap().set_len((64 << 20) + 1).unwrap();
    let _ = store.create_from_file(&key("big"), &source, TakeIn::Move { synced: true }).await.unwrap();
    let refused = store.get(&key("big")).await;
    assert!(matches!(refused, Err(ObjectsError::TooLarge { size_bytes, .. }) if size_bytes == (64 << 20) + 1));
    assert_eq!(store.open(&key("big")).await.unwrap().unwrap().size(), (64 << 20) + 1);
}

#[tokio::test]
async fn waste_of_a_crash_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    std::fs::create_dir_all(dir.path().join("data/ab")).unwrap();
    std::fs::write(dir.path().join("data/ab/x"), "half an obj").unwrap();
    let whole: Bytes = vec![1; SMALL_BYTES + 1].into();
    assert_eq!(store.get(&key("data/ab/x")).await.unwrap(), None);
    assert_eq!(store.create(&key("data/ab/x"), whole.clone()).await.unwrap(), Created::New);
    assert_eq!(store.get(&key("data/ab/x")).await.unwrap(), Some(whole));
}

#[tokio::test]
async fn dropping_the_store_leaves_no_log_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.create(&key("a"), "a".into()).await.unwrap(), Created::New);
    assert_eq!(store.get(&key("a")).await.unwrap(), Some("a".into()));
    drop(store);
    assert!(!dir.path().join("store.db-wal").exists());
}

/// Run with a file system of a few MiB: `PRUNELLA_TEST_SMALL_DISK=/mnt cargo test -p prunella-objects -- --ignored really`.
#[tokio::test]
#[ignore = "needs a small file system of its own"]
async fn a_disk_that_is_really_full_says_so_and_recovers() {
    let disk = std::path::PathBuf::from(std::env::var("PRUNELLA_TEST_SMALL_DISK").unwrap());
    let dir = disk.join("store");
    let store = open(&dir);
    let filler = disk.join("filler");
    std::fs::write(&filler, vec![1; 1 << 20]).unwrap();
    let mut answered = Vec::new();
    for n in 0.. {
        let name = key(&format!("n/{n}"));
        match store.create(&name, vec![n as u8; 20_000].into()).await {
            Ok(_) => answered.push((name, n as u8)),
            Err(error) => {
                assert!(matches!(&error, ObjectsError::NoSpace { path } if *path == dir), "{error:?}");
                assert_eq!(store.get(&name).await.unwrap(), None);
                break;
            }
        }
    }
    assert!(answered.len() > 10);
    let large: Bytes = vec![1; 300_000].into();
    let source = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(source.path(), &large).unwrap();
    let refused = [
        store.create(&key("large"), large.clone()).await.err(),
        store.create_from_file(&key("large"), source.path(), TakeIn::Move { synced: false }).await.err(),
    ];
    assert!(refused.iter().all(|error| matches!(error, Some(ObjectsError::NoSpace { .. }))), "{refused:?}");
    assert_eq!(std::fs::read(source.path()).unwrap(), large);
    for (name, byte) in &answered {
        assert_eq!(store.get(name).await.unwrap(), Some(vec![*byte; 20_000].into()));
    }
    drop(store);
    // Without room it opens or says why, and nothing is lost by trying.
    if let Err(error) = Embedded::open(&Sys::real(), &dir) {
        assert!(matches!(error, ObjectsError::NoSpace { .. }), "{error:?}");
    }
    std::fs::remove_file(&filler).unwrap();
    let store = open(&dir);
    assert_eq!(store.create(&key("large"), large).await.unwrap(), Created::New);
    assert_eq!(store.list("n/", None, usize::MAX).await.unwrap().len(), answered.len());
}

#[tokio::test]
async fn a_store_whose_making_was_killed_is_no_store_to_read_and_is_finished_by_the_next_writer() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let no_store = || matches!(Embedded::open_read_only(&Sys::real(), dir.path()), Err(ObjectsError::NoStore { .. }));
    assert!(!no_store());
    // Killed before the database had a table, and before there was a database.
    std::fs::write(dir.path().join("store.db"), b"").unwrap();
    assert!(no_store());
    std::fs::remove_file(dir.path().join("store.db")).unwrap();
    assert!(no_store());
    assert_eq!(open(dir.path()).create(&key("a"), "x".into()).await.unwrap(), Created::New);
    assert!(!no_store());
}
