//! The protocol holds in every schedule; a seed is a schedule, to the byte; and a store that is naive does not hold.
//!
//! `PRUNELLA_SCHEDULES=N` plays so many seeds instead of 20,000, from `PRUNELLA_FIRST_SEED` on.
#![allow(clippy::disallowed_methods)]

use std::process::Command;

use prunella_simulation::{Plan, play, play_logged, play_range, shrink};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn all_invariants_hold_in_twenty_thousand_schedules() {
    let (first, count) = (number("PRUNELLA_FIRST_SEED").unwrap_or(0), number("PRUNELLA_SCHEDULES").unwrap_or(20_000));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let played = play_range(first, count, threads);
    if let Some(seed) = played.failed {
        let (small, outcome) = shrink(&Plan::of(seed));
        panic!("seed {seed}: {}\nas a test: holds(\"{small}\")", outcome.violation.expect("it failed before"));
    }
    let all = played.counts;
    // What never happens is not shown to be right.
    assert!(all.commits > 2 * count && all.durables > 2 * count, "{all:?}");
    assert!(all.restores > count / 2 && all.deletions > 5 * count, "{all:?}");
}

#[test]
fn the_same_seed_gives_the_same_log_to_the_byte() {
    for seed in 0..40 {
        let (once, again) = (play_logged(&Plan::of(seed)), play_logged(&Plan::of(seed)));
        assert!(once.log.as_ref().is_some_and(|log| log.lines().count() > 300), "seed {seed} has no log");
        assert_eq!(once, again, "seed {seed}");
        assert_eq!(play(&Plan::of(seed)).digest, once.digest, "seed {seed}: what is logged is not what happens");
    }
    assert_ne!(play(&Plan::of(1)).digest, play(&Plan::of(2)).digest);
}

/// What another process says of the seeds of [`two_processes_give_the_same_logs`].
const ASKED: &str = "PRUNELLA_SIMULATION_DIGESTS";

fn digests() -> Vec<String> {
    (100..140).map(|seed| format!("digest {seed} {:016x}", play(&Plan::of(seed)).digest)).collect()
}

#[test]
fn two_processes_give_the_same_logs() {
    if std::env::var_os(ASKED).is_some() {
        digests().iter().for_each(|line| println!("{line}"));
        return;
    }
    let program = std::env::current_exe().unwrap();
    let other = Command::new(program)
        .args(["--exact", "two_processes_give_the_same_logs", "--nocapture"])
        .env(ASKED, "1")
        .output()
        .unwrap();
    assert!(other.status.success());
    let other = String::from_utf8(other.stdout).unwrap();
    let theirs: Vec<&str> = other.lines().filter(|line| line.starts_with("digest ")).collect();
    assert_eq!(theirs, digests());
}

/// Plays a plan that once broke an invariant.
fn holds(plan: &str) {
    let plan: Plan = plan.parse().unwrap();
    let outcome = play(&plan);
    assert_eq!(outcome.violation, None, "{plan}");
}

#[test]
fn i6_effect_a_run_that_is_numbered_while_newer_ones_are_looked_for_hides_none_of_them() {
    holds("seed=69646 members=0,1,2 0@61:late-1");
    // Nothing at all goes wrong here.
    holds("seed=72936 members=0,1,2");
}

#[test]
fn i6_effect_a_late_word_that_an_older_binding_was_published_is_no_harm() {
    // A damaged commit was made anew while who had published the old one hung in an outage.
    holds(
        "seed=797282 members=0,1,2,3,4 0@7:lost-reply 2@29:outage-1 1@15:stall-382 1@115:rot-record 1@105:outage-270",
    );
}

#[test]
fn i10_ends_a_run_whose_engine_died_goes_on_on_another_machine() {
    // Every process that came later was on the other machine.
    holds("seed=129806 members=2");
}

#[test]
fn i10_ends_an_effect_whose_bytes_rotted_after_it_was_begun_is_done_with_those_made_anew() {
    holds("seed=9 members=0,2 2@80:vanish");
}

#[test]
fn i8_gc_a_checkpoint_condemned_while_a_newer_one_stood_goes_although_that_rotted_meanwhile() {
    holds("seed=354998 members=0,1,2,3,4 3@35:done-and-refused 1@49:throttled-50 2@68:vanish");
}

/// It may name every object that is there, so that no attempt relies on a checkpoint of before (0030): that costs work, and nothing else.
#[test]
fn i4_ratchet_a_damaged_list_of_condemned_objects_costs_checkpoints_of_before_and_nothing_else() {
    holds("seed=397 members=0,1,2,3,4 2@39:kill 3@17:done-and-refused 2@87:rot-record 1@117:throttled-100");
}

#[test]
fn i4_ratchet_who_was_beaten_to_a_list_takes_nothing_over_from_a_damaged_one_before_it() {
    holds("seed=168484 members=0,1,2,3,4 2@18:throttled-87 2@108:rot-record 1@42:outage-17");
}
