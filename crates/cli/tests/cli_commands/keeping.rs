//! verify and gc: the store is kept in order.

use crate::home::{Home, PRUNELLA, hear, let_go};

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

/// Two checkpoints, each of which is durable before the next begins; then a failure, unless the file is there.
fn checkpointing(home: &Home) -> String {
    format!(
        "prunella: v1
name: kept
steps:
  count:
    run: |
      cd $PRUNELLA_CHECKPOINT_DIR
      if [ -e {flag} ]; then cat * >$PRUNELLA_OUTPUT_OUT; exit; fi
      for n in 1 2; do
        head -c 100000 /dev/zero | tr '\\0' $n >state
        {PRUNELLA} tell checkpoint state --wait durable
      done
      exit 7
    outputs: {{ out: out }}
    checkpoint: {{ format: socket }}
    retry: {{ error: 0, checkpoint-rejected: 0 }}
",
        flag = home.beside("flag").display(),
    )
}

#[test]
fn a_damaged_checkpoint_is_named_is_never_marked_and_the_one_before_it_is_used() {
    let home = Home::new();
    home.write("pipeline.yaml", &checkpointing(&home));
    home.run(&["run"]).exits(1);
    home.run(&["verify"]).exits(0);
    assert_eq!(home.damage_those(|bytes| bytes.starts_with(b"2")), 1);

    let told = home.run(&["verify"]).exits(1);
    assert!(told.out.contains("damaged: count@1 of run ") && told.out.contains(" checkpoint 2: "), "{}", told.out);
    assert!(told.err.contains("a damaged checkpoint is skipped"), "{}", told.err);
    assert!(!told.err.contains("verify --mark"), "there is nothing to mark: {}", told.err);
    let before = home.stored();
    let answer = home.run(&["verify", "--mark", "--output", "json"]).exits(1).json();
    let damaged = answer["damaged"].as_array().expect("a list");
    assert_eq!(damaged.len(), 1);
    for (field, value) in [("what", "checkpoint"), ("step", "count")] {
        assert_eq!(damaged[0][field], value);
    }
    assert_eq!(
        (&damaged[0]["epoch"], &damaged[0]["checkpoint"], &damaged[0]["marked"]),
        (&1.into(), &2.into(), &false.into())
    );
    assert_eq!(home.stored(), before, "only commits are marked");

    std::fs::write(home.beside("flag"), "").expect("ours");
    home.run(&["run"]).exits(0);
    let out = home.run(&["get", "count.out", "-"]).exits(0).out;
    assert!(out.len() == 100_000 && out.starts_with('1'), "it went on from the first checkpoint");
    let explained = home.run(&["explain", "count"]).exits(0).out;
    assert!(explained.contains("checkpoint 1-2 was not used: "), "{explained}");
    // The step is done: nobody goes on from its checkpoints any more.
    home.run(&["verify"]).exits(0);
}

/// A result that all runs share, one that waits in the middle of the run, and items behind it.
fn shared(home: &Home) -> String {
    let [begun, go] = ["begun", "go"].map(|pipe| home.beside(pipe).display().to_string());
    format!(
        "prunella: v1
name: kept
params: {{ n: 1 }}
steps:
  same:
    run: head -c 100000 /dev/zero | tr '\\0' s >large
    outputs: {{ large: large }}
  first:
    run: |
      head -c 100000 /dev/zero | tr '\\0' ${{{{ params.n }}}} >large
      if [ -p {begun} ]; then echo begun >{begun}; read x <{go}; fi
    outputs: {{ large: large }}
  items:
    for_each: {{ k: [1, 2, 3, 4, 5, 6, 7, 8] }}
    inputs: {{ same: same.large, first: first.large }}
    run: mkdir tree; cat $PRUNELLA_INPUT_SAME $PRUNELLA_INPUT_FIRST >tree/${{{{ item.k }}}}; echo ${{{{ item.k }}}} >tree/k
    outputs: {{ tree: tree/ }}
  all:
    inputs: {{ trees: items.tree }}
    run: cat $PRUNELLA_INPUT_TREES/*/tree/k >ks
    outputs: {{ ks: ks }}
"
    )
}

#[test]
fn i8_gc_beside_a_running_run_takes_nothing_that_it_needs() {
    let home = Home::new();
    home.write("pipeline.yaml", &shared(&home));
    for n in ["n=1", "n=2"] {
        home.run(&["run", "--set", n]).exits(0);
    }
    let begun = home.pipe("begun");
    let go = home.pipe("go");
    let mut engine = home.command(&["run", "--set", "n=3"]).spawn().expect("the binary starts");
    assert_eq!(hear(&begun), "begun\n");
    // The run has its first results, and an attempt is open.
    let collected = home.json(&["gc", "--keep-runs", "1", "--apply"]);
    assert!(collected["objects"].as_u64() > Some(0), "the oldest run's results go: {collected}");
    assert!(collected["open_attempts"].as_u64() > Some(0), "{collected}");
    let_go(&go);
    let ended = loop {
        home.json(&["gc", "--keep-runs", "1", "--apply"]);
        if let Some(ended) = engine.try_wait().expect("ours") {
            break ended;
        }
    };
    assert_eq!(ended.code(), Some(0));
    assert_eq!(home.json(&["verify"])["damaged"], serde_json::json!([]));
    assert_eq!(home.json(&["explain", "same"])["state"], "reused", "what all runs share was not made anew");
    assert_eq!(home.run(&["get", "all.ks", "-"]).exits(0).out, "1\n2\n3\n4\n5\n6\n7\n8\n");
    home.run(&["get", "items.tree", "trees"]).exits(0);
    assert_eq!(home.read("trees/k=5/tree/5").len(), 200_000);
}
