//! One command, one file.

pub mod chaos;
pub mod complete;
pub mod completions;
pub mod diff;
pub mod doctor;
pub mod exec;
pub mod explain;
pub mod gc;
pub mod get;
pub mod graph;
pub mod heal;
pub mod index;
pub mod init;
pub mod logs;
pub mod man;
pub mod pin;
pub mod plan;
pub mod publish;
pub mod report;
pub mod resume;
pub mod retry;
pub mod run;
pub mod runs;
pub mod shell;
pub mod status;
pub mod stop;
pub mod store;
pub mod tell;
pub mod validate;
pub mod verify;

use std::path::Path;

use prunella_engine::load_state;
use prunella_healing::ExitCode;
use prunella_model::{Epoch, Graph, PortName, RunId, Step, StepAddress, StepId, StepName};
use prunella_store::Store;

use crate::{
    args::{Args, Command},
    context::Context,
    error::CliError,
    open,
    project::Place,
};

/// Does what the arguments ask for and returns the exit code.
///
/// # Errors
/// [`CliError`] with what went wrong.
pub async fn run(args: Args) -> Result<u8, CliError> {
    let is_exec = matches!(args.command, Command::Exec(_));
    let context = match Context::new(&args) {
        Ok(context) => context,
        // To an orchestrator, wrong input is a reason not to try again.
        Err(error) if is_exec && error.code() == 2 => {
            error.report(args.output);
            return Ok(ExitCode::USELESS.number());
        }
        Err(error) => return Err(error),
    };
    match args.command {
        Command::Init(command) => command.run(&context).await,
        Command::Validate(command) => command.run(&context),
        Command::Pin(command) => command.run(&context).await,
        Command::Graph(command) => command.run(&context).await,
        Command::Plan(command) => command.run(&context).await,
        Command::Run(command) => command.run(&context).await,
        Command::Resume(command) => command.run(&context).await,
        Command::Retry(command) => command.run(&context).await,
        Command::Stop(command) => command.run(&context).await,
        Command::Status(command) => command.run(&context).await,
        Command::Logs(command) => command.run(&context).await,
        Command::Explain(command) => command.run(&context).await,
        Command::Shell(command) => command.run(&context).await,
        Command::Get(command) => command.run(&context).await,
        Command::Publish(command) => command.run(&context).await,
        Command::Runs(command) => command.run(&context).await,
        Command::Report(command) => command.run(&context).await,
        Command::Diff(command) => command.run(&context).await,
        Command::Exec(command) => command.run(&context).await,
        Command::Tell(command) => command.run(&context),
        Command::Verify(command) => command.run(&context).await,
        Command::Heal(command) => command.run(&context).await,
        Command::Chaos(command) => command.run(&context).await,
        Command::Gc(command) => command.run(&context).await,
        Command::Store(command) => command.run(&context).await,
        Command::Index(command) => command.run(&context).await,
        Command::Doctor(command) => command.run(&context).await,
        Command::Completions(command) => command.run(&context),
        Command::Complete(command) => command.run(&context).await,
        Command::Man(command) => command.run(&context),
    }
}

/// Returns the store of the present directory, or the one that was named, for reading.
///
/// # Errors
/// [`CliError::Store`] if there is none.
pub async fn reading(context: &Context) -> Result<Store, CliError> {
    open::store_read_only(context, &Place::of(context, Path::new("pipeline.yaml")).store).await
}

/// Returns the store for writing; it must be there: a command that keeps order makes none.
///
/// # Errors
/// [`CliError::Store`] if there is none.
pub async fn writing(context: &Context) -> Result<Store, CliError> {
    let place = Place::of(context, Path::new("pipeline.yaml")).store;
    drop(open::store_read_only(context, &place).await?);
    open::store(context, &place).await
}

