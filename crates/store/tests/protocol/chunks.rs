//! Large files in chunks: they come back as they were, share what is alike, and damage of one chunk is damage of its file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prunella_model::{ArtifactKind, Digest, RunId, SlotId};
use prunella_objects::ObjectKey;
use prunella_store::records::StoredArtifact;
use prunella_store::{
    Alike, ClaimRequest, DriverLease, Filled, NewRun, ReadyCommit, Remembered, Retention, Store, StoreError, measure,
};
use prunella_testkit::{Fault, Faulty};

use crate::bench::*;
use crate::gc_world::Journals;

const MIB: usize = 1 << 20;

/// Bytes that look random and are always the same.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let words = (0..len.div_ceil(8)).flat_map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 29)).to_le_bytes()
    });
    words.take(len).collect()
}

/// A tree of large and small files.
fn tree(bench: &Bench) -> PathBuf {
    for (name, len) in [("tree/a", 7 * MIB + 1), ("tree/d/b", 30 * MIB), ("tree/d/run", 600_000), ("tree/small", 9)] {
        bench.file(name, &noise(len, len as u64));
    }
    let tree = bench.scratch.path().join("tree");
    std::fs::set_permissions(tree.join("d/run"), std::fs::Permissions::from_mode(0o755)).unwrap();
    tree
}

async fn bring(
    bench: &Bench,
    store: &Store,
    id: &RunId,
    path: &Path,
    known: &HashMap<Digest, StoredArtifact>,
) -> Result<StoredArtifact, StoreError> {
    let contents = measure(&bench.sys, path, &bench.scratch.path().join("cache"), Remembered::Ignored).unwrap();
    store.bring_in(id, path, &contents, known, &bench.scratch.path().join("notes")).await
}

async fn begin(store: &Store, id: &RunId, brought: StoredArtifact) -> HashMap<Digest, StoredArtifact> {
    let new = NewRun { run: id.clone(), graph: graph("p"), brought: vec![brought], targets: Vec::new(), base: None };
    store.create_run(new).await.unwrap();
    store.brought_before(&graph("p").pipeline.name).await.unwrap()
}

/// Returns all objects with bytes of files, and how many bytes those have.
async fn stored(bench: &Bench) -> HashMap<String, u64> {
    let listed = bench.objects.list("data/", None, usize::MAX).await.unwrap();
    listed.into_iter().map(|listed| (listed.key.to_string(), listed.size)).collect()
}

#[tokio::test]
async fn a_large_file_lies_in_chunks_and_comes_back_as_it_was() {
    for bench in Bench::in_chunks() {
        let store = bench.member();
        let content = noise(40 * MIB + 3, 1);
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        let path = bench.file("large", &content);
        let taken = store.take_output(&slot, &path, ArtifactKind::File).await.unwrap();
        assert!(taken.stored.in_chunks && taken.stored.artifact.digest == Digest::of(&content), "{}", bench.name);

        // What checks it sees the bytes that were taken in, wherever it looks.
        let file = taken.files().next().unwrap();
        let mut reader = store.open_taken(&taken, &file).await.unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut last = [0; 5];
            reader.seek(SeekFrom::End(-5)).unwrap();
            reader.read_exact(&mut last).unwrap();
            let mut all = Vec::new();
            reader.seek(SeekFrom::Start(0)).unwrap();
            reader.read_to_end(&mut all).unwrap();
            (last, all)
        });
        let (last, all) = read.await.unwrap();
        assert!(all == content && last == content[content.len() - 5..]);

        store.put_small(taken.objects.clone()).await.unwrap();
        let objects = store.manifest(&taken.stored).await.unwrap().objects;
        assert_eq!(objects.len(), 3, "{}: of at most 16 MiB each", bench.name);
        assert!(stored(&bench).await.values().all(|size| *size <= 16 * MIB as u64));
        assert_eq!(store.verify(&taken.stored).await.unwrap(), content.len() as u64);
        for to in ["laid", "outside"] {
            let to = bench.scratch.path().join(to);
            match to.ends_with("laid") {
                true => store.lay_out(&taken.stored, &to).await.unwrap(),
                false => store.lay_out_outside(&taken.stored, &to).await.unwrap(),
            };
            assert!(std::fs::read(to).unwrap() == content);
        }
        assert!(store.read_small(&taken.stored, u64::MAX).await.unwrap().unwrap() == content);
    }
}

