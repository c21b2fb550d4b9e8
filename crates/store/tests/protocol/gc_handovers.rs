//! I8: what holds an object changes hands while a collection reads the roots for the second time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use prunella_model::{ArtifactKind, SlotId};
use prunella_store::records::{Owner, StoredArtifact};
use prunella_store::{Alike, ClaimRequest, DriverLease, Filled, NewRun, ReadyCommit, Retention, Store};
use tokio::task::JoinSet;

use crate::bench::*;
use crate::gc_world::*;

const ONE: Retention = Retention { runs: 1, checkpoints: 1 };

/// Bytes that look random and are always the same; more than lie in a pack.
fn content() -> Vec<u8> {
    let mut state = 5_u64;
    let words = (0..200_000).flat_map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 29)).to_le_bytes()
    });
    words.collect()
}

/// Commits a file under a key, leaning on what the name of the pipeline means.
async fn commits(store: Store, asked: ClaimRequest, path: PathBuf) -> (SlotId, StoredArtifact) {
    let slot = claim(&store, &asked).await;
    let (pipeline, step, output) = (graph("p").pipeline.name, step("train"), port("out"));
    let alike = Alike { pipeline: &pipeline, step: &step, output: &output };
    let taken = store.take_output_alike(&slot, &path, ArtifactKind::File, &alike).await.unwrap();
    let artifacts = BTreeMap::from([(output, taken.stored.clone())]);
    let (objects, timeline) = (taken.objects, Default::default());
    let ready = ReadyCommit { artifacts, objects, provenance: provenance(), timeline };
    assert_eq!(store.commit(&slot, ready).await.unwrap(), Filled::Ours);
    (slot, taken.stored)
}

/// Drives a run that commits a file and lets the names mean it.
async fn runs(store: Store, journals: Journals, name: &'static str, owner: Owner, path: PathBuf) {
    let new = NewRun { run: run(name), graph: graph("p"), brought: Vec::new(), targets: Vec::new(), base: None };
    let order = store.create_run(new).await.unwrap().order;
    let DriverLease::Ours { n, .. } = store.drive(&run(name), &owner, false, false).await.unwrap() else {
        panic!("nobody else drives it")
    };
    let asked = ClaimRequest { key: key(name), ..request(owner, name) };
    let made = commits(store.clone(), asked, path).await;
    let named = BTreeMap::from([("train.out".to_owned(), made)]);
    store.move_names(&graph("p").pipeline.name, order, &run(name), named).await.unwrap();
    journals.0.lock().unwrap().insert(run(name), n);
}

/// What an attempt committed that leaned on what a name meant, beside collections; its places are given by `order`.
///
/// Members: 10 a newer run, 20 and 21 collections, 30 the attempt. Answers whether all turns were used.
async fn leans_beside_collections(order: &[(usize, To)], what: &str) -> bool {
    let [bench, ..] = Bench::in_chunks();
    let journals = Journals::default();
    let (old, newer) = (bench.file("old", &content()), bench.file("newer", &b"newer".repeat(300_000)));
    runs(bench.member(), journals.clone(), "old", bench.owner(1), old).await;

    let (turns, mut tasks) = (Turns::default(), JoinSet::new());
    for who in [20, 21] {
        let caretaker = journals.clone();
        turns.join(&mut tasks, who, &bench, |store| async move {
            store.collect(&caretaker, &ONE).await.unwrap();
        });
    }
    let made = Arc::new(Mutex::new(None));
    let (asked, answer) = (ClaimRequest { key: key("leans"), ..request(bench.owner(3), "leans") }, made.clone());
    let path = bench.file("leans", &content());
    turns.join(&mut tasks, 30, &bench, |store| async move {
        *answer.lock().unwrap() = Some(commits(store, asked, path).await);
    });
    let owner = bench.owner(2);
    turns.join(&mut tasks, 10, &bench, |store| runs(store, journals.clone(), "newer", owner, newer));
    let all_used = turns.play_to(order, &mut tasks).await;
    let (_, stored) = made.lock().unwrap().take().expect("it committed");
    let verified = bench.member().verify(&stored).await;
    verified.unwrap_or_else(|error| panic!("I8: {what}: {error}"));
    all_used
}

/// Plays with the first of the orders that has no use for its turns as the last; there are so many at least.
fn at_every_place(least: usize, what: &str, order: impl Fn(usize) -> Vec<(usize, To)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut places = 0;
        while leans_beside_collections(&order(places), &format!("{what} after {places} turns of the first")).await {
            places += 1;
        }
        assert!(places >= least, "only {places} places");
    });
}

#[test]
fn i8_gc_a_pin_that_becomes_a_commit_while_roots_are_read_again_holds_all_the_while() {
    // The attempt pins what a collection is about to condemn, commits at any place of the second reading, and another
    // collection takes the pin away.
    at_every_place(20, "committed", |turns_of_the_first| {
        vec![
            (30, To::Before("create pins/")),
            (10, To::TheEnd),
            (20, To::Before("create gc/")),
            (30, To::Before("create attempts/")),
            (20, To::Turns(turns_of_the_first)),
            (30, To::TheEnd),
            (21, To::TheEnd),
            (20, To::TheEnd),
        ]
    });
}

#[test]
fn i8_gc_what_is_condemned_or_gone_when_it_is_pinned_is_sent_anew() {
    // The attempt pins at any place of a collection that takes what it would lean on.
    at_every_place(20, "pinned", |turns_of_the_first| {
        vec![
            (30, To::Before("create pins/")),
            (10, To::TheEnd),
            (20, To::Turns(turns_of_the_first)),
            (30, To::TheEnd),
            (20, To::TheEnd),
        ]
    });
}
