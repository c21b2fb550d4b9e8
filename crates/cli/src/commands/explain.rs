//! `prunella explain`: why a step is as it is.

use std::collections::BTreeSet;

use clap::Args;
use prunella_engine::Seen;
use prunella_journal::StepIndex;
use prunella_store::Store;

use super::{reading, run_and_step, which_run};
use crate::{
    answer::{leave, say, say_json},
    args::Output,
    condition::{self, Binding},
    context::Context,
    error::CliError,
    explanation::Subject,
    history,
    items::Items,
    present::Paint,
};

/// Show why a step is as it is, and what to do.
///
/// Its attempts with what was seen and done about it, its key, where its inputs come from, and what to do next.
#[derive(Debug, Args)]
pub struct Explain {
    /// The step; before it a run, or the beginning of its id.
    #[arg(value_name = "[RUN] STEP", required = true, num_args = 1..=2)]
    words: Vec<String>,
}

impl Explain {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no such step, or the store does not answer.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let store = reading(context).await?;
        let (seen, place) = self.find(&store).await?;
        let closer = seen.closer(&store, &BTreeSet::from([place])).await?;
        let (run, state, plan) = (&seen.run, &seen.state, &*closer.plan);
        let (_, run_condition) = condition::of(&store, run, state.ended()).await?;
        if plan.topology().is_group(place) {
            let bound = &Binding::begin(&store, run).await?.of_open_steps(&store, run, state).await?;
            let items = Items { run, condition: run_condition, plan, state, bound, step: place };
            match context.output {
                Output::Json => say_json(&items.as_json())?,
                Output::Text => say(&items.text(Paint::of(context)))?,
            }
            return Ok(0);
        }
        let subject = Subject::find(&store, place, &seen, &closer, run_condition).await?;
        match context.output {
            Output::Json => say_json(&subject.as_json())?,
            Output::Text => say(&subject.text(Paint::of(context)))?,
        }
        leave((seen, closer));
        Ok(0)
    }

    /// Finds the run and the step in it.
    async fn find(&self, store: &Store) -> Result<(Seen, StepIndex), CliError> {
        let (run, step) = match self.words.as_slice() {
            [step] => (None, step),
            [run, step, ..] => (Some(run.as_str()), step),
            [] => (None, &String::new()),
        };
        let seen = Seen::of(store, &which_run(store, run).await?).await?;
        history::tell_damage(seen.damage.as_deref(), "explained");
        if let Some(place) = step.parse().ok().and_then(|address| seen.find(&address).ok()) {
            return Ok((seen, place));
        }
        // Looks through the whole graph, and says what there is.
        let (run, step) = run_and_step(store, &self.words).await?;
        match seen.state.topology().index(&step) {
            Some(place) => Ok((seen, place)),
            None => {
                let hint = "it was not among the steps asked for, nor needed by them".to_owned();
                Err(CliError::Usage(format!("run {run} leaves `{step}` out"), Some(hint)))
            }
        }
    }
}
