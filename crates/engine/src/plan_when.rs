//! From a plan and what is done so far to what a condition reads, and to its answer; pure functions of content.

use std::collections::BTreeMap;

use prunella_condition::{Answer, Condition, MAX_JSON_BYTES, Scope, Use, Value, json_lines, json_value};
use prunella_journal::{RunState, Stage, StepIndex};
use prunella_model::{ContentFormat, Item, ParamName, ParamValue, PortName, SlotId, StepId, StepName};

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
    /// Whether it is one of several: what the items of a step that fans out made stands as a list.
    pub of_item: bool,
}

impl Plan {
    /// Returns the outputs that the condition of a step reads; nothing if one of them is not there.
    pub fn condition_inputs(&self, state: &RunState, step: StepIndex) -> Option<Vec<ConditionInput>> {
        let reads = self.step(step).when.iter().flat_map(|when| &when.reads);
        let mut inputs = Vec::new();
        for read in reads {
            let producer = self.index(&StepId::plain(read.step.clone()))?;
            let declared = self.step(producer).outputs.get(&read.output)?;
            let by_name = || ContentFormat::of_name(declared.path.base_name());
            let format = declared.check.format.unwrap_or_else(by_name);
            let members = self.topology().members(producer);
            let producers = members.map_or_else(|| vec![producer], <[StepIndex]>::to_vec);
            // Items that were skipped made nothing.
            for producer in producers.into_iter().filter(|one| state.state(*one).stage() != Stage::Skipped) {
                let slot = state.done(producer)?.slot;
                let (step, output) = (read.step.clone(), read.output.clone());
                inputs.push(ConditionInput { step, output, producer, slot, format, of_item: members.is_some() });
            }
        }
        Some(inputs)
    }

    /// Returns the outputs of steps that fan out that the condition of a step reads: they stand as lists.
    pub(crate) fn condition_lists(&self, step: StepIndex) -> Vec<Use> {
        let reads = self.step(step).when.iter().flat_map(|when| &when.reads);
        let fans = |read: &&prunella_model::OutputRead| {
            self.index(&StepId::plain(read.step.clone())).is_some_and(|producer| self.topology().is_group(producer))
        };
        reads.filter(fans).map(|read| Use::Output { step: read.step.clone(), output: read.output.clone() }).collect()
    }
}

/// Returns the answer of a condition from the bytes of what it reads, in the order of the inputs.
///
/// `lists` are the outputs that stand as a list of what the items of a step made.
///
/// # Errors
/// Why there is none, for people.
pub(crate) fn answer(
    expression: &str,
    params: &BTreeMap<ParamName, ParamValue>,
    item: Option<&Item>,
    lists: Vec<Use>,
    read: &[(ConditionInput, Vec<u8>)],
) -> Result<Answer, String> {
    let condition = Condition::parse(expression).map_err(|mistake| format!("its condition is none: {mistake}"))?;
    let mut scope = Scope::new();
    let mut whole: BTreeMap<(StepName, PortName), Vec<Value>> = BTreeMap::new();
    for (input, bytes) in read {
        let parsed = match input.format {
            ContentFormat::Jsonl => json_lines(bytes),
            _ => json_value(bytes),
        };
        let value =
            parsed.map_err(|error| format!("its condition cannot read {}.{}: {error}", input.step, input.output))?;
        if input.of_item {
            whole.entry((input.step.clone(), input.output.clone())).or_default().push(value);
        } else {
            scope.insert(Use::Output { step: input.step.clone(), output: input.output.clone() }, value);
        }
    }
    for list in lists {
        let values = match &list {
            Use::Output { step, output } => whole.remove(&(step.clone(), output.clone())).unwrap_or_default(),
            Use::Param(_) | Use::Item => continue,
        };
        scope.insert(list, Value::List(values.into()));
    }
    if let Some(item) = item {
        let value = json_value(item.as_str().as_bytes());
        scope.insert(Use::Item, value.map_err(|error| format!("its item is no JSON: {error}"))?);
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
        // Every item is JSON; what could not be read would be seen as nothing.
        ParamValue::List(items) => {
            Value::List(items.iter().map(|item| json_value(item.as_str().as_bytes()).unwrap_or(Value::Null)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prunella_model::{Digest, Epoch, StepKey};

    use super::*;

    /// What an item made, as the condition of another step reads it.
    fn made(n: usize, value: i64) -> (ConditionInput, Vec<u8>) {
        let input = ConditionInput {
            step: StepName::new("each").expect("a name"),
            output: PortName::new("out").expect("a name"),
            producer: StepIndex::new(n as u32),
            slot: SlotId { key: StepKey(Digest::of(b"")), epoch: Epoch(1) },
            format: ContentFormat::Json,
            of_item: true,
        };
        (input, format!("{{\"x\":{value}}}").into_bytes())
    }

    /// An answer by plain loops: from what the items made, the item itself, and a number.
    type Naive = fn(&[i64], i64, i64) -> bool;

    const TABLE: [(&str, Naive); 8] = [
        ("each.out.all(m, m.x > params.k)", |made, _, k| made.iter().all(|x| *x > k)),
        ("each.out.exists(m, m.x == item)", |made, item, _| made.contains(&item)),
        ("each.out.exists_one(m, m.x == item)", |made, item, _| made.iter().filter(|x| **x == item).count() == 1),
        ("size(each.out) > params.k", |made, _, k| made.len() as i64 > k),
        ("each.out.filter(m, m.x > params.k).map(m, m.x).exists(x, x != item)", |made, item, k| {
            made.iter().any(|x| *x > k && *x != item)
        }),
        ("size(each.out) > 0 && each.out[0].x >= item", |made, item, _| made.first().is_some_and(|x| *x >= item)),
        ("item in params.list", |made, item, _| made.contains(&item)),
        ("each.out.map(m, m.x) == params.list", |_, _, _| true),
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_condition_over_items_sees_what_they_made_as_a_list(
            values in prop::collection::vec(-3i64..4, 0..6),
            item in -3i64..4,
            k in -3i64..4,
        ) {
            let read: Vec<_> = values.iter().enumerate().map(|(n, value)| made(n, *value)).collect();
            let (step, output) = (StepName::new("each").expect("a name"), PortName::new("out").expect("a name"));
            let lists = vec![Use::Output { step, output }];
            let number = |value: &i64| Item::from_canonical(&value.to_string());
            let params = BTreeMap::from([
                (ParamName::new("k").expect("a name"), ParamValue::Integer(k)),
                (ParamName::new("list").expect("a name"), ParamValue::List(values.iter().map(number).collect())),
            ]);
            for (expression, naive) in TABLE {
                let found = answer(expression, &params, Some(&number(&item)), lists.clone(), &read);
                let found = found.map_err(|error| TestCaseError::fail(format!("{expression}: {error}")))?;
                prop_assert_eq!(found.holds, naive(&values, item, k), "{} with {:?}, {}, {}", expression, values, item, k);
            }
        }
    }
}
