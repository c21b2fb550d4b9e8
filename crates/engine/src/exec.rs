//! One attempt by itself, as a pod would run it: the step's request from the store alone.

use std::{collections::BTreeMap, sync::Arc};

use prunella_attempt::{BoundArtifact, FanIn, InputBytes, Part, Request};
use prunella_journal::StepIndex;
use prunella_model::{
    Artifact, BoundInput, ForEach, KeyScope, PortName, RunId, SlotId, Source, StepId, StepName, fan_in, step_key,
};
use prunella_store::{
    Store,
    records::{Committed, GraphRecord, StoredArtifact},
};

use crate::{BindError, EngineError, Plan, expand::read_list};

/// Which commit stands for a step that this one needs: `STEP=KEY@EPOCH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The step, or an item of it, as it is shown: `split`, `train:fold=2`.
    pub step: String,
    /// Its commit.
    pub slot: SlotId,
}

/// Returns the request for one attempt of `step`, reading `runs/<run>/graph`, the commits given, and the run's bindings.
///
/// `step` is a step as it is shown: `split`, or `train:fold=2` for an item of one that fans out.
///
/// # Errors
/// [`EngineError::NotReady`] names what has no commit yet, or none any more.
pub async fn exec_request(
    store: &Store,
    run: &RunId,
    step: &str,
    upstream: &[Upstream],
    retry_index: Option<u64>,
) -> Result<Request, EngineError> {
    let graph = Arc::new(store.graph(run).await?);
    let upstream = Commits { store, run, given: upstream };
    let mut plan = Plan::build(graph.graph.clone(), &[])?;
    upstream.expand(&mut plan, step).await?;
    let place = plan.indices().find(|place| plan.id(*place).to_string() == step && !plan.topology().is_group(*place));
    let place = place.ok_or_else(|| EngineError::NoStep { run: run.clone(), step: step.to_owned() })?;
    let id = plan.id(place).clone();
    let spec = plan.step(place).clone();
    let mut inputs = BTreeMap::new();
    let mut keyed = BTreeMap::new();
    for (name, source) in &spec.inputs {
        let bound = match source {
            Source::Data(data) => brought(&graph, &id, name, data)?,
            Source::Step { step: producer, output } => upstream.bind(&plan, place, name, producer, output).await?,
        };
        let Artifact { kind, digest, .. } = bound.artifact();
        keyed.insert(name.clone(), BoundInput { kind, base_name: bound.base_name.clone(), digest });
        inputs.insert(name.clone(), bound);
    }
    // Whoever is told what to read has to hold on to it like everybody else.
    let relied_on: Vec<SlotId> = inputs.values().flat_map(BoundArtifact::slots).collect();
    let retired = store.rely_on(run, &relied_on).await?;
    if let Some(gone) = inputs.values().find(|input| input.slots().iter().any(|slot| retired.contains(slot))) {
        let need = gone.source.rsplit_once('.').map_or("", |(need, _)| need).to_owned();
        return Err(EngineError::NotReady { step: id.to_string(), need });
    }
    let driver = store.driver_of(run).await?.map_or(1, |(n, _, _)| n);
    let key = step_key(&graph.graph, &id, &spec, &keyed, &KeyScope { run: run.clone(), driver });
    Ok(Request {
        run: run.clone(),
        graph: graph.clone(),
        step: id,
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

fn brought(
    graph: &GraphRecord,
    step: &StepId,
    input: &PortName,
    data: &prunella_model::DataName,
) -> Result<BoundArtifact, EngineError> {
    let unknown = || BindError::UnknownData { step: step.clone(), input: input.clone(), data: data.clone() };
    let pin = graph.graph.data.get(data).ok_or_else(unknown)?;
    let stored = graph.brought.iter().find(|stored| stored.artifact == pin.artifact).ok_or_else(unknown)?.clone();
    Ok(BoundArtifact {
        bytes: InputBytes::Stored { stored, slot: None },
        base_name: pin.base_name.clone(),
        source: format!("data.{data}"),
    })
}

/// The commits that stand for the steps of a run.
struct Commits<'a> {
    store: &'a Store,
    run: &'a RunId,
    given: &'a [Upstream],
}

impl Commits<'_> {
    async fn committed(&self, step: &StepId, asked: &str) -> Result<(SlotId, Committed), EngineError> {
        let shown = step.to_string();
        let given = self.given.iter().find(|upstream| upstream.step == shown).map(|upstream| upstream.slot);
        let slot = match given {
            Some(slot) => Some(slot),
            None => self.store.binding(self.run, step).await?,
        };
        let not_ready = || EngineError::NotReady { step: asked.to_owned(), need: shown.clone() };
        let slot = slot.ok_or_else(not_ready)?;
        let committed = self.store.committed(&slot).await?.ok_or_else(not_ready)?;
        Ok((slot, committed))
    }

    /// Gives every step whose list is there its items.
    async fn expand(&self, plan: &mut Plan, asked: &str) -> Result<(), EngineError> {
        for step in plan.indices().collect::<Vec<StepIndex>>() {
            let Some(ForEach::Output { step: producer, output }) = plan.step(step).for_each.clone() else { continue };
            let committed = match self.committed(&StepId::plain(producer.clone()), asked).await {
                Ok((_, committed)) => committed,
                Err(EngineError::NotReady { .. }) => continue,
                Err(error) => return Err(error),
            };
            let Some(stored) = committed.artifacts.get(&output) else { continue };
            if let Ok(items) = read_list(self.store, stored).await? {
                plan.expand(step, &items)?;
            }
        }
        Ok(())
    }

    async fn bind(
        &self,
        plan: &Plan,
        step: StepIndex,
        input: &PortName,
        producer: &StepName,
        output: &PortName,
    ) -> Result<BoundArtifact, EngineError> {
        let asked = plan.id(step).to_string();
        let not_ready = || EngineError::NotReady { step: asked.clone(), need: producer.to_string() };
        let no_output = || BindError::NoOutput {
            step: plan.id(step).clone(),
            input: input.clone(),
            producer: producer.clone(),
            output: output.clone(),
        };
        let place = plan.source(step, producer).ok_or_else(not_ready)?;
        let declared = plan.step(place).outputs.get(output).ok_or_else(no_output)?.path.base_name().to_owned();
        let source = format!("{}.{output}", plan.id(place));
        if !plan.topology().is_group(place) {
            let (slot, committed) = self.committed(plan.id(place), &asked).await?;
            let stored = committed.artifacts.get(output).ok_or_else(no_output)?.clone();
            return Ok(BoundArtifact {
                bytes: InputBytes::Stored { stored, slot: Some(slot) },
                base_name: declared,
                source,
            });
        }
        let mut parts = Vec::new();
        for member in plan.topology().members(place).ok_or_else(not_ready)? {
            let (slot, committed) = self.committed(plan.id(*member), &asked).await?;
            let stored: StoredArtifact = committed.artifacts.get(output).ok_or_else(no_output)?.clone();
            let item = plan.id(*member).item.clone().expect("a member of a group is an item");
            parts.push(Part { item, slot, stored });
        }
        let made: Vec<_> = parts.iter().map(|part| (&part.item, part.stored.artifact)).collect();
        let artifact = fan_in(&declared, &made);
        let bytes = InputBytes::FanIn(Arc::new(FanIn { artifact, base_name: declared, parts }));
        Ok(BoundArtifact { bytes, base_name: output.to_string(), source })
    }
}
