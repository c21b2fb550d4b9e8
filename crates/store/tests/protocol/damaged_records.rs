//! Records that the storage changed: noticed, never believed, and no wrong verdict follows (docs/design/0030-sums.md).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use prunella_bucketkit::Fault;
use prunella_model::{Digest, Epoch, PipelineName, RunId};
use prunella_objects::{Created, ObjectKey};
use prunella_store::{
    Claimed, DriverLease, Filled, Guarded, KeyState, Layout, NewRun, Retention, StoreError, ToldByJournals,
    records::AliveRecord,
};

use crate::{
    bench::*,
    gc_world::{Journals, objects},
};

/// Changes one bit in the middle of a record.
async fn rot(bench: &Bench, key: &ObjectKey) {
    let mut bytes = bench.objects.get(key).await.unwrap().expect("it is there").to_vec();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    put(bench, key, bytes).await;
}

async fn put(bench: &Bench, key: &ObjectKey, bytes: Vec<u8>) {
    assert!(bench.objects.delete(key).await.unwrap());
    assert_eq!(bench.objects.create(key, bytes.into()).await.unwrap(), Created::New);
}

#[tokio::test]
async fn i2_once_a_damaged_end_is_marked_before_the_next_epoch_is_taken() {
    for bench in Bench::each() {
        let store = bench.member();
        let asked = request(bench.owner(1), "a");
        let slot = claim(&store, &asked).await;
        commit(&store, &slot, &bench.file("out", b"same")).await.unwrap();
        rot(&bench, &Layout::end(&slot)).await;
        // Nobody reuses it, and nobody takes it for open or free.
        let other = bench.member();
        assert_eq!(other.guard(&run("b"), &[slot.key]).await.unwrap(), [Guarded::Missed(None)], "{}", bench.name);
        assert!(matches!(other.committed(&slot).await, Err(StoreError::DamagedRecord { .. })));
        let view = other.look(&slot.key).await.unwrap();
        assert!(matches!(view.state(), KeyState::Lost(lost, _) if lost == slot), "{}", bench.name);
        // Its own attempt commits nothing into it.
        let again = commit(&store, &slot, &bench.file("late", b"late")).await;
        assert!(matches!(again, Err(StoreError::DamagedRecord { .. })), "{again:?}");
        let next = claim(&other, &request(bench.owner(2), "b")).await;
        assert_eq!(next.epoch, Epoch(2));
        let marked = other.look(&slot.key).await.unwrap();
        assert!(marked.slots[&slot.epoch].damaged, "whoever can still read it relies on it no more");
        commit(&other, &next, &bench.file("again", b"same")).await.unwrap();
        assert!(matches!(
            other.claim(&request(bench.owner(3), "c"), &Words::default()).await.unwrap(),
            Claimed::Reused(reused, _) if reused == next
        ));
        assert_eq!(
            bench.member().lost_records(&ToldByJournals::default()).await.unwrap(),
            [],
            "what is marked decides nothing"
        );
    }
}

#[tokio::test]
async fn a_damaged_fence_is_one_still() {
    for bench in Bench::each() {
        let (store, zombie) = (bench.member(), bench.member());
        let slot = claim(&zombie, &request(bench.owner(1), "a")).await;
        assert_eq!(store.close(&slot, closed("a")).await.unwrap(), Filled::Ours);
        rot(&bench, &Layout::end(&slot)).await;
        let late = commit(&zombie, &slot, &bench.file("late", b"late")).await;
        assert!(matches!(late, Err(StoreError::DamagedRecord { .. })), "{}: {late:?}", bench.name);
        assert_eq!(claim(&store, &request(bench.owner(2), "a")).await.epoch, Epoch(2));
        assert_eq!(check_all(&bench, &slot).await, 0, "nothing was committed");
    }
}

async fn check_all(bench: &Bench, slot: &prunella_model::SlotId) -> usize {
    let view = bench.member().look(&slot.key).await.unwrap();
    view.slots.values().filter(|slot| slot.commit().is_some()).count()
}

#[tokio::test]
async fn an_attempt_whose_start_is_damaged_is_waited_for_by_its_sign_of_life_alone() {
    for bench in Bench::each() {
        let (store, other) = (bench.member(), bench.member());
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        rot(&bench, &Layout::start(&slot)).await;
        let alive = |counter| AliveRecord::of(store.writer(), counter);
        store.attempt_alive(&slot, &alive(1)).await.unwrap();
        // Its process is gone, and that is not known of an owner whom nobody knows.
        bench.dies(1);
        let words = Words { impatient: true, ..Words::default() };
        let waits = other.claim(&request(bench.owner(2), "b"), &words).await.unwrap();
        assert_eq!(waits, Claimed::Stopped, "{}", bench.name);
        let hurrying = bench.hurry();
        let next = claim(&other, &request(bench.owner(2), "b")).await;
        hurrying.abort();
        assert_eq!(next.epoch, Epoch(2));
    }
}

#[tokio::test]
async fn the_driver_whose_record_is_damaged_is_waited_for_and_replaced() {
    for bench in Bench::each() {
        let store = bench.member();
        let new = NewRun { run: run("a"), graph: graph("p"), brought: vec![], targets: vec![], base: None };
        store.create_run(new).await.unwrap();
        let DriverLease::Ours { n, .. } = store.drive(&run("a"), &bench.owner(1), false, false).await.unwrap() else {
            panic!("nobody else drives it");
        };
        rot(&bench, &Layout::driver(&run("a"), n)).await;
        let hurrying = bench.hurry();
        let lease = store.drive(&run("a"), &bench.owner(2), false, false).await.unwrap();
        hurrying.abort();
        assert!(matches!(lease, DriverLease::Ours { n: 2, .. }), "{}: {lease:?}", bench.name);
        rot(&bench, &Layout::driver(&run("a"), 2)).await;
        let lease = store.drive(&run("a"), &bench.owner(3), true, false).await.unwrap();
        assert!(matches!(lease, DriverLease::Ours { n: 3, .. }), "whoever takes it over does not wait");
    }
}

