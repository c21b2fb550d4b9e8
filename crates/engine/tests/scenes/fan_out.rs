//! Steps that fan out, in whole runs: lists that are written and lists that are made, folders, damage, engines that die.

use prunella_engine::Outcome;
use prunella_journal::{Event, RunStatus, Stage};
use prunella_model::{Class, RunId, StepId};

use crate::scene::*;

crate::tests![
    items_run_by_themselves_and_are_read_item_by_item_and_as_a_folder,
    a_list_that_a_step_makes_is_fanned_out_over_once_it_is_there,
    a_step_without_items_is_done_at_once_and_its_folder_has_an_empty_index,
    a_failed_item_blocks_who_reads_them_all_and_nobody_else,
    what_is_no_list_of_items_is_a_broken_contract_with_its_place,
    an_engine_killed_within_an_expanded_run_loses_no_item,
    lost_bytes_of_one_item_are_made_anew_alone,
    another_list_from_a_producer_made_anew_keeps_the_items_that_stay,
    a_condition_reads_what_all_items_made_as_a_list,
];

fn place(outcome: &Outcome, name: &str) -> prunella_journal::StepIndex {
    let found = outcome.plan.indices().find(|step| outcome.plan.id(*step).to_string() == name);
    found.unwrap_or_else(|| panic!("there is no {name}"))
}

fn stage(outcome: &Outcome, name: &str) -> Stage {
    outcome.state.state(place(outcome, name)).stage()
}

async fn text(engine: &Engine, run: &RunId, step: &str, output: &str) -> String {
    String::from_utf8(engine.result(run, step, output).await.unwrap()).unwrap()
}

const WRITTEN: &str = "
score:
  for_each: train
  run: echo score-${{ item.fold }} >> $OUT/ran; cat inputs/model/model.txt > s.txt; echo scored >> s.txt
  inputs: { model: train.model }
  outputs: { score: s.txt }
train:
  for_each: { fold: [0, 1, 2] }
  run: echo train-${{ item.fold }} >> $OUT/ran; echo \"$PRUNELLA_ITEM\" > model.txt
  outputs: { model: model.txt }
report:
  run: |
    echo report >> $OUT/ran
    (cd inputs/scores/score; find . -type f | sort; cat index.json; cat fold=2/s.txt) > r.txt
  inputs: { scores: score.score }
  outputs: { out: r.txt }
";

async fn items_run_by_themselves_and_are_read_item_by_item_and_as_a_folder() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let outcome = engine.complete("first", &scene.graph(WRITTEN)).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    let report = text(&engine, &outcome.run, "report", "out").await;
    assert_eq!(
        report,
        "./fold=0/s.txt\n./fold=1/s.txt\n./fold=2/s.txt\n./index.json\n[\n\
         {\"item\":{\"fold\":0},\"folder\":\"fold=0\",\"path\":\"fold=0/s.txt\"},\n\
         {\"item\":{\"fold\":1},\"folder\":\"fold=1\",\"path\":\"fold=1/s.txt\"},\n\
         {\"item\":{\"fold\":2},\"folder\":\"fold=2\",\"path\":\"fold=2/s.txt\"}\n]\n{\"fold\":2}\nscored\n"
    );
    assert_eq!(stage(&outcome, "train"), Stage::Gathered);
    engine.check(&outcome.run).await;
    // The same again runs nothing; one item more runs that, and the folder's reader.
    let again = engine.complete("second", &scene.graph(WRITTEN)).await;
    assert_eq!((again.status, scene.ran().values().sum::<usize>()), (RunStatus::Succeeded, 7), "{:?}", scene.ran());
    let more = WRITTEN.replace("[0, 1, 2]", "[0, 3, 1, 2]");
    let more = engine.complete("third", &scene.graph(&more)).await;
    assert_eq!((more.status, scene.ran()["train-3"], scene.ran()["train-0"]), (RunStatus::Succeeded, 1, 1));
    assert_eq!(scene.ran()["report"], 2);
}

const MADE: &str = "
split:
  run: echo split >> $OUT/ran; cat $OUT/list > items.json
  outputs: { items: items.json }
train:
  for_each: split.items
  run: |
    echo ${{ item.name }} >> $OUT/ran
    echo ${{ item.name }} > model.txt
    if [ -e $OUT/hold-${{ item.name }} ]; then
      echo holds
      while [ -e $OUT/hold-${{ item.name }} ]; do sleep 0.02; done
    fi
    if [ ${{ item.name }} = bad ]; then exit 3; fi
  outputs: { model: model.txt }
  retry: { error: 0 }
