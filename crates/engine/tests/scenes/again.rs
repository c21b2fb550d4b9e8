//! Runs that had come to their end and are taken up again: what was given up is tried again, what is lost is made anew.

use prunella_engine::Again;
use prunella_healing::Spent;
use prunella_journal::{Event, RunStatus};
use prunella_model::{Class, RunId, StepId, StepName};

use crate::scene::*;

crate::tests![
    a_retried_step_has_full_budgets_and_everything_else_stays_as_it_is,
    a_retried_step_keeps_its_fresh_budget_when_its_engine_dies,
    what_a_finished_run_lost_is_made_anew_and_its_readers_stay,
    other_bytes_in_place_of_the_lost_ones_run_the_readers_again,
    lost_bytes_that_another_run_made_anew_are_reused,
    a_heal_that_broke_off_is_followed_by_the_next_engine,
];

fn step(name: &str) -> StepId {
    StepId::plain(StepName::new(name).unwrap())
}

fn retry(steps: &[&str]) -> Again {
    Again { retried: Some(steps.iter().map(|name| step(name)).collect()), ..Again::default() }
}

fn counts(events: &[Event], of: &str) -> Vec<u32> {
    let count = |event: &Event| match event {
        Event::AttemptEnded { step: ended, spent, .. } if *ended == step(of) => Some(Spent::count(spent, Class::Error)),
        _ => None,
    };
    events.iter().filter_map(count).collect()
}

/// The next engine, after the one before has gone.
async fn next(scene: &Scene, before: Engine) -> Engine {
    before.die().await;
    scene.engine().await
}

/// Two steps that fail with ever other words until the file `go` is there, and one that needs the first.
const FAILING: &str = "\
one:
  run: echo one >> $OUT/ran; [ -e $OUT/go ] && echo x > out.txt || { date +%N | tr 0-9 a-j >&2; exit 3; }
  outputs: { out: out.txt }
  retry: { error: { limit: 1, backoff: 1ms } }
two:
  run: echo two >> $OUT/ran; [ -e $OUT/go ] || exit 3
  retry: { error: 0 }
after: { run: 'echo after >> $OUT/ran', inputs: { in: one.out } }
whole: { run: 'echo whole >> $OUT/ran' }
";

async fn a_retried_step_has_full_budgets_and_everything_else_stays_as_it_is() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let run = engine.complete("r", &scene.graph(FAILING)).await.run;
    let before = scene.ran();
    assert_eq!((before["one"], before["two"], before["whole"]), (2, 1, 1), "{before:?}");

    // Still failing: the budget is full, so that it is tried twice again; the other one is not tried.
    let engine = next(&scene, engine).await;
    let outcome = engine.drive_again(&run, retry(&["one"])).await.unwrap();
    let ran = scene.ran();
    assert_eq!((outcome.status, ran["one"], ran["two"], ran["whole"]), (RunStatus::Failed, 4, 1, 1));
    assert_eq!(counts(&engine.eye.events(), "one"), [1, 2]);

    std::fs::write(scene.outside("go"), "").unwrap();
    let engine = next(&scene, engine).await;
    let outcome = engine.drive_again(&run, retry(&["one"])).await.unwrap();
    let ran = scene.ran();
    assert_eq!((outcome.status, ran["one"], ran["two"], ran["after"]), (RunStatus::Failed, 5, 1, 1));
    let engine = next(&scene, engine).await;
    let outcome = engine.drive_again(&run, retry(&["two"])).await.unwrap();
    assert_eq!((outcome.status, scene.ran()["two"], scene.ran()["one"]), (RunStatus::Succeeded, 2, 5));
    engine.check(&run).await;
}

async fn a_retried_step_keeps_its_fresh_budget_when_its_engine_dies() {
    let scene = Scene::new();
    let graph = scene.graph(
        "flaky:
  run: |
    echo tried >> $OUT/ran
    if [ -e $OUT/hang ]; then echo hangs; exec sleep 1000; fi
    [ -e $OUT/go ] && echo x > out.txt || { date +%N | tr 0-9 a-j >&2; exit 3; }
  outputs: { out: out.txt }
  retry: { error: { limit: 2, backoff: 1ms } }
",
    );
    let engine = scene.engine().await;
    let run = engine.complete("r", &graph).await.run;
    assert_eq!(counts(&engine.eye.events(), "flaky"), [1, 2, 3]);
    std::fs::write(scene.outside("hang"), "").unwrap();
    let engine = next(&scene, engine).await;
    tokio::select! {
        outcome = engine.drive_again(&run, retry(&["flaky"])) => panic!("{:?}", outcome.map(|outcome| outcome.status)),
        () = engine.eye.until_line("hangs") => {}
    }
    engine.die().await;
    std::fs::remove_file(scene.outside("hang")).unwrap();
    // The attempt that died with its engine is closed by the next one: what was spent before the retry does not count.
    let engine = scene.engine().await;
    assert_eq!(engine.drive(&run).await.status, RunStatus::Failed);
    assert_eq!(counts(&engine.eye.events(), "flaky"), [0, 1, 2, 3], "killed once, then the whole budget of errors");
}

