//! What a supervisor tells its orchestrator (docs/design/protocol.md, Exit codes).

use std::fmt;

use prunella_model::Class;

use crate::{Ending, Evidence, Remedy};

/// An exit code of `prunella exec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExitCode(u8);

impl ExitCode {
    /// Committed or reused, effects done: go on.
    pub const DONE: Self = Self(0);
    /// Interrupted or infrastructure: start another attempt.
    pub const AGAIN: Self = Self(75);
    /// More memory or on-demand capacity is needed: start the next rung.
    pub const NEXT_RUNG: Self = Self(77);
    /// Contract broken, budget used up or deterministic: do not try again.
    pub const USELESS: Self = Self(78);
    /// An upstream artifact is damaged and was marked: run the graph again.
    pub const UPSTREAM: Self = Self(79);

    /// Returns what stands for a step's own exit code: itself, or 1 where the number has another meaning here.
    ///
    /// 0 is 1 too: a step that exited 0 and did not commit has not succeeded.
    pub fn of_step(code: i32) -> Self {
        match u8::try_from(code) {
            Ok(0 | 64 | 75 | 77..=79 | 125..=127 | 137 | 143) | Err(_) => Self(1),
            Ok(code) => Self(code),
        }
    }

    /// Returns the number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Returns the exit code of a supervisor whose attempt ended without a commit.
///
/// A commit or a reuse is [`ExitCode::DONE`]; a lost slot is [`ExitCode::AGAIN`]; neither has evidence.
pub fn exit_code(class: Class, e: &Evidence, remedy: &Remedy) -> ExitCode {
    match remedy {
        Remedy::GiveUp { exit, .. } => *exit,
        Remedy::Reproduce { .. } => ExitCode::UPSTREAM,
        Remedy::Wait { .. } | Remedy::None => ExitCode::AGAIN,
        Remedy::Retry(_) if class == Class::OutOfMemory => ExitCode::NEXT_RUNG,
        Remedy::Retry(_) => match (class, &e.ended) {
            (
                Class::Error | Class::CheckpointRejected | Class::GpuFault | Class::Validation,
                Ending::Exited { code },
            ) => ExitCode::of_step(*code),
            (Class::Error, _) => ExitCode(1),
            _ => ExitCode::AGAIN,
        },
    }
}
