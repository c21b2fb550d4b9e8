//! Trees of real processes under a real guardian.
//!
//! Without the standard harness, because this program is also the guardian, an engine to be killed, and some steps.
//! `cargo test -p prunella-process --test trees -- WORDS` runs the tests whose names contain one of the words.

// Tests may ask the machine for the time and write files as they like.
#![allow(clippy::disallowed_methods)]

#[path = "trees/ending.rs"]
mod ending;
#[path = "trees/limits.rs"]
mod limits;
#[path = "trees/mounts.rs"]
mod mounts;
#[path = "trees/output.rs"]
mod output;
#[path = "trees/spawning.rs"]
mod spawning;
#[path = "trees/support.rs"]
mod support;

use std::panic::catch_unwind;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(prunella_process::GUARDIAN_ARG) => prunella_process::guardian_main(),
        Some(support::ENGINE_ARG) => support::engine_main(arguments.collect()),
        Some(limits::EAT_ARG) => limits::eat_main(arguments.collect()),
        _ => (),
    }
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let tests = [spawning::TESTS, output::TESTS, ending::TESTS, limits::TESTS, mounts::TESTS].concat();
    let chosen: Vec<_> = tests
        .iter()
        .filter(|(name, _)| words.is_empty() || words.iter().any(|word| name.contains(word.as_str())))
        .collect();
    if std::env::args().any(|word| word == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let mut failed = 0;
    for (name, test) in chosen {
        let begun = std::time::Instant::now();
        let passed = catch_unwind(test).is_ok();
        println!("test {name} ... {} ({:.2} s)", if passed { "ok" } else { "FAILED" }, begun.elapsed().as_secs_f64());
        failed += usize::from(!passed);
    }
    println!("\ntest result: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
