//! `--warm`: changed code goes on from a checkpoint that it had before.

use serde_json::json;

use crate::home::Home;

/// A step that counts up to its limit with a checkpoint after each number, and fails at 3 as long as the file is not there.
fn counting(home: &Home) -> String {
    format!(
        "prunella: v1
name: tiny
code: [count.sh]
steps:
  count:
    run: sh count.sh {}
    outputs: {{ numbers: numbers }}
    checkpoint: {{ format: files }}
    retry: {{ error: 0, checkpoint-rejected: 0 }}
",
        home.beside("flag").display()
    )
}

const COUNT: &str = "set -eu
c=$PRUNELLA_CHECKPOINT_DIR
n=0
if [ -e $c/state ]; then n=$(tail -n 1 $c/state | cut -d ' ' -f 2); cp $c/state numbers; fi
while [ $n -lt 5 ]; do
  n=$((n + 1)); echo \"old $n\" >>numbers
  cp numbers $c/.t; mv $c/.t $c/state
  if [ $n = 3 ] && [ ! -e $1 ]; then exit 7; fi
done
";

fn half_done() -> Home {
    let home = Home::new();
    home.write("pipeline.yaml", &counting(&home));
    home.write("count.sh", COUNT);
    home.run(&["run"]).exits(1);
    std::fs::write(home.beside("flag"), "").expect("ours");
    home.write("count.sh", &COUNT.replace("old", "new"));
    home
}

/// Returns what `plan` offers for the only step: the words after `--warm`.
fn offered(home: &Home) -> String {
    home.json(&["plan"])["steps"][0]["warm"]["checkpoint"].as_str().expect("an offer").to_owned()
}

#[test]
fn plan_offers_the_newest_checkpoint_of_the_old_code_and_run_goes_on_from_it() {
    let home = half_done();
    let offer = offered(&home);
    assert!(offer.starts_with("count=1-"), "{offer}");
    let plan = home.run(&["plan"]).exits(0);
    assert!(plan.out.contains("code changed; "), "{}", plan.out);
    assert!(plan.out.contains(&format!("`--warm {offer}` goes on from the newest, after ")), "{}", plan.out);

    let with = home.json(&["plan", "--warm", &offer]);
    assert_eq!(with["steps"][0]["verdict"], "to_run");
    assert_eq!(
        with["steps"][0]["why"],
        json!(["code changed", format!("begins with checkpoint {} (`--warm`)", &offer[6..])])
    );

    home.run(&["run", "--warm", &offer]).exits(0);
    home.run(&["get", "count.numbers", "numbers"]).exits(0);
    assert_eq!(home.read("numbers"), "old 1\nold 2\nold 3\nnew 4\nnew 5\n");
    let explained = home.run(&["explain", "count"]).exits(0);
    assert!(
        explained.out.contains(&format!("began with checkpoint {} of the older key ", &offer[6..])),
        "{}",
        explained.out
    );

    // The same words mean the same work, also when its checkpoints have others beside them.
    let again = home.run(&["run", "--warm", &offer]).exits(0);
    assert!(again.out.contains("everything reused"), "{}", again.out);
    // Without them it is other work.
    let without = home.json(&["plan"]);
    let why = &without["steps"][0]["why"][0];
    assert_eq!(*why, format!("no longer begins with checkpoint {} (`--warm`)", &offer[6..]));
}

#[test]
fn a_run_that_began_with_a_checkpoint_goes_on_without_being_told_again() {
    let home = half_done();
    let offer = offered(&home);
    home.write("count.sh", &COUNT.replace("old", "new").replace("[ $n = 3 ]", "[ $n = 4 ]"));
    std::fs::remove_file(home.beside("flag")).expect("it was there");
    home.run(&["run", "--warm", &offer]).exits(1);
    std::fs::write(home.beside("flag"), "").expect("ours");
    let plan = home.json(&["plan", "--warm", &offer]);
    assert_eq!(plan["steps"][0]["verdict"], "resumed", "its own checkpoint is newer than what it began with: {plan}");
    home.run(&["resume", "--reset-budgets"]).exits(0);
    home.run(&["get", "count.numbers", "numbers"]).exits(0);
    assert_eq!(home.read("numbers"), "old 1\nold 2\nold 3\nnew 4\nnew 5\n");
}

#[test]
fn words_that_name_no_checkpoint_are_refused_with_what_to_write() {
    let home = half_done();
    for (words, says) in [
        ("count", "write STEP=CHECKPOINT"),
        ("count=9-9", "there is no checkpoint `count=9-9`"),
        ("nothing=1-1", "the steps are count"),
    ] {
        for command in ["run", "plan"] {
            let refused = home.run(&[command, "--warm", words]).exits(2);
            assert!(refused.err.contains(says), "{words}: {}", refused.err);
        }
    }
    home.write("pipeline.yaml", &counting(&home).replace("    checkpoint: { format: files }\n", ""));
    let refused = home.run(&["run", "--warm", "count=1-1"]).exits(2);
    assert!(refused.err.contains("`count` has no checkpoints"), "{}", refused.err);
}

#[test]
fn a_collection_keeps_what_an_unfinished_run_begins_with() {
    let home = half_done();
    let offer = offered(&home);
    std::fs::remove_file(home.beside("flag")).expect("it was there");
    // It fails before it has a checkpoint of its own.
    home.write("count.sh", &format!("test -e $1 || exit 3\n{}", COUNT.replace("old", "new")));
    home.run(&["run", "--warm", &offer]).exits(1);
    home.run(&["gc", "--apply", "--keep-runs", "1"]).exits(0);
    std::fs::write(home.beside("flag"), "").expect("ours");
    home.run(&["resume", "--reset-budgets"]).exits(0);
    home.run(&["get", "count.numbers", "numbers"]).exits(0);
    assert_eq!(home.read("numbers"), "old 1\nold 2\nold 3\nnew 4\nnew 5\n");
}
