//! The figures of docs/metrics.md, each computed by hand.

mod common;

use common::{artifacts, at, driver_started, id, run_started, slot};
use prunella_healing::{Ending, Evidence, Phase, Spent};
use prunella_journal::*;
use prunella_model::*;

fn ms(n: u64) -> Span {
    Span::from_millis(n)
}

fn began() -> Vec<Stamped> {
    vec![at(0, run_started()), at(0, driver_started(1))]
}

fn started(epoch: u64) -> Event {
    Event::AttemptStarted { step: id("train"), slot: slot(1, epoch), writer: WriterId::from_random(7) }
}

fn process(epoch: u64) -> Event {
    Event::ProcessStarted { step: id("train"), slot: slot(1, epoch), pid: 4711, accelerators: Vec::new() }
}

fn checkpoint(epoch: u64, seq: u64) -> CheckpointId {
    CheckpointId { slot: slot(1, epoch), seq }
}

fn restored(epoch: u64, from: CheckpointId, took: u64) -> Event {
    Event::StateRestored { step: id("train"), slot: slot(1, epoch), checkpoint: from, took: ms(took) }
}

fn taken(epoch: u64, seq: u64, took: u64) -> Event {
    let (checkpoint, size) = (checkpoint(epoch, seq), ByteSize(1 << 20));
    Event::CheckpointTaken { step: id("train"), slot: slot(1, epoch), checkpoint, size, took: ms(took) }
}

fn durable(epoch: u64, seq: u64, took: u64) -> Event {
    let (checkpoint, size) = (checkpoint(epoch, seq), ByteSize(1 << 20));
    Event::CheckpointDurable { step: id("train"), slot: slot(1, epoch), checkpoint, size, took: ms(took) }
}

fn ended(epoch: u64, class: Class, compute: u64, lost: u64) -> Event {
    Event::AttemptEnded {
        step: id("train"),
        slot: slot(1, epoch),
        class,
        evidence: Box::new(Evidence::of(Ending::Signaled { signal: 9, by_us: None }, Phase::Run)),
        spent: Box::new(Spent::default()),
        compute: ms(compute),
        lost: ms(lost),
    }
}

fn healing(class: Class, delay: u64) -> Event {
    let next = NextTry { delay: ms(delay), ..NextTry::default() };
    Event::StepHealing { step: id("train"), class, next, remedy: "again".to_owned() }
}

fn committed(epoch: u64, compute: u64) -> Event {
    Event::StepCommitted {
        step: id("train"),
        slot: slot(1, epoch),
        artifacts: artifacts("model"),
        compute: ms(compute),
    }
}

/// Killed at 2,700, 540 ms after what its second checkpoint describes; back in 100 ms.
fn killed_once() -> Vec<Stamped> {
    let mut events = began();
    events.extend([
        at(100, started(1)),
        at(200, process(1)),
        at(1200, taken(1, 1, 40)),
        at(1250, durable(1, 1, 50)),
        at(2200, taken(1, 2, 40)),
        at(2250, durable(1, 2, 50)),
        at(2710, ended(1, Class::Killed, 2500, 540)),
        at(2712, healing(Class::Killed, 0)),
        at(2715, started(2)),
        at(2775, restored(2, checkpoint(1, 2), 50)),
        at(2800, process(2)),
        at(3900, taken(2, 1, 40)),
        at(3950, durable(2, 1, 50)),
        at(5000, committed(2, 2190)),
        at(5010, Event::RunEnded { status: RunStatus::Succeeded }),
    ]);
    events
}

#[test]
fn an_undisturbed_run_loses_nothing() {
    let mut events = began();
    events.extend([at(100, started(1)), at(150, process(1)), at(1200, committed(1, 1000))]);
    let figures = metrics(&events);
    assert_eq!((figures.compute, figures.lost, figures.bound), (ms(1050), ms(0), ms(0)));
    assert_eq!((figures.attempts, figures.healed, figures.mttr(), figures.waste()), (1, 0, None, 0.0));
    assert_eq!(figures.steps, StepCounts { run: 1, ..StepCounts::default() });
    assert_eq!((figures.corrupt, figures.damaged, figures.committed_bytes), (0, 0, 5));
    assert_eq!((figures.wall, figures.drivers), (ms(1200), 1));
}

