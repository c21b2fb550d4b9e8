//! graph: a pipeline as text, as Mermaid, as a picture and for programs, with and without a run.

use crate::home::{Home, plain};

/// Names that mean something to Mermaid, data used twice, and an order without data.
const PIPELINE: &str = "prunella: v1
name: small
data: { text: text.txt }
params: { fail: 'no' }
steps:
  split:
    run: cp ${{ inputs.text }} left; cp left right
    inputs: { text: data.text }
    outputs: { left: left, right: right }
  end:
    run: test ${{ params.fail }} = no && cp ${{ inputs.left }} out
    inputs: { left: split.left }
    outputs: { out: out }
    retry: { error: { limit: 1, backoff: 1ms..2ms } }
  class:
    run: cat ${{ inputs.one }} ${{ inputs.text }} >out
    inputs: { one: split.right, two: split.right, text: data.text }
    outputs: { out: out }
  report:
    run: cp ${{ inputs.a }} page
    inputs: { a: end.out }
    after: [class]
    outputs: { page: page }
";

fn small() -> Home {
    let home = Home::with(PIPELINE);
    home.write("text.txt", "to be\n");
    home
}

/// Compares with a file beside this one; `PRUNELLA_BLESS=1` writes it anew.
fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli_commands/golden").join(name);
    if std::env::var_os("PRUNELLA_BLESS").is_some() {
        std::fs::write(&path, text).expect("ours");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text,
        expected,
        "{}: look at it; if it is better than before, PRUNELLA_BLESS=1 keeps it",
        path.display()
    );
}

#[test]
fn before_any_run_every_form_shows_the_pipeline_and_nothing_is_made() {
    let home = small();
    let text = home.run(&["graph"]).exits(0).out;
    let expected = "small  4 steps in 3 layers from 1 data set
layer 1
  split   ← data.text
layer 2
  end     ← split.left
  class   ← data.text, split.right
layer 3
  report  ← end.out, after class
";
    assert_eq!(text, expected);
    golden("small.mmd", &home.run(&["graph", "--format", "mermaid"]).exits(0).out);
    golden("small.svg", &home.run(&["graph", "--format", "svg"]).exits(0).out);
    let json = home.json(&["graph"]);
    assert_eq!((&json["run"], &json["data"][0], &json["steps"][2]["layer"]), (&().into(), &"text".into(), &2.into()));
    let edges = json["edges"].as_array().expect("edges");
    assert_eq!(edges.len(), 7, "{edges:?}");
    let edge = serde_json::json!({ "kind": "data", "from": "split", "output": "right", "to": "class", "input": "two" });
    assert!(edges.contains(&edge), "{edges:?}");
    assert!(edges.contains(&serde_json::json!({ "kind": "order", "from": "class", "to": "report" })));
    assert_eq!(home.run(&["graph", "--format", "json"]).exits(0).json(), json);
    assert_eq!(home.names(), ["pipeline.yaml", "text.txt"]);
}

#[test]
fn only_the_steps_asked_for_and_what_they_need_are_drawn() {
    let home = small();
    let json = home.json(&["graph", "pipeline.yaml", "end"]);
    let steps: Vec<&str> =
        json["steps"].as_array().expect("steps").iter().map(|s| s["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["split", "end"]);
    let unknown = home.run(&["graph", "nothing"]).exits(2);
    assert!(unknown.err.contains("the steps are split, end, class, report"), "{}", unknown.err);
    home.write("bad.yaml", "prunella: v1\nname: bad\nsteps: { a: { run: 'true', after: [b] } }\n");
    assert!(home.run(&["graph", "bad.yaml"]).exits(2).err.contains("`b`"));
}

#[test]
fn with_a_run_every_step_says_how_it_is_by_sign_and_word() {
    let home = small();
    home.run(&["pin"]).exits(0);
    home.run(&["run", "--set", "fail=yes"]).exits(1);
    // The newest run was of other parameters: nothing is claimed of this pipeline.
    assert!(!home.run(&["graph"]).exits(0).out.contains("failed"));
    let expected = "small  4 steps in 3 layers from 1 data set
run RUN  failed
layer 1
  ✓ split   done     ← data.text
layer 2
  ✗ end     failed   ← split.left
  ✓ class   done     ← data.text, split.right
layer 3
  · report  blocked  ← end.out, after class
";
    let text = home.run(&["graph", "--set", "fail=yes"]).exits(0).out;
    assert_eq!(plain(&text), expected);
    let run = home.json(&["graph", "--set", "fail=yes"])["run"].as_str().expect("a run").to_owned();
    // The run's own pipeline, whatever the file says now.
    home.write("pipeline.yaml", &PIPELINE.replace("report", "summary"));
    assert_eq!(plain(&home.run(&["graph", "--run", &run]).exits(0).out), expected);
    assert!(home.run(&["graph"]).exits(0).out.contains("summary"));

    let svg = home.run(&["graph", "--run", &run, "--format", "svg"]).exits(0).out;
    for said in [">✓ done<", ">✗ failed<", ">· blocked<", "prefers-color-scheme:dark", "run RUN failed"] {
        assert!(plain(&svg).contains(said), "{said}: {svg}");
    }
    let mermaid = home.run(&["graph", "--run", &run, "--format", "mermaid"]).exits(0).out;
    assert!(mermaid.contains("s1[\"end<br/>✗ failed\"]") && mermaid.contains("class s1 bad"), "{mermaid}");
    assert_eq!(home.json(&["graph", "--run", &run])["steps"][3]["state"], "blocked");

    home.write("pipeline.yaml", PIPELINE);
    home.run(&["run", "end"]).exits(0);
    let partly = home.run(&["graph"]).exits(0).out;
    assert!(partly.contains("  ✓ end     done    ← split.left\n    class           ← data.text"), "{partly}");
    assert!(home.run(&["graph", "--format", "svg"]).exits(0).out.contains(">not in this run<"));
    assert!(!home.run(&["graph", "--no-run"]).exits(0).out.contains('✓'));
    assert!(home.run(&["graph", "--run", "zzz"]).exits(2).err.contains("prunella runs"));
    home.run(&["graph", "--run", &run, "--set", "fail=no"]).exits(2);
}
