//! From evidence to class, remedy, budget and exit code; pure.
//!
//! The path of one ended attempt: [`Evidence`] is what was seen, [`assess`] gives its class and the counters after it,
//! [`remedy`] says what happens next, [`exit_code`] what a supervisor tells its orchestrator. Nothing here reads a
//! clock, a file or a random number, so a run can be replayed (docs/design/0002-healing.md).

mod backoff;
mod budget;
mod cause;
mod classify;
mod evidence;
mod exit;
mod hint;
mod interruptions;
mod interval;
mod message;
mod remedy;
mod signature;
mod spent;

pub use backoff::{JitterSeed, backoff};
pub use budget::{Defaults, Refill, defaults, limit_of, waits_of};
pub use cause::root_cause;
pub use classify::{Traits, classify, finished};
pub use evidence::{
    Ending, Evidence, InputDamaged, KillReason, NoticeSeen, OutOfMemory, Pace, Phase, StorageKind, StorageTrouble,
    ValidationProblem, bounded_tail,
};
pub use exit::{ExitCode, exit_code};
pub use interruptions::{Announced, Interruptions, Machine, Outlook};
pub use interval::{CheckpointCost, Chosen, Grace, INTERFERENCE, expected_waste, interval};
pub use message::message_class;
pub use remedy::{Remedy, Restore, Retry, memory_for, remedy, restore_point};
pub use signature::signature;
pub use spent::{Progress, Seen, Spent, assess};
