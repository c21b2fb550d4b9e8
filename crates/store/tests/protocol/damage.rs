//! Damage allows the next epoch, and a wrong verdict does no harm.

use std::sync::Arc;

use prunella_model::{ArtifactKind, Epoch};
use prunella_objects::ObjectKey;
use prunella_store::{Claimed, Filled, Store, StoreError};
use prunella_testkit::{Fault, Faulty};

use crate::bench::*;

#[tokio::test]
async fn i1_visible_lost_bytes_are_found_marked_and_made_anew() {
    for bench in Bench::each() {
        for size in [10, 200_000] {
            let store = bench.member();
            let mut asked = request(bench.owner(1), "a");
            asked.key = key(&format!("{size}"));
            let slot = claim(&store, &asked).await;
            commit(&store, &slot, &bench.file("out", &vec![1; size])).await.unwrap();
            assert_eq!(check(&store, &slot.key).await, Some(slot));
            let stored = store.committed(&slot).await.unwrap().unwrap().artifacts[&port("out")].clone();
            bench.objects.delete(&ObjectKey::new(&stored.object).unwrap()).await.unwrap();
            let error = store.lay_out(&stored, &bench.scratch.path().join(format!("laid-{size}"))).await.unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{}: {error}", bench.name);
            // The first reader's mark precedes any use.
            let verified = store.verify_slot(&slot).await.unwrap();
            assert!(verified.iter().any(|one| one.outcome.is_err()));
            assert_eq!(check(&store, &slot.key).await, None);
            let next = claim(&store, &asked).await;
            assert_eq!(next.epoch, Epoch(2));
            commit(&store, &next, &bench.file("again", &vec![1; size])).await.unwrap();
            assert_eq!(check(&store, &slot.key).await, Some(next));
        }
    }
}

#[tokio::test]
async fn i2_once_a_wrong_verdict_of_damage_costs_work_and_nothing_else() {
    for bench in Bench::each() {
        let (store, other) = (bench.member(), bench.member());
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        commit(&store, &slot, &bench.file("out", b"same")).await.unwrap();
        let before = store.committed(&slot).await.unwrap().unwrap();
        // Two find the same damage: one record.
        store.mark_damaged(&slot, "x", "wrong").await.unwrap();
        other.mark_damaged(&slot, "x", "wrong, too").await.unwrap();
        let next = claim(&other, &request(bench.owner(2), "b")).await;
        commit(&other, &next, &bench.file("again", b"same")).await.unwrap();
        assert_eq!(check(&store, &slot.key).await, Some(next), "{}: the highest epoch decides", bench.name);
        let after = store.committed(&next).await.unwrap().unwrap();
        assert_eq!(before.artifacts[&port("out")].artifact, after.artifacts[&port("out")].artifact);
        // Nothing was moved or deleted: who used the first one reads it still.
        assert_eq!(store.committed(&slot).await.unwrap(), Some(before.clone()));
        for one in store.verify_commit(&before).await {
            one.outcome.unwrap();
        }
        let claimed = store.claim(&request(bench.owner(3), "c"), &Words::default()).await.unwrap();
        assert!(matches!(claimed, Claimed::Reused(reused, _) if reused == next));
    }
}

#[tokio::test]
async fn what_is_laid_out_belongs_to_the_reader_and_the_object_stays() {
    for bench in Bench::each() {
        let store = bench.member();
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        bench.file("tree/a", b"small");
        bench.file("tree/deep/b", &vec![5; 100_000]);
        let taken = store.take_output(&slot, &bench.scratch.path().join("tree"), ArtifactKind::Tree).await.unwrap();
        let artifacts = [(port("out"), taken.stored.clone())].into();
        let objects = taken.objects;
        let ready =
            prunella_store::ReadyCommit { artifacts, objects, provenance: provenance(), timeline: Default::default() };
        assert_eq!(store.commit(&slot, ready).await.unwrap(), Filled::Ours);
        let to = bench.scratch.path().join("laid");
        store.lay_out(&taken.stored, &to).await.unwrap();
        std::fs::write(to.join("deep/b"), b"overwritten").unwrap();
        std::fs::write(to.join("a"), b"overwritten").unwrap();
        assert_eq!(check(&store, &slot.key).await, Some(slot), "{}", bench.name);
    }
}

