//! `prunella publish`: what a run owes to the outside, or one artifact to a path.

use std::path::{Path, PathBuf};

use clap::Args;
use prunella_engine::{do_effects, effects_of};
use prunella_journal::EffectDone;
use prunella_model::{EffectHow, PortName, RunId, StepId, Target, is_address};
use prunella_store::{Effect, Overwrite, Store, records::GraphRecord};
use serde_json::{Value, json};

use super::{get::items_of, step_and_output, which_run, writing};
use crate::{
    answer::{say, say_json},
    args::Output,
    context::Context,
    error::CliError,
    present::short,
};

/// Publish what a run made: again as its pipeline says, or one artifact at a path.
///
/// At every instant the path holds nothing, the old one whole, or the new one whole. What a newer run of the pipeline has
/// published is left, unless a path is named.
#[derive(Debug, Args)]
pub struct Publish {
    /// The run, or the beginning of its id [default: the newest]; then an artifact, if not all that is to be published; then
    /// another path for it.
    #[arg(value_name = "[RUN] [STEP.OUTPUT [PATH]]", num_args = 0..=3)]
    words: Vec<String>,

    /// Replace also a directory that no run of the pipeline published (with PATH).
    #[arg(long)]
    overwrite: bool,

    /// Overwrite a folder in a bucket file by file, which is not atomic (with an address as PATH).
    #[arg(long)]
    mirror: bool,
}

impl Publish {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no such run or artifact (2), it cannot be published now (75), or something that is not
    /// Prunella's is in the way (78).
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let (run, name, path) = split(&self.words)?;
        let store = writing(context).await?;
        let run = which_run(&store, run).await?;
        let record = store.graph(&run).await?;
        let named = match name {
            Some(name) => Some(known(&store, &record, &run, name).await?),
            None => None,
        };
        let published = match (&named, path) {
            (Some((step, output)), Some(path)) => {
                vec![self.by_hand(&store, (&run, &record), step, output, path).await?]
            }
            (named, _) => again(&store, &run, &record, named.as_ref()).await?,
        };
        store.sync().await?;
        match context.output {
            Output::Json => say_json(&json!({ "run": run, "published": published }))?,
            Output::Text if published.is_empty() => say(&format!("run {} publishes nothing\n", short(&run)))?,
            Output::Text => say(&published.iter().map(line).collect::<String>())?,
        }
        Ok(0)
    }

    async fn by_hand(
        &self,
        store: &Store,
        (run, record): (&RunId, &GraphRecord),
        step: &StepId,
        output: &PortName,
        path: &str,
    ) -> Result<Value, CliError> {
        let not_made = || {
            let hint = format!("`prunella status {}` shows how far it is", short(run));
            CliError::Usage(format!("`{step}.{output}` has not been made in run {run}"), Some(hint))
        };
        let slot = store.binding(run, step).await?.ok_or_else(not_made)?;
        let committed = store.committed(&slot).await?.ok_or_else(not_made)?;
        let stored = committed.artifacts.get(output).ok_or_else(not_made)?;
        if is_address(path) {
            let effect = Effect {
                run: run.clone(),
                pipeline: record.graph.pipeline.name.clone(),
                order: record.order,
                binding: 0,
                step: step.clone(),
                output: output.clone(),
                slot,
                stored: stored.clone(),
                target: Target::Bucket(path.trim_end_matches('/').to_owned()),
                mirror: self.mirror,
                base: None,
            };
            let how = store.publish_in_bucket(&effect, path.trim_end_matches('/')).await?;
            return Ok(json!({ "step": step.to_string(), "output": output, "target": path, "how": how }));
        }
        let target = absolute(path)?;
        let overwrite = if self.overwrite { Overwrite::Anything } else { Overwrite::Files(Default::default()) };
        let how = store.publish(run, stored, &target, &overwrite).await?;
        Ok(json!({ "step": step.to_string(), "output": output, "target": target, "how": how }))
    }
}

/// Does again what the run publishes, of every step that has a commit; an error comes after what could be done.
async fn again(
    store: &Store,
    run: &RunId,
    record: &GraphRecord,
    only: Option<&(StepId, PortName)>,
) -> Result<Vec<Value>, CliError> {
    let owner = store.this_owner(None);
    let (mut published, mut failed) = (Vec::new(), None);
    for (step, (binding, slot)) in store.bindings(run).await? {
        let mut effects = effects_of(store, run, record, &step, slot, binding).await?;
        effects.retain(|effect| only.is_none_or(|(of, output)| *of == step && *output == effect.output));
        for effect in effects {
            match do_effects(store, &owner, vec![effect], true).await {
                Ok(done) => published.extend(done.iter().map(|done| as_json(&step, done))),
                Err(trouble) => failed = failed.or(Some(trouble.source)),
            }
        }
    }
    if let Some((step, output)) = only.filter(|_| published.is_empty() && failed.is_none()) {
        let hint = format!("name a path: `prunella publish {} {step}.{output} PATH`", short(run));
        return Err(CliError::Usage(
            format!("the pipeline does not publish `{step}.{output}`, or it was not made"),
            Some(hint),
        ));
    }
    failed.map_or(Ok(published), |source| Err(source.into()))
}

fn as_json(step: &StepId, done: &EffectDone) -> Value {
    let mut out = json!({ "step": step.to_string(), "output": done.output, "target": done.target, "how": done.how });
    if let Some(by) = &done.by {
        out["by"] = by.as_str().into();
    }
    out
}

fn line(one: &Value) -> String {
    let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
    let (name, target, how) = (format!("{}.{}", text("step"), text("output")), text("target"), text("how"));
    match how.as_str() {
        how if how == EffectHow::Superseded.as_str() => format!("{name} is not published: {target} is a newer run's\n"),
        how => format!("published {name} → {target} ({how})\n"),
    }
}

fn absolute(path: &str) -> Result<PathBuf, CliError> {
    std::path::absolute(path.trim_end_matches('/')).map_err(CliError::io(Path::new(path)))
}

/// A run, an artifact and a path, as far as they are given.
type Words<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>);

/// Splits `[RUN] [STEP.OUTPUT [PATH]]`: a run's id has no dot, the name of an artifact has one.
fn split(words: &[String]) -> Result<Words<'_>, CliError> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Ok((None, None, None)),
        [name] if name.contains('.') => Ok((None, Some(name), None)),
        [run] => Ok((Some(run), None, None)),
        [name, path] if name.contains('.') => Ok((None, Some(name), Some(path))),
        [run, name] if name.contains('.') => Ok((Some(run), Some(name), None)),
        [run, name, path] if !run.contains('.') && name.contains('.') => Ok((Some(run), Some(name), Some(path))),
        _ => {
            let hint = "write `prunella publish [RUN] [STEP.OUTPUT [PATH]]`".to_owned();
            Err(CliError::Usage("no artifact is named".to_owned(), Some(hint)))
        }
    }
}

/// Returns the step, or the item of one, and the output that `name` means in a run.
async fn known(store: &Store, record: &GraphRecord, run: &RunId, name: &str) -> Result<(StepId, PortName), CliError> {
    let (address, spec, port) = step_and_output(run, &record.graph, name)?;
    let (id, items) = match spec.for_each {
        None if address.item.is_none() => (StepId::plain(address.name), None),
        _ => items_of(store, run, &address).await?,
    };
    if let Some(items) = items {
        let hint = items.first().map(|item| format!("name one of its {} items, such as `{item}.{port}`", items.len()));
        return Err(CliError::Usage(format!("`{id}` has items, and every one has its own `{port}`"), hint));
    }
    Ok((id, port))
}
