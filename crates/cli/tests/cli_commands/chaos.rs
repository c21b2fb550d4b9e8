//! `chaos`: real runs under faults, and what it says of pipelines that do not stand them.

use std::process::{Command, Stdio};

use crate::home::{Home, hear};

/// A training that checkpoints, and a step that reads its model.
pub const SMALL: &str = "prunella: v1
name: small
steps:
  train:
    run: |
      state=$PRUNELLA_CHECKPOINT_DIR/state; epoch=$(cat $state 2>/dev/null || echo 0)
      while [ $epoch -lt 20 ]; do
        epoch=$((epoch + 1)); sleep 0.02
        echo $epoch >$state.part; mv $state.part $state
      done
      echo model of $epoch >model
    outputs: { model: model }
    publish: { model: out/model }
    checkpoint: { format: files, every: 100ms, grace: 1s }
  score:
    run: 'sleep 0.2; wc -c <\"$PRUNELLA_INPUT_MODEL\" >score'
    inputs: { model: train.model }
    outputs: { score: score }
";

#[test]
fn under_all_faults_nothing_is_lost_and_the_table_is_measured() {
    let home = Home::with(SMALL);
    for profile in ["everything", "aws-spot"] {
        let words = ["chaos", "--profile", profile, "--runs", "3", "--faults", "3", "--seed", "11", "--speed", "60"];
        let answer = home.json(&words);
        let runs = answer["runs"].as_array().expect("a list");
        assert_eq!(runs.iter().map(|run| run["seed"].as_u64()).collect::<Vec<_>>(), [Some(11), Some(12), Some(13)]);
        let hits: u64 = runs.iter().map(|run| run["faults"].as_u64().expect("a number")).sum();
        assert!(hits >= 3, "{answer}");
        for run in runs {
            assert_eq!((&run["exit_code"], &run["wrong"]), (&0.into(), &serde_json::json!([])), "{answer}");
            assert_eq!(run["plan"].as_array().map(Vec::len), Some(3));
        }
        let row = &answer["prunella"];
        let of = |name: &str| row[name].as_u64().expect("a number");
        assert!(of("runs") >= 3 && of("corrupt_artifacts") == 0, "{answer}");
        // An attempt that ended before its process ran was interrupted as well, and has no recovery of its own.
        assert!(of("recovered") > 0 && of("recovered") <= of("interruptions"), "{answer}");
        assert!(row["waste"].as_f64() >= row["waste_bound"].as_f64(), "{answer}");
    }
    // Neither what was published nor a store lies beside the pipeline, and nothing is left where the runs were.
    assert_eq!(home.names(), ["pipeline.yaml"]);
    let left = std::fs::read_dir(home.beside("")).expect("ours").flatten();
    assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("prunella-chaos")));
}

#[test]
fn some_of_the_steps_can_be_disturbed_by_themselves() {
    let home = Home::with(SMALL);
    let plan = serde_json::json!([{ "after_ms": 150, "fault": "step" }]);
    home.write("plan.json", &plan.to_string());
    let answer = home.json(&["chaos", "train", "--plan", "plan.json", "--runs", "1", "--seed", "1"]);
    assert_eq!(
        (&answer["runs"][0]["wrong"], &answer["runs"][0]["exit_code"]),
        (&serde_json::json!([]), &0.into()),
        "{answer}"
    );
    assert_eq!(answer["prunella"]["recovered"], 1, "{answer}");
}

#[test]
fn a_plan_is_carried_out_as_it_is_and_told_as_it_was() {
    let home = Home::with(SMALL);
    let plan = serde_json::json!([
        { "after_ms": 150, "fault": "notice", "grace_ms": 5000 },
        { "after_ms": 150, "fault": "step" },
        { "after_ms": 100, "fault": "freeze", "for_ms": 50 },
    ]);
    home.write("plan.json", &plan.to_string());
    let answer = home.json(&["chaos", "--plan", "plan.json", "--runs", "1", "--seed", "1"]);
    let run = &answer["runs"][0];
    assert_eq!(
        (&run["plan"], &run["wrong"], &answer["profile"]),
        (&plan, &serde_json::json!([]), &().into()),
        "{answer}"
    );
    let told: Vec<&str> =
        run["timeline"].as_array().expect("a list").iter().filter_map(|at| at["what"].as_str()).collect();
    assert!(told[0].starts_with("notice, 5.0 s") && told[1].starts_with("the engine was ready before"), "{told:?}");
    assert!(told.contains(&"step killed: train"), "{told:?}");
}

