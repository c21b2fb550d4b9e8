//! Plays seeds from FIRST on, COUNT of them, or one plan: `schedules FIRST COUNT`, `schedules PLAN`.
#![allow(clippy::disallowed_methods)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use prunella_simulation::{Counts, Plan, play, play_logged, shrink};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(first) = words.first().filter(|first| first.starts_with("seed=")) {
        let plan: Plan = if words.len() > 1 { words.join(" ") } else { first.clone() }.parse().expect("a plan");
        let outcome = play_logged(&plan);
        println!("{}{:?}", outcome.log.unwrap_or_default(), outcome.violation);
        return;
    }
    let number = |at: usize, or: u64| words.get(at).map_or(or, |word| word.parse().expect("a number"));
    let (first, count) = (number(0, 0), number(1, 1000));
    let (next, begun) = (AtomicU64::new(first), Instant::now());
    let (events, all) = (AtomicU64::new(0), Mutex::new(Counts::default()));
    std::thread::scope(|scope| {
        for _ in 0..number(2, 2) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    let outcome = play(&Plan::of(seed));
                    events.fetch_add(outcome.events, Ordering::Relaxed);
                    all.lock().expect("nobody panics with it").add(&outcome.counts);
                    if let Some(violation) = outcome.violation {
                        println!("seed {seed}: {violation}");
                        if words.get(3).is_some() {
                            let (small, outcome) = shrink(&Plan::of(seed));
                            println!("  {small}\n  {}", outcome.violation.expect("it fails"));
                        }
                    }
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    println!("{count} schedules in {seconds:.1} s: {events:?} events, {all:?}");
}
