//! The file format as types, for the published JSON Schema only: reading is done by hand to report all mistakes.

// Descriptions are shown by editors, so they speak to users.
#[expect(dead_code, reason = "only their schema is used")]
mod pipeline;
#[expect(dead_code, reason = "only their schema is used")]
mod policy;

use serde_json::Value;

/// Returns the JSON Schema of a pipeline file, for editors.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(pipeline::Pipeline).to_value();
    without_null(&mut schema);
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".to_owned(), "Prunella pipeline, format v1".into());
    }
    schema
}

/// Removes `null` everywhere: a key may be left out, but not left empty.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = &mut types[..] {
                    let only = only.take();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
                if let [Value::Object(only)] = &mut choices[..] {
                    let only = std::mem::take(only);
                    object.remove("anyOf");
                    object.extend(only);
                }
            }
            object.values_mut().for_each(without_null);
        }
        Value::Array(values) => values.iter_mut().for_each(without_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
