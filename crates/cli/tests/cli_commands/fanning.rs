//! Commands and steps that fan out: what is asked of the whole, of one item, and how it is counted.

use serde_json::Value;

use crate::home::Home;

/// Models by learning rate, their scores, and the best of them.
const SWEEP: &str = "prunella: v1
name: sweep
params: { lrs: [.1, 0.2], seed: 7 }
steps:
  train:
    for_each: { lr: \"${{ params.lrs }}\", seed: [\"${{ params.seed }}\"] }
    run: echo ${{ item.lr }} ${{ item.seed }} > model.txt
    outputs: { model: model.txt }
  all:
    run: echo '${{ params.lrs }}' $(cat inputs/model/model/*/model.txt) > all.txt
    inputs: { model: train.model }
    outputs: { all: all.txt }
";

fn steps(answer: &Value) -> Vec<String> {
    let all = answer["steps"].as_array().expect("steps").iter();
    all.map(|step| format!("{} {}", step["step"].as_str().expect("a name"), step["state"].as_str().unwrap_or("")))
        .collect()
}

#[test]
fn a_parameter_that_is_a_list_gives_the_items_and_set_changes_them() {
    let home = Home::with(SWEEP);
    home.run(&["run"]).exits(0);
    let status = home.json(&["status"]);
    assert_eq!(steps(&status), ["train done", "all done", "train:lr=0.1,seed=7 done", "train:lr=0.2,seed=7 done"]);
    assert_eq!(home.run(&["get", "all.all", "-"]).exits(0).out, "[0.1,0.2] 0.1 7 0.2 7\n");
    // What stays is reused, by its value.
    home.run(&["run", "--set", "lrs=[0.2, 0.5]"]).exits(0);
    let status = home.json(&["status"]);
    assert_eq!(steps(&status), ["train done", "all done", "train:lr=0.2,seed=7 reused", "train:lr=0.5,seed=7 done"]);
    let diff = home.json_of(&["diff"], 1);
    assert_eq!(diff["changes"]["params"][0]["new"], "[0.2,0.5]");
    let refused = home.run(&["run", "--set", "lrs=0.5"]).exits(2);
    assert!(refused.err.contains("`lrs` is a list in the file"), "{}", refused.err);
}
