//! Every record on the page about the store's format is read, and says the same when it is written again.
//!
//! The examples of `docs/formats/store.md` are the golden records: as long as they stand there, old stores stay readable.

use std::collections::BTreeMap;

use prunella_store::records::{
    AliveRecord, BindingRecord, BoundRecord, CheckpointRecord, CondemnedRecord, DamagedRecord, DriverRecord,
    EffectDoerRecord, EffectDoneRecord, EffectFailedRecord, EffectRecord, EndRecord, GcDoneRecord, GraphRecord,
    NamesRecord, OrderRecord, PinRecord, RetiredRecord, StartRecord, StopRecord, TreeManifest, UsesRecord,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/formats/store.md");

/// Reads one kind of record and writes it again.
type Through = fn(Value) -> Result<Value, serde_json::Error>;

fn through<T: Serialize + DeserializeOwned>(example: Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(example)?)
}

/// Every kind of record; the number is how many examples there are at least.
const KINDS: [(&str, usize, Through); 22] = [
    ("start", 1, through::<StartRecord>),
    ("end", 2, through::<EndRecord>),
    ("alive", 1, through::<AliveRecord>),
    ("damaged", 1, through::<DamagedRecord>),
    ("checkpoint", 1, through::<CheckpointRecord>),
    ("tree", 2, through::<TreeManifest>),
    ("pin", 1, through::<PinRecord>),
    ("uses", 1, through::<UsesRecord>),
    ("graph", 1, through::<GraphRecord>),
    ("driver", 1, through::<DriverRecord>),
    ("binding", 1, through::<BindingRecord>),
    ("bound", 1, through::<BoundRecord>),
    ("stop", 1, through::<StopRecord>),
    ("order", 1, through::<OrderRecord>),
    ("effect", 1, through::<EffectRecord>),
    ("effect-doer", 1, through::<EffectDoerRecord>),
    ("effect-done", 1, through::<EffectDoneRecord>),
    ("effect-failed", 1, through::<EffectFailedRecord>),
    ("names", 1, through::<NamesRecord>),
    ("retired", 1, through::<RetiredRecord>),
    ("condemned", 1, through::<CondemnedRecord>),
    ("done", 1, through::<GcDoneRecord>),
];

/// Returns the examples of the page by kind.
fn examples() -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for block in PAGE.split("```json ").skip(1) {
        let (kind, rest) = block.split_once('\n').expect("a block begins with its kind");
        let text = rest.split("```").next().expect("a block ends");
        let example = serde_json::from_str(text).unwrap_or_else(|error| panic!("{kind}: {error}\n{text}"));
        found.entry(kind.trim().to_owned()).or_default().push(example);
    }
    found
}

/// Returns every field of `before` that `after` lacks or says differently.
fn lost(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (name, value) in before {
                lost(&format!("{path}.{name}"), value, after.get(name).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (at, (before, after)) in before.iter().zip(after).enumerate() {
                lost(&format!("{path}[{at}]"), before, after, found);
            }
        }
        _ if before == after => {}
        _ => found.push(format!("{path}: {before} became {after}")),
    }
}

#[test]
fn every_example_of_the_page_is_read_and_loses_nothing() {
    let examples = examples();
    for (kind, least, through) in KINDS {
        let there = examples.get(kind).map(Vec::as_slice).unwrap_or_default();
        assert!(there.len() >= least, "the page has {} examples of `{kind}`", there.len());
        for example in there {
            let again = through(example.clone()).unwrap_or_else(|error| panic!("{kind}: {error}"));
            let mut found = Vec::new();
            lost(kind, example, &again, &mut found);
            assert!(found.is_empty(), "{found:#?}");
        }
    }
    let unknown: Vec<_> = examples.keys().filter(|kind| !KINDS.iter().any(|(known, ..)| known == kind)).collect();
    assert!(unknown.is_empty(), "no test reads {unknown:?}");
}

#[test]
fn an_example_shows_every_field_that_is_written() {
    // What is written and not shown would go unnoticed when it changes.
    for (kind, _, through) in KINDS {
        for example in &examples()[kind] {
            let again = through(example.clone()).unwrap_or_else(|error| panic!("{kind}: {error}"));
            let mut found = Vec::new();
            lost(kind, &again, example, &mut found);
            assert!(found.is_empty(), "{found:#?}");
        }
    }
}

#[test]
fn fields_that_are_not_known_are_passed_over() {
    let examples = examples();
    for (kind, _, through) in KINDS {
        let mut example = examples[kind][0].clone();
        let plain = through(example.clone()).expect("it is read");
        example.as_object_mut().expect("an object").insert("later".to_owned(), Value::from(1));
        assert_eq!(through(example).expect("it is still read"), plain, "{kind}");
    }
}
