//! `prunella run`: run the pipeline, or go on with its newest unfinished run.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use prunella_attempt::Host;
use prunella_engine::{Again, Capacity, DriveOptions, EngineError, Plan, drive, is_finished};
use prunella_model::{Graph, Pipeline, RunId, StepId, StepName};
use prunella_store::{Store, StoreError, records::GraphRecord};
use prunella_sys::{Accelerators, BadAccelerator};
use prunella_telemetry::otlp::Origin;

use crate::{
    answer::note,
    args::Which,
    cloud::Notices,
    condition::code_of,
    context::Context,
    error::CliError,
    forcing::Force,
    observed::{Figures, observe},
    open,
    progress::{Screen, Way, moving},
    project::{Footprint, Place, Strictness, find, prepare, read},
    signals, warm,
};

/// Run the pipeline, or go on with its newest unfinished run.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub which: Which,

    #[command(flatten)]
    how: How,

    /// Begin a new run even if an unfinished one could go on.
    #[arg(long)]
    new: bool,

    #[command(flatten)]
    force: Force,

    /// Let this step begin with a checkpoint that it had before its code changed (`plan` names it).
    #[arg(long, value_name = "STEP=CHECKPOINT")]
    warm: Vec<String>,

    /// Accept data that is not in prunella.lock or has changed; it is recorded.
    #[arg(long)]
    allow_unpinned: bool,

    /// Publish to paths below this directory, instead of beside the pipeline file.
    #[arg(long, value_name = "DIR")]
    publish_below: Option<PathBuf>,
}

/// How a run is driven.
#[derive(Debug, Args)]
pub struct How {
    /// How many steps run at once (default: the number of processors).
    #[arg(long, short, value_name = "N", env = "PRUNELLA_JOBS")]
    pub jobs: Option<usize>,

    /// Which accelerators may be used: how many, or a list of their names with a comma, as in `0,1`, `GPU-…,` or
    /// `MIG-…,MIG-…` (default: those that CUDA_VISIBLE_DEVICES leaves, else all that the driver shows).
    #[arg(long, value_name = "N|LIST", env = "PRUNELLA_GPUS")]
    pub gpus: Option<String>,

    /// Replace an engine that still drives the run.
    #[arg(long)]
    pub take_over: bool,

    /// Show what steps write.
    #[arg(long, short)]
    pub verbose: bool,

    #[command(flatten)]
    pub notices: Notices,

    #[command(flatten)]
    pub figures: Figures,
}

impl Run {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] with what went wrong.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let (place, targets) = find(context, &self.which)?;
        let pipeline = read(context, &place, &self.which.set)?.pipeline;
        let force = self.force.steps(&pipeline)?;
        are_steps(&targets, &pipeline)?;
        let strictness = if self.allow_unpinned { Strictness::AllowUnpinned } else { Strictness::Pinned };
        let mut prepared = prepare(context, &place, pipeline, strictness, Footprint::Write, &force).await?;
        let store = open::store(context, &place.store).await?;
        prepared.begin_with(warm::find(&store, &prepared.graph.pipeline, &self.warm).await?);
        if let Some(below) = &self.publish_below {
            context.sys.fs.create_dir_all(below).map_err(CliError::io(below))?;
        }
        let base = self.publish_below.as_ref().unwrap_or(&place.base);
        let base = std::path::absolute(base).map_err(CliError::io(base))?;
        let unfinished = if self.new || !force.is_empty() {
            None
        } else {
            unfinished(&store, &prepared.graph, &targets, &base).await?
        };
        let (run, record) = match unfinished {
            Some(found) => found,
            None => {
                let bring_in = prepared.create_run(context, &store, &place, &targets, &base);
                moving(context, &store, Way::Sending, bring_in).await?
            }
        };
        drive_run(context, store, &place, run, &record, &self.how, Again::default()).await
    }
}

