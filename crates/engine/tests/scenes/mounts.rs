//! Mounted data is read where it lies: what is not what the run is of commits nothing.

use std::path::{Path, PathBuf};

use prunella_journal::{Event, RunStatus};
use prunella_model::{ArtifactKind, Class, DataName, DataPin, Graph, PortName, Source, StepName};
use prunella_store::{Remembered, measure, records::Committed};

use crate::scene::*;

crate::tests![
    mounted_data_is_read_where_it_lies_and_nothing_of_it_is_stored,
    a_mounted_file_is_read_where_it_lies,
    mounted_data_that_changed_since_the_run_began_is_not_read,
    mounted_data_that_is_gone_ends_the_step_and_says_how_to_go_on,
    mounted_data_that_changes_while_the_step_runs_commits_nothing,
    mounted_data_that_is_only_touched_while_the_step_runs_commits_with_a_remark,
    mounted_data_with_the_same_bytes_elsewhere_is_the_same_work,
];

/// Longer than what is kept in the store's own database, so that it would be a file if it were stored.
const LONG: usize = 200_000;

/// The data outside, which is made.
fn data(scene: &Scene, name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(scene.outside(name));
    std::fs::create_dir_all(path.join("deep")).unwrap();
    std::fs::write(path.join("deep/words"), text).unwrap();
    std::fs::write(path.join("long"), text.repeat(LONG / text.len())).unwrap();
    path
}

/// The graph of a step `read`, which reads the mounted data `big`.
fn graph(scene: &Scene, path: &Path, script: &str) -> Graph {
    let mut graph = scene.graph(&format!("read:\n  run: |\n    {script}\n  outputs: {{ out: out.txt }}\n"));
    let artifact = measure(&scene.sys, path, scene.scratch.path(), Remembered::Ignored).unwrap().artifact;
    let pin = DataPin {
        artifact,
        base_name: "big".to_owned(),
        pinned: true,
        mounted: Some(path.to_str().unwrap().to_owned()),
        referenced: None,
    };
    let big = DataName::new("big").unwrap();
    graph.data.insert(big.clone(), pin);
    let read = graph.pipeline.steps.get_mut(&StepName::new("read").unwrap()).unwrap();
    read.inputs.insert(PortName::new("in").unwrap(), Source::Data(big));
    graph
}

async fn committed(engine: &Engine, of: &prunella_model::RunId) -> Committed {
    let slot = engine.bound(of, &prunella_model::StepId::plain(StepName::new("read").unwrap())).await;
    engine.host.store.committed(&slot).await.unwrap().unwrap()
}

fn broken_contract(engine: &Engine) -> String {
    let contract = |event: &Event| match event {
        Event::AttemptEnded { evidence, .. } => evidence.contract.clone(),
        _ => None,
    };
    engine.eye.events().iter().find_map(contract).expect("an attempt ended with a broken contract")
}

async fn mounted_data_is_read_where_it_lies_and_nothing_of_it_is_stored() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let path = data(&scene, "big", "one ");
    // By the variable, by the link in the workspace, and by a program that does not follow links.
    let script = "echo ran >> $OUT/ran; cat \"$PRUNELLA_INPUT_IN/deep/words\" inputs/in/big/deep/words > out.txt; \
                  find \"$PRUNELLA_INPUT_IN\" -type f | wc -l >> out.txt";
    let first = engine.complete("first", &graph(&scene, &path, script)).await;
    assert_eq!(first.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(engine.result(&first.run, "read", "out").await.unwrap(), b"one one 2\n");
    let input = committed(&engine, &first.run).await.provenance.inputs[&PortName::new("in").unwrap()].clone();
    assert_eq!(input.mounted.unwrap().path, path.to_str().unwrap());
    assert_eq!((input.source.as_str(), input.artifact.kind), ("data.big", ArtifactKind::Tree));
    assert!(!scene.store_dir().join("data").exists(), "it would be the only large object");
    let again = engine.complete("again", &graph(&scene, &path, script)).await;
    assert_eq!((again.status, scene.ran()["ran"]), (RunStatus::Succeeded, 1), "unchanged data is reused");
    engine.check(&again.run).await;
}

async fn a_mounted_file_is_read_where_it_lies() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let path = data(&scene, "big", "one ").join("deep/words");
    let done = engine.complete("r", &graph(&scene, &path, "cat \"$PRUNELLA_INPUT_IN\" inputs/in/big > out.txt")).await;
    assert_eq!(done.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(engine.result(&done.run, "read", "out").await.unwrap(), b"one one ");
}

