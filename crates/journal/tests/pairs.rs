//! Every state meets every event.

mod common;

use common::*;
use prunella_journal::*;
use prunella_model::*;

/// Everything that a step accepts, and where it is afterwards; what is not here is refused.
const LEGAL: &[(Stage, &str, Stage)] = &[
    (Stage::Waiting, "step_blocked", Stage::Blocked),
    (Stage::Undecided, "step_decided", Stage::Skipped),
    (Stage::Undecided, "step_skipped", Stage::Skipped),
    (Stage::Undecided, "step_failed", Stage::Failed),
    (Stage::Undecided, "input_damaged", Stage::Undecided),
    (Stage::Bindable, "step_skipped", Stage::Skipped),
    (Stage::Bindable, "step_keyed", Stage::Keyed),
    (Stage::Bindable, "step_failed", Stage::Failed),
    (Stage::Keyed, "step_missed", Stage::Ready),
    (Stage::Keyed, "step_reused", Stage::Done),
    (Stage::Keyed, "step_waiting", Stage::Held),
    (Stage::Keyed, "step_failed", Stage::Failed),
    (Stage::Keyed, "step_rebound", Stage::Bindable),
    (Stage::Keyed, "step_blocked", Stage::Blocked),
    (Stage::Queued, "step_rebound", Stage::Bindable),
    (Stage::Queued, "step_blocked", Stage::Blocked),
    (Stage::Ready, "attempt_started", Stage::Running),
    (Stage::Ready, "step_reused", Stage::Done),
    (Stage::Ready, "step_waiting", Stage::Held),
    (Stage::Ready, "step_healing", Stage::Ready),
    (Stage::Ready, "step_failed", Stage::Failed),
    (Stage::Ready, "step_rebound", Stage::Bindable),
    (Stage::Ready, "step_blocked", Stage::Blocked),
    (Stage::Held, "step_missed", Stage::Ready),
    (Stage::Held, "step_reused", Stage::Done),
    (Stage::Held, "step_waiting", Stage::Held),
    (Stage::Held, "step_failed", Stage::Failed),
    (Stage::Held, "step_rebound", Stage::Bindable),
    (Stage::Held, "step_blocked", Stage::Blocked),
    (Stage::Running, "checkpoint_skipped", Stage::Running),
    (Stage::Running, "snapshot_skipped", Stage::Running),
    (Stage::Running, "checkpoint_interval_chosen", Stage::Running),
    (Stage::Running, "state_restored", Stage::Running),
    (Stage::Running, "process_started", Stage::Running),
    (Stage::Running, "checkpoint_taken", Stage::Running),
    (Stage::Running, "checkpoint_durable", Stage::Running),
    (Stage::Running, "notice_received", Stage::Running),
    (Stage::Running, "attempt_ended", Stage::Ended),
    (Stage::Running, "step_committed", Stage::Done),
    (Stage::Ended, "step_healing", Stage::Ready),
    (Stage::Ended, "input_damaged", Stage::Ready),
    (Stage::Ended, "step_failed", Stage::Failed),
    (Stage::Ended, "step_rebound", Stage::Bindable),
    (Stage::Ended, "step_blocked", Stage::Blocked),
    (Stage::Done, "step_rebound", Stage::Bindable),
    (Stage::Done, "commit_damaged", Stage::Keyed),
    (Stage::Skipped, "step_rebound", Stage::Bindable),
    (Stage::Gathering, "step_rebound", Stage::Bindable),
    (Stage::Gathering, "step_blocked", Stage::Blocked),
    (Stage::Gathered, "step_rebound", Stage::Bindable),
];

/// What differs for a step that fans out over a list of its own.
const LEADING: &[(Stage, &str, Option<Stage>)] = &[
    (Stage::Bindable, "step_expanded", Some(Stage::Gathering)),
    (Stage::Bindable, "step_keyed", None),
    (Stage::Bindable, "input_damaged", Some(Stage::Bindable)),
];

/// Events that name the slot they are about: a step refuses them about any other.
const ABOUT_A_SLOT: &[&str] = &[
    "step_reused",
    "step_waiting",
    "attempt_started",
    "checkpoint_skipped",
    "snapshot_skipped",
    "checkpoint_interval_chosen",
    "state_restored",
    "process_started",
    "checkpoint_taken",
    "checkpoint_durable",
    "notice_received",
    "attempt_ended",
    "step_committed",
    "commit_damaged",
];

const PERMISSIVE: Around = Around {
    driver: 1,
    now: Span::from_millis(1000),
    bound: true,
    conditional: false,
    taken: false,
    stale: true,
    dead: Some(StepIndex::new(0)),
    leads: false,
    absent: Some(StepIndex::new(0)),
};

