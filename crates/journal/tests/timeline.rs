//! When what happened to each attempt, on one axis.

mod common;

use common::{artifacts, at, driver_started, id, run_started, slot};
use prunella_healing::{Ending, Evidence, Phase, Spent};
use prunella_journal::*;
use prunella_model::*;

fn ms(n: u64) -> Span {
    Span::from_millis(n)
}

fn wall(at_ms: u64, mono: u64, event: Event) -> Stamped {
    Stamped { at_ms, mono: ms(mono), event }
}

fn started(epoch: u64) -> Event {
    Event::AttemptStarted { step: id("train"), slot: slot(1, epoch), writer: WriterId::from_random(7) }
}

fn process(epoch: u64) -> Event {
    Event::ProcessStarted { step: id("train"), slot: slot(1, epoch), pid: 4711, accelerators: Vec::new() }
}

fn committed(epoch: u64, compute: u64) -> Event {
    Event::StepCommitted {
        step: id("train"),
        slot: slot(1, epoch),
        artifacts: artifacts("model"),
        compute: ms(compute),
    }
}

fn killed(epoch: u64, compute: u64) -> Event {
    Event::AttemptEnded {
        step: id("train"),
        slot: slot(1, epoch),
        class: Class::Killed,
        evidence: Box::new(Evidence::of(Ending::SupervisorDied, Phase::Run)),
        spent: Box::new(Spent::default()),
        compute: ms(compute),
        lost: ms(0),
    }
}

#[test]
fn a_wall_clock_that_jumps_moves_nothing_under_a_driver() {
    let timeline = Timeline::of(&[
        wall(1_000_000, 0, run_started()),
        wall(1_000_000, 0, driver_started(1)),
        // Set back by ten minutes, and forward by a day.
        wall(400_000, 100, started(1)),
        wall(1_000_000 + 86_400_000, 250, process(1)),
        wall(1_000_900, 900, committed(1, 600)),
    ]);
    let [course] = timeline.attempts() else { panic!("one attempt") };
    assert_eq!((course.started, course.process), (Moment(1_000_100), Some(Moment(1_000_250))));
    assert_eq!((course.gone, course.ended), (Some(Moment(1_000_850)), Some(Moment(1_000_900))));
    assert_eq!(course.came_out, CameOut::Committed);
}

#[test]
fn drivers_stand_one_after_the_other_whatever_their_machines_say_of_the_time() {
    let timeline = Timeline::of(&[
        wall(1_000_000, 0, run_started()),
        wall(1_000_000, 5, driver_started(1)),
        wall(1_000_100, 105, started(1)),
        wall(1_000_200, 205, process(1)),
        // Its engine died; the next one's machine is a minute behind.
        wall(940_000, 40, driver_started(2)),
        wall(940_010, 50, killed(1, 0)),
        wall(940_020, 60, started(2)),
        wall(940_030, 70, process(2)),
    ]);
    let drivers: Vec<_> = timeline.drivers().iter().map(|driven| (driven.driver, driven.from.0, driven.to.0)).collect();
    assert_eq!(drivers, [(1, 1_000_000, 1_000_200), (2, 1_000_200, 1_000_230)]);
    let [first, second] = timeline.attempts() else { panic!("two attempts") };
    // Nobody saw more of it than its driver did, though the end was told later.
    assert_eq!((first.gone, first.ended), (Some(Moment(1_000_200)), Some(Moment(1_000_210))));
    assert_eq!(first.came_out, CameOut::Ended(Class::Killed));
    assert_eq!((second.process, second.gone, second.came_out), (Some(Moment(1_000_230)), None, CameOut::Open));
}

#[test]
fn checkpoints_and_restores_stand_at_their_attempt() {
    let checkpoint = CheckpointId { slot: slot(1, 1), seq: 1 };
    let (step, slot_of, size, took) = (id("train"), slot(1, 1), ByteSize(9), ms(4));
    let timeline = Timeline::of(&[
        at(0, run_started()),
        at(0, driver_started(1)),
        at(1, started(1)),
        at(2, process(1)),
        at(10, Event::CheckpointTaken { step: step.clone(), slot: slot_of, checkpoint, size, took }),
        at(15, Event::CheckpointDurable { step: step.clone(), slot: slot_of, checkpoint, size, took }),
        at(17, Event::NoticeReceived { step: step.clone(), slot: slot_of, source: "stop".to_owned(), grace: None }),
        at(20, killed(1, 18)),
        at(21, started(2)),
        at(25, Event::StateRestored { step: step.clone(), slot: slot(1, 2), checkpoint, took: ms(3) }),
        at(26, process(2)),
        // Of an attempt that is over: it belongs to no other.
        at(27, Event::CheckpointDurable { step, slot: slot_of, checkpoint, size, took }),
    ]);
    let [first, second] = timeline.attempts() else { panic!("two attempts") };
    let [made] = first.checkpoints.as_slice() else { panic!("one checkpoint") };
    let zero = timeline.drivers()[0].from;
    assert_eq!((made.taken.since(zero), made.durable.map(|at| at.since(zero))), (ms(10), Some(ms(15))));
    assert_eq!(first.notice.map(|at| at.since(zero)), Some(ms(17)));
    assert_eq!((second.restored, second.checkpoints.len()), (Some((checkpoint, ms(3))), 0));
}