#[test]
fn a_recovery_is_the_sum_of_its_parts() {
    let figures = metrics(&killed_once());
    assert_eq!((figures.interruptions.len(), figures.failures.len(), figures.healed), (1, 0, 1));
    let one = &figures.interruptions[0];
    assert_eq!((one.at, one.class, one.lost, one.down), (ms(2710), Class::Killed, ms(540), None));
    let recovery = one.recovery.expect("it recovered");
    // The process was gone at 200 + 2,500.
    assert_eq!(recovery.detect, ms(10));
    assert_eq!((recovery.decide, recovery.backoff, recovery.capacity, recovery.restore), (ms(2), ms(0), ms(3), ms(85)));
    assert_eq!((recovery.total(), recovery.replay, recovery.to_mark()), (ms(100), Some(ms(1150)), Some(ms(1250))));
    assert_eq!((figures.mttr(), figures.recoveries_to_mark()), (Some(ms(100)), vec![ms(1250)]));
}

#[test]
fn waste_is_what_entered_no_commit() {
    let figures = metrics(&killed_once());
    // 100 + 2,500 of the first attempt, 85 + 2,190 of the second.
    assert_eq!(figures.compute, ms(4875));
    // 2,160 is the instant that the restored checkpoint describes: 540 after it, and 85 to bring the second up.
    assert_eq!(figures.lost, ms(625));
    assert!((figures.waste() - 625.0 / 4875.0).abs() < 1e-12);
    // Restore 50, checkpoint 40 + 50; the program's start is not seen: its first checkpoint came no later than usual.
    assert_eq!(figures.bound, ms(140));
}

#[test]
fn what_was_lost_has_its_reasons_and_they_add_up() {
    let figures = metrics(&killed_once());
    let by = [(LossReason::Ended(Class::Killed), ms(540)), (LossReason::Restart, ms(85))];
    assert_eq!(figures.lost_by, by.into());
    // Whatever the events so far, nothing is lost without a reason, and none counts twice.
    let events = killed_once();
    for n in 0..=events.len() {
        let figures = metrics(&events[..n]);
        let sum: u64 = figures.lost_by.values().map(|span| span.as_millis()).sum();
        assert_eq!(sum, figures.lost.as_millis(), "after {n} events");
    }
    // The engine died: nobody has said how the attempt ended.
    let mut events = killed_once();
    events.truncate(5);
    events.push(at(0, driver_started(2)));
    events.extend([at(10, started(2)), at(20, process(2)), at(1000, committed(2, 980))]);
    assert_eq!(metrics(&events).lost_by.keys().collect::<Vec<_>>(), [&LossReason::Unfinished]);
    // It is kept and read again under the same words.
    let text = serde_json::to_value(&figures).expect("JSON");
    assert_eq!(text["lost_by_ms"], serde_json::json!({ "killed": 540, "restart": 85 }));
    assert_eq!(serde_json::from_value::<RunMetrics>(text).expect("the same"), figures);
}

#[test]
fn a_wait_that_was_asked_for_is_backoff_and_the_rest_capacity() {
    let mut events = began();
    events.extend([
        at(0, started(1)),
        at(10, process(1)),
        at(1010, ended(1, Class::Preempted, 1000, 1000)),
        at(1015, healing(Class::Preempted, 200)),
        at(1515, started(2)),
        at(1520, process(2)),
        at(2530, committed(2, 1000)),
    ]);
    let recovery = metrics(&events).interruptions[0].recovery.expect("it recovered");
    assert_eq!(
        (recovery.decide, recovery.backoff, recovery.capacity, recovery.restore),
        (ms(5), ms(200), ms(300), ms(5))
    );
    assert_eq!(recovery.replay, Some(ms(1010)), "the commit is progress, too");
}