/// One state of every stage, about key 1 and its first epoch.
fn states() -> Vec<StepState> {
    let slot = slot(1, 1);
    let go = |state: &StepState, kind: &str| {
        state.apply(&sample(kind, "s", slot), &PERMISSIVE).unwrap_or_else(|| panic!("{state:?} refuses {kind}"))
    };
    let keyed = go(&StepState::Bindable, "step_keyed");
    let ready = go(&keyed, "step_missed");
    let running = go(&ready, "attempt_started");
    let states = vec![
        StepState::Waiting,
        StepState::Undecided,
        go(&StepState::Undecided, "step_decided"),
        StepState::Bindable,
        StepState::Queued { key: key(1) },
        go(&keyed, "step_waiting"),
        go(&running, "attempt_ended"),
        go(&running, "step_committed"),
        go(&keyed, "step_failed"),
        go(&keyed, "step_blocked"),
        keyed,
        ready,
        running,
        StepState::Gathering,
        StepState::Gathered { artifacts: Box::default() },
        StepState::Dropped,
    ];
    assert_eq!(states.len(), Stage::ALL.len());
    states
}

#[test]
fn every_state_accepts_exactly_the_events_of_the_table() {
    let states = states();
    for stage in Stage::ALL {
        let state = states.iter().find(|state| state.stage() == stage).expect("there is one of each");
        for kind in Event::KINDS {
            let event = sample(kind, "s", slot(1, 1));
            assert_eq!(event.kind(), *kind);
            let next = state.apply(&event, &PERMISSIVE).map(|next| next.stage());
            let expected = LEGAL.iter().find(|(from, on, _)| *from == stage && on == kind).map(|(_, _, to)| *to);
            assert_eq!(next, expected, "{stage:?} on {kind}");
            let leading = Around { leads: true, ..PERMISSIVE };
            let next = state.apply(&event, &leading).map(|next| next.stage());
            let differs = LEADING.iter().find(|(from, on, _)| *from == stage && on == kind).map(|(_, _, to)| *to);
            assert_eq!(next, differs.unwrap_or(expected), "{stage:?} on {kind}, with a list");
        }
    }
}

#[test]
fn an_accepted_event_always_changes_what_it_should() {
    let states = states();
    // What was skipped and chosen is in the journal alone, and a wait begins anew with the same conditions.
    let unchanged = |stage: Stage, kind: &str| {
        // What a condition reads is made anew: the producer's state says so, not the consumer's.
        let asked_again = (stage, kind) == (Stage::Undecided, "input_damaged");
        asked_again || ["checkpoint_skipped", "snapshot_skipped", "checkpoint_interval_chosen"].contains(&kind)
    };
    for (stage, kind, _) in LEGAL {
        let state = states.iter().find(|state| state.stage() == *stage).expect("there is one of each");
        let event = match *kind {
            "step_waiting" => {
                Event::StepWaiting { step: id("s"), slot: slot(1, 9), holder: RunId::new("run-3").expect("a run id") }
            }
            kind => sample(kind, "s", slot(1, 1)),
        };
        let next = state.apply(&event, &PERMISSIVE).expect("it is in the table");
        assert_eq!(next == *state, unchanged(*stage, kind), "{stage:?} on {kind}");
    }
}

#[test]
fn an_event_about_another_slot_or_key_is_refused_everywhere() {
    for state in states() {
        for kind in ABOUT_A_SLOT {
            let event = sample(kind, "s", slot(2, 1));
            assert_eq!(state.apply(&event, &PERMISSIVE), None, "{:?} on {kind} of another key", state.stage());
            // An attempt that has a slot hears of no other; before that any epoch of the key will do.
            if state.stage() == Stage::Running {
                assert_eq!(state.apply(&sample(kind, "s", slot(1, 2)), &PERMISSIVE), None, "{kind} of another epoch");
            }
        }
    }
}

#[test]
fn a_checkpoint_of_another_attempt_is_not_taken_for_ones_own() {
    let running = states().into_iter().find(|state| state.stage() == Stage::Running).expect("there is one");
    let (slot, foreign) = (slot(1, 1), CheckpointId { slot: slot(1, 2), seq: 1 });
    let (size, took) = (ByteSize(1), Span::from_millis(1));
    let taken = Event::CheckpointTaken { step: id("s"), slot, checkpoint: foreign, size, took };
    let durable = Event::CheckpointDurable { step: id("s"), slot, checkpoint: foreign, size, took };
    assert_eq!(running.apply(&taken, &PERMISSIVE), None);
    assert_eq!(running.apply(&durable, &PERMISSIVE), None);
}

#[test]
fn what_the_run_around_forbids_is_refused() {
    let states = states();
    let not = |change: fn(&mut Around)| {
        let mut around = PERMISSIVE;
        change(&mut around);
        around
    };
    let fresh = not(|around| around.stale = false);
    let alive = not(|around| around.dead = None);
    let present = not(|around| around.absent = None);
    let conditional = not(|around| around.conditional = true);
    let taken = not(|around| around.taken = true);
    let unbound = not(|around| around.bound = false);
    for state in &states {
        let on = |kind: &str, around: &Around| state.apply(&sample(kind, "s", slot(1, 1)), around).map(|s| s.stage());
        assert_eq!(on("step_rebound", &fresh), None, "{:?}", state.stage());
        assert_eq!(on("step_blocked", &alive), None, "{:?}", state.stage());
        assert_eq!(on("step_skipped", &present), None, "{:?}", state.stage());
        if on("step_rebound", &PERMISSIVE).is_some() {
            assert_eq!(on("step_rebound", &unbound), Some(Stage::Waiting));
            assert_eq!(on("step_rebound", &conditional), Some(Stage::Undecided), "a condition is answered anew");
        }
        match state.stage() {
            Stage::Bindable => assert_eq!(on("step_keyed", &taken), Some(Stage::Queued)),
            Stage::Keyed => {
                assert_eq!(on("step_missed", &taken), Some(Stage::Queued));
                assert_eq!(on("step_waiting", &taken), Some(Stage::Queued));
                assert_eq!(on("step_reused", &taken), Some(Stage::Done));
            }
            _ => {}
        }
    }
}

