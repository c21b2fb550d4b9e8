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
