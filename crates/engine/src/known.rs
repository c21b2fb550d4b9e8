//! What can be known before anything runs: the items of lists, and the answers of conditions, that commits give already.

use prunella_condition::MAX_JSON_BYTES;
use prunella_journal::StepIndex;
use prunella_model::{ContentFormat, ForEach, KeyScope, StepId};
use prunella_store::{Store, records::StoredArtifact};

use crate::{
    ConditionInput, EngineError, Plan,
    expand::{lacking, read_list},
    plan_when::answer,
    reuse_walk::{Found, Reach, Walked, walk_to},
};

/// Walks the plan of a run that has not begun, and gives steps that fan out over a list that is there its items.
///
/// Reads only. A list that cannot be gone through is left as it is: the run says what is wrong with it.
///
/// # Errors
/// [`EngineError`] if the store did not answer.
pub async fn walk_and_expand(store: &Store, plan: &mut Plan, scope: &KeyScope) -> Result<Vec<Walked>, EngineError> {
    loop {
        let walked = walk_to(store, plan, None, scope, Reach::Others).await?;
        let mut grew = false;
        let unknown: Vec<StepIndex> =
            plan.topology().groups().filter(|step| plan.topology().members(*step).is_none()).collect();
        for step in unknown {
            let Some(ForEach::Output { step: producer, output }) = &plan.step(step).for_each else { continue };
            let place = plan.index(&StepId::plain(producer.clone()));
            let found =
                walked.iter().find(|walked| Some(walked.step) == place).and_then(|walked| walked.found.as_ref());
            let Some((found, stored)) = found.and_then(|found| Some((found, found.artifacts.get(output)?))) else {
                continue;
            };
            let read = match &found.other {
                None => read_list(store, stored).await,
                Some(name) => match store.others().iter().find(|other| other.name() == name) {
                    Some(other) => read_list(other.store(), stored).await,
                    None => continue,
                },
            };
            let items = match read {
                Ok(Ok(items)) => items,
                Ok(Err(_)) => continue,
                // What cannot be read there is not copied either.
                Err(_) if found.other.is_some() => continue,
                Err(error) => return Err(error),
            };
            if lacking(plan, step, &items).is_none() {
                plan.expand(step, &items)?;
                grew = true;
            }
        }
        if !grew {
            return Ok(walked);
        }
    }
}

/// Returns whether the condition of a step holds, if all that it reads is known by its place in the plan.
///
/// `left_out` are the steps that are skipped: what is read of an item among them is left out.
pub(crate) async fn holds(
    store: &Store,
    plan: &Plan,
    step: StepIndex,
    found: &[Option<Found>],
    left_out: &[bool],
) -> Result<Option<bool>, EngineError> {
    let Some(when) = &plan.step(step).when else { return Ok(Some(true)) };
    let mut wanted: Vec<(ConditionInput, &StoredArtifact)> = Vec::new();
    for read in &when.reads {
        let Some(producer) = plan.index(&StepId::plain(read.step.clone())) else { return Ok(None) };
        let Some(declared) = plan.step(producer).outputs.get(&read.output) else { return Ok(None) };
        let format = declared.check.format.unwrap_or_else(|| ContentFormat::of_name(declared.path.base_name()));
        let is_group = plan.topology().is_group(producer);
        let members = plan.topology().members(producer);
        let producers = if is_group { members.unwrap_or_default().to_vec() } else { vec![producer] };
        for producer in producers.into_iter().filter(|producer| !left_out[producer.as_usize()]) {
            let Some(found) = &found[producer.as_usize()] else { return Ok(None) };
            let Some(stored) = found.artifacts.get(&read.output) else { return Ok(None) };
            let (step, output, slot) = (read.step.clone(), read.output.clone(), found.slot);
            wanted.push((ConditionInput { step, output, producer, slot, format, of_item: is_group }, stored));
        }
    }
    let most = wanted.iter().fold(0u64, |sum, (_, stored)| sum.saturating_add(stored.artifact.size_bytes));
    if most > MAX_JSON_BYTES {
        return Ok(None);
    }
    let mut read = Vec::with_capacity(wanted.len());
    for (input, stored) in wanted {
        // Bytes that are lost or too many are for the run to find.
        let Ok(Some(bytes)) = store.read_small(stored, MAX_JSON_BYTES).await else { return Ok(None) };
        read.push((input, bytes));
    }
    let (params, item) = (&plan.graph().pipeline.params, plan.id(step).item.as_ref());
    Ok(answer(&when.expression, params, item, plan.condition_lists(step), &read).ok().map(|answer| answer.holds))
}
