//! `chaos --kill-at`: an engine ends at every crash point of a phase, and the run goes on to the same bytes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::home::Home;

/// What is large goes another way into the store than what is small.
const SMALL: &str = "prunella: v1
name: small
steps:
  make:
    run: 'head -c 200000 /dev/zero >large; echo small >small'
    outputs: { large: large, small: small }
    publish: { small: out/small }
";

/// It goes on for as long as a checkpoint takes to be durable, and says what it went on from.
const PATIENT: &str = "prunella: v1
name: patient
steps:
  train:
    run: |
      c=$PRUNELLA_CHECKPOINT_DIR; n=$(cat $c/state 2>/dev/null || echo 0)
      while [ $n -lt 8 ]; do
        n=$((n + 1)); sleep 0.05; echo $n >$c/state.part; mv $c/state.part $c/state
      done
      echo model of $n >model
    outputs: { model: model }
    checkpoint: { format: files, every: 50ms }
";

/// Returns the runs by what was done at their points, and looks whether nothing was lost in any.
fn judged(answer: &Value) -> BTreeMap<String, String> {
    let runs = answer["runs"].as_array().expect("a list");
    for run in runs {
        assert_eq!((&run["wrong"], &run["exit_code"]), (&serde_json::json!([]), &0.into()), "{answer}");
    }
    let text = |run: &Value, name: &str| run[name].as_str().expect("a text").to_owned();
    runs.iter().map(|run| (text(run, "at"), text(run, "what"))).collect()
}

#[test]
fn at_every_crash_point_of_commit_and_publication_nothing_is_lost() {
    let home = Home::with(SMALL);
    let answer = home.json(&["chaos", "--kill-at", "commit", "--kill-at", "publish"]);
    let points = judged(&answer);
    // One transaction: before it, and after it where nobody has heard of it.
    assert!(
        points["commit:1"].starts_with("before transaction ") && points["commit:1"].contains(".end.json"),
        "{answer}"
    );
    assert!(points["commit:1:after"].starts_with("after transaction "), "{answer}");
    let renamed = |point: &(&String, &String)| point.1.contains("rename published/out/small");
    assert_eq!(points.iter().filter(renamed).count(), 2, "{answer}");
    for (n, counted) in answer["kill_at"].as_array().expect("a list").iter().enumerate() {
        assert_eq!(counted["phase"], ["commit", "publish"][n]);
        assert_eq!(counted["points"], counted["taken"]);
    }
    let runs = answer["runs"].as_array().expect("a list");
    assert!(runs.iter().all(|run| run["reached"] == true && run["engines"] == 2), "one step has one order: {answer}");
    let killed = runs[0]["timeline"][0]["what"].as_str().expect("a text");
    assert!(killed.starts_with("killed at commit:1: before transaction "), "{killed}");
    assert_eq!(home.names(), ["pipeline.yaml"]);
}

#[test]
fn outputs_on_their_way_into_the_store_are_taken_again_and_the_seed_says_which_points() {
    let home = Home::with(SMALL);
    let of = |seed: &str| {
        let answer = home.json(&["chaos", "--kill-at", "promote", "--runs", "3", "--seed", seed]);
        assert_eq!(answer["kill_at"][0]["taken"], 3, "{answer}");
        assert!(answer["kill_at"][0]["points"].as_u64() > Some(8), "{answer}");
        judged(&answer).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(of("1"), of("1"));
    let uploads = home.json(&["chaos", "--kill-at", "upload"]);
    let large = judged(&uploads).into_values().filter(|what| what.starts_with("after rename store/data/")).count();
    assert_eq!(large, 1, "the large file is moved into the store: {uploads}");
}

#[test]
fn a_checkpoint_that_was_cut_off_is_none_and_one_that_is_cut_off_while_it_is_restored_is_restored_again() {
    let home = Home::with(PATIENT);
    let answer = home.json(&["chaos", "--kill-at", "restore", "--kill-at", "checkpoint", "--runs", "6", "--seed", "2"]);
    judged(&answer);
    let reached = |phase: &str| {
        let runs = answer["runs"].as_array().expect("a list").iter();
        runs.filter(|run| run["at"].as_str().is_some_and(|at| at.starts_with(phase)) && run["reached"] == true).count()
    };
    assert!(reached("checkpoint") > 0, "{answer}");
    // All of a restoring are few.
    let answer = home.json(&["chaos", "--kill-at", "restore"]);
    assert!(judged(&answer).values().any(|what| what.ends_with("/state")), "{answer}");
    for run in answer["runs"].as_array().expect("a list") {
        assert_eq!((&run["reached"], &run["engines"]), (&true.into(), &3.into()), "{answer}");
        assert_eq!(run["timeline"][0]["what"], "killed at checkpoint.told:1");
    }
    assert!(answer["prunella"]["recovered"].as_u64() > Some(0), "{answer}");
}

#[test]
fn a_step_that_does_not_stand_it_is_found_and_the_command_that_shows_it_again_does() {
    let home = Home::new();
    let log = home.beside("log");
    let pipeline = format!(
        "prunella: v1\nname: careless\nsteps:\n  count:\n    run: 'echo x >>{log}; wc -l <{log} >lines'\n    outputs: {{ lines: lines }}\n",
        log = log.display()
    );
    home.write("pipeline.yaml", &pipeline);
    let told = home.run(&["chaos", "--kill-at", "commit"]).exits(1);
    assert!(told.out.contains("I1 visible does not hold: `count.lines` is not what"), "{}", told.out);
    assert!(told.out.contains("commit: all 2 crash points\n"), "{}", told.out);
    let again = told.out.lines().find_map(|line| line.trim().strip_prefix("again: prunella ")).expect("it is told");
    assert!(again.ends_with("--kill-at commit:1"), "{again}");
    let again = home.run(&again.split(' ').collect::<Vec<_>>()).exits(1);
    assert!(again.out.contains("\ncommit:1 (before transaction "), "{}", again.out);
}

#[test]
fn phases_that_a_pipeline_does_not_have_and_words_that_are_none_are_told() {
    let home = Home::with("prunella: v1\nname: bare\nsteps: { one: { run: 'echo x >x', outputs: { x: x } } }\n");
    let told = home.run(&["chaos", "--kill-at", "restore", "--kill-at", "publish"]).exits(2);
    assert!(told.err.contains("none of these phases has a crash point"), "{}", told.err);
    let told = home.run(&["chaos", "--kill-at", "rain"]).exits(2);
    assert!(told.err.contains("there is no phase `rain`; there are `upload`, `promote`"), "{}", told.err);
    let told = home.run(&["chaos", "--kill-at", "commit:0"]).exits(2);
    assert!(told.err.contains("is no crash point"), "{}", told.err);
    home.run(&["chaos", "--kill-at", "commit", "--profile", "kills"]).exits(2);
    let mut command = home.command(&["run"]);
    let told: crate::home::Answer = command.env("PRUNELLA_KILL_AT", "promote").output().expect("it starts").into();
    assert!(told.exits(2).err.contains("PRUNELLA_KILL_AT: `promote` is no crash point"));
}
