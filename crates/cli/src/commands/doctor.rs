//! `prunella doctor`: what this machine can do for pipelines, and what it lacks.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use prunella_model::ByteSize;
use prunella_notices::{detect, probe};
use prunella_objects::{Embedded, ObjectKey, Objects};
use prunella_process::{Guardian, GuardianOptions, memory_cgroup};
use prunella_store::Store;
use prunella_sys::{ReadLease, random_hex, read_lease};
use serde::Serialize;
use serde_json::json;

use crate::{
    answer::{say, say_json},
    args::Output,
    cloud::Service,
    context::Context,
    error::CliError,
    open,
    present::{Line, Paint, Tone, columns, count, path},
    project::Place,
};

/// Check this machine: store, disk, memory, limits, tools.
///
/// Measures beside the store (or where it would be) and leaves nothing there. Exits 1 if something is wrong that runs
/// would stumble over.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    service: Service,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Good,
    /// It works, but not as well as it could.
    Note,
    Bad,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    health: Health,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

fn check(name: &'static str, health: Health, found: impl Into<String>, help: &str) -> Check {
    let help = (health != Health::Good && !help.is_empty()).then(|| help.to_owned());
    Check { name, health, found: found.into(), help }
}

/// How many writes are measured: the middle one counts.
const TIMES: usize = 21;
/// Less free space than this and a run will stumble soon.
const LITTLE: u64 = 1 << 30;

impl Doctor {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] only for an answer that cannot be written: what is wrong with the machine is in the answer.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let place = Place::of(context, Path::new("pipeline.yaml"));
        let mut checks = vec![system(context)];
        checks.push(existing(context, &place).await);
        checks.extend(measured(context, &place).await);
        checks.push(guardian().await);
        checks.push(cgroup());
        checks.push(memory(context));
        checks.push(clock(context));
        checks.extend(limits(context));
        checks.push(cloud(context, &self.service).await);
        checks.push(tool("python", "python3", "steps in Python need it; steps that use none run without"));
        checks.push(tool("uv", "uv", "environments are made with `venv` and `pip` instead, more slowly"));
        let bad = checks.iter().any(|check| check.health == Health::Bad);
        match context.output {
            Output::Json => say_json(&json!({ "good": !bad, "checks": checks }))?,
            Output::Text => say(&text(Paint::of(context), &checks))?,
        }
        Ok(u8::from(bad))
    }
}

fn text(paint: Paint, checks: &[Check]) -> String {
    let mut lines = Vec::new();
    for check in checks {
        let (tone, mark) = match check.health {
            Health::Good => (Tone::Good, '✓'),
            Health::Note => (Tone::Busy, '·'),
            Health::Bad => (Tone::Bad, '✗'),
        };
        lines.push(Line(tone, vec![format!("{mark} {}", check.name), check.found.clone()]));
        if let Some(help) = &check.help {
            lines.push(Line(Tone::Plain, vec![String::new(), format!("help: {help}")]));
        }
    }
    columns(paint, &lines)
}

fn system(context: &Context) -> Check {
    let os_arch = context.sys.machine.os_arch();
    let found = format!("prunella {} on {}-{}", env!("CARGO_PKG_VERSION"), os_arch.os, os_arch.arch);
    if os_arch.os == "linux" {
        return check("system", Health::Good, found, "");
    }
    let lacks = "this system has no control groups (memory limits are measured, not kept by the kernel), no read leases \
                 (snapshots compare times instead), and no /proc (what a killed engine left is found by its guardian alone)";
    check("system", Health::Note, found, lacks)
}

/// Looks at the store that is there.
async fn existing(context: &Context, place: &Place) -> Check {
    let shown = path(&place.store);
    if matches!(context.sys.fs.metadata(&place.store), Ok(None)) {
        return check("store", Health::Good, format!("none yet at `{shown}`; the first run makes it"), "");
    }
    let reads = match open::store_read_only(context, &place.store) {
        Ok(store) => store.runs().await.map_err(CliError::from),
        Err(error) => Err(error),
    };
    let help = "see whether the directory is a store, and whether you may read it";
    match reads {
        Err(error) => check("store", Health::Bad, format!("`{shown}`: {}", error.message()), help),
        Ok(runs) => match Embedded::open(&context.sys, &place.store) {
            Ok(objects) => {
                let id = Store::new(std::sync::Arc::new(objects), context.sys.clone()).id().to_owned();
                check("store", Health::Good, format!("`{shown}`: {}, id {id}", count(runs.len(), "run")), "")
            }
            Err(error) => {
                let found = format!("`{shown}`: {}, but it cannot be written: {error}", count(runs.len(), "run"));
                check("store", Health::Note, found, "you can look at its runs; give write access to run")
            }
        },
    }
}

