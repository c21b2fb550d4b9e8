compile_error!("LEAD: for_each HAS LANDED ON MAIN (commit d2925db, built on your work while you were away). Stop building it here. Read /tmp/brief/fanout2.md now: reset to main, then port only your golden tests, scenes and docs onto it.");
//! Items of steps that fan out, as they are named on the command line: `train:fold=2`.

use prunella_engine::load_state;
use prunella_model::{RunId, StepId};
use prunella_store::Store;

use super::among;
use crate::error::CliError;

/// Returns the item of a run that these words name: as it is shown, or a beginning that no other item of the step has.
///
/// # Errors
/// [`CliError::Usage`] if there is none, or more than one.
pub async fn item(store: &Store, run: &RunId, words: &str) -> Result<StepId, CliError> {
    let (_, plan, _, _) = load_state(store, run).await?;
    let step = words.split(':').next().unwrap_or_default();
    let of_step = plan.indices().map(|place| plan.id(place)).filter(|id| id.item.is_some() && id.name.as_str() == step);
    let shown: Vec<(String, &StepId)> = of_step.map(|id| (id.to_string(), id)).collect();
    if let Some((_, id)) = shown.iter().find(|(name, _)| name == words) {
        return Ok((*id).clone());
    }
    let begun: Vec<&(String, &StepId)> = shown.iter().filter(|(name, _)| name.starts_with(words)).collect();
    match begun.as_slice() {
        [(_, id)] => Ok((*id).clone()),
        [] => {
            let names: Vec<&str> = shown.iter().map(|(name, _)| name.as_str()).collect();
            let hint = (!names.is_empty()).then(|| among("items", &names));
            Err(CliError::Usage(format!("run {run} has no item `{words}`"), hint))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
            Err(CliError::Usage(format!("`{words}` begins several items"), Some(among("items", &names))))
        }
    }
}
