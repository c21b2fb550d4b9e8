//! Accelerators on the command line.

use crate::home::Home;

const PIPELINE: &str = "prunella: v1
name: tokens
steps:
  train:
    run: printf %s \"$CUDA_VISIBLE_DEVICES\" > seen.txt
    outputs: { seen: seen.txt }
    resources: { gpu: 1 }
";

#[test]
fn a_step_gets_what_was_chosen_and_explain_says_which() {
    let home = Home::with(PIPELINE);
    home.run(&["run", "--gpus", "GPU-aa,"]).exits(0);
    home.run(&["get", "train.seen", "seen.txt"]).exits(0);
    assert_eq!(home.read("seen.txt"), "GPU-aa");
    assert!(home.run(&["explain", "train"]).exits(0).out.contains("on accelerator GPU-aa\n"));
    let explained = home.run(&["explain", "train", "--output", "json"]).exits(0).json();
    assert_eq!(explained["attempts"][0]["accelerators"][0], "GPU-aa");
}

#[test]
fn a_device_is_not_part_of_the_key() {
    let home = Home::with(PIPELINE);
    home.run(&["run", "--gpus", "GPU-aa,"]).exits(0);
    let again = home.run(&["run", "--new", "--gpus", "GPU-bb,"]).exits(0);
    assert!(again.out.contains("everything reused"), "{}", again.out);
}

#[test]
fn what_is_no_accelerator_is_refused_before_anything_runs() {
    let home = Home::with(PIPELINE);
    let answer = home.run(&["run", "--gpus", "first"]).exits(2);
    assert!(
        answer.err.contains("`first` is not an accelerator") && answer.err.contains("--gpus 0,1"),
        "{}",
        answer.err
    );
}

#[test]
fn more_than_there_are_is_a_lack_of_capacity() {
    let home = Home::with(PIPELINE);
    let answer = home.run(&["run", "--gpus", "0"]).exits(1);
    assert!(format!("{}{}", answer.out, answer.err).contains("needs 1 accelerator"), "{}{}", answer.out, answer.err);
}

#[test]
fn a_plan_says_what_this_machine_does_not_have() {
    let home = Home::with(
        "prunella: v1
name: wishes
steps:
  plain: { run: 'true' }
  gpus: { run: 'true #', resources: { gpu: 2 } }
  spot: { run: 'true ##', capacity: { prefer: spot, patience: 10m } }
  shared: { run: 'true ###', resources: { shm: 1000TiB } }
  large: { run: 'true ####', resources: { memory: 1GiB..1000TiB } }
",
    );
    let notes = home.run(&["plan", "--gpus", "1", "--output", "json"]).exits(0).json()["notes"].clone();
    let notes: Vec<&str> = notes.as_array().expect("a list").iter().filter_map(|note| note.as_str()).collect();
    assert_eq!(notes[0], "gpus: would fail: it needs 2 accelerators, this machine has 1");
    assert!(notes[1].starts_with("spot: would wait for 10 min 00 s for spot capacity; this machine"), "{notes:?}");
    assert!(notes[2].starts_with("shared: would fail: it needs 1000 TiB of shared memory"), "{notes:?}");
    assert!(notes[3].starts_with("large: asks for up to 1000 TiB of memory"), "{notes:?}");
    assert_eq!(notes.len(), 4, "{notes:?}");
    let text = home.run(&["plan", "--gpus", "1"]).exits(0).out;
    assert!(text.contains("gpus: would fail: it needs 2 accelerators"), "{text}");
}
