//! Starts the programs that resolve and install, in the caller's environment less what would mislead them.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use prunella_sys::Sys;

use crate::EnvironmentError;

/// Variables that would send an installation elsewhere or change what an interpreter imports.
const MISLEADING: [&str; 14] = [
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_PYTHON",
    "PIP_REQUIRE_VIRTUALENV",
    "UV_SYSTEM_PYTHON",
    "__PYVENV_LAUNCHER__",
];

/// Returns a command with a clean environment; `held` is an open file that the child keeps open as its stdin.
///
/// An installer that outlives us (we were killed) so keeps the lock that guards the directory it writes to.
pub(crate) fn command(sys: &Sys, program: &Path, held: Option<&File>) -> Result<Command, EnvironmentError> {
    let mut command = Command::new(program);
    command.env_clear();
    for (name, value) in sys.env.vars_os() {
        if !MISLEADING.iter().any(|misleading| name == OsStr::new(misleading)) {
            command.env(name, value);
        }
    }
    command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("PIP_NO_INPUT", "1").env("NO_COLOR", "1");
    command.env("PYTHONNOUSERSITE", "1").env("PYTHONIOENCODING", "utf-8");
    command.stdin(match held {
        Some(file) => Stdio::from(
            file.try_clone().map_err(|source| EnvironmentError::Cache { path: program.to_owned(), source })?,
        ),
        None => Stdio::null(),
    });
    Ok(command)
}

/// Runs the command to its end and returns its output, whatever its exit code.
///
/// # Errors
/// [`EnvironmentError::Tool`] if it cannot be started, [`EnvironmentError::Interrupted`] if a signal ended it.
pub(crate) fn output(mut command: Command, tool: &'static str) -> Result<Output, EnvironmentError> {
    let output = command.output().map_err(|error| EnvironmentError::Tool {
        program: PathBuf::from(command.get_program()),
        message: error.to_string(),
    })?;
    match output.status.signal() {
        Some(signal) => Err(EnvironmentError::Interrupted { tool, signal }),
        None => Ok(output),
    }
}

/// Returns all executable files of that name on the `PATH`, in its order.
pub(crate) fn on_path(sys: &Sys, name: &str) -> Vec<PathBuf> {
    let path = sys.env.var("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = Vec::new();
    for dir in path.split(':').filter(|dir| dir.starts_with('/')) {
        let file = Path::new(dir).join(name);
        if is_executable(&file) && !found.contains(&file) {
            found.push(file);
        }
    }
    found
}

/// Returns whether there is an executable file behind `path`, links followed.
pub(crate) fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Returns the first `uv` on the `PATH` that answers.
pub(crate) fn find_uv(sys: &Sys) -> Option<PathBuf> {
    on_path(sys, "uv").into_iter().find(|uv| {
        command(sys, uv, None)
            .and_then(|mut command| {
                command.arg("--version");
                output(command, "uv")
            })
            .is_ok_and(|answer| answer.status.success() && answer.stdout.starts_with(b"uv "))
    })
}

/// Returns stdout and stderr of a failed program as one text.
pub(crate) fn said(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push('\n');
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

/// Returns `path` as seen from the current directory.
///
/// # Errors
/// [`EnvironmentError::Cache`] if the current directory is gone.
pub(crate) fn absolute(sys: &Sys, path: &Path) -> Result<PathBuf, EnvironmentError> {
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    match sys.env.current_dir() {
        Ok(dir) => Ok(dir.join(path)),
        Err(source) => Err(EnvironmentError::Cache { path: path.to_owned(), source }),
    }
}
