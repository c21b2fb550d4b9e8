//! Commits of other stores: copied with every byte compared, or not at all; nothing is written there, and nothing here needs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prunella_journal::{Event, RunStatus};
use prunella_model::{Graph, RunId};
use prunella_objects::{Created, Memory, ObjectKey, Objects};
use prunella_store::{OtherStore, Store};
use serde_json::Value;

use crate::scene::*;

crate::tests![
    what_another_store_has_is_copied_and_needs_it_no_more,
    ones_own_store_comes_first_and_others_in_their_order,
    bytes_that_are_not_what_the_commit_says_are_not_taken,
    a_commit_that_says_other_than_the_step_declares_is_not_taken,
    what_is_larger_than_the_step_allows_is_not_even_fetched,
    what_is_retired_or_damaged_there_is_passed_over,
    what_a_collector_deletes_in_the_middle_is_not_taken,
    a_record_that_nobody_understands_hides_no_other,
    a_lost_result_is_copied_anew,
];

/// Random bytes: only a copy has the same.
const STEPS: &str = "make:
  run: head -c 300000 /dev/urandom > big.bin; mkdir tree; head -c 99 /dev/urandom > tree/a; head -c 9 /dev/urandom > tree/b
  outputs: { big: big.bin, tree: tree/ }
read:
  run: cat inputs/big/big.bin inputs/tree/tree/a > out.bin; head -c 9 /dev/urandom >> out.bin
  inputs: { big: make.big, tree: make.tree }
  outputs: { out: out.bin }
";

/// Everything that a store holds.
type Held = BTreeMap<String, Bytes>;

async fn held(store: &Store) -> Held {
    let mut held = Held::new();
    for listed in store.objects().list("", None, usize::MAX).await.unwrap() {
        let bytes = store.objects().get(&listed.key).await.unwrap().unwrap();
        held.insert(listed.key.as_str().to_owned(), bytes);
    }
    held
}

/// A store of somebody else with these objects.
async fn other(scene: &Scene, name: &str, held: &Held) -> OtherStore {
    let memory = Memory::new(&scene.sys);
    for (key, bytes) in held {
        let created = memory.create(&ObjectKey::new(key).unwrap(), bytes.clone()).await.unwrap();
        assert_eq!(created, Created::New);
    }
    OtherStore::new(name.into(), Store::new(Arc::new(memory), scene.sys.clone()))
}

/// A run of these steps somewhere else, and all that it left there.
async fn made(graph: &Graph) -> (RunId, Held, Vec<u8>) {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let outcome = engine.complete("theirs", graph).await;
    assert_eq!(outcome.status, RunStatus::Succeeded);
    let out = engine.result(&outcome.run, "read", "out").await.unwrap();
    let held = held(&engine.host.store).await;
    (outcome.run, held, out)
}

fn changed(held: &Held, which: impl Fn(&str) -> bool, change: impl Fn(&mut Value)) -> Held {
    let changed = |(key, bytes): (&String, &Bytes)| {
        if !which(key) {
            return (key.clone(), bytes.clone());
        }
        let mut json: Value = serde_json::from_slice(bytes).unwrap();
        change(&mut json);
        (key.clone(), Bytes::from(serde_json::to_vec(&json).unwrap()))
    };
    held.iter().map(changed).collect()
}

fn is_end(key: &str) -> bool {
    key.starts_with("attempts/") && key.ends_with(".end.json")
}

/// The stores from which steps were copied, in order.
fn copied(eye: &Eye) -> Vec<String> {
    let from = |event: &Event| match event {
        Event::StepReused { copied_from, .. } => copied_from.clone(),
        _ => None,
    };
    eye.events().iter().filter_map(from).collect()
}

fn programs(eye: &Eye) -> usize {
    eye.events().iter().filter(|event| matches!(event, Event::ProcessStarted { .. })).count()
}

