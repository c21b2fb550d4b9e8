//! `prunella explain`: why a step is as it is.

use clap::Args;
use prunella_engine::load_state;

use super::{reading, run_and_step};
use crate::{
    answer::{say, say_json},
    args::Output,
    condition,
    context::Context,
    error::CliError,
    explanation::Subject,
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
        let store = reading(context)?;
        let (run, step) = run_and_step(&store, &self.words).await?;
        let (record, plan, state, events) = load_state(&store, &run).await?;
        let Some(place) = plan.index(&step) else {
            let hint = "it was not among the steps asked for, nor needed by them".to_owned();
            return Err(CliError::Usage(format!("run {run} leaves `{step}` out"), Some(hint)));
        };
        let (_, run_condition) = condition::of(&store, &run, state.ended()).await?;
        if plan.topology().is_group(place) {
            let bound = store.bindings(&run).await?;
            let (plan, state, bound) = (&*plan, &state, &bound);
            let items = Items { run: &run, condition: run_condition, plan, state, bound, step: place };
            match context.output {
                Output::Json => say_json(&items.as_json())?,
                Output::Text => say(&items.text(Paint::of(context)))?,
            }
            return Ok(0);
        }
        let subject =
            Subject::find(&store, &run, &step, place, (&record, &plan, &state, &events), run_condition).await?;
        match context.output {
            Output::Json => say_json(&subject.as_json())?,
            Output::Text => say(&subject.text(Paint::of(context)))?,
        }
        Ok(0)
    }
}
