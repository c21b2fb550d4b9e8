//! Takes a tree in, reads it again, and lays it out; prints one line of JSON.
//!
//! `trees take TREE STORE`: as the output of an attempt, durable. `trees measure TREE CACHE`: what it is now, with what
//! was remembered. `trees verify STORE` and `trees lay STORE TO`: what was taken in last.
// A measuring program asks the machine for the time itself.
#![allow(clippy::disallowed_methods)]

use std::{path::Path, process::ExitCode, sync::Arc, time::Instant};

use prunella_model::{ArtifactKind, Digest, Epoch, SlotId, StepKey};
use prunella_objects::{Embedded, ObjectKey};
use prunella_store::{Remembered, Store, measure, records::StoredArtifact};
use prunella_sys::Sys;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let begun = Instant::now();
    let (bytes, read) = match words.as_slice() {
        ["take", tree, store] => runtime.block_on(take(Path::new(tree), &open(store))),
        ["measure", tree, cache] => {
            let tree = std::fs::canonicalize(tree).expect("a tree");
            let contents = measure(&Sys::real(), &tree, Path::new(cache), Remembered::Kept).expect("measured");
            (contents.artifact.size_bytes, contents.read_bytes)
        }
        ["verify", store] => runtime.block_on(async {
            let store = open(store);
            let bytes = store.verify(&last(&store).await).await.expect("whole");
            (bytes, bytes)
        }),
        ["lay", store, to] => runtime.block_on(async {
            let store = open(store);
            let bytes = store.lay_out(&last(&store).await, Path::new(to)).await.expect("laid out").bytes;
            (bytes, bytes)
        }),
        _ => {
            eprintln!("usage: trees take TREE STORE | measure TREE CACHE | verify STORE | lay STORE TO");
            return ExitCode::from(2);
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{}",
        serde_json::json!({ "seconds": seconds, "bytes": bytes, "read_bytes": read, "peak_kib": peak_kib() })
    );
    ExitCode::SUCCESS
}

fn open(store: &str) -> Store {
    let objects = Arc::new(Embedded::open(&Sys::real(), Path::new(store)).expect("a store"));
    Store::new(objects, Sys::real())
}

async fn take(tree: &Path, store: &Store) -> (u64, u64) {
    let slot = SlotId { key: StepKey(Digest::of(b"trees")), epoch: Epoch::FIRST };
    let taken = store.take_output(&slot, tree, ArtifactKind::Tree).await.expect("taken in");
    let stored = serde_json::to_vec(&taken.stored).expect("JSON");
    store.put_small(taken.objects).await.expect("created");
    let _new = store.objects().create(&key(), stored.into()).await.expect("created");
    store.sync().await.expect("durable");
    (taken.stored.artifact.size_bytes, taken.stored.artifact.size_bytes)
}

async fn last(store: &Store) -> StoredArtifact {
    let bytes = store.objects().get(&key()).await.expect("read").expect("something was taken in");
    serde_json::from_slice(&bytes).expect("what was written")
}

fn key() -> ObjectKey {
    ObjectKey::new("data/00/last").expect("a key")
}

/// Returns the most memory that this process has used; nothing where the system does not say.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