/// Measures in a directory of its own, where the store is or would be, and removes it.
async fn measured(context: &Context, place: &Place) -> Vec<Check> {
    let fs = &*context.sys.fs;
    let beside = match place.store.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let dir = beside.join(format!(".prunella-doctor-{}", random_hex(&*context.sys.random, 6)));
    let mut checks = vec![space(context, &beside)];
    if let Err(error) = fs.create_dir(&dir) {
        let found = format!("`{}` cannot be written: {error}", path(&beside));
        checks.push(check("disk", Health::Bad, found, "give write access, or name another store with `--store DIR`"));
        return checks;
    }
    checks.push(fsync(context, &dir));
    checks.push(commit(context, &dir).await);
    checks.push(reflink(context, &dir));
    checks.push(leases(context, &dir));
    let _left_over = fs.remove_dir_all(&dir);
    checks
}

fn space(context: &Context, dir: &Path) -> Check {
    match context.sys.fs.free_space(dir) {
        Ok(free) => {
            let health = if free < LITTLE { Health::Bad } else { Health::Good };
            check(
                "space",
                health,
                format!("{} free", ByteSize(free)),
                "make room: runs keep results and checkpoints there",
            )
        }
        Err(error) => check("space", Health::Note, format!("unknown: {error}"), ""),
    }
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

fn fsync(context: &Context, dir: &Path) -> Check {
    let (fs, clock) = (&*context.sys.fs, &*context.sys.clock);
    let mut times = Vec::new();
    for n in 0..TIMES {
        let path = dir.join(format!("f{n}"));
        let begun = clock.monotonic();
        let written = fs.create_new(&path).and_then(|mut file| {
            std::io::Write::write_all(&mut file, &[7; 4096])?;
            file.sync()
        });
        if let Err(error) = written.and_then(|()| fs.sync_dir(dir)) {
            let help = "nothing can be made durable there; name another store with `--store DIR`";
            return check("disk", Health::Bad, format!("cannot be written: {error}"), help);
        }
        times.push(clock.monotonic().saturating_sub(begun));
    }
    slow("disk", "a durable file of 4 KiB takes", middle(times))
}

async fn commit(context: &Context, dir: &Path) -> Check {
    let help = "the embedded store cannot work there; name another place with `--store DIR`";
    let objects = match Embedded::open(&context.sys, &dir.join("store")) {
        Ok(objects) => objects,
        Err(error) => return check("database", Health::Bad, error.to_string(), help),
    };
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    for n in 0..TIMES {
        let key = ObjectKey::new(format!("doctor/{n}")).expect("it is a key");
        let begun = context.sys.clock.monotonic();
        let created = objects.create(&key, Bytes::from_static(&[7; 512])).await.map(|_| ());
        let written = context.sys.clock.monotonic();
        let read = objects.get(&key).await.map(|bytes| bytes.is_some());
        match (created, read) {
            (Ok(()), Ok(true)) => {}
            (Err(error), _) | (_, Err(error)) => return check("database", Health::Bad, error.to_string(), help),
            (Ok(()), Ok(false)) => return check("database", Health::Bad, "a record that was written is gone", help),
        }
        writes.push(written.saturating_sub(begun));
        reads.push(context.sys.clock.monotonic().saturating_sub(written));
    }
    let what = format!("a record is read in {}, its commit takes", shown(middle(reads)));
    slow("database", &what, middle(writes))
}

fn slow(name: &'static str, what: &str, time: Duration) -> Check {
    let health = if time > Duration::from_millis(50) { Health::Note } else { Health::Good };
    check(name, health, format!("{what} {}", shown(time)), "short steps will wait for the disk; a local one is faster")
}

fn reflink(context: &Context, dir: &Path) -> Check {
    let (from, to) = (dir.join("f0"), dir.join("reflinked"));
    match context.sys.fs.reflink(&from, &to) {
        Ok(true) => check("reflink", Health::Good, "yes: large files are cloned, not copied", ""),
        Ok(false) => {
            let help =
                "inputs and checkpoints are copied; xfs and btrfs clone them, and `sealed` checkpoints are moved";
            check("reflink", Health::Note, "no", help)
        }
        Err(error) => check("reflink", Health::Note, format!("no: {error}"), ""),
    }
}

fn leases(_context: &Context, dir: &Path) -> Check {
    match read_lease(&dir.join("f0")) {
        Ok(ReadLease::Granted(_)) => check("leases", Health::Good, "yes: a snapshot knows that nobody writes", ""),
        Ok(ReadLease::Writers | ReadLease::Unsupported) | Err(_) => {
            let help = "snapshots compare size and times before and after instead; rename checkpoints into place";
            check("leases", Health::Note, "no", help)
        }
    }
}

async fn guardian() -> Check {
    match Guardian::start(GuardianOptions::default()).await {
        Ok(guardian) => {
            let pid = guardian.identity().pid;
            guardian.stop().await;
            check("guardian", Health::Good, format!("starts and ends (process {pid})"), "")
        }
        Err(error) => check("guardian", Health::Bad, error.to_string(), "steps cannot be started without it"),
    }
}

fn cgroup() -> Check {
    match memory_cgroup() {
        Some(path) => {
            check("cgroup", Health::Good, format!("`{}`: the kernel keeps memory limits", path.display()), "")
        }
        None => {
            let help = "memory limits are kept by measuring; `systemd-run --user --scope -p Delegate=yes prunella run` has one";
            check("cgroup", Health::Note, "none that can be written", help)
        }
    }
}

fn memory(context: &Context) -> Check {
    let machine = &context.sys.machine;
    let found = format!("{} for {} processors", ByteSize(machine.memory_total()), machine.cpu_count());
    check("memory", Health::Good, found, "")
}

fn clock(context: &Context) -> Check {
    /// 2024-01-01: no Prunella is older.
    const OLDEST: i64 = 1_704_067_200_000;
    let now = context.sys.clock.wall_ms();
    let health = if now < OLDEST { Health::Note } else { Health::Good };
    let help = "set it: times shown to people will be wrong; nothing is decided by it";
    check("clock", health, crate::present::moment(now), help)
}

/// Looks which cloud this machine is in, and whether it would hear of its end there.
async fn cloud(context: &Context, service: &Service) -> Check {
    const PATIENCE: Duration = Duration::from_secs(2);
    let Some(cloud) = detect(&*context.sys.fs) else {
        return check("cloud", Health::Good, "none that gives notice (by this machine's firmware)", "");
    };
    let help =
        "runs go on without its notices, and SIGTERM still is one; allow the metadata service, or see docs/notices.md";
    let problem = tokio::select! {
        answer = probe(service.of(cloud, context)) => match answer {
            Ok(()) => {
                return check("cloud", Health::Good, format!("{cloud}: its metadata service answers"), "");
            }
            Err(error) => error.to_string(),
        },
        () = context.sys.clock.sleep(PATIENCE) => format!("nothing within {} s", PATIENCE.as_secs()),
    };
    check("cloud", Health::Note, format!("{cloud}: no notices: {problem}"), help)
}

/// Looks at the limits of this process that runs meet first.
fn limits(context: &Context) -> Vec<Check> {
    let Ok(text) = context.sys.fs.read(Path::new("/proc/self/limits")) else { return Vec::new() };
    let text = String::from_utf8_lossy(&text).into_owned();
    [("Max open files", "files", 1024), ("Max processes", "processes", 512)]
        .into_iter()
        .filter_map(|(row, name, least)| {
            let soft = soft_limit(&text, row)?;
            let (health, found) = match soft {
                None => (Health::Good, format!("no limit on {name}")),
                Some(limit) if limit < least => (Health::Note, format!("at most {limit} {name}")),
                Some(limit) => (Health::Good, format!("at most {limit} {name}")),
            };
            Some(check("limits", health, found, "raise it with `ulimit`: every step needs some"))
        })
        .collect()
}

/// Returns the soft limit of a row of /proc/self/limits; inside, nothing for *unlimited*.
fn soft_limit(text: &str, row: &str) -> Option<Option<u64>> {
    let rest = text.lines().find_map(|line| line.strip_prefix(row))?;
    match rest.split_whitespace().next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

fn tool(name: &'static str, program: &str, without: &str) -> Check {
    match Command::new(program).arg("--version").output() {
        Ok(answer) if answer.status.success() => {
            check(name, Health::Good, String::from_utf8_lossy(&answer.stdout).trim().to_owned(), "")
        }
        Ok(answer) => check(name, Health::Note, format!("`{program} --version` fails ({})", answer.status), without),
        Err(_) => check(name, Health::Note, format!("no `{program}` on the PATH"), without),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_first_number() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max processes             unlimited            unlimited            processes\n\
                    Max open files            1024                 4096                 files\n";
        assert_eq!(soft_limit(text, "Max open files"), Some(Some(1024)));
        assert_eq!(soft_limit(text, "Max processes"), Some(None));
        assert_eq!(soft_limit(text, "Max nothing"), None);
    }
}
