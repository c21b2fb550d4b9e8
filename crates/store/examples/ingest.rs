//! Takes one large file in, by rename and by copy, and its yardsticks in turn; prints one line of JSON a round.
//!
//! `ingest BYTES ROUNDS DIR`: every round writes the same number of fresh bytes for each of
//! `hash` (the file's digest), `sync` (fsync of the dirty file), `moved` ([`Store::take_output`] of the dirty file),
//! `write` (write and fsync beside such a file), `copied` ([`Store::take_brought`] of a file that is in the page cache and
//! durable). A first round is not counted: a virtual disk may be slower where nothing was ever written.
// A measuring program asks the machine for the time itself, and writes and clears up by itself.
#![allow(clippy::disallowed_methods)]

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use prunella_model::{ArtifactKind, Epoch, Hasher, RunId, SlotId, StepKey};
use prunella_objects::{Embedded, Objects};
use prunella_store::{Store, Taken};
use prunella_sys::Sys;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [bytes, rounds, dir] = words.as_slice() else { return usage() };
    let (Ok(bytes), Ok(rounds)) = (bytes.parse::<u64>(), rounds.parse::<u32>()) else { return usage() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let dir = std::path::absolute(dir).expect("a path");
    std::fs::create_dir_all(&dir).expect("a directory");
    let store_dir = dir.join("store");
    let objects = Arc::new(Embedded::open(&Sys::real(), &store_dir).expect("a store"));
    let store = Store::new(objects.clone(), Sys::real());
    let key = StepKey(prunella_model::Digest::of(b"ingest"));
    let slot = SlotId { key, epoch: Epoch::FIRST };
    let run = RunId::new("ingest").expect("an id");
    for round in 0..=rounds {
        let seed = round * 5;
        let path = dir.join("file");
        let fresh = |n: u32| write(&path, bytes, seed + n);
        let gone = || std::fs::remove_file(&path).expect("it is there");

        fresh(0);
        settle();
        let hash = timed(|| hash(&path));
        gone();

        let file = fresh(1);
        let sync = timed(|| file.sync_all().expect("synced"));
        drop(file);
        gone();

        drop(fresh(2));
        let mut taken = None;
        let moved = timed(|| taken = Some(runtime.block_on(store.take_output(&slot, &path, ArtifactKind::File))));
        forget(&runtime, &*objects, taken);

        // Which of the two comes second can get the first one's blocks, which a virtual disk writes faster.
        fresh(4).sync_all().expect("synced");
        let beside = dir.join("beside");
        let (mut written, mut copied) = (0.0, 0.0);
        for copies in [round % 2 == 0, round % 2 == 1] {
            settle();
            if copies {
                let mut taken = None;
                let take = || store.take_brought(&run, &path, ArtifactKind::File);
                copied = timed(|| taken = Some(runtime.block_on(take())));
                forget(&runtime, &*objects, taken);
            } else {
                written = timed(|| write(&beside, bytes, seed + 3).sync_all().expect("synced"));
                std::fs::remove_file(&beside).expect("it is there");
            }
        }
        gone();

        if round == 0 {
            continue;
        }
        println!(
            "{}",
            serde_json::json!({
                "bytes": bytes, "hash_s": hash, "sync_s": sync, "moved_s": moved, "write_s": written, "copied_s": copied,
            })
        );
    }
    drop(store);
    std::fs::remove_dir_all(&store_dir).expect("the store goes");
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: ingest BYTES ROUNDS DIR");
    ExitCode::from(2)
}

fn timed(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

/// Waits until nothing is left to be written: no measurement pays for the one before.
fn settle() {
    assert!(std::process::Command::new("sync").status().expect("sync is there").success());
}

/// Writes a file of bytes that no file system compresses or knows already, and leaves it dirty.
fn write(path: &Path, bytes: u64, seed: u32) -> File {
    let mut file = File::create(path).expect("a file");
    let mut block = vec![0u8; 1 << 20];
    let mut state = u64::from(seed) * 2 + 0x9E37_79B9_7F4A_7C15;
    for word in block.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    let (mut left, mut number) = (bytes, 0u64);
    while left > 0 {
        block[..8].copy_from_slice(&number.to_le_bytes());
        let now = usize::try_from(left.min(block.len() as u64)).expect("at most a block");
        file.write_all(&block[..now]).expect("written");
        (left, number) = (left - now as u64, number + 1);
    }
    file
}

/// Reads and hashes as the store does.
fn hash(path: &Path) {
    let mut file = File::open(path).expect("a file");
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer).expect("read") {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    std::hint::black_box(hasher.finish());
}

/// Removes what was taken in, so that the disk does not fill.
fn forget(
    runtime: &tokio::runtime::Runtime,
    objects: &dyn Objects,
    taken: Option<Result<Taken, prunella_store::StoreError>>,
) {
    let taken = taken.expect("it was measured").expect("taken in");
    let object = prunella_objects::ObjectKey::new(&taken.stored.object).expect("a key");
    runtime.block_on(objects.delete(&object)).expect("deleted");
}
