//! `prunella diff`: what differs between two runs, and why.

use clap::Args;
use prunella_model::{RunId, StepId};
use prunella_store::Store;
use serde_json::{Value, json};

use super::{reading, which_run};
use crate::{
    answer::{say, say_json},
    args::Output,
    comparison::{Comparison, Side, text},
    context::Context,
    error::CliError,
    present::{Paint, short},
};

/// Show what differs between two runs, and why.
///
/// Parameters, data, code, environment; for each step which part of its key changed, its outcome and its outputs. Exits 0
/// if all that is the same, 1 if not; times and attempts do not count.
#[derive(Debug, Args)]
pub struct Diff {
    /// The older run [default: the one before the newer].
    old: Option<String>,

    /// The newer run [default: the newest].
    new: Option<String>,
}

impl Diff {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there are no such runs, or the store does not answer.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let store = reading(context).await?;
        let new = which_run(&store, self.new.as_deref()).await?;
        let old = match &self.old {
            Some(old) => which_run(&store, Some(old)).await?,
            None => before(&store, &new).await?,
        };
        let mut old = Side::load(&store, &old).await?;
        let mut new = Side::load(&store, &new).await?;
        // First by digests; only what differs is read.
        let wanted = differing(&Comparison::of(&old, &new));
        old.look_into(&store, &wanted).await?;
        new.look_into(&store, &wanted).await?;
        let found = Comparison::of(&old, &new);
        match context.output {
            Output::Json => say_json(&as_json(&old, &new, &found))?,
            Output::Text => say(&text(Paint::of(context), &old, &new, &found))?,
        }
        Ok(u8::from(!found.is_same()))
    }
}

/// Returns the run of the same pipeline before this one.
async fn before(store: &Store, run: &RunId) -> Result<RunId, CliError> {
    let pipeline = store.graph(run).await?.graph.pipeline.name.clone();
    let runs = store.runs_of(&pipeline, usize::MAX).await?;
    let at = runs.iter().position(|listed| listed.run == *run);
    let before = at.and_then(|at| runs.into_iter().nth(at + 1));
    before.map(|listed| listed.run).ok_or_else(|| {
        let hint = "`prunella runs` lists all runs; name two to compare others".to_owned();
        CliError::Usage(format!("there is no run of `{pipeline}` before {}", short(run)), Some(hint))
    })
}

fn differing(found: &Comparison) -> Vec<(StepId, String)> {
    let names = found.steps.iter().flat_map(|step| step.outputs.iter().map(move |output| (&step.id, output)));
    names.map(|(id, output)| (id.clone(), output.artifact.name.clone())).collect()
}

fn as_json(old: &Side, new: &Side, found: &Comparison) -> Value {
    let side = |side: &Side| {
        json!({
            "run": side.run,
            "pipeline": side.record.graph.pipeline.name,
            "number": side.record.order,
            "status": side.condition,
            "started_at_ms": side.record.at_ms,
            "duration_ms": side.figures.wall.as_millis(),
        })
    };
    json!({ "same": found.is_same(), "old": side(old), "new": side(new), "changes": found })
}
