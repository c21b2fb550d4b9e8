//! exec and tell: one attempt as a pod runs it, and what its program says.

use crate::home::{Home, PRUNELLA, hear, signal};

/// The second step does what a file beside the directory says; without it, it fails with 3.
fn pipeline(home: &Home) -> String {
    format!(
        "prunella: v1
name: pod
steps:
  split: {{ run: 'echo 1 >one', outputs: {{ one: one }} }}
  train:
    run: sh {}
    inputs: {{ one: split.one }}
    outputs: {{ out: out }}
    checkpoint: {{ format: socket, grace: 20s }}
    retry: {{ error: 0 }}
",
        home.beside("script").display()
    )
}

/// Returns a home with a run whose second step failed, and the run's id.
fn pod() -> (Home, String) {
    let home = Home::new();
    home.write("pipeline.yaml", &pipeline(&home));
    script(&home, "exit 3");
    home.run(&["run"]).exits(1);
    let run = home.json(&["status"])["run"].as_str().expect("an id").to_owned();
    (home, run)
}

fn script(home: &Home, text: &str) {
    std::fs::write(home.beside("script"), text).expect("ours");
}

#[test]
fn exec_commits_binds_the_step_and_reuses() {
    let (home, run) = pod();
    script(&home, "echo made; cat inputs/one/one >out");
    let done = home.run(&["exec", "--run", &run, "--step", "train"]).exits(0);
    assert_eq!(done.out, "made\n", "what the step writes is passed on");
    assert!(done.err.contains("committed: train@2"), "{}", done.err);
    assert_eq!(home.run(&["get", &run, "train.out", "-"]).exits(0).out, "1\n");
    assert_eq!(home.json(&["explain", &run, "train"])["state"], "done");
    assert_eq!(home.json(&["status", &run])["steps"][1]["state"], "done");
    assert_eq!(home.run(&["logs", &run, "train", "--stdout"]).exits(0).out, "made\n");

    script(&home, "exit 9");
    let again = home.json(&["exec", "--run", &run, "--step", "train"]);
    assert_eq!((&again["outcome"], &again["code"]), (&"reused".into(), &0.into()));
    let slot = home.json(&["explain", &run, "split"]);
    let upstream = format!("split={}@{}", slot["key"].as_str().unwrap(), slot["commit"]["epoch"]);
    home.run(&["exec", "--run", &run, "--step", "train", "--upstream", &upstream]).exits(0);
}

#[test]
fn exit_codes_are_those_of_the_protocol() {
    let (home, run) = pod();
    let exec = |more: &[&str]| {
        let words: Vec<&str> = ["exec", "--run", &run, "--step", "train"].iter().chain(more).copied().collect();
        home.run(&words)
    };
    // Its budget (none) is used up, and the class is in the answer.
    let failed = exec(&["--output", "json"]).exits(78).json();
    assert_eq!((&failed["class"], &failed["outcome"]), (&"error".into(), &"failed".into()));

    let too_often = exec(&["--retry-index", "1001", "--store", "nowhere"]).exits(78);
    assert!(too_often.err.contains("try 1001"), "{}", too_often.err);
    home.run(&["exec", "--run", "no-such-run", "--step", "train"]).exits(78);
    home.run(&["exec", "--run", &run, "--step", "nothing"]).exits(78);
    let none = format!("split={}@1", "00".repeat(32));
    exec(&["--upstream", &none]).exits(78);
    exec(&["--upstream", "split"]).exits(78);
    exec(&["--no-such-option"]).exits(78);
}

#[test]
fn a_steps_own_code_is_passed_on_while_its_budget_lasts() {
    let home = Home::new();
    home.write("pipeline.yaml", &pipeline(&home).replace("error: 0", "error: { limit: 3, backoff: 1ms..1ms }"));
    script(&home, "echo as before >&2; exit 4");
    home.run(&["run", "split"]).exits(0);
    let run = home.json(&["status"])["run"].as_str().expect("an id").to_owned();
    let exec = |code| home.run(&["exec", "--run", &run, "--step", "train"]).exits(code);
    exec(4);
    script(&home, "echo something else >&2; exit 75");
    exec(1);
    // The same again is deterministic; and attempts that live only briefly make the next one wait.
    assert!(exec(78).err.contains("waiting "));
}

