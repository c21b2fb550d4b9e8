//! The published JSON Schema and the reference for users say what the reader does.

mod support;

use std::{collections::BTreeSet, path::Path};

use prunella_manifest::{Overrides, Source, json_schema, read, render};
use serde_json::Value;
use support::{Listed, matches_golden};

fn docs(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

#[test]
fn the_published_schema_is_current() {
    let text = format!("{}\n", serde_json::to_string_pretty(&json_schema()).expect("JSON"));
    matches_golden(&docs("pipeline.schema.json"), &text).unwrap_or_else(|difference| panic!("{difference}"));
}

/// Returns the value of every key of this name, anywhere.
fn find<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get(key));
            object.values().for_each(|value| find(value, key, found));
        }
        Value::Array(values) => values.iter().for_each(|value| find(value, key, found)),
        _ => {}
    }
}

#[test]
fn no_key_may_be_left_empty() {
    let schema = json_schema();
    let mut types = Vec::new();
    find(&schema, "type", &mut types);
    assert!(types.len() > 50);
    assert!(types.iter().all(|name| **name != "null" && !name.is_array()), "{types:?}");
    let mut properties = Vec::new();
    find(&schema, "properties", &mut properties);
    for property in properties.iter().flat_map(|properties| properties.as_object().into_iter().flatten()) {
        assert!(property.1.get("description").is_some() || property.1.get("$ref").is_some(), "{property:?}");
    }
}

#[test]
fn every_key_stands_in_the_reference() {
    let reference = std::fs::read_to_string(docs("pipeline.md")).expect("docs/pipeline.md");
    let schema = json_schema();
    let mut properties = Vec::new();
    find(&schema, "properties", &mut properties);
    let keys: BTreeSet<&String> =
        properties.iter().filter_map(|keys| keys.as_object()).flat_map(|keys| keys.keys()).collect();
    assert!(keys.len() > 35, "{keys:?}");
    let missing: Vec<_> = keys.iter().filter(|key| !reference.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/pipeline.md says nothing of {missing:?}");
}

#[test]
fn every_example_in_the_reference_is_a_pipeline() {
    let reference = std::fs::read_to_string(docs("pipeline.md")).expect("docs/pipeline.md");
    let mut examples = 0;
    for (number, block) in reference.split("```yaml\n").skip(1).enumerate() {
        let example = block.split("```").next().unwrap_or_default();
        let text = complete(example);
        let source = Source { name: format!("example {}", number + 1), text };
        match read(&source, &Overrides::default(), &Listed) {
            Ok(_) => examples += 1,
            Err(diagnostics) => panic!("{}\n{}", source.text, render(&source, &diagnostics, false, 100)),
        }
    }
    assert!(examples >= 10, "{examples} examples");
}

/// Adds what an excerpt leaves out: a head, and the steps and data that its steps refer to.
fn complete(example: &str) -> String {
    if example.contains("prunella:") {
        return example.to_owned();
    }
    let mut text = "prunella: v1\nname: example\n".to_owned();
    let mut rest = example.to_owned();
    if !example.contains("params:") && example.contains("params.") {
        text.push_str("params: { epochs: 30, seed: 7 }\n");
    }
    if !example.contains("data:") && example.contains("data.") {
        text.push_str("data: { digits: data/digits.csv.gz }\n");
    }
    let other = "  split: { run: ./split, outputs: { train: train.npz, test: test.npz } }\n";
    if let Some(at) = example.find("steps:\n") {
        if !example.contains("  split:") {
            rest.insert_str(at + "steps:\n".len(), other);
        }
    } else {
        rest.push_str("steps:\n");
        rest.push_str(other);
    }
    text + &rest
}

/// Returns the codes of all mistakes that the files of a directory find; nothing of the directories in it.
fn codes_of(sources: &str) -> BTreeSet<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(sources);
    let mut codes = BTreeSet::new();
    for entry in std::fs::read_dir(sources).expect("the sources") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(path).expect("text");
        // The code is the first text after each of these.
        for call in [
            ".error(",
            ".warning(",
            ".error_nowhere(",
            "refuse(\n",
            "code: ",
            "refuse(",
            "(\"bad-path\"",
            "Diagnostic::new(",
        ] {
            for rest in text.split(call).skip(1) {
                let literal = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                codes.extend(literal.map(str::to_owned));
            }
        }
    }
    codes
}

#[test]
fn every_code_stands_in_the_reference() {
    for (sources, page, least) in [("src", "pipeline.md", 40), ("src/project", "configuration.md", 10)] {
        let reference = std::fs::read_to_string(docs(page)).expect(page);
        let codes = codes_of(sources);
        assert!(codes.len() > least, "{codes:?}");
        let missing: Vec<_> = codes.iter().filter(|code| !reference.contains(&format!("`{code}`"))).collect();
        assert!(missing.is_empty(), "docs/{page} says nothing of {missing:?}");
    }
}

#[test]
fn the_examples_are_pipelines() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut read_examples = 0;
    for entry in std::fs::read_dir(examples).expect("examples/") {
        let path = entry.expect("readable").path().join("pipeline.yaml");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let source = Source { name: path.display().to_string(), text };
        if let Err(diagnostics) = read(&source, &Overrides::default(), &Listed) {
            panic!("{}", render(&source, &diagnostics, false, 100));
        }
        read_examples += 1;
    }
    assert!(read_examples >= 2, "{read_examples} examples");
}
