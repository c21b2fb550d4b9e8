//! A crash between any two file operations, with any unsynced subset lost.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use prunella_objects::{Created, CreatedFile, Embedded, ObjectKey, Objects, ObjectsError, Op, SMALL_BYTES, TakeIn};
use prunella_sys::{Fs, Sys};
use prunella_testkit::CrashFs;

const DIR: &str = "/p/.prunella";
const SOURCE: &str = "/p/work/out.bin";

fn key() -> ObjectKey {
    ObjectKey::new("data/ab/k-1-x").unwrap()
}

fn content() -> Bytes {
    (0..SMALL_BYTES + 1000).map(|i| (i % 251) as u8).collect()
}

/// A store whose files are in a crash file system and whose rows are in a real directory.
struct Bench {
    fs: CrashFs,
    rows: tempfile::TempDir,
}

impl Bench {
    fn new(fs: CrashFs) -> Self {
        fs.create_dir_all(Path::new("/p/work")).unwrap();
        fs.settle();
        Bench { fs, rows: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> Embedded {
        Embedded::open_split(&sys(&self.fs), Path::new(DIR), self.rows.path(), None).unwrap()
    }

    /// Checks every state after every operation: a row without its whole file is what must never be.
    async fn check(&self, expected: &Bytes) -> usize {
        let mut images = 0;
        let mut named = BTreeSet::new();
        for point in 0..=self.fs.crash_points() {
            for image in self.fs.images_at(point) {
                images += 1;
                let rows = tempfile::tempdir().unwrap();
                let transactions = image.transactions();
                if transactions.is_empty() {
                    continue; // no row, no object
                }
                let store = Embedded::open_split(&sys(&image), Path::new(DIR), rows.path(), None).unwrap();
                for transaction in transactions {
                    store.replay(&transaction).await.unwrap();
                }
                let found = store.get(&key()).await.unwrap();
                named.insert(found.is_some());
                assert!(found.is_none_or(|bytes| bytes == *expected), "torn after operation {point}");
            }
        }
        assert!(named.contains(&true), "the last states have the object, else nothing was checked");
        images
    }
}

fn sys(fs: &CrashFs) -> Sys {
    Sys { fs: Arc::new(fs.clone()), ..Sys::real() }
}

fn source(fs: &CrashFs, synced: bool) {
    let mut file = fs.create_new(Path::new(SOURCE)).unwrap();
    file.write_all(&content()[..SMALL_BYTES]).unwrap();
    file.write_all(&content()[SMALL_BYTES..]).unwrap();
    if synced {
        file.sync().unwrap();
    }
}

#[tokio::test]
async fn a_crash_anywhere_in_a_large_create_leaves_the_object_whole_or_absent() {
    let bench = Bench::new(CrashFs::new());
    assert_eq!(bench.open().create(&key(), content()).await.unwrap(), Created::New);
    assert!(bench.check(&content()).await > 50);
}

#[tokio::test]
async fn a_crash_anywhere_in_taking_a_file_in_leaves_the_object_whole_or_absent() {
    for (fs, how, synced) in [
        (CrashFs::new(), TakeIn::Copy, false),
        (CrashFs::with_reflinks(), TakeIn::Copy, false),
        (CrashFs::new(), TakeIn::Move { synced: false }, false),
        (CrashFs::new(), TakeIn::Move { synced: true }, true),
    ] {
        let bench = Bench::new(fs);
        source(&bench.fs, synced);
        let created = bench.open().create_from_file(&key(), Path::new(SOURCE), how).await.unwrap();
        assert_eq!(created, CreatedFile::New { size_bytes: content().len() as u64 });
        bench.check(&content()).await;
    }
}

#[tokio::test]
async fn a_crash_anywhere_in_a_batch_leaves_no_record_without_its_large_object() {
    let bench = Bench::new(CrashFs::new());
    let record = ObjectKey::new("attempts/k/1.end.json").unwrap();
    let ops = vec![Op::Create { key: key(), bytes: content() }, Op::Create { key: record, bytes: "{}".into() }];
    assert_eq!(bench.open().batch(ops).await.unwrap(), [Created::New, Created::New]);
    bench.check(&content()).await;
}

#[tokio::test]
async fn what_was_synced_survives_and_of_the_rest_only_the_last_writes_are_lost() {
    let bench = Bench::new(CrashFs::new());
    let store = bench.open();
    let names = ["a", "b", "c", "d"].map(|name| ObjectKey::new(format!("records/{name}")).unwrap());
    for (n, key) in names.iter().enumerate() {
        let _ = store.create(key, Bytes::from(vec![b'x'; 10])).await.unwrap();
        if n == 1 {
            store.sync().await.unwrap();
        }
    }
    let mut left = BTreeSet::new();
    for image in bench.fs.images_at(bench.fs.crash_points()) {
        let rows = tempfile::tempdir().unwrap();
        let after = Embedded::open_split(&sys(&image), Path::new(DIR), rows.path(), None).unwrap();
        for transaction in image.transactions() {
            after.replay(&transaction).await.unwrap();
        }
        left.insert(after.list("records/", None, 9).await.unwrap().len());
    }
    assert_eq!(left, BTreeSet::from([2, 3, 4]));
}

#[tokio::test]
async fn a_file_is_removed_only_after_the_end_of_its_row_is_durable() {
    let bench = Bench::new(CrashFs::new());
    let store = bench.open();
    let _ = store.create(&key(), content()).await.unwrap();
    store.sync().await.unwrap();
    assert!(store.delete(&key()).await.unwrap());
    bench.check(&content()).await;
}

#[tokio::test]
async fn after_a_sync_that_failed_nothing_is_called_durable_any_more() {
    let bench = Bench::new(CrashFs::new());
    let store = bench.open();
    bench.fs.fail_once_after(0, ErrorKind::Other);
    for _ in 0..2 {
        assert!(matches!(store.sync().await, Err(ObjectsError::Io { .. })));
    }
}

/// Proves that the check above can fail: what skips the last sync is caught.
#[tokio::test]
#[should_panic(expected = "torn after operation")]
async fn a_move_that_was_wrongly_called_synced_is_found() {
    let bench = Bench::new(CrashFs::new());
    source(&bench.fs, false);
    let how = TakeIn::Move { synced: true };
    let _ = bench.open().create_from_file(&key(), Path::new(SOURCE), how).await.unwrap();
    // A damaged file is an error of `get`, so that the wrong length counts as torn as well.
    for image in bench.fs.images_at(bench.fs.crash_points()) {
        let path = Path::new(DIR).join("data/ab/k-1-x");
        assert!(image.read(&path).unwrap() == content(), "torn after operation");
    }
}

#[tokio::test]
async fn no_file_operation_that_fails_leaves_half_an_object_or_loses_the_source() {
    let mut failed = 0;
    for (how, kind) in [
        (TakeIn::Copy, ErrorKind::StorageFull),
        (TakeIn::Move { synced: false }, ErrorKind::StorageFull),
        (TakeIn::Move { synced: false }, ErrorKind::Other),
    ] {
        for n in 0.. {
            let bench = Bench::new(CrashFs::new());
            let store = bench.open();
            source(&bench.fs, true);
            bench.fs.fail_once_after(n, kind);
            let created = store.create_from_file(&key(), Path::new(SOURCE), how).await;
            match created {
                Ok(_) => break, // the operation that was to fail comes after the last
                Err(error) if kind == ErrorKind::StorageFull => {
                    assert!(matches!(error, ObjectsError::NoSpace { ref path } if path == Path::new(DIR)), "{error:?}");
                }
                Err(error) => assert!(matches!(error, ObjectsError::Io { .. }), "{error:?}"),
            }
            failed += 1;
            assert_eq!(store.get(&key()).await.unwrap(), None);
            assert!(bench.fs.read(Path::new(SOURCE)).unwrap() == content(), "the source is where it was");
            // Room was made: the same again works.
            let again = store.create_from_file(&key(), Path::new(SOURCE), how).await.unwrap();
            assert!(matches!(again, CreatedFile::New { .. }));
            assert!(store.get(&key()).await.unwrap().unwrap() == content());
        }
    }
    assert!(failed > 10);
}

#[tokio::test]
async fn a_crash_while_the_store_is_made_leaves_one_that_opens() {
    let bench = Bench::new(CrashFs::new());
    drop(bench.open());
    for point in 0..=bench.fs.crash_points() {
        for image in bench.fs.images_at(point) {
            let rows = tempfile::tempdir().unwrap();
            let store = Embedded::open_split(&sys(&image), Path::new(DIR), rows.path(), None).unwrap();
            assert_eq!(store.create(&key(), content()).await.unwrap(), Created::New, "after operation {point}");
        }
    }
}

#[tokio::test]
async fn objects_are_not_writable_for_their_owner() {
    let bench = Bench::new(CrashFs::new());
    let store = bench.open();
    source(&bench.fs, true);
    let _ = store.create_from_file(&key(), Path::new(SOURCE), TakeIn::Move { synced: true }).await.unwrap();
    let path: PathBuf = store.local_path(&key()).await.unwrap().unwrap();
    assert_eq!(bench.fs.mode(&path).unwrap(), 0o444);
}

#[tokio::test]
async fn a_batch_that_fails_leaves_no_waste_on_a_full_disk() {
    let bench = Bench::new(CrashFs::new());
    let store = bench.open();
    let create = |name: &str| Op::Create { key: ObjectKey::new(name).unwrap(), bytes: content() };
    let before = |fs: &CrashFs| fs.paths().into_iter().filter(|path| !path.ends_with('/')).collect::<Vec<_>>();
    let empty = before(&bench.fs);
    for n in 3..30 {
        bench.fs.fail_once_after(n, ErrorKind::StorageFull);
        match store.batch(vec![create("data/ab/1"), create("data/ab/2")]).await {
            Ok(_) => return assert!(n > 6, "some operations failed"),
            Err(error) => assert!(matches!(error, ObjectsError::NoSpace { .. }), "{error:?}"),
        }
        assert!(store.list("", None, 9).await.unwrap().is_empty());
        assert_eq!(before(&bench.fs), empty, "when operation {n} fails");
    }
    panic!("the batch never went through");
}
