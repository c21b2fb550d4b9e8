//! The published test vectors: another program that computes the same keys and digests has understood the format.
//!
//! `docs/formats/step-key.md` explains them. They never change; a new format gets files of its own.

use std::collections::BTreeMap;

use prunella_model::{
    ArtifactKind, BoundInput, Digest, Graph, KEY_FORMAT, KeyScope, PortName, RunId, StepId, Tree, TreeEntry, step_key,
    tree_digest,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct KeyFile {
    format: String,
    vectors: Vec<KeyVector>,
}

#[derive(Deserialize)]
struct KeyVector {
    name: String,
    graph: Graph,
    step: StepId,
    #[serde(default)]
    inputs: BTreeMap<PortName, Input>,
    run: RunId,
    driver: u64,
    key: String,
    /// Another vector, before this one, that differs in nothing that enters.
    same_as: Option<String>,
}

#[derive(Deserialize)]
struct Input {
    kind: ArtifactKind,
    base_name: String,
    digest: Digest,
}

#[derive(Deserialize)]
struct TreeFile {
    format: String,
    vectors: Vec<TreeVector>,
}

#[derive(Deserialize)]
struct TreeVector {
    name: String,
    entries: Vec<TreeEntry>,
    digest: Digest,
}

fn key_of(vector: &KeyVector) -> String {
    let step = vector.graph.pipeline.steps.get(vector.step.name.as_str()).expect("the step is in the graph");
    let inputs = vector.inputs.iter().map(|(name, input)| {
        let Input { kind, base_name, digest } = input;
        (name.clone(), BoundInput { kind: *kind, base_name: base_name.clone(), digest: *digest })
    });
    let scope = KeyScope { run: vector.run.clone(), driver: vector.driver };
    step_key(&vector.graph, &vector.step, step, &inputs.collect(), &scope).hex()
}

#[test]
fn step_keys_are_the_published_ones() {
    let file: KeyFile = serde_json::from_str(include_str!("vectors/step-key-1.json")).expect("the file of vectors");
    assert_eq!(file.format, KEY_FORMAT);
    assert!(file.vectors.len() >= 8);
    let wrong: Vec<(&str, String)> =
        file.vectors.iter().filter(|v| key_of(v) != v.key).map(|v| (&*v.name, key_of(v))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn keys_of_steps_that_begin_with_a_checkpoint_are_the_published_ones() {
    let file: KeyFile =
        serde_json::from_str(include_str!("vectors/step-key-1-warm.json")).expect("the file of vectors");
    assert_eq!(file.format, KEY_FORMAT);
    let wrong: Vec<(&str, String)> =
        file.vectors.iter().filter(|v| key_of(v) != v.key).map(|v| (&*v.name, key_of(v))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let keys: std::collections::BTreeSet<&str> = file.vectors.iter().map(|vector| &*vector.key).collect();
    assert_eq!(keys.len(), 4, "none is the key of another");
}

#[test]
fn keys_of_steps_that_refer_to_lists_are_the_published_ones() {
    let file: KeyFile =
        serde_json::from_str(include_str!("vectors/step-key-1-lists.json")).expect("the file of vectors");
    assert_eq!(file.format, KEY_FORMAT);
    let wrong: Vec<(&str, String)> =
        file.vectors.iter().filter(|v| key_of(v) != v.key).map(|v| (&*v.name, key_of(v))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_ne!(file.vectors[0].key, file.vectors[1].key);
}

#[test]
fn keys_of_steps_that_read_data_by_reference_are_the_published_ones_and_those_of_no_file() {
    let file: KeyFile =
        serde_json::from_str(include_str!("vectors/step-key-1-reference.json")).expect("the file of vectors");
    assert_eq!(file.format, KEY_FORMAT);
    let wrong: Vec<(&str, String)> =
        file.vectors.iter().filter(|v| key_of(v) != v.key).map(|v| (&*v.name, key_of(v))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_ne!(file.vectors[0].key, file.vectors[1].key);
}

#[test]
fn tree_digests_are_the_published_ones() {
    let file: TreeFile = serde_json::from_str(include_str!("vectors/tree-1.json")).expect("the file of vectors");
    assert_eq!(file.format, "prunella-tree-1");
    assert!(file.vectors.len() >= 5);
    for vector in file.vectors {
        let tree = Tree::new(vector.entries).expect("a tree");
        assert_eq!(tree_digest(&tree), vector.digest, "{}", vector.name);
    }
}

#[test]
fn two_vectors_are_the_same_only_where_they_say_so() {
    let file: KeyFile = serde_json::from_str(include_str!("vectors/step-key-1.json")).expect("the file of vectors");
    for (at, vector) in file.vectors.iter().enumerate() {
        for other in &file.vectors[..at] {
            let same = vector.same_as.as_ref() == Some(&other.name);
            assert_eq!(vector.key == other.key, same, "{} and {}", vector.name, other.name);
        }
    }
}
