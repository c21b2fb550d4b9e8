//! The keys of the reader and of the schema are the same, and the reader looks at each of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{FileKind, Files, Overrides, Source, section};

struct Nothing;

impl Files for Nothing {
    fn kind(&self, _: &str) -> Option<FileKind> {
        Some(FileKind::File)
    }

    fn glob_matches(&self, _: &str) -> usize {
        1
    }
}

/// The name of each section in the schema.
const NAMES: &[(&str, &str)] = &[
    ("", "a pipeline"),
    ("DataFull", "a data set"),
    ("Environment", "`environment`"),
    ("Defaults", "`defaults`"),
    ("Step", "a step"),
    ("HandlerFull", "a command at the end of the run"),
    ("OutputFull", "an output"),
    ("PublicationFull", "a publication"),
    ("Check", "`check`"),
    ("Checkpoint", "`checkpoint`"),
    ("CheckpointMarker", "`format`"),
    ("Resources", "`resources`"),
    ("Capacity", "`capacity`"),
    ("ClassPolicy", "a class of `retry`"),
    ("SecretFile", "a secret"),
];

#[test]
fn the_schema_and_the_reader_know_the_same_keys() {
    let schema = crate::json_schema();
    let keys_of = |definition: &Value| -> BTreeSet<String> {
        definition
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|keys| keys.keys().cloned())
            .collect()
    };
    let mut in_schema: BTreeMap<&str, BTreeSet<String>> = BTreeMap::from([("", keys_of(&schema))]);
    for (name, definition) in schema.get("$defs").and_then(Value::as_object).into_iter().flatten() {
        if definition.get("properties").is_some() {
            assert_eq!(definition.get("additionalProperties"), Some(&Value::Bool(false)), "{name} takes any key");
            in_schema.insert(name, keys_of(definition));
        }
    }
    let in_reader: BTreeMap<&str, BTreeSet<String>> = section::ALL
        .iter()
        .map(|section| {
            let (name, _) = NAMES.iter().find(|(_, name)| *name == section.name).expect("every section has a name");
            (*name, section.keys.iter().map(|key| (*key).to_owned()).collect())
        })
        .collect();
    assert_eq!(in_schema, in_reader);
}

#[test]
fn a_value_that_no_key_can_have_is_noted_at_every_key() {
    // Where each section stands; `@` is one key with a list of lists of lists, which no key of the format can have.
    let places = [
        ("a pipeline", "@\n"),
        ("a data set", "data: { d: { @ } }\n"),
        ("`environment`", "environment: { @ }\n"),
        ("`defaults`", "defaults: { @ }\n"),
        ("a step", "steps: { s: { @ } }\n"),
        ("a command at the end of the run", "on_exit: { @ }\n"),
        ("an output", "steps: { s: { outputs: { o: { @ } } } }\n"),
        ("a publication", "steps: { s: { outputs: { o: o }, publish: { o: { @ } } } }\n"),
        ("`check`", "steps: { s: { outputs: { o: { path: o/, check: { @ } } } } }\n"),
        ("`checkpoint`", "steps: { s: { checkpoint: { @ } } }\n"),
        ("`format`", "steps: { s: { checkpoint: { format: { @ } } } }\n"),
        ("`resources`", "steps: { s: { resources: { @ } } }\n"),
        ("`capacity`", "steps: { s: { capacity: { @ } } }\n"),
        ("a class of `retry`", "steps: { s: { retry: { error: { @ } } } }\n"),
        ("a secret", "steps: { s: { secrets: { A: { @ } } } }\n"),
    ];
    for section in section::ALL {
        let (_, place) = places.iter().find(|(name, _)| *name == section.name).expect("every section has a place");
        for key in section.keys {
            let text = place.replace('@', &format!("{key}: [[[]]]"));
            let value = text.find("[[[").expect("it was just written");
            let source = Source { name: String::new(), text };
            let diagnostics = crate::read(&source, &Overrides::default(), &Nothing).expect_err("never valid");
            let inside = |span: crate::SourceSpan| span.start >= value;
            let noted = diagnostics.iter().any(|diagnostic| diagnostic.span.is_some_and(inside));
            assert!(noted, "{}: `{key}` is not read: {diagnostics:?}", section.name);
        }
    }
}
