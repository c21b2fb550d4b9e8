//! The examples, run for real: once in peace and once disturbed, with the same bytes at the end.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::workspace::{root, target};

/// An example and what it makes.
pub struct Example {
    /// The name of the phase that runs it.
    pub phase: &'static str,
    name: &'static str,
    artifacts: &'static [&'static str],
    /// The step that is killed; it checkpoints and runs for some seconds.
    victim: &'static str,
    /// The grace of that step, if it ignores its notice.
    deaf: Option<Duration>,
}

/// All examples.
pub const ALL: [Example; 5] = [
    Example {
        phase: "examples/shell",
        name: "shell",
        artifacts: &["words.words", "count.counts", "report.page"],
        victim: "count",
        deaf: None,
    },
    Example {
        phase: "examples/digits",
        name: "digits",
        artifacts: &["split.train", "split.test", "train.model", "evaluate.metrics", "report.page"],
        victim: "train",
        deaf: None,
    },
    Example {
        phase: "examples/huggingface-like",
        name: "huggingface-like",
        artifacts: &["train.model", "evaluate.metrics"],
        victim: "train",
        deaf: None,
    },
    Example {
        phase: "examples/uncooperative",
        name: "uncooperative",
        artifacts: &["crunch.table", "sum.primes"],
        victim: "crunch",
        deaf: Some(Duration::from_secs(2)),
    },
    Example {
        phase: "examples/sweep",
        name: "sweep",
        artifacts: &["points.train", "choose.best", "choose.model", "choose.table", "deploy.answer"],
        victim: "train",
        deaf: None,
    },
];

/// How long a step that is to be killed may first go on.
const GO_ON: Duration = Duration::from_millis(1500);
/// How long one waits for it to run at all; the environment may have to be made before.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long a stop may take beyond the grace of what ignores it, on a busy machine.
const ENDING: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// Runs an example twice and answers with the outcome of each check.
pub fn run(example: &Example) -> Vec<(String, Result<(), String>)> {
    let name = |what: &str| format!("examples/{}: {what}", example.name);
    let mut checks = Vec::new();
    let peaceful = Copy::make(example, "peaceful").and_then(|copy| copy.prunella(&["run"]).map(|()| copy));
    checks.push((name("runs"), peaceful.as_ref().map(|_| ()).map_err(Clone::clone)));
    let disturbed = Copy::make(example, "disturbed").and_then(|copy| {
        // The same locked environment: resolved twice, it could be another one.
        if let Ok(peaceful) = &peaceful {
            let lock = |copy: &Copy| copy.directory.join("prunella.lock");
            // Without data and packages there is none.
            if lock(peaceful).exists() {
                std::fs::copy(lock(peaceful), lock(&copy)).map_err(|error| format!("prunella.lock: {error}"))?;
            }
        }
        copy.disturb(example.victim).map(|()| copy)
    });
    checks.push((
        name("survives kill -9 of a step and of the engine"),
        disturbed.as_ref().map(|_| ()).map_err(Clone::clone),
    ));
    if let Some(grace) = example.deaf {
        let stopped = Copy::make(example, "stopped").and_then(|copy| copy.stop(example.victim, grace));
        checks.push((name("ends within its grace although nobody listens"), stopped));
    }
    if let (Ok(peaceful), Ok(disturbed)) = (peaceful, disturbed) {
        let same = example.artifacts.iter().try_for_each(|artifact| {
            let (one, other) = (peaceful.get(artifact)?, disturbed.get(artifact)?);
            if one == other { Ok(()) } else { Err(format!("{artifact} has other bytes after the kills")) }
        });
        checks.push((name("the disturbed run has the same bytes"), same));
        checks.push((name("a second run has nothing to do"), peaceful.prunella(&["run"])));
    }
    checks
}

/// A copy of an example to run in.
struct Copy {
    directory: PathBuf,
}

impl Copy {
    fn make(example: &Example, what: &str) -> Result<Self, String> {
        let directory = target().join("xtask").join(format!("{}-{what}", example.name));
        let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
        if directory.exists() {
            std::fs::remove_dir_all(&directory).map_err(failed)?;
        }
        copy(&root().join("examples").join(example.name), &directory).map_err(failed)?;
        let copy = Self { directory };
        copy.prunella(&["pin"])?;
        Ok(copy)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(target().join("debug/prunella"));
        // A cache of its own: on a fresh clone the environment is really made.
        let cache = target().join("xtask/cache");
        command.current_dir(&self.directory).args(arguments).env("XDG_CACHE_HOME", cache);
        command.env_remove("PRUNELLA_STORE").stdin(Stdio::null());
        command
    }

