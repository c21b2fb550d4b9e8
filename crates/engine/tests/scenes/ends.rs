//! What runs at the end of a run: what it sees, its own failures, stops, and engines that die.

use prunella_attempt::{Control, Deadline};
use prunella_journal::{Event, RunStatus, Stage, StepState};
use prunella_model::{Class, StepId, StepName};
use serde_json::Value;

use crate::scene::*;

crate::tests![
    what_runs_at_the_end_sees_how_the_run_ended,
    what_runs_at_the_end_is_told_what_was_published_where_and_what_was_not_and_why,
    a_failure_at_the_end_is_retried_and_shown_and_none_of_the_runs,
    an_engine_that_dies_while_the_end_is_told_has_it_told_by_the_next,
    an_end_that_was_told_is_not_told_again_for_the_same_end,
    a_stopped_run_has_not_ended_and_a_resumed_one_comes_to_its_own_end,
];

fn step(name: &str) -> StepId {
    StepId::plain(StepName::new(name).unwrap())
}

/// Says how it ended, and leaves the report outside.
const TELLS: &str = r#"
on_exit:
  run: |
    echo "exit $PRUNELLA_RUN_STATUS [$PRUNELLA_FAILED_STEPS]" >> $OUT/ran
    cp "$PRUNELLA_REPORT" $OUT/report
on_failure:
  - run: echo "failure [$PRUNELLA_FAILED_STEPS] of $NAME" >> $OUT/ran
    env: { NAME: me }
  - run: echo "another failure" >> $OUT/ran
"#;

const WORK: &str = "
one:
  run: echo one >> $OUT/ran; test ! -e $OUT/bad
  retry: 0
two:
  run: test ! -e $OUT/bad
  retry: 0
three:
  run: echo three
  after: [one]
";

async fn what_runs_at_the_end_sees_how_the_run_ended() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let outcome = engine.complete("good", &scene.graph_with(WORK, TELLS)).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    let ran = scene.ran();
    assert_eq!((ran.len(), ran["one"], ran["exit succeeded []"]), (2, 1, 1), "{ran:?}");
    let at = |name| outcome.state.state(outcome.plan.index(&step(name)).unwrap()).stage();
    assert_eq!((at("on_exit"), at("on_failure"), at("on_failure-2")), (Stage::Done, Stage::Waiting, Stage::Waiting));
    let report: Value = serde_json::from_slice(&std::fs::read(scene.outside("report")).unwrap()).unwrap();
    assert_eq!(
        (&report["format"], &report["run"], &report["status"]),
        (&1.into(), &"good".into(), &"succeeded".into())
    );
    assert_eq!(report["steps"].as_array().unwrap().len(), 3, "it is about the run, not about itself");
    assert_eq!(report["metrics"]["attempts"], 3);

    std::fs::write(scene.outside("bad"), "").unwrap();
    let outcome = engine.complete("bad", &scene.graph_with(WORK, TELLS)).await;
    assert_eq!(outcome.status, RunStatus::Failed);
    let ran = scene.ran();
    assert_eq!(
        (ran["exit failed [one two]"], ran["failure [one two] of me"], ran["another failure"]),
        (1, 1, 1),
        "{ran:?}"
    );
    let report: Value = serde_json::from_slice(&std::fs::read(scene.outside("report")).unwrap()).unwrap();
    assert_eq!((&report["failed"][0]["step"], &report["failed"][0]["class"]), (&"one".into(), &"error".into()));
    assert_eq!(report["steps"][2]["state"], "blocked");
    // The run's end is recorded only behind what belongs to it.
    assert!(matches!(engine.eye.events().last(), Some(Event::RunEnded { status: RunStatus::Failed })));
}

async fn what_runs_at_the_end_is_told_what_was_published_where_and_what_was_not_and_why() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    std::fs::create_dir_all(scene.outside("out/site")).unwrap();
    std::fs::write(scene.outside("out/site/theirs"), "x").unwrap();
    let work = "
good:
  run: echo page > page.html
  outputs: { page: page.html }
  publish: { page: out/report.html }
occupied:
  run: mkdir site; echo a > site/a; echo b > z.txt
  outputs: { site: site/, z: z.txt }
  publish: { site: { path: out/site }, z: out/z.txt }
never:
  run: exit 1
  retry: 0
  outputs: { o: o.txt }
  publish: { o: out/o.txt }
";
    let outcome = engine.complete("r", &scene.graph_with(work, TELLS)).await;
    assert_eq!(outcome.status, RunStatus::Failed, "{:?}", engine.eye.events());
    let report: Value = serde_json::from_slice(&std::fs::read(scene.outside("report")).unwrap()).unwrap();
    let [page, site, z, o] = report["publications"].as_array().unwrap().as_slice() else { panic!("{report}") };
    let done = serde_json::json!({
        "step": "good", "output": "page", "path": "out/report.html", "state": "done", "how": "created",
        "target": scene.outside("out/report.html"),
    });
    assert_eq!(*page, done);
    assert_eq!((&site["state"], &site["target"]), (&"given_up".into(), &scene.outside("out/site").into()));
    assert!(site["why"].as_str().unwrap().contains("out/site"), "{site}");
    let of = |one: &Value| [&one["step"], &one["output"], &one["state"]].map(|text| text.as_str().unwrap().to_owned());
    assert_eq!(
        (of(z), of(o)),
        (["occupied", "z", "given_up"].map(Into::into), ["never", "o", "waiting"].map(Into::into))
    );
    assert!(z["why"].is_string() && z["target"].is_null(), "what comes behind a failure was not tried: {z}");
}

