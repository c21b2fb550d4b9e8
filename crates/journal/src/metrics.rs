//! What interruptions cost: figures from the events of a run alone, by the formulas of docs/metrics.md.
//!
//! [`MetricsFold`] takes events one by one, each at the same small cost; [`metrics`] takes them all.

mod chain;
mod fold;
mod reason;
mod recovery;

use std::collections::BTreeMap;

use prunella_model::{Class, SlotId, Span, StepId};
use serde::{Deserialize, Serialize};

pub use fold::MetricsFold;
pub use reason::LossReason;

use crate::Stamped;

/// An attempt that ended without a commit, and how its step came back.
///
/// Times are on the clock of the driver that saw the end. The parts from [`Recovery::detect`] to [`Recovery::restore`]
/// add up to the recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interruption {
    /// The step.
    pub step: StepId,
    /// The attempt.
    pub slot: SlotId,
    /// What it was.
    pub class: Class,
    /// The driver that saw it.
    pub driver: u64,
    /// When that driver saw it.
    #[serde(rename = "at_ms")]
    pub at: Span,
    /// What was lost as far as the attempt's end could know it.
    #[serde(rename = "lost_ms")]
    pub lost: Span,
    /// How long no engine ran, by wall clocks and for people only; nothing if one did all the time.
    #[serde(default, rename = "down_ms", skip_serializing_if = "Option::is_none")]
    pub down: Option<Span>,
    /// How the step came back; nothing if it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
}

/// How long it took until an interrupted step's process ran again with its state restored, in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recovery {
    /// From the end of the process to the event that says so.
    #[serde(rename = "detect_ms")]
    pub detect: Span,
    /// From that event to the decision; includes attempts that ended before their process ran.
    #[serde(rename = "decide_ms")]
    pub decide: Span,
    /// The wait that the decision asked for.
    #[serde(rename = "backoff_ms")]
    pub backoff: Span,
    /// From the end of that wait until the attempt had its slot.
    #[serde(rename = "capacity_ms")]
    pub capacity: Span,
    /// From there until the process ran, its state restored.
    #[serde(rename = "restore_ms")]
    pub restore: Span,
    /// From there to the first progress mark newer than what was restored; nothing if there was none yet.
    #[serde(default, rename = "replay_ms", skip_serializing_if = "Option::is_none")]
    pub replay: Option<Span>,
}

impl Recovery {
    /// Returns the time from the interruption to the running process: the first column.
    pub fn total(&self) -> Span {
        [self.detect, self.decide, self.backoff, self.capacity, self.restore].into_iter().fold(Span::default(), plus)
    }

    /// Returns the time from the interruption to the first newer progress mark: the second column.
    pub fn to_mark(&self) -> Option<Span> {
        self.replay.map(|replay| plus(self.total(), replay))
    }
}

/// Word of a cloud that a machine of the run might go away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HintSeen {
    /// The cloud's name.
    pub source: String,
    /// What it said.
    pub what: String,
    /// The driver that heard it.
    pub driver: u64,
    /// When, on its clock.
    #[serde(rename = "at_ms")]
    pub at: Span,
}

/// How many steps came out how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StepCounts {
    /// An earlier commit stood for them.
    pub reused: u32,
    /// An attempt of this run committed.
    pub run: u32,
    /// They were given up.
    pub failed: u32,
    /// A step that they need was given up.
    pub blocked: u32,
    /// They were not to run.
    pub skipped: u32,
}

