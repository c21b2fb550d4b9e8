//! I8: collection never removes what a retained run, a live checkpoint, an open attempt or a name needs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prunella_model::*;
use prunella_objects::{Created, ObjectKey};
use prunella_store::records::StoredArtifact;
use prunella_store::{
    ClaimRequest, Claimed, DriverLease, Guarded, Layout, NewRun, Retention, Snapshot, Store, StoreError,
};
use prunella_sys::{Random, SeededRandom, Sys};
use prunella_testkit::{Fault, Faulty, for_each_seed};
use tokio::task::JoinSet;

use crate::bench::*;
use crate::gc_world::*;

const ONE: Retention = Retention { runs: 1, checkpoints: 1 };

/// Files to take in, each under a name of its own.
struct Scratch(PathBuf, AtomicUsize);

impl Scratch {
    fn file(&self, content: &[u8]) -> PathBuf {
        let path = self.0.join(format!("f{}", self.1.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// What a run of these tests is made of.
#[derive(Clone)]
struct Part {
    store: Store,
    journals: Journals,
    scratch: Arc<Scratch>,
    owner: prunella_store::records::Owner,
}

impl Part {
    fn new(bench: &Bench, store: Store, journals: &Journals, pid: u32) -> Self {
        let scratch = Arc::new(Scratch(bench.scratch.path().join(format!("p{pid}")), AtomicUsize::new(0)));
        std::fs::create_dir_all(&scratch.0).unwrap();
        Self { store, journals: journals.clone(), scratch, owner: bench.owner(pid) }
    }

    async fn begin(&self, id: &RunId) -> StoredArtifact {
        // Some bring in what the run before them did, some do not.
        let content: &[u8] = if self.owner.process.pid.is_multiple_of(2) { b"code of some" } else { b"code of others" };
        let path = self.scratch.file(content);
        let (digest, size_bytes) = (Digest::of(content), content.len() as u64);
        let artifact = Artifact { kind: ArtifactKind::File, digest, size_bytes };
        let known = self.store.brought_before(&PipelineName::new("p").unwrap()).await.unwrap();
        let stored =
            self.store.bring_in(id, &path, &artifact.into(), &known, &self.scratch.0.join("notes")).await.unwrap();
        let new = NewRun {
            run: id.clone(),
            graph: graph("p"),
            brought: vec![stored.clone()],
            targets: Vec::new(),
            base: None,
        };
        self.store.create_run(new).await.unwrap();
        stored
    }

    async fn drive(&self, id: &RunId) -> Option<u64> {
        match self.store.drive(id, &self.owner, false, false).await {
            Ok(DriverLease::Ours { n, .. }) => Some(n),
            Ok(DriverLease::Live(..)) => None,
            Err(StoreError::GivenUp { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Makes or reuses a key; nothing if another's live attempt stands in the way.
    async fn step(&self, id: &RunId, name: &str, random: &dyn Random) -> Option<SlotId> {
        let key = key(name);
        if let Some(Guarded::Committed(slot, _)) = self.store.guard(id, &[key]).await.unwrap().into_iter().next() {
            return Some(slot);
        }
        let asked = ClaimRequest { key, ..request(self.owner.clone(), id.as_str()) };
        let words = Words { impatient: true, ..Words::default() };
        let slot = match self.store.claim(&asked, &words).await.unwrap() {
            Claimed::Ours(slot, _) => slot,
            Claimed::Reused(slot, _) => return Some(slot),
            Claimed::Stopped => return None,
        };
        let restored = self.restore(&slot, &key).await;
        for seq in 1..=random.u64() % 3 {
            let staged = self.scratch.file(format!("{slot} {seq}").as_bytes());
            if self.store.put_checkpoint(&slot, seq, "e", &staged, None).await.unwrap() == Snapshot::Fenced {
                return None;
            }
        }
        if let Some(stored) = restored
            && let Err(error) = self.store.verify(&stored).await
        {
            // Pinned: it stays while this attempt is open.
            assert!(self.store.end_of(&slot).await.unwrap().is_some(), "I8: {slot} restored from it: {error}");
        }
        match random.u64() % 4 {
            // It is given up, and stays open until somebody closes it.
            0 => None,
            _ => {
                let output = self.scratch.file(format!("made by {slot}").as_bytes());
                match commit(&self.store, &slot, &output).await.unwrap() {
                    prunella_store::Filled::Ours => Some(slot),
                    prunella_store::Filled::Theirs(_) => None,
                }
            }
        }
    }

    /// Goes on from the newest checkpoint that can be relied on.
    async fn restore(&self, slot: &SlotId, key: &StepKey) -> Option<StoredArtifact> {
        for id in self.store.checkpoints(key).await.unwrap() {
            let to = self.scratch.0.join(format!("r{}", self.scratch.1.fetch_add(1, Ordering::Relaxed)));
            std::fs::create_dir_all(&to).unwrap();
            if let Ok((record, _)) = self.store.restore(slot, &id, &to).await.unwrap() {
                return Some(record.stored);
            }
        }
        None
    }

    async fn reads(&self, what: &str, slot: &SlotId) {
        let committed = self.store.committed(slot).await.unwrap().expect("a commit stays");
        for one in self.store.verify_commit(&committed).await {
            one.outcome.unwrap_or_else(|error| panic!("I8: {what} relies on {slot}: {error}"));
        }
    }

    /// A whole run: some steps, each of which is relied on until the end.
    async fn run(self, id: RunId, seed: u64) {
        let random = SeededRandom::new(seed);
        let brought = self.begin(&id).await;
        let Some(n) = self.drive(&id).await else { panic!("a new run is nobody's") };
        self.go_on(&id, n, &random).await;
        self.store.verify(&brought).await.unwrap_or_else(|error| panic!("I8: {id} brought it in: {error}"));
        self.end(&id, n).await;
    }

    async fn go_on(&self, id: &RunId, driver: u64, random: &dyn Random) {
        let mut relied: BTreeMap<StepId, SlotId> = BTreeMap::new();
        for (i, name) in ["a", "b", "c"].into_iter().enumerate() {
            if let Some(slot) = self.step(id, name, random).await {
                let n = driver * 10 + i as u64;
                self.store.objects().batch(vec![Store::binding_op(id, &step(name), n, slot)]).await.unwrap();
                relied.insert(step(name), slot);
            }
            for slot in relied.values() {
                self.reads(id.as_str(), slot).await;
            }
        }
    }

    async fn end(&self, id: &RunId, driver: u64) {
        let order = self.store.graph(id).await.unwrap().order;
        let mut artifacts = BTreeMap::new();
        for (step, (_, slot)) in self.store.bindings(id).await.unwrap() {
            let committed = self.store.committed(&slot).await.unwrap().expect("a commit stays");
            artifacts.insert(format!("{step}.out"), (slot, committed.artifacts[&port("out")].clone()));
        }
        if artifacts.len() == 3 {
            self.store.move_names(&PipelineName::new("p").unwrap(), order, id, artifacts).await.unwrap();
        }
        self.journals.0.lock().unwrap().insert(id.clone(), driver);
    }

    /// Goes on with a run that has ended; if it gets it, everything it is bound to is there.
    async fn resume(self, id: RunId, seed: u64) {
        let Some(n) = self.drive(&id).await else { return };
        for (_, slot) in self.store.bindings(&id).await.unwrap().into_values() {
            self.reads("a resumed run", &slot).await;
        }
        let graph = self.store.graph(&id).await.unwrap();
        for stored in &graph.brought {
            self.store.verify(stored).await.unwrap_or_else(|error| panic!("I8: resumed {id}: {error}"));
        }
        self.go_on(&id, n, &SeededRandom::new(seed)).await;
        self.end(&id, n).await;
    }
}

/// Everything that must be there at rest: what the retained run and the names show, and commits that stand.
async fn whole(bench: &Bench, what: &str) {
    let store = bench.member();
    for name in ["a", "b", "c"] {
        check(&store, &key(name)).await;
    }
    let pipeline = PipelineName::new("p").unwrap();
    if let Some(names) = store.names(&pipeline).await.unwrap() {
        for (name, (_, stored)) in names.artifacts {
            store.verify(&stored).await.unwrap_or_else(|error| panic!("I8: {what}: name {name}: {error}"));
        }
    }
    if let Some(newest) = store.runs_of(&pipeline, 1).await.unwrap().first() {
        for stored in store.graph(&newest.run).await.unwrap().brought {
            store.verify(&stored).await.unwrap_or_else(|error| panic!("I8: {what}: brought in: {error}"));
        }
        for (_, slot) in store.bindings(&newest.run).await.unwrap().into_values() {
            for one in store.verify_commit(&store.committed(&slot).await.unwrap().unwrap()).await {
                one.outcome.unwrap_or_else(|error| panic!("I8: {what}: the newest run's {slot}: {error}"));
            }
        }
    }
}

fn world(random: &dyn Random) -> Bench {
    let mut bench = Bench::memory();
    bench.sys = Sys { random: Arc::new(SeededRandom::new(random.u64())), ..bench.sys.clone() };
    bench
}

fn play_one(random: &dyn Random) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bench = world(random);
        let journals = Journals::default();
        // What earlier runs left: two ended, the first of which nothing retains.
        for (pid, id) in [(1, "old"), (2, "before")] {
            Part::new(&bench, bench.member(), &journals, pid).run(run(id), random.u64()).await;
            bench.dies(pid);
        }
        let (turns, mut tasks, mut killed) = (Turns::default(), JoinSet::new(), BTreeMap::new());
        for (who, id) in [(10, "x"), (11, "y")] {
            let seed = random.u64();
            turns.join(&mut tasks, who, &bench, |store| {
                Part::new(&bench, store, &journals, who as u32).run(run(id), seed)
            });
        }
        let seed = random.u64();
        turns.join(&mut tasks, 12, &bench, |store| Part::new(&bench, store, &journals, 12).resume(run("old"), seed));
        for who in [20, 21] {
            let journals = journals.clone();
            turns.join(&mut tasks, who, &bench, |store| async move {
                for _ in 0..2 {
                    store.collect(&journals, &ONE).await.unwrap();
                }
            });
        }
        // Somebody is killed somewhere, or is taken for dead although it is not.
        match random.u64() % 6 {
            0 => drop(killed.insert(20, random.u64() as usize % 150)),
            1 => drop(killed.insert(10, random.u64() as usize % 80)),
            2 => bench.dies(11),
            3 => bench.dies(12),
            _ => {}
        }
        turns.play(random, &mut tasks, &killed).await;
        whole(&bench, "after all").await;
        // All are dead; the last collection finds the end of it.
        [10, 11, 12].into_iter().for_each(|pid| bench.dies(pid));
        bench.member().collect(&journals, &ONE).await.unwrap();
        whole(&bench, "after the last collection").await;
        let again = bench.member().collect(&journals, &ONE).await.unwrap();
        assert_eq!((again.deleted.objects, again.runs.len(), again.retired.len()), (0, 0, 0), "nothing is left over");
    });
}

#[test]
fn i8_gc_beside_runs_reuse_resumption_and_another_collector() {
    for_each_seed(600, play_one);
}

/// Stops one somewhere, then a collection anywhere, lets the first end, then the collection: every pair of places.
///
/// A third run takes the place of the newest in between, so that what the first has seen is no longer retained.
fn at_every_pair_of_places(first: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut pairs = 0;
        for stop in 0..25 {
            for n in (stop % 3..ALL).step_by(3) {
                let random = SeededRandom::new(7);
                let bench = world(&random);
                let journals = Journals::default();
                settled(&bench, &journals).await;
                let (turns, mut tasks) = (Turns::default(), JoinSet::new());
                turns.join(&mut tasks, 10, &bench, |store| {
                    let part = Part::new(&bench, store, &journals, 10);
                    let first = first.to_owned();
                    async move {
                        match first.as_str() {
                            "new" => part.run(run("x"), 1).await,
                            old => part.resume(run(old), 1).await,
                        }
                    }
                });
                turns.join(&mut tasks, 11, &bench, |store| Part::new(&bench, store, &journals, 11).run(run("y"), 1));
                let caretaker = journals.clone();
                turns.join(&mut tasks, 20, &bench, |store| async move {
                    store.collect(&caretaker, &ONE).await.unwrap();
                });
                let order = [(10, stop), (11, ALL), (20, n), (10, ALL), (20, ALL)];
                let all_used = turns.play_in_order(&order, &mut tasks).await;
                whole(&bench, &format!("{first} stopped at {stop}, the collection at {n}")).await;
                pairs += 1;
                if !all_used {
                    break;
                }
            }
        }
        assert!(pairs > 500, "only {pairs} pairs of places");
    });
}

#[test]
fn i8_gc_at_every_pair_of_places_with_a_new_run() {
    at_every_pair_of_places("new");
}

#[test]
fn i8_gc_at_every_pair_of_places_with_a_run_that_is_resumed() {
    at_every_pair_of_places("second");
}

/// Two ended runs of different content and an open attempt with a pin and a checkpoint; what must survive.
pub async fn settled(bench: &Bench, journals: &Journals) -> Vec<StoredArtifact> {
    let store = bench.member();
    let mut kept = Vec::new();
    for (pid, id, name) in [(1, "first", "a"), (2, "second", "b")] {
        let part = Part::new(bench, store.clone(), journals, pid);
        let brought = part.begin(&run(id)).await;
        let n = part.drive(&run(id)).await.unwrap();
        let asked = ClaimRequest { key: key(name), ..request(part.owner.clone(), id) };
        let slot = claim(&store, &asked).await;
        let staged = part.scratch.file(b"a checkpoint that nobody needs any more");
        store.put_checkpoint(&slot, 1, "e", &staged, None).await.unwrap();
        commit(&store, &slot, &part.scratch.file(id.as_bytes())).await.unwrap();
        let bound = Store::binding_op(&run(id), &step("train"), 1, slot);
        store.objects().batch(vec![bound]).await.unwrap();
        part.end(&run(id), n).await;
        bench.dies(pid);
        if id == "second" {
            kept.push(brought);
            kept.push(store.committed(&slot).await.unwrap().unwrap().artifacts[&port("out")].clone());
        }
    }
    // A dead attempt left checkpoints; the newest is what its step goes on from.
    let part = Part::new(bench, store.clone(), journals, 3);
    let asked = ClaimRequest { key: key("open"), ..request(part.owner.clone(), "second") };
    let slot = claim(&store, &asked).await;
    for seq in 1..=3 {
        let staged = part.scratch.file(format!("progress {seq}").as_bytes());
        let Snapshot::Durable { id, .. } = store.put_checkpoint(&slot, seq, "e", &staged, None).await.unwrap() else {
            panic!("nobody fenced")
        };
        if seq == 3 {
            kept.push(store.checkpoint(&id).await.unwrap().unwrap().stored);
        }
    }
    bench.dies(3);
    kept
}

#[tokio::test]
async fn i8_gc_killed_between_any_two_operations_loses_nothing_and_goes_on() {
    for embedded in [false, true] {
        let mut n = 0;
        loop {
            let bench = if embedded { Bench::embedded() } else { Bench::memory() };
            let journals = Journals::default();
            let kept = settled(&bench, &journals).await;
            let faulty = Faulty::new(bench.objects.clone());
            faulty.inject(n, Fault::Unreachable);
            let store = Store::new(Arc::new(faulty.clone()), bench.sys.clone());
            let killed = store.collect(&journals, &ONE).await.is_err();
            for stored in &kept {
                let verified = bench.member().verify(stored).await;
                verified.unwrap_or_else(|error| panic!("I8: {} killed at {n}: {error}", bench.name));
            }
            bench.member().collect(&journals, &ONE).await.unwrap();
            let left = objects(&bench).await;
            let needed = kept.iter().map(|stored| stored.object.clone()).collect();
            assert_eq!(left, needed, "{} killed at {n}: exactly what is needed stays", bench.name);
            if !killed {
                assert!(n > 40, "only {n} operations: the collection did nothing");
                break;
            }
            n += if embedded { 7 } else { 1 };
        }
    }
}

#[tokio::test]
async fn i8_gc_lost_replies_change_nothing() {
    let mut n = 0;
    loop {
        let bench = Bench::memory();
        let journals = Journals::default();
        let kept = settled(&bench, &journals).await;
        let faulty = Faulty::new(bench.objects.clone());
        faulty.inject(n, Fault::LostReply);
        let store = Store::new(Arc::new(faulty.clone()), bench.sys.clone());
        // A read whose answer is lost is no answer: the collection ends there. A create is made again.
        let _whatever = store.collect(&journals, &ONE).await;
        let struck = !faulty.calm();
        for stored in &kept {
            bench.member().verify(stored).await.unwrap_or_else(|error| panic!("I8: lost at {n}: {error}"));
        }
        if !struck {
            break;
        }
        n += 1;
    }
}

#[tokio::test]
async fn a_dry_run_says_what_a_collection_then_does_and_changes_nothing() {
    for bench in Bench::each() {
        let journals = Journals::default();
        settled(&bench, &journals).await;
        let before = bench.objects.list("", None, usize::MAX).await.unwrap();
        let planned = bench.member().plan_collection(&journals, &ONE).await.unwrap();
        assert_eq!(bench.objects.list("", None, usize::MAX).await.unwrap(), before, "{}", bench.name);
        let done = bench.member().collect(&journals, &ONE).await.unwrap();
        assert_eq!(planned, done, "{}", bench.name);
        assert_eq!((done.runs.len(), done.retired.len(), done.closed.len()), (1, 1, 1));
        // What the first run made and brought in, two checkpoints of commits, two older ones of the open attempt.
        assert_eq!((done.checkpoints, done.deleted.objects), (4, 6));
    }
}

/// Writes something strange, and expects that nothing is deleted.
async fn keeps_its_hands_off(name: &str, bytes: &str, says: &str) {
    for bench in Bench::each() {
        let journals = Journals::default();
        settled(&bench, &journals).await;
        let there = objects(&bench).await;
        let made = bench.objects.create(&ObjectKey::new(name).unwrap(), bytes.to_owned().into()).await.unwrap();
        assert_eq!(made, Created::New, "{name}");
        let error = bench.member().collect(&journals, &ONE).await.unwrap_err();
        assert!(matches!(error, StoreError::Record { .. }) && error.to_string().contains(says), "{name}: {error}");
        assert!(objects(&bench).await.is_superset(&there), "{name}");
        bench.member().plan_collection(&journals, &ONE).await.unwrap_err();
    }
}

#[tokio::test]
async fn what_is_not_known_or_newer_keeps_everything() {
    let unknown = "does not know what it is";
    keeps_its_hands_off("keep/forever.json", "{}", unknown).await;
    keeps_its_hands_off("runs/second/effects/0123", "{}", unknown).await;
    keeps_its_hands_off("data/zz/strange", "x", unknown).await;
    let newer = "it has format 2";
    let slot = SlotId { key: key("later"), epoch: Epoch(1) };
    for name in [Layout::start(&slot), Layout::end(&slot), Layout::checkpoint(&CheckpointId { slot, seq: 1 })] {
        keeps_its_hands_off(name.as_str(), r#"{"format":2}"#, newer).await;
    }
    let pin = Layout::pin_of_attempt(&slot, "0011223344556677");
    keeps_its_hands_off(pin.as_str(), r#"{"format":2,"objects":[]}"#, newer).await;
    keeps_its_hands_off("runs/second/uses-0-1.json", r#"{"format":2,"slots":[]}"#, newer).await;
    keeps_its_hands_off(Layout::gc(7).as_str(), r#"{"format":2,"writer":"00","objects":[]}"#, newer).await;
}

#[tokio::test]
async fn the_end_of_a_collection_does_not_hide_its_list_from_those_who_pin() {
    for bench in Bench::each() {
        let store = bench.member();
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        let staged = bench.file("staged", b"state");
        let Snapshot::Durable { id, .. } = store.put_checkpoint(&slot, 1, "e", &staged, None).await.unwrap() else {
            panic!("nobody fenced")
        };
        store.close(&slot, closed("a")).await.unwrap();
        let object = store.checkpoint(&id).await.unwrap().unwrap().stored.object;
        let put = async |key: ObjectKey, text: String| {
            assert_eq!(bench.objects.create(&key, text.into()).await.unwrap(), Created::New);
        };
        put(Layout::gc(1), format!(r#"{{"format":1,"writer":"{}","objects":["{object}"]}}"#, store.writer())).await;
        put(Layout::gc_done(1), format!(r#"{{"format":1,"writer":"{}","deleted":0}}"#, store.writer())).await;
        let next = claim(&store, &request(bench.owner(2), "a")).await;
        let to = bench.scratch.path().join("to");
        std::fs::create_dir_all(&to).unwrap();
        let why = store.restore(&next, &id, &to).await.unwrap().unwrap_err();
        assert!(why.contains("condemned"), "{}: {why}", bench.name);
    }
}

#[tokio::test]
async fn a_run_that_was_given_up_is_neither_driven_nor_tried_again() {
    for bench in Bench::each() {
        let journals = Journals::default();
        settled(&bench, &journals).await;
        let store = bench.member();
        store.collect(&journals, &ONE).await.unwrap();
        let refused = store.drive(&run("first"), &bench.owner(9), false, false).await;
        assert!(matches!(refused, Err(StoreError::GivenUp { .. })), "{}: {refused:?}", bench.name);
        let asked = ClaimRequest { key: key("new"), ..request(bench.owner(9), "first") };
        let refused = store.claim(&asked, &Words::default()).await;
        assert!(matches!(refused, Err(StoreError::GivenUp { .. })), "{}: {refused:?}", bench.name);
        assert!(store.look(&key("new")).await.unwrap().slots.values().all(|slot| slot.end.is_some()));
        store.rely_on(&run("first"), &[]).await.unwrap_err();
    }
}
