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

/// Three items, the last of which fails as long as a file beside the directory is missing; each writes down that it ran.
fn fragile(home: &Home) -> String {
    format!(
        "prunella: v1
name: fragile
steps:
  train:
    for_each: {{ fold: [0, 1, 2] }}
    run: |
      echo train-${{{{ item.fold }}}} >>{ran}
      test ${{{{ item.fold }}}} != 2 || test -e {flag}
      {{ echo ${{{{ item.fold }}}}; head -c 100000 /dev/zero; }} >model
    outputs: {{ model: model }}
    retry: {{ error: 0 }}
  score:
    for_each: train
    run: echo score-${{{{ item.fold }}}} >>{ran}; head -n 1 inputs/model/model >score
    inputs: {{ model: train.model }}
    outputs: {{ score: score }}
  all:
    run: echo all >>{ran}; cat inputs/scores/score/*/score >all
    inputs: {{ scores: score.score }}
    outputs: {{ all: all }}
",
        ran = home.beside("ran").display(),
        flag = home.beside("flag").display()
    )
}

/// What ran since the last look.
fn ran(home: &Home) -> String {
    let there = std::fs::read_to_string(home.beside("ran")).unwrap_or_default();
    let _none = std::fs::remove_file(home.beside("ran"));
    let mut lines: Vec<&str> = there.lines().collect();
    lines.sort_unstable();
    lines.join(" ")
}

fn whole() -> Home {
    let home = Home::new();
    home.write("pipeline.yaml", &fragile(&home));
    std::fs::write(home.beside("flag"), "").expect("ours");
    home.run(&["run"]).exits(0);
    assert_eq!(ran(&home), "all score-0 score-1 score-2 train-0 train-1 train-2");
    home
}

#[test]
fn retry_tries_the_items_that_were_given_up_and_no_others() {
    let home = Home::new();
    home.write("pipeline.yaml", &fragile(&home));
    let failed = home.run(&["run"]).exits(1);
    assert!(failed.out.contains("train:fold=2"), "{}", failed.out);
    assert_eq!(ran(&home), "score-0 score-1 train-0 train-1 train-2", "the others ran on");
    let status = home.json(&["status"]);
    assert_eq!(
        steps(&status),
        [
            "train blocked",
            "score blocked",
            "all blocked",
            "train:fold=0 done",
            "train:fold=1 done",
            "train:fold=2 failed",
            "score:fold=0 done",
            "score:fold=1 done",
            "score:fold=2 blocked",
        ]
    );
    assert_eq!(status["steps"][0]["items"]["done"], 2);
    // By name of an item that is done: there is nothing to try.
    let done = home.run(&["retry", "train:fold=0"]).exits(2);
    assert!(done.err.contains("train:fold=0"), "{}", done.err);
    let none = home.run(&["retry", "train:fold=9"]).exits(2);
    assert!(none.err.contains("no item of `train` begins with `fold=9`"), "{}", none.err);
    home.run(&["retry", "train:fold=2"]).exits(1);
    assert_eq!(ran(&home), "train-2");
    std::fs::write(home.beside("flag"), "").expect("ours");
    home.run(&["retry", "train"]).exits(0);
    assert_eq!(ran(&home), "all score-2 train-2");
    assert_eq!(home.run(&["get", "all.all", "-"]).exits(0).out, "0\n1\n2\n");
}

#[test]
fn heal_makes_the_lost_item_anew_alone() {
    let home = whole();
    // The bytes of all models; the scores are small and whole.
    assert_eq!(home.damage(), 3);
    let dry = home.json_of(&["heal", "--dry-run"], 1);
    let mut anew: Vec<&str> =
        dry["made_anew"].as_array().expect("a list").iter().map(|one| one.as_str().expect("a name")).collect();
    anew.sort_unstable();
    assert_eq!(anew, ["train:fold=0", "train:fold=1", "train:fold=2"]);
    let damaged = &dry["damaged"][0];
    assert!(damaged["step"].as_str().is_some_and(|step| step.starts_with("train:fold=")), "{damaged}");
    home.run(&["heal"]).exits(0);
    assert_eq!(ran(&home), "train-0 train-1 train-2", "nothing that reads them: the bytes are the same");
    home.run(&["verify"]).exits(0);
}

#[test]
fn get_takes_one_item_or_a_folder_of_all() {
    let home = whole();
    assert_eq!(home.run(&["get", "score:fold=1.score", "-"]).exits(0).out, "1\n");
    let one = home.json(&["get", "train:fold=1.model", "one"]);
    assert_eq!((&one["step"], &one["artifact"]["kind"]), (&"train:fold=1".into(), &"file".into()));
    // The beginning of a label is enough where only one item begins so.
    let unclear = home.run(&["get", "score:fold.score", "-"]).exits(2);
    assert!(unclear.err.contains("fold=0") && unclear.err.contains("fold=1"), "{}", unclear.err);
    let nothing = home.run(&["get", "score:fold=7.score", "-"]).exits(2);
    assert!(nothing.err.contains("fold=7"), "{}", nothing.err);
    let folder = home.json(&["get", "score.score", "scores"]);
    assert_eq!((&folder["step"], &folder["artifact"]["kind"]), (&"score".into(), &"tree".into()));
    assert_eq!(home.read("scores/fold=2/score"), "2\n");
    let index: Value = serde_json::from_str(&home.read("scores/index.json")).expect("JSON");
    assert_eq!(index[2], serde_json::json!({ "item": { "fold": 2 }, "folder": "fold=2", "path": "fold=2/score" }));
}

#[test]
fn exec_runs_one_item_and_a_step_behind_all_of_them() {
    let home = Home::new();
    home.write("pipeline.yaml", &fragile(&home));
    home.run(&["run"]).exits(1);
    ran(&home);
    let run = home.json(&["status"])["run"].as_str().expect("an id").to_owned();
    std::fs::write(home.beside("flag"), "").expect("ours");
    let exec = |step: &str| home.json(&["exec", "--run", &run, "--step", step]);
    let made = exec("train:fold=2");
    assert_eq!((&made["step"], &made["outcome"]), (&"train:fold=2".into(), &"committed".into()));
    assert_eq!(exec("train:fold=0")["outcome"], "reused");
    assert_eq!(exec("score:fold=2")["outcome"], "committed");
    assert_eq!(exec("all")["outcome"], "committed");
    assert_eq!(ran(&home), "all score-2 train-2");
    assert_eq!(home.run(&["get", &run, "all.all", "-"]).exits(0).out, "0\n1\n2\n");
    // All items at once is no attempt.
    let whole = home.run(&["exec", "--run", &run, "--step", "train"]).exits(78);
    assert!(whole.err.contains("train:"), "{}", whole.err);
    home.run(&["exec", "--run", &run, "--step", "train:fold=9"]).exits(78);
}

#[test]
fn diff_says_which_items_came_went_and_changed() {
    let home = whole();
    home.write("pipeline.yaml", &fragile(&home).replace("[0, 1, 2]", "[1, 2, 3]").replace("head -n 1", "head  -n 1"));
    home.run(&["run"]).exits(0);
    assert_eq!(ran(&home), "all score-1 score-2 score-3 train-3");
    let diff = home.json_of(&["diff"], 1);
    let changed = diff["changes"]["steps"].as_array().expect("a list");
    let of = |step: &str| changed.iter().find(|one| one["step"] == step).unwrap_or_else(|| panic!("{step}: {diff}"));
    assert_eq!(of("train:fold=0")["new"], Value::Null);
    assert_eq!(of("train:fold=3")["old"], Value::Null);
    assert_eq!((&of("train:fold=1")["same"], &of("train")["same"]), (&true.into(), &true.into()));
    assert_eq!(of("score:fold=1")["why"][0], "command changed");
}

#[test]
fn graph_draws_a_step_that_fans_out_once_and_counts_its_items() {
    let home = whole();
    let graph = home.json(&["graph"]);
    assert_eq!(steps(&graph), ["train done", "score done", "all done"]);
    assert_eq!(graph["edges"].as_array().expect("edges").len(), 2);
    let drawn = home.run(&["graph"]).exits(0).out;
    assert!(drawn.contains("train") && !drawn.contains("fold="), "{drawn}");
    for form in ["mermaid", "svg"] {
        home.run(&["graph", "--format", form]).exits(0);
    }
}

#[test]
fn gc_keeps_the_items_of_retained_runs_and_lets_the_others_go() {
    let home = whole();
    home.write("pipeline.yaml", &fragile(&home).replace("[0, 1, 2]", "[2, 3]"));
    home.run(&["run"]).exits(0);
    ran(&home);
    let gone = home.json(&["gc", "--keep-runs", "1"]);
    // Those of the folds 0 and 1, and of the step that read them all.
    assert_eq!(gone["commits"].as_array().map(Vec::len), Some(5), "{gone}");
    home.run(&["gc", "--keep-runs", "1", "--apply"]).exits(0);
    assert_eq!(home.run(&["get", "all.all", "-"]).exits(0).out, "2\n3\n");
    home.run(&["verify"]).exits(0);
    home.write("pipeline.yaml", &fragile(&home));
    home.run(&["run"]).exits(0);
    assert_eq!(ran(&home), "all score-0 score-1 train-0 train-1", "fold 2 was kept");
}

#[test]
fn warm_is_refused_for_a_step_that_fans_out() {
    let home = Home::new();
    let text = fragile(&home).replace("    retry: { error: 0 }\n", "    checkpoint: files\n");
    home.write("pipeline.yaml", &text);
    for words in [["run", "--warm", "train=1-1"], ["plan", "--warm", "train=1-1"]] {
        let refused = home.run(&words).exits(2);
        assert!(refused.err.contains("`train` runs once for each item"), "{}", refused.err);
    }
}

/// A list that a step makes, its items, and steps that run under a condition.
const LISTED: &str = "prunella: v1
name: listed
params: { least: 2 }
steps:
  list: { run: 'echo \"[1, 2]\" >list.json', outputs: { list: list.json } }
  each:
    for_each: list.list
    run: echo '{\"n\":'${{ item }}'}' >n.json
    outputs: { n: n.json }
    resources: { memory: 999TiB }
  odd:
    for_each: each
    when: each.n.exists(m, m.n == item) && item == 1
    run: echo ${{ item }} >odd
    outputs: { odd: odd }
  all: { inputs: { odd: odd.odd }, run: 'ls inputs/odd/odd >all', outputs: { all: all } }
  large:
    when: each.n.exists(m, m.n >= params.least)
    run: echo large >large
    outputs: { large: large }
  behind: { inputs: { large: large.large }, run: 'cat inputs/large/large >behind', outputs: { behind: behind } }
";

fn verdicts(plan: &Value) -> Vec<String> {
    let all = plan["steps"].as_array().expect("steps").iter();
    all.map(|one| format!("{} {}", one["step"].as_str().expect("a name"), one["verdict"].as_str().expect("a word")))
        .collect()
}

#[test]
fn a_plan_goes_through_lists_and_answers_conditions_that_are_known() {
    let home = Home::with(LISTED);
    let first = home.json(&["plan"]);
    assert_eq!(
        verdicts(&first),
        ["list to_run", "each open", "odd open", "all to_run", "large open", "behind to_run"],
        "nobody knows the list"
    );
    home.run(&["run"]).exits(0);
    let again = home.json(&["plan"]);
    let reused = [
        "list reused",
        "all reused",
        "large reused",
        "behind reused",
        "each:1 reused",
        "each:2 reused",
        "odd:1 reused",
        "odd:2 skipped",
    ];
    assert_eq!(verdicts(&again), reused, "{again}");
    assert_eq!(again["summary"]["skipped"], 1);
    // The condition is answered with another parameter: what reads it is skipped, too.
    let none = home.json(&["plan", "--set", "least=3"]);
    let of = |step: &str| {
        let all = none["steps"].as_array().expect("steps");
        all.iter().find(|one| one["step"] == step).unwrap_or_else(|| panic!("{step}: {none}"))
    };
    assert_eq!(of("large")["verdict"], "skipped");
    assert!(of("large")["why"][0].as_str().expect("why").contains("its condition does not hold"), "{none}");
    assert_eq!(
        (&of("behind")["verdict"], &of("behind")["why"][0]),
        (&"skipped".into(), &"`large`, which it reads, is skipped".into())
    );
    let ran = home.run(&["run", "--set", "least=3"]).exits(0);
    assert!(ran.out.contains("2 steps skipped") || ran.out.contains("3 steps skipped"), "{}", ran.out);
    // An item whose work is another one is told from those that stay.
    home.write("pipeline.yaml", &LISTED.replace("[1, 2]", "[2, 3]"));
    assert_eq!(verdicts(&home.json(&["plan"]))[..2], ["list to_run", "each open"]);
    home.run(&["run"]).exits(0);
    home.write("pipeline.yaml", &LISTED.replace("[1, 2]", "[2, 3]").replace("echo large", "echo  large"));
    let changed = verdicts(&home.json(&["plan"]));
    assert!(
        changed.contains(&"each:3 reused".to_owned()) && changed.contains(&"large to_run".to_owned()),
        "{changed:?}"
    );
}

#[test]
fn what_all_items_lack_is_said_once() {
    let home = Home::with(LISTED);
    home.run(&["run"]).exits(0);
    let plan = home.json(&["plan"]);
    let notes = plan["notes"].as_array().expect("notes");
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].as_str().expect("a text").starts_with("each: asks for up to"), "{notes:?}");
}

#[test]
fn what_comes_next_is_the_result_of_the_last_step_and_not_that_of_an_item() {
    let home = whole();
    let again = home.run(&["run"]).exits(0).out;
    assert!(again.contains("next: prunella get all.all ./all"), "{again}");
    home.write("pipeline.yaml", fragile(&home).split("  all:").next().expect("the steps before"));
    let folder = home.run(&["run"]).exits(0).out;
    assert!(folder.contains("next: prunella get score.score ./score"), "{folder}");
}
