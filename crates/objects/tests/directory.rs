//! What only the store of plain files promises: crashes, what a kill leaves, and directories that machines share.
#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeSet, HashMap};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prunella_objects::directory::{Meeting, check, meet};
use prunella_objects::{Created, CreatedFile, Directory, Embedded, ObjectKey, Objects, ObjectsError, TakeIn, Verdict};
use prunella_sys::{DirEntry, DirLock, FakeMachine, Fs, FsFile, FsRead, Meta, ReadLease, RealFs, Sys};
use prunella_testkit::CrashFs;

const DIR: &str = "/p/store";
const SOURCE: &str = "/p/work/out.bin";
const MET: &str = "/p/met";

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

fn content() -> Bytes {
    (0..100_000).map(|i| (i % 251) as u8).collect()
}

fn on(fs: &CrashFs) -> Sys {
    Sys { fs: Arc::new(fs.clone()), ..Sys::real() }
}

fn open(fs: &CrashFs) -> Directory {
    Directory::open(&on(fs), Path::new(DIR), Path::new(MET)).unwrap()
}

/// A file system with a folder to work in.
fn fresh() -> CrashFs {
    let fs = CrashFs::new();
    fs.create_dir_all(Path::new("/p/work")).unwrap();
    fs.settle();
    fs
}

/// Checks every state after every operation: the object is whole or absent. Returns what was found in the last states.
async fn whole_or_absent(fs: &CrashFs) -> BTreeSet<bool> {
    let mut last = BTreeSet::new();
    for point in 0..=fs.crash_points() {
        last.clear();
        for image in fs.images_at(point) {
            let found = open(&image).get(&key("data/ab/x")).await.unwrap();
            last.insert(found.is_some());
            assert!(found.is_none_or(|bytes| bytes == content()), "torn after operation {point}");
        }
    }
    last
}

#[tokio::test]
async fn a_crash_anywhere_in_a_create_leaves_the_object_whole_or_absent_and_after_the_answer_there() {
    let fs = fresh();
    assert_eq!(open(&fs).create(&key("data/ab/x"), content()).await.unwrap(), Created::New);
    assert_eq!(whole_or_absent(&fs).await, BTreeSet::from([true]), "what was answered is durable");
}

#[tokio::test]
async fn a_crash_anywhere_in_taking_a_file_in_leaves_the_object_whole_or_absent() {
    for (how, synced) in
        [(TakeIn::Copy, false), (TakeIn::Move { synced: false }, false), (TakeIn::Move { synced: true }, true)]
    {
        let fs = fresh();
        let mut file = fs.create_new(Path::new(SOURCE)).unwrap();
        file.write_all(&content()).unwrap();
        if synced {
            file.sync().unwrap();
        }
        let created = open(&fs).create_from_file(&key("data/ab/x"), Path::new(SOURCE), how).await.unwrap();
        assert_eq!(created, CreatedFile::New { size_bytes: 100_000 });
        assert_eq!(whole_or_absent(&fs).await, BTreeSet::from([true]), "{how:?}");
    }
}

#[tokio::test]
async fn a_crash_anywhere_in_overwriting_a_hint_leaves_one_of_its_values() {
    let fs = fresh();
    let store = open(&fs);
    store.overwrite(&key("k/1.alive.json"), "one".into()).await.unwrap();
    fs.settle();
    store.overwrite(&key("k/1.alive.json"), "two".into()).await.unwrap();
    for point in 0..=fs.crash_points() {
        for image in fs.images_at(point) {
            let found = open(&image).get(&key("k/1.alive.json")).await.unwrap().unwrap();
            assert!(found == "one" || found == "two", "{found:?} after operation {point}");
        }
    }
}

/// Another process may have linked a record and not synced its name yet: whoever relies on it does.
#[tokio::test]
async fn what_was_read_of_others_is_durable_after_a_sync() {
    let fs = fresh();
    let store = open(&fs);
    let _new = store.create(&key("a/b/mine"), "x".into()).await.unwrap();
    fs.settle();
    let (part, place) = (Path::new("/p/store/tmp/theirs"), Path::new("/p/store/objects/a,/b,/theirs"));
    let mut file = fs.create_new(part).unwrap();
    file.write_all(b"x").unwrap();
    file.sync().unwrap();
    fs.hard_link(part, place).unwrap();
    let there = |image: &CrashFs| image.metadata(place).unwrap().is_some();
    let images = |fs: &CrashFs| fs.images_at(fs.crash_points()).map(|image| there(&image)).collect::<BTreeSet<_>>();
    assert_eq!(store.get(&key("a/b/theirs")).await.unwrap(), Some("x".into()));
    assert!(images(&fs).contains(&false), "a loss of power could still take it");
    store.sync().await.unwrap();
    assert_eq!(images(&fs), BTreeSet::from([true]));
}

