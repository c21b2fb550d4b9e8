//! Faults of `chaos` that are more than signals: word of a cloud, two engines, memory, rot, and machines as recorded.

use serde_json::{Value, json};

use crate::home::Home;

/// A training that saves what it has when it is told to end, and a step that reads its model.
const PATIENT: &str = "prunella: v1
name: patient
steps:
  train:
    run: |
      c=$PRUNELLA_CHECKPOINT_DIR; n=$(cat $c/state 2>/dev/null || echo 0)
      trap 'exit 143' TERM
      while [ $n -lt 20 ]; do
        n=$((n + 1)); sleep 0.1; echo $n >$c/state.part; mv $c/state.part $c/state
      done
      head -c 200000 /dev/zero >model; echo model of $n >>model
    outputs: { model: model }
    publish: { model: out/model }
    checkpoint: { format: files, every: 100ms, grace: 5s }
  score:
    run: 'sleep 0.3; wc -c <\"$PRUNELLA_INPUT_MODEL\" >score'
    inputs: { model: train.model }
    outputs: { score: score }
";

/// Plays one run under a plan; nothing may be lost in it.
fn played(home: &Home, plan: &Value, words: &[&str]) -> Value {
    home.write("plan.json", &plan.to_string());
    let mut all = vec!["chaos", "--plan", "plan.json", "--runs", "1", "--seed", "1"];
    all.extend(words);
    let answer = home.json(&all);
    let run = &answer["runs"][0];
    assert_eq!((&run["wrong"], &run["exit_code"]), (&json!([]), &0.into()), "{answer}");
    answer
}

fn told(answer: &Value) -> Vec<&str> {
    let timeline = answer["runs"][0]["timeline"].as_array().expect("a list").iter();
    timeline.filter_map(|at| at["what"].as_str()).collect()
}

/// Returns the store of the run that was kept in this directory.
fn kept(home: &Home, dir: &str) -> String {
    home.dir.join(dir).join("0/store").display().to_string()
}

#[test]
fn each_cloud_gives_its_word_by_its_metadata_service_and_the_engine_is_ready_in_time() {
    let home = Home::with(PATIENT);
    for cloud in ["aws", "gcp", "azure"] {
        let profile = format!("{cloud}-spot");
        let words = ["chaos", "--profile", &profile, "--runs", "4", "--faults", "1", "--seed", "2", "--speed", "10"];
        let answer = home.json(&[&words[..], &["--dir", cloud, "--keep"]].concat());
        let mut heard = 0;
        for (n, run) in answer["runs"].as_array().expect("a list").iter().enumerate() {
            assert_eq!((&run["wrong"], &run["exit_code"]), (&json!([]), &0.into()), "{answer}");
            let whats: Vec<&str> =
                run["timeline"].as_array().expect("a list").iter().filter_map(|at| at["what"].as_str()).collect();
            if whats.contains(&"the engine was ready before: exit status: 75") {
                assert!(whats[0].starts_with(&format!("notice by {cloud}, ")), "{whats:?}");
                let store = home.dir.join(cloud).join(format!("{n}/store")).display().to_string();
                let steps = ["train", "score"].map(|step| home.json(&["explain", step, "--store", &store]));
                let attempts = steps.iter().filter_map(|step| step["attempts"].as_array()).flatten();
                let mut told = attempts.filter(|attempt| attempt["evidence"]["notice"]["source"] == cloud);
                heard += usize::from(told.any(|attempt| attempt["class"] == "preempted"));
            }
        }
        assert!(heard > 0, "{answer}");
    }
}

#[test]
fn profiles_of_clouds_and_platforms_divide_their_times_by_the_speed() {
    let home = Home::with(PATIENT);
    for (profile, grace_ms) in [("aws-spot", 6000), ("autopilot", 750)] {
        let words = ["chaos", "--profile", profile, "--runs", "2", "--faults", "2", "--seed", "3", "--speed", "20"];
        let answer = home.json(&words);
        let runs = answer["runs"].as_array().expect("a list");
        for run in runs {
            assert_eq!((&run["wrong"], &run["exit_code"]), (&json!([]), &0.into()), "{answer}");
        }
        let plans = runs.iter().filter_map(|run| run["plan"].as_array()).flatten();
        let notices: Vec<&Value> = plans.filter(|strike| strike["fault"] == "notice").collect();
        assert!(!notices.is_empty() && notices.iter().all(|notice| notice["grace_ms"] == grace_ms), "{answer}");
    }
}

