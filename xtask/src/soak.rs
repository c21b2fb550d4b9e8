//! `cargo xtask soak`: kills real runs for as long as one likes, and goes on where it was stopped.
//!
//! `--minutes N` how long (default 10) · `--kills N` or until so many were killed in all (default 10,000) · `--seed S` where
//! a new soak begins · `--parallel N` rounds at once (default 1; more disturb the latencies) · `--binary FILE` what is
//! killed (default: built now) · `--state FILE` where it stands (default target/soak.state) · `--new` begins anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prunella_testkit::kills::{Totals, round};

/// Actions of one round: about as many as a run lives to see.
const ACTIONS: usize = 30;

struct Options {
    minutes: f64,
    kills: u64,
    seed: u64,
    parallel: usize,
    binary: Option<PathBuf>,
    state: PathBuf,
    new: bool,
}

impl Options {
    fn read(words: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            minutes: 10.0,
            kills: 10_000,
            seed: 1,
            parallel: 1,
            binary: None,
            state: PathBuf::from("target/soak.state"),
            new: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if *word == "--new" {
                options.new = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("`{word}` needs a value"))?;
            let wrong = || format!("`{value}` is no value of `{word}`");
            match *word {
                "--minutes" => options.minutes = value.parse().map_err(|_| wrong())?,
                "--kills" => options.kills = value.parse().map_err(|_| wrong())?,
                "--seed" => options.seed = value.parse().map_err(|_| wrong())?,
                "--parallel" => options.parallel = value.parse::<usize>().map_err(|_| wrong())?.max(1),
                "--binary" => options.binary = Some(PathBuf::from(value)),
                "--state" => options.state = PathBuf::from(value),
                _ => return Err(format!("unknown word `{word}`")),
            }
        }
        Ok(options)
    }
}

/// What a soak has done so far: the next seed, and the totals that add up over calls.
struct State {
    next: u64,
    before: BTreeMap<String, u64>,
}

impl State {
    fn read(options: &Options) -> Self {
        let text = if options.new { String::new() } else { fs::read_to_string(&options.state).unwrap_or_default() };
        let mut before: BTreeMap<String, u64> = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect();
        let next = before.remove("next").unwrap_or(options.seed);
        Self { next, before }
    }

    fn kills(&self) -> u64 {
        self.before.get("kills").copied().unwrap_or(0)
    }

    fn write(&self, path: &Path, next: u64, totals: &Totals) {
        let mut all = self.before.clone();
        let mut add = |name: String, value: u64| *all.entry(name).or_default() += value;
        add("kills".to_owned(), totals.kills());
        add("rounds".to_owned(), totals.rounds);
        add("engines".to_owned(), totals.sum.engines);
        totals.sum.done.iter().for_each(|(action, times)| add(format!("{action:?}"), *times));
        let mut text = format!("next {next}\n");
        all.iter().for_each(|(name, value)| text.push_str(&format!("{name} {value}\n")));
        let part = path.with_extension("part");
        if let Err(error) = fs::write(&part, text).and_then(|()| fs::rename(&part, path)) {
            eprintln!("could not keep `{}`: {error}", path.display());
        }
    }
}

/// Soaks as these words say.
pub fn main(words: &[&str]) -> ExitCode {
    let options = match Options::read(words) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("soak: {problem}");
            return ExitCode::from(2);
        }
    };
    let Some(binary) = binary(&options) else { return ExitCode::FAILURE };
    let state = State::read(&options);
    let begun = Instant::now();
    let until = begun + Duration::from_secs_f64(options.minutes * 60.0);
    let (next, failed) = (AtomicU64::new(state.next), AtomicBool::new(false));
    let totals = Mutex::new(Totals::default());
    println!("soak: seeds from {}, {} kills so far", state.next, state.kills());
    let enough = || {
        let kills = totals.lock().expect("no round panics while it adds").kills() + state.kills();
        kills >= options.kills || Instant::now() >= until || failed.load(Ordering::Relaxed)
    };
    std::thread::scope(|scope| {
        for _ in 0..options.parallel {
            scope.spawn(|| {
                while !enough() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let scratch = tempfile::tempdir().expect("a temporary directory can be made");
                    match round(&binary, scratch.path(), seed, ACTIONS) {
                        Ok(done) => {
                            let mut totals = totals.lock().expect("no round panics while it adds");
                            totals.add(&done);
                            state.write(&options.state, seed + 1, &totals);
                            if totals.rounds % 20 == 0 {
                                let at = begun.elapsed().as_secs();
                                println!("{at} s: {} kills in {} runs", totals.kills(), totals.rounds);
                            }
                        }
                        Err(failure) => {
                            failed.store(true, Ordering::Relaxed);
                            println!("{failure}\nkept: {}", scratch.keep().display());
                        }
                    }
                }
            });
        }
    });
    let totals = totals.into_inner().expect("no round panics while it adds");
    println!("{totals}");
    println!("{} kills in all, {:.0} s this time", totals.kills() + state.kills(), begun.elapsed().as_secs_f64());
    if failed.load(Ordering::Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn binary(options: &Options) -> Option<PathBuf> {
    if let Some(binary) = &options.binary {
        return std::path::absolute(binary).ok();
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "--package", "prunella"]).status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("soak: `cargo build --package prunella` failed");
        return None;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::path::absolute(target.join("debug/prunella")).ok()
}