#[tokio::test]
async fn in_one_directory_a_large_file_stays_one_object() {
    let bench = Bench::embedded();
    let store = bench.member();
    let slot = claim(&store, &request(bench.owner(1), "a")).await;
    let taken = store.take_output(&slot, &bench.file("x", &noise(MIB, 1)), ArtifactKind::File).await.unwrap();
    assert!(!taken.stored.in_chunks && taken.manifest.is_none());
}

#[tokio::test]
async fn of_a_tree_every_file_comes_back_and_verify_reads_every_chunk() {
    for bench in Bench::in_chunks() {
        let (store, tree) = (bench.member(), tree(&bench));
        let stored = bring(&bench, &store, &run("r"), &tree, &HashMap::new()).await.unwrap();
        let to = bench.scratch.path().join("laid");
        store.lay_out(&stored, &to).await.unwrap();
        for name in ["a", "d/b", "d/run", "small"] {
            assert!(std::fs::read(to.join(name)).unwrap() == std::fs::read(tree.join(name)).unwrap(), "{name}");
        }
        assert_eq!(std::fs::metadata(to.join("d/run")).unwrap().permissions().mode() & 0o100, 0o100);
        assert_eq!(store.verify(&stored).await.unwrap(), stored.artifact.size_bytes);
        let (mut bytes, mut begin) = (0, 0);
        for promised in store.promised_objects(&stored).await.unwrap() {
            assert_eq!(store.verify_promised(&promised.object, &promised.files).await.unwrap(), []);
            bytes += promised.files.iter().map(|file| file.size_bytes).sum::<u64>();
            begin += promised.files.iter().filter(|file| file.begins()).count();
        }
        assert_eq!((bytes, begin), (stored.artifact.size_bytes, 4), "every byte once, and four files");
    }
}

#[tokio::test]
async fn a_second_upload_sends_only_what_is_new() {
    for bench in Bench::in_chunks() {
        let (store, tree) = (bench.member(), tree(&bench));
        let first = bring(&bench, &store, &run("first"), &tree, &HashMap::new()).await.unwrap();
        let known = begin(&store, &run("first"), first.clone()).await;
        let before = stored(&bench).await;
        // Something is put in, something is added at the end, and one file is as it was.
        let (mut a, mut b) = (std::fs::read(tree.join("a")).unwrap(), std::fs::read(tree.join("d/b")).unwrap());
        a.splice(3 * MIB..3 * MIB, *b"put in");
        b.extend(noise(MIB, 77));
        bench.file("tree/a", &a);
        bench.file("tree/d/b", &b);
        let second = bring(&bench, &store, &run("second"), &tree, &known).await.unwrap();
        store.verify(&second).await.unwrap();
        let to = bench.scratch.path().join("laid");
        store.lay_out(&second, &to).await.unwrap();
        assert!(std::fs::read(to.join("a")).unwrap() == a && std::fs::read(to.join("d/b")).unwrap() == b);
        let new: u64 =
            stored(&bench).await.iter().filter(|(key, _)| !before.contains_key(*key)).map(|(_, size)| size).sum();
        assert!(new > MIB as u64 && new < 10 * MIB as u64, "{}: {new} bytes of 38 MiB", bench.name);
        let pins = bench.objects.list("pins/run-second-", None, 9).await.unwrap();
        assert_eq!(pins.len(), 1, "what is relied on is pinned");

        // A single file as well.
        let known = begin(&store, &run("second"), second).await;
        let before = stored(&bench).await;
        let single = bring(&bench, &store, &run("third"), &tree.join("d/b"), &known).await.unwrap();
        store.verify(&single).await.unwrap();
        let new: Vec<_> = stored(&bench).await.into_iter().filter(|(key, _)| !before.contains_key(key)).collect();
        assert!(single.in_chunks && matches!(new.as_slice(), [(_, size)] if *size < 10_000), "its manifest: {new:?}");
    }
}

