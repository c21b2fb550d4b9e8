//! `cargo xtask check`: everything that must hold before a commit, the quick things first.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use crate::{
    direction, documents, examples, lengths, licences, purity,
    servers::Servers,
    workspace::{Workspace, cargo, root},
};

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What needs no build but clippy's.
    Quick,
    /// Everything.
    All,
    /// The examples alone.
    Examples,
}

/// What came out so far.
#[derive(Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    /// The names of what failed, for the end.
    names: Vec<String>,
    times: Vec<(&'static str, f64)>,
}

impl Tally {
    fn phase(&mut self, name: &'static str, work: impl FnOnce(&mut Self)) {
        println!("── {name}");
        let (begun, failed) = (Instant::now(), self.failed);
        work(self);
        let seconds = begun.elapsed().as_secs_f64();
        println!("── {name}: {} in {seconds:.1} s\n", if self.failed == failed { "ok" } else { "FAILED" });
        self.times.push((name, seconds));
    }

    fn judge(&mut self, name: &str, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.names.push(name.to_owned());
        }
    }

    /// One check that gives a list of violations.
    fn none(&mut self, name: &str, violations: Result<Vec<String>, String>) {
        let violations = violations.unwrap_or_else(|problem| vec![problem]);
        violations.iter().for_each(|violation| println!("{name}: {violation}"));
        self.judge(name, violations.is_empty());
    }

    /// One check that is a command.
    fn runs(&mut self, name: &str, mut command: Command) {
        let passed = command.status().is_ok_and(|status| status.success());
        self.judge(name, passed);
    }

    /// All tests; each counts.
    fn tests(&mut self, mut command: Command) {
        let child = command.stdout(Stdio::piped()).spawn();
        let Ok(mut child) = child else { return self.judge("cargo test", false) };
        let before = self.failed;
        for line in BufReader::new(child.stdout.take().expect("piped")).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            match outcome(&line) {
                // What passes is counted, not printed: CI logs stay readable.
                Some((_, true)) => self.passed += 1,
                Some((name, false)) => {
                    println!("{line}");
                    self.judge(name, false);
                }
                None if is_noise(&line) => {}
                None => println!("{line}"),
            }
        }
        let _shown = std::io::stdout().flush();
        let ended = child.wait().is_ok_and(|status| status.success());
        if !ended && self.failed == before {
            self.judge("cargo test", false);
        }
    }
}

/// Returns the name and outcome of a test from a line of its output; nothing for ignored tests and other lines.
fn outcome(line: &str) -> Option<(&str, bool)> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    match outcome.split_whitespace().next()? {
        "ok" => Some((name, true)),
        "FAILED" => Some((name, false)),
        _ => None,
    }
}

fn is_noise(line: &str) -> bool {
    let quiet = line.starts_with("running ") || line.starts_with("test result: ok") || line == "test result: 0 failed";
    line.trim().is_empty() || quiet
}

/// Checks, prints what it finds, and ends with one line that counts.
pub fn check(extent: Extent) -> ExitCode {
    let begun = Instant::now();
    let mut tally = Tally::default();
    if extent != Extent::Examples {
        quick(&mut tally);
    }
    if extent != Extent::Quick {
        // One selection of packages and targets for build and test: nothing is built twice.
        let build = ["build", "--workspace", "--all-targets", "--features=xtask/soak", "--locked", "--quiet"];
        tally.phase("build", |tally| tally.runs("cargo build", cargo(&build)));
    }
    if extent == Extent::All {
        let mut test = cargo(&["test", "--workspace", "--features=xtask/soak", "--no-fail-fast", "--locked"]);
        let mut servers = Servers::default();
        tally.phase("servers", |_| servers = Servers::start());
        test.envs(servers.variables.iter().map(|(name, value)| (name, value)));
        tally.phase("test", |tally| tally.tests(test));
    }
    if extent != Extent::Quick {
        for example in examples::ALL {
            tally.phase(example.phase, |tally| {
                for (name, outcome) in examples::run(&example) {
                    tally.none(&name, outcome.map(|()| Vec::new()));
                }
            });
        }
    }
    let times: Vec<String> = tally.times.iter().map(|(name, seconds)| format!("{name} {seconds:.0} s")).collect();
    println!("{} · together {:.0} s", times.join(" · "), begun.elapsed().as_secs_f64());
    for name in &tally.names {
        println!("failed: {name}");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What needs no build but clippy's.
fn quick(tally: &mut Tally) {
    tally.phase("format", |tally| tally.runs("cargo fmt", cargo(&["fmt", "--all", "--", "--check", "-l"])));
    tally.phase("structure", |tally| {
        let workspace = Workspace::read();
        let with = |look: &dyn Fn(&Workspace) -> Vec<String>| workspace.as_ref().map(look).map_err(Clone::clone);
        tally.none("direction", with(&direction::violations));
        tally.none("purity", Ok(purity::violations(root())));
        let rules = std::fs::read_to_string(root().join("deny.toml")).unwrap_or_default();
        let rules = licences::Rules::read(&rules);
        tally.none("licences", with(&|workspace| licences::violations(workspace, &rules)));
        let lengths = lengths::measure(root());
        lengths.warnings.iter().for_each(|warning| println!("warning: {warning}"));
        tally.none("lengths", Ok(lengths.violations));
        tally.none("documents", Ok(documents::violations(root())));
    });
    tally.phase("clippy", |tally| {
        let arguments = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--features=xtask/soak",
            "--locked",
            "--quiet",
            "--keep-going",
            "--",
            "-D",
            "warnings",
        ];
        tally.runs("cargo clippy", cargo(&arguments));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_by_their_lines() {
        assert_eq!(outcome("test a::b ... ok"), Some(("a::b", true)));
        assert_eq!(outcome("test a killed step ... ok (0.31 s)"), Some(("a killed step", true)));
        assert_eq!(outcome("test a - (line 3) ... FAILED"), Some(("a - (line 3)", false)));
        assert_eq!(outcome("test a ... ignored, slow"), None);
        assert_eq!(outcome("test result: ok. 3 passed; 0 failed"), None);
    }

    #[test]
    fn a_list_of_violations_fails_the_check() {
        let mut tally = Tally::default();
        tally.none("good", Ok(Vec::new()));
        tally.none("bad", Ok(vec!["x".to_owned()]));
        tally.none("unknown", Err("y".to_owned()));
        assert_eq!((tally.passed, tally.failed, tally.names.len()), (1, 2, 2));
    }
}
