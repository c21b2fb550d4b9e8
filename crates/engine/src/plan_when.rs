//! From a plan and what is done so far to what a condition reads, and to its answer; pure functions of content.

use std::collections::BTreeMap;

use prunella_condition::{Answer, Condition, MAX_JSON_BYTES, Scope, Use, Value, json_lines, json_value};
use prunella_journal::{RunState, StepIndex};
use prunella_model::{ContentFormat, ParamName, ParamValue, PortName, SlotId, StepId, StepName};

use crate::plan::Plan;

/// An output that a condition reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionInput {
    /// The step as the condition names it.
    pub step: StepName,
    /// The output.
    pub output: PortName,
    /// The producer.
    pub producer: StepIndex,
    /// Its commit.
    pub slot: SlotId,
    /// The format of its bytes.
    pub format: ContentFormat,
}

impl Plan {
    /// Returns the outputs that the condition of a step reads; nothing if one of them is not there.
    pub fn condition_inputs(&self, state: &RunState, step: StepIndex) -> Option<Vec<ConditionInput>> {
        let reads = self.step(step).when.iter().flat_map(|when| &when.reads);
        let input = |read: &prunella_model::OutputRead| {
            let producer = self.index(&StepId::plain(read.step.clone()))?;
            let declared = self.step(producer).outputs.get(&read.output)?;
            let by_name = || ContentFormat::of_name(declared.path.base_name());
            Some(ConditionInput {
                step: read.step.clone(),
                output: read.output.clone(),
                producer,
                slot: state.done(producer)?.slot,
                format: declared.check.format.unwrap_or_else(by_name),
            })
        };
        reads.map(input).collect()
    }
}

/// Returns the answer of a condition from the bytes of what it reads, in the order of the inputs.
///
/// # Errors
/// Why there is none, for people.
pub(crate) fn answer(
    expression: &str,
    params: &BTreeMap<ParamName, ParamValue>,
    read: &[(ConditionInput, Vec<u8>)],
) -> Result<Answer, String> {
    let condition = Condition::parse(expression).map_err(|mistake| format!("its condition is none: {mistake}"))?;
    let mut scope = Scope::new();
    for (input, bytes) in read {
        let parsed = match input.format {
            ContentFormat::Jsonl => json_lines(bytes),
            _ => json_value(bytes),
        };
        let value =
            parsed.map_err(|error| format!("its condition cannot read {}.{}: {error}", input.step, input.output))?;
        scope.insert(Use::Output { step: input.step.clone(), output: input.output.clone() }, value);
    }
    scope.extend(params.iter().map(|(name, value)| (Use::Param(name.clone()), value_of(value))));
    condition.evaluate(&scope).map_err(|error| format!("its condition has no answer: {error}"))
}

/// Says that an output is more than a condition reads.
pub(crate) fn too_large(input: &ConditionInput) -> String {
    let most = MAX_JSON_BYTES >> 20;
    format!("its condition cannot read {}.{}: it is no file of at most {most} MiB", input.step, input.output)
}

fn value_of(param: &ParamValue) -> Value {
    match param {
        ParamValue::Bool(value) => Value::Bool(*value),
        ParamValue::Integer(value) => Value::Int(*value),
        ParamValue::Decimal(text) => text.parse().map_or_else(|_| Value::Text(text.as_str().into()), Value::Double),
        ParamValue::Text(text) => Value::Text(text.as_str().into()),
    }
}
