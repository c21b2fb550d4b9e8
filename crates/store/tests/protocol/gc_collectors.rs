//! I8: two collections at once. What one has condemned and not yet deleted, the other's list must name too.

use std::sync::{Arc, Mutex};

use prunella_store::records::StoredArtifact;
use prunella_store::{ClaimRequest, NewRun, Retention, Snapshot, Store};
use tokio::task::JoinSet;

use crate::bench::*;
use crate::gc_world::*;

const ONE: Retention = Retention { runs: 1, checkpoints: 1 };

async fn checkpoints_and_closes(store: Store, asked: ClaimRequest, staged: Vec<std::path::PathBuf>) {
    let slot = claim(&store, &asked).await;
    for (seq, path) in (1..).zip(staged) {
        let stored = store.put_checkpoint(&slot, seq, "e", &path, None).await.unwrap();
        assert!(matches!(stored, Snapshot::Durable { .. }));
    }
    store.close(&slot, closed(asked.run.as_str())).await.unwrap();
}

/// Goes on from the oldest checkpoint of the key, and stays open; answers what it relies on from then on.
async fn goes_on_from_the_oldest(store: Store, asked: ClaimRequest, to: std::path::PathBuf) -> Option<StoredArtifact> {
    let slot = claim(&store, &asked).await;
    let oldest = *store.checkpoints(&asked.key).await.unwrap().last()?;
    std::fs::create_dir_all(&to).unwrap();
    store.restore(&slot, &oldest, &to).await.unwrap().ok().map(|(record, _)| record.stored)
}

/// Stops one collection at `first`, lets an attempt checkpoint and end, stops another at `second`, lets the first end, lets
/// an attempt restore, and lets the second end. Answers whether both stops were within the collections.
async fn two_at_once(first: usize, second: usize) -> bool {
    let bench = Bench::memory();
    let (store, journals) = (bench.member(), Journals::default());
    let new = NewRun { run: run("r"), graph: graph("p"), brought: Vec::new(), targets: Vec::new(), base: None };
    store.create_run(new).await.unwrap();
    // Something to collect for the first: without, it would write no list.
    let staged = |n: u64| bench.file(&format!("staged-{n}"), format!("state {n}").as_bytes());
    let asked = |name: &str, pid: u32| ClaimRequest { key: key(name), ..request(bench.owner(pid), "r") };
    checkpoints_and_closes(store.clone(), asked("before", 1), vec![staged(1), staged(2)]).await;

    let (turns, mut tasks) = (Turns::default(), JoinSet::new());
    for who in [20, 21] {
        let caretaker = journals.clone();
        turns.join(&mut tasks, who, &bench, |store| async move {
            store.collect(&caretaker, &ONE).await.unwrap();
        });
    }
    let (maker, paths) = (asked("work", 2), vec![staged(3), staged(4)]);
    turns.join(&mut tasks, 30, &bench, |store| checkpoints_and_closes(store, maker, paths));
    let relied = Arc::new(Mutex::new(None));
    let (newcomer, to, answer) = (asked("work", 3), bench.scratch.path().join("to"), relied.clone());
    turns.join(&mut tasks, 40, &bench, |store| async move {
        let stored = goes_on_from_the_oldest(store, newcomer, to).await;
        *answer.lock().unwrap() = stored;
    });
    let order = [(20, first), (30, ALL), (21, second), (20, ALL), (40, ALL), (21, ALL)];
    let all_used = turns.play_in_order(&order, &mut tasks).await;
    let relied = relied.lock().unwrap().take();
    if let Some(stored) = relied {
        let verified = store.verify(&stored).await;
        verified.unwrap_or_else(|error| panic!("I8: one stopped at {first}, the other at {second}: {error}"));
    }
    all_used
}

#[test]
fn i8_gc_of_two_at_once_names_what_the_other_condemned_and_has_not_deleted() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut pairs = 0;
        for first in 0.. {
            let mut second = 0;
            while two_at_once(first, second).await {
                second += 1;
            }
            pairs += second;
            if second == 0 {
                break;
            }
        }
        assert!(pairs > 1000, "only {pairs} pairs of places");
    });
}

