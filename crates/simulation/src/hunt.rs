//! How many schedules it takes to notice a deliberate bug.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    sync::atomic::{AtomicU64, Ordering},
};

use prunella_sys::mutate_here;

use crate::{Plan, Violation, WholePlan, play, play_whole};

/// By what a deliberate bug was noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caught {
    /// The first seed that shows it.
    pub seed: u64,
    /// The invariant that it broke; nothing if the program itself refused to go on.
    pub invariant: Option<&'static str>,
    /// What happened.
    pub what: String,
}

/// Plays the first `most` schedules with a deliberate bug until one shows it.
pub fn hunt(mutation: u32, most: u64, threads: usize) -> Option<Caught> {
    hunt_with(mutation, most, threads, |seed| play(&Plan::of(seed)).violation)
}

/// As [`hunt`], with schedules of whole runs.
pub fn hunt_whole(mutation: u32, most: u64, threads: usize) -> Option<Caught> {
    hunt_with(mutation, most, threads, |seed| play_whole(&WholePlan::of(seed)).violation)
}

fn hunt_with(mutation: u32, most: u64, threads: usize, plays: fn(u64) -> Option<Violation>) -> Option<Caught> {
    let (next, found, caught) = (AtomicU64::new(0), AtomicU64::new(u64::MAX), Mutex::new(None::<Caught>));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                mutate_here(mutation);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= most || seed > found.load(Ordering::Relaxed) {
                        break;
                    }
                    let Some(this) = shown(seed, plays) else { continue };
                    found.fetch_min(seed, Ordering::Relaxed);
                    let mut caught = caught.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    if caught.as_ref().is_none_or(|before| this.seed < before.seed) {
                        *caught = Some(this);
                    }
                }
            });
        }
    });
    caught.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Returns what one schedule shows of the bug that is in this thread.
fn shown(seed: u64, plays: fn(u64) -> Option<Violation>) -> Option<Caught> {
    match catch_unwind(AssertUnwindSafe(|| plays(seed))) {
        Ok(violation) => {
            violation.map(|violation| Caught { seed, invariant: Some(violation.invariant), what: violation.what })
        }
        Err(_) => Some(Caught { seed, invariant: None, what: "it panics".to_owned() }),
    }
}
