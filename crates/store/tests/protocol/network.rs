//! What a network does on the way to a bucket and back is neither loss nor damage.

use std::sync::atomic::{AtomicBool, Ordering};

use prunella_bucketkit::Fault;
use prunella_model::{ArtifactKind, SlotId};
use prunella_store::{ClaimRequest, Guarded, Store};

use crate::bench::*;

/// Lets the first request of these kinds for bytes of artifacts suffer a fault.
fn once(bench: &Bench, methods: &'static [&'static str], fault: Fault) {
    let struck = AtomicBool::new(false);
    bench.faults().plan(move |asked| {
        // Google's uploads name the object in their body.
        let of_data = asked.path.contains("/data/") || asked.path.contains("%2Fdata%2F") || asked.method == "POST";
        let meant = methods.contains(&asked.method.as_str()) && of_data;
        (meant && !struck.swap(true, Ordering::Relaxed)).then(|| fault.clone())
    });
}

/// Larger than what is kept beside records, so that it is sent from the file.
const SIZE: usize = 200_000;

#[tokio::test]
async fn i1_visible_a_file_whose_upload_was_done_and_not_answered_is_taken_in_as_it_is() {
    for fault in [Fault::LostReply, Fault::DoneAndStatus(500)] {
        for bench in Bench::buckets() {
            let store = bench.member();
            once(&bench, &["PUT", "POST"], fault.clone());
            let path = bench.file("out", &vec![7; SIZE]);
            let taken = store.take_brought(&run("r"), &path, ArtifactKind::File).await.unwrap();
            bench.faults().none();
            assert_eq!(store.verify(&taken.stored).await.unwrap(), SIZE as u64);
        }
    }
}

#[tokio::test]
async fn i1_visible_bytes_that_were_changed_or_cut_on_their_way_are_read_again_and_no_damage() {
    for fault in [Fault::FlipBody, Fault::CutBody(1000), Fault::Lost] {
        for bench in Bench::buckets() {
            let store = bench.member();
            let path = bench.file("out", &vec![7; SIZE]);
            let taken = store.take_brought(&run("r"), &path, ArtifactKind::File).await.unwrap();
            once(&bench, &["GET"], fault.clone());
            assert_eq!(store.verify(&taken.stored).await.unwrap(), SIZE as u64, "{} {fault:?}", bench.name);
        }
    }
}

/// Commits the `n`-th of many equal works.
async fn nth(bench: &Bench, store: &Store, n: u32) -> SlotId {
    let request = ClaimRequest { key: key(&format!("work {n}")), ..request(bench.owner(n), "a") };
    let slot = claim(store, &request).await;
    commit(store, &slot, &bench.file("out", b"x")).await.unwrap();
    slot
}

#[tokio::test]
async fn the_guard_of_a_finished_step_asks_three_times_after_the_batched_uses() {
    let bench = Bench::bucket();
    let store = bench.member();
    let mut keys = Vec::new();
    for n in 0..5 {
        let slot = nth(&bench, &store, n).await;
        keys.push(slot.key);
    }
    let before = bench.faults().asked();
    let guarded = store.guard(&run("other"), &keys).await.unwrap();
    assert!(guarded.iter().all(|guarded| matches!(guarded, Guarded::Committed(..))));
    // A list, the end, a look for `retired`; and one record for all.
    assert_eq!(bench.faults().asked() - before, 3 * keys.len() as u64 + 1);
}

#[tokio::test]
async fn many_finished_steps_share_their_listings() {
    let bench = Bench::bucket();
    let store = bench.member();
    let mut keys = Vec::new();
    for n in 0..80 {
        keys.push(nth(&bench, &store, n).await.key);
    }
    let before = bench.faults().asked();
    let guarded = store.guard(&run("other"), &keys).await.unwrap();
    assert!(guarded.iter().all(|guarded| matches!(guarded, Guarded::Committed(..))));
    let asked = bench.faults().asked() - before;
    assert!(asked <= 80 + 20, "{asked} requests: each end is read once, and pages answer many keys");
}