const CHAIN: &str = "\
make:
  run: echo make >> $OUT/ran; cat $OUT/source > out.txt
  outputs: { out: out.txt }
reader:
  run: echo reader >> $OUT/ran; cat inputs/in/out.txt > out.txt
  inputs: { in: make.out }
  outputs: { out: out.txt }
other: { run: 'echo other >> $OUT/ran; echo other > out.txt', outputs: { out: out.txt } }
";

/// Loses the bytes of a step's output, marks the commit, and returns what a heal has to do.
async fn lose(engine: &Engine, run: &RunId, of: &str) -> Again {
    let (slot, object) = engine.lose(run, &step(of), "out").await;
    engine.host.store.mark_damaged(&slot, &object, "it is missing").await.unwrap();
    Again { retried: Some(Vec::new()), damaged: vec![(step(of), slot)], ..Again::default() }
}

async fn what_a_finished_run_lost_is_made_anew_and_its_readers_stay() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    std::fs::write(scene.outside("source"), "one\n").unwrap();
    let run = engine.complete("r", &scene.graph(CHAIN)).await.run;
    let lost = lose(&engine, &run, "make").await;
    let engine = next(&scene, engine).await;
    let outcome = engine.drive_again(&run, lost).await.unwrap();
    assert_eq!(outcome.status, RunStatus::Succeeded);
    let ran = scene.ran();
    assert_eq!((ran["make"], ran["reader"], ran["other"]), (2, 1, 1), "{ran:?}");
    assert_eq!(engine.result(&run, "make", "out").await.unwrap(), b"one\n");
    engine.check(&run).await;
    // The last step of a chain has no reader that would ever find out.
    let lost = lose(&engine, &run, "reader").await;
    let engine = next(&scene, engine).await;
    assert_eq!(engine.drive_again(&run, lost).await.unwrap().status, RunStatus::Succeeded);
    assert_eq!((scene.ran()["make"], scene.ran()["reader"]), (2, 2));
    engine.check(&run).await;
}

async fn other_bytes_in_place_of_the_lost_ones_run_the_readers_again() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    std::fs::write(scene.outside("source"), "one\n").unwrap();
    let run = engine.complete("r", &scene.graph(CHAIN)).await.run;
    std::fs::write(scene.outside("source"), "two\n").unwrap();
    let lost = lose(&engine, &run, "make").await;
    let engine = next(&scene, engine).await;
    assert_eq!(engine.drive_again(&run, lost).await.unwrap().status, RunStatus::Succeeded);
    let ran = scene.ran();
    assert_eq!((ran["make"], ran["reader"], ran["other"]), (2, 2, 1), "{ran:?}");
    assert_eq!(engine.result(&run, "reader", "out").await.unwrap(), b"two\n");
    engine.check(&run).await;
}

async fn lost_bytes_that_another_run_made_anew_are_reused() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    std::fs::write(scene.outside("source"), "one\n").unwrap();
    let graph = scene.graph(CHAIN);
    let first = engine.complete("first", &graph).await.run;
    let lost = lose(&engine, &first, "make").await;
    assert_eq!(engine.complete("second", &graph).await.status, RunStatus::Succeeded);
    assert_eq!(scene.ran()["make"], 2);
    let engine = next(&scene, engine).await;
    assert_eq!(engine.drive_again(&first, lost).await.unwrap().status, RunStatus::Succeeded);
    assert_eq!(scene.ran()["make"], 2, "the second run has made it");
    assert_eq!(engine.result(&first, "make", "out").await.unwrap(), b"one\n");
    engine.check(&first).await;
}

async fn a_heal_that_broke_off_is_followed_by_the_next_engine() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    std::fs::write(scene.outside("source"), "one\n").unwrap();
    let run = engine
        .complete(
            "r",
            &scene.graph(&CHAIN.replace("; cat $OUT", "; while [ -e $OUT/hang ]; do sleep 0.02; done; cat $OUT")),
        )
        .await
        .run;
    let lost = lose(&engine, &run, "make").await;
    let engine = next(&scene, engine).await;
    std::fs::write(scene.outside("hang"), "").unwrap();
    tokio::select! {
        _ = engine.drive_again(&run, lost) => panic!("it cannot end"),
        () = async {
            let begun = |event: &Event| matches!(event, Event::ProcessStarted { .. });
            engine.eye.until_all(|events| (events.iter().any(begun)).then_some(())).await;
        } => {}
    }
    engine.die().await;
    std::fs::remove_file(scene.outside("hang")).unwrap();
    let engine = scene.engine().await;
    assert_eq!(engine.drive(&run).await.status, RunStatus::Succeeded);
    assert_eq!(engine.result(&run, "make", "out").await.unwrap(), b"one\n");
    engine.check(&run).await;
}