#[tokio::test]
async fn an_upload_that_was_killed_is_gone_on_with() {
    for bench in Bench::in_chunks() {
        let tree = tree(&bench);
        let faulty = Faulty::new(bench.objects.clone());
        let killed = Store::new(Arc::new(faulty.clone()), bench.sys.clone());
        (2..50).for_each(|n| faulty.inject(n, Fault::NoSpace));
        bring(&bench, &killed, &run("killed"), &tree, &HashMap::new()).await.unwrap_err();
        let before: HashSet<String> = stored(&bench).await.into_keys().collect();
        assert_eq!(before.len(), 2, "{}", bench.name);
        let store = bench.member();
        let next = bring(&bench, &store, &run("next"), &tree, &HashMap::new()).await.unwrap();
        store.verify(&next).await.unwrap();
        let named: HashSet<String> = store.manifest(&next).await.unwrap().objects.into_iter().collect();
        assert!(before.is_subset(&named), "{}: what was there is made again", bench.name);
    }
}

#[tokio::test]
async fn i1_visible_one_wrong_byte_is_damage_of_one_file_and_a_wrong_copy_of_none() {
    let bench = Bench::bucket();
    let (store, tree) = (bench.member(), tree(&bench));
    let stored = bring(&bench, &store, &run("r"), &tree, &HashMap::new()).await.unwrap();
    let laid = async |to: &str| store.lay_out(&stored, &bench.scratch.path().join(to)).await;
    laid("first").await.unwrap();
    // All copies of this machine rot.
    let mut left = vec![bench.scratch.path().join("store/cache")];
    let mut rotten = 0;
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false if std::fs::metadata(&path).unwrap().len() > 1_000_000 => {
                    let mut bytes = std::fs::read(&path).unwrap();
                    bytes[500_000] ^= 1;
                    std::fs::remove_file(&path).unwrap();
                    std::fs::write(&path, bytes).unwrap();
                    rotten += 1;
                }
                false => {}
            }
        }
    }
    assert!(rotten >= 3, "{rotten}");
    laid("second").await.unwrap();
    // The store itself does.
    let manifest = store.manifest(&stored).await.unwrap();
    let (at, chunks) = manifest.chunks.iter().find(|(_, chunks)| chunks.len() > 10).unwrap();
    let (path, chunk) = (&manifest.entries[*at as usize].entry.path, chunks[7]);
    let object = manifest.object(chunk.place);
    let flip = |bytes: &mut Vec<u8>| bytes[chunk.place.offset as usize + 9] ^= 1;
    bench.held().damage("bucket", &format!("store/{object}"), flip).unwrap();
    for read in [
        store.verify(&stored).await.map(drop),
        store.lay_out_outside(&stored, &bench.scratch.path().join("third")).await.map(drop),
    ] {
        let Err(StoreError::Damaged { object: named, problem }) = read else { panic!("{read:?}") };
        assert!(named == object && problem.contains(path) && problem.contains("its bytes are"), "{named}: {problem}");
    }
    for promised in store.promised_objects(&stored).await.unwrap() {
        let wrong = store.verify_promised(&promised.object, &promised.files).await.unwrap();
        assert_eq!(wrong.len(), usize::from(promised.object == object), "one chunk");
    }
    // What is cut short, and what is gone.
    bench.held().damage("bucket", &format!("store/{object}"), |bytes| bytes.truncate(1000)).unwrap();
    assert!(matches!(store.verify(&stored).await, Err(StoreError::Damaged { .. })));
    bench.held().lose("bucket", &format!("store/{object}"));
    let gone = store.verify(&stored).await;
    assert!(matches!(&gone, Err(StoreError::Damaged { problem, .. }) if problem.contains("missing")), "{gone:?}");
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_cut_is_refused() {
    for bench in Bench::in_chunks() {
        let (store, path) = (bench.member(), bench.file("large", &noise(5 * MIB, 1)));
        let contents = measure(&bench.sys, &path, &bench.scratch.path().join("cache"), Remembered::Ignored).unwrap();
        bench.file("large", &noise(5 * MIB, 2));
        let notes = bench.scratch.path().join("notes");
        let refused = store.bring_in(&run("r"), &path, &contents, &HashMap::new(), &notes).await;
        assert!(matches!(refused, Err(StoreError::Unfit { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn what_is_alike_within_one_upload_lies_there_once() {
    for bench in Bench::in_chunks() {
        let store = bench.member();
        bench.file("tree/a", &vec![0; 40 * MIB]);
        bench.file("tree/b", &vec![0; 24 * MIB]);
        let tree = bench.scratch.path().join("tree");
        let brought = bring(&bench, &store, &run("r"), &tree, &HashMap::new()).await.unwrap();
        assert_eq!(store.verify(&brought).await.unwrap(), 64 * MIB as u64);
        let bytes: u64 = stored(&bench).await.values().sum();
        assert!(bytes < 5 * MIB as u64, "{}: {bytes}", bench.name);
        let key = ObjectKey::new(&store.manifest(&brought).await.unwrap().objects[0]).unwrap();
        bench.objects.delete(&key).await.unwrap();
        assert!(store.verify(&brought).await.is_err());
    }
}

/// Returns how many bytes are in objects that were not there before.
async fn sent_since(bench: &Bench, before: &HashMap<String, u64>) -> u64 {
    stored(bench).await.iter().filter(|(key, _)| !before.contains_key(*key)).map(|(_, size)| size).sum()
}

#[tokio::test]
async fn a_checkpoint_sends_what_is_new_since_the_one_before_also_of_another_attempt() {
    for bench in Bench::in_chunks() {
        let store = bench.member();
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        let mut content = noise(20 * MIB, 5);
        let before = stored(&bench).await;
        store.put_checkpoint(&slot, 1, "c", &bench.file("c1", &content), None).await.unwrap();
        assert!(sent_since(&bench, &before).await > 20 * MIB as u64);
        let before = stored(&bench).await;
        content[9 * MIB] ^= 1;
        store.put_checkpoint(&slot, 2, "c", &bench.file("c2", &content), None).await.unwrap();
        let new = sent_since(&bench, &before).await;
        assert!(new < 5 * MIB as u64, "{}: {new}", bench.name);
        assert_eq!(bench.objects.list("pins/", None, 9).await.unwrap(), [], "its own it need not pin");
        // The attempt dies; the next one goes on, and pins what it leans on.
        bench.dies(1);
        let next = claim(&store, &request(bench.owner(2), "b")).await;
        let newest = store.checkpoints(&next.key).await.unwrap()[0];
        let to = bench.scratch.path().join("gone on from");
        std::fs::create_dir(&to).unwrap();
        store.restore(&next, &newest, &to).await.unwrap().unwrap();
        let before = stored(&bench).await;
        content[1] ^= 1;
        store.put_checkpoint(&next, 1, "c", &bench.file("c3", &content), None).await.unwrap();
        let new = sent_since(&bench, &before).await;
        assert!(new < 5 * MIB as u64, "{}: {new}", bench.name);
        assert_eq!(bench.objects.list("pins/", None, 9).await.unwrap().len(), 2, "to read it, and to lean on it");
        let newest = store.checkpoints(&next.key).await.unwrap()[0];
        let to = bench.scratch.path().join("restored");
        std::fs::create_dir(&to).unwrap();
        store.restore(&next, &newest, &to).await.unwrap().unwrap();
        assert!(std::fs::read(to.join("c")).unwrap() == content);
    }
}

/// One run that makes an output of its own key, and lets its name mean that.
struct Maker {
    bench: Bench,
    store: Store,
    journals: Journals,
}

impl Maker {
    fn new(bench: Bench) -> Self {
        let store = bench.member();
        Self { bench, store, journals: Journals::default() }
    }

    /// Commits the content in a run of this name, which then has ended.
    async fn make(&self, name: &str, content: &[u8]) -> (SlotId, StoredArtifact) {
        let pid = 10 + name.len() as u32;
        let new = NewRun { run: run(name), graph: graph("p"), brought: Vec::new(), targets: Vec::new(), base: None };
        let order = self.store.create_run(new).await.unwrap().order;
        let owner = self.bench.owner(pid);
        let DriverLease::Ours { n, .. } = self.store.drive(&run(name), &owner, false, false).await.unwrap() else {
            panic!("nobody else drives it")
        };
        let (slot, stored) = self.attempt(name, content).await;
        let named = BTreeMap::from([("train.out".to_owned(), (slot, stored.clone()))]);
        self.store.move_names(&graph("p").pipeline.name, order, &run(name), named).await.unwrap();
        self.journals.0.lock().unwrap().insert(run(name), n);
        self.bench.dies(pid);
        (slot, stored)
    }

    async fn attempt(&self, name: &str, content: &[u8]) -> (SlotId, StoredArtifact) {
        let asked = ClaimRequest { key: key(name), ..request(self.bench.owner(10 + name.len() as u32), name) };
        let slot = claim(&self.store, &asked).await;
        let (pipeline, step, output) = (graph("p").pipeline.name, step("train"), port("out"));
        let alike = Alike { pipeline: &pipeline, step: &step, output: &output };
        let path = self.bench.file(name, content);
        let taken = self.store.take_output_alike(&slot, &path, ArtifactKind::File, &alike).await.unwrap();
        let artifacts = BTreeMap::from([(output, taken.stored.clone())]);
        let (objects, timeline) = (taken.objects, Default::default());
        let ready = ReadyCommit { artifacts, objects, provenance: provenance(), timeline };
        assert_eq!(self.store.commit(&slot, ready).await.unwrap(), Filled::Ours);
        (slot, taken.stored)
    }
}

#[tokio::test]
async fn i8_gc_an_output_leans_on_the_one_before_which_stays_as_far_as_it_is_needed() {
    for bench in Bench::in_chunks() {
        let maker = Maker::new(bench);
        let mut content = noise(40 * MIB, 9);
        let (_, old) = maker.make("old", &content).await;
        let before = stored(&maker.bench).await;
        content[25 * MIB] ^= 1;
        let (_, new) = maker.make("newer", &content).await;
        let sent = sent_since(&maker.bench, &before).await;
        assert!(sent < 5 * MIB as u64, "{}: {sent}", maker.bench.name);
        let retention = Retention { runs: 1, checkpoints: 1 };
        let collected = maker.store.collect(&maker.journals, &retention).await.unwrap();
        assert!(collected.retired.len() == 1, "{}: the old commit goes: {collected:?}", maker.bench.name);
        assert_eq!(maker.store.verify(&new).await.unwrap(), content.len() as u64);
        assert!(maker.store.verify(&old).await.is_err(), "its manifest went");
    }
}

#[tokio::test]
async fn i1_visible_what_is_made_anew_after_damage_leans_on_nothing() {
    for bench in Bench::in_chunks() {
        let maker = Maker::new(bench);
        let content = noise(20 * MIB, 9);
        let (slot, lost) = maker.make("old", &content).await;
        maker.store.mark_damaged(&slot, &lost.object, "it is lost").await.unwrap();
        let before = stored(&maker.bench).await;
        let (again, anew) = maker.attempt("old", &content).await;
        assert!(again.epoch > slot.epoch);
        assert!(sent_since(&maker.bench, &before).await > 20 * MIB as u64, "{}: all of it is sent", maker.bench.name);
        let named = |manifest: prunella_store::records::TreeManifest| manifest.objects;
        let lost: HashSet<String> = named(maker.store.manifest(&lost).await.unwrap()).into_iter().collect();
        assert!(named(maker.store.manifest(&anew).await.unwrap()).iter().all(|object| !lost.contains(object)));
        // Nor on what it leaned on itself, though nobody marked that.
        let (named, _) = maker.make("newest", &content).await;
        let before = stored(&maker.bench).await;
        let (leaned, lost) = maker.attempt("leans", &content).await;
        assert!(sent_since(&maker.bench, &before).await < MIB as u64 && named.key != leaned.key);
        maker.store.mark_damaged(&leaned, &lost.object, "it is lost").await.unwrap();
        let before = stored(&maker.bench).await;
        maker.attempt("leans", &content).await;
        assert!(sent_since(&maker.bench, &before).await > 20 * MIB as u64, "{}", maker.bench.name);
    }
}

#[tokio::test]
async fn i1_visible_another_key_does_not_lean_on_what_is_marked_as_damaged() {
    for bench in Bench::in_chunks() {
        let maker = Maker::new(bench);
        let content = noise(20 * MIB, 9);
        let (slot, lost) = maker.make("old", &content).await;
        maker.store.mark_damaged(&slot, &lost.object, "it is lost").await.unwrap();
        let before = stored(&maker.bench).await;
        maker.attempt("another", &content).await;
        assert!(sent_since(&maker.bench, &before).await > 20 * MIB as u64, "{}", maker.bench.name);
    }
}

#[tokio::test]
async fn i4_ratchet_a_checkpoint_leans_on_none_that_was_not_read() {
    let bench = Bench::bucket();
    let store = bench.member();
    let slot = claim(&store, &request(bench.owner(1), "a")).await;
    let content = noise(20 * MIB, 5);
    store.put_checkpoint(&slot, 1, "c", &bench.file("c1", &content), None).await.unwrap();
    // It rots, and its attempt dies.
    let lost: HashSet<String> =
        stored(&bench).await.into_iter().filter(|(_, size)| *size > MIB as u64).map(|one| one.0).collect();
    for object in &lost {
        bench.held().damage("bucket", &format!("store/{object}"), |bytes| bytes[777] ^= 1).unwrap();
    }
    bench.dies(1);
    let elsewhere = bench.member();
    let next = claim(&elsewhere, &request(bench.owner(2), "b")).await;
    let before = stored(&bench).await;
    elsewhere.put_checkpoint(&next, 1, "c", &bench.file("c2", &content), None).await.unwrap();
    assert!(sent_since(&bench, &before).await > 20 * MIB as u64, "all of it is sent");
    let newest = elsewhere.checkpoints(&next.key).await.unwrap()[0];
    assert!(newest.slot == next && elsewhere.checkpoint_is_whole(&newest).await.unwrap());
}

#[tokio::test]
async fn small_files_that_are_as_they_were_are_not_sent_again() {
    for bench in Bench::in_chunks() {
        let store = bench.member();
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        for n in 0..100 {
            bench.file(&format!("c1/{n}"), &noise(30_000, n));
            bench.file(&format!("c2/{n}"), &noise(30_000, if n == 7 { 1000 } else { n }));
        }
        let path = |name: &str| bench.scratch.path().join(name);
        store.put_checkpoint(&slot, 1, "c", &path("c1"), None).await.unwrap();
        let before = stored(&bench).await;
        store.put_checkpoint(&slot, 2, "c", &path("c2"), None).await.unwrap();
        let sent = sent_since(&bench, &before).await;
        assert!(sent < 50_000, "{}: one file and the manifest: {sent}", bench.name);
        let newest = store.checkpoints(&slot.key).await.unwrap()[0];
        assert!(store.checkpoint_is_whole(&newest).await.unwrap());
    }
}
