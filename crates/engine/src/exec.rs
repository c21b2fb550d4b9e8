//! One attempt by itself, as a pod would run it: the step's request from the store alone.

use std::{collections::BTreeMap, sync::Arc};

use prunella_attempt::{BoundArtifact, Request};
use prunella_model::{ArtifactKind, BoundInput, KeyScope, RunId, SlotId, Source, StepId, StepName, step_key};
use prunella_store::Store;

use crate::{BindError, EngineError};

/// Which commit stands for a step that this one needs: `STEP=KEY@EPOCH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The step.
    pub step: StepName,
    /// Its commit.
    pub slot: SlotId,
}

/// Returns the request for one attempt of `step`, reading `runs/<run>/graph`, the commits given, and the run's bindings.
///
/// # Errors
/// [`EngineError::NotReady`] names what has no commit yet, or none any more.
pub async fn exec_request(
    store: &Store,
    run: &RunId,
    step: &StepId,
    upstream: &[Upstream],
    retry_index: Option<u64>,
) -> Result<Request, EngineError> {
    let graph = Arc::new(store.graph(run).await?);
    let Some(spec) = graph.graph.pipeline.steps.get(step.name.as_str()) else {
        return Err(EngineError::NoStep { run: run.clone(), step: step.clone() });
    };
    let mut inputs = BTreeMap::new();
    let mut keyed = BTreeMap::new();
    for (name, source) in &spec.inputs {
        let bound = match source {
            Source::Data(data) => {
                let unknown = || BindError::UnknownData { step: step.clone(), input: name.clone(), data: data.clone() };
                let pin = graph.graph.data.get(data).ok_or_else(unknown)?;
                let stored = graph.brought.iter().find(|stored| stored.artifact == pin.artifact);
                BoundArtifact {
                    stored: stored.ok_or_else(unknown)?.clone(),
                    base_name: pin.base_name.clone(),
                    slot: None,
                    source: format!("data.{data}"),
                }
            }
            Source::Step { step: producer, output } => {
                let need = StepId::plain(producer.clone());
                let given = upstream.iter().find(|upstream| upstream.step == *producer).map(|upstream| upstream.slot);
                let slot = match given {
                    Some(slot) => Some(slot),
                    None => store.binding(run, &need).await?,
                };
                let not_ready = || EngineError::NotReady { step: step.clone(), need: need.clone() };
                let slot = slot.ok_or_else(not_ready)?;
                let committed = store.committed(&slot).await?.ok_or_else(not_ready)?;
                let no_output = || BindError::NoOutput {
                    step: step.clone(),
                    input: name.clone(),
                    producer: producer.clone(),
                    output: output.clone(),
                };
                let declared = graph.graph.pipeline.steps.get(producer.as_str());
                let declared = declared.and_then(|producer| producer.outputs.get(output)).ok_or_else(no_output)?;
                BoundArtifact {
                    stored: committed.artifacts.get(output).ok_or_else(no_output)?.clone(),
                    base_name: declared.path.base_name().to_owned(),
                    slot: Some(slot),
                    source: format!("{producer}.{output}"),
                }
            }
        };
        let artifact = bound.stored.artifact;
        let kind: ArtifactKind = artifact.kind;
        keyed.insert(name.clone(), BoundInput { kind, base_name: bound.base_name.clone(), digest: artifact.digest });
        inputs.insert(name.clone(), bound);
    }
    // Whoever is told what to read has to hold on to it like everybody else.
    let relied_on: Vec<SlotId> = inputs.values().filter_map(|input: &BoundArtifact| input.slot).collect();
    let retired = store.rely_on(run, &relied_on).await?;
    if let Some(gone) = inputs.values().find(|input| input.slot.is_some_and(|slot| retired.contains(&slot))) {
        let need = gone.source.split('.').next().unwrap_or_default();
        let need = StepName::new(need).map(StepId::plain).unwrap_or_else(|_| step.clone());
        return Err(EngineError::NotReady { step: step.clone(), need });
    }
    let driver = store.driver_of(run).await?.map_or(1, |(n, _, _)| n);
    let key = step_key(&graph.graph, step, spec, &keyed, &KeyScope { run: run.clone(), driver });
    Ok(Request {
        run: run.clone(),
        graph: graph.clone(),
        step: step.clone(),
        key,
        inputs,
        retry_index,
        take_over: false,
        expected: None,
        restore: Default::default(),
        memory: None,
        checkpoint_sooner: false,
        accelerators: None,
        budgets: Default::default(),
    })
}
