//! How often to checkpoint: from what a checkpoint costs and how often attempts are interrupted.
//!
//! Too rarely, and an interruption loses much; too often, and the checkpoints themselves cost more than they save. Young
//! (1974) and Daly (2006) say where the two balance.

use prunella_model::{Class, Span};

/// The share of its speed that a program loses while a snapshot is being stored beside it.
const INTERFERENCE: f64 = 0.02;
/// What is believed before anything was seen: one interruption in so long a time.
const PRIOR: Span = Span::from_secs(4 * 3600);
/// Never more often: the engine itself looks and writes then and when.
const LEAST: Span = Span::from_secs(1);
/// Never less often, whatever was seen: the figures are guesses, and an hour is lost soon enough.
const MOST: Span = Span::from_secs(3600);

/// What one checkpoint costs, as measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointCost {
    /// How long its bytes were being read: the program is held up if it wants to write to them.
    pub blocking: Span,
    /// From then until it was durable, beside the program.
    pub persist: Span,
}

/// How often attempts were interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interruptions {
    /// How many of them.
    pub number: u32,
    /// The time that all attempts lived together.
    pub over: Span,
}

impl Interruptions {
    /// Counts an attempt: how it ended, and how long it lived. A commit or a stop that was asked for is no interruption.
    pub fn add(&mut self, ended: Option<Class>, lived: Span) {
        self.number += u32::from(ended.is_some_and(interrupts));
        self.over = Span::from_millis(self.over.as_millis().saturating_add(lived.as_millis()));
    }

    /// Returns these and those together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let over = self.over.as_millis().saturating_add(other.over.as_millis());
        Self { number: self.number + other.number, over: Span::from_millis(over) }
    }

    /// Returns the mean time between interruptions; what was believed before counts as one that was seen.
    pub fn mean(&self) -> Span {
        let over = PRIOR.as_millis().saturating_add(self.over.as_millis());
        Span::from_millis(over / (u64::from(self.number) + 1))
    }
}

/// Whether an end of this class came from outside, at a time that nobody could know.
const fn interrupts(class: Class) -> bool {
    match class {
        Class::Preempted
        | Class::Killed
        | Class::NoProgress
        | Class::OutOfMemory
        | Class::GpuFault
        | Class::Stalled
        | Class::Storage
        | Class::Infrastructure => true,
        Class::Stopped
        | Class::GpuMemory
        | Class::Timeout
        | Class::InputDamaged
        | Class::CheckpointDamaged
        | Class::CheckpointRejected
        | Class::Effect
        | Class::Validation
        | Class::Capacity
        | Class::Error
        | Class::Contract => false,
    }
}

/// The interval that was chosen, and from which figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// The least time from one snapshot to the next.
    pub every: Span,
    /// What a checkpoint costs.
    pub cost: CheckpointCost,
    /// The mean time between interruptions.
    pub mean: Span,
    /// How many of them were seen; without any, the mean is mostly what was believed before.
    pub seen: u32,
}

/// Returns how often to checkpoint.
///
/// The cost that counts is the time for which the program is held up, and what storing beside it takes from its speed. A
/// snapshot is never begun before the one before it can be durable.
pub fn interval(cost: CheckpointCost, interruptions: &Interruptions) -> Chosen {
    let mean = interruptions.mean();
    let (blocking, persist) = (seconds(cost.blocking), seconds(cost.persist));
    let held_up = blocking + INTERFERENCE * persist;
    let period = daly(seconds(mean), held_up) + held_up;
    let every = period.max(blocking + persist).clamp(seconds(LEAST), seconds(MOST));
    // Between the bounds it is a whole number of milliseconds that fits.
    let every = Span::from_millis((every * 1000.0).round() as u64);
    Chosen { every, cost, mean, seen: interruptions.number }
}

/// Returns the work between two checkpoints, in seconds: Daly's higher-order estimate.
///
/// `mean`: the mean time between interruptions; `cost`: the time for which a checkpoint holds the program up.
fn daly(mean: f64, cost: f64) -> f64 {
    if cost >= 2.0 * mean {
        return mean;
    }
    let share = cost / (2.0 * mean);
    young(mean, cost) * (1.0 + share.sqrt() / 3.0 + share / 9.0) - cost
}

/// Returns the same by Young's first-order estimate.
fn young(mean: f64, cost: f64) -> f64 {
    (2.0 * cost * mean).sqrt()
}

