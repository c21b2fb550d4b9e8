//! What can go wrong with processes, and what the caller must do about it.

use std::io;
use std::path::PathBuf;

/// An operation on processes that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The guardian could not be started.
    #[error("could not start the guardian `{}`", exe.display())]
    GuardianNotStarted {
        /// The program that was to become the guardian.
        exe: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The guardian is gone; everything it had spawned is dead or being killed.
    #[error("the guardian is gone")]
    GuardianDied,
    /// The step's command could not be started.
    #[error("could not start `{program}`: {problem}")]
    Spawn {
        /// The first word of the command, as given.
        program: String,
        /// What exactly is wrong.
        problem: SpawnProblem,
    },
    /// The machine refused a pipe or another resource that the engine needs for a step.
    #[error("could not set up `{what}`")]
    Resources {
        /// The thing that was refused.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The command and its environment are larger than what the guardian accepts.
    #[error("the command and its environment take {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// The encoded size, bytes.
        size: usize,
        /// The largest size allowed, bytes.
        limit: usize,
    },
    /// A sweep was asked for with a prefix that would match strangers.
    #[error("refused to sweep by the prefix `{prefix}`")]
    UnsafePrefix {
        /// The prefix.
        prefix: String,
    },
    /// Processes are still there although they were killed (they hang in the kernel).
    #[error("{} processes survive SIGKILL, the first is {}", pids.len(), pids.first().copied().unwrap_or_default())]
    Unkillable {
        /// The survivors.
        pids: Vec<u32>,
    },
    /// `/proc` could not be read.
    #[error("could not read `/proc`")]
    Proc {
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What the caller of a failed operation must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Start a new guardian and try again.
    NewGuardian,
    /// Try again later: the machine is short of something.
    Later,
    /// Change the step or the call: trying again is useless.
    Fix,
}

impl ProcessError {
    /// Returns what the caller must do.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::GuardianDied => Remedy::NewGuardian,
            Self::GuardianNotStarted { .. } | Self::Resources { .. } | Self::Unkillable { .. } | Self::Proc { .. } => {
                Remedy::Later
            }
            Self::TooLarge { .. } | Self::UnsafePrefix { .. } => Remedy::Fix,
            Self::Spawn { problem, .. } => problem.remedy(),
        }
    }
}

/// Why a command could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnProblem {
    /// The command has no words.
    #[error("the command is empty")]
    NoCommand,
    /// The working directory does not exist or is not a directory.
    #[error("the working directory `{}` is missing or not a directory", cwd.display())]
    DirectoryMissing {
        /// The working directory.
        cwd: PathBuf,
    },
    /// No file of that name was found.
    #[error("command not found (searched `{searched}`)")]
    CommandNotFound {
        /// The path looked at, or the value of `PATH` that was searched.
        searched: String,
    },
    /// The file is there but may not be executed, or is no program.
    #[error("`{}` is not executable", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// The file names an interpreter (`#!`, or a loader) that does not exist.
    #[error("the interpreter of `{}` does not exist", path.display())]
    InterpreterMissing {
        /// The file.
        path: PathBuf,
    },
    /// Arguments and environment exceed the machine's limit.
    #[error("the arguments and environment are too long for this machine")]
    TooLong,
    /// An argument or variable holds a NUL byte.
    #[error("an argument or variable holds a NUL byte")]
    NulByte,
    /// The machine is short of processes, memory or descriptors.
    #[error("the machine refused: {}", io::Error::from_raw_os_error(*errno))]
    Refused {
        /// The error number.
        errno: i32,
    },
}

impl SpawnProblem {
    /// Returns what the caller must do.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Refused { .. } => Remedy::Later,
            Self::NoCommand
            | Self::DirectoryMissing { .. }
            | Self::CommandNotFound { .. }
            | Self::NotExecutable { .. }
            | Self::InterpreterMissing { .. }
            | Self::TooLong
            | Self::NulByte => Remedy::Fix,
        }
    }
}
