//! What can go wrong with an environment, and what the user can do about it.

use std::io;
use std::path::PathBuf;

use crate::InterpreterId;

/// Why an environment could not be locked or made.
///
/// Messages of installers are quoted by their last lines, without credentials.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The requirements file, or one that it includes, cannot be read.
    #[error("could not read the requirements file `{}`", path.display())]
    Requirements {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line of the requirements cannot be pinned.
    #[error("`{}` line {line}: `{text}` cannot be pinned: {why}", path.display())]
    NotPinnable {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The line, without credentials.
        text: String,
        /// What is in the way.
        why: &'static str,
    },
    /// No interpreter fits.
    #[error("no python found: wanted {wanted}{}", list(tried))]
    NoPython {
        /// What was asked for.
        wanted: String,
        /// What was looked at, and why it did not fit.
        tried: Vec<String>,
    },
    /// No interpreter on this machine is the one that the lock names.
    #[error("the lock names {locked}, but this machine has no such interpreter{}", list(tried))]
    InterpreterDiffers {
        /// The interpreter in the lock.
        locked: Box<InterpreterId>,
        /// What was looked at.
        tried: Vec<String>,
    },
    /// The interpreter cannot make virtual environments.
    #[error("`{}` cannot make a virtual environment: {message}", python.display())]
    NoVenv {
        /// The interpreter.
        python: PathBuf,
        /// Its last words.
        message: String,
    },
    /// No set of versions satisfies the requirements.
    #[error("`{}` cannot be resolved by {tool}: {message}", path.display())]
    Unresolvable {
        /// The requirements file.
        path: PathBuf,
        /// `uv` or `pip`.
        tool: &'static str,
        /// Its last words: they name the line or package.
        message: String,
    },
    /// The package index did not answer or refused.
    #[error("{tool} could not reach the package index: {message}")]
    Network {
        /// `uv` or `pip`.
        tool: &'static str,
        /// Its last words.
        message: String,
    },
    /// The index now serves other bytes than those that were locked.
    #[error("a package is not the one that was locked: {message}")]
    HashMismatch {
        /// The installer's last words.
        message: String,
    },
    /// The disk is full.
    #[error("no space left on the disk of `{}`", path.display())]
    DiskFull {
        /// The cache.
        path: PathBuf,
    },
    /// A package could not be built or installed.
    #[error("{tool} could not install the locked packages: {message}")]
    Install {
        /// `uv` or `pip`.
        tool: &'static str,
        /// Its last words.
        message: String,
    },
    /// A signal ended the installer.
    #[error("{tool} was ended by signal {signal}")]
    Interrupted {
        /// `uv`, `pip` or `venv`.
        tool: &'static str,
        /// The signal.
        signal: i32,
    },
    /// A program could not be started, or answered what nobody expects of it.
    #[error("`{}` did not answer as expected: {message}", program.display())]
    Tool {
        /// The program.
        program: PathBuf,
        /// What it said instead.
        message: String,
    },
    /// The cache cannot be read or written.
    #[error("could not use the environment cache at `{}`", path.display())]
    Cache {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The lock was written in another format.
    #[error("the environment lock cannot be read: {message}")]
    LockFormat {
        /// What is wrong with it.
        message: String,
    },
}

/// What the caller must do about an [`EnvironmentError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Try again later: the cause may pass by itself.
    Retry,
    /// Stop: the run was asked to.
    Stop,
    /// Give up until a person has changed something.
    Fix,
}

impl EnvironmentError {
    /// Returns what the caller must do.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Network { .. } | Self::DiskFull { .. } => Remedy::Retry,
            Self::Interrupted { .. } => Remedy::Stop,
            Self::Requirements { .. }
            | Self::NotPinnable { .. }
            | Self::NoPython { .. }
            | Self::InterpreterDiffers { .. }
            | Self::NoVenv { .. }
            | Self::Unresolvable { .. }
            | Self::HashMismatch { .. }
            | Self::Install { .. }
            | Self::Tool { .. }
            | Self::Cache { .. }
            | Self::LockFormat { .. } => Remedy::Fix,
        }
    }

    /// Returns one sentence that tells a person what to do.
    pub fn help(&self) -> String {
        match self {
            Self::Requirements { .. } => "create the file, or correct `environment.python` in the pipeline file".into(),
            Self::NotPinnable { .. } => "name a published version, an archive by its URL, or a git commit".into(),
            Self::NoPython { wanted, .. } => format!("install {wanted}, or uv, and put it on the PATH"),
            Self::InterpreterDiffers { locked, .. } => {
                format!(
                    "install Python {}, or take `python` out of prunella.lock: the next run locks anew",
                    locked.version
                )
            }
            Self::NoVenv { .. } => "install the venv module (Debian and Ubuntu: python3-venv), or uv".into(),
            Self::Unresolvable { .. } => "correct the requirement that the message names".into(),
            Self::Network { .. } => "check the network, the proxy variables and the index URL, then run again".into(),
            Self::HashMismatch { .. } => {
                "find out why the index serves other bytes; if that is right, take `python` out of prunella.lock".into()
            }
            Self::DiskFull { .. } => "make room, or set XDG_CACHE_HOME to another disk".into(),
            Self::Install { .. } => {
                "read the message: often a system library or a wheel for this Python version is missing".into()
            }
            Self::Interrupted { .. } => "run again: nothing half-made is ever used".into(),
            Self::Tool { program, .. } => format!("run `{} --version` by hand", program.display()),
            Self::Cache { .. } => "make the directory writable, or set XDG_CACHE_HOME to another one".into(),
            Self::LockFormat { .. } => "take `python` out of prunella.lock, or use the version that wrote it".into(),
        }
    }
}

fn list(tried: &[String]) -> String {
    if tried.is_empty() { String::new() } else { format!(" (looked at: {})", tried.join("; ")) }
}
