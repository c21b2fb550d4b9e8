//! From what an attempt tells to what the journal says.

use prunella_attempt::Told;
use prunella_journal::Event;
use prunella_model::{ByteSize, SlotId, Span, StepId, WriterId};

/// Returns the event of what an attempt of `step` told; nothing for what is only shown.
pub(crate) fn event_of(step: &StepId, slot: Option<SlotId>, writer: &WriterId, told: &Told) -> Option<Event> {
    let step = step.clone();
    Some(match told {
        Told::Claimed { slot } => Event::AttemptStarted { step, slot: *slot, writer: writer.clone() },
        Told::Waiting { slot, holder } => Event::StepWaiting { step, slot: *slot, holder: holder.clone() },
        Told::Restored { checkpoint, took_ms } => {
            Event::StateRestored { step, slot: slot?, checkpoint: *checkpoint, took: Span::from_millis(*took_ms) }
        }
        Told::CheckpointSkipped { checkpoint, problem } => {
            Event::CheckpointSkipped { step, slot: slot?, checkpoint: *checkpoint, why: problem.clone() }
        }
        Told::SnapshotSkipped { entry, why } => {
            Event::SnapshotSkipped { step, slot: slot?, entry: entry.clone(), why: why.clone() }
        }
        Told::IntervalChosen { every_ms, why } => {
            let every = Span::from_millis(*every_ms);
            Event::CheckpointIntervalChosen { step, slot: slot?, every, why: why.clone() }
        }
        Told::Started { pid, accelerators } => {
            Event::ProcessStarted { step, slot: slot?, pid: *pid, accelerators: accelerators.clone() }
        }
        Told::Taken { checkpoint, bytes, took_ms } => Event::CheckpointTaken {
            step,
            slot: slot?,
            checkpoint: *checkpoint,
            size: ByteSize(*bytes),
            took: Span::from_millis(*took_ms),
        },
        Told::Durable { checkpoint, bytes, took_ms } => Event::CheckpointDurable {
            step,
            slot: slot?,
            checkpoint: *checkpoint,
            size: ByteSize(*bytes),
            took: Span::from_millis(*took_ms),
        },
        Told::Noticed { source, grace_ms } => Event::NoticeReceived {
            step,
            slot: slot?,
            source: source.clone(),
            grace: Some(Span::from_millis(*grace_ms)),
        },
        Told::Line { .. }
        | Told::Progress { .. }
        | Told::Storing
        | Told::Moving { .. }
        | Told::Unprotected { .. }
        | Told::NotCopied { .. } => return None,
    })
}
