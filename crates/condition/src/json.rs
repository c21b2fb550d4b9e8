//! From the bytes of an output to a value, within bounds.

use std::sync::Arc;

use crate::{MAX_JSON_BYTES, MAX_JSON_DEPTH, Value};

/// Says why bytes are no value that a condition may read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// There are too many.
    #[error("it is larger than {} MiB", MAX_JSON_BYTES >> 20)]
    TooLarge,
    /// Lists and objects lie too deep in one another.
    #[error("it is nested deeper than {MAX_JSON_DEPTH} levels")]
    TooDeep,
    /// They are not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(String),
}

/// Returns the one value of a JSON text.
///
/// # Errors
/// [`JsonError`] if it is none, or beyond the bounds.
pub fn json_value(bytes: &[u8]) -> Result<Value, JsonError> {
    if bytes.len() as u64 > MAX_JSON_BYTES {
        return Err(JsonError::TooLarge);
    }
    // serde_json itself gives up at 128 levels, so this does not recurse without bound.
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(not_json)?;
    convert(value, MAX_JSON_DEPTH)
}

/// Returns the list of the values of a text with one JSON value a line; empty lines are passed over.
///
/// # Errors
/// As [`json_value`].
pub fn json_lines(bytes: &[u8]) -> Result<Value, JsonError> {
    if bytes.len() as u64 > MAX_JSON_BYTES {
        return Err(JsonError::TooLarge);
    }
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace));
    let values: Result<Vec<Value>, JsonError> =
        lines.map(|line| convert(serde_json::from_slice(line).map_err(not_json)?, MAX_JSON_DEPTH - 1)).collect();
    Ok(Value::List(values?.into()))
}

fn not_json(error: serde_json::Error) -> JsonError {
    let text = error.to_string();
    if text.starts_with("recursion limit") { JsonError::TooDeep } else { JsonError::NotJson(text) }
}

fn convert(value: serde_json::Value, depth: usize) -> Result<Value, JsonError> {
    use serde_json::Value as J;
    Ok(match value {
        J::Null => Value::Null,
        J::Bool(value) => Value::Bool(value),
        J::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        J::String(text) => Value::Text(text.into()),
        J::Array(_) | J::Object(_) if depth == 0 => return Err(JsonError::TooDeep),
        J::Array(items) => {
            let items: Result<Vec<Value>, _> = items.into_iter().map(|item| convert(item, depth - 1)).collect();
            Value::List(items?.into())
        }
        J::Object(entries) => {
            let entries: Result<_, JsonError> =
                entries.into_iter().map(|(name, value)| Ok((Arc::from(name), convert(value, depth - 1)?))).collect();
            Value::Map(Arc::new(entries?))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_beyond_the_bounds_is_refused_and_what_is_on_them_is_read() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(json_value(nested(MAX_JSON_DEPTH).as_bytes()).is_ok());
        assert_eq!(json_value(nested(MAX_JSON_DEPTH + 1).as_bytes()).err(), Some(JsonError::TooDeep));
        assert_eq!(json_value(nested(100_000).as_bytes()).err(), Some(JsonError::TooDeep));
        assert_eq!(json_lines(nested(MAX_JSON_DEPTH).as_bytes()).err(), Some(JsonError::TooDeep));
        let long = vec![b' '; MAX_JSON_BYTES as usize + 1];
        assert_eq!(json_value(&long).err(), Some(JsonError::TooLarge));
        assert!(matches!(json_value(b"{"), Err(JsonError::NotJson(_))));
        assert!(matches!(json_value(b"1 2"), Err(JsonError::NotJson(_))));
    }

    #[test]
    fn json_lines_are_a_list() {
        let Ok(Value::List(items)) = json_lines(b"{\"a\":1}\n\n2.5\r\n") else { panic!("a list") };
        assert_eq!(items.len(), 2);
        assert!(matches!(items[1], Value::Double(_)));
    }
}