score:
  for_each: train
  run: echo score-${{ item.name }} >> $OUT/ran; cat inputs/model/model.txt > s.txt
  inputs: { model: train.model }
  outputs: { score: s.txt }
report:
  run: echo report >> $OUT/ran; (cd inputs/models/model; cat index.json; ls) > r.txt
  inputs: { models: train.model }
  outputs: { out: r.txt }
";

fn list(scene: &Scene, names: &[&str]) {
    let items: Vec<String> = names.iter().map(|name| format!("{{\"name\": \"{name}\"}}")).collect();
    std::fs::write(scene.outside("list"), format!("[{}]", items.join(", "))).unwrap();
}

async fn a_list_that_a_step_makes_is_fanned_out_over_once_it_is_there() {
    let scene = Scene::new();
    // Equal items are one.
    list(&scene, &["b", "a", "b"]);
    let engine = scene.engine().await;
    let outcome = engine.complete("first", &scene.graph(MADE)).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!((scene.ran()["a"], scene.ran()["b"], scene.ran()["score-b"]), (1, 1, 1));
    let report = text(&engine, &outcome.run, "report", "out").await;
    assert!(report.find("name=b").unwrap() < report.find("name=a").unwrap(), "the index is in their order: {report}");
    assert!(report.ends_with("index.json\nname=a\nname=b\n"), "{report}");
    engine.check(&outcome.run).await;
    let again = engine.complete("second", &scene.graph(MADE)).await;
    assert_eq!((again.status, scene.ran().values().sum::<usize>()), (RunStatus::Succeeded, 6), "{:?}", scene.ran());
}

async fn a_step_without_items_is_done_at_once_and_its_folder_has_an_empty_index() {
    let scene = Scene::new();
    list(&scene, &[]);
    let engine = scene.engine().await;
    let outcome = engine.complete("r", &scene.graph(MADE)).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    assert_eq!(text(&engine, &outcome.run, "report", "out").await, "[]\nindex.json\n");
    assert_eq!((stage(&outcome, "train"), stage(&outcome, "score")), (Stage::Gathered, Stage::Gathered));
}

async fn a_failed_item_blocks_who_reads_them_all_and_nobody_else() {
    let scene = Scene::new();
    list(&scene, &["bad", "good"]);
    let engine = scene.engine().await;
    let outcome = engine.complete("r", &scene.graph(MADE)).await;
    assert_eq!(outcome.status, RunStatus::Failed);
    let found = ["train:name=bad", "train:name=good", "score:name=bad", "score:name=good", "report", "train", "score"];
    let found = found.map(|name| stage(&outcome, name));
    use Stage::{Blocked, Done, Failed};
    assert_eq!(found, [Failed, Done, Blocked, Done, Blocked, Blocked, Blocked], "{:?}", engine.eye.events());
    // Taken up again, it goes on with what failed; what was done stays.
    engine.die().await;
    let again = scene.engine().await.drive(&outcome.run).await;
    assert_eq!((again.status, scene.ran()["bad"], scene.ran()["good"]), (RunStatus::Failed, 2, 1));
}

async fn what_is_no_list_of_items_is_a_broken_contract_with_its_place() {
    for (list, problem) in [
        ("[{\"name\": \"a\"},\n null]", "line 2, column 2: item 2 is null"),
        ("{}", "line 1, column 1: this is no list"),
        ("[{\"name\": \"a\"}, {\"nom\": 1}]", "item 2, `nom=1`, has nothing for `${{ item.name }}` in `score`"),
    ] {
        let scene = Scene::new();
        std::fs::write(scene.outside("list"), list).unwrap();
        let engine = scene.engine().await;
        let outcome = engine.complete("r", &scene.graph(MADE)).await;
        let failed = engine.eye.until(|event| match event {
            Event::StepFailed { step, class, why } => Some((step.to_string(), *class, why.clone())),
            _ => None,
        });
        let (step, class, why) = failed.await;
        assert_eq!((outcome.status, &*step, class), (RunStatus::Failed, "train", Class::Contract));
        assert!(why.contains("split.items") && why.contains(problem), "{why}");
        assert_eq!(stage(&outcome, "report"), Stage::Blocked);
    }
}