#[test]
fn a_step_that_forgets_where_it_was_is_found_and_the_command_that_shows_it_again_is_named() {
    // It appends to what lies outside: whoever interrupts it sees its work twice.
    let home = Home::new();
    let log = home.beside("log");
    home.write(
        "pipeline.yaml",
        &format!(
            "prunella: v1\nname: careless\nsteps:\n  count:\n    run: 'echo x >>{log}; sleep 0.3; wc -l <{log} >lines'\n    outputs: {{ lines: lines }}\n",
            log = log.display()
        ),
    );
    let told = home.run(&["chaos", "--profile", "kills", "--runs", "2", "--faults", "2", "--seed", "5"]).exits(1);
    for part in [
        "I1 visible does not hold: `count.lines` is not what the undisturbed run made",
        "again: prunella chaos --profile kills --faults 2 --speed 1 --seed 5 --runs 1\n",
        "its store: ",
    ] {
        assert!(told.out.contains(part), "{part}: {}", told.out);
    }
    let kept = told.out.lines().find_map(|line| line.trim().strip_prefix("its store: ")).expect("it is named");
    home.run(&["status", "--store", kept]).exits(0);
}

/// Everything that the script of the baseline has to lay out by itself: parts, conditions, folders, data, code and publications.
const MANY: &str = "prunella: v1
name: many
params: { least: 2 }
data: { words: words.txt }
code: [take.sh]
steps:
  list:
    run: 'echo [1, 2, 3] >list.json; wc -l <$PRUNELLA_INPUT_WORDS >lines.json'
    inputs: { words: data.words }
    outputs: { list: list.json, lines: lines.json }
  square:
    for_each: list.list
    run: sh take.sh ${{ item }} ${{ inputs.words }}
    inputs: { words: data.words }
    outputs: { square: square.txt }
  all:
    run: 'mkdir out; for f in inputs/squares/square/*/square.txt; do cat $f; done >out/all; cp inputs/squares/square/index.json out/'
    inputs: { squares: square.square }
    outputs: { out: out/ }
    publish: { out: public/all }
  seldom:
    when: list.lines > params.least
    run: 'echo seldom >seldom'
    outputs: { seldom: seldom }
  last:
    run: 'cat $PRUNELLA_INPUT_ALL/all >last; test ! -e seldom'
    inputs: { all: all.out }
    outputs: { last: last }
    publish: { last: public/last }
";

#[test]
fn a_script_that_nobody_disturbs_makes_the_same_bytes_and_can_trace_none_of_them() {
    let home = Home::with(MANY);
    home.write("words.txt", "one\ntwo\n");
    home.write("take.sh", "echo $(($1 * $1)) $(head -n1 $2) >$PRUNELLA_OUTPUT_SQUARE\n");
    home.run(&["pin"]).exits(0);
    // What is not the same is refused before any fault.
    home.write("none.json", "[]");
    let answer =
        home.json(&["chaos", "--compare", "ad-hoc", "--plan", "none.json", "--runs", "1", "--keep", "--dir", "kept"]);
    let row = &answer["ad_hoc"];
    assert_eq!(
        (&row["interruptions"], &row["corrupt_artifacts"], &row["lineage"]),
        (&0.into(), &0.into(), &0.0.into())
    );
    assert_eq!((&row["failed_runs"], &row["each"][0]["exit_code"]), (&0.into(), &0.into()), "{answer}");
    for file in ["public/all/all", "public/all/index.json", "public/last"] {
        let of = |run: &str| home.read(&format!("kept/{run}/published/{file}"));
        assert_eq!(of("0-ad-hoc"), of("0"), "{file}");
    }
    assert_eq!(home.read("kept/0-ad-hoc/published/public/last"), "1 one\n4 one\n9 one\n");
    let script = home.read("kept/0-ad-hoc/run.sh");
    assert!(script.contains("# square:2\n") && !script.contains("# seldom"), "{script}");
}

