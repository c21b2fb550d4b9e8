//! `prunella retry`: try again what a run gave up.

use clap::Args;
use prunella_engine::{Again, Loaded, Plan, load_state};
use prunella_journal::{RunState, RunStatus, StepIndex, StepState};
use prunella_model::{RunId, StepAddress, StepId};
use prunella_store::Store;

use super::{
    among,
    run::{How, drive_run},
    which_run, writing,
};
use crate::{answer::note, context::Context, error::CliError, history, present::short, project::Place};

/// Try again what a run gave up, with full budgets.
///
/// The same run goes on, with the graph that it began with: what is done stays done. With steps, only these are tried
/// again, and what waits for them. After a change of code, `prunella run` begins a new run instead, which reuses what it can.
#[derive(Debug, Args)]
pub struct Retry {
    /// The run, or the beginning of its id [default: the newest]; then steps, or items of steps, that it gave up [default: all of them].
    #[arg(value_name = "RUN|STEP")]
    words: Vec<String>,

    #[command(flatten)]
    how: How,
}

impl Retry {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no such run, or a step of it was not given up.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let place = Place::of(context, std::path::Path::new("pipeline.yaml"));
        let store = writing(context).await?;
        let (run, steps) = split(&store, &self.words).await?;
        let Loaded { record, plan, state, damage, .. } = load_state(&store, &run).await?;
        history::tell_damage(damage.as_deref(), "known here");
        let retried = match steps {
            [] => given_up(&plan, &state),
            steps => named(&run, &plan, &state, steps)?,
        };
        if retried.is_empty() && state.ended() == Some(RunStatus::Succeeded) {
            note(&format!("run {} has succeeded: there is nothing to try again", short(&run)));
            return Ok(0);
        }
        let again = Again { retried: Some(retried), ..Again::default() };
        drive_run(context, store, &place, run, &record, &self.how, again).await
    }
}

/// Returns the run and the steps that are named: a first word that is a step of the newest run is no run's id.
async fn split<'a>(store: &Store, words: &'a [String]) -> Result<(RunId, &'a [String]), CliError> {
    let newest = which_run(store, None).await?;
    let Some(first) = words.first() else { return Ok((newest, words)) };
    let name = first.split_once(':').map_or(first.as_str(), |(name, _)| name);
    match store.graph(&newest).await?.graph.pipeline.steps.contains_key(name) {
        true => Ok((newest, words)),
        false => Ok((which_run(store, Some(first)).await?, &words[1..])),
    }
}

fn given_up(plan: &Plan, state: &RunState) -> Vec<StepId> {
    let failed = plan.indices().filter(|step| matches!(state.state(*step), StepState::Failed { .. }));
    failed.map(|step| plan.id(step).clone()).collect()
}

/// Returns what is to be tried again for these steps: those that failed, and those that hold them up.
fn named(run: &RunId, plan: &Plan, state: &RunState, words: &[String]) -> Result<Vec<StepId>, CliError> {
    let (mut retried, mut wrong) = (Vec::new(), Vec::new());
    for word in words {
        let steps: Vec<StepIndex> = match word.parse::<StepAddress>() {
            Ok(address) if address.item.is_some() => match plan.find(&address) {
                Ok(item) => vec![item],
                Err(error) => {
                    wrong.push(format!("run {}: {error}", short(run)));
                    continue;
                }
            },
            // The step itself and all its items.
            _ => plan.indices().filter(|step| plan.id(*step).name.as_str() == word).collect(),
        };
        let found: Vec<StepId> = steps
            .iter()
            .filter_map(|step| match state.state(*step) {
                StepState::Failed { .. } => Some(plan.id(*step).clone()),
                StepState::Blocked { by } => Some(plan.id(*by).clone()),
                _ => None,
            })
            .collect();
        match (steps.first(), found.is_empty()) {
            (None, _) => wrong.push(format!("run {} has no step `{word}`", short(run))),
            (Some(step), true) => {
                let stage = state.state(*step).stage().as_str();
                wrong.push(format!("`{word}` was not given up in run {}: it is {stage}", short(run)));
            }
            (Some(_), false) => retried.extend(found),
        }
    }
    retried.sort();
    retried.dedup();
    if wrong.is_empty() {
        return Ok(retried);
    }
    let failed: Vec<String> = given_up(plan, state).iter().map(ToString::to_string).collect();
    let hint = match failed.is_empty() {
        true => "no step of this run was given up".to_owned(),
        false => among("steps that were given up", &failed.iter().map(String::as_str).collect::<Vec<_>>()),
    };
    Err(CliError::Usage(wrong.join("; "), Some(hint)))
}
