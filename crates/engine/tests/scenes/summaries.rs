//! Runs that are long enough to be summarized by those who drive them.

use prunella_engine::{Loaded, Seen, load_state};
use prunella_journal::{RunStatus, Stage, Summary, metrics, read_summary};
use prunella_model::RunId;

use crate::scene::*;

crate::tests![a_long_run_is_summarized_while_it_goes_on_and_at_its_end_and_so_is_one_that_is_taken_up_again];

/// Steps that are equal work: one attempt, and two or three events each.
fn equal_steps(count: usize, more: &str) -> String {
    let step = |n: usize| format!("s{n}: {{ run: 'echo 1 > one', outputs: {{ one: one }} }}\n");
    (0..count).map(step).collect::<String>() + more
}

async fn read(engine: &Engine, run: &RunId) -> Summary {
    read_summary(&**engine.host.store.objects(), run).await.expect("it was long enough")
}

async fn a_long_run_is_summarized_while_it_goes_on_and_at_its_end_and_so_is_one_that_is_taken_up_again() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let failing = "bad: { run: 'test -e $OUT/there && echo 2 > two', outputs: { two: two }, inputs: { one: s0.one }, retry: { error: 0 } }\n";
    let graph = scene.graph(&equal_steps(6000, failing));
    let outcome = engine.complete("long", &graph).await;
    assert_eq!(outcome.status, RunStatus::Failed);
    let summary = read(&engine, &outcome.run).await;
    let state = summary.state().expect("it is understood");
    assert!(state == outcome.state && state.ended() == Some(RunStatus::Failed), "it is of the end");
    engine.die().await;

    std::fs::write(scene.outside("there"), "").unwrap();
    let engine = scene.engine().await;
    let again = engine.drive(&outcome.run).await;
    assert_eq!(again.status, RunStatus::Succeeded);
    let newer = read(&engine, &outcome.run).await;
    // There is little that the older one does not have, and readers go on from it.
    assert!(newer.position().driver >= summary.position().driver);
    let seen = Seen::of(&engine.host.store, &outcome.run).await.unwrap();
    let Loaded { state: whole, events, .. } = load_state(&engine.host.store, &outcome.run).await.unwrap();
    assert!(seen.state == whole && seen.figures == metrics(&events));
    assert_eq!(seen.state.count(Stage::Done), 6001);
}