/// The figures of a run, of one driver or many.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunMetrics {
    /// Ends that were not the program's own doing ([`is_interruption`]).
    pub interruptions: Vec<Interruption>,
    /// All other ends without a commit: failures and wishes to stop.
    pub failures: Vec<Interruption>,
    /// Word of clouds that a machine might go away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<HintSeen>,
    /// How many of the interruptions were followed by a process of the same step.
    pub healed: u32,
    /// Attempts that had their slot.
    pub attempts: u32,
    /// Steps by outcome.
    pub steps: StepCounts,
    /// Compute time of all attempts.
    #[serde(rename = "compute_ms")]
    pub compute: Span,
    /// Compute time whose result did not enter a commit.
    #[serde(rename = "lost_ms")]
    pub lost: Span,
    /// The same by what it was lost to; the parts add up to it.
    #[serde(default, rename = "lost_by_ms", skip_serializing_if = "BTreeMap::is_empty")]
    pub lost_by: BTreeMap<LossReason, Span>,
    /// What of it no scheduler could have avoided.
    #[serde(rename = "lost_bound_ms")]
    pub bound: Span,
    /// Commits whose bytes the storage lost, found and marked before any use.
    pub damaged: u32,
    /// Commits of a key that differ from the earlier commit of the same key.
    pub corrupt: u32,
    /// Bytes that attempts of this run committed; those of one content under one key count once.
    pub committed_bytes: u64,
    /// Drivers that took the run.
    pub drivers: u32,
    /// Time in which a driver drove it, by monotonic clocks.
    #[serde(rename = "wall_ms")]
    pub wall: Span,
}

impl RunMetrics {
    /// Returns the share of compute time that was lost; 0 where there was none.
    pub fn waste(&self) -> f64 {
        share(self.lost, self.compute)
    }

    /// Returns the share of compute time whose loss nobody could have avoided.
    pub fn waste_bound(&self) -> f64 {
        share(self.bound, self.compute)
    }

    /// Returns the times to recover, sorted: the first column.
    pub fn recoveries(&self) -> Vec<Span> {
        sorted(self.interruptions.iter().filter_map(|i| i.recovery.as_ref()).map(Recovery::total))
    }

    /// Returns the times to new progress, sorted: the second column.
    pub fn recoveries_to_mark(&self) -> Vec<Span> {
        sorted(self.interruptions.iter().filter_map(|i| i.recovery.as_ref()).filter_map(Recovery::to_mark))
    }

    /// Returns the mean time to recover; nothing if nothing was recovered.
    pub fn mttr(&self) -> Option<Span> {
        mean(&self.recoveries())
    }
}

/// Returns the figures of these events, which must be a run's, in order.
///
/// Pure. An unfinished run gives the figures as they stand: what its newest durable checkpoints hold is not lost.
pub fn metrics<'a>(events: impl IntoIterator<Item = &'a Stamped>) -> RunMetrics {
    let mut fold = MetricsFold::default();
    events.into_iter().for_each(|event| fold.push(event));
    fold.finish()
}

/// Returns whether an end of this class is an interruption: not the program's own doing, nor anybody's wish.
pub const fn is_interruption(class: Class) -> bool {
    match class {
        Class::Preempted
        | Class::Killed
        | Class::NoProgress
        | Class::OutOfMemory
        | Class::GpuFault
        | Class::Stalled
        | Class::Storage
        | Class::InputDamaged
        | Class::CheckpointDamaged
        | Class::Infrastructure => true,
        Class::Stopped
        | Class::GpuMemory
        | Class::Timeout
        | Class::CheckpointRejected
        | Class::Effect
        | Class::Validation
        | Class::Capacity
        | Class::Error
        | Class::Contract => false,
    }
}

/// Returns the mean; nothing of nothing.
pub fn mean(spans: &[Span]) -> Option<Span> {
    let sum: u128 = spans.iter().map(|span| u128::from(span.as_millis())).sum();
    let mean = sum.checked_div(spans.len() as u128)?;
    Some(Span::from_millis(u64::try_from(mean).unwrap_or(u64::MAX)))
}

/// Returns the smallest value that at least `per_cent` of the sorted values do not exceed.
pub fn percentile(sorted: &[Span], per_cent: u32) -> Option<Span> {
    let rank = (sorted.len() * per_cent as usize).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

fn share(part: Span, whole: Span) -> f64 {
    if whole.as_millis() == 0 { 0.0 } else { part.as_millis() as f64 / whole.as_millis() as f64 }
}

fn sorted(spans: impl Iterator<Item = Span>) -> Vec<Span> {
    let mut spans: Vec<Span> = spans.collect();
    spans.sort_unstable();
    spans
}

fn plus(one: Span, two: Span) -> Span {
    Span::from_millis(one.as_millis().saturating_add(two.as_millis()))
}

fn minus(one: Span, two: Span) -> Span {
    Span::from_millis(one.as_millis().saturating_sub(two.as_millis()))
}
