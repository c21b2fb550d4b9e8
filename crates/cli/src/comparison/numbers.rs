//! The numbers in a JSON value, by where they stand.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

/// Returns every number of the value by its path: `loss`, `folds[2].accuracy`; a value that is a number itself is `.`.
pub fn numbers(value: &Value) -> BTreeMap<String, Number> {
    let mut found = BTreeMap::new();
    collect(value, String::new(), &mut found);
    found
}

fn collect(value: &Value, path: String, found: &mut BTreeMap<String, Number>) {
    match value {
        Value::Number(number) => {
            let path = if path.is_empty() { ".".to_owned() } else { path };
            found.insert(path, number.clone());
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                collect(item, format!("{path}[{at}]"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(field, path, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_where_they_stand() {
        let value = serde_json::json!({ "loss": 0.5, "name": "x", "folds": [{ "ok": true, "n": 3 }, 4], "none": null });
        let found: Vec<(String, String)> =
            numbers(&value).into_iter().map(|(path, number)| (path, number.to_string())).collect();
        let expected = [("folds[0].n", "3"), ("folds[1]", "4"), ("loss", "0.5")];
        assert_eq!(found, expected.map(|(path, number)| (path.to_owned(), number.to_owned())));
        assert_eq!(numbers(&serde_json::json!(7)).into_keys().collect::<Vec<_>>(), ["."]);
    }
}