#[test]
fn of_two_engines_that_are_started_at_once_one_drives_and_the_other_ends() {
    let home = Home::with(PATIENT);
    let plan = json!([{ "after_ms": 600, "fault": "two-engines" }, { "after_ms": 300, "fault": "two-engines" }]);
    let answer = played(&home, &plan, &["--dir", "kept", "--keep"]);
    let told = told(&answer);
    let left =
        told.iter().filter(|what| what.starts_with("one of two engines left the run to the other: exit status: "));
    assert_eq!(left.count(), 2, "{told:?}");
    assert_eq!(answer["runs"][0]["engines"], 5, "{answer}");
    let said = home.read("kept/0/engines.log");
    assert!(said.contains("is driven by another engine") || said.contains("another process drives"), "{said}");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_step_that_is_made_to_take_more_than_it_says_runs_out_of_memory_and_heals() {
    let limited = PATIENT.replace("    publish:", "    resources: { memory: 64MiB..128MiB }\n    publish:");
    let home = Home::with(&limited);
    let plan = json!([{ "after_ms": 700, "fault": "memory" }]);
    let answer = played(&home, &plan, &["--dir", "kept", "--keep"]);
    assert!(told(&answer)[0].starts_with("step takes more memory than it says: train, "), "{answer}");
    assert_eq!(answer["runs"][0]["faults"], 1, "{answer}");
    let explained = home.json(&["explain", "train", "--store", &kept(&home, "kept")]);
    let first = &explained["attempts"][0];
    assert_eq!(first["class"], "out-of-memory", "{explained}");
    assert!(first["evidence"]["out_of_memory"]["seen_bytes"].as_u64() > Some(64 << 20), "{explained}");
    // What says nothing of memory is held to nothing, and what would not get more would be given up.
    let bare = Home::with(PATIENT);
    assert_eq!(played(&bare, &plan, &[])["runs"][0]["faults"], 0);
}

#[test]
fn whatever_rots_while_a_run_goes_its_results_are_right_in_the_end() {
    let home = Home::with(PATIENT);
    let plan = json!([
        { "after_ms": 900, "fault": "rot" },
        { "after_ms": 300, "fault": "engine" },
        { "after_ms": 300, "fault": "rot" },
        { "after_ms": 900, "fault": "rot" },
    ]);
    home.write("plan.json", &plan.to_string());
    let answer = home.json(&["chaos", "--plan", "plan.json", "--runs", "5", "--seed", "1"]);
    let mut rotted = std::collections::BTreeSet::new();
    for run in answer["runs"].as_array().expect("a list") {
        assert_eq!((&run["wrong"], &run["exit_code"]), (&json!([]), &0.into()), "{answer}");
        let whats: Vec<&str> =
            run["timeline"].as_array().expect("a list").iter().filter_map(|at| at["what"].as_str()).collect();
        assert_eq!(whats.last(), Some(&"`heal` ended with 0"), "{whats:?}");
        for what in whats {
            rotted.extend(what.strip_prefix("bytes in the store rot: ").and_then(|key| key.split('/').next()));
        }
    }
    assert!(rotted.len() > 2, "{rotted:?}");
}

#[test]
fn machines_live_as_recorded_and_are_told_as_often_as_was_asked_for() {
    let home = Home::with(PATIENT);
    home.write("lives.csv", "life_seconds,zone\n100,a\n140,b\n");
    let words = ["chaos", "--trace", "lives.csv", "--notice", "30s", "--recall", "0.5", "--speed", "100"];
    let answer = home.json(&[&words[..], &["--runs", "2", "--faults", "3", "--seed", "4"]].concat());
    assert_eq!((&answer["profile"], &answer["speed"]), (&Value::Null, &100.0.into()));
    let (mut notices, mut kills) = (0, 0);
    for run in answer["runs"].as_array().expect("a list") {
        assert_eq!((&run["wrong"], &run["exit_code"]), (&json!([]), &0.into()), "{answer}");
        for strike in run["plan"].as_array().expect("a list") {
            let after = strike["after_ms"].as_u64().expect("a time");
            match strike["fault"].as_str() {
                Some("notice") => {
                    notices += 1;
                    assert!([700, 1100].contains(&after) && strike["grace_ms"] == 300, "{strike}");
                }
                Some("machine") => {
                    kills += 1;
                    assert!([1000, 1400].contains(&after), "{strike}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(notices > 0 && kills > 0, "{answer}");
    home.run(&["chaos", "--trace", "lives.csv", "--profile", "kills"]).exits(2);
    home.run(&["chaos", "--notice", "30s"]).exits(2);
    assert!(
        home.run(&["chaos", "--trace", "lives.csv", "--recall", "2"]).exits(2).err.contains("no share from 0 to 1")
    );
}