#[tokio::test]
async fn a_run_whose_number_is_damaged_is_left_out_of_lists_and_hinders_a_collection() {
    for bench in Bench::each() {
        let store = bench.member();
        let name = PipelineName::new("p").unwrap();
        for id in ["a", "b"] {
            let new = NewRun { run: run(id), graph: graph("p"), brought: vec![], targets: vec![], base: None };
            store.create_run(new).await.unwrap();
        }
        rot(&bench, &Layout::order(&name, 1)).await;
        let listed: Vec<_> = store.runs().await.unwrap().into_iter().map(|listed| listed.run).collect();
        assert_eq!(listed, [run("b")], "{}", bench.name);
        let refused = store.collect(&Journals::default(), &Retention::default()).await;
        assert!(matches!(refused, Err(StoreError::DamagedRecord { .. })), "{refused:?}");
        let lost = store.lost_records(&ToldByJournals::default()).await.unwrap();
        assert_eq!(lost.iter().map(|lost| lost.key.clone()).collect::<Vec<_>>(), [Layout::order(&name, 1)]);
    }
}

#[tokio::test]
async fn records_from_before_there_were_sums_are_read() {
    for bench in Bench::each() {
        let store = bench.member();
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        commit(&store, &slot, &bench.file("out", b"same")).await.unwrap();
        for key in [Layout::start(&slot), Layout::end(&slot)] {
            let bytes = bench.objects.get(&key).await.unwrap().unwrap();
            let (above, _its_sum) = std::str::from_utf8(&bytes).unwrap().rsplit_once(",\"sum\"").unwrap();
            put(&bench, &key, format!("{above}}}").into_bytes()).await;
        }
        let other = bench.member();
        assert_eq!(check(&other, &slot.key).await, Some(slot), "{}", bench.name);
        assert_eq!(other.lost_records(&ToldByJournals::default()).await.unwrap(), []);
    }
}

#[tokio::test]
async fn i8_gc_after_its_list_was_damaged_nothing_is_relied_on_until_the_next_one() {
    for bench in Bench::each() {
        let (store, journals) = (bench.member(), Journals::default());
        let path = bench.file("code", b"code");
        let pinned = prunella_model::Artifact {
            kind: prunella_model::ArtifactKind::File,
            digest: Digest::of(b"code"),
            size_bytes: 4,
        };
        let bring = async |id: &RunId| {
            let known = store.brought_before(&PipelineName::new("p").unwrap()).await.unwrap();
            let notes = bench.scratch.path().join("notes");
            let stored = store.bring_in(id, &path, &pinned.into(), &known, &notes).await.unwrap();
            let graph = graph("p");
            let new = NewRun { run: id.clone(), graph, brought: vec![stored.clone()], targets: vec![], base: None };
            store.create_run(new).await.unwrap();
            stored.object
        };
        let first = bring(&run("a")).await;
        assert_eq!(bring(&run("b")).await, first, "{}: what is there is relied on", bench.name);
        // Waste, so that there is something to condemn.
        let waste =
            Layout::data_of_attempt(&prunella_model::SlotId { key: key("x"), epoch: Epoch(1) }, &"ab".repeat(16));
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        let made = Layout::data_of_attempt(&slot, &"cd".repeat(16));
        for object in [&waste, &made] {
            assert_eq!(bench.objects.create(object, "waste".into()).await.unwrap(), Created::New);
        }
        store.close(&slot, closed("a")).await.unwrap();
        store.collect(&journals, &Retention::default()).await.unwrap();
        assert!(!objects(&bench).await.contains(made.as_str()), "what a closed attempt left is collected");
        rot(&bench, &Layout::gc(1)).await;
        let anew = bring(&run("c")).await;
        assert_ne!(anew, first, "{}: any object may have been condemned", bench.name);
        assert!(objects(&bench).await.contains(&first), "and nothing that is needed goes");
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        let made = Layout::data_of_attempt(&slot, &"ef".repeat(16));
        assert_eq!(bench.objects.create(&made, "waste".into()).await.unwrap(), Created::New);
        store.close(&slot, closed("a")).await.unwrap();
        store.collect(&journals, &Retention::default()).await.unwrap();
        assert!(objects(&bench).await.contains(&first) && !objects(&bench).await.contains(made.as_str()));
        assert_ne!(bring(&run("d")).await, first, "the next list named all that was there");
    }
}

#[tokio::test]
async fn a_record_that_was_changed_on_its_way_is_read_again_and_nothing_is_marked() {
    for bench in Bench::buckets() {
        let store = bench.member();
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        commit(&store, &slot, &bench.file("out", b"same")).await.unwrap();
        let flipped = Arc::new(AtomicBool::new(false));
        let once = flipped.clone();
        bench.faults().plan(move |asked| {
            let reads_end = asked.method == "GET" && asked.path.contains(".end.json");
            (reads_end && !once.swap(true, Ordering::Relaxed)).then_some(Fault::FlipBody)
        });
        let found = bench.member().guard(&run("b"), &[slot.key]).await.unwrap();
        assert!(flipped.load(Ordering::Relaxed), "{}: its bytes were changed", bench.name);
        assert!(matches!(&found[..], [Guarded::Committed(found, _)] if *found == slot), "{}: {found:?}", bench.name);
        bench.faults().none();
        assert!(!bench.member().look(&slot.key).await.unwrap().slots[&slot.epoch].damaged);
    }
}
