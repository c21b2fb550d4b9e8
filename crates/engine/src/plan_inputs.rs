//! From a plan and what is done so far to the inputs and the key of a step; pure functions of content.

use std::collections::BTreeMap;

use prunella_journal::{RunState, Stage, StepIndex};
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
    /// An output of every item of a step that fans out, as one folder.
    Items {
        /// The step.
        step: StepName,
        /// Its output.
        output: PortName,
        /// The base name of each item's output.
        base_name: String,
        /// The items' places and commits, in order.
        parts: Vec<(StepIndex, SlotId)>,
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
                Source::Step { step: producer, output } => self.made(state, step, input, producer, output)?,
            };
            inputs.insert(input.clone(), bound);
        }
        Ok(inputs)
    }

    /// Returns an input that another step makes: its output, that of the same item, or a folder of all its items.
    fn made(
        &self,
        state: &RunState,
        step: StepIndex,
        input: &PortName,
        producer: &StepName,
        output: &PortName,
    ) -> Result<PlannedInput, BindError> {
        let id = self.id(step);
        let not_done = || BindError::NotDone { step: id.clone(), input: input.clone(), producer: producer.clone() };
        let no_output = || BindError::NoOutput {
            step: id.clone(),
            input: input.clone(),
            producer: producer.clone(),
            output: output.clone(),
        };
        let place = self.source(step, producer).ok_or_else(not_done)?;
        let declared = self.step(place).outputs.get(output).ok_or_else(no_output)?.path.base_name().to_owned();
        let artifacts = state.state(place).artifacts().ok_or_else(not_done)?;
        let artifact = artifacts.iter().find(|(name, _)| name == output).ok_or_else(no_output)?.1;
        let Some(members) = self.topology().members(place) else {
            let slot = state.done(place).ok_or_else(not_done)?.slot;
            let origin = Origin::Slot { step: self.id(place).clone(), slot, output: output.clone() };
            return Ok(PlannedInput { artifact, base_name: declared, origin });
        };
        // Items that were skipped made nothing.
        let ran = members.iter().filter(|member| state.state(**member).stage() != Stage::Skipped);
        let part = |member: &StepIndex| Some((*member, state.done(*member)?.slot));
        let parts = ran.map(part).collect::<Option<_>>().ok_or_else(not_done)?;
        let origin = Origin::Items { step: producer.clone(), output: output.clone(), base_name: declared, parts };
        Ok(PlannedInput { artifact, base_name: output.to_string(), origin })
    }

    /// Returns the place of the step, or of the item of it, that an input of `step` comes from.
    pub fn source(&self, step: StepIndex, producer: &StepName) -> Option<StepIndex> {
        let whole = self.index(&StepId::plain(producer.clone()))?;
        match &self.id(step).item {
            Some(item) if self.topology().go_together(step, whole) => {
                self.index(&StepId::of_item(producer.clone(), item.clone()))
            }
            _ => Some(whole),
        }
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
        Ok(step_key(self.graph(), self.id(step), self.step(step), &bound.collect(), scope))
    }

    /// Returns the step that makes this input, unless it is data.
    pub fn producer(&self, step: StepIndex, input: &str) -> Option<StepIndex> {
        match self.step(step).inputs.get(input)? {
            Source::Data(_) => None,
            Source::Step { step: producer, .. } => self.source(step, producer),
        }
    }
}
