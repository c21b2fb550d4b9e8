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

#[test]
fn a_pattern_stands_for_the_files_that_match_and_they_are_pinned() {
    let home = Home::with(
        "prunella: v1
name: globs
data: { images: \"raw/**/*.png\" }
steps:
  list:
    run: cd \"$PRUNELLA_INPUT_IMAGES\" && find . -type f | sort > ../../../out.txt
    inputs: { images: data.images }
    outputs: { out: out.txt }
",
    );
    home.write("raw/cats/1.png", "cat");
    home.write("raw/2.png", "dog");
    home.write("raw/notes.txt", "not this");
    home.run(&["run"]).exits(78);
    home.run(&["pin"]).exits(0);
    home.run(&["run"]).exits(0);
    home.run(&["get", "list.out", "got.txt"]).exits(0);
    assert_eq!(home.read("got.txt"), "./2.png\n./cats/1.png\n");
    home.write("raw/more.txt", "nor this");
    assert!(home.run(&["run", "--new"]).exits(0).out.contains("everything reused"));
    home.write("raw/cats/3.png", "one more");
    assert!(home.run(&["run", "--new"]).exits(78).err.contains("data.images"), "one more file is a change");
}
