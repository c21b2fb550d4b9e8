//! report: what interruptions cost, of real runs.

use serde_json::Value;

use crate::{
    home::{Home, SMALL},
    shelves::{Rows, Shelf},
};

/// Kills itself once, after a checkpoint that the second attempt goes on from.
const KILLED: &str = "prunella: v1
name: killed
steps:
  train:
    run: |
      if [ $PRUNELLA_RESTORED = 1 ]; then cp $PRUNELLA_CHECKPOINT_DIR/state model; exit 0; fi
      echo 1 >state.part; mv state.part $PRUNELLA_CHECKPOINT_DIR/state
      prunella tell checkpoint state --wait durable && kill -9 $$
    outputs: { model: model }
    checkpoint: { format: files }
";

fn killed() -> Home {
    let home = Home::with(&KILLED.replace("prunella tell", &format!("{} tell", crate::home::PRUNELLA)));
    home.run(&["run"]).exits(0);
    home
}

#[test]
fn an_interrupted_run_has_its_row_its_parts_and_its_page() {
    let home = killed();
    let shown = home.json(&["report", "--price", "2.5", "--html", "report.html"]);
    let run = &shown["runs"][0];
    assert_eq!((&run["status"], &run["number"]), (&"succeeded".into(), &1.into()));
    assert_eq!(run["ends_by_class"]["killed"], serde_json::json!({ "ends": 1, "recovered": 1, "interruption": true }));
    assert_eq!((&run["table"]["interruptions"], &run["table"]["recovered"]), (&1.into(), &1.into()));
    // The parts of the only recovery are its whole.
    let parts = &run["recovery_parts"];
    let sum: u64 = ["detect", "decide", "backoff", "capacity", "restore"]
        .iter()
        .map(|part| parts[part]["mean_ms"].as_u64().expect("it recovered"))
        .sum();
    assert_eq!(Value::from(sum), run["table"]["mttr"]["mean_ms"]);
    let by = run["figures"]["lost_by_ms"].as_object().expect("something was lost");
    let lost: u64 = by.values().map(|ms| ms.as_u64().expect("a time")).sum();
    assert_eq!(Value::from(lost), run["figures"]["lost_ms"]);
    assert_eq!((&shown["all"]["corruption"], &shown["all"]["corruption_known_by"]), (&Value::Null, &"nothing".into()));
    assert!(run["spend"]["spent"].as_f64().is_some_and(|spent| spent > 0.0));

    let page = home.read("report.html");
    for part in ["<h1>Report: killed #1</h1>", "train@1: ended: killed", "train@2: committed", "class=\"restored\""] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(home.names(), [".prunella", "pipeline.yaml", "report.html"], "nothing is left over");
    let text = home.run(&["report"]).exits(0).out;
    assert!(text.contains("1, 1 recovered") && text.contains("not checked"), "{text}");
}

#[test]
fn corruption_is_known_once_the_bytes_were_read() {
    let home = Home::with(SMALL);
    home.run(&["run"]).exits(0);
    let table = |shown: &Value| shown["runs"][0]["table"]["corrupt_artifacts"].clone();
    assert_eq!(table(&home.json(&["report"])), Value::Null);
    let shown = home.json(&["report", "--verify"]);
    assert_eq!((table(&shown), &shown["runs"][0]["checked_files"]), (0.into(), &3.into()));
    assert!(home.damage() > 0);
    assert_ne!(table(&home.json(&["report", "--verify"])), Value::from(0));
}

#[test]
fn several_runs_have_a_row_each_and_one_of_all() {
    let home = Home::with(SMALL);
    home.run(&["run"]).exits(0);
    home.run(&["run", "--new"]).exits(0);
    home.write("pipeline.yaml", &SMALL.replace("name: small", "name: other"));
    home.run(&["run"]).exits(0);
    let pipelines = |words: &[&str]| -> Vec<(String, u64)> {
        let shown = home.json(words);
        let runs = shown["runs"].as_array().expect("runs").iter();
        runs.map(|run| (run["pipeline"].as_str().expect("a name").to_owned(), run["number"].as_u64().expect("one")))
            .collect()
    };
    let of = |name: &str, number| (name.to_owned(), number);
    assert_eq!(pipelines(&["report"]), [of("other", 1)]);
    assert_eq!(pipelines(&["report", "--last", "2"]), [of("other", 1), of("small", 2)]);
    assert_eq!(pipelines(&["report", "--pipeline", "small"]), [of("small", 2), of("small", 1)]);
    let text = home.run(&["report", "--last", "9", "--html", "all.html"]).exits(0).out;
    assert!(text.contains("all 3 runs"), "{text}");
    assert_eq!(home.read("all.html").matches("<h2>").count(), 3);
    let unknown = home.run(&["report", "--pipeline", "none"]).exits(2).err;
    assert!(unknown.contains("the pipelines are other, small"), "{unknown}");
    assert!(home.run(&["report", "zzz"]).exits(2).err.contains("there is no run"));
    assert!(home.run(&["report", "--price=-1"]).exits(2).err.contains("what an hour costs"));
}

#[test]
fn a_damaged_journal_is_reported_up_to_the_damage_and_said_to_be_so() {
    let home = Home::with(SMALL);
    home.run(&["run"]).exits(0);
    let rows = Rows::of(&home);
    let all = rows.all();
    // The newest is listed first.
    let newest = all.keys().find(|key| key.contains("/journal/")).expect("a segment");
    let mut bytes = all[newest].clone();
    bytes[40] ^= 1;
    rows.set(newest, Some(bytes));
    let words = ["report", "--html", "report.html", "--output", "json"];
    let told = home.run(&words).exits(0);
    assert!(told.err.contains("is not reported") && told.err.contains(newest.as_str()), "{}", told.err);
    assert!(told.json()["runs"][0]["damage"].as_str().is_some_and(|damage| damage.contains(newest.as_str())));
    assert!(home.read("report.html").contains("The journal is damaged"));
}