#[tokio::test]
async fn after_a_sync_that_failed_nothing_is_called_durable_any_more() {
    let fs = fresh();
    let store = open(&fs);
    let _new = store.create(&key("a"), "x".into()).await.unwrap();
    let _read = store.get(&key("a")).await.unwrap();
    fs.fail_once_after(0, ErrorKind::Other);
    for _ in 0..2 {
        assert!(store.sync().await.is_err());
    }
}

#[tokio::test]
async fn no_file_operation_that_fails_leaves_half_an_object_or_loses_the_source() {
    let mut failed = 0;
    for how in [TakeIn::Copy, TakeIn::Move { synced: false }] {
        for n in 0.. {
            let fs = fresh();
            let store = open(&fs);
            let mut file = fs.create_new(Path::new(SOURCE)).unwrap();
            file.write_all(&content()).unwrap();
            fs.fail_once_after(n, ErrorKind::StorageFull);
            let name = key("data/ab/x");
            match store.create_from_file(&name, Path::new(SOURCE), how).await {
                // The operation that was to fail comes after the last, or what it was to do is not needed.
                Ok(_) if fs.crash_points() < n => break,
                Ok(_) => {}
                Err(ObjectsError::Undecided { .. }) => {
                    assert!(store.get(&name).await.unwrap().is_none_or(|bytes| bytes == content()));
                    failed += 1;
                }
                Err(error) => {
                    assert!(matches!(error, ObjectsError::NoSpace { .. }), "{error:?}");
                    assert_eq!(store.get(&name).await.unwrap(), None);
                    assert!(
                        fs.read(Path::new(SOURCE)).unwrap() == content(),
                        "the source is where it was: {how:?} {n}"
                    );
                    failed += 1;
                }
            }
        }
    }
    assert!(failed > 10, "{failed}");
}

#[tokio::test]
async fn a_store_of_one_kind_is_not_opened_as_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let (sys, met) = (Sys::real(), dir.path().join("met"));
    drop(Directory::open(&sys, &dir.path().join("plain"), &met).unwrap());
    drop(Embedded::open(&sys, &dir.path().join("embedded")).unwrap());
    let wrong = Embedded::open(&sys, &dir.path().join("plain")).err().unwrap();
    assert!(matches!(&wrong, ObjectsError::Unfit { message, .. } if message.contains("dir://")), "{wrong:?}");
    let wrong = Directory::open(&sys, &dir.path().join("embedded"), &met).err().unwrap();
    assert!(matches!(&wrong, ObjectsError::Unfit { message, .. } if message.contains("with SQLite")), "{wrong:?}");
}

#[tokio::test]
async fn a_directory_of_this_machine_is_called_fit_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let report = check(&Sys::real(), &dir.path().join("not/there"), dir.path()).await.unwrap();
    assert!(report.is_fit(), "{:?}", report.findings);
    assert!(report.findings.iter().any(|finding| finding.name == "races" && finding.verdict == Verdict::Good));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

/// What lies on a share of other machines, by the text of `/proc/self/mountinfo`.
struct Shared {
    inner: RealFs,
    mounts: String,
    /// Names that were looked for and absent, as a cache of NFS remembers them; nothing if it remembers none.
    absent: Option<Mutex<HashMap<PathBuf, usize>>>,
}

/// How often a cache goes on to say that a name is absent.
const STALE: usize = 3;

impl Shared {
    fn at(dir: &Path, caches: bool) -> Self {
        let dir = std::fs::canonicalize(dir).unwrap();
        let mounts =
            format!("1 0 0:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 / {} rw - nfs4 server:/x rw,vers=4.2\n", dir.display());
        Self { inner: RealFs, mounts, absent: caches.then(Mutex::default) }
    }

    /// Whether the cache still says that nothing is there.
    fn hidden(&self, path: &Path) -> bool {
        let Some(absent) = self.absent.as_ref().filter(|_| path.to_string_lossy().contains("/made,/")) else {
            return false;
        };
        let mut absent = absent.lock().unwrap();
        match self.inner.metadata(path) {
            Ok(None) => {
                absent.insert(path.to_owned(), STALE);
                true
            }
            _ => absent.get_mut(path).is_some_and(|left| {
                *left = left.saturating_sub(1);
                *left > 0
            }),
        }
    }
}

