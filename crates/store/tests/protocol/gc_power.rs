//! I8 and I9: a loss of power at any point of a collection loses nothing that what survived still needs.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prunella_model::*;
use prunella_objects::Embedded;
use prunella_store::records::Owner;
use prunella_store::{ClaimRequest, DriverLease, Filled, NewRun, ReadyCommit, Retention, Store};
use prunella_sys::{FakeMachine, Fs, ManualClock, Sys};
use prunella_testkit::{CrashFs, CrashLimits};

use crate::bench::*;
use crate::gc_world::Journals;

const DIR: &str = "/p/.prunella";
const ONE: Retention = Retention { runs: 1, checkpoints: 1 };
/// More than a row holds, so that it is a file of its own.
const LARGE: usize = 70_000;

/// One machine on one disk.
struct Place {
    fs: CrashFs,
    machine: Arc<FakeMachine>,
    objects: Arc<Embedded>,
    store: Store,
}

impl Place {
    fn open(fs: &CrashFs, rows: &Path) -> Self {
        let machine = Arc::new(FakeMachine::new("m"));
        let clock = Arc::new(ManualClock::new());
        let sys = Sys { fs: Arc::new(fs.clone()), clock, machine: machine.clone(), ..Sys::real() };
        let objects = Arc::new(Embedded::open_split(&sys, Path::new(DIR), rows, None).unwrap());
        let store = Store::new(objects.clone(), sys);
        Self { fs: fs.clone(), machine, objects, store }
    }

    fn owner(&self, bench: &Bench, pid: u32) -> Owner {
        self.machine.processes.lock().unwrap().insert(pid, 1);
        bench.owner(pid)
    }

    /// A program's file: written, never synced.
    fn file(&self, name: &str, byte: u8) -> PathBuf {
        let path = Path::new(DIR).join("work").join(name);
        self.fs.create_dir_all(path.parent().unwrap()).unwrap();
        self.fs.create_new(&path).unwrap().write_all(&vec![byte; LARGE]).unwrap();
        path
    }

    /// A whole run of one step that brings in code, leaves a checkpoint, commits, and moves the names.
    async fn runs(&self, bench: &Bench, journals: &Journals, id: &str, pid: u32) {
        let (store, byte) = (&self.store, pid as u8);
        let taken = store.take_brought(&run(id), &self.file(&format!("{id}-code"), byte), ArtifactKind::File).await;
        let taken = taken.unwrap();
        store.put_small(taken.objects).await.unwrap();
        let new =
            NewRun { run: run(id), graph: graph("p"), brought: vec![taken.stored], targets: Vec::new(), base: None };
        store.create_run(new).await.unwrap();
        let owner = self.owner(bench, pid);
        let DriverLease::Ours { n, .. } = store.drive(&run(id), &owner, false, false).await.unwrap() else {
            panic!("a new run is nobody's")
        };
        let slot = claim(store, &ClaimRequest { key: key(id), ..request(owner, id) }).await;
        let snapshot = self.file(&format!("{id}-snapshot"), byte + 100);
        store.put_checkpoint(&slot, 1, "e", &snapshot, None).await.unwrap();
        let out = store.take_output(&slot, &self.file(&format!("{id}-out"), byte + 200), ArtifactKind::File).await;
        let out = out.unwrap();
        let artifacts = BTreeMap::from([(port("out"), out.stored.clone())]);
        let ready =
            ReadyCommit { artifacts, objects: out.objects, provenance: provenance(), timeline: Default::default() };
        assert_eq!(store.commit(&slot, ready).await.unwrap(), Filled::Ours);
        let bound = Store::binding_op(&run(id), &step("train"), 1, slot);
        store.objects().batch(vec![bound]).await.unwrap();
        let order = store.graph(&run(id)).await.unwrap().order;
        let named = BTreeMap::from([("train.out".to_owned(), (slot, out.stored))]);
        store.move_names(&PipelineName::new("p").unwrap(), order, &run(id), named).await.unwrap();
        journals.0.lock().unwrap().insert(run(id), n);
        self.machine.processes.lock().unwrap().remove(&pid);
    }

    /// Everything that the newest run and the current names of this disk promise; answers whose names they are.
    async fn whole(&self, what: &str) -> RunId {
        let (store, pipeline) = (&self.store, PipelineName::new("p").unwrap());
        let newest = store.runs_of(&pipeline, 1).await.unwrap().first().expect("the first run was durable").run.clone();
        if let Ok(graph) = store.graph(&newest).await {
            for stored in graph.brought {
                store.verify(&stored).await.unwrap_or_else(|error| panic!("I8: {what}: {newest} brought: {error}"));
            }
        }
        for (_, slot) in store.bindings(&newest).await.unwrap().into_values() {
            let committed = store.committed(&slot).await.unwrap().expect("a binding comes after its commit");
            for one in store.verify_commit(&committed).await {
                one.outcome.unwrap_or_else(|error| panic!("I8: {what}: {newest}'s {slot}: {error}"));
            }
        }
        let names = store.names(&pipeline).await.unwrap().expect("the first run moved them");
        for (name, (_, stored)) in names.artifacts {
            store.verify(&stored).await.unwrap_or_else(|error| panic!("I8: {what}: name {name}: {error}"));
        }
        names.run
    }
}

#[tokio::test]
async fn i8_gc_loss_of_power_at_any_point_loses_nothing_that_what_survived_needs() {
    let fs = CrashFs::new();
    let (rows, bench, journals) = (tempfile::tempdir().unwrap(), Bench::memory(), Journals::default());
    fs.create_dir_all(Path::new("/p")).unwrap();
    let place = Place::open(&fs, rows.path());
    place.runs(&bench, &journals, "first", 1).await;
    place.store.sync().await.unwrap();
    fs.settle();
    // Nothing of the second run is synced when the collection lets the first one go on its account.
    place.runs(&bench, &journals, "second", 2).await;
    let before = fs.crash_points();
    let collected = place.store.collect(&journals, &ONE).await.unwrap();
    assert_eq!((collected.runs.len(), collected.retired.len(), collected.checkpoints), (1, 1, 2));
    assert_eq!(collected.deleted.objects, 4, "code, output and snapshot of the first, snapshot of the second");
    let (mut images, mut named) = (0, BTreeMap::<RunId, usize>::new());
    for point in before..=fs.crash_points() {
        for image in fs.images_within(point, CrashLimits { images: 30, seed: point as u64 }) {
            images += 1;
            let rows = tempfile::tempdir().unwrap();
            let place = Place::open(&image, rows.path());
            for transaction in image.transactions() {
                place.objects.replay(&transaction).await.unwrap();
            }
            let what = format!("power lost after {point}");
            *named.entry(place.whole(&what).await).or_default() += 1;
            // The next collection goes on, with what the journals of this disk would say.
            let journals = Journals(Arc::new(std::sync::Mutex::new(BTreeMap::from([(run("first"), 1)]))));
            place.store.collect(&journals, &ONE).await.unwrap();
            place.whole(&format!("{what}, then another collection")).await;
        }
    }
    assert!(images > 50, "{images} images");
    assert_eq!(named.len(), 2, "disks with and without the end of the second run were seen: {named:?}");
}
