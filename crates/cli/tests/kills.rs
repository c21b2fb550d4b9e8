//! Hundreds of kills of the real binary at random instants, after which nothing is lost.
//!
//! `KILLS_SEED=N` begins with another seed; `cargo xtask soak` goes on for as long as one likes.
#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prunella_testkit::kills::{Totals, round};

/// What is aimed at, and how long it may take: a slow machine kills less often and not for longer.
const KILLS: u64 = 300;
const PATIENCE: Duration = Duration::from_secs(80);
/// A machine that does not even do this many shows nothing.
const AT_LEAST: u64 = 30;

#[test]
fn hundreds_of_kills_at_random_instants_lose_nothing_and_change_no_byte() {
    let binary = Path::new(env!("CARGO_BIN_EXE_prunella"));
    let first = std::env::var("KILLS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let (next, totals, begun) = (AtomicU64::new(first), Mutex::new(Totals::default()), Instant::now());
    let enough = || totals.lock().unwrap().kills() >= KILLS || begun.elapsed() >= PATIENCE;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !enough() {
                    let scratch = tempfile::tempdir().unwrap();
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let done = round(binary, scratch.path(), seed, 30).unwrap_or_else(|failure| panic!("{failure}"));
                    totals.lock().unwrap().add(&done);
                }
            });
        }
    });
    let totals = totals.into_inner().unwrap();
    println!("{totals}");
    assert!(totals.kills() >= AT_LEAST, "{totals}");
    assert!(totals.sum.done.len() > 4, "every kind of kill was done: {totals}");
}
