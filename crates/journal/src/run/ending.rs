//! The end of a run: when it is known, and what runs then.

use std::sync::Arc;

use prunella_model::Handler;

use super::RunState;
use crate::{RunStatus, StepIndex, state::StepState};

impl RunState {
    /// Returns how the run ends, if it is known and was noted ([`crate::Event::RunConcluded`]).
    pub fn concluded(&self) -> Option<RunStatus> {
        self.whole.concluded
    }

    /// Returns how often the run's end was known so far.
    ///
    /// A run that was resumed after it had failed comes to another end, though it may look the same.
    pub fn conclusions(&self) -> u32 {
        self.whole.conclusions
    }

    /// Returns how the run ends if all its steps are settled; it fails, too, with an effect that was given up.
    pub fn outlook(&self) -> Option<RunStatus> {
        match (self.open(), self.all_settled() && !self.any_effects_given_up()) {
            (0, true) => Some(RunStatus::Succeeded),
            (0, false) => Some(RunStatus::Failed),
            _ => None,
        }
    }

    /// Returns what is to be noted about the run's end, if something belongs to it and it has not been noted.
    pub fn conclusion(&self) -> Option<RunStatus> {
        let status = self.outlook().filter(|_| self.whole.concluded.is_none() && self.running.is_empty())?;
        self.due(status).next().map(|_| status)
    }

    /// Returns whether everything that belongs to the run's end has ended, well or not.
    pub fn handlers_are_closed(&self) -> bool {
        let Some(status) = self.outlook() else { return false };
        let noted = self.whole.concluded == Some(status);
        self.due(status).all(|step| noted && self.steps[step.as_usize()].closed)
    }

    /// Notes that the conclusion is under way; false if it was already.
    pub fn issue_conclusion(&mut self) -> bool {
        !std::mem::replace(&mut self.conclusion_issued, true)
    }

    /// Returns the steps that belong to such an end.
    pub(super) fn due(&self, status: RunStatus) -> impl Iterator<Item = StepIndex> + use<'_> {
        let runs = move |handler: Handler| match handler {
            Handler::Exit => true,
            Handler::Failure => status == RunStatus::Failed,
        };
        self.topology.handlers().iter().filter(move |(_, handler)| runs(*handler)).map(|(step, _)| *step)
    }

    /// The end is known: what belongs to it can be bound.
    pub(super) fn conclude(&mut self, status: RunStatus) {
        self.whole.concluded = Some(status);
        self.whole.conclusions += 1;
        let due: Vec<StepIndex> = self.due(status).collect();
        for step in due {
            self.steps[step.as_usize()].missing = 0;
            self.put(step, StepState::Bindable);
        }
    }

    /// A step is open again: what ran for the end that was known does not count for the next.
    pub(super) fn void_conclusion(&mut self) {
        if self.whole.concluded.take().is_none() {
            return;
        }
        self.conclusion_issued = false;
        let topology = Arc::clone(&self.topology);
        for (step, _) in topology.handlers() {
            self.steps[step.as_usize()].missing = 1;
            // What still runs is ended by recovery, and begins anew with the next end.
            if !matches!(self.state(*step), StepState::Running(_)) {
                self.put(*step, StepState::Waiting);
            }
        }
    }
}
