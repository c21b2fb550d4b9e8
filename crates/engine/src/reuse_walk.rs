//! What is there already: a walk over the plan that follows commits as far as they reach.

use std::collections::BTreeMap;

use prunella_journal::{RunState, Stage, StepIndex};
use prunella_model::{Artifact, BoundInput, Epoch, KeyScope, PortName, Reuse, SlotId, Source, StepKey, step_key};
use prunella_store::{Looked, Store, records::StoredArtifact};

use crate::{EngineError, Plan, known::holds};

/// A commit that stands for a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The slot.
    pub slot: SlotId,
    /// Its artifacts.
    pub artifacts: BTreeMap<PortName, StoredArtifact>,
    /// The store of others in which it is, and in which its artifacts lie.
    pub other: Option<String>,
}

/// Which stores a walk looks into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// One's own.
    Own,
    /// Those of others, too, for what one's own does not have.
    Others,
}

/// What the walk learnt of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Walked {
    /// The step.
    pub step: StepIndex,
    /// Its key; nothing while an input has no content yet.
    pub key: Option<StepKey>,
    /// The commit, if there is one.
    pub found: Option<Found>,
    /// The epoch that is free, if there is no commit and nothing stands in its way.
    pub free: Option<Epoch>,
    /// Whether its condition holds, if it has one whose answer is known; of a step that is skipped, that it does not.
    pub holds: Option<bool>,
}

impl Walked {
    fn nothing(step: StepIndex) -> Self {
        Self { step, key: None, found: None, free: None, holds: None }
    }
}

/// Walks the plan in order of need and looks for a commit of every step whose inputs have content.
///
/// Reads only. Steps that `state` knows as done are followed from there; others are looked up. Without a state, conditions are
/// answered as far as what they read is there, and what they skip is followed.
///
/// # Errors
/// [`EngineError`] if the store did not answer.
pub async fn walk(
    store: &Store,
    plan: &Plan,
    state: Option<&RunState>,
    scope: &KeyScope,
) -> Result<Vec<Walked>, EngineError> {
    walk_to(store, plan, state, scope, Reach::Own).await
}

/// Walks as [`walk`] does, and looks into the stores of others, too, from which a run would copy.
///
/// # Errors
/// [`EngineError`] if one's own store did not answer; what others do not answer is not there.
pub async fn walk_everywhere(
    store: &Store,
    plan: &Plan,
    state: Option<&RunState>,
    scope: &KeyScope,
) -> Result<Vec<Walked>, EngineError> {
    walk_to(store, plan, state, scope, Reach::Others).await
}

