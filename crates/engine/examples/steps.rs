//! Drives a pipeline of very many trivial steps, built through the model, and prints one line of JSON.
//!
//! `steps run N [chain] --dir DIR [--jobs N]` runs it on a new embedded store in DIR, durable, as `prunella run` would;
//! `steps plan N` makes the plan and the state of N steps that wait, and says how long and how much memory that takes.
// A measuring program asks the machine for the time itself, and clears up after itself.
#![allow(clippy::disallowed_methods)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use prunella_attempt::{Control, EnvironmentUse, Host, Redactor, Told};
use prunella_engine::{Again, Capacity, DriveOptions, Plan, Spectator, drive};
use prunella_journal::{RunState, RunStatus, Stamped, StepIndex};
use prunella_model::{
    Command, GRAPH_FORMAT, Graph, OnNotice, Pipeline, PipelineName, Platform, Resources, RetryPolicy, Reuse, RunId,
    Step, StepName, Template,
};
use prunella_objects::Embedded;
use prunella_process::{GUARDIAN_ARG, Guardian, GuardianOptions, guardian_main};
use prunella_store::{NewRun, Store, records::ProcessId};
use prunella_sys::{Accelerators, Sys};
use tokio::sync::watch;

const USAGE: &str = "usage: steps run N [chain] --dir DIR [--jobs N] | steps plan N";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|first| first == GUARDIAN_ARG) {
        guardian_main();
    }
    let after = |flag: &str| words.iter().position(|word| word == flag).and_then(|at| words.get(at + 1));
    let count = words.get(1).and_then(|count| count.parse().ok());
    match (words.first().map(String::as_str), count) {
        (Some("plan"), Some(count)) => plan(count),
        (Some("run"), Some(count)) => {
            let Some(dir) = after("--dir").map(PathBuf::from) else { return usage() };
            let jobs = after("--jobs").and_then(|jobs| jobs.parse().ok()).unwrap_or(2);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(run(count, words.iter().any(|word| word == "chain"), &dir, jobs));
            runtime.shutdown_background();
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// Returns the graph of `count` steps, each with a command of its own: one after the other, or independent.
fn graph(count: usize, chain: bool) -> Graph {
    let name = |i: usize| StepName::new(&format!("s{i}")).expect("a name");
    let step = |i: usize| Step {
        run: Command::Shell(Template::parse(&format!(": {i}; true > /dev/null")).expect("a template")),
        inputs: BTreeMap::new(),
        outputs: BTreeMap::new(),
        checkpoint: None,
        resources: Resources { cpu_millis: 500, ..Resources::default() },
        env: BTreeMap::new(),
        pass_env: Vec::new(),
        secrets: Vec::new(),
        secret_files: BTreeMap::new(),
        retry: RetryPolicy::default(),
        timeout: None,
        stall: None,
        deterministic: true,
        capacity: None,
        reuse: Reuse::Always,
        on_notice: OnNotice::Interrupt,
        for_each: None,
        after: if chain && i > 0 { vec![name(i - 1)] } else { Vec::new() },
        publish: BTreeMap::new(),
        code: None,
        when: None,
        handler: None,
    };
    let os_arch = Sys::real().machine.os_arch();
    Graph {
        format: GRAPH_FORMAT,
        pipeline: Pipeline {
            name: PipelineName::new("steps").expect("a name"),
            params: BTreeMap::new(),
            data: BTreeMap::new(),
            mounted: Default::default(),
            referenced: Default::default(),
            code: Vec::new(),
            environment: None,
            steps: (0..count).map(|i| (name(i), step(i))).collect(),
        },
        data: BTreeMap::new(),
        code: None,
        step_code: BTreeMap::new(),
        environment: None,
        platform: Platform { os: os_arch.os.to_owned(), arch: os_arch.arch.to_owned() },
        force: BTreeMap::new(),
        warm: BTreeMap::new(),
    }
}

/// Plans a chain, in which every step but the first waits.
fn plan(count: usize) {
    let before = resident("VmRSS:");
    let graph = Arc::new(graph(count, true));
    let with_graph = resident("VmRSS:");
    let begun = Instant::now();
    let plan = Plan::build(graph, &[]).expect("a plan");
    let planned = begun.elapsed();
    let state = RunState::new(plan.topology().clone());
    let with_state = resident("VmRSS:");
    let each = |bytes: u64| bytes as f64 / count as f64;
    println!(
        "{}",
        serde_json::json!({
            "steps": count,
            "plan_s": planned.as_secs_f64(),
            "graph_bytes_per_step": each(with_graph.saturating_sub(before)),
            "plan_and_state_bytes_per_step": each(with_state.saturating_sub(with_graph)),
            "bytes_per_waiting_step": each(with_state.saturating_sub(before)),
        })
    );
    drop((plan, state));
}

async fn run(count: usize, chain: bool, dir: &Path, jobs: usize) {
    let sys = Sys::real();
    let graph = graph(count, chain);
    let idle = resident("VmRSS:");
    let dir = std::path::absolute(dir).expect("a path");
    let begun = Instant::now();
    let objects = Embedded::open(&sys, &dir).expect("a store");
    let store = Store::new(Arc::new(objects), sys.clone());
    let run = RunId::new(&format!("bench-{}", std::process::id())).expect("an id");
    let new = NewRun { run: run.clone(), graph, brought: Vec::new(), targets: Vec::new(), base: None };
    store.create_run(new).await.expect("a run");
    let sockets = std::env::temp_dir().join(format!("prunella-bench-{}", std::process::id()));
    std::fs::create_dir(&sockets).expect("a directory for sockets");
    let host = host(sys, store, &dir, &sockets).await;
    let guardian = host.guardian.clone();
    let capacity = Capacity { jobs, cpu_millis: jobs as u64 * 1000, memory_bytes: u64::MAX, gpu: 0 };
    let options = DriveOptions {
        capacity,
        accelerators: Accelerators::default(),
        take_over: false,
        again: Again::default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let (_say, hear) = watch::channel(Control::Run);
    let prepared = begun.elapsed();
    let outcome = drive(host, run, &options, hear, Arc::new(Nobody)).await;
    let wall = begun.elapsed();
    guardian.stop().await;
    std::fs::remove_dir_all(&sockets).expect("the directory for sockets goes");
    assert_eq!(outcome.expect("driven").status, RunStatus::Succeeded);
    let peak = resident("VmHWM:");
    println!(
        "{}",
        serde_json::json!({
            "steps": count,
            "shape": if chain { "chain" } else { "independent" },
            "jobs": jobs,
            "wall_s": wall.as_secs_f64(),
            "prepared_s": prepared.as_secs_f64(),
            "per_step_ms": wall.as_secs_f64() * 1e3 / count as f64,
            "idle_rss_bytes": idle,
            "peak_rss_bytes": peak,
        })
    );
}

/// Returns what attempts share, as the command line sets it up.
async fn host(sys: Sys, store: Store, dir: &Path, sockets: &Path) -> Host {
    let guardian = Guardian::start(GuardianOptions::default()).await.expect("a guardian");
    let identity = guardian.identity();
    let inherited = sys.env.vars_os();
    let owner = store.this_owner(Some(ProcessId { pid: identity.pid, start_ticks: identity.start_ticks }));
    Host {
        work: dir.join("work"),
        digests: dir.to_owned(),
        sockets: sockets.to_owned(),
        store,
        sys,
        guardian,
        owner,
        environment: EnvironmentUse::default(),
        secrets: Arc::new(BTreeMap::new()),
        redactor: Arc::new(Redactor::new(std::iter::empty())),
        margin: Duration::from_millis(500),
        inherited: Arc::new(inherited),
        pool: Arc::default(),
        traced: false,
    }
}

struct Nobody;

impl Spectator for Nobody {
    fn event(&self, _: &Stamped, _: &RunState, _: &Plan) {}
    fn told(&self, _: StepIndex, _: &Told, _: &Plan) {}
}

/// Returns a number of bytes from this process's status.
fn resident(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|text| text.strip_prefix(line)).unwrap_or_default();
    value.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |kib| kib * 1024)
}
