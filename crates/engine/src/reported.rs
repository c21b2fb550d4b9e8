//! What the report on a run says of its publications.

use std::collections::BTreeMap;

use prunella_journal::{Event, RunState, Stamped};
use prunella_model::{PortName, StepId};
use prunella_store::Published;
use serde_json::{Value, json};

use crate::Plan;

/// Returns every publication of the run, in the order of the file: what became of it, where, and why not.
///
/// `published` is what the records of the run say, `events` its journal: the records know what was done, also by a process
/// that died before it could say so, and the journal why something was not.
pub(crate) fn publications(
    plan: &Plan,
    state: &RunState,
    published: &BTreeMap<(StepId, PortName), Published>,
    events: &[Stamped],
) -> Vec<Value> {
    let mut failures: BTreeMap<(&StepId, &PortName), (&str, &str)> = BTreeMap::new();
    for stamped in events {
        if let Event::EffectFailed { step, output, target, why, .. } = &stamped.event {
            failures.insert((step, output), (target, why));
        }
    }
    let mut all = Vec::new();
    // Items publish nothing.
    for step in plan.indices().filter(|step| plan.id(*step).item.is_none()) {
        let id = plan.id(step);
        for (output, publication) in &plan.step(step).publish {
            let done = state.done(step).map(|done| done.slot);
            let record = published.get(&(id.clone(), output.clone())).filter(|record| done == Some(record.slot));
            let mut one = json!({ "step": id.to_string(), "output": output, "path": publication.path });
            match (record.and_then(|record| Some((record, record.how?))), state.effects_given_up(step)) {
                (Some((record, how)), _) => {
                    one["state"] = "done".into();
                    (one["target"], one["how"]) = (record.target.as_str().into(), how.as_str().into());
                    if let Some(by) = &record.by {
                        one["by"] = by.as_str().into();
                    }
                }
                (None, Some(given_up)) => {
                    one["state"] = "given_up".into();
                    // Those behind one that failed were not tried.
                    let failure = failures.get(&(id, output)).filter(|_| record.is_some());
                    one["why"] = failure.map_or(given_up, |(_, why)| why).into();
                    if let Some((target, _)) = failure {
                        one["target"] = (*target).into();
                    }
                }
                (None, None) => one["state"] = if done.is_some() { "owed" } else { "waiting" }.into(),
            }
            all.push(one);
        }
    }
    all
}
