//! init, validate, pin, doctor: before the first run.

use crate::home::Home;

const WRONG: &str = "prunella: v1
name: wrong
data: { text: nowhere.txt }
steps:
  count:
    run: wc ${{ inputs.txt }}
    inputs: { text: data.text }
    outputs: { counts: counts.txt }
    checkpoint: { format: files, grace: 10 }
  report:
    run: cat
    inputs: { counts: cuont.counts }
    outputs: { page: counts.txt }
    afte: [count]
";

#[test]
fn every_mistake_is_reported_at_once_at_its_place() {
    let home = Home::with(WRONG);
    let answer = home.run(&["validate"]).exits(2);
    assert_eq!(answer.out, "");
    for said in [
        "error[missing-file]",
        "pipeline.yaml:3",
        "nowhere.txt",
        "pipeline.yaml:6",
        "pipeline.yaml:9",
        "pipeline.yaml:12",
        "cuont",
        "pipeline.yaml:14",
        "afte",
        "help:",
        "pipeline.yaml: 5 mistakes",
    ] {
        assert!(answer.err.contains(said), "`{said}` is not in:\n{}", answer.err);
    }
    assert_eq!(home.names(), ["pipeline.yaml"], "nothing is made");
}

#[test]
fn a_mistake_looks_like_this() {
    let home = Home::with("prunella: v1\nname: wrong\nsteps:\n  a:\n    run: 'true'\n    afte: []\n");
    let answer = home.run(&["validate"]).exits(2);
    let expected = "error[unknown-key]: `afte` is not a key of a step
 --> pipeline.yaml:6:5
  |
6 |     afte: []
  |     ^^^^
  |
  = help: did you mean `after`?

pipeline.yaml: 1 mistake
";
    assert_eq!(answer.err, expected);
}

#[test]
fn mistakes_are_a_list_for_programs() {
    let home = Home::with(WRONG);
    let answer = home.run(&["validate", "--output", "json"]).exits(2).json();
    assert_eq!(answer["valid"], false);
    let diagnostics = answer["diagnostics"].as_array().expect("a list");
    assert_eq!(diagnostics.len(), 5);
    assert!(diagnostics.iter().all(|one| one["code"].is_string() && one["span"]["line"].is_u64()));
}

#[test]
fn a_good_file_and_the_schema_are_answers() {
    let home = Home::with("prunella: v1\nname: good\nparams: { n: 1 }\nsteps:\n  a: { run: 'echo ${{ params.n }}' }\n");
    assert_eq!(home.run(&["validate"]).exits(0).out, "pipeline.yaml: no mistakes; pipeline `good` with 1 step\n");
    let answer = home.json(&["validate", "--set", "n=2"]);
    assert_eq!((&answer["valid"], &answer["steps"][0]), (&true.into(), &"a".into()));
    assert!(home.run(&["validate", "--set", "m=2"]).exits(2).err.contains('m'));
    let schema = home.run(&["validate", "--schema"]).exits(0).json();
    assert!(schema["properties"]["steps"].is_object());
}

#[test]
fn a_pipeline_file_that_is_not_there_is_said_with_what_to_do() {
    let home = Home::new();
    let answer = home.run(&["validate"]).exits(2);
    assert!(answer.err.starts_with("error: there is no `pipeline.yaml`\n  help: "), "{}", answer.err);
    let answer = home.run(&["validate", "--output", "json"]).exits(2).json();
    assert_eq!((&answer["code"], answer["hint"].is_string()), (&2.into(), true));
}

const DATA: &str = "prunella: v1
name: pinned
data: { text: text.txt, more: more }
steps:
  count: { run: 'wc -l <${{ inputs.text }} >n', inputs: { text: data.text }, outputs: { n: n } }
";

