//! get: artifacts out of the store.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::home::Home;

const PIPELINE: &str = "prunella: v1
name: things
params: { n: 1, size: 100000 }
steps:
  make:
    run: |
      mkdir -p tree/sub
      echo ${{ params.n }} >tree/sub/a
      echo '#!/bin/sh' >tree/go
      chmod +x tree/go
      ln -s sub/a tree/link
      head -c ${{ params.size }} /dev/zero >large
      echo small >small.txt
    outputs: { tree: tree/, large: large, small: small.txt }
";

fn made() -> Home {
    let home = Home::with(PIPELINE);
    home.run(&["run"]).exits(0);
    home
}

#[test]
fn an_artifact_lies_where_it_is_wanted_with_all_that_is_in_it() {
    let home = made();
    let told = home.run(&["get", "make.small"]).exits(0);
    assert!(told.out.starts_with("small.txt: file 6 B "), "{}", told.out);
    assert_eq!(home.read("small.txt"), "small\n");
    assert_eq!(home.run(&["get", "make.small", "-"]).exits(0).out, "small\n");

    let tree = home.json(&["get", "make.tree", "deep"]);
    assert_eq!((&tree["path"], &tree["artifact"]["kind"]), (&"deep".into(), &"tree".into()));
    assert_eq!(home.read("deep/sub/a"), "1\n");
    assert_eq!(home.read("deep/link"), "1\n");
    let mode = fs::metadata(home.dir.join("deep/go")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    home.run(&["get", "make.tree", "-"]).exits(2);

    fs::create_dir(home.dir.join("into")).expect("ours");
    home.run(&["get", "make.small", "into"]).exits(0);
    assert_eq!(home.read("into/small.txt"), "small\n");
    assert!(home.run(&["get", "make.nothing"]).exits(2).err.contains("the outputs are large, small, tree"));
    assert!(home.run(&["get", "make"]).exits(2).err.contains("STEP.OUTPUT"));
}

#[test]
fn nothing_is_replaced_unless_that_is_wanted_and_nothing_is_left_beside() {
    let home = made();
    home.write("small.txt", "mine");
    home.write("deep/mine", "mine");
    let refused = home.run(&["get", "make.small"]).exits(2);
    assert!(refused.err.contains("--overwrite"), "{}", refused.err);
    home.run(&["get", "make.tree", "deep"]).exits(2);
    assert_eq!((home.read("small.txt"), home.read("deep/mine")), ("mine".to_owned(), "mine".to_owned()));
    home.run(&["get", "make.small", "--overwrite"]).exits(0);
    home.run(&["get", "make.tree", "deep", "--overwrite"]).exits(0);
    assert_eq!((home.read("small.txt"), home.read("deep/sub/a")), ("small\n".to_owned(), "1\n".to_owned()));
    assert!(!home.dir.join("deep/mine").exists());
    assert_eq!(home.names(), [".prunella", "deep", "pipeline.yaml", "small.txt"]);
}

#[test]
fn a_name_means_the_newest_success_and_a_run_its_own() {
    let home = made();
    let first = home.json(&["runs"])["runs"][0]["run"].as_str().expect("an id").to_owned();
    home.run(&["run", "--set", "n=2"]).exits(0);
    let sub = |words: &[&str]| {
        let words: Vec<&str> = ["get"].iter().chain(words).chain(&["out", "--overwrite"]).copied().collect();
        home.run(&words).exits(0);
        home.read("out/sub/a")
    };
    assert_eq!(sub(&["make.tree"]), "2\n");
    assert_eq!(sub(&[&first, "make.tree"]), "1\n");
    // A run that fails moves no name.
    home.run(&["run", "--set", "n=3", "--set", "size=0"]).exits(1);
    assert_eq!(sub(&["make.tree"]), "2\n");
    assert!(
        home.run(&["get", home.json(&["runs"])["runs"][0]["run"].as_str().unwrap(), "make.tree", "x"])
            .exits(2)
            .err
            .contains("has not been made")
    );
}

#[test]
fn damaged_bytes_are_refused_and_nothing_appears() {
    let home = made();
    let damaged = home.damage();
    assert_eq!(damaged, 1, "one output is large enough for a file");
    for to in ["large", "-"] {
        let refused = home.run(&["get", "make.large", to]).exits(78);
        assert!(refused.err.contains("is damaged"), "{}", refused.err);
        assert_eq!(refused.out, "");
    }
    assert_eq!(home.names(), [".prunella", "pipeline.yaml"]);
}
