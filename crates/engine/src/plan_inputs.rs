//! From a plan and what is done so far to the inputs and the key of a step; pure functions of content.

use std::collections::BTreeMap;

use prunella_journal::{RunState, StepIndex};
use prunella_model::{
    Artifact, BoundInput, DataName, KeyScope, PortName, SlotId, Source, StepId, StepKey, StepName, step_key,
};

use crate::plan::Plan;

/// Where an input's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A pinned data set.
    Data(DataName),
    /// An output of a committed slot.
    Slot {
        /// The producer.
        step: StepId,
        /// Its commit.
        slot: SlotId,
        /// Its output.
        output: PortName,
    },
}

/// An input of which the content, the name and the origin are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedInput {
    /// Its content.
    pub artifact: Artifact,
    /// The base name under which it is laid out.
    pub base_name: String,
    /// Where its bytes come from.
    pub origin: Origin,
}

/// Says why the inputs of a step cannot be bound: the graph promises what is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The data set is not pinned in the graph.
    #[error("the input `{input}` of `{step}` is the data set `{data}`, which the graph does not pin")]
    UnknownData {
        /// The step.
        step: StepId,
        /// Its input.
        input: PortName,
        /// The data set.
        data: DataName,
    },
    /// The producer is not done.
    #[error("the input `{input}` of `{step}` comes from `{producer}`, which is not done")]
    NotDone {
        /// The step.
        step: StepId,
        /// Its input.
        input: PortName,
        /// The producer.
        producer: StepName,
    },
    /// The producer's commit has no such output.
    #[error("the input `{input}` of `{step}` is `{producer}.{output}`, which its commit does not have")]
    NoOutput {
        /// The step.
        step: StepId,
        /// Its input.
        input: PortName,
        /// The producer.
        producer: StepName,
        /// The output.
        output: PortName,
    },
}

impl Plan {
    /// Returns the inputs of a step whose producers are done.
    ///
    /// # Errors
    /// [`BindError`] for the first input that has no content.
    pub fn inputs(&self, state: &RunState, step: StepIndex) -> Result<BTreeMap<PortName, PlannedInput>, BindError> {
        let id = self.id(step);
        let mut inputs = BTreeMap::new();
        for (input, source) in &self.step(step).inputs {
            let bound = match source {
                Source::Data(data) => {
                    let pin = self.graph().data.get(data).ok_or_else(|| BindError::UnknownData {
                        step: id.clone(),
                        input: input.clone(),
                        data: data.clone(),
                    })?;
                    PlannedInput {
                        artifact: pin.artifact,
                        base_name: pin.base_name.clone(),
                        origin: Origin::Data(data.clone()),
                    }
                }
                Source::Step { step: producer, output } => {
                    let not_done =
                        || BindError::NotDone { step: id.clone(), input: input.clone(), producer: producer.clone() };
                    let no_output = || BindError::NoOutput {
                        step: id.clone(),
                        input: input.clone(),
                        producer: producer.clone(),
                        output: output.clone(),
                    };
                    let from = StepId::plain(producer.clone());
                    let place = self.index(&from).ok_or_else(not_done)?;
                    let done = state.done(place).ok_or_else(not_done)?;
                    let artifact = done.artifacts.iter().find(|(name, _)| name == output).ok_or_else(no_output)?.1;
                    let declared = self.step(place).outputs.get(output).ok_or_else(no_output)?;
                    PlannedInput {
                        artifact,
                        base_name: declared.path.base_name().to_owned(),
                        origin: Origin::Slot { step: from, slot: done.slot, output: output.clone() },
                    }
                }
            };
            inputs.insert(input.clone(), bound);
        }
        Ok(inputs)
    }

    /// Returns the key of a step whose producers are done.
    ///
    /// # Errors
    /// As [`Plan::inputs`].
    pub fn key(&self, state: &RunState, step: StepIndex, scope: &KeyScope) -> Result<StepKey, BindError> {
        let bound = self.inputs(state, step)?.into_iter().map(|(name, input)| {
            let PlannedInput { artifact, base_name, .. } = input;
            (name, BoundInput { kind: artifact.kind, base_name, digest: artifact.digest })
        });
        let at_end = self.step_at_end(state, step);
        let spec = at_end.as_ref().unwrap_or_else(|| self.step(step));
        Ok(step_key(self.graph(), self.id(step), spec, &bound.collect(), scope))
    }

    /// Returns the step that makes this input, unless it is data.
    pub fn producer(&self, step: StepIndex, input: &str) -> Option<StepIndex> {
        match self.step(step).inputs.get(input)? {
            Source::Data(_) => None,
            Source::Step { step: producer, .. } => self.index(&StepId::plain(producer.clone())),
        }
    }
}