#[test]
fn a_successor_that_begins_from_zero_loses_all_before_it() {
    let mut events = began();
    events.extend([
        at(0, started(1)),
        at(50, process(1)),
        at(1050, ended(1, Class::Killed, 1000, 1000)),
        at(1050, healing(Class::Killed, 0)),
        at(1050, started(2)),
        at(1100, process(2)),
        at(3110, committed(2, 2000)),
    ]);
    let figures = metrics(&events);
    // What the first used, whole; bringing the second up would have been needed anyway.
    assert_eq!((figures.compute, figures.lost, figures.bound), (ms(3100), ms(1050), ms(1000)));
}

#[test]
fn an_older_checkpoint_that_had_to_be_restored_loses_more_than_the_end_knew() {
    let mut events = began();
    events.extend([
        at(0, started(1)),
        at(0, process(1)),
        at(1000, taken(1, 1, 0)),
        at(1000, durable(1, 1, 0)),
        at(2000, taken(1, 2, 0)),
        at(2000, durable(1, 2, 0)),
        at(2100, ended(1, Class::Killed, 2100, 100)),
        at(2100, healing(Class::Killed, 0)),
        at(2100, started(2)),
        at(2100, restored(2, checkpoint(1, 1), 0)),
        at(2100, process(2)),
        at(4100, committed(2, 2000)),
    ]);
    assert_eq!(metrics(&events).lost, ms(1100));
}

#[test]
fn an_attempt_between_that_left_nothing_is_lost_whole() {
    let mut events = began();
    events.extend([
        at(0, started(1)),
        at(0, process(1)),
        at(1000, taken(1, 1, 0)),
        at(1000, durable(1, 1, 0)),
        at(1500, ended(1, Class::Killed, 1500, 500)),
        at(1500, healing(Class::Killed, 0)),
        at(1500, started(2)),
        at(1510, restored(2, checkpoint(1, 1), 10)),
        at(1520, process(2)),
        at(1820, ended(2, Class::Killed, 300, 300)),
        at(1820, healing(Class::Killed, 0)),
        at(1820, started(3)),
        at(1830, restored(3, checkpoint(1, 1), 10)),
        at(1840, process(3)),
        at(3840, committed(3, 2000)),
    ]);
    let figures = metrics(&events);
    // 500 of the first, 20 + 300 of the second, 20 to bring the third up.
    assert_eq!((figures.compute, figures.lost), (ms(1500 + 320 + 2020), ms(840)));
    assert_eq!(figures.recoveries(), [ms(20), ms(20)]);
}

#[test]
fn the_programs_start_is_lost_again_with_every_restore() {
    let mut events = began();
    events.extend([
        at(0, started(1)),
        at(0, process(1)),
        // 700 to load, then a checkpoint every 1,000.
        at(1700, taken(1, 1, 0)),
        at(1700, durable(1, 1, 0)),
        at(2700, taken(1, 2, 0)),
        at(2700, durable(1, 2, 0)),
        at(2700, ended(1, Class::Killed, 2700, 0)),
        at(2700, healing(Class::Killed, 0)),
        at(2700, started(2)),
        at(2710, restored(2, checkpoint(1, 2), 10)),
        at(2710, process(2)),
        at(4410, taken(2, 1, 0)),
        at(4410, durable(2, 1, 0)),
        at(4410, committed(2, 1700)),
    ]);
    let figures = metrics(&events);
    assert_eq!((figures.lost, figures.bound), (ms(710), ms(710)), "nothing but start and restore");
}

