//! verify and gc: the store is kept in order.

use crate::home::Home;

const PIPELINE: &str = "prunella: v1
name: kept
params: { n: 1 }
steps:
  make:
    run: head -c 200000 /dev/zero | tr '\\\\0' ${{ params.n }} >large && mkdir tree && cp large tree/inside && echo hi >small
    outputs: { large: large, tree: tree/, small: small }
  use:
    inputs: { large: make.large }
    run: wc -c <\"$PRUNELLA_INPUT_LARGE\" >count
    outputs: { count: count }
";

#[test]
fn verify_reads_everything_and_says_so() {
    let home = Home::with(PIPELINE);
    assert_eq!(home.run(&["verify"]).code, 2, "there is no store");
    assert!(!home.names().contains(&".prunella".to_owned()), "and none is made");
    home.run(&["run"]).exits(0);
    let told = home.run(&["verify"]).exits(0);
    assert!(told.out.contains("4 objects, 390.6 KiB") && told.out.contains("all whole"), "{}", told.out);
    let answer = home.json(&["verify", "--sample", "100%"]);
    assert_eq!((&answer["objects"], &answer["damaged"]), (&4.into(), &serde_json::json!([])));
    let run = home.json(&["runs"])["runs"][0]["run"].as_str().expect("an id").to_owned();
    assert_eq!(home.json(&["verify", &run])["objects"], 4);
    assert!(home.run(&["verify", "--sample", "0%"]).exits(2).err.contains("10%"));
    home.run(&["verify", "no-such-run"]).exits(2);
}

#[test]
fn verify_names_what_is_damaged_and_marks_it_only_when_asked() {
    let home = Home::with(PIPELINE);
    home.run(&["run"]).exits(0);
    assert_eq!(home.damage(), 2);
    let told = home.run(&["verify"]).exits(1);
    assert!(
        told.out.contains("damaged: make@1 of run ") && told.out.contains(" output tree `inside`: "),
        "{}",
        told.out
    );
    assert!(told.err.contains("verify --mark"), "{}", told.err);
    // Nothing was marked: the same is found again.
    let answer = home.run(&["verify", "--mark", "--output", "json"]).exits(1).json();
    let damaged = answer["damaged"].as_array().expect("a list");
    assert_eq!(damaged.len(), 2);
    for one in damaged {
        assert_eq!(
            (&one["what"], &one["step"], &one["epoch"], &one["marked"]),
            (&"commit".into(), &"make".into(), &1.into(), &true.into())
        );
    }
    let after = home.json(&["verify"]);
    assert_eq!((&after["damaged"], &after["marked_before"]), (&serde_json::json!([]), &1.into()));
    home.run(&["run"]).exits(0);
    home.run(&["verify"]).exits(0);
    home.run(&["get", "make.large"]).exits(0);
}

const CHANGED: &str = "prunella: v1
name: kept
params: { n: 1 }
steps:
  same:
    run: head -c 70000 /dev/zero >large
    outputs: { large: large }
  make:
    code: [code.sh]
    run: sh code.sh
    outputs: { tree: tree/ }
";

/// Two runs with changed code: the first run's objects go, the second's stay.
#[test]
fn gc_removes_what_only_old_runs_made_and_nothing_that_the_newest_needs() {
    let home = Home::with(CHANGED);
    let code = |n: &str| {
        home.write(
            "code.sh",
            &format!("mkdir tree\nhead -c 100000 /dev/zero | tr '\\0' {n} >tree/large\necho {n} >tree/n\n"),
        );
    };
    let objects = || home.json(&["gc", "--keep-runs", "1"]);
    for n in ["1", "2"] {
        code(n);
        home.run(&["run"]).exits(0);
    }
    let first = home.json(&["runs"])["runs"][1]["run"].as_str().expect("an id").to_owned();
    assert_eq!(home.json(&["gc"])["objects"], 0, "ten runs are kept");
    let planned = objects();
    // The tree's manifest, the object with both its files, and the code that the first run brought in (a manifest and a file).
    assert_eq!(
        (&planned["objects"], &planned["runs"], &planned["applied"]),
        (&4.into(), &serde_json::json!([first]), &false.into())
    );
    assert_eq!(planned["commits"].as_array().expect("a list").len(), 1);
    assert_eq!(objects(), planned, "nothing was changed");
    assert!(home.run(&["gc", "--keep-runs", "1"]).exits(0).err.contains("--apply"));

    let done = home.json(&["gc", "--keep-runs", "1", "--apply"]);
    for same in ["objects", "bytes", "runs", "commits", "kept"] {
        assert_eq!(done[same], planned[same], "{same}");
    }
    assert_eq!(home.json(&["gc", "--keep-runs", "1", "--apply"])["objects"], 0);
    home.run(&["verify"]).exits(0);
    home.run(&["get", "make.tree", "deep"]).exits(0);
    assert_eq!(home.read("deep/n"), "2\n");
    // What is there is reused, what is gone is made anew, and the run that was given up is refused.
    let told = home.run(&["run"]).exits(0);
    assert!(!told.err.contains("error"), "{}", told.err);
    let refused = home.run(&["resume", &first]).exits(78);
    assert!(refused.err.contains("given up by `prunella gc`"), "{}", refused.err);
    code("1");
    home.run(&["run"]).exits(0);
    home.run(&["get", "make.tree", "again"]).exits(0);
    assert_eq!(home.read("again/n"), "1\n");
    let gone = home.run(&["get", &first, "make.tree", "old"]);
    assert_eq!(gone.code, 78);
    assert!(gone.err.contains("`prunella gc`"), "{}", gone.err);
}

#[test]
fn gc_without_a_store_makes_none_and_keeps_at_least_one_run() {
    let home = Home::with(PIPELINE);
    home.run(&["gc"]).exits(2);
    home.run(&["gc", "--apply"]).exits(2);
    assert!(!home.names().contains(&".prunella".to_owned()));
    assert!(home.run(&["gc", "--keep-runs", "0"]).exits(2).err.contains("at least 1"));
}