#[test]
fn pinning_says_what_is_new_changed_and_unchanged_and_a_run_holds_to_it() {
    let home = Home::with(DATA);
    home.write("text.txt", "one\n");
    home.write("more/a", "a\n");
    let refused = home.run(&["run"]).exits(78);
    assert!(refused.err.contains("prunella pin"), "{}", refused.err);
    let check = home.run(&["pin", "--check"]).exits(78);
    assert!(check.out.contains("prunella.lock does not agree"), "{}", check.out);
    assert!(!home.names().contains(&"prunella.lock".to_owned()), "--check writes nothing");

    let first = home.run(&["pin"]).exits(0);
    assert!(first.out.starts_with("new  data.more  more      tree 2 B "), "{}", first.out);
    assert!(first.out.ends_with("wrote prunella.lock\n"));
    home.run(&["pin", "--check"]).exits(0);
    home.run(&["run"]).exits(0);

    home.write("text.txt", "one\ntwo\n");
    home.run(&["run"]).exits(78);
    let second = home.json(&["pin"]);
    let changes: Vec<&str> =
        second["data"].as_array().expect("a list").iter().filter_map(|one| one["change"].as_str()).collect();
    assert_eq!(changes, ["unchanged", "changed"]);
    assert_eq!(second["data"][1]["before"]["size_bytes"], 4);
    assert!(home.run(&["pin"]).exits(0).out.contains("unchanged  data.text"));
    home.run(&["run"]).exits(0);
}

#[test]
fn what_init_writes_runs_at_once_and_nothing_is_overwritten() {
    let home = Home::new();
    home.write(".gitignore", "*.tmp");
    let made = home.run(&["init"]).exits(0);
    assert!(made.out.contains("wrote pipeline.yaml\n"), "{}", made.out);
    assert_eq!(home.read(".gitignore"), "*.tmp\n.prunella/\n");
    home.run(&["validate"]).exits(0);
    home.run(&["run"]).exits(0);
    assert!(home.run(&["get", "report.page", "-"]).exits(0).out.contains("cut"));

    home.write("count.sh", "mine");
    let again = home.run(&["init", "--template", "shell"]).exits(2);
    assert!(again.err.contains("`./pipeline.yaml`") && again.err.contains("help:"), "{}", again.err);
    assert_eq!(home.read("count.sh"), "mine");
    assert_eq!(home.read(".gitignore"), "*.tmp\n.prunella/\n");
}

#[test]
fn the_python_pipeline_runs_in_a_directory_of_its_own() {
    let home = Home::new();
    let made = home.json(&["init", "deep/line", "--template", "python"]);
    assert_eq!(made["pipeline"], "line");
    assert_eq!(made["gitignore"], false);
    home.run(&["run", "deep/line"]).exits(0);
    let page = home.run(&["get", "report.page", "-", "--store", "deep/line/.prunella"]).exits(0);
    assert!(page.out.starts_with("y = 2.0"), "{}", page.out);
}

#[test]
fn the_doctor_measures_leaves_nothing_behind_and_says_what_is_bad() {
    let home = Home::new();
    let answer = home.run(&["doctor", "--output", "json"]);
    let told = answer.json();
    assert_eq!(answer.code, i32::from(told["good"] == false));
    let checks = told["checks"].as_array().expect("a list");
    for name in ["store", "space", "disk", "database", "reflink", "leases", "guardian", "cgroup", "memory", "clock"] {
        assert!(checks.iter().any(|check| check["name"] == name), "{name}");
    }
    assert_eq!(home.names(), Vec::<String>::new());
    home.write("store/store.db", "not a store");
    home.write("store/prunella.json", "{");
    let broken = home.run(&["doctor", "--store", "store"]).exits(1);
    assert!(broken.out.contains("✗ store"), "{}", broken.out);
}

#[test]
fn a_run_of_some_steps_asks_for_the_secrets_of_these_alone() {
    let home = Home::with(
        "prunella: v1
name: quiet
steps:
  open: { run: 'echo 1 >one', outputs: { one: one } }
  closed: { run: 'cat inputs/one/one >two', inputs: { one: open.one }, outputs: { two: two }, secrets: [NOT_SET] }
",
    );
    home.run(&["run", "open"]).exits(0);
    let run = home.json(&["status"])["run"].as_str().expect("an id").to_owned();
    home.run(&["exec", "--run", &run, "--step", "open"]).exits(0);
    for words in [&["run", "closed"][..], &["run"]] {
        let refused = home.run(words).exits(2).err;
        assert!(refused.contains("secrets are not set: `NOT_SET` (step `closed`)"), "{refused}");
    }
}
