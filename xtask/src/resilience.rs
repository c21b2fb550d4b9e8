//! `cargo xtask resilience`: measures `examples/digits` under every profile, and writes docs/resilience.md and the raw figures beside it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use serde_json::{Value, json};

mod page;

use page::{document, lost};

use crate::workspace::{cargo, root, target};

/// What is played; the names of `prunella chaos --profile`.
const PROFILES: [&str; 10] =
    ["aws-spot", "gcp-spot", "azure-spot", "pods", "argo", "autopilot", "kfp", "kills", "storage-storm", "everything"];

struct Options {
    /// What is played; what was measured of other profiles before is kept.
    profiles: Vec<&'static str>,
    runs: u32,
    faults: u32,
    seed: u64,
    /// By which the times of notices are divided.
    speed: f64,
    binary: Option<PathBuf>,
}

impl Options {
    fn of(words: &[&str]) -> Option<Self> {
        let mut options = Self { profiles: Vec::new(), runs: 20, faults: 4, seed: 1, speed: 60.0, binary: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => options.runs = 2,
                "--profile" => {
                    let name = words.next()?;
                    options.profiles.push(PROFILES.into_iter().find(|profile| profile == name)?);
                }
                "--runs" => options.runs = words.next()?.parse().ok()?,
                "--faults" => options.faults = words.next()?.parse().ok()?,
                "--seed" => options.seed = words.next()?.parse().ok()?,
                "--speed" => options.speed = words.next()?.parse().ok()?,
                "--binary" => options.binary = Some(PathBuf::from(words.next()?)),
                _ => return None,
            }
        }
        if options.profiles.is_empty() {
            options.profiles = PROFILES.to_vec();
        }
        Some(options)
    }
}

/// Runs.
pub fn main(words: &[&str]) -> ExitCode {
    let Some(options) = Options::of(words) else {
        eprintln!(
            "resilience: --profile P (several times, if need be), --quick, --runs N, --faults N, --seed S, --speed X, --binary FILE"
        );
        return ExitCode::from(2);
    };
    match measure(&options) {
        Ok(lost) => ExitCode::from(u8::from(lost > 0)),
        Err(error) => {
            eprintln!("resilience: {error}");
            ExitCode::from(75)
        }
    }
}

/// Measures, writes, and returns in how many runs something was lost.
fn measure(options: &Options) -> io::Result<usize> {
    let binary = match &options.binary {
        Some(binary) => std::path::absolute(binary)?,
        None => built()?,
    };
    // A copy, of which several can be played at once: the first run writes the packages that it chose into `prunella.lock`.
    let example = target().join("resilience").join(std::process::id().to_string()).join("digits");
    copy(&root().join("examples").join("digits"), &example)?;
    let raw = root().join("docs").join("resilience.json");
    let mut measured = Vec::new();
    for &profile in &options.profiles {
        eprintln!("{profile} …");
        let machine = machine();
        let answer = played(options, &binary, &example, profile)?;
        measured.push(json!({
            "profile": profile,
            "runs": options.runs,
            "faults": options.faults,
            "seed": options.seed,
            "speed": options.speed,
            "machine": machine,
            "answer": answer,
        }));
        // After each, so that what was measured is not lost with what was not.
        let all = with_earlier(earlier(&raw)?, &measured);
        fs::write(&raw, in_lines(&all))?;
        fs::write(root().join("docs").join("resilience.md"), document(&all))?;
    }
    fs::remove_dir_all(&example)?;
    Ok(lost(&json!({ "profiles": measured })))
}

/// Returns all that was measured, a line for every profile: what was not measured again does not change.
fn in_lines(all: &Value) -> String {
    let profiles: Vec<String> = all["profiles"].as_array().into_iter().flatten().map(Value::to_string).collect();
    format!("{{\"example\":{},\"profiles\":[\n{}\n]}}\n", all["example"], profiles.join(",\n"))
}

/// Returns what was measured before; nothing if there is no such file.
fn earlier(raw: &Path) -> io::Result<Value> {
    match fs::read(raw) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(error),
    }
}

/// Returns all that was measured, in the order of the profiles: of each the newest.
fn with_earlier(earlier: Value, measured: &[Value]) -> Value {
    let named = |profile: &str, one: &&Value| one["profile"] == profile;
    let of = |profile: &str| {
        let new = measured.iter().find(|one| named(profile, one));
        new.or_else(|| earlier["profiles"].as_array()?.iter().find(|one| named(profile, one)))
    };
    json!({ "example": "examples/digits", "profiles": PROFILES.into_iter().filter_map(of).collect::<Vec<_>>() })
}

fn built() -> io::Result<PathBuf> {
    let status = cargo(&["build", "--release", "--package", "prunella"]).status()?;
    if !status.success() {
        return Err(io::Error::other("it does not build"));
    }
    Ok(target().join("release").join("prunella"))
}

/// Plays one profile; whether something was lost stands in the answer.
fn played(options: &Options, binary: &Path, example: &Path, profile: &str) -> io::Result<Value> {
    let (runs, faults) = (options.runs.to_string(), options.faults.to_string());
    let (seed, speed) = (options.seed.to_string(), options.speed.to_string());
    let output = Command::new(binary)
        .args(["chaos", "--compare", "ad-hoc", "--output", "json", "--profile", profile])
        .args(["--runs", &runs, "--faults", &faults, "--seed", &seed, "--speed", &speed])
        .current_dir(example)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !matches!(output.status.code(), Some(0 | 1)) {
        return Err(io::Error::other(format!("`chaos` ended with {}", output.status)));
    }
    serde_json::from_slice(&output.stdout).map_err(io::Error::other)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if name.to_string_lossy().starts_with('.') || name == "__pycache__" {
            continue;
        }
        match entry.is_dir() {
            true => copy(&entry, &to.join(name))?,
            false => drop(fs::copy(&entry, to.join(name))?),
        }
    }
    Ok(())
}

/// Returns what the figures depend on of this machine.
fn machine() -> Value {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let of_minute = load.split(' ').next().and_then(|load| load.parse::<f64>().ok());
    json!({ "processors": std::thread::available_parallelism().ok().map(usize::from), "load_before": of_minute })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_what_is_none_is_refused() {
        let options = Options::of(&["--quick", "--seed", "9"]).expect("options");
        assert_eq!((options.runs, options.seed, options.profiles.len()), (2, 9, PROFILES.len()));
        let options = Options::of(&["--profile", "kills", "--profile", "pods"]).expect("options");
        assert_eq!(options.profiles, ["kills", "pods"]);
        assert!(Options::of(&["--runs"]).is_none() && Options::of(&["now"]).is_none());
        assert!(Options::of(&["--profile", "kill"]).is_none());
    }

    #[test]
    fn what_was_measured_before_stays_until_it_is_measured_again() {
        let one = |profile: &str, runs: u32| json!({ "profile": profile, "runs": runs });
        let all = with_earlier(Value::Null, &[one("kills", 3)]);
        assert_eq!(all["profiles"], json!([one("kills", 3)]));
        let all = with_earlier(all, &[one("pods", 4)]);
        assert_eq!(all["profiles"], json!([one("pods", 4), one("kills", 3)]));
        let all = with_earlier(all, &[one("kills", 5)]);
        assert_eq!(all["profiles"], json!([one("pods", 4), one("kills", 5)]));
        let text = in_lines(&all);
        assert_eq!(text.lines().count(), 4, "a line each: {text}");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("it is JSON"), all);
    }
}
