//! Lineage: from every committed byte of real runs one walks to pinned data, by records alone.

use std::{collections::BTreeSet, sync::Arc};

use prunella_chaos::{Broken, Lineage, Walked};
use prunella_environment::PythonLock;
use prunella_model::Digest;
use prunella_objects::{Created, Embedded, Memory, Objects};
use prunella_store::Store;
use prunella_sys::Sys;
use serde_json::{Value, json};

use crate::home::Home;

const PIPELINE: &str = r#"prunella: v1
name: walk
params: { seed: 7, title: numbers, unused: 1 }
data: { raw: raw.txt, folder: { path: folder/ }, lake: { path: lake/, access: mount } }
code: ["*.sh"]
environment: { python: requirements.txt }
steps:
  split:
    run: python -c "import shutil; shutil.copy('inputs/raw/raw.txt', 'train.txt')"; echo '{"n":3}' >sizes.json
    inputs: { raw: data.raw, lake: data.lake }
    outputs: { train: train.txt, sizes: sizes.json }
  train:
    for_each: { fold: [0, 1] }
    run: sh train.sh ${{ item.fold }} ${{ params.seed }}
    inputs: { train: split.train, more: data.folder }
    outputs: { model: model/ }
    env: { OMP_NUM_THREADS: "1" }
    checkpoint: files
  evaluate:
    for_each: train
    run: cat inputs/model/model/deep/state >metrics.txt
    inputs: { model: train.model }
    outputs: { metrics: metrics.txt }
  report:
    when: split.sizes.n > 2
    run: ["sh", "report.sh", "${{ params.title }}"]
    inputs: { metrics: evaluate.metrics, train: split.train }
    outputs: { page: page.html }
    publish: { page: out/page.html }
on_exit: echo the end
"#;

/// Writes a checkpoint, is killed once, and goes on from there.
const TRAIN: &str = "c=$PRUNELLA_CHECKPOINT_DIR
if [ $PRUNELLA_RESTORED = 0 ]; then echo half $1 >$c/.h; mv $c/.h $c/half; kill -9 $$; fi
mkdir -p model/deep
cat $c/half inputs/train/train.txt inputs/more/folder/one >model/deep/state
echo $2 >model/seed
";

/// A project that has run twice: the second time only its last step is new.
fn ran_twice() -> Home {
    let home = Home::with(PIPELINE);
    home.write("requirements.txt", "");
    home.write("raw.txt", "1 2 3\n");
    home.write("folder/one", "one\n");
    home.write("lake/deep/water", "blue\n");
    home.write("train.sh", TRAIN);
    home.write("report.sh", "echo $1 >page.html; cat inputs/metrics/metrics/index.json >>page.html\n");
    home.run(&["pin"]).exits(0);
    home.run(&["run"]).exits(0);
    home.write("pipeline.yaml", &PIPELINE.replace("title: numbers", "title: digits"));
    home.run(&["run"]).exits(0);
    home
}

/// Returns what a walk from every commit of a project meets.
pub fn walked(home: &Home) -> Walked {
    wait(walk(store_of(home))).unwrap_or_else(|broken| panic!("{broken:?}"))
}

fn store_of(home: &Home) -> Arc<dyn Objects> {
    Arc::new(Embedded::open_read_only(&Sys::real(), &home.dir.join(".prunella")).expect("a store"))
}

async fn walk(objects: Arc<dyn Objects>) -> Result<Walked, Broken> {
    let mut lineage = Lineage::default();
    lineage.walk_all(&Store::new(objects, Sys::real())).await?;
    Ok(lineage.walked().clone())
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(future)
}

#[test]
fn i7_lineage_from_every_committed_byte_one_walks_by_records_alone_to_pinned_data() {
    let home = ran_twice();
    let walked = wait(walk(store_of(&home))).unwrap_or_else(|broken| panic!("{broken:?}"));

    // The walk ends at what the lock file pins, and nowhere else.
    let lock: Value = serde_json::from_str(&home.read("prunella.lock")).expect("JSON");
    let pinned: Vec<(String, String)> = lock["data"]
        .as_object()
        .expect("an object")
        .iter()
        .map(|(name, pin)| (name.clone(), pin["digest"].as_str().expect("a digest").to_owned()))
        .collect();
    let ended: Vec<(String, String)> =
        walked.data.iter().map(|(name, digest)| (name.clone(), digest.to_string())).collect();
    assert_eq!((ended.len(), &ended), (3, &pinned), "data that is pinned");
    let python = PythonLock::from_json(&lock["python"]).expect("a lock");
    assert_eq!(walked.environments, BTreeSet::from([python.digest()]));
    assert_eq!((walked.code.len(), walked.runs.len()), (1, 2), "of one code in two runs");
    assert_eq!(walked.params.keys().map(String::as_str).collect::<Vec<_>>(), ["seed", "title"]);
    assert_eq!(walked.params["seed"], "Integer(7)");
    assert_eq!((walked.restored, walked.closed), (2, 2), "both trainings went on from a checkpoint: {walked:?}");
    assert_eq!(walked.folders, 2, "each report read a folder of all items");

    // What stands for each step of the second run, reused or not, is among it; so is what lies outside.
    for step in ["split", "train:fold=0", "train:fold=1", "evaluate:fold=0", "evaluate:fold=1", "report"] {
        let explained = home.json(&["explain", step]);
        let (key, epoch) = (explained["key"].as_str().expect("a key"), &explained["commit"]["epoch"]);
        let there = walked.commits.keys().any(|slot| slot.key.hex() == key && *epoch == slot.epoch.0);
        assert!(there, "{step}: {explained}");
    }
    let published = Digest::of(home.read("out/page.html").as_bytes());
    let maker = walked.outputs.get(&published).map(|slot| walked.commits[slot].to_string());
    assert_eq!(maker.as_deref(), Some("report"));
}

