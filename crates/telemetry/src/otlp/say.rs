//! Short ways to say things in the messages.

use prunella_journal::Moment;
use prunella_model::{Span, StepId};

use super::wire::{AnyValue, Array, KeyValue, Value};

pub fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

pub fn number(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

pub fn seconds(span: Span) -> Value {
    Value::Double(span.as_millis() as f64 / 1000.0)
}

pub fn texts(all: &[String]) -> Value {
    Value::Array(Array { values: all.iter().map(|one| any(text(one))).collect() })
}

pub fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

pub fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)) }
}

/// Returns what says which step something is of.
pub fn of_step(step: &StepId) -> Vec<KeyValue> {
    let mut pairs = vec![pair("prunella.step", text(step.name.as_str()))];
    pairs.extend(step.item.as_ref().map(|item| pair("prunella.item", text(item.as_str()))));
    pairs
}

pub fn nanos(moment: Moment) -> u64 {
    moment.0.saturating_mul(1_000_000)
}
