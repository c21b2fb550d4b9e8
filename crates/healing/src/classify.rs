//! From evidence to class.

use prunella_model::{Class, OnNotice, Resources, Step};

use crate::{Ending, Evidence, KillReason, Phase, StorageKind, message_class};

/// What healing has to know about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traits {
    /// Whether it checkpoints.
    pub has_checkpoint: bool,
    /// What exit 0 after a notice means.
    pub on_notice: OnNotice,
    /// Whether the same key gives the same bytes.
    pub deterministic: bool,
    /// Memory that it starts with and may grow to.
    pub resources: Resources,
}

impl Traits {
    /// Returns what healing has to know about `step`.
    pub fn of(step: &Step) -> Self {
        Self {
            has_checkpoint: step.checkpoint.is_some(),
            on_notice: step.on_notice,
            deterministic: step.deterministic,
            resources: step.resources,
        }
    }
}

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
/// HUP, INT, QUIT, KILL and TERM are sent by somebody; any other signal is taken for the program's own fault.
const SENT: [i32; 5] = [1, 2, 3, SIGKILL, SIGTERM];

/// Returns whether the program's end means that it finished, so that its outputs may be taken in.
///
/// Exit 0 does, unless a notice was passed on before: then the program must have said `done`, or the step must say that
/// its exit 0 is an end (`on_notice: finish`).
pub fn finished(e: &Evidence, step: &Traits) -> bool {
    e.ended == Ending::Exited { code: 0 } && (e.notice.is_none() || e.said_done || step.on_notice == OnNotice::Finish)
}

/// Returns the one class of an attempt that ended without a commit; total, and the same for the same evidence.
///
/// What is known for certain comes first (a broken contract, damaged bytes, a failed check), then what people and
/// machines did from outside, then limits, then storage, then messages, and the program's own exit last.
/// [`Class::NoProgress`] is never returned: it needs the attempts before this one ([`crate::assess`]).
pub fn classify(e: &Evidence, step: &Traits) -> Class {
    certain(e).or_else(|| outside(e)).or_else(|| machine(e)).unwrap_or_else(|| own(e, step))
}

fn certain(e: &Evidence) -> Option<Class> {
    if e.contract.is_some() {
        Some(Class::Contract)
    } else if e.input_damaged.is_some() {
        Some(Class::InputDamaged)
    } else if e.validation.is_some() {
        Some(Class::Validation)
    } else {
        None
    }
}

fn outside(e: &Evidence) -> Option<Class> {
    let by_us = match e.ended {
        Ending::Signaled { by_us, .. } => by_us,
        _ => None,
    };
    if e.stop_requested || by_us == Some(KillReason::Stop) {
        return Some(Class::Stopped);
    }
    let exited_well = e.ended == Ending::Exited { code: 0 };
    // A child that ran out of memory is nothing to the attempt if the program itself ended well.
    if by_us == Some(KillReason::Memory) || (e.out_of_memory.is_some() && !exited_well) {
        return Some(Class::OutOfMemory);
    }
    if by_us == Some(KillReason::Timeout) || e.timeout {
        return Some(Class::Timeout);
    }
    if by_us == Some(KillReason::Stall) || e.stalled {
        return Some(Class::Stalled);
    }
    if by_us == Some(KillReason::Notice) || e.notice.is_some() {
        return Some(Class::Preempted);
    }
    if matches!(by_us, Some(KillReason::OwnerGone | KillReason::Fenced)) {
        return Some(Class::Killed);
    }
    None
}

fn machine(e: &Evidence) -> Option<Class> {
    if e.capacity.is_some() {
        return Some(Class::Capacity);
    }
    if let Some(trouble) = &e.storage {
        return Some(match trouble.kind {
            StorageKind::NoSpace => Class::Infrastructure,
            _ => Class::Storage,
        });
    }
    if e.infrastructure.is_some() {
        return Some(Class::Infrastructure);
    }
    // A supervisor that died while it did effects says nothing about them.
    if e.phase == Phase::Effects && e.ended != Ending::SupervisorDied {
        return Some(Class::Effect);
    }
    None
}

fn own(e: &Evidence, step: &Traits) -> Class {
    match e.ended {
        Ending::SupervisorDied => Class::Killed,
        Ending::SpawnFailed { .. } => Class::Infrastructure,
        Ending::NeverStarted if !e.checkpoint_damaged.is_empty() => Class::CheckpointDamaged,
        Ending::NeverStarted => Class::Infrastructure,
        // Without a notice exit 0 is an end that would have committed: what failed after it is not the step.
        Ending::Exited { code: 0 } => Class::Infrastructure,
        // A shell says 128 + n when signal n ended its child.
        Ending::Exited { code } if code == 128 + SIGKILL || code == 128 + SIGTERM => sent(e, code - 128),
        Ending::Signaled { signal, .. } if SENT.contains(&signal) => sent(e, signal),
        Ending::Exited { .. } | Ending::Signaled { .. } => fault(e, step),
    }
}

fn sent(e: &Evidence, signal: i32) -> Class {
    match message_class(&e.stderr_tail) {
        Some(Class::GpuFault) => Class::GpuFault,
        _ if signal == SIGTERM => Class::Preempted,
        _ => Class::Killed,
    }
}

fn fault(e: &Evidence, step: &Traits) -> Class {
    if let Some(class) = message_class(&e.stderr_tail) {
        return class;
    }
    if step.has_checkpoint && e.restored.is_some() && !e.progressed() {
        return Class::CheckpointRejected;
    }
    Class::Error
}