/// Lets two collections come to the creation of one list at once, each of which has found something else; then the second
/// go on for so many turns, and an attempt restore before it deletes. Answers whether the second had use for them all.
async fn one_number_for_two(turns_of_the_second: usize) -> bool {
    let bench = Bench::memory();
    let (store, journals) = (bench.member(), Journals::default());
    let new = NewRun { run: run("r"), graph: graph("p"), brought: Vec::new(), targets: Vec::new(), base: None };
    store.create_run(new).await.unwrap();
    let staged = |n: u64| bench.file(&format!("staged-{n}"), format!("state {n}").as_bytes());
    let asked = |name: &str, pid: u32| ClaimRequest { key: key(name), ..request(bench.owner(pid), "r") };
    checkpoints_and_closes(store.clone(), asked("before", 1), vec![staged(1), staged(2)]).await;

    let (turns, mut tasks) = (Turns::default(), JoinSet::new());
    for who in [20, 21] {
        let caretaker = journals.clone();
        turns.join(&mut tasks, who, &bench, |store| async move {
            store.collect(&caretaker, &ONE).await.unwrap();
        });
    }
    let (maker, paths) = (asked("work", 2), vec![staged(3), staged(4)]);
    turns.join(&mut tasks, 30, &bench, |store| checkpoints_and_closes(store, maker, paths));
    let relied = Arc::new(Mutex::new(None));
    let (newcomer, to, answer) = (asked("work", 3), bench.scratch.path().join("to"), relied.clone());
    turns.join(&mut tasks, 40, &bench, |store| async move {
        let stored = goes_on_from_the_oldest(store, newcomer, to).await;
        *answer.lock().unwrap() = stored;
    });
    let both_at_the_list = [(20, To::Before("create gc/")), (30, To::TheEnd), (21, To::Before("create gc/"))];
    let then = [(20, To::TheEnd), (21, To::Turns(turns_of_the_second)), (40, To::TheEnd), (21, To::TheEnd)];
    let all_used = turns.play_to(&[both_at_the_list.as_slice(), &then].concat(), &mut tasks).await;
    let relied = relied.lock().unwrap().take();
    if let Some(stored) = relied {
        let verified = store.verify(&stored).await;
        verified
            .unwrap_or_else(|error| panic!("I8: restored after {turns_of_the_second} turns of the second: {error}"));
    }
    all_used
}

#[test]
fn i8_gc_of_two_that_take_one_number_the_second_takes_another_before_it_deletes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut places = 0;
        while one_number_for_two(places).await {
            places += 1;
        }
        assert!(places > 20, "only {places} places");
    });
}

/// Lets an attempt that was fenced add a checkpoint, and a collection take the one before it, after the successor has had so
/// many turns. Answers whether it had use for them all.
async fn restores_beside_a_collection(turns_before: usize) -> bool {
    let bench = Bench::memory();
    let (store, journals) = (bench.member(), Journals::default());
    let asked = |pid: u32| ClaimRequest { take_over: pid == 3, ..request(bench.owner(pid), "r") };
    let fenced = claim(&store, &asked(2)).await;
    let staged = |n: u64| bench.file(&format!("staged-{n}"), format!("state {n}").as_bytes());
    let stored = store.put_checkpoint(&fenced, 1, "e", &staged(1), None).await.unwrap();
    assert!(matches!(stored, Snapshot::Durable { .. }));
    let slot = claim(&bench.member(), &asked(3)).await;

    let (turns, mut tasks) = (Turns::default(), JoinSet::new());
    let (to, answer) = (bench.scratch.path().join("to"), Arc::new(Mutex::new(None)));
    std::fs::create_dir_all(&to).unwrap();
    let told = answer.clone();
    turns.join(&mut tasks, 40, &bench, move |store| async move {
        let restored = store.restore_newest(&slot, &to, |_| true, |_, _| {}).await.unwrap();
        *told.lock().unwrap() = Some(restored.map(|(id, _)| id.seq));
    });
    let late = staged(2);
    turns.join(&mut tasks, 30, &bench, move |store| async move {
        let stored = store.put_checkpoint(&fenced, 2, "e", &late, None).await.unwrap();
        assert_eq!(stored, Snapshot::Fenced);
    });
    turns.join(&mut tasks, 20, &bench, move |store| async move {
        store.collect(&journals, &ONE).await.unwrap();
    });
    let order = [(40, turns_before), (30, ALL), (20, ALL), (40, ALL)];
    let all_used = turns.play_in_order(&order, &mut tasks).await;
    let restored = answer.lock().unwrap().take().expect("it came to its end");
    assert!(restored.is_some(), "I4: it begins at zero if the collection comes after {turns_before} turns");
    all_used
}

#[test]
fn i4_ratchet_a_checkpoint_that_went_for_a_newer_one_is_replaced_by_that_one_when_it_is_restored() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut places = 0;
        while restores_beside_a_collection(places).await {
            places += 1;
        }
        assert!(places >= 4, "only {places} places");
    });
}
