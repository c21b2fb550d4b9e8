//! What a driver asks of the state, and what it notes there.

use std::sync::Arc;

use prunella_healing::Spent;
use prunella_model::{Digest, PipelineName, RunId, Span};

use super::RunState;
use crate::agenda::Todo;
use crate::state::{Done, Stage, StepState};
use crate::{RunStatus, StepIndex, StepSet, StopHow, Topology};

/// What is asked.
impl RunState {
    /// Returns the steps and the order among them.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Returns the run, once it has begun.
    pub fn run(&self) -> Option<&RunId> {
        self.whole.run.as_ref()
    }

    /// Returns the pipeline, once the run has begun.
    pub fn pipeline(&self) -> Option<&PipelineName> {
        self.whole.pipeline.as_ref()
    }

    /// Returns the digest of the graph, once the run has begun.
    pub fn graph(&self) -> Option<Digest> {
        self.whole.graph
    }

    /// Returns the number of the newest driver; 0 before the first.
    pub fn driver(&self) -> u64 {
        self.whole.driver
    }

    /// Returns the driver's time as far as it is known.
    pub fn clock(&self) -> Span {
        self.whole.clock
    }

    /// Returns how the run was asked to stop, if it was.
    pub fn stopping(&self) -> Option<StopHow> {
        self.whole.stopping
    }

    /// Returns how the run ended, if it has.
    pub fn ended(&self) -> Option<RunStatus> {
        self.whole.ended
    }

    /// Returns where the step is.
    pub fn state(&self, step: StepIndex) -> &StepState {
        &self.steps[step.as_usize()].state
    }

    /// Returns the commit that stands for the step, if one does.
    pub fn done(&self, step: StepIndex) -> Option<&Done> {
        match self.state(step) {
            StepState::Done(done) => Some(done),
            _ => None,
        }
    }

    /// Returns the step's counters, if it has failed.
    pub fn spent(&self, step: StepIndex) -> Option<&Spent> {
        self.steps[step.as_usize()].spent.as_deref()
    }

    /// Returns how many attempts of the step this run has started.
    pub fn attempts(&self, step: StepIndex) -> u32 {
        self.steps[step.as_usize()].attempts
    }

    /// Returns whether a re-produced input has other content than the one the step was keyed with.
    pub fn is_stale(&self, step: StepIndex) -> bool {
        self.steps[step.as_usize()].stale
    }

    /// Returns whether a command about the step is under way.
    pub fn is_issued(&self, step: StepIndex) -> bool {
        self.steps[step.as_usize()].issued
    }

    /// Returns how many steps are at a stage.
    pub fn count(&self, stage: Stage) -> u32 {
        self.counts[stage as usize]
    }

    /// Returns how many steps are neither done with the right inputs, nor given up, nor blocked.
    pub fn open(&self) -> u32 {
        self.open
    }

    /// Returns whether every step is done.
    pub fn all_settled(&self) -> bool {
        self.open == 0 && self.count(Stage::Failed) == 0 && self.count(Stage::Blocked) == 0
    }

    /// Returns the steps that have an attempt.
    pub fn running(&self) -> &StepSet {
        &self.running
    }

    /// Returns what is to be done about the step.
    pub fn todo(&self, step: StepIndex) -> Option<Todo> {
        self.agenda.of(step)
    }

    /// Returns the steps about which this is to be done.
    ///
    /// # Panics
    /// For [`Todo::Wait`], which has no list: [`RunState::next_timer`].
    pub fn list(&self, todo: Todo) -> &StepSet {
        self.agenda.list(todo)
    }

    /// Returns the number of lanes, the last of which holds the steps whose memory has grown.
    pub fn lanes(&self) -> u16 {
        self.agenda.lanes() as u16
    }

    /// Returns when the first wait is over.
    pub fn next_timer(&self) -> Option<Span> {
        self.agenda.first_timer().map(|(at, _)| at)
    }
}

/// What is noted: commands under way, and time that passed; neither is stored.
impl RunState {
    /// Lets the driver's time pass: waits that are over make their steps startable.
    pub fn advance(&mut self, now: Span) {
        self.whole.clock = self.whole.clock.max(now);
        while let Some((at, step)) = self.agenda.first_timer()
            && at <= self.whole.clock
        {
            self.refresh(step);
        }
    }

    /// Notes that a command about the step is under way, so that it is not given twice.
    ///
    /// The next event about the step, or [`RunState::release`], ends that.
    pub fn issue(&mut self, step: StepIndex) {
        self.steps[step.as_usize()].issued = true;
        self.refresh(step);
    }

    /// Notes that the command about the step was not carried out; it will be given again.
    pub fn release(&mut self, step: StepIndex) {
        self.steps[step.as_usize()].issued = false;
        self.refresh(step);
    }

    /// Notes that nothing of a running step's attempt computes any more: it stores what it made, and gives its place to others.
    ///
    /// Forgotten when the attempt ends, and with its driver.
    pub fn vacate(&mut self, step: StepIndex) {
        if self.running.contains(step) {
            self.vacated.insert(step);
        }
    }

    /// Returns the running steps that compute no more.
    pub fn vacated(&self) -> &StepSet {
        &self.vacated
    }

    /// Takes a running step that has not been told yet that the run stops, and how.
    pub fn take_interrupt(&mut self) -> Option<(StepIndex, StopHow)> {
        Some((self.to_interrupt.pop_first()?, self.whole.stopping?))
    }

    /// Notes that the run's end is under way; false if it was already.
    pub fn issue_end(&mut self) -> bool {
        !std::mem::replace(&mut self.end_issued, true)
    }
}
