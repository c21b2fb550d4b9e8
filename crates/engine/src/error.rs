//! What stops a whole run, and what the caller must do.

use prunella_journal::{IllegalEvent, JournalError};
use prunella_model::{RunId, StepId, StepName};
use prunella_process::ProcessError;
use prunella_store::{StoreError, records::Owner};

use crate::{BindError, NoSuchStep, PlanError};

/// A run that could not be driven on; what it had committed stands, and it can be resumed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The graph cannot be run.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An input has no content.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal holds an event that cannot have happened.
    #[error("the journal of run `{run}` is not one: {source}")]
    Illegal {
        /// The run.
        run: RunId,
        /// The event.
        #[source]
        source: IllegalEvent,
    },
    /// The guardian cannot be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Another engine drives the run.
    #[error("run `{run}` is driven by another engine (process {} on {})", owner.process.pid, owner.machine)]
    Driven {
        /// The run.
        run: RunId,
        /// That engine.
        owner: Box<Owner>,
    },
    /// It was told to stop before it had the run: nothing was begun.
    #[error("stopped before run `{run}` was taken up")]
    NotTakenUp {
        /// The run.
        run: RunId,
    },
    /// Another process drives under the same number: this one leaves.
    #[error("another process writes the journal of run `{run}` under our number")]
    Twin {
        /// The run.
        run: RunId,
    },
    /// An attempt ended without a verdict: a mistake of Prunella's own. Its processes are dead.
    #[error("the attempt of `{step}` broke off without a verdict")]
    BrokenOff {
        /// The step.
        step: StepId,
    },
    /// The graph has no such step.
    #[error("run `{run}`: {wrong}")]
    NoStep {
        /// The run.
        run: RunId,
        /// What there is not.
        wrong: NoSuchStep,
    },
    /// A step that fans out is no attempt; its items are.
    #[error("`{step}` fans out: name one of its items, as in `{step}:{example}`")]
    Fans {
        /// The step.
        step: StepName,
        /// The label of its first item.
        example: String,
    },
    /// The list that a step fans out over is none.
    #[error("`{step}` cannot fan out: {problem}")]
    NoList {
        /// The step.
        step: StepId,
        /// What is wrong with it.
        problem: String,
    },
    /// A step that was asked for cannot run yet.
    #[error("`{step}` needs `{need}`, which has no commit in this run")]
    NotReady {
        /// The step.
        step: StepId,
        /// What it needs.
        need: StepId,
    },
}

impl EngineError {
    /// Returns whether the same call again can succeed by itself: the run is interrupted, not refused.
    pub fn is_resumable(&self) -> bool {
        match self {
            Self::Store(_)
            | Self::Journal(_)
            | Self::Process(_)
            | Self::NotTakenUp { .. }
            | Self::Twin { .. }
            | Self::BrokenOff { .. } => true,
            Self::Plan(_)
            | Self::Bind(_)
            | Self::Illegal { .. }
            | Self::Driven { .. }
            | Self::NoStep { .. }
            | Self::Fans { .. }
            | Self::NoList { .. }
            | Self::NotReady { .. } => false,
        }
    }
}