async fn what_another_store_has_is_copied_and_needs_it_no_more() {
    let scene = Scene::new();
    let graph = scene.graph(STEPS);
    let (_, theirs, out) = made(&graph).await;
    let other = other(&scene, "s3://theirs", &theirs).await;
    let engine = scene.engine_on(scene.open().reading_from(vec![other.clone()])).await;
    let outcome = engine.complete("ours", &graph).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(copied(&engine.eye), ["s3://theirs", "s3://theirs"]);
    assert_eq!(programs(&engine.eye), 0);
    assert_eq!(engine.result(&outcome.run, "read", "out").await.unwrap(), out);
    assert_eq!(held(other.store()).await, theirs, "nothing was written there");
    engine.check(&outcome.run).await;
    // Its lineage is of this store: inputs name slots that are here.
    let done = outcome.state.done(outcome.plan.indices().nth(1).unwrap()).unwrap();
    let committed = engine.host.store.committed(&done.slot).await.unwrap().unwrap();
    let from = committed.provenance.copied_from.clone().unwrap();
    assert_eq!((from.store.as_str(), from.slot.key), ("s3://theirs", done.slot.key));
    for input in committed.provenance.inputs.values() {
        let here = engine.host.store.committed(&input.slot.unwrap()).await.unwrap();
        assert!(here.is_some_and(|here| here.artifacts.values().any(|stored| stored.artifact == input.artifact)));
    }
    // Without that store: everything is here.
    let alone = scene.engine().await;
    let again = alone.complete("again", &graph).await;
    assert_eq!((programs(&alone.eye), copied(&alone.eye).len()), (0, 0));
    assert_eq!(alone.result(&again.run, "read", "out").await.unwrap(), out);
}

async fn ones_own_store_comes_first_and_others_in_their_order() {
    let scene = Scene::new();
    let graph = scene.graph(STEPS);
    let ((_, first, out), (_, second, _)) = (made(&graph).await, made(&graph).await);
    let others = vec![other(&scene, "first", &first).await, other(&scene, "second", &second).await];
    let engine = scene.engine_on(scene.open().reading_from(others)).await;
    let outcome = engine.complete("ours", &graph).await;
    assert_eq!(engine.result(&outcome.run, "read", "out").await.unwrap(), out);
    assert_eq!(copied(&engine.eye), ["first", "first"]);
    // What is here is not looked for elsewhere.
    let other = other(&scene, "second", &second).await;
    let engine = scene.engine_on(scene.open().reading_from(vec![other])).await;
    let outcome = engine.complete("again", &graph).await;
    assert_eq!(copied(&engine.eye), Vec::<String>::new());
    assert_eq!(engine.result(&outcome.run, "read", "out").await.unwrap(), out);
}

/// Runs the steps with another store that is not as it should be; returns what was said of it.
async fn not_taken(graph: &Graph, held: &Held) -> Vec<String> {
    let scene = Scene::new();
    let other = other(&scene, "theirs", held).await;
    let engine = scene.engine_on(scene.open().reading_from(vec![other.clone()])).await;
    let outcome = engine.complete("ours", graph).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!((copied(&engine.eye).len(), programs(&engine.eye)), (0, 2), "the steps ran");
    engine.check(&outcome.run).await;
    let ours = self::held(&engine.host.store).await;
    let starts = ours.keys().filter(|key| key.starts_with("attempts/") && key.ends_with(".start.json")).count();
    assert_eq!(starts, 2, "in the slots into which nothing was copied");
    let now = self::held(other.store()).await;
    assert_eq!(&now, held, "nothing was written there");
    engine.eye.not_copied()
}

async fn bytes_that_are_not_what_the_commit_says_are_not_taken() {
    let graph = Scene::new().graph(STEPS);
    let (_, theirs, _) = made(&graph).await;
    for length in [false, true] {
        let wrong = theirs.iter().map(|(key, bytes)| {
            let mut bytes = bytes.to_vec();
            if key.starts_with("data/") {
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                if length {
                    bytes.pop();
                }
            }
            (key.clone(), Bytes::from(bytes))
        });
        let said = not_taken(&graph, &wrong.collect()).await;
        assert!(!said.is_empty() && said.iter().all(|why| why.contains("data/")), "{said:?}");
    }
    // A commit that gives another digest than its bytes have.
    let lies = changed(&theirs, is_end, |end| {
        for artifact in end["committed"]["artifacts"].as_object_mut().unwrap().values_mut() {
            artifact["digest"] = format!("b3:{}", "07".repeat(32)).into();
        }
    });
    assert!(!not_taken(&graph, &lies).await.is_empty());
}