#[test]
fn when_the_engine_dies_its_last_event_says_how_long_the_attempt_lived() {
    let mut events = began();
    events.extend([
        at(100, started(1)),
        at(200, process(1)),
        at(1200, taken(1, 1, 40)),
        at(1250, durable(1, 1, 50)),
        at(2000, Event::StepMissed { step: id("other") }),
    ]);
    // 7 s by the wall clock, and none by the new driver's own.
    let later = |mono: u64, event| Stamped { at_ms: 1_700_000_009_000 + mono, mono: ms(mono), event };
    events.extend([
        later(5, driver_started(2)),
        later(25, ended(1, Class::Killed, 0, 0)),
        later(26, healing(Class::Killed, 0)),
        later(30, started(2)),
        later(60, restored(2, checkpoint(1, 1), 20)),
        later(65, process(2)),
        later(3065, committed(2, 3000)),
    ]);
    let figures = metrics(&events);
    let one = &figures.interruptions[0];
    assert_eq!((one.driver, one.down), (2, Some(ms(7005))));
    let recovery = one.recovery.expect("it recovered");
    assert_eq!((recovery.detect, recovery.total()), (ms(20), ms(60)));
    // It ran from 200 to 2,000 at least; what the checkpoint describes ends at 1,160.
    assert_eq!((figures.compute, figures.lost), (ms(100 + 1800 + 35 + 3000), ms(840 + 35)));
    assert_eq!((figures.wall, figures.drivers), (ms(2000 + 3065), 2));
}

#[test]
fn failures_and_wishes_are_no_interruptions_but_cost_the_same() {
    let mut events = began();
    events.extend([
        at(0, started(1)),
        at(0, process(1)),
        at(1000, ended(1, Class::Error, 1000, 1000)),
        at(1000, healing(Class::Error, 0)),
        at(1000, started(2)),
        at(1000, process(2)),
        at(1900, ended(2, Class::Error, 900, 900)),
        at(1900, Event::StepFailed { step: id("train"), class: Class::Error, why: "exit 1".to_owned() }),
        at(1900, Event::StepBlocked { step: id("report"), by: id("train") }),
        at(1900, Event::RunEnded { status: RunStatus::Failed }),
    ]);
    let figures = metrics(&events);
    assert_eq!((figures.interruptions.len(), figures.failures.len(), figures.healed), (0, 2, 0));
    assert_eq!((figures.compute, figures.lost, figures.bound), (ms(1900), ms(1900), ms(0)));
    assert_eq!(figures.steps, StepCounts { failed: 1, blocked: 1, ..StepCounts::default() });
    assert!(figures.failures[0].recovery.is_some());
    assert_eq!(figures.failures[1].recovery, None);
}

#[test]
fn a_failed_step_that_is_resumed_from_its_checkpoint_has_lost_only_what_came_after() {
    let mut events = began();
    events.extend([
        at(0, started(1)),
        at(0, process(1)),
        at(1000, taken(1, 1, 0)),
        at(1000, durable(1, 1, 0)),
        at(1100, ended(1, Class::Error, 1100, 100)),
        at(1100, Event::StepFailed { step: id("train"), class: Class::Error, why: "exit 1".to_owned() }),
        at(1100, Event::RunEnded { status: RunStatus::Failed }),
    ]);
    assert_eq!(metrics(&events).lost, ms(1100));
    events.extend([
        at(0, driver_started(2)),
        at(0, started(2)),
        at(0, restored(2, checkpoint(1, 1), 0)),
        at(0, process(2)),
        at(500, committed(2, 500)),
    ]);
    let figures = metrics(&events);
    assert_eq!((figures.compute, figures.lost), (ms(1600), ms(100)));
    assert_eq!(figures.steps, StepCounts { run: 1, ..StepCounts::default() });
}

#[test]
fn what_a_stopped_run_can_go_on_from_is_not_lost() {
    let mut events = began();
    events.extend([
        at(0, started(1)),
        at(0, process(1)),
        at(1000, taken(1, 1, 0)),
        at(1000, durable(1, 1, 0)),
        at(1000, Event::StopRequested { how: StopHow::Checkpoint }),
        at(1200, ended(1, Class::Stopped, 1200, 200)),
        at(1200, Event::RunEnded { status: RunStatus::Stopped }),
    ]);
    let figures = metrics(&events);
    assert_eq!((figures.compute, figures.lost), (ms(1200), ms(200)));
}

