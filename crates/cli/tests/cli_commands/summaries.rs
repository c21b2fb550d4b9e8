//! What is shown of a run is the same from its summary and from its whole journal.

use prunella_engine::summarize;
use prunella_journal::{SegmentId, segment_key};
use prunella_model::RunId;
use prunella_objects::Embedded;
use prunella_store::Store;
use prunella_sys::Sys;

use crate::home::{Home, hear, let_go, signal};

const EVENTFUL: &str = "prunella: v1
name: eventful
params: { least: 0.95 }
steps:
  list:
    run: echo '[1, 2, 3]' >list.json
    outputs: { list: list.json }
  each:
    for_each: list.list
    run: test ${{ item }} != 2 && echo ${{ item }} >out
    outputs: { out: out }
    retry: { error: { limit: 2, backoff: 1ms..2ms } }
  all:
    run: cp ${{ inputs.outs }}/index.json page
    inputs: { outs: each.out }
    outputs: { page: page }
  evaluate:
    run: |
      echo '{\"accuracy\": 0.93}' >m.json
    outputs: { metrics: m.json }
  release:
    when: evaluate.metrics.accuracy > params.least
    run: echo released >r
    outputs: { r: r }
  shout:
    run: cat ${{ inputs.r }} >s
    inputs: { r: release.r }
    outputs: { s: s }
  again:
    run: |
      echo '{\"accuracy\": 0.93}' >m.json
    outputs: { metrics: m.json }
on_exit: echo it $PRUNELLA_RUN_STATUS
";

