//! Plays one plan and prints its log, or many seeds; `cargo xtask soak --schedules N` is this (`docs/testing.md`).
//!
//! `schedules PLAN` · `schedules --schedules N` so many (default 1,000) · `--first S` from this seed on (default 0) ·
//! `--parallel N` so many at once (default: all processors) · `--state FILE` where it stands: a call with the same first
//! seed goes on there · `--new` begins anew.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use prunella_simulation::{Counts, Plan, Played, play_logged, play_range, shrink};

/// After so many it is written down how far they came.
const BLOCK: u64 = 1000;

struct Options {
    first: u64,
    schedules: u64,
    parallel: usize,
    state: Option<PathBuf>,
    new: bool,
}

impl Options {
    fn read(words: &[String]) -> Result<Self, String> {
        let parallel = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self { first: 0, schedules: 1000, parallel, state: None, new: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--new" {
                options.new = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("`{word}` needs a value"))?;
            let wrong = |_| format!("`{value}` is no value of `{word}`");
            match word.as_str() {
                "--schedules" => options.schedules = value.parse().map_err(wrong)?,
                "--first" => options.first = value.parse().map_err(wrong)?,
                "--parallel" => options.parallel = value.parse().map_err(wrong)?,
                "--state" => options.state = Some(PathBuf::from(value)),
                _ => return Err(format!("unknown word `{word}`")),
            }
        }
        Ok(options)
    }
}

/// Returns what earlier calls with this first seed played.
fn before(state: &Path, first: u64) -> Played {
    let text = std::fs::read_to_string(state).unwrap_or_default();
    let read: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    let number = |name: &str| read.get(name).copied().unwrap_or(0);
    if read.get("first") != Some(&first) {
        return Played::default();
    }
    let counts = Counts {
        commits: number("commits"),
        durables: number("durables"),
        restores: number("restores"),
        deletions: number("deletions"),
    };
    Played { schedules: number("schedules"), events: number("events"), counts, failed: None }
}

fn keep(state: &Path, first: u64, played: &Played) {
    let Played { schedules, events, counts, .. } = played;
    let Counts { commits, durables, restores, deletions } = counts;
    let text = format!(
        "first {first}\nschedules {schedules}\nevents {events}\ncommits {commits}\ndurables {durables}\nrestores {restores}\ndeletions {deletions}\n"
    );
    let part = state.with_extension("part");
    if let Err(error) = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, state)) {
        eprintln!("could not keep `{}`: {error}", state.display());
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|first| first.starts_with("seed=")) {
        let plan: Plan = words.join(" ").parse().expect("a plan");
        let outcome = play_logged(&plan);
        println!("{}{:?}", outcome.log.unwrap_or_default(), outcome.violation);
        return ExitCode::SUCCESS;
    }
    match Options::read(&words) {
        Ok(options) => soak(&options),
        Err(problem) => {
            eprintln!("schedules: {problem}");
            ExitCode::from(2)
        }
    }
}

fn soak(options: &Options) -> ExitCode {
    let Options { first, schedules, .. } = *options;
    let state = options.state.as_deref().filter(|_| !options.new);
    let mut all = state.map(|state| before(state, first)).unwrap_or_default();
    let (begun, played_before) = (Instant::now(), all.schedules);
    let mut told = begun;
    println!("schedules: seeds {first} to {}, {played_before} played before", first + schedules.max(1) - 1);
    while all.schedules < schedules && all.failed.is_none() {
        let at = first + all.schedules;
        let played = play_range(at, BLOCK.min(schedules - all.schedules), options.parallel);
        if let Some(seed) = played.failed {
            let (small, outcome) = shrink(&Plan::of(seed));
            let violation = outcome.violation.expect("it failed before");
            println!("seed {seed}: {violation}\nas a test: holds(\"{small}\")");
        }
        // A block in which one failed is played again once that is put right.
        if played.failed.is_some() {
            all.failed = played.failed;
            break;
        }
        all.add(&played);
        if let Some(state) = &options.state {
            keep(state, first, &all);
        }
        if told.elapsed() >= Duration::from_secs(30) {
            told = Instant::now();
            let rate = (all.schedules - played_before) as f64 / begun.elapsed().as_secs_f64();
            let left = (schedules - all.schedules) as f64 / rate / 60.0;
            println!("{} of {schedules}: {rate:.0} a second, {left:.0} minutes left", all.schedules);
        }
    }
    let (seconds, Counts { commits, durables, restores, deletions }) = (begun.elapsed().as_secs_f64(), all.counts);
    let how = all.failed.map_or_else(|| "none breaks anything".to_owned(), |seed| format!("seed {seed} FAILED"));
    println!(
        "{} schedules from seed {first} on, {how}: {} events, {commits} commits, {durables} durable checkpoints, {restores} restores, {deletions} deletions; {seconds:.0} s this time",
        all.schedules, all.events
    );
    if all.failed.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
