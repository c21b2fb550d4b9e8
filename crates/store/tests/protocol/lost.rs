//! A lost reply, a lost request or a refusal at every operation leads to the right conclusion.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use prunella_model::{ArtifactKind, Epoch};
use prunella_store::records::End;
use prunella_store::{Claimed, DriverLease, Filled, Guarded, NewRun, ReadyCommit, Snapshot, Store};
use prunella_testkit::{Fault, Faulty};

use crate::bench::*;

const FAULTS: [Fault; 4] = [Fault::LostReply, Fault::LostRequest, Fault::NoSpace, Fault::Unreachable];

fn faulty(bench: &Bench) -> (Faulty, Store) {
    let faulty = Faulty::new(bench.objects.clone());
    let store = Store::new(Arc::new(faulty.clone()), bench.sys.clone());
    (faulty, store)
}

/// Does something with every fault at every operation of it, until the fault would come after the last.
///
/// The test calls `calm` once it has done what may be disturbed, and checks.
async fn at_every_operation(test: impl AsyncFn(&Bench, &Store, Calm<'_>)) {
    for make in [Bench::memory, Bench::embedded] {
        for fault in FAULTS {
            for n in 0.. {
                let bench = make();
                let (faulty, store) = faulty(&bench);
                let hurry = bench.hurry();
                let struck = Cell::new(None);
                faulty.inject(n, fault);
                let calm = Calm { faulty: &faulty, struck: &struck, fault, n, name: bench.name };
                test(&bench, &store, calm).await;
                hurry.abort();
                if !struck.get().expect("the test calms the store") {
                    assert!(n > 0, "nothing was asked for");
                    break;
                }
            }
        }
    }
}

/// What ends the disturbance.
struct Calm<'a> {
    faulty: &'a Faulty,
    struck: &'a Cell<Option<bool>>,
    fault: Fault,
    n: usize,
    name: &'a str,
}

impl Calm<'_> {
    fn calm(&self) -> String {
        self.struck.set(Some(!self.faulty.calm()));
        format!("{}: {:?} at {}", self.name, self.fault, self.n)
    }
}

#[tokio::test]
async fn i2_once_a_claim_that_is_disturbed_anywhere_ends_with_one_open_slot_when_tried_again() {
    at_every_operation(async |bench, store, calm| {
        let asked = request(bench.owner(1), "a");
        let begun = bench.sys.clock.monotonic();
        let first = store.claim(&asked, &Words::default()).await;
        let when = calm.calm();
        let slot = match first {
            Ok(Claimed::Ours(slot, _)) => slot,
            Ok(Claimed::Reused(..) | Claimed::Stopped) => panic!("nothing was committed, and nobody stopped it"),
            // It is tried again as it was.
            Err(_) => claim(store, &asked).await,
        };
        let waited = bench.sys.clock.monotonic() - begun;
        assert!(waited.as_secs() < 10, "{when}: it waited {waited:?} for itself");
        check(store, &key("train")).await;
        let view = store.look(&key("train")).await.unwrap();
        assert_eq!(view.highest(), Some(slot.epoch), "{when}");
        assert!(view.slots[&slot.epoch].end.is_none(), "{when}");
        assert!(commit(store, &slot, &bench.file("out", b"x")).await.unwrap() == Filled::Ours);
    })
    .await;
}

