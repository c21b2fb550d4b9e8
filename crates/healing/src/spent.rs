//! The counters of one (run, step): what its budgets have left, and what its failures have in common.

use std::collections::BTreeMap;

use prunella_model::{CheckpointId, Class, Digest};
use serde::{Deserialize, Serialize};

use crate::{Evidence, Refill, Traits, classify, defaults};

/// How far a step had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The last mark that the program told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u64>,
    /// The newest durable checkpoint that it stood on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointId>,
}

impl Progress {
    fn of(e: &Evidence) -> Self {
        Self { mark: e.progress, checkpoint: e.newer_checkpoint.or(e.restored) }
    }

    /// Returns whether both are the same place: by the marks if there are two, else by the checkpoints.
    pub fn same(&self, other: &Self) -> bool {
        match (self.mark, other.mark) {
            (Some(one), Some(two)) => one == two,
            _ => self.checkpoint == other.checkpoint,
        }
    }
}

/// The last failure of the step's own, and how often in a row it was the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its signature.
    pub signature: Digest,
    /// Where it happened.
    #[serde(default)]
    pub progress: Progress,
    /// How often in a row, this one included.
    pub times: u32,
}

/// The counters of one (run, step) after a failure, this failure included; they stand in the closed slots.
///
/// The chain is serial: each is made from the one in the newest earlier closed slot of the same run and step.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// Failures by class since the class's last refill.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_class: BTreeMap<Class, u32>,
    /// Times that an input was found damaged, by input.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_input: BTreeMap<String, u32>,
    /// Interruptions in a row without a newer durable checkpoint.
    pub interruptions_in_row_without_checkpoint: u32,
    /// The last failure of the step's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Seen>,
    /// The oldest checkpoint that was rejected since the last newer one: nothing from it on is restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<CheckpointId>,
}

impl Spent {
    /// Returns how often `class` is counted.
    pub fn count(&self, class: Class) -> u32 {
        self.by_class.get(&class).copied().unwrap_or(0)
    }

    /// Returns the counters after a failure of this class.
    ///
    /// A newer checkpoint first refills what it refills, so the failure that brought it counts as the first. `stopped`
    /// and `capacity` count nothing.
    pub fn after(&self, class: Class, e: &Evidence) -> Self {
        let mut next = self.clone();
        if e.newer_checkpoint.is_some() {
            next.by_class.retain(|class, _| defaults(*class).refill == Refill::Never);
            next.interruptions_in_row_without_checkpoint = 0;
            next.rejected = None;
        }
        if defaults(class).limit.is_none() {
            return next;
        }
        let count = next.by_class.entry(class).or_insert(0);
        *count = count.saturating_add(1);
        match class {
            Class::Preempted | Class::Killed if e.newer_checkpoint.is_none() => {
                next.interruptions_in_row_without_checkpoint =
                    next.interruptions_in_row_without_checkpoint.saturating_add(1);
            }
            // The remedy gets as many tries again before it is judged.
            Class::NoProgress => next.interruptions_in_row_without_checkpoint = 0,
            Class::CheckpointRejected => {
                next.rejected = e.restored.or(next.rejected);
                next.last_failure = Some(self.again(e));
            }
            Class::Error => next.last_failure = Some(self.again(e)),
            Class::InputDamaged => {
                let input = e.input_damaged.as_ref().map_or_else(String::new, |damaged| damaged.input.clone());
                let count = next.by_input.entry(input).or_insert(0);
                *count = count.saturating_add(1);
            }
            _ => {}
        }
        next
    }

    fn again(&self, e: &Evidence) -> Seen {
        let (signature, progress) = (e.signature_or_computed(), Progress::of(e));
        // After rejected checkpoints, a start from zero that fails alike shows that no checkpoint was to blame.
        let from_zero = self.rejected.is_some() && e.restored.is_none() && e.newer_checkpoint.is_none();
        let times = match &self.last_failure {
            Some(last) if last.signature == signature && (from_zero || last.progress.same(&progress)) => {
                last.times.saturating_add(1)
            }
            _ => 1,
        };
        Seen { signature, progress, times }
    }
}

/// Interruptions in a row without a newer checkpoint that are too many, for steps with and without checkpoints.
const IN_ROW_WITH: u32 = 3;
const IN_ROW_WITHOUT: u32 = 20;

/// Returns the class of a failure and the counters after it, given those before it.
///
/// This is [`classify`] with a memory: interruptions in a row without a newer checkpoint become `no-progress`.
pub fn assess(before: &Spent, e: &Evidence, step: &Traits) -> (Class, Spent) {
    let mut class = classify(e, step);
    if matches!(class, Class::Preempted | Class::Killed) && e.newer_checkpoint.is_none() {
        let in_row = before.interruptions_in_row_without_checkpoint.saturating_add(1);
        if in_row >= if step.has_checkpoint { IN_ROW_WITH } else { IN_ROW_WITHOUT } {
            class = Class::NoProgress;
        }
    }
    (class, before.after(class, e))
}
