//! Data that a run brings in: what is there already is not copied again, whoever was killed before.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use prunella_model::{Digest, RunId};
use prunella_objects::{Listed, ObjectKey};
use prunella_store::records::StoredArtifact;
use prunella_store::{Contents, NewRun, Remembered, Store, measure};
use prunella_testkit::{Fault, Faulty};

use crate::bench::*;

struct Data {
    bench: Bench,
    tree: PathBuf,
    notes: PathBuf,
}

impl Data {
    /// Three packs and a file that is too large for one.
    fn new(bench: Bench) -> Self {
        for n in 0..90_u8 {
            let content: Vec<u8> =
                (0..400_000_u32).map(|at| (at as u8).wrapping_mul(n) ^ (at >> 9) as u8 ^ n).collect();
            bench.file(&format!("tree/{}/{n}", n / 30), &content);
        }
        bench.file("tree/large", &vec![1; 600_000]);
        let (tree, notes) = (bench.scratch.path().join("tree"), bench.scratch.path().join("notes"));
        Self { bench, tree, notes }
    }

    fn contents(&self) -> Contents {
        measure(&self.bench.sys, &self.tree, &self.bench.scratch.path().join("cache"), Remembered::Ignored).unwrap()
    }

    async fn bring_in(
        &self,
        store: &Store,
        id: &RunId,
        known: &HashMap<Digest, StoredArtifact>,
    ) -> Result<StoredArtifact, prunella_store::StoreError> {
        store.bring_in(id, &self.tree, &self.contents(), known, &self.notes).await
    }

    async fn objects(&self) -> HashSet<ObjectKey> {
        let listed = self.bench.objects.list("data/", None, usize::MAX).await.unwrap();
        listed.into_iter().map(|Listed { key, .. }| key).collect()
    }

    /// Brings in until the disk is full after some objects; answers those.
    async fn interrupted(&self, id: &RunId) -> HashSet<ObjectKey> {
        let faulty = Faulty::new(self.bench.objects.clone());
        let store = Store::new(Arc::new(faulty.clone()), self.bench.sys.clone());
        (2..50).for_each(|n| faulty.inject(n, Fault::NoSpace));
        self.bring_in(&store, id, &HashMap::new()).await.unwrap_err();
        let there = self.objects().await;
        assert!(there.len() >= 2, "{}", there.len());
        there
    }
}

#[tokio::test]
async fn a_taking_in_that_was_killed_is_gone_on_with() {
    for bench in Bench::each() {
        let data = Data::new(bench);
        let before = data.interrupted(&run("killed")).await;
        let store = data.bench.member();
        let stored = data.bring_in(&store, &run("next"), &HashMap::new()).await.unwrap();
        assert_eq!(stored.artifact, data.contents().artifact);
        store.verify(&stored).await.unwrap();
        let manifest: HashSet<_> = store.manifest(&stored).await.unwrap().into_objects().into_iter().collect();
        assert_eq!(manifest.len(), 4);
        for object in &before {
            assert!(manifest.contains(object.as_str()), "{}: {object} was there and was made again", data.bench.name);
        }
        let pins = data.bench.objects.list("pins/run-next-", None, 9).await.unwrap();
        assert_eq!(pins.len(), 1, "what another run made is pinned");
    }
}

#[tokio::test]
async fn i1_visible_notes_are_hints_and_what_they_say_is_not_believed() {
    let data = Data::new(Bench::embedded());
    let before: Vec<ObjectKey> = data.interrupted(&run("killed")).await.into_iter().collect();
    // One of the objects is gone, another has a wrong byte, and a line is torn.
    data.bench.objects.delete(&before[0]).await.unwrap();
    let file = data.bench.objects.local_path(&before[1]).await.unwrap().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, bytes).unwrap();
    let notes = std::fs::read_dir(&data.notes).unwrap().next().unwrap().unwrap().path();
    let mut text = std::fs::read(&notes).unwrap();
    text.extend(b"{\"object\":\"data/aa/x\",\"files\":[[");
    std::fs::write(&notes, text).unwrap();
    let store = data.bench.member();
    let stored = data.bring_in(&store, &run("next"), &HashMap::new()).await.unwrap();
    store.verify(&stored).await.unwrap();
    let to = data.bench.scratch.path().join("laid");
    store.lay_out(&stored, &to).await.unwrap();
    for name in ["0/7", "1/31", "2/89", "large"] {
        assert_eq!(std::fs::read(to.join(name)).unwrap(), std::fs::read(data.tree.join(name)).unwrap());
    }
    store.forget_notes(&stored.artifact, &data.notes);
    assert_eq!(std::fs::read_dir(&data.notes).unwrap().count(), 0);
}

#[tokio::test]
async fn of_changed_data_only_what_changed_is_stored_again() {
    for bench in Bench::each() {
        let data = Data::new(bench);
        let store = data.bench.member();
        let first = data.bring_in(&store, &run("first"), &HashMap::new()).await.unwrap();
        let new =
            NewRun { run: run("first"), graph: graph("p"), brought: vec![first], targets: Vec::new(), base: None };
        store.create_run(new).await.unwrap();
        let before = data.objects().await;
        data.bench.file("tree/0/7", b"changed");
        data.bench.file("tree/new", b"new");
        std::fs::remove_file(data.tree.join("1/31")).unwrap();
        let known = store.brought_before(&graph("p").pipeline.name).await.unwrap();
        let second = data.bring_in(&store, &run("second"), &known).await.unwrap();
        store.verify(&second).await.unwrap();
        let added = data.objects().await.difference(&before).count();
        assert_eq!(added, 2, "{}: a pack of what is new, and the manifest", data.bench.name);
        let to = data.bench.scratch.path().join("laid");
        store.lay_out(&second, &to).await.unwrap();
        assert_eq!(std::fs::read(to.join("0/7")).unwrap(), b"changed");
        assert_eq!(std::fs::read(to.join("0/8")).unwrap(), std::fs::read(data.tree.join("0/8")).unwrap());
        assert!(!to.join("1/31").exists());
    }
}