#[test]
fn a_careless_writer_that_is_killed_corrupts_the_script_and_not_prunella() {
    // It writes in place, which whoever looks at the file alone takes for done.
    let home = Home::new();
    home.write(
        "pipeline.yaml",
        "prunella: v1
name: careless
steps:
  write:
    run: 'for n in 1 2 3 4 5 6 7 8 9; do echo $n; sleep 0.1; done >lines'
    outputs: { lines: lines }
    publish: { lines: public/lines }
  count:
    run: 'wc -l <$PRUNELLA_INPUT_LINES >count'
    inputs: { lines: write.lines }
    outputs: { count: count }
",
    );
    home.write("plan.json", r#"[{ "after_ms": 400, "fault": "machine" }]"#);
    let answer = home.json(&["chaos", "--compare", "ad-hoc", "--plan", "plan.json", "--runs", "1"]);
    let (ours, theirs) = (&answer["prunella"], &answer["ad_hoc"]);
    assert_eq!(
        (&answer["runs"][0]["wrong"], &ours["corrupt_artifacts"]),
        (&serde_json::json!([]), &0.into()),
        "{answer}"
    );
    assert_eq!(theirs["each"][0]["faults"], 1, "{answer}");
    // The torn file, its copy, and what was made of it.
    let corrupt = serde_json::json!(["count.count", "published public/lines", "write.lines"]);
    assert_eq!((&theirs["each"][0]["corrupt"], &theirs["corrupt_artifacts"]), (&corrupt, &3.into()), "{answer}");
    // What ran between the last word and the death is in no record of either: one row does not lose what the other does not count.
    for row in [ours, theirs] {
        assert!(row["lost_ms"].as_u64() < Some(200), "of 400 ms: {answer}");
    }
    let table =
        home.run(&["chaos", "--compare", "ad-hoc", "--plan", "plan.json", "--runs", "1", "--seed", "3"]).exits(0);
    for part in ["prunella  ", "ad-hoc    ", "the script of seed 3 let be seen what is not right: count.count"] {
        assert!(table.out.contains(part), "{part}: {}", table.out);
    }
}

#[test]
fn a_script_that_gives_up_is_told_of_and_goes_on_from_its_own_checkpoints() {
    let home = Home::with(SMALL);
    // Three kills of one step: as many as the script tries.
    let kill = serde_json::json!({ "after_ms": 150, "fault": "step" });
    let plan: Vec<_> = std::iter::once(kill.clone())
        .chain(std::iter::repeat_n(serde_json::json!({ "after_ms": 1150, "fault": "step" }), 2))
        .collect();
    home.write("plan.json", &serde_json::json!(plan).to_string());
    let slow = SMALL.replace("sleep 0.02", "sleep 0.06").replace("-lt 20", "-lt 40");
    home.write("pipeline.yaml", &slow);
    let answer = home.json(&["chaos", "--compare", "ad-hoc", "--plan", "plan.json", "--runs", "1"]);
    let row = &answer["ad_hoc"];
    let of = |name: &str| row[name].as_u64().expect("a number");
    assert_eq!((&row["failed_runs"], &row["each"][0]["exit_code"]), (&1.into(), &1.into()), "{answer}");
    assert_eq!((of("interruptions"), of("recovered")), (3, 2), "{answer}");
    // Between two tries it pauses for a second; both ends of that are heard a little late.
    assert!(row["mttr"]["p50_ms"].as_u64() >= Some(950), "{answer}");
    assert_eq!(answer["runs"][0]["wrong"], serde_json::json!([]), "{answer}");
}

#[test]
fn what_a_script_cannot_do_is_refused_all_at_once() {
    let home = Home::with(
        "prunella: v1
name: odd
steps:
  one:
    run: 'echo x >x'
    outputs: { x: x }
    checkpoint: { format: socket }
    publish: { x: /tmp/nobody/x }
on_exit: 'echo bye'
",
    );
    let told = home.run(&["chaos", "--publish", "--compare", "ad-hoc"]).exits(78);
    for part in
        ["on the socket", "`on_exit` runs at the end", "`one` publishes to an absolute path", "leave `--compare` out"]
    {
        assert!(told.err.contains(part), "{part}: {}", told.err);
    }
    home.run(&["chaos", "--compare", "nothing"]).exits(2);
}

#[test]
fn what_cannot_be_compared_or_would_reach_others_is_refused() {
    let home = Home::with(
        "prunella: v1\nname: bad\nsteps: { one: { run: 'echo no >&2; exit 3', retry: { error: { limit: 0 } } } }\n",
    );
    let told = home.run(&["chaos"]).exits(78);
    assert!(told.err.contains("does not succeed when nobody disturbs it") && told.err.contains("no"), "{}", told.err);

    home.write(
        "pipeline.yaml",
        "prunella: v1\nname: out\nsteps: { one: { run: 'echo x >x', outputs: { x: x }, publish: { x: /tmp/nobody/x } } }\n",
    );
    let told = home.run(&["chaos"]).exits(78);
    assert!(told.err.contains("`one` publishes to /tmp/nobody/x") && told.err.contains("`--publish`"), "{}", told.err);

    let told = home.run(&["chaos", "--profile", "rain"]).exits(2);
    assert!(told.err.contains("there is no profile `rain`; there are `aws-spot`"), "{}", told.err);
    home.write("full/x", "");
    let told = home.run(&["chaos", "--publish", "--dir", "full"]).exits(2);
    assert!(told.err.contains("is not empty"), "{}", told.err);
    assert!(home.run(&["chaos", "--speed", "0"]).exits(2).err.contains("above 0"));
    home.write("plan.json", "[\n  { \"after_ms\": 1, \"fault\": \"rain\" } ]");
    let told = home.run(&["chaos", "--publish", "--plan", "plan.json"]).exits(2);
    assert!(
        told.err.contains("plan.json: unknown variant `rain`, expected one of `notice`, `machine`"),
        "{}",
        told.err
    );
    assert!(told.err.contains("at line 2"), "{}", told.err);
    home.run(&["chaos", "--plan", "plan.json", "--profile", "kills"]).exits(2);
}

#[test]
fn ctrl_c_and_sigterm_leave_nothing_running_and_nothing_lying() {
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let home = Home::new();
        let begun = home.pipe("begun");
        home.write(
            "pipeline.yaml",
            &format!(
                "prunella: v1\nname: long\nsteps: {{ one: {{ run: 'echo $$ >{}; sleep 1000' }} }}\n",
                begun.display()
            ),
        );
        let mut chaos = home.command(&["chaos"]).stderr(Stdio::null()).spawn().expect("the binary starts");
        let pid = hear(&begun).trim().to_owned();
        let told = Command::new("kill").args([name, &chaos.id().to_string()]).status().expect("kill is everywhere");
        assert!(told.success());
        assert_eq!(chaos.wait().expect("it ran").code(), Some(code));
        // Whoever inherited it may not have looked at its end yet.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "its step is gone: {stat}");
        let left = std::fs::read_dir(home.beside("")).expect("ours").flatten();
        assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("prunella-chaos")));
    }
}

#[test]
fn publications_go_below_the_directory_that_was_named() {
    let home = Home::with(SMALL);
    home.run(&["run", "--publish-below", "elsewhere"]).exits(0);
    assert_eq!(home.read("elsewhere/out/model"), "model of 20\n");
    assert!(!home.dir.join("out").exists());
    // The run is of that place: another place is another run, with the same results.
    home.run(&["run"]).exits(0);
    assert_eq!(home.read("out/model"), "model of 20\n");
}
