//! From a requirements file to a lock.

use std::path::Path;

use prunella_sys::Sys;

use crate::installer::Installer;
use crate::interpreter::find;
use crate::lock::PythonLock;
use crate::tool::absolute;
use crate::{EnvironmentError, Progress, PythonRequest, requirements};

/// Returns the exact interpreter and packages that satisfy a request now.
///
/// `cache` is the environment cache: pip, where uv is absent, gets an environment of its own there. Nothing else is
/// written. Blocks; asks the package index unless nothing is required.
///
/// # Errors
/// Each [`EnvironmentError`] says what to do by [`EnvironmentError::help`]; none holds a credential of an index.
pub fn lock(
    sys: &Sys,
    request: &PythonRequest,
    cache: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<PythonLock, EnvironmentError> {
    let file = absolute(sys, &request.requirements)?;
    let cache = absolute(sys, cache)?;
    let wanted = requirements::read(sys, &file)?;
    let interpreter = find(sys, request.python.as_deref())?;
    let packages = if wanted.is_empty {
        Vec::new()
    } else {
        let installer = Installer::choose(sys, &interpreter, &cache, progress)?;
        progress(Progress::Resolving { with: installer.name() });
        installer.resolve(sys, &interpreter, &file)?
    };
    Ok(PythonLock::new(interpreter.id, packages, wanted.options, wanted.digest))
}

impl PythonLock {
    /// Returns whether the lock was made from the requirements as they now are, and for an interpreter as requested.
    ///
    /// # Errors
    /// As [`lock`], for the requirements file only: no program is started.
    pub fn is_current(&self, sys: &Sys, request: &PythonRequest) -> Result<bool, EnvironmentError> {
        let file = absolute(sys, &request.requirements)?;
        let same = requirements::read(sys, &file)?.digest == self.requirements_digest;
        Ok(same && request.python.as_deref().is_none_or(|python| python.contains('/') || self.interpreter.fits(python)))
    }
}
