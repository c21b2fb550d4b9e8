//! The values of an evaluation.

use std::{cmp::Ordering, collections::BTreeMap, fmt, sync::Arc};

/// A value; copies share what they hold.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Double(f64),
    /// Text.
    Text(Arc<str>),
    /// Values in order.
    List(Arc<[Value]>),
    /// Values by name.
    Map(Arc<BTreeMap<Arc<str>, Value>>),
}

impl Value {
    /// Returns what a message calls it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Int(_) => "a whole number",
            Self::Double(_) => "a decimal number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }

    /// Returns whether it holds no others.
    pub(crate) const fn is_plain(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Map(_))
    }
}

/// Returns the order of two numbers, exactly, although one may be whole and the other not; none with NaN.
pub(crate) fn compare_numbers(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Double(b)) => compare_exactly(*a, *b),
        (Value::Double(a), Value::Int(b)) => compare_exactly(*b, *a).map(Ordering::reverse),
        _ => None,
    }
}

fn compare_exactly(whole: i64, double: f64) -> Option<Ordering> {
    // 2^63 as a double; below it and from its negative on, the whole part of a double fits an i64.
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if double.is_nan() {
        return None;
    }
    if double >= BOUND {
        return Some(Ordering::Less);
    }
    if double < -BOUND {
        return Some(Ordering::Greater);
    }
    let floor = double.floor();
    Some(whole.cmp(&(floor as i64)).then(if double > floor { Ordering::Less } else { Ordering::Equal }))
}

impl fmt::Display for Value {
    /// As JSON would write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value:?}"),
            Self::Text(text) => write!(f, "{}", serde_json::Value::from(&**text)),
            Self::List(items) => write!(f, "[… {} items]", items.len()),
            Self::Map(entries) => write!(f, "{{… {} keys}}", entries.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_and_decimal_numbers_are_compared_exactly() {
        let order = |whole, double| compare_numbers(&Value::Int(whole), &Value::Double(double));
        assert_eq!(order(1, 1.0), Some(Ordering::Equal));
        assert_eq!(order(1, 1.5), Some(Ordering::Less));
        assert_eq!(order(-1, -1.5), Some(Ordering::Greater));
        assert_eq!(order(i64::MAX, 9_223_372_036_854_775_807.0), Some(Ordering::Less));
        assert_eq!(order(i64::MIN, -9_223_372_036_854_775_808.0), Some(Ordering::Equal));
        assert_eq!(order(9_007_199_254_740_993, 9_007_199_254_740_992.0), Some(Ordering::Greater));
        assert_eq!(order(0, f64::INFINITY), Some(Ordering::Less));
        assert_eq!(order(0, f64::NAN), None);
    }
}
