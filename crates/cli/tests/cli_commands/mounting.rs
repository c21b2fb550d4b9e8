//! Data that is mounted: nothing of it is stored, and nothing is committed of what it was not.

use crate::home::Home;

const PIPELINE: &str = "prunella: v1
name: mounting
data: { big: { path: big/, access: mount } }
steps:
  count:
    run: find ${{ inputs.big }} -type f | wc -l > count.txt; cat \"$PRUNELLA_INPUT_BIG/words\" >> count.txt
    inputs: { big: data.big }
    outputs: { count: count.txt }
";

/// A project whose data would be a file in the store, if it were copied.
fn home() -> Home {
    let home = Home::with(PIPELINE);
    home.write("big/words", "one\n");
    home.write("big/long", &"x".repeat(200_000));
    home
}

#[test]
fn mounted_data_is_pinned_read_in_place_and_reused_and_the_store_has_none_of_it() {
    let home = home();
    home.run(&["run"]).exits(78);
    home.run(&["pin"]).exits(0);
    home.run(&["run"]).exits(0);
    home.run(&["get", "count.count", "got"]).exits(0);
    assert_eq!(home.read("got"), "2\none\n");
    assert!(!home.dir.join(".prunella/data").exists());
    let explained = home.run(&["explain", "count"]).exits(0).out;
    let place = std::fs::canonicalize(home.dir.join("big")).expect("it is there");
    assert!(explained.contains(&format!("mounted from `{}`", place.display())), "{explained}");
    home.run(&["run"]).exits(0);
    assert_eq!(home.json(&["plan"])["summary"]["reused"], 1);
    // To copy it is the same work.
    home.write("pipeline.yaml", &PIPELINE.replace("mount }", "copy }"));
    assert_eq!(home.json(&["plan"])["summary"]["reused"], 1);
    home.run(&["run"]).exits(0);
    assert!(home.dir.join(".prunella/data").exists());
}

#[test]
fn mounted_data_that_changed_is_refused_until_it_is_pinned_and_then_read_anew() {
    let home = home();
    home.run(&["pin"]).exits(0);
    home.run(&["run"]).exits(0);
    home.write("big/words", "two\n");
    let refused = home.run(&["run"]).exits(78).err;
    assert!(refused.contains("data.big") && refused.contains("has changed"), "{refused}");
    home.run(&["pin"]).exits(0);
    home.run(&["run"]).exits(0);
    home.run(&["get", "count.count", "got"]).exits(0);
    assert_eq!(home.read("got"), "2\ntwo\n");
}
