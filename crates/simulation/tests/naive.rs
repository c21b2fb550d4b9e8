//! The hazard of a naive store: a create that succeeds after a deletion.
//!
//! A collector that tidies away what closed an attempt makes the name free again. The attempt, which slept through all of that,
//! then commits: its create succeeds, and names bytes that are gone. Here no record that decides is ever deleted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use prunella_model::*;
use prunella_objects::Memory;
use prunella_store::records::{Closed, Owner, ProcessId, StartRecord};
use prunella_store::{Caretaker, ClaimRequest, Claimed, Claimer, Filled, KeyView, ReadyCommit, Retention, Store};
use prunella_store::{StoreError, Verified};
use prunella_sys::{FakeMachine, Fs, ManualClock, SeededRandom, Sys, mutate_here};
use prunella_testkit::CrashFs;
use prunella_testkit::records::{closed, provenance};

struct Words;

#[async_trait]
impl Claimer for Words {
    async fn sweep(&self, _: &SlotId, _: &StartRecord) -> bool {
        true
    }
    async fn closing(&self, _: &KeyView, _: &SlotId, start: &StartRecord, _: bool) -> Result<Closed, StoreError> {
        Ok(closed(start.run.clone(), start.step.clone()))
    }
    fn waiting(&self, _: &SlotId, _: &StartRecord) {}
}

#[async_trait]
impl Caretaker for Words {
    async fn ended(&self, _: &RunId) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
    async fn sweep(&self, _: &SlotId, _: &StartRecord) -> bool {
        true
    }
    async fn closing(&self, _: &KeyView, _: &SlotId, start: &StartRecord) -> Result<Closed, StoreError> {
        Ok(closed(start.run.clone(), start.step.clone()))
    }
}

fn request(pid: u32, take_over: bool) -> ClaimRequest {
    let process = ProcessId { pid, start_ticks: 1 };
    ClaimRequest {
        run: RunId::new("r").unwrap(),
        step: StepId::plain(StepName::new("train").unwrap()),
        key: StepKey(Digest::of(b"train")),
        owner: Owner { machine: "elsewhere".into(), boot: "b".into(), process, guardian: None },
        retry_index: None,
        take_over,
        expected: None,
        observed: Default::default(),
    }
}

async fn claim(store: &Store, pid: u32, take_over: bool) -> SlotId {
    match store.claim(&request(pid, take_over), &Words).await.unwrap() {
        Claimed::Ours(slot, _) => slot,
        other => panic!("{other:?}"),
    }
}

/// An attempt uploads, sleeps past its fence and two collections, of which a naive one deletes fences, and commits. What came of it, and its bytes?
async fn commits_after_collections(naive: bool) -> (Filled, Vec<Verified>) {
    let (fs, clock) = (CrashFs::new(), ManualClock::new());
    let sys = Sys {
        fs: Arc::new(fs.clone()),
        clock: Arc::new(clock),
        machine: Arc::new(FakeMachine::new("m")),
        random: Arc::new(SeededRandom::new(1)),
        ..Sys::real()
    };
    let objects = Arc::new(Memory::new(&sys));
    let member = || Store::new(objects.clone(), sys.clone());
    let (sleeper, other) = (member(), member());
    let slot = claim(&sleeper, 1, false).await;
    std::io::Write::write_all(&mut fs.create_new(Path::new("/out")).unwrap(), b"bytes").unwrap();
    let taken = sleeper.take_output(&slot, Path::new("/out"), ArtifactKind::File).await.unwrap();
    sleeper.put_small(taken.objects).await.unwrap();

    let next = claim(&other, 2, true).await;
    assert_eq!((slot.epoch, next.epoch), (Epoch(1), Epoch(2)));
    let least = Retention { runs: 1, checkpoints: 1 };
    assert_eq!(other.collect(&Words, &least).await.unwrap().deleted.objects, 1);
    mutate_here(if naive { 56 } else { 0 });
    other.collect(&Words, &least).await.unwrap();
    mutate_here(0);

    let artifacts = BTreeMap::from([(PortName::new("out").unwrap(), taken.stored)]);
    let ready = ReadyCommit {
        artifacts,
        objects: Vec::new(),
        provenance: provenance(PipelineName::new("p").unwrap()),
        timeline: Default::default(),
    };
    let filled = sleeper.commit(&slot, ready).await.unwrap();
    let committed = sleeper.committed(&slot).await.unwrap();
    let verified = match &committed {
        Some(committed) => sleeper.verify_commit(committed).await,
        None => Vec::new(),
    };
    (filled, verified)
}

#[tokio::test]
async fn i5_fence_a_create_after_a_deletion_commits_in_a_naive_store_and_is_refused_here() {
    let (naive, verified) = commits_after_collections(true).await;
    assert_eq!(naive, Filled::Ours, "the fence is gone, so that the zombie's create succeeds");
    assert!(verified[0].outcome.is_err(), "I1: the commit names bytes that are gone");

    let (ours, verified) = commits_after_collections(false).await;
    assert!(matches!(ours, Filled::Theirs(_)), "the fence stands for ever");
    assert!(verified.is_empty(), "nothing was committed");
}
