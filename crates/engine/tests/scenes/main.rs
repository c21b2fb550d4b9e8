//! Whole runs with real processes under a real guardian: what heals, what does not, and what is left in the store.
//!
//! Without the standard harness, because this program is also the guardian and some steps.
//! `cargo test -p prunella-engine --test scenes -- WORDS` runs the tests whose names contain one of the words.

// Tests may ask the machine for the time and write files as they like.
#![allow(clippy::disallowed_methods)]

mod accelerators;
mod again;
mod checkpoints;
mod checks;
mod conditions;
mod copies;
mod damage;
mod disks;
mod ends;
mod engines;
mod fan_out;
mod frameworks;
mod limits;
mod lives;
mod mounts;
mod notices;
mod output;
mod power;
mod publications;
mod scene;
mod secrets;
mod summaries;

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Tests at once: most of them wait for processes.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(prunella_process::GUARDIAN_ARG) => prunella_process::guardian_main(),
        Some(notices::TELL) => notices::tell_main(&arguments[1..]),
        Some(limits::EAT) => limits::eat_main(&arguments[1..]),
        _ => (),
    }
    let words: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let tests = [
        notices::TESTS,
        checks::TESTS,
        conditions::TESTS,
        fan_out::TESTS,
        frameworks::TESTS,
        limits::TESTS,
        lives::TESTS,
        mounts::TESTS,
        accelerators::TESTS,
        checkpoints::TESTS,
        copies::TESTS,
        damage::TESTS,
        again::TESTS,
        secrets::TESTS,
        output::TESTS,
        power::TESTS,
        publications::TESTS,
        disks::TESTS,
        engines::TESTS,
        ends::TESTS,
        summaries::TESTS,
    ]
    .concat();
    let chosen: Vec<_> = tests
        .iter()
        .filter(|(name, _)| words.is_empty() || words.iter().any(|word| name.contains(word.as_str())))
        .collect();
    if arguments.iter().any(|word| word == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, test)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = std::time::Instant::now();
                    let passed = catch_unwind(test).is_ok();
                    let word = if passed { "ok" } else { "FAILED" };
                    println!("test {name} ... {word} ({:.2} s)", begun.elapsed().as_secs_f64());
                    if !passed {
                        failed.lock().unwrap().push(*name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!("\ntest result: {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