/// What one read found wrongly is no damage; what two fresh reads find is (protocol: Damage).
#[tokio::test]
async fn one_wrong_read_is_no_damage_and_two_are() {
    for bench in Bench::each() {
        for (kind, size) in [(ArtifactKind::File, 10), (ArtifactKind::File, 200_000), (ArtifactKind::Tree, 200_000)] {
            let store = bench.member();
            let mut asked = request(bench.owner(1), "a");
            asked.key = key(&format!("{kind:?}{size}"));
            let slot = claim(&store, &asked).await;
            let name = if kind == ArtifactKind::Tree { "tree/file" } else { "file" };
            let file = bench.file(&format!("{}/{name}", asked.key.0.short()), &vec![1; size]);
            let output = if kind == ArtifactKind::Tree { file.parent().unwrap().to_owned() } else { file };
            let taken = store.take_output(&slot, &output, kind).await.unwrap();
            for (object, bytes) in taken.objects {
                let _created = bench.objects.create(&object, bytes).await.unwrap();
            }
            let faulty = Faulty::new(bench.objects.clone());
            let reader = Store::new(Arc::new(faulty.clone()), bench.sys.clone());
            let laid = |n: usize| bench.scratch.path().join(format!("laid-{}-{n}", asked.key.0.short()));
            let before = faulty.operations();
            reader.lay_out(&taken.stored, &laid(0)).await.unwrap();
            let operations = faulty.operations() - before;
            for n in 0..operations {
                faulty.inject(n, Fault::WrongBytes);
                reader.lay_out(&taken.stored, &laid(n + 1)).await.unwrap();
                faulty.calm();
                faulty.inject(n, Fault::WrongBytes);
                reader.verify(&taken.stored).await.unwrap();
                faulty.calm();
            }
            for n in 0..2 * operations {
                faulty.inject(n, Fault::WrongBytes);
            }
            let laid = reader.lay_out(&taken.stored, &laid(99)).await;
            assert!(matches!(laid, Err(StoreError::Damaged { .. })), "{}: {laid:?}", bench.name);
            faulty.calm();
            (0..2 * operations).for_each(|n| faulty.inject(n, Fault::WrongBytes));
            let verified = reader.verify(&taken.stored).await;
            assert!(matches!(verified, Err(StoreError::Damaged { .. })), "{}: {verified:?}", bench.name);
        }
    }
}

#[tokio::test]
async fn i1_visible_a_copy_on_this_machine_hides_no_damage_of_the_bucket() {
    for bench in Bench::buckets() {
        let store = bench.member();
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        bench.file("tree/a", b"small");
        bench.file("tree/deep/b", &vec![5; 2_000_000]);
        let taken = store.take_output(&slot, &bench.scratch.path().join("tree"), ArtifactKind::Tree).await.unwrap();
        store.put_small(taken.objects).await.unwrap();
        // Read once, so that this machine has a copy of all of it.
        store.lay_out(&taken.stored, &bench.scratch.path().join("laid")).await.unwrap();
        store.verify(&taken.stored).await.unwrap();
        let mut objects = vec![taken.stored.object.clone()];
        objects.extend(store.promised_objects(&taken.stored).await.unwrap().into_iter().map(|one| one.object));
        for object in objects {
            let at = format!("store/{object}");
            let flip = |bytes: &mut Vec<u8>| bytes[4] ^= 1;
            bench.held().damage("bucket", &at, flip).expect("it is there");
            let found = store.verify(&taken.stored).await;
            assert!(matches!(found, Err(StoreError::Damaged { .. })), "{} {object}: {found:?}", bench.name);
            if object == taken.stored.object {
                let promised = store.promised_objects(&taken.stored).await;
                assert!(matches!(promised, Err(StoreError::Damaged { .. })), "{}: {promised:?}", bench.name);
            }
            bench.held().damage("bucket", &at, flip).expect("it is there");
        }
    }
}