    fn prunella(&self, arguments: &[&str]) -> Result<(), String> {
        let shown = arguments.join(" ");
        let output = self.command(arguments).output().map_err(|error| format!("prunella {shown}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let told = [output.stdout, output.stderr].concat();
        Err(format!("prunella {shown}: {}\n{}", output.status, String::from_utf8_lossy(&told)))
    }

    /// Runs; kills the step while it runs; kills the engine once the step runs again; runs to the end.
    fn disturb(&self, victim: &str) -> Result<(), String> {
        let engine = self.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut engine = engine.map_err(|error| format!("prunella run: {error}"))?;
        let disturbed = self.kill_step(&mut engine, victim);
        // Its exit status is that of the kill.
        let _killed = engine.kill().and_then(|()| engine.wait());
        disturbed?;
        self.prunella(&["run"])?;
        let left = self.processes(None);
        if left.is_empty() { Ok(()) } else { Err(format!("processes {left:?} still run")) }
    }

    /// Runs; stops the run while the step goes on, which must not take longer than its grace; runs to the end.
    fn stop(&self, victim: &str, grace: Duration) -> Result<(), String> {
        let engine = self.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut engine = engine.map_err(|error| format!("prunella run: {error}"))?;
        let stopped = self.wait_for(&mut engine, victim, &[]).and_then(|_| {
            sleep(GO_ON);
            let begun = Instant::now();
            self.prunella(&["stop"])?;
            while matches!(engine.try_wait(), Ok(None)) {
                if begun.elapsed() > grace + ENDING {
                    return Err(format!("it still runs {:?} after the stop", begun.elapsed()));
                }
                sleep(LOOK);
            }
            if begun.elapsed() < grace / 2 { Err("it listens to its notice".to_owned()) } else { Ok(()) }
        });
        // After a failure only; otherwise it has ended.
        let _ended = engine.kill().and_then(|()| engine.wait());
        stopped?;
        let left = self.processes(None);
        if !left.is_empty() {
            return Err(format!("processes {left:?} still run"));
        }
        self.prunella(&["run"])
    }

    /// Kills the step once and answers when it runs again.
    fn kill_step(&self, engine: &mut Child, victim: &str) -> Result<(), String> {
        let first = self.wait_for(engine, victim, &[])?;
        sleep(GO_ON);
        for pid in self.processes(Some(victim)) {
            kill(pid)?;
        }
        let _again = self.wait_for(engine, victim, &first)?;
        sleep(GO_ON);
        match engine.try_wait() {
            Ok(None) => Ok(()),
            ended => Err(format!("the engine ended before it was killed: {ended:?}")),
        }
    }

    /// Waits until the step runs, in other processes than these.
    fn wait_for(&self, engine: &mut Child, victim: &str, not: &[u32]) -> Result<Vec<u32>, String> {
        let begun = Instant::now();
        loop {
            let found = self.processes(Some(victim));
            if found.iter().any(|pid| !not.contains(pid)) {
                return Ok(found);
            }
            if begun.elapsed() > PATIENCE || !matches!(engine.try_wait(), Ok(None)) {
                return Err(format!("`{victim}` did not run, so it could not be killed"));
            }
            sleep(LOOK);
        }
    }

    /// Returns the processes that run in a workspace of this copy, of one step or of all.
    fn processes(&self, step: Option<&str>) -> Vec<u32> {
        let work = self.directory.join(".prunella/work");
        let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let here =
            pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&work)));
        let of_step = |pid: &u32| {
            let Some(step) = step else { return true };
            let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            // Of a step that fans out: all its items.
            let (whole, items) = (format!("PRUNELLA_STEP={step}"), format!("PRUNELLA_STEP={step}:"));
            variables
                .split(|byte| *byte == 0)
                .any(|variable| variable == whole.as_bytes() || variable.starts_with(items.as_bytes()))
        };
        here.filter(of_step).collect()
    }

    fn get(&self, artifact: &str) -> Result<Vec<u8>, String> {
        let to = self.directory.join(format!("got-{artifact}"));
        self.prunella(&["get", artifact, &to.display().to_string()])?;
        std::fs::read(&to).map_err(|error| format!("{}: {error}", to.display()))
    }
}

fn kill(pid: u32) -> Result<(), String> {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
    // It may have ended by itself, or with its parent.
    status.map(|_| ()).map_err(|error| format!("kill: {error}"))
}

/// Copies an example without what earlier runs left in it.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() && entry.file_name() != ".prunella" => copy(&entry.path(), &target)?,
            kind if kind.is_file() => drop(std::fs::copy(entry.path(), target)?),
            _ => {}
        }
    }
    Ok(())
}
