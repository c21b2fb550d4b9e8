//! From a lock to an environment in the cache.

use std::path::{Path, PathBuf};

use prunella_sys::Sys;

use crate::cache::{built_once, is_complete};
use crate::installer::Installer;
use crate::interpreter::find_locked;
use crate::lock::PythonLock;
use crate::tool::absolute;
use crate::{EnvironmentError, Progress};

/// A virtual environment that holds exactly what its lock names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Its directory, absolute.
    pub prefix: PathBuf,
    /// The directory of its programs.
    pub bin: PathBuf,
}

/// Returns the environment of a lock, built first if the cache does not hold it.
///
/// `cache` is usually `$XDG_CACHE_HOME/prunella/environments`; the environment lies at `<digest>` in it. Callers at the
/// same time build it once, the others wait. Whoever is killed meanwhile leaves nothing that would ever be used. One that
/// is there costs two small reads. Blocks.
///
/// # Errors
/// [`EnvironmentError::InterpreterDiffers`] if this machine lacks the locked interpreter; else as [`crate::lock()`].
pub fn ensure(
    sys: &Sys,
    lock: &PythonLock,
    cache: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Environment, EnvironmentError> {
    let cache = absolute(sys, cache)?;
    let name = lock.digest().hex();
    let prefix = cache.join(&name);
    if is_complete(sys, &prefix, &lock.interpreter) {
        return Ok(Environment::at(prefix));
    }
    let interpreter = find_locked(sys, &lock.interpreter)?;
    let installer = Installer::choose(sys, &interpreter, &cache, progress)?;
    built_once(sys, &cache, &name, &lock.interpreter, progress, &mut |prefix, held, progress| {
        progress(Progress::Installing { packages: lock.packages.len(), with: installer.name() });
        installer.create(sys, &interpreter, prefix, held)?;
        installer.install(sys, lock, prefix, held)?;
        Ok(interpreter.clone())
    })
    .map(Environment::at)
}

impl Environment {
    fn at(prefix: PathBuf) -> Self {
        Self { bin: prefix.join("bin"), prefix }
    }
}

/// Returns the variables that make a command use the environment: its programs come first on the `PATH`.
///
/// `base_path` is the `PATH` without it; empty stands for none.
pub fn environment_variables(environment: &Environment, base_path: &str) -> Vec<(String, String)> {
    let bin = environment.bin.display();
    let path = if base_path.is_empty() { bin.to_string() } else { format!("{bin}:{base_path}") };
    vec![("PATH".to_owned(), path), ("VIRTUAL_ENV".to_owned(), environment.prefix.display().to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environments_programs_come_first() {
        let environment = Environment::at("/cache/ab".into());
        let variables = environment_variables(&environment, "/usr/bin");
        assert_eq!(variables[0], ("PATH".into(), "/cache/ab/bin:/usr/bin".into()));
        assert_eq!(variables[1], ("VIRTUAL_ENV".into(), "/cache/ab".into()));
        assert_eq!(environment_variables(&environment, "")[0].1, "/cache/ab/bin");
    }
}
