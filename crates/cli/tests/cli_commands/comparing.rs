//! diff: what differs between two runs, and which part of a key was the reason.

use serde_json::{Value, json};

use crate::home::{Home, plain};

const PIPELINE: &str = "prunella: v1
name: study
params: { seed: 7, unused: 1 }
data: { text: text.txt }
code: ['*.sh']
steps:
  split:
    run: cp ${{ inputs.text }} words
    inputs: { text: data.text }
    outputs: { words: words }
    code: []
  train:
    run: sh train.sh ${{ params.seed }}
    inputs: { words: split.words }
    outputs: { metrics: metrics.json, parts: parts/ }
  report:
    run: cp ${{ inputs.metrics }} page
    inputs: { metrics: train.metrics }
    outputs: { page: page }
";

const TRAIN: &str = "test $1 -lt 100 || exit 3
mkdir -p parts; echo same >parts/same; echo $1 >parts/$1
printf '{ \"loss\": 0.%s, \"folds\": [1, %s], \"name\": \"x\" }' $1 $1 >metrics.json
";

fn study() -> Home {
    let home = Home::with(PIPELINE);
    home.write("text.txt", "to be\n");
    home.write("train.sh", TRAIN);
    home.run(&["pin"]).exits(0);
    home.run(&["run"]).exits(0);
    home
}

fn differs(home: &Home) -> Value {
    let answer = home.run(&["diff", "--output", "json"]).exits(1).json();
    assert_eq!(answer["same"], false);
    answer["changes"].clone()
}

fn step<'a>(changes: &'a Value, name: &str) -> &'a Value {
    let steps = changes["steps"].as_array().expect("steps");
    steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("{name}: {changes}"))
}

#[test]
fn two_runs_of_the_same_are_the_same() {
    let home = study();
    let none = home.run(&["diff"]).exits(2);
    assert!(none.err.contains("no run of `study` before"), "{}", none.err);
    home.run(&["run", "--new"]).exits(0);
    let text = home.run(&["diff"]).exits(0).out;
    let expected = "old  RUN  study #1  succeeded  driven for TIME
new  RUN  study #2  succeeded  driven for TIME
the same: parameters, data, code, environment, keys, outcomes and outputs
";
    assert_eq!(plain(&text), expected);
    let answer = home.json(&["diff"]);
    assert_eq!(
        (&answer["same"], &answer["old"]["number"], &answer["new"]["number"]),
        (&true.into(), &1.into(), &2.into())
    );
    assert_eq!(step(&answer["changes"], "train")["new"]["state"], "reused");
    assert!(home.run(&["diff", "zzz"]).exits(2).err.contains("prunella runs"));
}

#[test]
fn another_parameter_is_followed_to_the_numbers_that_came_of_it() {
    let home = study();
    home.run(&["run", "--set", "seed=8"]).exits(0);
    let text = home.run(&["diff"]).exits(1).out;
    let expected = "old  RUN  study #1  succeeded  driven for TIME
new  RUN  study #2  succeeded  driven for TIME
params
  seed  7 → 8
train  another key
  why       seed 7 → 8
  metrics  file 45 B DIGEST → file 45 B DIGEST
    folds[1]  7 → 8
    loss      0.7 → 0.8
  parts  tree 7 B DIGEST → tree 7 B DIGEST
    7  2 B DIGEST → gone
    8  new: 2 B DIGEST
report  another key
  why       input metrics changed (DIGEST → DIGEST)
  page  file 45 B DIGEST → file 45 B DIGEST
the same key and result: 1 step (split)
";
    // How long attempts took differs from run to run.
    let told: Vec<String> =
        plain(&text).lines().filter(|line| !line.starts_with("  effort")).map(str::to_owned).collect();
    assert_eq!(told.join("\n") + "\n", expected);
    let changes = differs(&home);
    assert_eq!(changes["params"], json!([{ "name": "seed", "old": "7", "new": "8" }]));
    let train = step(&changes, "train");
    assert_eq!((&train["why"], &train["same"]), (&json!(["seed 7 → 8"]), &false.into()));
    assert_eq!(train["outputs"][0]["numbers"][1], json!({ "name": "loss", "old": 0.7, "new": 0.8 }));
    assert_eq!(train["old"]["attempts"], 1);
    assert!(step(&changes, "split")["same"] == true && step(&changes, "split")["new"]["attempts"] == 0);
}

