//! A pipeline in several files.

use crate::home::Home;

const MAIN: &str = "prunella: v1
name: parts
include: shared/common.yaml
params: { word: mine }
steps:
  last:
    run: cat \"$PRUNELLA_INPUT_FIRST\" > out.txt
    inputs: { first: first.out }
    outputs: { out: out.txt }
";

#[test]
fn a_pipeline_of_two_files_runs_as_one() {
    let home = Home::with(MAIN);
    home.write("shared/common.yaml", "params: { word: theirs }\nsteps:\n  first:\n    run: echo ${{ params.word }} > out.txt\n    outputs: { out: out.txt }\n");
    home.run(&["run"]).exits(0);
    home.run(&["get", "last.out", "out.txt"]).exits(0);
    assert_eq!(home.read("out.txt"), "mine\n");
    // The graph is that of the merged pipeline: nothing changes if a step moves from one file to the other.
    home.write("shared/common.yaml", "{}\n");
    let steps = "steps:\n  first:\n    run: echo ${{ params.word }} > out.txt\n    outputs: { out: out.txt }\n";
    home.write("pipeline.yaml", &MAIN.replace("steps:\n", steps));
    assert!(home.run(&["run", "--new"]).exits(0).out.contains("everything reused"));
}

#[test]
fn a_mistake_names_the_file_that_it_is_in() {
    let home = Home::with(MAIN);
    home.write("shared/common.yaml", "steps:\n  first: { rum: a }\n");
    let answer = home.run(&["validate"]).exits(2);
    assert!(answer.err.contains("--> shared/common.yaml:2:12"), "{}", answer.err);
    assert!(answer.err.contains("  first: { rum: a }"), "the line is shown: {}", answer.err);
    let found = home.run(&["validate", "--output", "json"]).exits(2).json();
    let files: Vec<&str> =
        found["diagnostics"].as_array().expect("a list").iter().filter_map(|one| one["file"].as_str()).collect();
    assert!(files.contains(&"shared/common.yaml"), "{found}");
    home.write("shared/common.yaml", "steps: {}\n");
    let found = home.run(&["validate", "--output", "json"]).exits(2).json();
    assert_eq!(found["diagnostics"][0]["file"], "pipeline.yaml", "{found}");
}