/// What the run as a whole is like; the columns of the next table.
const WHOLE: [&str; 6] = ["nothing", "begun", "driven", "stopping", "stopping now", "ended"];

#[test]
fn the_run_as_a_whole_accepts_exactly_the_events_of_the_table() {
    // One character a column: `+` accepted, `.` refused; `step` is any event about a step that its state accepts.
    let table = [
        ("run_started", "+....."),
        ("driver_started", ".+++++"),
        ("stop checkpoint", "..+..."),
        ("stop now", "..++.."),
        ("hint_received", "..+++."),
        ("concluded succeeded", "..+++."),
        ("concluded failed", "......"),
        ("ended succeeded", "..+++."),
        ("ended failed", "......"),
        ("ended stopped", "...++."),
        ("step", "..+++."),
    ];
    let empty = topology(&[]);
    let one = topology(&[("s", &[])]);
    let at_end = topology(&[("on_exit", &[])]);
    let prefix = |column: &str| {
        let mut events = Vec::new();
        let stop = |how| at(2, Event::StopRequested { how });
        if column != "nothing" {
            events.push(at(0, run_started()));
        }
        if !matches!(column, "nothing" | "begun") {
            events.push(at(0, driver_started(1)));
        }
        match column {
            "stopping" => events.push(stop(StopHow::Checkpoint)),
            "stopping now" => events.push(stop(StopHow::Now)),
            "ended" => {
                events.push(stop(StopHow::Checkpoint));
                events.push(at(3, Event::RunEnded { status: RunStatus::Stopped }));
            }
            _ => {}
        }
        events
    };
    for (row, cells) in table {
        let event = match row {
            "stop checkpoint" => Event::StopRequested { how: StopHow::Checkpoint },
            "stop now" => Event::StopRequested { how: StopHow::Now },
            "concluded succeeded" => Event::RunConcluded { status: RunStatus::Succeeded },
            "concluded failed" => Event::RunConcluded { status: RunStatus::Failed },
            "ended succeeded" => Event::RunEnded { status: RunStatus::Succeeded },
            "ended failed" => Event::RunEnded { status: RunStatus::Failed },
            "ended stopped" => Event::RunEnded { status: RunStatus::Stopped },
            "step" => sample("step_keyed", "s", slot(1, 1)),
            kind => sample(kind, "s", slot(1, 1)),
        };
        // Success needs a run without open steps, everything else one with them.
        let shape = match row {
            "ended succeeded" => &empty,
            "concluded succeeded" => &at_end,
            _ => &one,
        };
        for (column, cell) in WHOLE.iter().zip(cells.chars()) {
            let mut run = RunState::fold(shape.clone(), &prefix(column)).expect("a legal beginning");
            let before = run.clone();
            assert_eq!(run.check(&event).is_ok(), cell == '+', "{row} when {column}");
            assert_eq!(run.apply(&at(5, event.clone())).is_ok(), cell == '+', "{row} when {column}");
            assert_eq!(run == before, cell != '+', "{row} when {column}: refused is unchanged, accepted is not");
        }
    }
}

#[test]
fn a_run_ends_only_when_it_may() {
    let two = topology(&[("a", &[]), ("b", &[0])]);
    let end = |status| Event::RunEnded { status };
    let mut run = begun(&two);
    assert!(run.check(&end(RunStatus::Succeeded)).is_err(), "a step is open");
    assert!(run.check(&end(RunStatus::Failed)).is_err(), "nothing was given up");
    for kind in ["step_keyed", "step_missed", "attempt_started"] {
        run.apply(&at(1, sample(kind, "a", slot(1, 1)))).expect("legal");
    }
    run.apply(&at(2, Event::StopRequested { how: StopHow::Now })).expect("legal");
    assert!(run.check(&end(RunStatus::Stopped)).is_err(), "an attempt is running");
    run.apply(&at(3, sample("attempt_ended", "a", slot(1, 1)))).expect("legal");
    assert!(run.check(&end(RunStatus::Stopped)).is_ok());
    run.apply(&at(4, sample("step_failed", "a", slot(1, 1)))).expect("legal");
    assert!(run.check(&end(RunStatus::Failed)).is_err(), "the consumer is open");
    run.apply(&at(5, Event::StepBlocked { step: id("b"), by: id("a") })).expect("legal");
    assert!(run.check(&end(RunStatus::Failed)).is_ok());
    assert!(run.check(&end(RunStatus::Succeeded)).is_err());
}
