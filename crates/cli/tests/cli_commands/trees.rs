//! Trees of files as inputs and outputs: odd names, great depth, data that changes a little, and what is refused.

use crate::home::Home;

const PIPELINE: &str = "prunella: v1
name: trees
data: { corpus: corpus/ }
steps:
  copy:
    run: cp -RP \"$PRUNELLA_INPUT_CORPUS\" copied
    inputs: { corpus: data.corpus }
    outputs: { copied: copied/ }
";

/// A corpus of 40 files with names that a careless program would trip over.
fn corpus(home: &Home) {
    for n in 0..20 {
        home.write(&format!("corpus/with space/-{n}"), &format!("content {n}\n"));
        home.write(&format!("corpus/line\nbreak/schön \"{n}\"'*?"), &format!("content {n}\n"));
    }
}

#[test]
fn odd_names_come_through_a_whole_run_as_they_are() {
    let home = Home::with(PIPELINE);
    corpus(&home);
    home.run(&["pin"]).exits(0);
    home.run(&["run"]).exits(0);
    home.run(&["get", "copy.copied", "got"]).exits(0);
    let same =
        std::process::Command::new("diff").args(["-r", "corpus", "got"]).current_dir(home.beside("work")).status();
    assert!(same.expect("diff is there").success());
    home.run(&["verify"]).exits(0);
}

#[test]
fn of_changed_data_only_the_change_is_stored_and_gc_keeps_what_is_shared() {
    let home = Home::with(PIPELINE);
    corpus(&home);
    // Too much to travel in the graph's own batch: a pack of its own.
    home.write("corpus/long", &"x".repeat(100_000));
    home.run(&["pin"]).exits(0);
    home.run(&["run"]).exits(0);
    home.write("corpus/with space/-3", "changed\n");
    home.run(&["pin"]).exits(0);
    home.run(&["run"]).exits(0);
    home.run(&["gc", "--keep-runs", "1", "--apply"]).exits(0);
    assert_eq!(home.json(&["verify"])["damaged"], serde_json::json!([]));
    home.run(&["get", "copy.copied", "got"]).exits(0);
    let same =
        std::process::Command::new("diff").args(["-r", "corpus", "got"]).current_dir(home.beside("work")).status();
    assert!(same.expect("diff is there").success());
}

#[test]
fn a_tree_deeper_than_a_path_may_be_long_is_stored_and_comes_back() {
    // No shell goes so deep.
    let home = Home::with(
        "prunella: v1
name: deep
code: ['*.py']
steps:
  dig:
    run: python3 dig.py
    outputs: { out: out/ }
  climb:
    run: python3 climb.py
    inputs: { out: dig.out }
    outputs: { found: found }
",
    );
    home.write(
        "dig.py",
        "import os\nos.mkdir('out'); os.chdir('out')\nfor n in range(500):\n    os.mkdir(f'level-number-{n}'); os.chdir(f'level-number-{n}')\nopen('file', 'w').write('bottom')\n",
    );
    home.write(
        "climb.py",
        "import os\nfound = open('found', 'w')\nos.chdir(os.environ['PRUNELLA_INPUT_OUT'])\nfor n in range(500):\n    os.chdir(f'level-number-{n}')\nfound.write(open('file').read())\n",
    );
    home.run(&["run"]).exits(0);
    home.run(&["get", "climb.found", "found"]).exits(0);
    assert_eq!(home.read("found"), "bottom");
    home.run(&["get", "dig.out", "got"]).exits(0);
    home.run(&["verify"]).exits(0);
}

#[test]
fn all_that_an_output_may_not_hold_is_named_at_once_and_in_one_line() {
    let home = Home::with(
        "prunella: v1
name: refused
steps:
  make:
    run: mkdir out; cd out; touch Readme README; ln -s /etc/passwd abs; mkfifo \"$(printf 'pi\\npe')\"
    outputs: { out: out/ }
",
    );
    let told = home.run(&["run"]).exits(1);
    let all = format!("{}{}", told.out, told.err);
    assert!(all.contains("`pi\\npe`: it is a socket, pipe or device"), "{all}");
    home.write(
        "pipeline.yaml",
        "prunella: v1
name: refused
steps:
  make:
    run: mkdir out; cd out; touch Readme README; ln -s /etc/passwd abs
    outputs: { out: out/ }
",
    );
    let told = home.run(&["run"]).exits(1);
    let all = format!("{}{}", told.out, told.err);
    assert!(
        all.contains("`README` and `Readme` differ only in case") && all.contains("`abs` → `/etc/passwd`"),
        "{all}"
    );
}
