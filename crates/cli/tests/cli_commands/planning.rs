//! plan: what a run would do.

use serde_json::Value;

use crate::home::{Home, plain};

/// Three steps; `train` checkpoints and fails as long as the file is not there.
fn pipeline(flag: &std::path::Path) -> String {
    format!(
        "prunella: v1
name: tiny
params: {{ top: 2 }}
data: {{ text: text.txt }}
code: [train.sh]
steps:
  split:
    run: sort ${{{{ inputs.text }}}} >sorted
    inputs: {{ text: data.text }}
    outputs: {{ sorted: sorted }}
    code: []
  train:
    run: sh train.sh ${{{{ inputs.sorted }}}} {flag}
    inputs: {{ sorted: split.sorted }}
    outputs: {{ model: model }}
    checkpoint: {{ format: files }}
    retry: {{ error: 0 }}
  report:
    run: head -n ${{{{ params.top }}}} ${{{{ inputs.model }}}} >page
    inputs: {{ model: train.model }}
    outputs: {{ page: page }}
    code: []
",
        flag = flag.display()
    )
}

const TRAIN: &str = "set -eu
echo half >$PRUNELLA_CHECKPOINT_DIR/.part
mv $PRUNELLA_CHECKPOINT_DIR/.part $PRUNELLA_CHECKPOINT_DIR/half
test -e $2
cat $1 >model
";

fn tiny() -> Home {
    let home = Home::new();
    home.write("pipeline.yaml", &pipeline(&home.beside("flag")));
    home.write("text.txt", "b\na\nc\n");
    home.write("train.sh", TRAIN);
    home.run(&["pin"]).exits(0);
    home
}

fn verdicts(plan: &Value) -> Vec<String> {
    let steps = plan["steps"].as_array().expect("a list");
    steps
        .iter()
        .map(|step| format!("{} {}", step["step"].as_str().unwrap(), step["verdict"].as_str().unwrap()))
        .collect()
}

#[test]
fn a_plan_is_made_without_a_store_and_leaves_nothing() {
    let home = tiny();
    let before = home.names();
    let plan = home.run(&["plan"]).exits(0);
    let expected = "tiny  a new run, 3 steps: 3 to run
to run  split   it has never run
to run  train   it has never run, after `split`
to run  report  it has never run, after `train`
";
    assert_eq!(plan.out, expected);
    assert_eq!(home.names(), before);
    assert_eq!(verdicts(&home.json(&["plan", "split"])), ["split to_run"]);
    assert!(home.run(&["plan", "nothing"]).exits(2).err.contains("the steps are split, train, report"));
}

#[test]
fn each_verdict_has_its_reason() {
    let home = tiny();
    home.run(&["run"]).exits(1);
    let resumed = home.run(&["plan"]).exits(0);
    let expected = "tiny  a new run, 3 steps: 1 reused, 1 resumed, 1 to run
reused   split   split@1 of run RUN
resumed  train   from checkpoint 1-1
to run   report  it has never run, after `train`
";
    assert_eq!(plain(&resumed.out), expected);

    std::fs::write(home.beside("flag"), "").expect("ours");
    home.run(&["run"]).exits(0);
    assert_eq!(verdicts(&home.json(&["plan"])), ["split reused", "train reused", "report reused"]);

    let forced = home.run(&["plan", "--force", "train"]).exits(0);
    let expected = "tiny  a new run, 3 steps: 1 reused, 1 to run, 1 open
reused  split   split@1 of run RUN
to run  train   forced; 2 checkpoints of the old key are not used
open    report  runs unless `train` gives the same bytes again
";
    assert_eq!(plain(&forced.out), expected);

    let param = home.json(&["plan", "--set", "top=1"]);
    assert_eq!(verdicts(&param), ["split reused", "train reused", "report to_run"]);
    assert_eq!(param["steps"][2]["why"][0], "top 2 → 1");

    home.write("train.sh", &TRAIN.replace("half", "middle"));
    let code = home.json(&["plan"]);
    assert_eq!(verdicts(&code), ["split reused", "train to_run", "report open"]);
    assert_eq!(code["steps"][1]["why"][0], "code changed");
    assert_eq!(code["steps"][1]["unused_checkpoints"], 2);

    home.write("text.txt", "other\n");
    let data = home.json(&["plan"]);
    assert_eq!(data["unpinned"][0], "data.text");
    assert!(data["steps"][0]["why"][0].as_str().unwrap().starts_with("input text changed ("));
    let summary = &data["summary"];
    assert_eq!((&summary["reused"], &summary["to_run"], &summary["open"]), (&0.into(), &2.into(), &1.into()));
}

#[test]
fn a_plan_agrees_with_the_run_that_follows() {
    let home = tiny();
    std::fs::write(home.beside("flag"), "").expect("ours");
    for change in ["", "text.txt", "train.sh", "pipeline.yaml"] {
        if !change.is_empty() {
            let text =
                home.read(change).replace("top: 2", "top: 1").replace("cat $1", "cat  $1").replace("b\na", "a\nb");
            home.write(change, &text);
        }
        home.run(&["pin"]).exits(0);
        let planned = verdicts(&home.json(&["plan"]));
        home.run(&["run"]).exits(0);
        let status = home.json(&["status"]);
        for (step, planned) in status["steps"].as_array().expect("a list").iter().zip(&planned) {
            let reused = step["state"] == "reused";
            let name = step["step"].as_str().expect("a name");
            match planned.strip_prefix(name).expect("the same step").trim() {
                "reused" => assert!(reused, "after {change}: {name} was planned as reused"),
                // Sorted, the text gives the same bytes again.
                "open" => assert_eq!(reused, !change.is_empty(), "after {change}: {name}"),
                _ => assert!(!reused, "after {change}: {name} was planned to run"),
            }
        }
    }
}

#[test]
fn a_step_sees_the_code_it_declares_and_no_other() {
    let home = Home::with(
        "prunella: v1
name: code
code: [a.sh, b.sh]
steps:
  all: { run: 'ls >out', outputs: { out: out } }
  some: { run: 'ls >out', outputs: { out: out }, code: [b.sh] }
  none: { run: 'ls >out', outputs: { out: out }, code: [] }
",
    );
    home.write("a.sh", "");
    home.write("b.sh", "");
    home.run(&["run"]).exits(0);
    let seen = |step: &str| home.run(&["get", &format!("{step}.out"), "-"]).exits(0).out;
    assert_eq!(
        (seen("all"), seen("some"), seen("none")),
        ("a.sh\nb.sh\nout\n".into(), "b.sh\nout\n".into(), "out\n".into())
    );
    home.write("a.sh", "true");
    assert_eq!(verdicts(&home.json(&["plan"])), ["all to_run", "some reused", "none reused"]);
}
