//! What is done about a failure.

use std::time::Duration;

use prunella_model::{ByteSize, CheckpointId, Class, Resources, RetryPolicy};

use crate::{Evidence, ExitCode, JitterSeed, Spent, StorageKind, Traits, backoff, hint, limit_of, waits_of};

/// What the next attempt starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restore {
    /// The newest checkpoint that verifies.
    Newest,
    /// The newest that verifies among those before this one.
    Before(CheckpointId),
    /// Nothing: from the beginning.
    Zero,
}

/// Another attempt, and what is different about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The wait before it.
    pub delay: Duration,
    /// What it starts from.
    pub restore: Restore,
    /// Its memory, where it has grown.
    pub memory: Option<ByteSize>,
    /// Whether it checkpoints at half the interval.
    pub checkpoint_sooner: bool,
    /// Whether another node is better, if there is one.
    pub avoid_node: bool,
    /// Whether the node cache is drained first.
    pub drain_cache: bool,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Remedy {
    /// Another attempt.
    Retry(Retry),
    /// The producer of this input runs again; then the step does.
    Reproduce {
        /// The input's name.
        input: String,
    },
    /// No attempt until there is a machine: look again after the delay.
    Wait {
        /// The wait before the next look.
        delay: Duration,
    },
    /// Nothing: trying again is useless, or here it cannot be done.
    GiveUp {
        /// The class that ended it.
        class: Class,
        /// What a supervisor exits with.
        exit: ExitCode,
        /// Why, in one line.
        why: String,
        /// What a person can do.
        hint: String,
    },
    /// Nothing: a person stopped it, and it can be continued.
    None,
}

/// Returns what is done about a failure of `class`, with `spent` including it.
///
/// The same arguments always give the same remedy. On one machine a [`Remedy::GiveUp`] with [`ExitCode::NEXT_RUNG`] is
/// an end like any other: the next rung is another machine.
pub fn remedy(
    policy: &RetryPolicy,
    step: &Traits,
    class: Class,
    e: &Evidence,
    spent: &Spent,
    jitter: &JitterSeed<'_>,
) -> Remedy {
    let count = spent.count(class);
    let limit = limit_of(policy, step, class);
    let give_up = |exit, why| Remedy::GiveUp { class, exit, why, hint: hint::hint(class, e, step) };
    let stop = |why: String| give_up(ExitCode::USELESS, why);
    // What stands in the evidence of the class itself decides before any budget.
    match class {
        Class::Stopped => return Remedy::None,
        Class::Contract => return stop(e.contract.clone().unwrap_or_else(|| "the contract is broken".to_owned())),
        Class::Error if spent.last_failure.is_some_and(|last| last.times > 1) => {
            let times = spent.last_failure.map_or(0, |last| last.times);
            return stop(format!("the same failure {times} times at the same progress: it is deterministic"));
        }
        Class::Storage if e.storage.as_ref().is_some_and(|trouble| !trouble.kind.may_pass()) => {
            return stop(hint::storage(e));
        }
        _ => {}
    }
    let used = match (class, &e.input_damaged) {
        (Class::InputDamaged, Some(damaged)) => spent.by_input.get(&damaged.input).copied().unwrap_or(count),
        _ => count,
    };
    if class == Class::NoProgress {
        if let Some((exit, why)) = no_progress_end(step, count, limit.unwrap_or(0), e) {
            return give_up(exit, why);
        }
    } else if limit.is_some_and(|limit| used > limit) {
        return stop(hint::budget_used_up(class, e, used, limit.unwrap_or(0)));
    }
    let n = match class {
        // At once the first time, and again whenever a newer checkpoint has refilled the count.
        Class::Preempted | Class::Killed => count.saturating_sub(1),
        Class::Capacity => 1,
        _ => count,
    };
    let delay = waits_of(policy, class).map_or(Duration::ZERO, |waits| backoff(waits, n, jitter));
    let memory = memory_for(&step.resources, spent);
    match class {
        Class::Capacity => return Remedy::Wait { delay },
        Class::InputDamaged => {
            return Remedy::Reproduce { input: e.input_damaged.as_ref().map_or_else(String::new, |d| d.input.clone()) };
        }
        Class::OutOfMemory => {
            let before = grown(&step.resources, count.saturating_sub(1));
            if memory.is_none() || memory == before {
                return stop(hint::out_of_memory(e, step));
            }
        }
        _ => {}
    }
    Remedy::Retry(Retry {
        delay,
        restore: restore_point(policy, step, spent),
        memory,
        checkpoint_sooner: step.has_checkpoint && spent.count(Class::NoProgress) > 0,
        avoid_node: matches!(class, Class::GpuFault),
        drain_cache: class == Class::Infrastructure
            && e.storage.as_ref().is_some_and(|trouble| trouble.kind == StorageKind::NoSpace),
    })
}

/// Returns the exit and the reason if `no-progress` ends here: checkpoint sooner, then the next rung, then the end.
fn no_progress_end(step: &Traits, count: u32, limit: u32, e: &Evidence) -> Option<(ExitCode, String)> {
    let last = !step.has_checkpoint || count >= limit;
    let next_rung = count >= 2 && count + 1 == limit;
    let exit = match (last, next_rung) {
        (true, _) => ExitCode::USELESS,
        (false, true) => ExitCode::NEXT_RUNG,
        (false, false) => return None,
    };
    Some((exit, hint::no_progress(step, e)))
}

/// Returns what the next attempt starts from: before rejected checkpoints, and from zero on the last try.
pub fn restore_point(policy: &RetryPolicy, step: &Traits, spent: &Spent) -> Restore {
    let tries = limit_of(policy, step, Class::CheckpointRejected).unwrap_or(0);
    match spent.rejected {
        None => Restore::Newest,
        Some(_) if spent.count(Class::CheckpointRejected) >= tries => Restore::Zero,
        Some(checkpoint) => Restore::Before(checkpoint),
    }
}

/// Returns the memory of the next attempt, if running out of it has made it grow.
pub fn memory_for(resources: &Resources, spent: &Spent) -> Option<ByteSize> {
    match spent.count(Class::OutOfMemory) {
        0 => None,
        times => grown(resources, times),
    }
}

/// × 1.5 for each time, up to the declared maximum; nothing where either is not declared.
fn grown(resources: &Resources, times: u32) -> Option<ByteSize> {
    let (mut memory, most) = (resources.memory?.bytes(), resources.memory_max?.bytes());
    for _ in 0..times {
        if memory >= most {
            break;
        }
        memory = memory.saturating_add(memory / 2).max(memory.saturating_add(1)).min(most);
    }
    Some(ByteSize(memory))
}
