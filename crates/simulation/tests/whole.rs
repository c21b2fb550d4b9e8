//! Whole runs in virtual time: the product's engines and attempts, under faults, judged after every event.
#![allow(clippy::disallowed_methods)]

use prunella_simulation::{WholeCounts, WholePlan, play_whole, play_whole_logged, shrink_whole};

/// More are played by `cargo xtask soak --schedules N --whole`.
const SCHEDULES: u64 = 40;

/// Plays one plan; what it breaks is shown small.
fn holds(plan: &str) {
    let plan: WholePlan = plan.parse().expect("a plan");
    if let Some(violation) = play_whole(&plan).violation {
        panic!("{violation}\n{}", play_whole_logged(&plan).log.unwrap_or_default());
    }
}

#[test]
fn undisturbed_runs_end_and_every_step_is_run_once() {
    for seed in 0..4 {
        let outcome = play_whole(&WholePlan::undisturbed(seed));
        assert_eq!(outcome.violation, None, "seed {seed}");
        let WholeCounts { programs, failed, .. } = outcome.counts;
        // Four steps of at most two contents; the two runs at the end find all of it, or make anew what was collected.
        assert!((4..=16).contains(&programs) && failed == 0, "{:?}", outcome.counts);
        assert!(outcome.ms > 60_000, "a training takes its time");
    }
}

#[test]
fn whole_runs_under_faults_break_no_invariant() {
    let mut counts = WholeCounts::default();
    for seed in 0..SCHEDULES {
        let outcome = play_whole(&WholePlan::of(seed));
        counts.add(&outcome.counts);
        if let Some(violation) = outcome.violation {
            let (small, outcome) = shrink_whole(&WholePlan::of(seed));
            panic!("seed {seed}: {violation}\nas a test: holds(\"{small}\") // {:?}", outcome.violation);
        }
    }
    let WholeCounts { store, faults, programs, succeeded, .. } = counts;
    println!("{counts:?}");
    assert!(faults >= 10 * SCHEDULES && programs >= 6 * SCHEDULES, "{counts:?}");
    assert!(store.durables >= 5 * SCHEDULES && store.restores >= SCHEDULES && succeeded >= 2 * SCHEDULES, "{counts:?}");
}

#[test]
fn one_seed_gives_one_log_to_the_byte() {
    for seed in [3, 4] {
        let (once, again) = (play_whole_logged(&WholePlan::of(seed)), play_whole_logged(&WholePlan::of(seed)));
        assert_eq!(once.log, again.log, "seed {seed}");
        assert_eq!(once, again);
        assert_eq!(once.digest, play_whole(&WholePlan::of(seed)).digest);
    }
}

/// What the other process prints.
const DIGEST: &str = "digest of seed 5: ";

#[test]
fn another_process_plays_the_same() {
    let digest = play_whole(&WholePlan::of(5)).digest;
    println!("{DIGEST}{digest:016x}");
    if std::env::var_os("PRUNELLA_PLAYED_BY").is_some() {
        return;
    }
    let exe = std::env::current_exe().expect("this program");
    let mut other = std::process::Command::new(exe);
    other.args(["--exact", "another_process_plays_the_same", "--nocapture"]).env("PRUNELLA_PLAYED_BY", "the test");
    let output = other.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("{DIGEST}{digest:016x}")), "{text}");
}

/// Its engine waited a lease, let its attempt look, which began to watch anew and handed the work back: for ever.
#[test]
fn i10_ends_a_run_takes_up_the_work_of_a_run_of_another_machine_that_nobody_goes_on_with() {
    holds("whole=4 60000@1:gone");
}

#[test]
fn a_plan_is_played_as_its_text_says() {
    holds("whole=1 30000@0:engine 90000@1:machine");
}

#[test]
fn an_engine_that_stood_still_may_begin_a_run_of_its_own_and_take_up_one_that_has_ended() {
    holds("whole=95 2801@1:pause-154");
    holds(
        "whole=136 36034@1:store-lost 40056@0:notice-6 116147@0:notice-30 139420@0:notice-17 171362@0:wall-85900 \
         182620@0:store-outage-1 205253@0:killed 215666@1:guardian 251423@1:machine 269593@1:engine 281230@1:engine \
         331497@1:pause-202 409831@0:store-throttled-1 467673@0:notice-23 516614@1:store-lost",
    );
}

#[test]
fn an_engine_goes_on_as_the_one_before_it_decided_to_heal() {
    holds(
        "whole=375 35548@1:store-flip 56186@1:killed 84752@0:pause-304 95464@1:store-lost-reply 154729@1:engine \
         202801@0:store-throttled-60 283427@1:both 324232@1:engine 373801@0:engine 427620@1:full-5 449162@1:guardian \
         465596@1:killed 490114@1:full-121 531939@0:store-outage-22 562539@1:machine 612894@0:store-late-1",
    );
}
