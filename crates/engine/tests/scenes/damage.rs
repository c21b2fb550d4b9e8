//! Lost bytes are made anew, and nothing else is; the same bytes again leave their readers alone.

use prunella_journal::{Event, RunStatus};
use prunella_model::{Class, Graph, PortName, StepId, StepName};
use prunella_objects::ObjectKey;

use crate::scene::*;

crate::tests![
    a_lost_input_is_made_anew_and_only_its_readers_run_again,
    early_cutoff_the_same_bytes_again_leave_the_readers_alone,
    other_bytes_run_the_readers_again,
    an_input_that_is_lost_again_and_again_ends_the_run,
];

fn step(name: &str) -> StepId {
    StepId::plain(StepName::new(name).unwrap())
}

fn steps(reader: &str) -> String {
    format!(
        "make:
  run: echo make >> $OUT/ran; echo made > out.txt
  outputs: {{ out: out.txt }}
reader:
  run: echo reader >> $OUT/ran; cat inputs/in/out.txt > out.txt; echo {reader} >> out.txt
  inputs: {{ in: make.out }}
  outputs: {{ out: out.txt }}
other:
  run: echo other >> $OUT/ran; echo other > out.txt
  outputs: {{ out: out.txt }}
other-reader:
  run: echo other-reader >> $OUT/ran; cat inputs/in/out.txt > out.txt
  inputs: {{ in: other.out }}
  outputs: {{ out: out.txt }}
"
    )
}

async fn a_lost_input_is_made_anew_and_only_its_readers_run_again() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let first = engine.complete("first", &scene.graph(&steps("1"))).await;
    assert_eq!(first.status, RunStatus::Succeeded);
    assert!(scene.ran().values().all(|times| *times == 1) && scene.ran().len() == 4);
    engine.lose(&first.run, &step("make"), "out").await;
    // The reader is another work now, and needs the bytes that are gone.
    let second = engine.complete("second", &scene.graph(&steps("2"))).await;
    assert_eq!(second.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    let ran = scene.ran();
    assert_eq!((ran["make"], ran["reader"], ran["other"], ran["other-reader"]), (2, 2, 1, 1), "{ran:?}");
    assert_eq!(engine.result(&second.run, "reader", "out").await.unwrap(), b"made\n2\n");
    let damaged = |event: &Event| matches!(event, Event::InputDamaged { producer, .. } if *producer == step("make"));
    assert!(engine.eye.events().iter().any(damaged));
    assert_eq!(engine.eye.classes(), [Class::InputDamaged]);
    engine.check(&second.run).await;
}

fn forced(mut graph: Graph, nonce: &str) -> Graph {
    graph.force.insert(StepName::new("make").unwrap(), nonce.into());
    graph
}

async fn early_cutoff_the_same_bytes_again_leave_the_readers_alone() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    engine.complete("first", &scene.graph(&steps("1"))).await;
    let second = engine.complete("second", &forced(scene.graph(&steps("1")), "again")).await;
    assert_eq!(second.status, RunStatus::Succeeded);
    let ran = scene.ran();
    assert_eq!((ran["make"], ran["reader"], ran["other"]), (2, 1, 1), "{ran:?}");
}

async fn other_bytes_run_the_readers_again() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let text = steps("1").replace("echo made >", "cat $OUT/source >");
    std::fs::write(scene.outside("source"), "one\n").unwrap();
    engine.complete("first", &scene.graph(&text)).await;
    std::fs::write(scene.outside("source"), "two\n").unwrap();
    let second = engine.complete("second", &forced(scene.graph(&text), "again")).await;
    let ran = scene.ran();
    assert_eq!((ran["make"], ran["reader"], ran["other"]), (2, 2, 1), "{ran:?}");
    assert_eq!(engine.result(&second.run, "reader", "out").await.unwrap(), b"two\n1\n");
}

async fn an_input_that_is_lost_again_and_again_ends_the_run() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let first = engine.complete("first", &scene.graph(&steps("1"))).await;
    engine.lose(&first.run, &step("make"), "out").await;
    // Whenever it has been made anew it is lost again, before the reader can read it.
    let graph = scene.graph(&steps("2"));
    let run = engine.begin("second", &graph).await;
    let lose_again = async {
        for n in 1.. {
            let made = |event: &Event| match event {
                Event::StepCommitted { step: of, slot, .. } if *of == step("make") => Some(*slot),
                _ => None,
            };
            let slot = engine.eye.until_all(|events| events.iter().filter_map(made).nth(n)).await;
            let committed = engine.host.store.committed(&slot).await.unwrap().unwrap();
            let object = &committed.artifacts[&PortName::new("out").unwrap()].object;
            let _lost = engine.host.store.objects().delete(&ObjectKey::new(object).unwrap()).await.unwrap();
        }
    };
    let outcome = tokio::select! {
        outcome = engine.drive(&run) => outcome,
        () = lose_again => unreachable!("it goes on for ever"),
    };
    // Either the reader was quicker than the loss, or the budget of one artifact is used up: it ends, and says so.
    match outcome.status {
        RunStatus::Succeeded => {}
        RunStatus::Failed => {
            let failed = engine.eye.events().into_iter().find_map(|event| match event {
                Event::StepFailed { class, why, .. } => Some((class, why)),
                _ => None,
            });
            assert!(matches!(failed, Some((Class::InputDamaged, _))), "{failed:?}");
        }
        RunStatus::Stopped => panic!("nobody stopped it"),
    }
}
