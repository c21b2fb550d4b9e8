//! What an event is about, and the name that its kind has in the journal.

use prunella_model::StepId;

use crate::Event;

impl Event {
    /// Returns the step it is about, if it is about one.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Self::RunStarted { .. }
            | Self::DriverStarted { .. }
            | Self::HintReceived { .. }
            | Self::StopRequested { .. }
            | Self::RunConcluded { .. }
            | Self::RunEnded { .. } => None,
            Self::StepDecided { step, .. }
            | Self::StepSkipped { step, .. }
            | Self::StepKeyed { step, .. }
            | Self::StepExpanded { step, .. }
            | Self::StepMissed { step }
            | Self::StepReused { step, .. }
            | Self::StepWaiting { step, .. }
            | Self::AttemptStarted { step, .. }
            | Self::CheckpointSkipped { step, .. }
            | Self::SnapshotSkipped { step, .. }
            | Self::CheckpointIntervalChosen { step, .. }
            | Self::StateRestored { step, .. }
            | Self::ProcessStarted { step, .. }
            | Self::CheckpointTaken { step, .. }
            | Self::CheckpointDurable { step, .. }
            | Self::NoticeReceived { step, .. }
            | Self::AttemptEnded { step, .. }
            | Self::StepHealing { step, .. }
            | Self::StepCommitted { step, .. }
            | Self::InputDamaged { step, .. }
            | Self::CommitDamaged { step, .. }
            | Self::StepRebound { step }
            | Self::StepFailed { step, .. }
            | Self::StepBlocked { step, .. }
            | Self::EffectsDone { step, .. }
            | Self::EffectFailed { step, .. }
            | Self::EffectsGivenUp { step, .. } => Some(step),
        }
    }

    /// Returns the name it has in the journal.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::RunStarted { .. } => "run_started",
            Self::DriverStarted { .. } => "driver_started",
            Self::StepDecided { .. } => "step_decided",
            Self::StepSkipped { .. } => "step_skipped",
            Self::StepKeyed { .. } => "step_keyed",
            Self::StepExpanded { .. } => "step_expanded",
            Self::StepMissed { .. } => "step_missed",
            Self::StepReused { .. } => "step_reused",
            Self::StepWaiting { .. } => "step_waiting",
            Self::AttemptStarted { .. } => "attempt_started",
            Self::CheckpointSkipped { .. } => "checkpoint_skipped",
            Self::SnapshotSkipped { .. } => "snapshot_skipped",
            Self::CheckpointIntervalChosen { .. } => "checkpoint_interval_chosen",
            Self::StateRestored { .. } => "state_restored",
            Self::ProcessStarted { .. } => "process_started",
            Self::CheckpointTaken { .. } => "checkpoint_taken",
            Self::CheckpointDurable { .. } => "checkpoint_durable",
            Self::NoticeReceived { .. } => "notice_received",
            Self::HintReceived { .. } => "hint_received",
            Self::AttemptEnded { .. } => "attempt_ended",
            Self::StepHealing { .. } => "step_healing",
            Self::StepCommitted { .. } => "step_committed",
            Self::InputDamaged { .. } => "input_damaged",
            Self::CommitDamaged { .. } => "commit_damaged",
            Self::StepRebound { .. } => "step_rebound",
            Self::StepFailed { .. } => "step_failed",
            Self::StepBlocked { .. } => "step_blocked",
            Self::EffectsDone { .. } => "effects_done",
            Self::EffectFailed { .. } => "effect_failed",
            Self::EffectsGivenUp { .. } => "effects_given_up",
            Self::StopRequested { .. } => "stop_requested",
            Self::RunConcluded { .. } => "run_concluded",
            Self::RunEnded { .. } => "run_ended",
        }
    }

    /// The names of all events, as they stand in the journal.
    pub const KINDS: &'static [&'static str] = &[
        "run_started",
        "driver_started",
        "step_keyed",
        "step_expanded",
        "step_missed",
        "step_reused",
        "step_waiting",
        "attempt_started",
        "checkpoint_skipped",
        "snapshot_skipped",
        "checkpoint_interval_chosen",
        "state_restored",
        "process_started",
        "checkpoint_taken",
        "checkpoint_durable",
        "notice_received",
        "attempt_ended",
        "step_healing",
        "step_committed",
        "input_damaged",
        "step_rebound",
        "step_failed",
        "step_blocked",
        "effects_done",
        "effect_failed",
        "effects_given_up",
        "stop_requested",
        "run_ended",
        "commit_damaged",
        "step_decided",
        "step_skipped",
        "run_concluded",
        "hint_received",
    ];
}
