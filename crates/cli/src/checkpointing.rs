//! What `every: auto` would choose, before anything runs: from what history measured.

use std::collections::BTreeMap;

use prunella_attempt::{Foreseen, foresee, machine_of};
use prunella_engine::Plan;
use prunella_model::{StepId, StepKey};
use prunella_store::Store;
use serde_json::{Value, json};

use crate::{context::Context, error::CliError, open, present::lasting};

/// Returns the choice for each step with `checkpoint: { every: auto }` whose checkpoints were measured, by the keys given.
///
/// # Errors
/// [`CliError`] if the store did not answer.
pub async fn choices(
    context: &Context,
    store: &Store,
    plan: &Plan,
    keys: impl IntoIterator<Item = (StepId, StepKey)>,
) -> Result<BTreeMap<StepId, Foreseen>, CliError> {
    let mut found = BTreeMap::new();
    for (id, key) in keys {
        let Some(step) = plan.index(&id).map(|step| plan.step(step)) else { continue };
        if !step.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.auto) {
            continue;
        }
        let machine = machine_of(step, &*context.sys.fs);
        let view = store.look(&key).await?;
        if let Some(foreseen) = foresee(store, step, &view, machine, open::MARGIN).await {
            found.insert(id, foreseen);
        }
    }
    Ok(found)
}

/// Returns a choice in words.
pub fn words(foreseen: &Foreseen) -> String {
    let Foreseen { chosen, waste, fits, grace } = foreseen;
    format!(
        "a checkpoint every {}, {:.2} % wasted, fits in {grace}: {}",
        lasting(chosen.every.as_millis()),
        100.0 * waste,
        if *fits { "yes" } else { "no" }
    )
}

/// Returns it for programs.
pub fn as_json(foreseen: &Foreseen) -> Value {
    let Foreseen { chosen, waste, fits, grace } = foreseen;
    json!({
        "every_ms": chosen.every.as_millis(),
        "expected_waste": waste,
        "grace_ms": grace.as_millis(),
        "fits_grace": fits,
        "blocking_ms": chosen.cost.blocking.as_millis(),
        "persist_ms": chosen.cost.persist.as_millis(),
        "mean_between_interruptions_ms": chosen.mean.as_millis(),
        "interruptions_seen": chosen.seen,
    })
}