async fn a_failure_at_the_end_is_retried_and_shown_and_none_of_the_runs() {
    let scene = Scene::new();
    let ends = "
on_exit:
  run: echo told >> $OUT/ran; exit 3
  retry: { error: { limit: 1, backoff: 10ms } }
";
    let engine = scene.engine().await;
    let outcome = engine.complete("r", &scene.graph_with("one:\n  run: echo one\n", ends)).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    let StepState::Failed { class, .. } = outcome.state.state(outcome.plan.index(&step("on_exit")).unwrap()) else {
        panic!("{:?}", engine.eye.events());
    };
    assert_eq!((*class, scene.ran()["told"]), (Class::Error, 2));
    assert_eq!(engine.eye.classes(), [Class::Error, Class::Error]);
}

async fn an_engine_that_dies_while_the_end_is_told_has_it_told_by_the_next() {
    let scene = Scene::new();
    let ends = "on_exit: echo begun >> $OUT/ran; echo telling; while [ ! -e $OUT/go ]; do sleep 0.02; done; echo told >> $OUT/ran\n";
    let graph = scene.graph_with("one:\n  run: echo one >> $OUT/ran\n", ends);
    let (first, second) = (scene.engine().await, scene.engine().await);
    let run = first.begin("r", &graph).await;
    tokio::select! {
        _ = first.drive(&run) => panic!("it cannot end"),
        () = first.eye.until_line("telling") => {}
    }
    first.die().await;
    std::fs::write(scene.outside("go"), "").unwrap();
    let outcome = second.drive(&run).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", second.eye.events());
    let ran = scene.ran();
    assert_eq!((ran["one"], ran["begun"], ran["told"]), (1, 2, 1), "{ran:?}");
    assert_eq!(outcome.state.conclusions(), 1, "it was the same end");
}

async fn an_end_that_was_told_is_not_told_again_for_the_same_end() {
    let scene = Scene::new();
    let graph = scene.graph_with(
        "one:\n  run: echo one >> $OUT/ran\n",
        "on_exit:\n  - run: echo told >> $OUT/ran\n  - run: echo waiting; while [ ! -e $OUT/go ]; do sleep 0.02; done\n",
    );
    let (first, second) = (scene.engine().await, scene.engine().await);
    let run = first.begin("r", &graph).await;
    let told = first.eye.until(|event| match event {
        Event::StepCommitted { step: id, .. } if *id == step("on_exit") => Some(()),
        _ => None,
    });
    tokio::select! {
        _ = first.drive(&run) => panic!("it cannot end"),
        () = async { told.await; first.eye.until_line("waiting").await } => {}
    }
    first.die().await;
    std::fs::write(scene.outside("go"), "").unwrap();
    let outcome = second.drive(&run).await;
    assert_eq!((outcome.status, scene.ran()["told"]), (RunStatus::Succeeded, 1));
    // Nor if the run is driven once more after its end.
    second.die().await;
    let third = scene.engine().await;
    assert_eq!((third.drive(&run).await.status, scene.ran()["told"]), (RunStatus::Succeeded, 1));
}

async fn a_stopped_run_has_not_ended_and_a_resumed_one_comes_to_its_own_end() {
    let scene = Scene::new();
    let work = "
one:
  run: echo ready; while [ ! -e $OUT/go ]; do sleep 0.02; done; test ! -e $OUT/bad
  retry: 0
";
    let ends = "on_exit: echo \"exit $PRUNELLA_RUN_STATUS\" >> $OUT/ran\n";
    let graph = scene.graph_with(work, ends);
    std::fs::write(scene.outside("bad"), "").unwrap();
    let first = scene.engine().await;
    let run = first.begin("r", &graph).await;
    let (outcome, ()) = tokio::join!(first.drive(&run), async {
        first.eye.until_line("ready").await;
        first.say(Control::Notice(Deadline::in_own_grace("stop")));
    });
    assert_eq!((outcome.status, scene.ran().len()), (RunStatus::Stopped, 0), "a stop is no end");
    first.die().await;
    std::fs::write(scene.outside("go"), "").unwrap();
    let second = scene.engine().await;
    assert_eq!(second.drive(&run).await.status, RunStatus::Failed);
    assert_eq!(scene.ran()["exit failed"], 1);
    second.die().await;
    let third = scene.engine().await;
    assert_eq!(third.drive(&run).await.status, RunStatus::Failed);
    assert_eq!(scene.ran()["exit failed"], 2, "it failed another time, so it is told another time");
    third.die().await;
    std::fs::remove_file(scene.outside("bad")).unwrap();
    let outcome = scene.engine().await.drive(&run).await;
    assert_eq!((outcome.status, scene.ran()["exit succeeded"]), (RunStatus::Succeeded, 1));
}