/// Returns the run and the step that the words of a command name: `STEP` (of the newest run) or `RUN STEP`.
///
/// # Errors
/// [`CliError::Usage`] if there is no such run, or it has no such step.
pub async fn run_and_step(store: &Store, words: &[String]) -> Result<(RunId, StepId), CliError> {
    let (run, step) = match words {
        [step] => (None, step),
        [run, step] => (Some(run.as_str()), step),
        _ => return Err(CliError::Usage("name a step, or a run and a step".to_owned(), None)),
    };
    let run = which_run(store, run).await?;
    let record = store.graph(&run).await?;
    let steps = &record.graph.pipeline.steps;
    match step.parse::<StepAddress>() {
        Ok(address) if steps.contains_key(address.name.as_str()) => match address.item {
            None => Ok((run, StepId::plain(address.name))),
            // Which items there are stands in the journal.
            Some(_) => {
                let plan = load_state(store, &run).await?.plan;
                let found = plan.find(&address).map_err(|wrong| CliError::Usage(wrong.to_string(), None))?;
                Ok((run, plan.id(found).clone()))
            }
        },
        _ => {
            let names: Vec<&str> = steps.keys().map(StepName::as_str).collect();
            Err(CliError::Usage(format!("run {run} has no step `{step}`"), Some(among("steps", &names))))
        }
    }
}

/// Takes the number of an attempt off the last word: `STEP@ATTEMPT`.
///
/// # Errors
/// [`CliError::Usage`] if it is no number.
pub fn without_attempt(words: &[String]) -> Result<(Vec<String>, Option<Epoch>), CliError> {
    let mut words = words.to_vec();
    let Some((step, number)) = words.last().and_then(|last| last.rsplit_once('@')) else { return Ok((words, None)) };
    let epoch = number.parse().ok().filter(|n| *n > 0).map(Epoch).ok_or_else(|| {
        let hint = "attempts are numbered from 1, such as `train@2`".to_owned();
        CliError::Usage(format!("`{number}` is not the number of an attempt"), Some(hint))
    })?;
    let step = step.to_owned();
    words.pop();
    words.push(step);
    Ok((words, Some(epoch)))
}

/// Returns what there is, for somebody who named what there is not; at most a line of it.
pub fn among(what: &str, names: &[&str]) -> String {
    const MOST: usize = 12;
    let more = if names.len() > MOST { ", …" } else { "" };
    format!("the {what} are {}{more}", names[..names.len().min(MOST)].join(", "))
}

/// Returns the step, or the item of one, and the output that `STEP.OUTPUT` means in a run.
///
/// # Errors
/// [`CliError::Usage`] if there is no such step or output.
pub fn step_and_output<'a>(
    run: &RunId,
    graph: &'a Graph,
    name: &str,
) -> Result<(StepAddress, &'a Step, PortName), CliError> {
    // The label of an item may have dots in it, the name of an output has none.
    let (step, output) = name.rsplit_once('.').unwrap_or((name, ""));
    let steps = &graph.pipeline.steps;
    let address = step.parse::<StepAddress>().ok();
    let Some((spec, address)) = address.and_then(|address| Some((steps.get(&address.name)?, address))) else {
        let names: Vec<&str> = steps.keys().map(StepName::as_str).collect();
        return Err(CliError::Usage(format!("run {run} has no step `{step}`"), Some(among("steps", &names))));
    };
    match PortName::new(output).ok().filter(|name| spec.outputs.contains_key(name)) {
        Some(port) => Ok((address, spec, port)),
        None => {
            let names: Vec<&str> = spec.outputs.keys().map(PortName::as_str).collect();
            let what = format!("step `{step}` has no output `{output}`");
            Err(CliError::Usage(what, Some(among("outputs", &names))))
        }
    }
}

/// Returns the run that `text` names, by its id or a unique beginning of it; the newest if there is no text.
///
/// # Errors
/// [`CliError::Usage`] if there is none, or more than one.
pub async fn which_run(store: &Store, text: Option<&str>) -> Result<RunId, CliError> {
    let runs = store.runs().await?;
    let Some(text) = text else {
        let newest = runs.into_iter().max_by_key(|run| (run.at_ms, run.order));
        return newest.map(|run| run.run).ok_or_else(|| {
            CliError::Usage("there is no run yet".to_owned(), Some("begin one with `prunella run`".to_owned()))
        });
    };
    let mut found: Vec<_> = runs.into_iter().filter(|run| run.run.as_str().starts_with(text)).collect();
    match (found.pop(), found.pop()) {
        (Some(run), None) => Ok(run.run),
        (None, _) => {
            Err(CliError::Usage(format!("there is no run `{text}`"), Some("`prunella runs` lists them".to_owned())))
        }
        (Some(one), Some(two)) => Err(CliError::Usage(
            format!("`{text}` could be {} or {}", one.run, two.run),
            Some("give more of its id".to_owned()),
        )),
    }
}
