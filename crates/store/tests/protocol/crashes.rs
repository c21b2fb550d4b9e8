//! A crash between any two file operations of a whole commit, with any unsynced subset lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use prunella_model::ArtifactKind;
use prunella_objects::Embedded;
use prunella_store::{Filled, ReadyCommit, Snapshot, Store};
use prunella_sys::{Fs, ManualClock, Sys};
use prunella_testkit::{CrashFs, CrashLimits};

use crate::bench::*;

const DIR: &str = "/p/.prunella";
const WORK: &str = "/p/.prunella/work/a";

fn sys(fs: &CrashFs) -> Sys {
    let machine = Arc::new(prunella_sys::FakeMachine::new("m"));
    Sys { fs: Arc::new(fs.clone()), clock: Arc::new(ManualClock::new()), machine, ..Sys::real() }
}

/// A directory for rows; in memory where there is such a place, since what is modelled is not the rows' own disk.
fn place() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Says whether these transactions name anything that could be torn.
fn names(fs: &CrashFs, record: &str) -> bool {
    fs.transactions().iter().any(|note| String::from_utf8_lossy(note).contains(record))
}

fn open(fs: &CrashFs, rows: &Path) -> (Arc<Embedded>, Store) {
    let objects = Arc::new(Embedded::open_split(&sys(fs), Path::new(DIR), rows, None).unwrap());
    let store = Store::new(objects.clone(), sys(fs));
    (objects, store)
}

/// A program's file: written, never synced.
fn write(fs: &CrashFs, path: &str, bytes: &[u8]) {
    let path = Path::new(WORK).join(path);
    fs.create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs.create_new(&path).unwrap();
    file.write_all(bytes).unwrap();
}

const LARGE: usize = 70_000;

/// Too large to lie in a pack.
const ALONE: usize = 600_000;

/// Answers the checkpoint, when the claim was made, and when the checkpoint was called durable.
async fn whole_commit(fs: &CrashFs, rows: &Path) -> (Snapshot, usize, usize) {
    let (_objects, store) = open(fs, rows);
    fs.create_dir_all(Path::new(WORK)).unwrap();
    let bench = Bench::memory();
    let slot = claim(&store, &request(bench.owner(100), "a")).await;
    let before = fs.crash_points();
    write(fs, "large", &vec![1; LARGE]);
    write(fs, "small", b"small");
    write(fs, "tree/deep/weights", &vec![2; LARGE]);
    write(fs, "tree/note", b"note");
    write(fs, "checkpoint/weights", &vec![3; LARGE]);
    let path = |name: &str| Path::new(WORK).join(name);
    let snapshot = store.put_checkpoint(&slot, 1, "epoch-1", &path("checkpoint"), None).await.unwrap();
    let durable = fs.crash_points();
    let large = store.take_output(&slot, &path("large"), ArtifactKind::File).await.unwrap();
    let small = store.take_output(&slot, &path("small"), ArtifactKind::File).await.unwrap();
    let tree = store.take_output(&slot, &path("tree"), ArtifactKind::Tree).await.unwrap();
    let objects = [large.objects, small.objects, tree.objects].concat();
    let artifacts: BTreeMap<_, _> =
        [("large", large.stored), ("small", small.stored), ("tree", tree.stored)].map(|(n, s)| (port(n), s)).into();
    let ready = ReadyCommit { artifacts, objects, provenance: provenance(), timeline: Default::default() };
    assert_eq!(store.commit(&slot, ready).await.unwrap(), Filled::Ours);
    store.sync().await.unwrap();
    (snapshot, before, durable)
}

#[tokio::test]
async fn a_crash_between_upload_and_commit_leaves_no_artifact_and_one_after_it_loses_none() {
    for (fs, most) in [(CrashFs::new(), 150), (CrashFs::with_reflinks(), 40)] {
        let limits = |point: usize| CrashLimits { images: most, seed: point as u64 };
        let rows = place();
        fs.create_dir_all(Path::new("/p")).unwrap();
        fs.settle();
        let (snapshot, before, durable) = whole_commit(&fs, rows.path()).await;
        let Snapshot::Durable { id, .. } = snapshot else { panic!("nobody fenced") };
        let (mut images, mut commits, mut restores) = (0, BTreeSet::new(), BTreeSet::new());
        let last = fs.crash_points();
        for point in before..=last {
            for image in fs.images_within(point, limits(point)) {
                images += 1;
                if !names(&image, "checkpoints/") {
                    assert!(point < durable, "I4: the checkpoint was called durable and is gone");
                    restores.insert(false);
                    continue;
                }
                let rows = place();
                let (objects, store) = open(&image, rows.path());
                for transaction in image.transactions() {
                    objects.replay(&transaction).await.unwrap();
                }
                let committed = check(&store, &id.slot.key).await;
                commits.insert(committed.is_some());
                // I9: what was synced is there whatever else was lost.
                assert!(point < last || committed.is_some(), "the commit was synced and is gone");
                let listed = store.checkpoints(&id.slot.key).await.unwrap();
                for listed in &listed {
                    assert!(store.checkpoint_is_whole(listed).await.unwrap(), "a torn checkpoint after {point}");
                }
                restores.insert(!listed.is_empty());
                if committed.is_some() {
                    assert_eq!(listed, [id], "the checkpoint was durable before the commit");
                }
                if point == last {
                    let to = Path::new("/p/restored");
                    image.create_dir_all(to).unwrap();
                    store.restore(&id.slot, &id, to).await.unwrap().unwrap();
                    assert_eq!(image.read(&to.join("epoch-1/weights")).unwrap(), vec![3; LARGE]);
                }
            }
        }
        assert!(images > 100, "{images} images");
        assert_eq!(commits, BTreeSet::from([false, true]), "both sides of the commit were seen");
        assert_eq!(restores, BTreeSet::from([false, true]));
    }
}

#[tokio::test]
async fn a_crash_while_code_is_brought_in_leaves_it_whole_or_unnamed() {
    let fs = CrashFs::new();
    let rows = place();
    fs.create_dir_all(Path::new("/p/code")).unwrap();
    for (name, size) in [("a.py", 10), ("weights", LARGE), ("whole", ALONE)] {
        let mut file = fs.create_new(&Path::new("/p/code").join(name)).unwrap();
        file.write_all(&vec![7; size]).unwrap();
    }
    fs.settle();
    let (_objects, store) = open(&fs, rows.path());
    let before = fs.crash_points();
    let taken = store.take_brought(&run("r"), Path::new("/p/code"), ArtifactKind::Tree).await.unwrap();
    let brought = taken.stored.clone();
    store.put_small(taken.objects).await.unwrap();
    let new = prunella_store::NewRun {
        run: run("r"),
        graph: graph("p"),
        brought: vec![taken.stored],
        targets: Vec::new(),
        base: None,
    };
    store.create_run(new).await.unwrap();
    let mut seen = BTreeSet::new();
    for point in before..=fs.crash_points() {
        for image in fs.images_at(point) {
            if !names(&image, "/graph") {
                seen.insert(false);
                continue;
            }
            let rows = place();
            let (objects, store) = open(&image, rows.path());
            for transaction in image.transactions() {
                objects.replay(&transaction).await.unwrap();
            }
            let named = store.graph(&run("r")).await.is_ok();
            seen.insert(named);
            if named {
                store.verify(&brought).await.unwrap();
            }
            assert_eq!(image.read(Path::new("/p/code/a.py")).unwrap(), vec![7; 10], "the source stays as it was");
        }
    }
    assert_eq!(seen, BTreeSet::from([false, true]));
}