#[test]
fn too_little_memory_asks_for_the_next_rung_and_grows() {
    let home = Home::new();
    let memory = "retry: { error: 0 }\n    resources: { cpu: 1, memory: 16MiB..64MiB }";
    home.write("pipeline.yaml", &pipeline(&home).replace("retry: { error: 0 }", memory));
    // `tail` holds what nobody reads.
    script(&home, "head -c 100M /dev/zero | tail -c 99M | sleep 60");
    home.run(&["run", "split"]).exits(0);
    let run = home.json(&["status"])["run"].as_str().expect("an id").to_owned();
    let exec = || home.run(&["exec", "--run", &run, "--step", "train", "--output", "json"]).exits(77).json();
    let limit = |answer: &serde_json::Value| answer["evidence"]["out_of_memory"]["limit_bytes"].as_u64();
    let first = exec();
    assert_eq!((&first["class"], limit(&first)), (&"out-of-memory".into(), Some(16 << 20)));
    assert_eq!(limit(&exec()), Some(24 << 20));
}

#[test]
fn exec_refuses_a_run_that_gc_gave_up_and_writes_nothing_for_it() {
    let (home, first) = pod();
    // What is left of it is shared with the run that is retained.
    script(&home, "cp inputs/one/one out");
    home.write("pipeline.yaml", &pipeline(&home).replace("error: 0", "error: 1"));
    home.run(&["run", "--new"]).exits(0);
    let collected = home.json(&["gc", "--keep-runs", "1", "--apply"]);
    assert_eq!(collected["runs"], serde_json::json!([first]));
    let before = home.stored();
    for step in ["train", "split"] {
        let refused = home.run(&["exec", "--run", &first, "--step", step]).exits(78);
        assert!(refused.err.contains("given up by `prunella gc`"), "{}", refused.err);
        assert_eq!(home.stored(), before, "{step}");
    }
}

#[test]
fn a_damaged_upstream_is_marked_and_the_graph_makes_it_anew() {
    let home = Home::new();
    home.write("pipeline.yaml", &pipeline(&home).replace("echo 1 >one", "seq 1 100000 >one"));
    script(&home, "exit 3");
    home.run(&["run"]).exits(1);
    let run = home.json(&["status"])["run"].as_str().expect("an id").to_owned();
    home.damage();
    script(&home, "tail -n 1 inputs/one/one >out");
    let refused = home.run(&["exec", "--run", &run, "--step", "train"]).exits(79);
    assert!(refused.err.contains("split.one is marked as damaged"), "{}", refused.err);
    let plan = home.json(&["plan"]);
    assert_eq!(plan["steps"][0]["why"][0], "the bytes of split@1 were found damaged");
    home.run(&["run"]).exits(0);
    assert_eq!(home.run(&["get", "train.out", "-"]).exits(0).out, "100000\n");
}

#[test]
fn sigterm_is_a_notice_and_another_attempt_may_start() {
    let (home, run) = pod();
    let begun = home.pipe("begun");
    let wait = "trap 'exit 143' TERM; mkfifo never; echo begun >BEGUN; read x <never";
    script(&home, &wait.replace("BEGUN", &begun.display().to_string()));
    let child = home.start(&["exec", "--run", &run, "--step", "train"]);
    assert_eq!(hear(&begun), "begun\n");
    signal(&child, "TERM");
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(75), "{}", String::from_utf8_lossy(&ended.stderr));
    let explained = home.json(&["explain", &run, "train"]);
    assert_eq!(explained["attempts"][1]["class"], "preempted");
    assert_eq!(explained["attempts"][1]["evidence"]["notice"]["source"], "sigterm");
}

#[test]
fn a_shell_script_tells_of_checkpoints_progress_and_its_end() {
    let (home, run) = pod();
    script(
        &home,
        &format!(
            "set -e
{PRUNELLA} tell progress '{{\"epoch\": 1}}'
echo state >$PRUNELLA_CHECKPOINT_DIR/e1
{PRUNELLA} tell checkpoint $PRUNELLA_CHECKPOINT_DIR/e1 --wait durable --progress 1
echo later >$PRUNELLA_CHECKPOINT_DIR/e2
{PRUNELLA} tell checkpoint e2 --output json
{PRUNELLA} tell checkpoint nothing || echo missed: $?
{PRUNELLA} tell checkpoint ../up || echo refused: $?
{PRUNELLA} tell done
cp inputs/one/one out
"
        ),
    );
    let done = home.run(&["exec", "--run", &run, "--step", "train"]).exits(0);
    let expected = "durable 1\n{\"seq\":2,\"type\":\"taken\"}\nmissed: 1\nrefused: 2\n";
    assert_eq!(done.out, expected, "{}", done.err);
    let checkpoints = home.json(&["explain", &run, "train"])["checkpoints"].clone();
    assert_eq!(checkpoints[0], "2-2");
}

#[test]
fn tell_outside_a_step_says_so() {
    let home = Home::new();
    for words in [&["tell", "done"][..], &["tell", "progress", "1"], &["tell", "checkpoint", "x"]] {
        let answer = home.run(words).exits(2);
        assert!(answer.err.contains("this is not a step") && answer.err.contains("help:"), "{}", answer.err);
    }
}
