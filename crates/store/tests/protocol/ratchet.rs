//! I4: restored progress ≥ the last `durable` answer, with fences at any moment.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use prunella_model::{CheckpointId, Epoch, SlotId};
use prunella_objects::ObjectKey;
use prunella_store::{Snapshot, Store};

use crate::bench::*;

async fn put(store: &Store, bench: &Bench, slot: &SlotId, seq: u64, progress: u64) -> Snapshot {
    let name = format!("staged/{}/{}-{seq}", store.writer(), slot.epoch);
    let staged = bench.file(&name, progress.to_string().as_bytes());
    store.put_checkpoint(slot, seq, "state", &staged, Some(progress.into())).await.unwrap()
}

/// Restores the newest that can be relied on; returns its progress, or 0.
async fn restore(store: &Store, slot: &SlotId, to: &Path) -> u64 {
    std::fs::create_dir_all(to).unwrap();
    for id in store.checkpoints(&slot.key).await.unwrap() {
        if let Ok((record, _)) = store.restore(slot, &id, to).await.unwrap() {
            let text = std::fs::read_to_string(to.join("state")).unwrap();
            assert_eq!(record.progress, Some(text.parse::<u64>().unwrap().into()));
            return text.parse().unwrap();
        }
    }
    0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i4_ratchet_what_was_durable_is_restored_with_fences_at_any_moment() {
    for bench in Bench::each() {
        let bench = Arc::new(bench);
        // The highest progress that any attempt was told is durable.
        let durable = Arc::new(AtomicU64::new(0));
        let mut attempts = Vec::new();
        for attempt in 0..25u32 {
            let store = bench.member();
            let mut asked = request(bench.owner(attempt + 1), "a");
            asked.take_over = true;
            // Fences the one before at whatever it is doing.
            let slot = claim(&store, &asked).await;
            let promised = durable.load(Ordering::SeqCst);
            let to = bench.scratch.path().join(format!("restored/{attempt}"));
            let restored = restore(&store, &slot, &to).await;
            assert!(restored >= promised, "{}: {restored} restored, {promised} was durable", bench.name);
            let (bench, durable) = (bench.clone(), durable.clone());
            let stop = Arc::new(AtomicBool::new(false));
            let fenced = stop.clone();
            attempts.push((
                stop,
                tokio::spawn(async move {
                    for seq in 1.. {
                        match put(&store, &bench, &slot, seq, restored + seq).await {
                            Snapshot::Durable { .. } => durable.fetch_max(restored + seq, Ordering::SeqCst),
                            Snapshot::Fenced => return true,
                        };
                        if fenced.load(Ordering::SeqCst) {
                            return false;
                        }
                    }
                    unreachable!("it ends when it is fenced or told")
                }),
            ));
            // Lets the attempt come somewhere, each a little further than the one before.
            for _ in 0..attempt % 7 * 10 {
                tokio::task::yield_now().await;
            }
        }
        let mut fenced = 0;
        for (stop, attempt) in attempts {
            stop.store(true, Ordering::SeqCst);
            fenced += usize::from(attempt.await.unwrap());
        }
        assert!(fenced >= 20, "{}: {fenced} attempts noticed their fence", bench.name);
        assert!(durable.load(Ordering::SeqCst) > 0);
    }
}

#[tokio::test]
async fn a_damaged_checkpoint_is_skipped_and_the_one_before_it_restored() {
    for bench in Bench::each() {
        let store = bench.member();
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        for seq in 1..=3 {
            put(&store, &bench, &slot, seq, seq).await;
        }
        store.close(&slot, closed("a")).await.unwrap();
        let newest = CheckpointId { slot, seq: 3 };
        let record = store.checkpoint(&newest).await.unwrap().unwrap();
        assert!(store.checkpoint_is_whole(&newest).await.unwrap());
        bench.objects.delete(&ObjectKey::new(&record.stored.object).unwrap()).await.unwrap();
        assert!(!store.checkpoint_is_whole(&newest).await.unwrap());
        let next = claim(&store, &request(bench.owner(2), "a")).await;
        let to = bench.scratch.path().join("restored");
        std::fs::create_dir_all(&to).unwrap();
        assert!(store.restore(&next, &newest, &to).await.unwrap().is_err(), "{}", bench.name);
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 0, "nothing half restored is left");
        assert_eq!(restore(&store, &next, &to).await, 2);
    }
}

#[tokio::test]
async fn a_tree_is_restored_as_it_was_and_torn_trees_leave_nothing() {
    for bench in Bench::each() {
        let store = bench.member();
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        bench.file("staged/deep/state", b"small");
        bench.file("staged/weights", &vec![9; 150_000]);
        let staged = bench.scratch.path().join("staged");
        let stored = store.put_checkpoint(&slot, 1, "epoch-1", &staged, None).await.unwrap();
        let Snapshot::Durable { id, bytes } = stored else { panic!("nobody fenced") };
        assert_eq!(bytes, 150_005);
        store.close(&slot, closed("a")).await.unwrap();
        let next = claim(&store, &request(bench.owner(2), "a")).await;
        let to = bench.scratch.path().join("restored");
        std::fs::create_dir_all(&to).unwrap();
        store.restore(&next, &id, &to).await.unwrap().unwrap();
        assert_eq!(std::fs::read(to.join("epoch-1/deep/state")).unwrap(), b"small");
        assert_eq!(std::fs::read(to.join("epoch-1/weights")).unwrap(), vec![9; 150_000]);
        // What was restored is the program's own: writing to it leaves the object as it is.
        std::fs::write(to.join("epoch-1/weights"), b"mine").unwrap();
        assert!(store.checkpoint_is_whole(&id).await.unwrap());
        std::fs::remove_dir_all(to.join("epoch-1")).unwrap();
        let record = store.checkpoint(&id).await.unwrap().unwrap();
        let manifest = store.manifest(&record.stored).await.unwrap();
        let object = manifest.into_objects().remove(0);
        bench.objects.delete(&ObjectKey::new(&object).unwrap()).await.unwrap();
        assert!(store.restore(&next, &id, &to).await.unwrap().is_err());
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 0, "{}: half a tree is left", bench.name);
    }
}

#[tokio::test]
async fn the_newest_checkpoint_is_that_of_the_highest_epoch() {
    let bench = Bench::memory();
    let store = bench.member();
    let first = claim(&store, &request(bench.owner(1), "a")).await;
    for seq in 1..=12 {
        put(&store, &bench, &first, seq, seq).await;
    }
    store.close(&first, closed("a")).await.unwrap();
    let second = claim(&store, &request(bench.owner(2), "a")).await;
    put(&store, &bench, &second, 1, 13).await;
    let listed = store.checkpoints(&first.key).await.unwrap();
    assert_eq!(listed.len(), 13);
    assert_eq!((listed[0].slot.epoch, listed[0].seq), (Epoch(2), 1));
    assert_eq!((listed[1].slot.epoch, listed[1].seq), (Epoch(1), 12));
}
