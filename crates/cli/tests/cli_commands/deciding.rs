//! when, on_exit and on_failure: what every command says of them.

use crate::home::Home;

const GATE: &str = "prunella: v1
name: gate
params: { least: 0.9 }
steps:
  evaluate:
    run: |
      echo '{\"accuracy\": 0.93}' > m.json
    outputs: { metrics: m.json }
  release:
    when: evaluate.metrics.accuracy > params.least
    run: echo released > r
    outputs: { r: r }
  shout:
    run: cat ${{ inputs.r }} > s
    inputs: { r: release.r }
    outputs: { s: s }
on_exit: echo it $PRUNELLA_RUN_STATUS
on_failure: echo because of $PRUNELLA_FAILED_STEPS
";

fn gate() -> Home {
    let home = Home::new();
    home.write("pipeline.yaml", GATE);
    home
}

#[test]
fn a_condition_is_shown_before_it_is_answered_and_after() {
    let home = gate();
    let plan = home.run(&["plan", "--output", "json"]).exits(0).json();
    assert_eq!(plan["steps"][1]["verdict"], "open");
    assert_eq!(plan["steps"][1]["why"][0], "decided when `evaluate` is done: evaluate.metrics.accuracy > params.least");
    let graph = home.run(&["graph", "--format", "json"]).exits(0).json();
    let edges = graph["edges"].as_array().expect("a list");
    let decides = edges.iter().find(|edge| edge["kind"] == "condition").expect("the condition is an edge");
    assert_eq!((&decides["from"], &decides["to"]), (&"evaluate".into(), &"release".into()));
    assert!(home.run(&["graph"]).exits(0).out.contains("when evaluate.metrics.accuracy > params.least"));
    assert!(home.run(&["graph", "--format", "mermaid"]).exits(0).out.contains("s0 -.->|\"metrics#58; when"));

    let run = home.run(&["run", "--set", "least=0.95"]).exits(0);
    let said = format!("{}{}", run.out, run.err);
    assert!(said.contains("release skipped: its condition does not hold"), "{said}");
    assert!(said.contains("2 steps skipped"), "{said}");
    let status = home.run(&["status", "--output", "json"]).exits(0).json();
    let states: Vec<&str> =
        status["steps"].as_array().unwrap().iter().filter_map(|step| step["state"].as_str()).collect();
    assert_eq!(states, ["done", "skipped", "skipped", "done", "waiting"]);
    assert_eq!(status["figures"]["steps"]["skipped"], 2);
    let explain = home.run(&["explain", "release", "--output", "json"]).exits(0).json();
    assert_eq!((&explain["state"], &explain["when"]["holds"]), (&"skipped".into(), &false.into()));
    assert_eq!(explain["when"]["saw"][0]["value"], "0.93");
    assert!(home.run(&["explain", "shout"]).exits(0).out.contains("skipped: it reads release, which was skipped"));

    home.run(&["run"]).exits(0);
    let explain = home.run(&["explain", "release"]).exits(0).out;
    assert!(explain.contains("it holds") && explain.contains("saw evaluate.metrics.accuracy = 0.93"), "{explain}");
    let differs = home.run(&["diff", "--output", "json"]).exits(1).json();
    let steps = differs["changes"]["steps"].as_array().expect("a list");
    let release = steps.iter().find(|step| step["step"] == "release").expect("it ran only once");
    assert_eq!((&release["old"]["state"], &release["new"]["state"]), (&"skipped".into(), &"done".into()));
}

#[test]
fn what_runs_at_the_end_is_a_step_with_a_log_of_its_own() {
    let home = gate();
    home.run(&["run"]).exits(0);
    assert_eq!(home.run(&["logs", "on_exit"]).exits(0).out.trim(), "it succeeded");
    assert!(home.run(&["graph"]).exits(0).out.contains("once the run has succeeded or failed"));
    home.run(&["run", "on_exit"]).exits(2);
    home.write(
        "pipeline.yaml",
        &GATE.replace("echo released", "exit 3; echo").replace("outputs: { r: r }", "outputs: { r: r }\n    retry: 0"),
    );
    home.run(&["run"]).exits(1);
    assert_eq!(home.run(&["logs", "on_exit"]).exits(0).out.trim(), "it failed");
    assert_eq!(home.run(&["logs", "on_failure"]).exits(0).out.trim(), "because of release");
}

#[test]
fn a_failure_at_the_end_is_shown_and_the_run_exits_as_it_came_out() {
    let home = gate();
    home.write("pipeline.yaml", &GATE.replace("on_exit: echo", "on_exit: exit 3; echo"));
    let run = home.run(&["run"]).exits(0);
    let said = format!("{}{}", run.out, run.err);
    assert!(said.contains("on_exit failed") && said.contains("succeeded in"), "{said}");
    assert!(home.run(&["explain", "on_exit"]).exits(0).out.contains("given up: error"));
}
