//! The default of every class: how often, how long between, and what refills it.

use prunella_model::{Backoff, Class, RetryPolicy, Span};

use crate::Traits;

/// Whether a budget fills up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refill {
    /// Never within a run.
    Never,
    /// By every newer durable checkpoint.
    ByCheckpoint,
}

/// The healing of one class as it is without a user's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// How many failures of one step in one run are healed; nothing: no attempt is counted.
    pub limit: Option<u32>,
    /// What refills it.
    pub refill: Refill,
    /// The waits; nothing: at once.
    pub waits: Option<Backoff>,
}

const fn at_once(limit: u32) -> Defaults {
    Defaults { limit: Some(limit), refill: Refill::Never, waits: None }
}

const fn waiting(limit: u32, first_ms: u64, most_ms: u64) -> Defaults {
    let waits = Backoff { first: Span::from_millis(first_ms), most: Span::from_millis(most_ms) };
    Defaults { limit: Some(limit), refill: Refill::Never, waits: Some(waits) }
}

const fn refilled(mut defaults: Defaults) -> Defaults {
    defaults.refill = Refill::ByCheckpoint;
    defaults
}

const fn uncounted(mut defaults: Defaults) -> Defaults {
    defaults.limit = None;
    defaults
}

/// Returns the defaults of `class` (docs/design/0002-healing.md).
pub const fn defaults(class: Class) -> Defaults {
    match class {
        Class::Preempted => refilled(at_once(100)),
        Class::Stopped => uncounted(at_once(0)),
        Class::Killed => refilled(waiting(50, 200, 30_000)),
        Class::NoProgress => waiting(3, 1_000, 30_000),
        Class::OutOfMemory => at_once(3),
        Class::GpuMemory => at_once(0),
        Class::GpuFault => waiting(5, 1_000, 60_000),
        Class::Stalled => waiting(2, 1_000, 30_000),
        Class::Timeout => waiting(1, 1_000, 30_000),
        Class::Storage => waiting(10, 1_000, 300_000),
        Class::InputDamaged => at_once(1),
        // Each checkpoint is skipped once, so their number is the real bound; this one is for the proof that runs end.
        Class::CheckpointDamaged => waiting(100, 200, 30_000),
        Class::CheckpointRejected => waiting(3, 200, 30_000),
        Class::Effect => waiting(20, 1_000, 300_000),
        Class::Validation => at_once(0),
        Class::Infrastructure => waiting(20, 1_000, 300_000),
        Class::Capacity => uncounted(waiting(0, 10_000, 300_000)),
        Class::Error => waiting(3, 1_000, 60_000),
        Class::Contract => at_once(0),
    }
}

/// Returns how many failures of `class` are healed; nothing: they are not counted.
///
/// A user's limit replaces the default, except for the classes that are never healed: `stopped` and `contract`. A step
/// that is declared not deterministic may fail a check once, since it may do better.
pub fn limit_of(policy: &RetryPolicy, step: &Traits, class: Class) -> Option<u32> {
    let default = match class {
        Class::Stopped | Class::Contract => return defaults(class).limit,
        Class::Validation if !step.deterministic => Some(1),
        _ => defaults(class).limit,
    };
    policy.of(class).limit.or(default)
}

/// Returns the waits of `class`; nothing: at once.
pub fn waits_of(policy: &RetryPolicy, class: Class) -> Option<Backoff> {
    policy.of(class).backoff.or(defaults(class).waits)
}
