//! Why a step of a run is as it is: what its records and its journal say of it.

mod json;
mod next;
mod text;
mod tried;

use prunella_engine::{Closer, Plan, Seen};
use prunella_journal::{HintSeen, RunState, StepIndex};
use prunella_model::{CheckpointId, RunId, SlotId, Source, StepId, StepKey};
use prunella_store::{
    Store,
    records::{Committed, GraphRecord, InputProvenance, MountedAt},
};

use crate::{
    condition::{Condition, StepCondition},
    error::CliError,
    history,
    present::{attempt, short},
    publications::Publications,
    skips::{Decided, decided},
};
use tried::Tried;

/// A step of a run, and all that is known of it.
pub struct Subject<'a> {
    run: RunId,
    step: StepId,
    place: StepIndex,
    plan: &'a Plan,
    state: &'a RunState,
    record: &'a GraphRecord,
    run_condition: Condition,
    condition: StepCondition,
    key: Option<StepKey>,
    bound: Option<(SlotId, Committed)>,
    /// Who made the commit, if it was another run.
    made_by: Option<(RunId, StepId)>,
    tried: Vec<Tried<'a>>,
    /// Inputs by name: where from, what, and which attempt made it.
    inputs: Vec<(String, InputProvenance, Option<String>)>,
    checkpoints: Vec<CheckpointId>,
    /// What clouds said of machines of the run.
    hints: &'a [HintSeen],
    /// How its condition was answered.
    decided: Option<Decided<'a>>,
    publications: Publications,
}

impl<'a> Subject<'a> {
    /// Finds what is known of the step at `place`.
    ///
    /// # Errors
    /// [`CliError`] if the store did not answer.
    pub async fn find(
        store: &Store,
        place: StepIndex,
        seen: &'a Seen,
        Closer { record, plan, events }: &'a Closer,
        run_condition: Condition,
    ) -> Result<Self, CliError> {
        let (run, state) = (&seen.run, &seen.state);
        let step = plan.id(place);
        let slot = match state.done(place) {
            Some(done) => Some(done.slot),
            // `exec` binds without a journal.
            None => store.binding(run, step).await?,
        };
        let mut keys = history::keys(events, step);
        if let Some(slot) = slot {
            keys.retain(|key| *key != slot.key);
            keys.push(slot.key);
        }
        let known = history::attempts(events, step);
        let mut tried = Vec::new();
        for key in &keys {
            for (epoch, view) in store.look(key).await?.slots {
                let slot_here = SlotId { key: *key, epoch };
                let ours = view.start.as_ref().is_some_and(|start| start.run == *run && start.step == *step);
                if ours || slot == Some(slot_here) {
                    let known = known.iter().find(|attempt| attempt.slot == slot_here).cloned();
                    tried.push(Tried { slot: slot_here, view: *view, known });
                }
            }
        }
        let bound = match slot {
            Some(slot) => store.committed(&slot).await?.map(|committed| (slot, committed)),
            None => None,
        };
        let mut made_by = None;
        if let Some((slot, _)) = &bound
            && let Some(start) = store.start_of(slot).await?
            && (start.run != *run || start.step != *step)
        {
            made_by = Some((start.run, start.step));
        }
        let mut inputs = Vec::new();
        for (name, provenance) in inputs_of(plan, state, place, bound.as_ref().map(|(_, committed)| committed)) {
            let producer = match provenance.slot {
                Some(slot) => store
                    .start_of(&slot)
                    .await?
                    .map(|start| format!("{} of run {}", attempt(&start.step, &slot), short(&start.run))),
                None => None,
            };
            inputs.push((name, provenance, producer));
        }
        let checkpoints = match keys.last() {
            Some(key) if plan.step(place).checkpoint.is_some() => store.checkpoints(key).await?,
            _ => Vec::new(),
        };
        let mut condition = StepCondition::of(state, place, run_condition);
        if state.done(place).is_none() && bound.is_some() {
            condition = if made_by.is_some() { StepCondition::Reused } else { StepCondition::Done };
        }
        Ok(Self {
            run: run.clone(),
            step: step.clone(),
            place,
            plan,
            state,
            record,
            run_condition,
            condition,
            key: keys.last().copied(),
            bound,
            made_by,
            tried,
            inputs,
            checkpoints,
            hints: &seen.figures.hints,
            decided: decided(events, step),
            publications: Publications::of(store, run).await?,
        })
    }
}

impl Subject<'_> {
    /// Returns what clouds said, for a step that was tried and could be asked for a checkpoint.
    fn hints(&self) -> &[HintSeen] {
        let asked =
            self.plan.step(self.place).checkpoint.is_some() && self.tried.iter().any(|tried| tried.known.is_some());
        if asked { self.hints } else { &[] }
    }
}

/// Returns the inputs of a step: those of its commit, or what is known so far.
fn inputs_of(
    plan: &Plan,
    state: &RunState,
    place: StepIndex,
    committed: Option<&Committed>,
) -> Vec<(String, InputProvenance)> {
    if let Some(committed) = committed {
        let inputs = committed.provenance.inputs.iter();
        return inputs.map(|(name, input)| (name.to_string(), input.clone())).collect();
    }
    let mut found = Vec::new();
    for (name, source) in &plan.step(place).inputs {
        let (mut mounted, mut referenced) = (None, None);
        let (known, slot, source) = match source {
            Source::Data(data) => {
                let pin = plan.graph().data.get(data);
                if let Some(path) = pin.and_then(|pin| pin.mounted.clone()) {
                    mounted = Some(MountedAt { path, protected: false });
                }
                referenced = pin.and_then(|pin| pin.referenced.clone());
                (pin.map(|pin| pin.artifact), None, format!("data.{data}"))
            }
            Source::Step { step, output } => {
                let producer = plan.source(place, step);
                let artifacts = producer.and_then(|producer| state.state(producer).artifacts());
                let known = artifacts.and_then(|artifacts| artifacts.iter().find(|(name, _)| name == output));
                let slot = producer.and_then(|producer| state.done(producer)).map(|done| done.slot);
                (known.map(|(_, artifact)| *artifact), slot, format!("{step}.{output}"))
            }
        };
        if let Some(artifact) = known {
            let input = InputProvenance { artifact, slot, source, items: Vec::new(), mounted, referenced };
            found.push((name.to_string(), input));
        }
    }
    found
}
