//! What of an ended run is done again.

use prunella_model::{SlotId, StepId};
use prunella_store::Refill;

/// What of an ended run a new driver does again; by default what was given up, with the budgets that are left.
///
/// The run stays the same run: its journal goes on behind `RunEnded`, and everything that is done stays done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Again {
    /// Whether all budgets are refilled.
    pub reset_budgets: bool,
    /// The steps that were given up and are tried again with full budgets, and no others; if nothing is said, all that
    /// were given up.
    pub retried: Option<Vec<StepId>>,
    /// Commits that stand for steps, whose bytes are lost and which are marked so: they are made anew.
    pub damaged: Vec<(StepId, SlotId)>,
}

impl Again {
    /// Returns whether the budgets of a step are full again.
    pub(crate) fn refills(&self, step: &StepId) -> bool {
        self.reset_budgets || self.retried.as_ref().is_some_and(|retried| retried.contains(step))
    }

    /// Returns what the driver's record says of it.
    pub(crate) fn refill(&self) -> Refill {
        Refill { all: self.reset_budgets, steps: self.retried.clone().unwrap_or_default() }
    }
}
