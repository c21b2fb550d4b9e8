//! Many schedules, one seed after the other: how far they came, and the first that breaks something.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Counts, Plan, play};

/// What came of the schedules of some seeds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Played {
    /// So many were played.
    pub schedules: u64,
    /// So many things happened in them.
    pub events: u64,
    /// What happened in them that matters.
    pub counts: Counts,
    /// The lowest seed that was seen to break an invariant.
    pub failed: Option<u64>,
}

impl Played {
    /// Adds what came of others.
    pub fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.events += other.events;
        self.counts.add(&other.counts);
        self.failed = self.failed.into_iter().chain(other.failed).min();
    }
}

/// Plays the schedules of `count` seeds from `first` on, on so many threads. Once one fails, no more are begun: all seeds
/// below the one that is answered have been played to their end.
pub fn play_range(first: u64, count: u64, threads: usize) -> Played {
    let (next, failed, all) = (AtomicU64::new(first), AtomicU64::new(u64::MAX), Mutex::new(Played::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut mine = Played::default();
                while failed.load(Ordering::Relaxed) == u64::MAX {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first.saturating_add(count) {
                        break;
                    }
                    let outcome = play(&Plan::of(seed));
                    let broken = outcome.violation.is_some();
                    if broken {
                        failed.fetch_min(seed, Ordering::Relaxed);
                    }
                    let failed = broken.then_some(seed);
                    mine.add(&Played { schedules: 1, events: outcome.events, counts: outcome.counts, failed });
                }
                all.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).add(&mine);
            });
        }
    });
    all.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}