async fn an_engine_killed_within_an_expanded_run_loses_no_item() {
    let scene = Scene::new();
    list(&scene, &["a", "b", "c"]);
    std::fs::write(scene.outside("hold-b"), "").unwrap();
    let (first, second) = (scene.engine().await, scene.engine().await);
    let run = first.begin("r", &scene.graph(MADE)).await;
    let two_done = first.eye.until_all(|events| {
        let done = |event: &&Event| matches!(event, Event::StepCommitted { step, .. } if step.item.is_some());
        (events.iter().filter(done).count() >= 4).then_some(())
    });
    tokio::select! {
        biased;
        () = two_done => {}
        _ = first.drive(&run) => {}
    }
    first.die().await;
    std::fs::remove_file(scene.outside("hold-b")).unwrap();
    let outcome = second.drive(&run).await;
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", second.eye.events());
    let ran = scene.ran();
    let once = ["split", "a", "c", "score-a", "score-c", "score-b", "report"].map(|name| ran[name]);
    assert_eq!((once, ran["b"]), ([1; 7], 2), "{ran:?}");
    second.check(&run).await;
}

async fn lost_bytes_of_one_item_are_made_anew_alone() {
    let scene = Scene::new();
    let engine = scene.engine().await;
    let first = engine.complete("first", &scene.graph(WRITTEN)).await;
    let item = first.plan.id(place(&first, "score:fold=1")).clone();
    engine.lose(&first.run, &item, "score").await;
    // The reader of the folder is another work now, and needs the bytes that are gone.
    let changed = WRITTEN.replace("sort;", "sort; echo changed;");
    let second = engine.complete("second", &scene.graph(&changed)).await;
    assert_eq!(second.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    let ran = scene.ran();
    assert_eq!((ran["score-1"], ran["score-0"], ran["score-2"], ran["train-1"]), (2, 1, 1, 1), "{ran:?}");
    engine.check(&second.run).await;
}

async fn another_list_from_a_producer_made_anew_keeps_the_items_that_stay() {
    let scene = Scene::new();
    list(&scene, &["a", "b"]);
    // The last step finds the list lost, when everything has been made from what it was.
    let late = format!(
        "{MADE}
late:
  run: cat inputs/in/items.json
  inputs: {{ in: split.items }}
  after: [wait]
wait:
  run: echo ready; while [ ! -e $OUT/go ]; do sleep 0.02; done
  after: [report, score]
"
    );
    let engine = scene.engine().await;
    let run = engine.begin("r", &scene.graph(&late)).await;
    let (outcome, ()) = tokio::join!(engine.drive(&run), async {
        engine.eye.until_line("ready").await;
        let split = StepId::plain("split".parse().unwrap());
        engine.lose(&run, &split, "items").await;
        list(&scene, &["b", "c"]);
        std::fs::write(scene.outside("go"), "").unwrap();
    });
    assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
    let ran = scene.ran();
    let found = ["split", "a", "b", "c", "score-b", "score-c", "report"].map(|name| ran[name]);
    assert_eq!(found, [2, 1, 1, 1, 1, 1, 2], "{ran:?}");
    assert_eq!(stage(&outcome, "train:name=a"), Stage::Dropped);
    assert!(text(&engine, &run, "report", "out").await.ends_with("index.json\nname=b\nname=c\n"));
    engine.check(&run).await;
    // What the journal says, folded anew, is the same.
    let prunella_engine::Loaded { plan, state, .. } =
        prunella_engine::load_state(&engine.host.store, &run).await.unwrap();
    assert_eq!((plan.len(), state == outcome.state), (outcome.plan.len(), true));
}

async fn a_condition_reads_what_all_items_made_as_a_list() {
    for (least, released) in [(0, Stage::Done), (2, Stage::Skipped)] {
        let scene = Scene::new();
        let engine = scene.engine().await;
        let steps = format!(
            "
train:
  for_each: [1, 2, 3]
  run: |
    echo '{{\"score\": '${{{{ item }}}}'}}' > metrics.json
  outputs: {{ metrics: metrics.json }}
release:
  when: train.metrics.all(m, m.score > {least})
  run: echo released > out.txt
  outputs: {{ out: out.txt }}
"
        );
        let outcome = engine.complete("r", &scene.graph(&steps)).await;
        assert_eq!(outcome.status, RunStatus::Succeeded, "{:?}", engine.eye.events());
        assert_eq!(stage(&outcome, "release"), released);
    }
}
