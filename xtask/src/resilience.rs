//! `cargo xtask resilience`: measures `examples/digits` under every profile, and writes docs/resilience.md and the raw figures beside it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use serde_json::{Value, json};

use crate::workspace::{cargo, root, target};

/// What is played; the names of `prunella chaos --profile`.
const PROFILES: [&str; 6] = ["aws-spot", "gcp-spot", "azure-spot", "pods", "kills", "everything"];

/// At such a load, or a higher one, other work shows in the figures.
const BUSY: f64 = 0.5;

struct Options {
    runs: u32,
    faults: u32,
    seed: u64,
    /// By which the times of notices are divided.
    speed: f64,
    binary: Option<PathBuf>,
}

impl Options {
    fn of(words: &[&str]) -> Option<Self> {
        let mut options = Self { runs: 20, faults: 4, seed: 1, speed: 60.0, binary: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => options.runs = 2,
                "--runs" => options.runs = words.next()?.parse().ok()?,
                "--faults" => options.faults = words.next()?.parse().ok()?,
                "--seed" => options.seed = words.next()?.parse().ok()?,
                "--speed" => options.speed = words.next()?.parse().ok()?,
                "--binary" => options.binary = Some(PathBuf::from(words.next()?)),
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Runs.
pub fn main(words: &[&str]) -> ExitCode {
    let Some(options) = Options::of(words) else {
        eprintln!("resilience: --quick, --runs N, --faults N, --seed S, --speed X, --binary FILE");
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
    // A copy: the first run writes the packages that it chose into `prunella.lock`.
    let example = target().join("resilience").join("digits");
    if example.exists() {
        fs::remove_dir_all(&example)?;
    }
    copy(&root().join("examples").join("digits"), &example)?;
    let (machine, mut measured) = (machine(), Vec::new());
    for profile in PROFILES {
        eprintln!("{profile} …");
        measured.push(json!({ "profile": profile, "answer": played(options, &binary, &example, profile)? }));
    }
    let raw = json!({
        "example": "examples/digits",
        "runs": options.runs,
        "faults": options.faults,
        "seed": options.seed,
        "speed": options.speed,
        "machine": machine,
        "profiles": measured,
    });
    let text = serde_json::to_string_pretty(&raw).map_err(io::Error::other)?;
    fs::write(root().join("docs").join("resilience.json"), text + "\n")?;
    fs::write(root().join("docs").join("resilience.md"), document(&raw))?;
    Ok(lost(&raw))
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

/// Returns in how many of Prunella's runs something was wrong.
fn lost(raw: &Value) -> usize {
    let runs = raw["profiles"].as_array().into_iter().flatten().flat_map(|one| one["answer"]["runs"].as_array());
    runs.flatten().filter(|run| run["wrong"].as_array().is_none_or(|wrong| !wrong.is_empty())).count()
}

/// Returns the page, from the raw figures alone.
fn document(raw: &Value) -> String {
    let mut rows = String::new();
    for one in raw["profiles"].as_array().into_iter().flatten() {
        let profile = one["profile"].as_str().unwrap_or_default();
        rows.push_str(&row(profile, "prunella", &one["answer"]["prunella"], raw["runs"].as_u64()));
        rows.push_str(&row("", "ad-hoc", &one["answer"]["ad_hoc"], raw["runs"].as_u64()));
    }
    let wrong = match lost(raw) {
        0 => "In none of Prunella's runs was an invariant broken or a byte other than undisturbed.".to_owned(),
        n => format!("**In {n} of Prunella's runs something was wrong**: see `wrong` in the raw figures."),
    };
    let load = match raw["machine"]["load_before"].as_f64() {
        None => String::new(),
        Some(load) if load < BUSY => format!(", load {load:.1} before"),
        Some(load) => {
            format!(
                ", load {load:.1} before: **the machine was busy with other work, so starts and recoveries took longer**"
            )
        }
    };
    format!(
        "# Resilience, measured

What interruptions cost `examples/digits`, by the formulas of [metrics.md](metrics.md); beside it the same commands as a shell script under the same faults
([design/0032-ad-hoc-baseline.md](design/0032-ad-hoc-baseline.md)). Written by one command, which is `cargo xtask resilience`; all seeds, plans, time lines and raw figures are in
[resilience.json](resilience.json). Never edit this page by hand.

{runs} runs a profile, up to {faults} faults each, seeds from {seed} on, times of notices divided by {speed}; {processors} processors{load}.
{wrong}

| profile | | interruptions | MTTR p50 / p99 | to new progress p50 | corrupt artifacts | waste (bound) | lineage | gave up |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}
- *Corrupt artifacts* differ from those of the undisturbed run and could be seen: outputs of steps that are done, and published files.
- *Gave up*: runs that did not succeed by themselves. A script that gave up waits for somebody to look; that wait is in no figure.
- A script is started again at once, as Prunella is, and its pause between two tries is a second. The hours until somebody notices are not counted for it.
- What ran between the last event of an engine, or the last word of a script, and its death without notice is in neither row: compute and waste are lower bounds there.
- The *bound* takes it that a program can be checkpointed at any instant. A program that writes its checkpoints at points of its own loses what it did since the last of them, whoever runs it; how far waste lies above the bound
  is mostly that.
- The programs of the example checkpoint atomically and write whole files, so that a script, too, goes on from where it was. What a careless program does to a script, and not to Prunella, is a test
  (`a_careless_writer_that_is_killed_corrupts_the_script_and_not_prunella`).
",
        runs = raw["runs"],
        faults = raw["faults"],
        seed = raw["seed"],
        speed = raw["speed"],
        processors = raw["machine"]["processors"],
    )
}

fn row(profile: &str, who: &str, figures: &Value, runs: Option<u64>) -> String {
    let seconds = |name: &str, which: &str| {
        figures[name][which].as_f64().map_or_else(|| "–".to_owned(), |millis| format!("{:.2} s", millis / 1000.0))
    };
    let share =
        |name: &str| figures[name].as_f64().map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share));
    let gave_up = figures["failed_runs"]
        .as_u64()
        .map_or_else(|| "–".to_owned(), |failed| format!("{failed} of {}", runs.unwrap_or_default()));
    format!(
        "| {profile} | {who} | {}, {} healed | {} / {} | {} | {} ({}) | {} ({}) | {} | {gave_up} |\n",
        figures["interruptions"],
        figures["recovered"],
        seconds("mttr", "p50_ms"),
        seconds("mttr", "p99_ms"),
        seconds("mttr_to_mark", "p50_ms"),
        figures["corrupt_artifacts"],
        share("corruption"),
        share("waste"),
        share("waste_bound"),
        share("lineage"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_both_rows_of_every_profile_and_says_what_was_lost() {
        let figures = json!({ "interruptions": 4, "recovered": 3, "corrupt_artifacts": 1, "corruption": 0.25, "waste": 0.0625,
                              "waste_bound": 0.01, "lineage": 1.0, "mttr": { "p50_ms": 10, "p99_ms": 1500 } });
        let mut script = figures.clone();
        script["failed_runs"] = 2.into();
        let answer = |wrong: Value| json!({ "runs": [{ "wrong": wrong }], "prunella": figures, "ad_hoc": script });
        let raw = |wrong: Value| json!({ "runs": 20, "profiles": [{ "profile": "kills", "answer": answer(wrong) }] });
        let page = document(&raw(json!([])));
        assert!(
            page.contains(
                "| kills | prunella | 4, 3 healed | 0.01 s / 1.50 s | – | 1 (25.0 %) | 6.2 % (1.0 %) | 100.0 % | – |"
            ),
            "{page}"
        );
        assert!(page.contains("| ad-hoc |") && page.contains("| 2 of 20 |") && page.contains("In none of"), "{page}");
        assert!(document(&raw(json!(["I1"]))).contains("In 1 of Prunella's runs something was wrong"));
        let mut busy = raw(json!([]));
        busy["machine"]["load_before"] = json!(4.3);
        assert!(document(&busy).contains("load 4.3 before: **the machine was busy") && !page.contains("busy"));
        assert_eq!((lost(&raw(json!([]))), lost(&raw(Value::Null))), (0, 1));
    }

    #[test]
    fn options_are_read_and_what_is_none_is_refused() {
        let options = Options::of(&["--quick", "--seed", "9"]).expect("options");
        assert_eq!((options.runs, options.seed), (2, 9));
        assert!(Options::of(&["--runs"]).is_none() && Options::of(&["now"]).is_none());
    }
}