async fn mounted_data_that_changed_since_the_run_began_is_not_read() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let path = data(&scene, "big", "one ");
    let run = engine.begin("r", &graph(&scene, &path, "echo ran >> $OUT/ran; echo x > out.txt")).await;
    std::fs::write(path.join("deep/words"), "two ").unwrap();
    assert_eq!(engine.drive(&run).await.status, RunStatus::Failed);
    assert_eq!((engine.eye.classes(), scene.ran().len()), (vec![Class::Contract], 0));
    let problem = broken_contract(&engine);
    assert!(problem.contains("data.big") && problem.contains(path.to_str().unwrap()), "{problem}");
    assert!(problem.contains("has changed since the run began"), "{problem}");
}

async fn mounted_data_that_is_gone_ends_the_step_and_says_how_to_go_on() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let path = data(&scene, "big", "one ");
    let run = engine.begin("r", &graph(&scene, &path, "cat inputs/in/big/deep/words > out.txt")).await;
    std::fs::rename(&path, scene.outside("elsewhere")).unwrap();
    assert_eq!(engine.drive(&run).await.status, RunStatus::Failed);
    assert_eq!(engine.eye.classes(), [Class::Contract]);
    let problem = broken_contract(&engine);
    assert!(problem.contains("nothing is there; bring it back there"), "{problem}");
    // As it says: a link will do, and the run goes on.
    std::os::unix::fs::symlink(scene.outside("elsewhere"), &path).unwrap();
    engine.die().await;
    let engine = scene.engine().await;
    let resumed = engine.drive_again(&run, prunella_engine::Again::default()).await.unwrap();
    assert_eq!(resumed.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
}

/// Drives a run whose step waits in its middle, and does something meanwhile.
async fn meanwhile(scene: &Scene, engine: &Engine, path: &Path, act: impl FnOnce()) -> prunella_engine::Outcome {
    let script = "cat inputs/in/big/deep/words > out.txt; echo ready; while ! test -e $OUT/go; do sleep 0.02; done";
    let run = engine.begin("r", &graph(scene, path, script)).await;
    let acts = async {
        engine.eye.until_line("ready").await;
        act();
        std::fs::write(scene.outside("go"), "").unwrap();
    };
    tokio::join!(engine.drive(&run), acts).0
}

async fn mounted_data_that_changes_while_the_step_runs_commits_nothing() {
    type Change = (&'static str, fn(&Path));
    let changes: [Change; 4] = [
        ("a file of the same length", |path| std::fs::write(path.join("deep/words"), "two ").unwrap()),
        ("a file more", |path| std::fs::write(path.join("deep/more"), "more").unwrap()),
        ("a file less", |path| std::fs::remove_file(path.join("long")).unwrap()),
        ("nothing left", |path| std::fs::remove_dir_all(path).unwrap()),
    ];
    for (name, change) in changes {
        let scene = Scene::new();
        let engine = scene.engine().await;
        let path = data(&scene, "big", "one ");
        let outcome = meanwhile(&scene, &engine, &path, || change(&path)).await;
        assert_eq!(outcome.status, RunStatus::Failed, "{name}");
        assert_eq!(engine.eye.classes(), [Class::Contract], "{name}");
        assert_eq!(engine.result(&outcome.run, "read", "out").await, None, "{name}");
        let problem = broken_contract(&engine);
        assert!(problem.contains(path.to_str().unwrap()), "{name}: {problem}");
        engine.check(&outcome.run).await;
    }
}

async fn mounted_data_that_is_only_touched_while_the_step_runs_commits_with_a_remark() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let path = data(&scene, "big", "one ");
    let outcome = meanwhile(&scene, &engine, &path, || std::fs::write(path.join("deep/words"), "one ").unwrap()).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    let remarks = committed(&engine, &outcome.run).await.provenance.remarks;
    assert!(remarks.iter().any(|remark| remark.starts_with("data.big: files were touched")), "{remarks:?}");
}

async fn mounted_data_with_the_same_bytes_elsewhere_is_the_same_work() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let script = "echo ran >> $OUT/ran; cat inputs/in/big/deep/words > out.txt";
    for name in ["here", "there"] {
        let path = data(&scene, name, "one ");
        let done = engine.complete(name, &graph(&scene, &path, script)).await;
        assert_eq!(done.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    }
    assert_eq!(scene.ran()["ran"], 1);
}
