//! One attempt by itself, as a pod would run it: the step's request from the store alone.

use std::{collections::BTreeMap, sync::Arc};

use prunella_attempt::{BoundArtifact, FanIn, InputBytes, Part, Request};
use prunella_journal::StepIndex;
use prunella_model::{
    BoundInput, ForEach, Item, KeyScope, PortName, RunId, SlotId, Source, StepAddress, StepId, StepName, fan_in,
    step_key,
};
use prunella_store::{
    Store, StoreError,
    records::{GraphRecord, StoredArtifact},
};

use crate::{
    BindError, EngineError, NoSuchStep, Plan,
    bind::bytes_of,
    expand::{NoList, read_list},
};

/// Which commit stands for a step that this one needs: `STEP=KEY@EPOCH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The step, or the item of it.
    pub step: StepAddress,
    /// Its commit.
    pub slot: SlotId,
}

/// Returns the request for one attempt of `step`, reading `runs/<run>/graph`, the commits given, and the run's bindings;
/// what the attempt reads is recorded as used by the run.
///
/// # Errors
/// [`StoreError::GivenUp`] if the run is no longer retained: nothing is written for it then. Otherwise as [`look_request`].
pub async fn exec_request(
    store: &Store,
    run: &RunId,
    step: &StepAddress,
    upstream: &[Upstream],
    retry_index: Option<u64>,
) -> Result<Request, EngineError> {
    if store.is_given_up(run).await? {
        return Err(StoreError::GivenUp { run: run.clone() }.into());
    }
    let mut request = look_request(store, run, step, upstream).await?;
    // Whoever is told what to read has to hold on to it like everybody else.
    let relied_on: Vec<SlotId> = request.inputs.values().flat_map(BoundArtifact::slots).collect();
    let retired = store.rely_on(run, &relied_on).await?;
    if let Some(gone) = request.inputs.values().find(|input| input.slots().iter().any(|slot| retired.contains(slot))) {
        let need = gone.source.split('.').next().unwrap_or_default();
        let need = StepName::new(need).map(StepId::plain).unwrap_or_else(|_| request.step.clone());
        return Err(EngineError::NotReady { step: request.step, need });
    }
    request.retry_index = retry_index;
    Ok(request)
}

/// Returns the request for an attempt of `step` as [`exec_request`] does, for somebody who only looks: nothing is written,
/// so a collection may take what it names.
///
/// # Errors
/// [`EngineError::NotReady`] names what has no commit yet; [`EngineError::NoStep`] and [`EngineError::Fans`] say what is
/// wrong with the address.
pub async fn look_request(
    store: &Store,
    run: &RunId,
    step: &StepAddress,
    upstream: &[Upstream],
) -> Result<Request, EngineError> {
    let graph = Arc::new(store.graph(run).await?);
    let mut there = There { store, run, upstream, graph: &graph, plan: Plan::build(graph.graph.clone(), &[])? };
    there.expand().await?;
    let place = there.plan.find(step).map_err(|wrong| EngineError::NoStep { run: run.clone(), wrong })?;
    let id = there.plan.id(place).clone();
    if there.plan.topology().is_group(place) {
        let members = there.plan.topology().members(place).unwrap_or_default();
        let first = members.first().and_then(|member| there.plan.id(*member).item.as_ref()).map(Item::label);
        return Err(EngineError::Fans { step: id.name, example: first.unwrap_or_default() });
    }
    let spec = there.plan.step(place);
    if spec.handler.is_some() {
        // What belongs to the end of a run is known only to the engine that sees that end.
        let wrong = NoSuchStep::Name(id.name);
        return Err(EngineError::NoStep { run: run.clone(), wrong });
    }
    let (mut inputs, mut keyed) = (BTreeMap::new(), BTreeMap::new());
    for (name, source) in &spec.inputs {
        let bound = match source {
            Source::Data(data) => {
                let unknown = || BindError::UnknownData { step: id.clone(), input: name.clone(), data: data.clone() };
                let pin = graph.graph.data.get(data).ok_or_else(unknown)?;
                let bytes = bytes_of(&graph, pin).ok_or_else(unknown)?;
                BoundArtifact { bytes, base_name: pin.base_name.clone(), source: format!("data.{data}") }
            }
            Source::Step { step: producer, output } => there.made(place, name, producer, output).await?,
        };
        let artifact = bound.artifact();
        let (kind, digest) = (artifact.kind, artifact.digest);
        keyed.insert(name.clone(), BoundInput { kind, base_name: bound.base_name.clone(), digest });
        inputs.insert(name.clone(), bound);
    }
    let driver = store.driver_of(run).await?.map_or(1, |(n, _, _)| n);
    let key = step_key(&graph.graph, &id, spec, &keyed, &KeyScope { run: run.clone(), driver });
    Ok(Request {
        run: run.clone(),
        graph: graph.clone(),
        step: id,
        key,
        inputs,
        retry_index: None,
        take_over: false,
        expected: None,
        observed: Default::default(),
        restore: Default::default(),
        memory: None,
        interruptions: None,
        checkpoint_sooner: false,
        accelerators: None,
        at_end: None,
        budgets: Default::default(),
    })
}

