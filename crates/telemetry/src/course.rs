//! What the figures are made from: a fold of a run's events, each at the same small cost.

use std::collections::HashMap;

use prunella_journal::{Event, MetricsFold, RunStatus, Stamped};
use prunella_model::{PipelineName, SlotId, Span, StepId};

/// What is known of a run.
#[derive(Debug, Clone, Default)]
pub struct Course {
    pub(crate) pipeline: Option<PipelineName>,
    pub(crate) figures: MetricsFold,
    pub(crate) started_at_ms: Option<u64>,
    pub(crate) last_at_ms: Option<u64>,
    pub(crate) ended: Option<RunStatus>,
    pub(crate) running: HashMap<StepId, SlotId>,
    pub(crate) commits: u64,
    pub(crate) checkpoints: u64,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) held_up: Span,
    pub(crate) checkpoints_skipped: u64,
    pub(crate) restores: u64,
    pub(crate) restoring: Span,
    pub(crate) notices: u64,
    /// The share of committed bytes whose provenance is complete, once somebody has said so.
    pub(crate) coverage: Option<f64>,
}

impl Course {
    /// Returns what these events tell, which must be a run's, in order.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Stamped>) -> Self {
        let mut course = Self::default();
        events.into_iter().for_each(|event| course.push(event));
        course
    }

    /// Returns the pipeline, once the run has begun.
    pub fn pipeline(&self) -> Option<&PipelineName> {
        self.pipeline.as_ref()
    }

    /// Says of which share of committed bytes the provenance is complete.
    pub fn covers(&mut self, share: Option<f64>) {
        self.coverage = share;
    }

    /// Takes the next event.
    pub fn push(&mut self, stamped: &Stamped) {
        self.figures.push(stamped);
        self.last_at_ms = Some(stamped.at_ms);
        match &stamped.event {
            Event::RunStarted { pipeline, .. } => {
                self.pipeline = Some(pipeline.clone());
                self.started_at_ms = Some(stamped.at_ms);
            }
            Event::DriverStarted { .. } => {
                self.ended = None;
                // Whatever ran under the driver before does not run any more.
                self.running.clear();
            }
            Event::AttemptStarted { step, slot, .. } => _ = self.running.insert(step.clone(), *slot),
            Event::AttemptEnded { step, .. } => _ = self.running.remove(step),
            Event::StepCommitted { step, .. } => {
                self.running.remove(step);
                self.commits += 1;
            }
            Event::CheckpointTaken { took, .. } => self.held_up = sum(self.held_up, *took),
            Event::CheckpointDurable { size, .. } => {
                self.checkpoints += 1;
                self.checkpoint_bytes = self.checkpoint_bytes.saturating_add(size.0);
            }
            Event::CheckpointSkipped { .. } => self.checkpoints_skipped += 1,
            Event::StateRestored { took, .. } => {
                self.restores += 1;
                self.restoring = sum(self.restoring, *took);
            }
            Event::NoticeReceived { .. } => self.notices += 1,
            Event::RunEnded { status } => self.ended = Some(*status),
            _ => {}
        }
    }
}

fn sum(one: Span, other: Span) -> Span {
    Span::from_millis(one.as_millis().saturating_add(other.as_millis()))
}