impl Fs for Shared {
    fn read_lease(&self, path: &Path) -> io::Result<ReadLease> {
        self.inner.read_lease(path)
    }
    fn is_of_the_kernel(&self) -> bool {
        self.inner.is_of_the_kernel()
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.inner.create_new(path)
    }
    fn append(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.inner.append(path)
    }
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn FsRead>> {
        self.inner.open_read(path)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new("/proc/self/mountinfo") {
            return Ok(self.mounts.clone().into_bytes());
        }
        if self.hidden(path) { Err(ErrorKind::NotFound.into()) } else { self.inner.read(path) }
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<bool> {
        self.inner.rename_noreplace(from, to)
    }
    fn exchange(&self, a: &Path, b: &Path) -> io::Result<()> {
        self.inner.exchange(a, b)
    }
    fn try_lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        self.inner.try_lock_dir(path)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        // The request went out twice: the second time it finds its own work.
        let done = self.inner.hard_link(from, to);
        done.and(Err(ErrorKind::AlreadyExists.into()))
    }
    fn reflink(&self, from: &Path, to: &Path) -> io::Result<bool> {
        self.inner.reflink(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir_all(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        self.inner.create_dir(path)
    }
    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_file(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(path)
    }
    fn metadata(&self, path: &Path) -> io::Result<Option<Meta>> {
        if self.hidden(path) { Ok(None) } else { self.inner.metadata(path) }
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.read_link(path)
    }
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.inner.symlink(target, path)
    }
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.inner.set_mode(path, mode)
    }
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.inner.free_space(path)
    }
}

/// A machine that sees the directory through a mount of its own.
fn machine(name: &str, dir: &Path, caches: bool) -> Sys {
    Sys { fs: Arc::new(Shared::at(dir, caches)), machine: Arc::new(FakeMachine::new(name)), ..Sys::real() }
}

async fn meets(
    sys: Sys,
    dir: PathBuf,
    met: PathBuf,
    word: &str,
    patience: u64,
) -> Result<prunella_objects::Finding, ObjectsError> {
    let meeting = Meeting { word: word.to_owned(), machines: 2, patience: Duration::from_secs(patience) };
    meet(&sys, &dir, &meeting, &met).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_is_refused_until_machines_have_met_there_and_seen_each_other_at_once() {
    let (dir, mine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (machine("one", dir.path(), false), machine("other", dir.path(), false));
    let at = dir.path().join("store");
    let refused = Directory::open(&one, &at, mine.path()).err().unwrap();
    let said = refused.to_string();
    assert!(said.contains("nfs4") && said.contains("--meet") && said.contains("actimeo=0,lookupcache=none"), "{said}");
    let checked = check(&one, &at, mine.path()).await.unwrap();
    assert!(checked.reason().unwrap().contains("--meet"), "{:?}", checked.findings);
    let (dir, theirs) = (dir.path().to_owned(), mine.path().join("theirs"));
    let beside = tokio::spawn(meets(other, dir.clone(), theirs.clone(), "monday", 60));
    let found = meets(one.clone(), dir.clone(), mine.path().to_owned(), "monday", 60).await.unwrap();
    assert_eq!(found.verdict, Verdict::Good, "{}", found.text);
    assert_eq!(beside.await.unwrap().unwrap().verdict, Verdict::Good);
    assert!(!dir.join("meeting-monday").exists(), "nothing is left behind");
    // A link whose answer was wrong is known by the number of names.
    let store = Directory::open(&one, &at, mine.path()).unwrap();
    assert_eq!(store.create(&key("a"), "x".into()).await.unwrap(), Created::New);
    assert_eq!(store.create(&key("a"), "y".into()).await.unwrap(), Created::There("x".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_whose_caches_hide_what_others_made_is_refused() {
    let (dir, mine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (machine("one", dir.path(), true), machine("other", dir.path(), true));
    let beside = tokio::spawn(meets(other, dir.path().to_owned(), mine.path().join("theirs"), "x", 60));
    let found = meets(one.clone(), dir.path().to_owned(), mine.path().to_owned(), "x", 60).await.unwrap();
    assert_eq!(found.verdict, Verdict::Unfit);
    assert!(found.text.contains("caches of this file system"), "{}", found.text);
    assert_eq!(beside.await.unwrap().unwrap().verdict, Verdict::Unfit);
    assert!(Directory::open(&one, &dir.path().join("store"), mine.path()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_meets_nobody_or_oneself_learns_nothing() {
    let (dir, mine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = machine("one", dir.path(), false);
    let alone = meets(one.clone(), dir.path().to_owned(), mine.path().to_owned(), "alone", 0).await.unwrap_err();
    assert!(alone.to_string().contains("1 of 2 machines came"), "{alone}");
    let again = tokio::spawn(meets(one.clone(), dir.path().to_owned(), mine.path().to_owned(), "twice", 60));
    let twice = meets(one, dir.path().to_owned(), mine.path().to_owned(), "twice", 60).await.unwrap_err();
    assert!(twice.to_string().contains("from 1 machines"), "{twice}");
    assert!(again.await.unwrap().is_err());
    assert_eq!(std::fs::read_dir(mine.path()).unwrap().count(), 0, "nothing was found fit");
}