#[tokio::test]
async fn i1_visible_a_commit_that_is_disturbed_anywhere_is_whole_or_not_there() {
    at_every_operation(async |bench, store, calm| {
        let other = bench.member();
        let slot = claim(&other, &request(bench.owner(1), "a")).await;
        let (small, large) = (bench.file("small", b"small"), bench.file("large", &vec![7; 200_000]));
        let done = async {
            let small = store.take_output(&slot, &small, ArtifactKind::File).await?;
            let large = store.take_output(&slot, &large, ArtifactKind::File).await?;
            let objects = [small.objects, large.objects].concat();
            let artifacts = BTreeMap::from([(port("small"), small.stored), (port("large"), large.stored)]);
            let ready = ReadyCommit { artifacts, objects, provenance: provenance(), timeline: Default::default() };
            store.commit(&slot, ready).await
        };
        let answer = done.await;
        let when = calm.calm();
        let there = check(&other, &key("train")).await;
        if let Ok(filled) = &answer {
            assert_eq!(*filled, Filled::Ours, "{when}");
            assert_eq!(there, Some(slot), "{when}: what was answered stands");
        }
        // Whatever was answered, the fence tells the truth.
        match store.fence(&slot, closed("a")).await.unwrap() {
            End::Committed(_) => assert_eq!(check(&other, &key("train")).await, Some(slot)),
            End::Closed(_) => {
                assert!(answer.is_err(), "{when}");
                assert_eq!(check(&other, &key("train")).await, None);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_lost_reply_to_a_commit_or_a_close_is_a_success() {
    for bench in Bench::each() {
        for lost in [Fault::LostReply, Fault::LostRequest] {
            let (faulty, store) = faulty(&bench);
            let mut asked = request(bench.owner(1), "a");
            asked.key = key(&format!("{lost:?}"));
            let slot = claim(&store, &asked).await;
            let taken = store.take_output(&slot, &bench.file("out", b"x"), ArtifactKind::File).await.unwrap();
            let artifacts = BTreeMap::from([(port("out"), taken.stored)]);
            let objects = taken.objects;
            let ready = ReadyCommit { artifacts, objects, provenance: provenance(), timeline: Default::default() };
            faulty.inject(0, lost);
            assert_eq!(store.commit(&slot, ready).await.unwrap(), Filled::Ours, "{} {lost:?}", bench.name);
            asked.key = key(&format!("close {lost:?}"));
            let slot = claim(&store, &asked).await;
            faulty.inject(0, lost);
            assert_eq!(store.close(&slot, closed("a")).await.unwrap(), Filled::Ours, "{} {lost:?}", bench.name);
        }
    }
}

#[tokio::test]
async fn i4_ratchet_a_checkpoint_answered_durable_restores_whatever_was_disturbed() {
    at_every_operation(async |bench, store, calm| {
        let other = bench.member();
        let slot = claim(&other, &request(bench.owner(1), "a")).await;
        let staged = bench.file("staged", &vec![3; 100_000]);
        let stored = store.put_checkpoint(&slot, 1, "epoch-1", &staged, None).await;
        let when = calm.calm();
        let listed = other.checkpoints(&slot.key).await.unwrap();
        for id in &listed {
            assert!(other.checkpoint_is_whole(id).await.unwrap(), "{when}: torn");
        }
        match stored {
            Ok(Snapshot::Durable { id, .. }) => assert_eq!(listed, [id], "{when}"),
            Ok(Snapshot::Fenced) => panic!("nobody fenced"),
            Err(_) => {}
        }
    })
    .await;
}

#[tokio::test]
async fn uses_that_cannot_be_written_mean_no_reuse() {
    at_every_operation(async |bench, store, calm| {
        let other = bench.member();
        let slot = claim(&other, &request(bench.owner(1), "a")).await;
        commit(&other, &slot, &bench.file("out", b"x")).await.unwrap();
        let guarded = store.guard(&run("b"), &[key("train")]).await;
        let when = calm.calm();
        if let Ok(answers) = guarded {
            assert!(matches!(&answers[..], [Guarded::Committed(found, _)] if *found == slot), "{when}");
            let uses = bench.objects.list("runs/b/uses-", None, 9).await.unwrap();
            assert_eq!(uses.len(), 1, "{when}: reused without a record");
        }
    })
    .await;
}

#[tokio::test]
async fn a_run_is_numbered_once_whatever_gets_lost() {
    at_every_operation(async |_, store, calm| {
        let new = || NewRun { run: run("r"), graph: graph("p"), brought: Vec::new(), targets: Vec::new(), base: None };
        let created = store.create_run(new()).await;
        let when = calm.calm();
        let listed = store.runs().await.unwrap();
        if let Ok(record) = created {
            assert_eq!(listed.iter().map(|run| run.order).collect::<Vec<_>>(), [record.order], "{when}");
            assert_eq!(store.graph(&run("r")).await.unwrap(), record);
        }
        // A place in the order that was lost on the way is in nobody's way.
        let new = NewRun { run: run("next"), ..new() };
        let next = store.create_run(new).await.unwrap();
        assert!(listed.iter().all(|run| run.order < next.order), "{when}");
    })
    .await;
}

#[tokio::test]
async fn an_engine_never_refuses_a_run_on_account_of_itself_whatever_gets_lost() {
    at_every_operation(async |bench, store, calm| {
        let lease = store.drive(&run("r"), &bench.owner(1), false, false).await;
        let when = calm.calm();
        let lease = match lease {
            Ok(lease) => lease,
            Err(_) => {
                // The engine leaves, and the next one finds it dead.
                bench.dies(1);
                bench.member().drive(&run("r"), &bench.owner(2), false, false).await.unwrap()
            }
        };
        let DriverLease::Ours { n, .. } = lease else { panic!("{when}: refused by itself") };
        store.still_driving(&run("r"), n).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_refuses_a_commit_and_the_same_commit_goes_through_when_there_is_room() {
    for bench in Bench::each() {
        let (faulty, store) = faulty(&bench);
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        let path = bench.file("out", b"x");
        let taken = store.take_output(&slot, &path, ArtifactKind::File).await.unwrap();
        let ready = || ReadyCommit {
            artifacts: BTreeMap::from([(port("out"), taken.stored.clone())]),
            objects: taken.objects.clone(),
            provenance: provenance(),
            timeline: Default::default(),
        };
        faulty.inject(0, Fault::NoSpace);
        assert!(store.commit(&slot, ready()).await.unwrap_err().is_no_space());
        assert_eq!(slot.epoch, Epoch(1));
        assert_eq!(store.commit(&slot, ready()).await.unwrap(), Filled::Ours);
        assert_eq!(check(&store, &key("train")).await, Some(slot));
    }
}