/// What the store has of a run.
struct There<'a> {
    store: &'a Store,
    run: &'a RunId,
    upstream: &'a [Upstream],
    graph: &'a GraphRecord,
    plan: Plan,
}

impl There<'_> {
    /// Expands every step whose list is there; a list that is not keeps its steps without items.
    async fn expand(&mut self) -> Result<(), EngineError> {
        for step in self.plan.indices() {
            let Some(ForEach::Output { step: producer, output }) = self.plan.step(step).for_each.clone() else {
                continue;
            };
            let Some(slot) = self.slot(&StepId::plain(producer)).await? else { continue };
            let Some(committed) = self.store.committed(&slot).await? else { continue };
            let Some(stored) = committed.artifacts.get(&output) else { continue };
            match read_list(self.store, stored).await? {
                Ok(items) => self.plan.expand(step, &items)?,
                Err(NoList::Wrong(problem) | NoList::Lost(problem)) => {
                    return Err(EngineError::NoList { step: self.plan.id(step).clone(), problem });
                }
            }
        }
        Ok(())
    }

    /// Returns the commit that stands for a step: the one given, else the run's.
    async fn slot(&self, id: &StepId) -> Result<Option<SlotId>, EngineError> {
        match self.upstream.iter().find(|upstream| upstream.step.is_of(id)) {
            Some(given) => Ok(Some(given.slot)),
            None => Ok(self.store.binding(self.run, id).await?),
        }
    }

    /// Returns an input that another step makes: its output, that of the same item, or a folder of all its items.
    async fn made(
        &self,
        place: StepIndex,
        input: &PortName,
        producer: &StepName,
        output: &PortName,
    ) -> Result<BoundArtifact, EngineError> {
        let whole = StepId::plain(producer.clone());
        let step = self.plan.id(place);
        let not_ready = || EngineError::NotReady { step: step.clone(), need: whole.clone() };
        let no_output = || BindError::NoOutput {
            step: step.clone(),
            input: input.clone(),
            producer: producer.clone(),
            output: output.clone(),
        };
        let declared = self.graph.graph.pipeline.steps.get(producer.as_str());
        let declared = declared.and_then(|producer| producer.outputs.get(output)).ok_or_else(no_output)?;
        let base_name = declared.path.base_name().to_owned();
        let from = self.plan.source(place, producer).ok_or_else(not_ready)?;
        let source = format!("{producer}.{output}");
        if !self.plan.topology().is_group(from) {
            let (slot, stored) = self.output(step, self.plan.id(from), output, &no_output).await?;
            return Ok(BoundArtifact { bytes: InputBytes::Stored { stored, slot: Some(slot) }, base_name, source });
        }
        let mut parts = Vec::new();
        for member in self.plan.topology().members(from).ok_or_else(not_ready)? {
            let id = self.plan.id(*member);
            let (slot, stored) = self.output(step, id, output, &no_output).await?;
            parts.push(Part { item: id.item.clone().expect("members are items"), slot, stored });
        }
        let made: Vec<_> = parts.iter().map(|part| (&part.item, part.stored.artifact)).collect();
        let artifact = fan_in(&base_name, &made);
        let bytes = InputBytes::FanIn(Arc::new(FanIn { artifact, base_name, parts }));
        Ok(BoundArtifact { bytes, base_name: output.to_string(), source })
    }

    async fn output(
        &self,
        step: &StepId,
        producer: &StepId,
        output: &PortName,
        no_output: &dyn Fn() -> BindError,
    ) -> Result<(SlotId, StoredArtifact), EngineError> {
        let not_ready = || EngineError::NotReady { step: step.clone(), need: producer.clone() };
        let slot = self.slot(producer).await?.ok_or_else(not_ready)?;
        let committed = self.store.committed(&slot).await?.ok_or_else(not_ready)?;
        Ok((slot, committed.artifacts.get(output).ok_or_else(no_output)?.clone()))
    }
}
