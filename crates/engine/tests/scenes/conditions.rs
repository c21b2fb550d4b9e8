//! Conditions in whole runs: answers from real bytes, skips, damage, and engines that die.

use std::collections::BTreeMap;

use prunella_engine::Outcome;
use prunella_journal::{Event, RunStatus, Stage, StepState};
use prunella_model::{Class, PortName, StepId, StepName};
use prunella_objects::ObjectKey;

use crate::scene::*;

crate::tests![
    a_step_runs_if_its_condition_holds_and_is_skipped_with_all_that_reads_it_if_not,
    a_condition_without_an_answer_is_a_broken_contract_and_is_not_tried_again,
    bytes_that_a_condition_reads_are_made_anew_when_they_are_lost,
    another_value_of_what_a_condition_reads_has_it_answered_anew_in_the_same_run,
    an_engine_that_dies_while_a_condition_is_answered_loses_nothing,
];

fn step(name: &str) -> StepId {
    StepId::plain(StepName::new(name).unwrap())
}

fn stages(outcome: &Outcome) -> BTreeMap<String, Stage> {
    let stage = |step| (outcome.plan.id(step).to_string(), outcome.state.state(step).stage());
    outcome.plan.indices().map(stage).collect()
}

const GATE: &str = r#"
evaluate:
  run: echo evaluate >> $OUT/ran; cat $OUT/metrics > metrics.json
  outputs: { metrics: metrics.json }
release:
  when: evaluate.metrics.folds.all(m, m.accuracy > 0.9)
  run: echo release >> $OUT/ran; echo released > out.txt
  outputs: { out: out.txt }
announce:
  run: echo announce >> $OUT/ran; cat inputs/in/out.txt > out.txt
  inputs: { in: release.out }
  outputs: { out: out.txt }
report:
  run: echo report >> $OUT/ran
  after: [announce]
"#;

const GOOD: &str = r#"{"folds":[{"accuracy":0.95},{"accuracy":1}]}"#;
const BAD: &str = r#"{"folds":[{"accuracy":0.95},{"accuracy":0.5}]}"#;

async fn a_step_runs_if_its_condition_holds_and_is_skipped_with_all_that_reads_it_if_not() {
    use Stage::{Done, Skipped};
    for (metrics, released) in [(GOOD, Done), (BAD, Skipped)] {
        let scene = Scene::new();
        std::fs::write(scene.outside("metrics"), metrics).unwrap();
        let engine = scene.engine().await;
        let outcome = engine.complete("r", &scene.graph(GATE)).await;
        assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
        let stages = stages(&outcome);
        let found = ["evaluate", "release", "announce", "report"].map(|name| stages[name]);
        assert_eq!(found, [Done, released, released, Done], "{metrics}");
        assert_eq!(scene.ran().contains_key("release"), released == Done);
        let saw = engine.eye.until(|event| match event {
            Event::StepDecided { saw, .. } => Some(saw.clone()),
            _ => None,
        });
        assert!(saw.await.iter().any(|seen| seen.what == "m.accuracy" && seen.value == "0.95"));
        engine.check(&outcome.run).await;
        // Another engine finds the same, without running anything.
        let again = scene.engine().await.complete("again", &scene.graph(GATE)).await;
        assert_eq!(self::stages(&again)["release"], released);
        assert_eq!(scene.ran()["evaluate"], 1);
    }
}

async fn a_condition_without_an_answer_is_a_broken_contract_and_is_not_tried_again() {
    let scene = Scene::new();
    std::fs::write(scene.outside("metrics"), r#"{"folds":[{"precision":0.95}]}"#).unwrap();
    let engine = scene.engine().await;
    let outcome = engine.complete("r", &scene.graph(GATE)).await;
    assert_eq!(outcome.status, RunStatus::Failed);
    let StepState::Failed { class, why } = outcome.state.state(outcome.plan.index(&step("release")).unwrap()) else {
        panic!("{:?}", stages(&outcome));
    };
    assert_eq!(*class, Class::Contract);
    assert!(
        why.contains("no field `accuracy`") && why.contains("`precision`") && why.contains("`m.accuracy`"),
        "{why}"
    );
    assert_eq!(stages(&outcome)["announce"], Stage::Blocked, "a mistake is no answer");
    assert_eq!(engine.eye.classes(), [], "nothing of it ever ran");
}

async fn bytes_that_a_condition_reads_are_made_anew_when_they_are_lost() {
    let scene = Scene::new();
    std::fs::write(scene.outside("metrics"), GOOD).unwrap();
    let engine = scene.engine().await;
    let first = engine.complete("first", &scene.graph(GATE)).await;
    let slot = engine.bound(&first.run, &step("evaluate")).await;
    let committed = engine.host.store.committed(&slot).await.unwrap().unwrap();
    let object = &committed.artifacts[&PortName::new("metrics").unwrap()].object;
    assert!(engine.host.store.objects().delete(&ObjectKey::new(object).unwrap()).await.unwrap());
    let second = engine.complete("second", &scene.graph(GATE)).await;
    assert_eq!(second.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    let ran = scene.ran();
    assert_eq!((ran["evaluate"], ran["release"], stages(&second)["release"]), (2, 1, Stage::Done), "{ran:?}");
    engine.check(&second.run).await;
}

async fn another_value_of_what_a_condition_reads_has_it_answered_anew_in_the_same_run() {
    let scene = Scene::new();
    std::fs::write(scene.outside("metrics"), GOOD).unwrap();
    // The last step finds its input lost; by then the released step has been made from what that said before.
    let text = format!(
        "{GATE}
late:
  run: echo late >> $OUT/ran; cat inputs/in/metrics.json
  inputs: {{ in: evaluate.metrics }}
  after: [announce, wait]
wait:
  run: echo wait >> $OUT/ran; echo ready; while [ ! -e $OUT/go ]; do sleep 0.02; done
  after: [announce]
"
    );
    let engine = scene.engine().await;
    let run = engine.begin("r", &scene.graph(&text)).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_line("ready").await;
        let slot = engine.bound(&run, &step("evaluate")).await;
        let committed = engine.host.store.committed(&slot).await.unwrap().unwrap();
        let object = &committed.artifacts[&PortName::new("metrics").unwrap()].object;
        assert!(engine.host.store.objects().delete(&ObjectKey::new(object).unwrap()).await.unwrap());
        std::fs::write(scene.outside("metrics"), BAD).unwrap();
        std::fs::write(scene.outside("go"), "").unwrap();
    });
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    let (stages, ran) = (stages(&outcome), scene.ran());
    assert_eq!((ran["evaluate"], ran["release"]), (2, 1), "{ran:?}");
    assert_eq!((stages["release"], stages["announce"], stages["late"]), (Stage::Skipped, Stage::Skipped, Stage::Done));
    engine.check(&run).await;
}

async fn an_engine_that_dies_while_a_condition_is_answered_loses_nothing() {
    let scene = Scene::new();
    std::fs::write(scene.outside("metrics"), BAD).unwrap();
    let (first, second) = (scene.engine().await, scene.engine().await);
    let run = first.begin("r", &scene.graph(GATE)).await;
    let committed = first.eye.until(|event| matches!(event, Event::StepCommitted { .. }).then_some(()));
    tokio::select! {
        biased;
        () = committed => {}
        _ = first.drive(&run) => {}
    }
    first.die().await;
    let outcome = second.drive(&run).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", second.eye.events());
    assert_eq!((stages(&outcome)["release"], scene.ran()["evaluate"]), (Stage::Skipped, 1));
}
