//! Locked, cached Python environments.
//!
//! Two steps. [`lock`] turns a requirements file into a [`PythonLock`]: the interpreter and the exact version of every
//! package, whose digest ([`lock_digest`]) enters the step key. [`ensure`] turns a lock into an [`Environment`] in a
//! cache, built at most once for each digest, whoever asks and whoever is killed meanwhile.
//!
//! `uv` does the work where it is on the `PATH`; elsewhere the interpreter's own `venv` and `pip` do. Both give the same
//! environment and the same digest.

mod cache;
mod ensure;
mod error;
mod installer;
mod interpreter;
mod lock;
mod message;
mod requirements;
mod resolve;
mod tool;

use std::path::PathBuf;

pub use ensure::{Environment, ensure, environment_variables};
pub use error::{EnvironmentError, Remedy};
pub use interpreter::InterpreterId;
pub use lock::{LOCK_FORMAT, Package, PythonLock, lock_digest};
pub use resolve::lock;

/// What the user asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonRequest {
    /// The requirements file.
    pub requirements: PathBuf,
    /// The interpreter: a version such as `3.12`, or a path; without it the first `python3` that works.
    pub python: Option<String>,
}

/// What takes long; told before it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Exact versions are being looked up, with `uv` or `pip`.
    Resolving {
        /// The program that does it.
        with: &'static str,
    },
    /// Another process builds the same environment.
    Waiting,
    /// This many packages are being installed, with `uv` or `pip`.
    Installing {
        /// Their number.
        packages: usize,
        /// The program that does it.
        with: &'static str,
    },
}
