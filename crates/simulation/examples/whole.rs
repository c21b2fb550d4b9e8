//! Plays whole runs: one plan with its log, or many seeds; `cargo xtask soak --schedules N --whole` is this (`docs/testing.md`).
//!
//! `whole PLAN` · `whole --schedules N` so many (default 1,000) · `--first S` from this seed on (default 0) · `--parallel N` so
//! many at once (default: all processors).
#![allow(clippy::disallowed_methods)]

use std::{
    process::ExitCode,
    sync::Mutex,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use prunella_simulation::{WholeCounts, WholePlan, play_whole, play_whole_logged, shrink_whole};

#[derive(Default)]
struct All {
    schedules: u64,
    events: u64,
    ms: u64,
    counts: WholeCounts,
    failed: Option<u64>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|first| first.starts_with("whole=")) {
        let plan: WholePlan = words.join(" ").parse().expect("a plan");
        let outcome = play_whole_logged(&plan);
        println!("{}{:?}", outcome.log.unwrap_or_default(), outcome.violation);
        return ExitCode::SUCCESS;
    }
    let (mut schedules, mut first) = (1000, 0);
    let mut parallel = std::thread::available_parallelism().map_or(1, usize::from);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(value) = words.next().and_then(|value| value.parse().ok()) else {
            eprintln!("whole: `{word}` needs a number");
            return ExitCode::from(2);
        };
        match word.as_str() {
            "--schedules" => schedules = value,
            "--first" => first = value,
            "--parallel" => parallel = value as usize,
            _ => {
                eprintln!("whole: unknown word `{word}`");
                return ExitCode::from(2);
            }
        }
    }
    soak(first, schedules, parallel)
}

fn soak(first: u64, schedules: u64, parallel: usize) -> ExitCode {
    let (next, begun, all) = (AtomicU64::new(first), Instant::now(), Mutex::new(All::default()));
    std::thread::scope(|scope| {
        for _ in 0..parallel.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + schedules || all.lock().expect("nobody panics").failed.is_some() {
                        return;
                    }
                    let outcome = play_whole(&WholePlan::of(seed));
                    let mut all = all.lock().expect("nobody panics");
                    all.schedules += 1;
                    all.events += outcome.events;
                    all.ms += outcome.ms;
                    all.counts.add(&outcome.counts);
                    if outcome.violation.is_some() {
                        all.failed = Some(all.failed.map_or(seed, |before| before.min(seed)));
                    }
                }
            });
        }
    });
    let all = all.into_inner().expect("nobody panics");
    let took = begun.elapsed().as_secs_f64();
    let WholeCounts { store, faults, programs, succeeded, failed } = all.counts;
    println!(
        "{} schedules of whole runs from seed {first} on in {took:.1} s: {:.0} simulated s and {:.0} events a second; {faults} faults \
         ({:.1} a simulated minute), {programs} programs, {succeeded} runs succeeded, {failed} failed, {} commits, {} durable \
         checkpoints, {} restores, {} deletions",
        all.schedules,
        all.ms as f64 / 1000.0 / took,
        all.events as f64 / took,
        faults as f64 / (all.ms as f64 / 60_000.0),
        store.commits,
        store.durables,
        store.restores,
        store.deletions,
    );
    let Some(seed) = all.failed else { return ExitCode::SUCCESS };
    let (small, outcome) = shrink_whole(&WholePlan::of(seed));
    println!("seed {seed}: {:?}\nas a test: holds(\"{small}\")", outcome.violation);
    ExitCode::FAILURE
}
