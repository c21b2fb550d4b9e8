//! Puts deliberate bugs in, one after the other, and says what notices each; `cargo xtask mutations` is this
//! (`docs/design/0026-mutations.md`).
//!
//! `mutations [NUMBER…]` those, or all of the list · `--write` writes what was seen into the page.
#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use prunella_simulation::{MUTATIONS, Mutation};
use serde_json::Value;

/// A bug that makes tests wait for ever is noticed, too.
const PATIENCE: Duration = Duration::from_secs(300);

/// Tests: their crate, the file, and a part of their names.
type Tests = (&'static str, Option<&'static str>, &'static str);

/// What tests said.
#[derive(Debug, Clone, Default)]
struct Told {
    passed: usize,
    failed: Vec<String>,
    ended: bool,
}

/// What came of looking for a bug.
enum Seen {
    /// It is noticed: what may be said of it in the page, the best first.
    Noticed(Vec<String>),
    /// It is not, and why.
    Missed(String),
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let write = words.iter().any(|word| word == "--write");
    let numbers: Option<Vec<u32>> =
        words.iter().filter(|word| *word != "--write").map(|word| word.parse().ok()).collect();
    let Some(numbers) = numbers else {
        eprintln!("mutations: [NUMBER…] [--write]");
        return ExitCode::from(2);
    };
    if let Some(unknown) = numbers.iter().find(|number| MUTATIONS.iter().all(|one| one.number != **number)) {
        eprintln!("mutations: there is no bug {unknown}");
        return ExitCode::from(2);
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/design/0026-mutations.md");
    let mut text = std::fs::read_to_string(&page).expect("the page is there");
    let chosen: Vec<&Mutation> =
        MUTATIONS.iter().filter(|one| numbers.is_empty() || numbers.contains(&one.number)).collect();
    let programs = build(&chosen);
    // Without a bug they pass, or they show nothing: each once.
    let mut without = BTreeMap::new();
    let (mut noticed, mut missed, mut differ) = (0, Vec::new(), Vec::new());
    for mutation in chosen {
        let said = said(&text, mutation.number);
        let line = match look(mutation, &programs, &mut without) {
            Seen::Noticed(seen) => {
                noticed += 1;
                if !seen.iter().any(|seen| agree(seen, &said)) {
                    differ.push(mutation.number);
                    text = replaced(&text, mutation.number, &seen[0]);
                }
                seen.into_iter().next().unwrap_or_default()
            }
            Seen::Missed(why) => {
                missed.push(mutation.number);
                format!("NOT NOTICED: {why}")
            }
        };
        println!("| {} | {} | {line} |", mutation.number, mutation.what);
        // Whoever reads it in a file sees how far it is.
        let _shown = std::io::stdout().flush();
    }
    if write && !differ.is_empty() {
        std::fs::write(&page, text).expect("the page can be written");
    }
    let all = noticed + missed.len();
    let list = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    if !differ.is_empty() {
        println!("the page says something else of {}{}", list(&differ), if write { ": written" } else { "" });
    }
    println!("{all} bugs: {noticed} noticed, {} missed", missed.len());
    if missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("missed: {}", list(&missed));
    ExitCode::FAILURE
}

fn look(mutation: &Mutation, programs: &Programs, without: &mut BTreeMap<Tests, Told>) -> Seen {
    if let Some((most, hunt)) = mutation.schedules() {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let caught = hunt(mutation.number, most, threads);
        std::panic::set_hook(hook);
        return match caught {
            Some(caught) => {
                Seen::Noticed(vec![format!("seed {}, {}", caught.seed, caught.invariant.unwrap_or("it panics"))])
            }
            None => Seen::Missed(format!("{most} schedules hold")),
        };
    }
    let which = mutation.tests().expect("what schedules do not notice, tests do");
    let peace = without.entry(which).or_insert_with(|| tests(programs, which, None));
    if peace.passed == 0 || !peace.failed.is_empty() || !peace.ended {
        let what = if peace.passed == 0 { "there is none".to_owned() } else { peace.failed.join(", ") };
        return Seen::Missed(format!("without it they do not pass: {what}"));
    }
    let told = tests(programs, which, Some(mutation.number));
    match (told.failed.is_empty(), told.ended) {
        (false, _) => Seen::Noticed(told.failed.iter().map(|name| format!("`{name}`")).collect()),
        (true, false) => Seen::Noticed(vec!["they do not end".to_owned()]),
        (true, true) => Seen::Missed(format!("{} tests pass", told.passed)),
    }
}

/// The programs with tests, by crate and file (nothing for the unit tests of a crate): each with the directory of its crate.
type Programs = BTreeMap<(String, Option<String>), (PathBuf, PathBuf)>;

/// Builds the tests that these bugs need; as the whole workspace is built, or the bugs would not be in.
fn build(chosen: &[&Mutation]) -> Programs {
    let wanted: BTreeSet<Option<&str>> = chosen.iter().filter_map(|one| one.tests()).map(|(_, file, _)| file).collect();
    if wanted.is_empty() {
        return Programs::new();
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--workspace", "--features=xtask/soak", "--locked", "--no-run", "--message-format=json"]);
    for file in wanted {
        match file {
            Some(file) => command.args(["--test", file]),
            None => command.arg("--lib"),
        };
    }
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let built = command.current_dir(root).stderr(Stdio::inherit()).output().expect("cargo can be started");
    assert!(built.status.success(), "the tests could not be built");
    let mut programs = Programs::new();
    for line in String::from_utf8_lossy(&built.stdout).lines() {
        let Ok(said) = serde_json::from_str::<Value>(line) else { continue };
        let (Some(program), Some(manifest)) = (said["executable"].as_str(), said["manifest_path"].as_str()) else {
            continue;
        };
        let dir = Path::new(manifest).parent().expect("it lies somewhere").to_owned();
        let of = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = (said["target"]["kind"][0] == "test").then(|| said["target"]["name"].as_str().map(str::to_owned));
        programs.insert((of, file.flatten()), (program.into(), dir));
    }
    programs
}

/// Runs tests with a bug, or without.
fn tests(programs: &Programs, (of, file, part): Tests, bug: Option<u32>) -> Told {
    let Some((program, dir)) = programs.get(&(of.to_owned(), file.map(str::to_owned))) else { return Told::default() };
    let mut command = Command::new(program);
    command.args((!part.is_empty()).then_some(part)).env("RUST_BACKTRACE", "0").current_dir(dir).process_group(0);
    if let Some(number) = bug {
        command.env("PRUNELLA_MUTATION", number.to_string());
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("tests can be started");
    let mut out = child.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let _as_far_as_it_goes = out.read_to_string(&mut text);
        text
    });
    let begun = Instant::now();
    let ended = loop {
        if child.try_wait().expect("it is a child of this process").is_some() {
            break true;
        }
        if begun.elapsed() > PATIENCE {
            let _killed = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status();
            let _reaped = child.wait();
            break false;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let text = reader.join().expect("reading does not panic");
    let mut told = Told { ended, ..Told::default() };
    for line in text.lines() {
        let Some((name, outcome)) = line.strip_prefix("test ").and_then(|line| line.rsplit_once(" ... ")) else {
            continue;
        };
        // Some say how long it took, too.
        match outcome.split(' ').next().unwrap_or_default() {
            "ok" => told.passed += 1,
            "FAILED" => told.failed.push(name.rsplit("::").next().unwrap_or(name).to_owned()),
            _ => {}
        }
    }
    told
}

/// Returns what the page says was seen of a bug.
fn said(page: &str, number: u32) -> String {
    let row = page.lines().find(|line| line.starts_with(&format!("| {number} |")));
    row.and_then(|row| row.trim_end_matches(" |").rsplit_once(" |")).map_or("", |(_, seen)| seen).trim().to_owned()
}

/// Names of tests may be cut short in the page.
fn agree(seen: &str, said: &str) -> bool {
    match said.trim_matches('`').strip_suffix('…') {
        Some(begin) => seen.trim_matches('`').starts_with(begin),
        None => seen == said,
    }
}

fn replaced(page: &str, number: u32, seen: &str) -> String {
    let begin = format!("| {number} |");
    let row = |line: &str| match line.starts_with(&begin) {
        true => {
            let line = line.trim_end_matches(" |");
            let kept = line.rsplit_once(" |").map_or(line, |(kept, _)| kept);
            format!("{kept} | {seen} |\n")
        }
        false => format!("{line}\n"),
    };
    page.lines().map(row).collect()
}
