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