#[test]
fn a_running_attempt_has_lost_nothing_yet() {
    let events = killed_once();
    assert_eq!(metrics(&events[..6]).lost, ms(0));
    // The second attempt has its slot, and will restore the newest durable checkpoint.
    assert_eq!(metrics(&events[..11]).lost, ms(540));
    // It runs; what it loses by coming back is known.
    assert_eq!(metrics(&events[..13]).lost, ms(625));
}

#[test]
fn an_interruption_that_never_recovers_is_counted_beside_the_mean() {
    let mut events = killed_once();
    events.truncate(13);
    events.push(at(6000, ended(2, Class::Killed, 3000, 2000)));
    let figures = metrics(&events);
    assert_eq!((figures.interruptions.len(), figures.healed, figures.mttr()), (2, 1, Some(ms(100))));
}

#[test]
fn a_retry_that_dies_before_its_process_runs_belongs_to_the_same_recovery() {
    let mut events = began();
    events.extend([
        at(0, started(1)),
        at(0, process(1)),
        at(1000, ended(1, Class::Killed, 1000, 1000)),
        at(1000, healing(Class::Killed, 0)),
        at(1010, started(2)),
        at(1500, ended(2, Class::Storage, 0, 0)),
        at(1500, healing(Class::Storage, 100)),
        at(1600, started(3)),
        at(1650, process(3)),
        at(2650, committed(3, 1000)),
    ]);
    let figures = metrics(&events);
    assert_eq!(figures.recoveries(), [ms(150), ms(650)]);
    let first = figures.interruptions[0].recovery.expect("it recovered");
    assert_eq!((first.decide, first.backoff, first.capacity, first.restore), (ms(500), ms(100), ms(0), ms(50)));
    // 1,000 of the first; 490 in which the second got nowhere.
    assert_eq!((figures.compute, figures.lost), (ms(1000 + 490 + 1050), ms(1490)));
}

#[test]
fn a_reproduced_artifact_is_damage_and_one_that_differs_is_corruption() {
    let mut events = began();
    events.extend([at(0, started(1)), at(0, process(1)), at(100, committed(1, 100))]);
    events.push(at(200, Event::InputDamaged { step: id("report"), producer: id("train"), slot: slot(1, 1) }));
    events.extend([at(200, started(2)), at(200, process(2)), at(300, committed(2, 100))]);
    let figures = metrics(&events);
    assert_eq!((figures.damaged, figures.corrupt, figures.committed_bytes), (1, 0, 5));
    let Some(Stamped { event: Event::StepCommitted { artifacts: made, .. }, .. }) = events.last_mut() else {
        panic!("the last event is the commit")
    };
    *made = artifacts("another model");
    assert_eq!(metrics(&events).corrupt, 1);
}

#[test]
fn a_reused_step_costs_and_loses_nothing() {
    let mut events = began();
    events.push(at(
        5,
        Event::StepReused { step: id("train"), slot: slot(1, 3), artifacts: artifacts("model"), copied_from: None },
    ));
    let figures = metrics(&events);
    assert_eq!((figures.compute, figures.lost, figures.attempts), (ms(0), ms(0), 0));
    assert_eq!(figures.steps, StepCounts { reused: 1, ..StepCounts::default() });
}

#[test]
fn one_by_one_and_all_at_once_give_the_same() {
    let events = killed_once();
    let mut fold = MetricsFold::default();
    for (n, event) in (1..).zip(&events) {
        fold.push(event);
        assert_eq!(fold.finish(), metrics(&events[..n]));
    }
    assert_eq!(serde_json::to_value(fold.finish()).expect("figures are JSON")["compute_ms"], 4875);
}

#[test]
fn percentiles_are_values_that_were_seen() {
    let spans: Vec<Span> = (1..=200).map(ms).collect();
    assert_eq!((percentile(&spans, 50), percentile(&spans, 99)), (Some(ms(100)), Some(ms(198))));
    assert_eq!((percentile(&spans[..1], 99), percentile(&[], 50), mean(&[])), (Some(ms(1)), None, None));
}
