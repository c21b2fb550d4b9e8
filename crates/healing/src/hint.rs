//! Why a step was given up and what a person can do, in words.

use prunella_model::Class;

use crate::{Evidence, OutOfMemory, StorageKind, Traits, root_cause};

/// Returns why, for a class whose budget is used up.
pub(crate) fn budget_used_up(class: Class, e: &Evidence, count: u32, limit: u32) -> String {
    match (class, limit) {
        (Class::InputDamaged, _) => match &e.input_damaged {
            Some(damaged) => format!("input `{}` is damaged again after it was re-produced", damaged.input),
            None => "an input is damaged again after it was re-produced".to_owned(),
        },
        (Class::Validation, _) => validation(e),
        (_, 0) => format!("`{class}` is not tried again{}", cause(e)),
        _ => format!("failed {count} times as `{class}`, {limit} are healed{}", cause(e)),
    }
}

fn cause(e: &Evidence) -> String {
    root_cause(&e.stderr_tail).last().map_or_else(String::new, |line| format!(": {line}"))
}

/// Returns which output failed which check.
pub(crate) fn validation(e: &Evidence) -> String {
    match &e.validation {
        Some(v) => format!("output `{}` fails its check: {}", v.output, v.problem),
        None => "an output fails its check".to_owned(),
    }
}

/// Returns what the store said.
pub(crate) fn storage(e: &Evidence) -> String {
    match &e.storage {
        Some(trouble) => match trouble.kind {
            StorageKind::ReadOnly => format!("the store cannot be written: {}", trouble.text),
            StorageKind::Forbidden => format!("the store refuses us: {}", trouble.text),
            StorageKind::Missing => format!("the store does not exist: {}", trouble.text),
            _ => format!("the store keeps failing: {}", trouble.text),
        },
        None => "the store keeps failing".to_owned(),
    }
}

/// Returns the memory figures.
pub(crate) fn out_of_memory(e: &Evidence, step: &Traits) -> String {
    let limit = match e.out_of_memory {
        Some(OutOfMemory { limit: Some(limit), .. }) => format!("at a limit of {limit}"),
        _ => "of the whole machine".to_owned(),
    };
    match (step.resources.memory, step.resources.memory_max) {
        (Some(_), Some(most)) => format!("out of memory {limit}; the declared maximum is {most}"),
        _ => format!("out of memory {limit}, and the step declares no memory to grow to"),
    }
}

/// Returns which of grace, checkpoint time or interval is too large, with the figures that are known.
pub(crate) fn no_progress(step: &Traits, e: &Evidence) -> String {
    if !step.has_checkpoint {
        return "interrupted 20 times in a row, and without checkpoints each attempt starts from zero".to_owned();
    }
    let pace = e.pace.unwrap_or_default();
    let figures = match (pace.grace, pace.checkpoint, pace.interval) {
        (Some(grace), Some(checkpoint), _) if checkpoint > grace => {
            format!(": a checkpoint takes {checkpoint}, the notice leaves {grace}")
        }
        (_, Some(checkpoint), _) if checkpoint > pace.lived => {
            format!(": a checkpoint takes {checkpoint}, the attempt lived {}", pace.lived)
        }
        (_, _, Some(interval)) if interval > pace.lived => {
            format!(": the checkpoint interval is {interval}, the attempt lived {}", pace.lived)
        }
        _ if e.pace.is_some() => format!(": the attempt lived {}", pace.lived),
        _ => String::new(),
    };
    format!("interrupted 3 times in a row without a newer durable checkpoint{figures}")
}

/// Returns what a person can do about `class`.
pub(crate) fn hint(class: Class, e: &Evidence, step: &Traits) -> String {
    match class {
        Class::Preempted | Class::Killed => {
            "look for what ends it from outside (a job limit, the kernel's out-of-memory killer, a person), then continue the run"
        }
        Class::NoProgress if step.has_checkpoint => {
            "checkpoint more often or in less time, or continue on a machine that is not taken away"
        }
        Class::NoProgress => "give the step a `checkpoint`, or run it on a machine that is not taken away",
        Class::OutOfMemory => match (step.resources.memory, step.resources.memory_max) {
            (Some(_), Some(_)) => "raise the upper end of `resources.memory`, or make the step need less (smaller batches, streaming)",
            _ => "declare a range such as `resources: { memory: 2GiB..8GiB }`, so that it can grow",
        },
        Class::GpuMemory => "make the batch or the model smaller; more host memory does not help",
        Class::GpuFault => "have the accelerator and its interconnect checked; continue the run on another node",
        Class::Stalled => "see where it hangs (`prunella logs`); if it is only quiet, raise `stall` or tell progress",
        Class::Timeout => "raise `timeout`, or give the step a `checkpoint` so that a retry goes on where it was",
        Class::Storage => match e.storage.as_ref().map(|trouble| trouble.kind) {
            Some(StorageKind::ReadOnly | StorageKind::Forbidden) => "give this user the right to write to the store, then continue the run",
            Some(StorageKind::Missing) => "create the store's directory or bucket, or correct its address, then continue the run",
            _ => "see whether the store can be reached, then continue the run",
        },
        Class::InputDamaged => "the storage loses or changes bytes: have it checked before continuing the run",
        Class::CheckpointDamaged => "the storage loses or changes bytes: have it checked before continuing the run",
        Class::CheckpointRejected => "the program cannot go on from its own checkpoints: see whether it writes them whole",
        Class::Effect => "the artifacts are committed; correct the target, then continue the run",
        Class::Validation => "the rejected output is kept for inspection; correct the step or the check",
        Class::Infrastructure => match e.storage.as_ref().map(|trouble| trouble.kind) {
            Some(StorageKind::NoSpace) => "free some space, then continue the run",
            _ => "see `prunella explain` for what the machine said, then continue the run",
        },
        Class::Error => "correct the step; what was committed before it is reused",
        Class::Contract => "correct the pipeline or its pins; what was committed is reused",
        Class::Stopped | Class::Capacity => "continue the run when there is a machine",
    }
    .to_owned()
}
