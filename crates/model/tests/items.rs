//! Lists that steps make, against a naive evaluator: however they are written, the items are those values, each once.

use proptest::prelude::*;
use prunella_model::{Item, read_items};

/// A value of a list, or one within it.
#[derive(Debug, Clone)]
enum Value {
    Word(&'static str),
    Number(i16),
    Text(String),
    List(Vec<Value>),
    /// Names in any order, no name twice.
    Object(Vec<(String, Value)>),
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["true", "false", "0.10", "1e5", "-0"]).prop_map(Value::Word),
        (-2i16..3).prop_map(Value::Number),
        "[a-c\"\\\\é\n ]{0,3}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::List),
            prop::collection::btree_map("[a-d]{1,2}", inner, 0..3)
                .prop_map(|fields| fields.into_iter().collect::<Vec<_>>())
                .prop_shuffle()
                .prop_map(Value::Object),
        ]
    })
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

/// The text of a value as some program writes it: spaces where they may be, names in their order, any escapes.
fn written(value: &Value, space: &str) -> String {
    let joined = |parts: Vec<String>| parts.join(&format!("{space},{space}"));
    match value {
        Value::Word(word) => (*word).to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) if space.is_empty() => quoted(text),
        Value::Text(text) => {
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
            format!("\"{escaped}\"")
        }
        Value::List(values) => {
            format!("[{space}{}{space}]", joined(values.iter().map(|v| written(v, space)).collect()))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, v)| format!("{}{space}:{space}{}", quoted(name), written(v, space)));
            format!("{{{space}{}{space}}}", joined(fields.collect()))
        }
    }
}

/// The canonical text: no space, names sorted.
fn canonical(value: &Value) -> String {
    match value {
        Value::List(values) => format!("[{}]", values.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let mut fields = fields.clone();
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{}:{}", quoted(name), canonical(value))).collect();
            format!("{{{}}}", fields.join(","))
        }
        plain => written(plain, ""),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_list_that_a_step_made_gives_its_values_each_once(
        values in prop::collection::vec(value(), 0..12),
        space in prop::sample::select(vec!["", " ", "\n\t"]),
    ) {
        let text = written(&Value::List(values.clone()), space);
        let found = read_items(&text);
        if values.iter().any(|value| matches!(value, Value::List(_))) {
            prop_assert!(found.is_err(), "a list is no item: {}", text);
            return Ok(());
        }
        let mut expected: Vec<String> = Vec::new();
        for value in &values {
            let item = canonical(value);
            if !expected.contains(&item) {
                expected.push(item);
            }
        }
        let items = found.map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        let items: Vec<&str> = items.iter().map(Item::as_str).collect();
        prop_assert_eq!(items, expected, "{}", text);
    }

    #[test]
    fn no_two_items_have_one_label(one in value(), other in value()) {
        let item = |value: &Value| Item::from_canonical(&canonical(value));
        let (one, other) = (item(&one), item(&other));
        // Also where case does not count.
        let same = one.label().to_lowercase() == other.label().to_lowercase();
        prop_assert_eq!(same, one == other, "{:?} {:?}", one, other);
    }
}