async fn a_commit_that_says_other_than_the_step_declares_is_not_taken() {
    let graph = Scene::new().graph(STEPS);
    let (_, theirs, _) = made(&graph).await;
    let more = changed(&theirs, is_end, |end| {
        let artifacts = end["committed"]["artifacts"].as_object_mut().unwrap();
        let one = artifacts.values().next().unwrap().clone();
        artifacts.insert("more".into(), one);
    });
    let said = not_taken(&graph, &more).await;
    assert!(said.iter().any(|why| why.contains("not those that the step declares")), "{said:?}");
    let another = changed(&theirs, is_end, |end| {
        let artifacts = end["committed"]["artifacts"].as_object_mut().unwrap();
        if let Some(tree) = artifacts.get("tree").cloned() {
            artifacts.insert("big".into(), tree);
        } else {
            *artifacts = serde_json::Map::new();
        }
    });
    let said = not_taken(&graph, &another).await;
    assert!(said.iter().any(|why| why.contains("another kind")), "{said:?}");
}

async fn what_is_larger_than_the_step_allows_is_not_even_fetched() {
    let graph =
        Scene::new().graph(&STEPS.replace("big: big.bin", "big: { path: big.bin, check: { max_size: 300000B } }"));
    let (_, theirs, _) = made(&graph).await;
    let larger = changed(&theirs, is_end, |end| {
        for artifact in end["committed"]["artifacts"].as_object_mut().unwrap().values_mut() {
            artifact["size_bytes"] = (1_u64 << 50).into();
        }
    });
    let said = not_taken(&graph, &larger).await;
    assert!(said.iter().any(|why| why.contains("`big` is larger than the step declares")), "{said:?}");
}

async fn what_is_retired_or_damaged_there_is_passed_over() {
    let graph = Scene::new().graph(STEPS);
    let (_, theirs, _) = made(&graph).await;
    for mark in ["retired", "damaged"] {
        let mut marked = theirs.clone();
        for key in theirs.keys().filter(|key| is_end(key)) {
            marked.insert(key.replace(".end.json", &format!(".{mark}.json")), Bytes::from_static(b"{}"));
        }
        assert_eq!(not_taken(&graph, &marked).await, Vec::<String>::new(), "{mark}: nothing to say of it");
    }
}

async fn what_a_collector_deletes_in_the_middle_is_not_taken() {
    let graph = Scene::new().graph(STEPS);
    let (_, theirs, _) = made(&graph).await;
    // Between the look and the copy: the records are there, the objects are not.
    let records = theirs.iter().filter(|(key, _)| !key.starts_with("data/"));
    let said = not_taken(&graph, &records.map(|(key, bytes)| (key.clone(), bytes.clone())).collect()).await;
    assert!(!said.is_empty());
}

async fn a_record_that_nobody_understands_hides_no_other() {
    let graph = Scene::new().graph(STEPS);
    let (_, theirs, out) = made(&graph).await;
    let odd: Held = theirs
        .iter()
        .map(|(key, bytes)| {
            (key.clone(), if is_end(key) { Bytes::from_static(b"{\"format\":1}") } else { bytes.clone() })
        })
        .collect();
    let said = not_taken(&graph, &odd).await;
    assert!(!said.is_empty());
    // The next store has it.
    let scene = Scene::new();
    let others = vec![other(&scene, "odd", &odd).await, other(&scene, "good", &theirs).await];
    let engine = scene.engine_on(scene.open().reading_from(others)).await;
    let outcome = engine.complete("ours", &graph).await;
    assert_eq!(copied(&engine.eye), ["good", "good"]);
    assert_eq!(engine.result(&outcome.run, "read", "out").await.unwrap(), out);
}

async fn a_lost_result_is_copied_anew() {
    let scene = Scene::new();
    let graph = scene.graph(STEPS);
    let (_, theirs, out) = made(&graph).await;
    let other = other(&scene, "theirs", &theirs).await;
    let engine = scene.engine_on(scene.open().reading_from(vec![other])).await;
    let first = engine.complete("first", &graph).await;
    let slot = first.state.done(first.plan.indices().nth(1).unwrap()).unwrap().slot;
    engine.host.store.mark_damaged(&slot, "", "by a test").await.unwrap();
    let second = engine.complete("second", &graph).await;
    assert_eq!(copied(&engine.eye), ["theirs", "theirs", "theirs"]);
    assert_eq!(programs(&engine.eye), 0);
    assert_eq!(engine.result(&second.run, "read", "out").await.unwrap(), out);
}