#[test]
fn code_data_and_a_failure_are_told_apart() {
    let home = study();
    home.write("train.sh", &TRAIN.replace("echo same", "echo  same"));
    home.write("helper.sh", "# new\n");
    home.run(&["run"]).exits(0);
    let changes = differs(&home);
    let code: Vec<(&str, bool)> = changes["code"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| (file["name"].as_str().expect("a path"), file["old"].is_null()))
        .collect();
    assert_eq!(code, [("helper.sh", true), ("train.sh", false)]);
    assert_eq!(step(&changes, "train")["why"], json!(["code changed"]));
    assert_eq!(step(&changes, "train")["outputs"], json!([]), "the same bytes came of it");

    home.write("text.txt", "not to be\n");
    home.run(&["pin"]).exits(0);
    home.run(&["run", "--set", "seed=100"]).exits(1);
    let text = home.run(&["diff"]).exits(1).out;
    assert!(text.contains("data\n  text  file 6 B "), "{text}");
    assert!(text.contains("outcome   done → failed (error)"), "{text}");
    assert!(text.contains("outcome   done → blocked"), "{text}");
    let changes = differs(&home);
    assert_eq!(changes["code"], json!([]));
    assert_eq!(step(&changes, "train")["new"]["class"], "error");
    assert_eq!(step(&changes, "report")["why"], json!(["the newer run did not get so far"]));
    let first = home.json(&["runs"])["runs"][2]["run"].as_str().expect("a run").to_owned();
    // Named runs, the older one first, whichever began first.
    let back = home.run(&["diff", "--output", "json", &first, &first]).exits(0).json();
    assert_eq!(back["old"]["run"], back["new"]["run"]);
    let far = home.run(&["diff", "--output", "json", &first]).exits(1).json();
    assert_eq!((&far["old"]["number"], &far["new"]["number"]), (&1.into(), &3.into()));
}

#[test]
fn a_step_that_is_forced_moved_or_only_set_otherwise_says_so() {
    let home = study();
    home.run(&["run", "--force", "split"]).exits(0);
    let changes = differs(&home);
    assert_eq!(step(&changes, "split")["why"], json!(["made anew by `--force`"]));
    assert_eq!(step(&changes, "train")["same"], true, "the same bytes came of it");

    let renamed =
        PIPELINE.replace("  report:", "  summary:").replace("    code: []\n", "    code: []\n    timeout: 10m\n");
    home.write("pipeline.yaml", &renamed);
    home.run(&["run"]).exits(0);
    let changes = differs(&home);
    assert!(step(&changes, "report")["new"].is_null() && step(&changes, "summary")["old"].is_null());
    assert_eq!(step(&changes, "split")["settings"], json!(["timeout"]));
    let text = home.run(&["diff"]).exits(1).out;
    assert!(text.contains("report  only in the old run") && text.contains("timeout (not in the key)"), "{text}");
}

#[test]
fn the_same_key_with_other_bytes_is_called_what_it_is() {
    let home = Home::with(
        "prunella: v1
name: chance
steps:
  roll:
    run: head -c 300000 \"$DICE\" >out
    outputs: { out: out }
    pass_env: [DICE]
  use:
    run: head -c 1 ${{ inputs.out }} >first
    inputs: { out: roll.out }
    outputs: { first: first }
",
    );
    // The first run's bytes are lost, and what the second makes instead is something else.
    for words in [&["run"][..], &["run", "--force", "use"]] {
        let dice = home.dir.join(format!("dice-{}", words.len()));
        std::fs::write(&dice, words.len().to_string().repeat(300_000)).expect("ours");
        let ran = home.command(words).env("DICE", &dice).output().expect("it starts");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        if words.len() == 1 {
            assert!(home.damage() > 0);
        }
    }
    let text = home.run(&["diff"]).exits(1).out;
    assert!(text.contains("\nroll  the same key, other bytes: it is not reproducible\n"), "{text}");
    let changes = differs(&home);
    let (roll, using) = (step(&changes, "roll"), step(&changes, "use"));
    assert_eq!((&roll["why"], &roll["old"]["epoch"], &roll["new"]["epoch"]), (&json!([]), &1.into(), &2.into()));
    let why = using["why"].as_array().expect("reasons");
    assert!(why[0].as_str().expect("words").starts_with("input out changed ("), "{why:?}");
    assert_eq!(why[1], "made anew by `--force`");
}