/// A step that waits in its second attempt, with a checkpoint of the first; others wait for it.
fn waiting(home: &Home) -> (String, std::path::PathBuf, std::path::PathBuf) {
    let (begun, go) = (home.pipe("begun"), home.pipe("go"));
    let text = format!(
        "prunella: v1
name: waiting
steps:
  first: {{ run: 'echo 1 >one', outputs: {{ one: one }} }}
  wait:
    run: |
      if [ $PRUNELLA_RESTORED = 0 ]; then echo 1 >$PRUNELLA_CHECKPOINT_DIR/.p; mv $PRUNELLA_CHECKPOINT_DIR/.p $PRUNELLA_CHECKPOINT_DIR/p; exit 3; fi
      echo begun >{}
      read x <{}
      echo $x >out
    inputs: {{ one: first.one }}
    outputs: {{ out: out }}
    checkpoint: {{ format: files, every: auto }}
  last: {{ run: 'cp ${{{{ inputs.out }}}} page', inputs: {{ out: wait.out }}, outputs: {{ page: page }} }}
",
        begun.display(),
        go.display()
    );
    (text, begun, go)
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn store(home: &Home) -> Store {
    let sys = Sys::real();
    let objects = Embedded::open(&sys, &home.dir.join(".prunella")).expect("a store");
    Store::new(std::sync::Arc::new(objects), sys)
}

fn newest_run(home: &Home) -> RunId {
    let status = home.json(&["status"]);
    RunId::new(status["run"].as_str().expect("an id")).expect("an id")
}

fn summary(home: &Home, run: &RunId) -> Vec<prunella_objects::ObjectKey> {
    let listed = wait_for(store(home).objects().list(&format!("runs/{run}/summary/"), None, usize::MAX));
    listed.expect("readable").into_iter().map(|listed| listed.key).collect()
}

/// Every answer about the newest run, byte for byte.
fn answers(home: &Home) -> Vec<(String, i32, String, String)> {
    let steps = home.json(&["status"])["steps"].clone();
    let steps = steps.as_array().expect("steps").iter().map(|step| step["step"].as_str().expect("a name").to_owned());
    let mut questions = vec![vec!["status".to_owned()], vec!["runs".to_owned()]];
    questions.extend(steps.chain(["nowhere".to_owned()]).map(|step| vec!["explain".to_owned(), step]));
    let mut answers = Vec::new();
    for question in questions {
        for output in ["text", "json"] {
            let words: Vec<&str> = question.iter().map(String::as_str).chain(["--output", output]).collect();
            let answer = home.run(&words);
            answers.push((words.join(" "), answer.code, answer.out, answer.err));
        }
    }
    answers
}

/// Asks without a summary, with one, and with one that is damaged.
fn every_answer_is_the_same(home: &Home) {
    let run = newest_run(home);
    assert_eq!(summary(home, &run), [], "a short run has none by itself");
    let without = answers(home);
    wait_for(summarize(&store(home), &run)).expect("room");
    let [head, body] = <[_; 2]>::try_from(summary(home, &run)).expect("a head and a body");
    assert_eq!(answers(home), without);
    let store = store(home);
    wait_for(async {
        let bytes = store.objects().get(&body).await.expect("readable").expect("there");
        assert!(store.objects().delete(&body).await.expect("ours"));
        let torn = bytes.slice(..bytes.len() / 2);
        assert_eq!(store.objects().create(&body, torn).await.expect("room"), prunella_objects::Created::New);
    });
    assert_eq!(answers(home), without);
    for key in [head, body] {
        assert!(wait_for(store.objects().delete(&key)).expect("ours"));
    }
}

#[test]
fn a_run_with_failures_items_and_conditions_is_shown_the_same_with_a_summary_and_without() {
    let home = Home::with(EVENTFUL);
    home.run(&["run"]).exits(1);
    every_answer_is_the_same(&home);
    home.run(&["run", "all", "--new"]).exits(1);
    every_answer_is_the_same(&home);
    let left_out = home.run(&["explain", "release"]).exits(2).err;
    assert!(left_out.contains("leaves `release` out"), "{left_out}");
}

#[test]
fn a_run_that_goes_on_is_shown_the_same_with_a_summary_and_without_and_so_is_what_a_killed_engine_left() {
    let home = Home::new();
    let (text, begun, go) = waiting(&home);
    home.write("pipeline.yaml", &text);
    let mut engine = home.start(&["run"]);
    hear(&begun);
    // The program says that it has begun before its engine has written so down.
    let since = std::time::Instant::now();
    let told = |status: &serde_json::Value| {
        let waits = status["steps"].as_array().into_iter().flatten().find(|step| step["step"] == "wait");
        waits.and_then(|step| step["detail"].as_str()).is_some_and(|detail| detail.starts_with("wait@2, process "))
    };
    while !told(&home.json(&["status"])) {
        assert!(since.elapsed().as_secs() < 30, "{}", home.json(&["status"]));
    }
    assert_eq!(home.json(&["status"])["status"], "running");
    every_answer_is_the_same(&home);
    // The summary of before, and what happened since.
    let run = newest_run(&home);
    wait_for(summarize(&store(&home), &run)).expect("room");
    signal(&engine, "KILL");
    engine.wait().expect("it is gone");
    let with = answers(&home);
    assert_eq!(home.json(&["status"])["status"], "interrupted");
    forget(&home, &run);
    assert_eq!(answers(&home), with);
    wait_for(summarize(&store(&home), &run)).expect("room");
    let mut engine = home.start(&["run"]);
    hear(&begun);
    let_go(&go);
    assert!(engine.wait().expect("it ends").success());
    let with = answers(&home);
    assert_eq!(home.json(&["runs"])["runs"][0]["status"], "succeeded");
    forget(&home, &run);
    assert_eq!(answers(&home), with);
}

fn forget(home: &Home, run: &RunId) {
    let keys = summary(home, run);
    assert_eq!(keys.len(), 2);
    let store = store(home);
    keys.iter().for_each(|key| assert!(wait_for(store.objects().delete(key)).expect("ours")));
}

#[test]
fn of_a_run_that_has_a_summary_its_journal_is_not_read() {
    // Of a step that its condition skipped the answer is shown, and that stands in some segment.
    let home = Home::with(&EVENTFUL.replace("    when: evaluate.metrics.accuracy > params.least\n", ""));
    home.run(&["run"]).exits(1);
    let run = newest_run(&home);
    wait_for(summarize(&store(&home), &run)).expect("room");
    let status = home.run(&["status"]).exits(0).out;
    let runs = home.run(&["runs"]).exits(0).out;
    let store = store(&home);
    let first = segment_key(&SegmentId { run: run.clone(), driver: 1, seq: 1 });
    assert!(wait_for(store.objects().delete(&first)).expect("ours"));
    assert_eq!(home.run(&["status"]).out, status);
    assert_eq!(home.run(&["runs"]).out, runs);
    forget(&home, &run);
    let told = home.run(&["status"]).exits(0);
    assert!(told.err.contains("lacks segment 1 of driver 1"), "without it the whole journal is needed: {}", told.err);
}