pub(crate) async fn walk_to(
    store: &Store,
    plan: &Plan,
    state: Option<&RunState>,
    scope: &KeyScope,
    reach: Reach,
) -> Result<Vec<Walked>, EngineError> {
    let mut content: Vec<Option<Vec<(PortName, Artifact)>>> = vec![None; plan.len()];
    let topology = plan.topology();
    let items = |step| topology.members(step).map_or(0, <[StepIndex]>::len);
    let mut missing: Vec<usize> = plan.indices().map(|step| topology.needs(step).len() + items(step)).collect();
    let mut ready: Vec<StepIndex> = plan.indices().filter(|step| missing[step.as_usize()] == 0).collect();
    let mut walked: Vec<Option<Walked>> = vec![None; plan.len()];
    let mut found: Vec<Option<Found>> = vec![None; plan.len()];
    let mut skipped = vec![false; plan.len()];
    let mut next = 0;
    // In waves: everything whose inputs have content is looked up together.
    while next < ready.len() {
        let wave: Vec<StepIndex> = ready[next..].to_vec();
        next = ready.len();
        let mut asked = Vec::new();
        for &step in &wave {
            let mut here = Walked::nothing(step);
            if state.is_none() && plan.step(step).handler.is_none() {
                let absent = topology.reads(step).iter().any(|need| skipped[need.as_usize()]);
                if absent {
                    here.holds = Some(false);
                } else if topology.is_conditional(step) {
                    here.holds = holds(store, plan, step, &found, &skipped).await?;
                }
            }
            let asks = match state {
                Some(state) => is_open(plan, state, step),
                None => !topology.is_conditional(step) || here.holds == Some(true),
            };
            if here.holds == Some(false) {
                skipped[step.as_usize()] = true;
            } else if topology.is_group(step) {
                // Its items are done; what they made is what it made. A list that is not known yet ends the walk here.
                if topology.members(step).is_some() {
                    let made = |member: StepIndex| content[member.as_usize()].as_deref();
                    content[step.as_usize()] = Some(topology.gather(step, made).into_vec());
                }
            } else if let Some(done) = state.and_then(|state| state.done(step)) {
                here.key = Some(done.slot.key);
                content[step.as_usize()] = Some(done.artifacts.to_vec());
            } else if plan.step(step).handler.is_none()
                && asks
                && let Some(key) = key_of(plan, step, &content, scope)
            {
                here.key = Some(key);
                asked.push((step, key));
            }
            walked[step.as_usize()] = Some(here);
        }
        let keys: Vec<StepKey> = asked.iter().map(|(_, key)| *key).collect();
        for ((step, _), looked) in asked.iter().zip(store.look_for_commits(&keys).await?) {
            let Some(here) = &mut walked[step.as_usize()] else { continue };
            match looked {
                Looked::Committed(slot, committed) => {
                    let artifacts = committed.artifacts.iter();
                    content[step.as_usize()] =
                        Some(artifacts.map(|(name, stored)| (name.clone(), stored.artifact)).collect());
                    let commit = Found { slot, artifacts: committed.artifacts.clone(), other: None };
                    if state.is_none() {
                        found[step.as_usize()] = Some(commit.clone());
                    }
                    here.found = Some(commit);
                }
                Looked::Free(epoch) => here.free = Some(epoch),
                Looked::Open | Looked::Lost(_) => {}
            }
        }
        if reach == Reach::Others {
            let missed = asked.iter().filter(|(step, _)| {
                let here = walked[step.as_usize()].as_ref();
                here.is_some_and(|here| here.found.is_none()) && plan.step(*step).reuse == Reuse::Always
            });
            let missed: Vec<(StepIndex, StepKey)> = missed.copied().collect();
            for (step, found) in elsewhere(store, &missed).await {
                let artifacts = found.artifacts.iter();
                content[step.as_usize()] =
                    Some(artifacts.map(|(name, stored)| (name.clone(), stored.artifact)).collect());
                if let Some(here) = &mut walked[step.as_usize()] {
                    here.found = Some(found);
                }
            }
        }
        let settled = |step: &&StepIndex| content[step.as_usize()].is_some() || skipped[step.as_usize()];
        for &step in wave.iter().filter(settled) {
            for consumer in topology.dependents(step) {
                let left = &mut missing[consumer.as_usize()];
                *left -= 1;
                if *left == 0 {
                    ready.push(consumer);
                }
            }
        }
    }
    // Steps that were reached stand in the order of need; the others follow in the order of the file.
    let mut order: Vec<Walked> = Vec::with_capacity(plan.len());
    for step in ready {
        order.extend(walked[step.as_usize()].take());
    }
    let reached: std::collections::HashSet<StepIndex> = order.iter().map(|walked| walked.step).collect();
    order.extend(plan.indices().filter(|step| !reached.contains(step)).map(Walked::nothing));
    Ok(order)
}

/// Returns what the stores of others have of these, each from the first that has it.
async fn elsewhere(store: &Store, missed: &[(StepIndex, StepKey)]) -> Vec<(StepIndex, Found)> {
    let (mut left, mut found) = (missed.to_vec(), Vec::new());
    for other in store.others() {
        let keys: Vec<StepKey> = left.iter().map(|(_, key)| *key).collect();
        other.look_ahead(&keys).await;
        let mut still = Vec::new();
        for (step, key) in left {
            match other.find(&key).await {
                Ok(Some((slot, committed))) => {
                    let other = Some(other.name().to_owned());
                    found.push((step, Found { slot, artifacts: committed.artifacts, other }));
                }
                Ok(None) | Err(_) => still.push((step, key)),
            }
        }
        left = still;
    }
    found
}

/// Returns whether a step is to be looked up: it is not known yet what becomes of it, and no condition is in its way.
fn is_open(plan: &Plan, state: &RunState, step: StepIndex) -> bool {
    match state.state(step).stage() {
        Stage::Waiting => !plan.topology().is_conditional(step),
        Stage::Bindable | Stage::Keyed => true,
        _ => false,
    }
}

/// Returns the key that a step has when the steps before it give this content, by their place in the plan.
///
/// Answers nothing while an input has no content.
pub fn key_of(
    plan: &Plan,
    step: StepIndex,
    content: &[Option<Vec<(PortName, Artifact)>>],
    scope: &KeyScope,
) -> Option<StepKey> {
    let mut bound = BTreeMap::new();
    for (name, source) in &plan.step(step).inputs {
        let input = match source {
            Source::Data(data) => {
                let pin = plan.graph().data.get(data)?;
                let base_name = pin.base_name.clone();
                BoundInput { kind: pin.artifact.kind, base_name, digest: pin.artifact.digest }
            }
            Source::Step { step: producer, output } => {
                let producer = plan.source(step, producer)?;
                let (_, artifact) = content[producer.as_usize()].as_ref()?.iter().find(|(name, _)| name == output)?;
                let whole = plan.topology().is_group(producer);
                let path = &plan.step(producer).outputs.get(output)?.path;
                let base_name = if whole { output.as_str() } else { path.base_name() }.to_owned();
                BoundInput { kind: artifact.kind, base_name, digest: artifact.digest }
            }
        };
        bound.insert(name.clone(), input);
    }
    Some(step_key(plan.graph(), plan.id(step), plan.step(step), &bound, scope))
}