#[test]
fn i7_lineage_what_was_copied_from_another_store_is_traced_in_ones_own() {
    let them = ran_twice();
    let us = Home::with(&them.read("pipeline.yaml"));
    for file in
        ["requirements.txt", "raw.txt", "folder/one", "lake/deep/water", "train.sh", "report.sh", "prunella.lock"]
    {
        us.write(file, &them.read(file));
    }
    let store = them.dir.join(".prunella").display().to_string();
    let ran = us.run(&["run", "--read-from", &store]).exits(0);
    assert!(!ran.out.contains("attempt 1 begins") || ran.out.contains("on_exit"), "{}", ran.out);
    std::fs::remove_dir_all(them.dir.join(".prunella")).expect("nobody needs it");
    let walked = walked(&us);
    assert_eq!((walked.data.len(), walked.code.len(), walked.runs.len()), (3, 1, 1), "{walked:?}");
    for step in ["split", "train:fold=0", "train:fold=1", "evaluate:fold=0", "evaluate:fold=1", "report"] {
        let explained = us.json(&["explain", step]);
        let from = &explained["commit"]["provenance"]["copied_from"]["store"];
        assert_eq!(from.as_str(), Some(store.as_str()), "{step}: {explained}");
    }
}

/// A change to what a commit says of where it comes from; answers whether there was something to change.
type Change = fn(&mut Value) -> bool;

fn drop_field(of: &mut Value, name: &str) -> bool {
    of.as_object_mut().is_some_and(|fields| fields.remove(name).is_some())
}

fn put(of: &mut Value, name: &str, value: impl Into<Value>) -> bool {
    of.get(name).is_some() && {
        of[name] = value.into();
        true
    }
}

#[test]
fn i7_lineage_a_record_that_says_less_or_something_else_ends_the_walk() {
    let home = ran_twice();
    let whole = store_of(&home);
    let changes: &[(&str, Change)] = &[
        ("an input is left out", |from| drop_field(&mut from["inputs"], "metrics")),
        ("all inputs are left out", |from| drop_field(from, "inputs")),
        ("an input comes from nowhere", |from| drop_field(&mut from["inputs"]["model"], "slot")),
        ("an input comes from an attempt that made nothing", |from| {
            from["inputs"]["model"]["slot"]["epoch"] == 2 && put(&mut from["inputs"]["model"]["slot"], "epoch", 1)
        }),
        ("an item of a folder is left out", |from| {
            from["inputs"]["metrics"]["items"].as_array_mut().is_some_and(|items| items.pop().is_some())
        }),
        ("data has another content", |from| {
            put(&mut from["inputs"]["raw"]["artifact"], "digest", Digest::of(b"another").to_string())
        }),
        ("nothing says where mounted data was read", |from| drop_field(&mut from["inputs"]["lake"], "mounted")),
        ("a parameter has another value", |from| put(&mut from["params"], "seed", json!({ "integer": 8 }))),
        ("a parameter is left out", |from| drop_field(&mut from["params"], "title")),
        ("the code is another", |from| put(from, "code", Digest::of(b"another").to_string())),
        ("the environment is left out", |from| drop_field(from, "environment")),
        ("the platform is another", |from| put(from, "platform", "plan9-mips")),
        ("a variable is left out", |from| drop_field(from, "env")),
        ("the item is another", |from| put(from, "item", r#"{"fold":7}"#)),
        ("it went on from what never was", |from| !from["restored"].is_null() && put(&mut from["restored"], "seq", 9)),
    ];
    let walked = wait(changed(&whole, |_| false)).1;
    assert!(walked.is_ok(), "a copy is as good: {walked:?}");
    for (what, change) in changes {
        let (done, walked) = wait(changed(&whole, *change));
        assert!(done, "{what}: no record has that");
        let broken = walked.expect_err(what);
        assert_eq!(broken.invariant, "I7 lineage", "{what}: {broken:?}");
    }
}

/// Copies a store, changes the first commit that can be changed so, and walks.
async fn changed(whole: &Arc<dyn Objects>, change: Change) -> (bool, Result<Walked, Broken>) {
    let copy = Memory::new(&Sys::real());
    let mut done = false;
    for listed in whole.list("", None, usize::MAX).await.expect("the store") {
        let mut bytes = whole.get(&listed.key).await.expect("the store").expect("it was listed");
        if !done && listed.key.as_str().ends_with(".end.json") {
            let mut record: Value = serde_json::from_slice(&bytes).expect("JSON");
            if let Some(from) = record.get_mut("committed").and_then(|committed| committed.get_mut("provenance"))
                && change(from)
            {
                done = true;
                bytes = serde_json::to_vec(&record).expect("JSON").into();
            }
        }
        assert_eq!(copy.create(&listed.key, bytes).await.expect("there is room"), Created::New);
    }
    (done, walk(Arc::new(copy)).await)
}