/// Refuses targets that are no steps.
///
/// # Errors
/// [`CliError::Usage`] names the first, and the steps that there are.
pub fn are_steps(targets: &[StepName], pipeline: &Pipeline) -> Result<(), CliError> {
    match targets.iter().find(|name| !is_step(pipeline, name.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(CliError::Usage(format!("there is no step `{unknown}`"), Some(known(pipeline)))),
    }
}

/// Returns whether this names a step that can be asked for: what belongs to the end of a run comes by itself.
pub fn is_step(pipeline: &Pipeline, name: &str) -> bool {
    pipeline.steps.get(name).is_some_and(|step| step.handler.is_none())
}

fn known(pipeline: &Pipeline) -> String {
    let steps = pipeline.steps.iter().filter(|(_, step)| step.handler.is_none());
    let names: Vec<&str> = steps.map(|(name, _)| name.as_str()).collect();
    super::among("steps", &names)
}

/// Returns the newest run of the pipeline if it executes this graph for these targets and can go on.
///
/// # Errors
/// [`CliError`] if the store did not answer.
pub async fn unfinished(
    store: &Store,
    graph: &Graph,
    targets: &[StepName],
    base: &std::path::Path,
) -> Result<Option<(RunId, GraphRecord)>, CliError> {
    let Some(newest) = store.runs_of(&graph.pipeline.name, 1).await?.into_iter().next() else { return Ok(None) };
    let record = match store.read::<GraphRecord>(&prunella_store::Layout::graph(&newest.run)).await {
        // What it executes nobody knows any more: a new run finds its results.
        Err(StoreError::DamagedRecord { .. }) | Ok(None) => return Ok(None),
        Ok(Some(record)) => record,
        Err(error) => return Err(error.into()),
    };
    // A project that was moved publishes elsewhere than the run that began there would.
    let publishes = graph.pipeline.steps.values().any(|step| !step.publish.is_empty());
    let moved = publishes && record.base.as_deref().is_some_and(|there| std::path::Path::new(there) != base);
    // Without a word of it, a run goes on with what its steps began with.
    let same_start = graph.warm.is_empty() || graph.warm == record.graph.warm;
    let same = record.graph.digest() == graph.digest() && record.targets == targets && same_start && !moved;
    if !same || is_finished(store, &newest.run).await? {
        return Ok(None);
    }
    // Which results it has must be known to go on with it: a new run finds them.
    match store.bindings(&newest.run).await {
        Err(StoreError::DamagedRecord { .. }) => Ok(None),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(Some((newest.run, record))),
    }
}

/// Drives a run on this machine with its screen, and returns the exit code.
///
/// # Errors
/// [`CliError`] with what went wrong.
pub async fn drive_run(
    context: &Context,
    store: Store,
    place: &Place,
    run: RunId,
    record: &GraphRecord,
    how: &How,
    again: Again,
) -> Result<u8, CliError> {
    // Before there is a guardian: the driver's tool is no process of a step.
    let accelerators = accelerators(context, &record.graph.pipeline, how.gpus.as_deref())?;
    let with_secrets = record.graph.pipeline.steps.values().any(|step| !step.secrets.is_empty());
    let plan = match with_secrets {
        true => Some(Plan::build(record.graph.clone(), &record.targets).map_err(EngineError::from)?),
        false => None,
    };
    // What is not among the targets, nor needed by them, is not started.
    let runs = |step: &StepName| plan.as_ref().is_some_and(|plan| plan.index(&StepId::plain(step.clone())).is_some());
    let screen = Arc::new(Screen::new(context, &record.graph.pipeline.name, &run, &place.local, how.verbose));
    // An address that cannot be had is said before anything begins.
    let origin = Origin {
        store: store.id().to_owned(),
        run: run.to_string(),
        caller: record.trace_parent,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let (observed, observing) = observe(context, &how.figures, screen.clone(), &origin).await?;
    let mut host: Host = open::host(context, store, &place.local, &place.base, &record.graph, runs).await?;
    host.traced |= observed.is_traced();
    let on_stop = screen.clone();
    let (words, control) = signals::listen(move |times| on_stop.stopping(times)).map_err(CliError::io("signals"))?;
    let told = screen.clone();
    let watching = how.notices.watch(context, words, move |line| told.say(line));
    let machine = &context.sys.machine;
    let jobs = how.jobs.or(context.settings.jobs()).unwrap_or_else(|| machine.cpu_count()).max(1);
    let options = DriveOptions {
        capacity: Capacity {
            jobs,
            // Somebody who asks for more jobs than processors means it.
            cpu_millis: (machine.cpu_count().max(jobs) as u64).saturating_mul(1000),
            memory_bytes: machine.memory_total(),
            gpu: u32::try_from(accelerators.names.len()).unwrap_or(u32::MAX),
        },
        accelerators,
        take_over: how.take_over,
        again,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let sockets = host.sockets.clone();
    let guardian = host.guardian.clone();
    let ticking = screen.clone().tick(context.sys.clock.clone());
    let outcome = drive(host, run, &options, control, observed).await;
    let otlp = observing.and_then(|observing| observing.end(outcome.as_ref().ok()));
    ticking.abort();
    drop(watching);
    guardian.stop().await;
    let _left_over = context.sys.fs.remove_dir_all(&sockets);
    let code = match &outcome {
        Ok(outcome) => {
            let code = code_of(outcome.status, &outcome.state);
            screen.end(outcome, code);
            code
        }
        Err(_) => {
            screen.clear();
            0
        }
    };
    if let Some(otlp) = otlp {
        otlp.end().await.iter().for_each(|line| note(line));
    }
    outcome.map(|_| code).map_err(Into::into)
}

/// Returns the accelerators that the steps of `pipeline` may be lent; the machine is asked only if a step needs one.
///
/// # Errors
/// [`CliError::Usage`] for a name in `wanted` that is none.
pub fn accelerators(context: &Context, pipeline: &Pipeline, wanted: Option<&str>) -> Result<Accelerators, CliError> {
    let settled = context.settings.gpus();
    let wanted = wanted.or(settled.as_deref());
    if wanted.is_none() && pipeline.steps.values().all(|step| step.resources.gpu == 0) {
        return Ok(Accelerators::default());
    }
    Accelerators::detect(&context.sys, wanted).map_err(|BadAccelerator(name)| {
        let hint = "write how many, or a list with a comma: `--gpus 2`, `--gpus 0,1`, `--gpus GPU-…,`";
        CliError::Usage(format!("`{name}` is not an accelerator, or stands twice"), Some(hint.to_owned()))
    })
}