fn seconds(span: Span) -> f64 {
    span.duration().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// M, C, Young, Daly in seconds; the last three as published by Daly in minutes.
    const REFERENCE: [(f64, f64, f64, f64); 8] = [
        (3600.0, 30.0, 464.8, 445.0),
        (3600.0, 60.0, 657.3, 617.9),
        (3600.0, 300.0, 1469.7, 1276.5),
        (10800.0, 60.0, 1138.4, 1098.8),
        (21600.0, 60.0, 1610.0, 1570.2),
        (900.0, 60.0, 328.6, 289.9),
        (11119.0, 180.0, 2000.7, 1882.5),
        (24.0 * 3600.0, 300.0, 7200.0, 116.69 * 60.0),
    ];

    #[test]
    fn the_formulas_give_the_reference_values() {
        for (mean, cost, by_young, by_daly) in REFERENCE {
            assert!((young(mean, cost) - by_young).abs() < 0.1, "Young of {mean}, {cost}: {}", young(mean, cost));
            assert!((daly(mean, cost) - by_daly).abs() < 0.3, "Daly of {mean}, {cost}: {}", daly(mean, cost));
        }
        for (hours, minutes) in [(24.0, 117.0), (6.0, 57.0), (0.25, 9.1)] {
            let published = daly(hours * 3600.0, 300.0) / 60.0;
            assert!((published - minutes).abs() < 0.35, "{hours} h: {published} min");
        }
        assert!((daly(100.0, 200.0) - 100.0).abs() < 1e-9, "a checkpoint that costs more than two lives");
    }

    fn cost(blocking_ms: u64, persist_ms: u64) -> CheckpointCost {
        CheckpointCost { blocking: Span::from_millis(blocking_ms), persist: Span::from_millis(persist_ms) }
    }

    /// Interruptions whose mean, with what was believed before, is so long.
    fn with_mean(secs: u64) -> Interruptions {
        let (number, prior) = (99, PRIOR.as_millis() / 1000);
        Interruptions { number, over: Span::from_secs(secs * 100 - prior) }
    }

    #[test]
    fn storing_beside_the_program_counts_for_a_part() {
        for (mean, expected) in [(3600, 110.6), (10800, 191.6)] {
            let chosen = interval(cost(500, 60_000), &with_mean(mean));
            let every = seconds(chosen.every);
            assert!((every - expected).abs() / expected < 0.01, "{mean}: {every}");
        }
    }

    #[test]
    fn a_snapshot_is_not_begun_before_the_one_before_can_be_durable() {
        let chosen = interval(cost(10, 900_000), &with_mean(200));
        assert_eq!(chosen.every, Span::from_millis(900_010));
    }

    #[test]
    fn what_was_believed_gives_way_to_what_is_seen() {
        let mut seen = Interruptions::default();
        assert_eq!(seen.mean(), PRIOR);
        seen.add(None, Span::from_secs(3600));
        assert_eq!(seen.mean(), Span::from_secs(5 * 3600), "a life without an interruption");
        for _ in 0..99 {
            seen.add(Some(Class::Killed), Span::from_secs(60));
        }
        assert_eq!(seen.mean(), Span::from_millis((5 * 3600 + 99 * 60) * 10));
        let before = seen.number;
        seen.add(Some(Class::Stopped), Span::from_secs(60));
        seen.add(Some(Class::Error), Span::from_secs(60));
        assert_eq!(seen.number, before, "a stop or the program's own failure is no interruption");
    }

    proptest! {
        #[test]
        fn it_is_within_its_bounds_and_grows_with_cost_and_mean(
            blocking in 0u64..10_000_000, persist in 0u64..10_000_000, number in 0u32..1000, over in 0u64..10_000_000
        ) {
            let seen = Interruptions { number, over: Span::from_secs(over) };
            let chosen = interval(cost(blocking, persist), &seen).every;
            prop_assert!(chosen >= LEAST && chosen <= MOST);
            let dearer = interval(cost(blocking * 2, persist * 2), &seen).every;
            let seldom = interval(cost(blocking, persist), &Interruptions { number: number / 2, ..seen }).every;
            // Beyond two lives a checkpoint's cost no longer counts.
            if 2 * seen.mean().as_millis() > 2 * (blocking + persist) {
                prop_assert!(dearer >= chosen, "{chosen} {dearer}");
                prop_assert!(seldom >= chosen, "{chosen} {seldom}");
            }
        }
    }
}
