//! Starting a step's main process, and saying precisely why it could not be started.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::Access;

use crate::error::SpawnProblem;
use crate::kernel;
use crate::own_mounts::in_own_mounts;
use crate::wire::SpawnRequest;

/// Where a command is looked for if its environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Starts the command in a process group of its own and returns its number, and the error number for which what it only
/// reads could not be made read-only, or zero.
///
/// The program is always given to the system as a path: a changed `PATH` would keep the standard library from using
/// its fast way (`posix_spawn`), and a search of our own can say where it looked.
pub(super) fn launch(
    request: SpawnRequest,
    stdout: OwnedFd,
    stderr: OwnedFd,
    cgroup: Option<OwnedFd>,
) -> Result<(u32, i32), SpawnProblem> {
    let Some((name, arguments)) = request.argv.split_first() else { return Err(SpawnProblem::NoCommand) };
    let program = resolve(name, &request.cwd, &request.env)?;
    let mut command = Command::new(&program);
    command
        .arg0(name)
        .args(arguments)
        .env_clear()
        .envs(request.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&request.cwd)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0);
    if let Some(procs) = cgroup {
        kernel::in_cgroup(&mut command, procs);
    }
    let protection = match request.read_only.as_slice() {
        [] => None,
        paths => Some(in_own_mounts(&mut command, paths)),
    };
    match kernel::with_signals_open(|| command.spawn()) {
        Ok(child) => Ok((
            child.id(),
            match protection {
                None => 0,
                Some(Ok(report)) => report.read(),
                Some(Err(error)) => error.raw_os_error().unwrap_or(libc::EINVAL),
            },
        )),
        Err(error) => Err(diagnose(&error, &program, &request.cwd)),
    }
}

fn resolve(name: &OsStr, cwd: &Path, env: &[(OsString, OsString)]) -> Result<PathBuf, SpawnProblem> {
    if name.is_empty() {
        return Err(SpawnProblem::NoCommand);
    }
    if name.as_bytes().contains(&b'/') {
        return Ok(cwd.join(name));
    }
    let path = env.iter().rev().find(|(name, _)| name == "PATH").map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value);
    let mut denied = None;
    for folder in std::env::split_paths(path) {
        let candidate = cwd.join(folder).join(name);
        if rustix::fs::access(&candidate, Access::EXEC_OK).is_ok() {
            if candidate.is_file() {
                return Ok(candidate);
            }
        } else if candidate.is_file() {
            denied.get_or_insert(candidate);
        }
    }
    if !cwd.is_dir() {
        return Err(SpawnProblem::DirectoryMissing { cwd: cwd.to_owned() });
    }
    Err(match denied {
        Some(path) => SpawnProblem::NotExecutable { path },
        None => SpawnProblem::CommandNotFound { searched: path.to_string_lossy().into_owned() },
    })
}

/// Finds out what the system's one number meant. It is asked afterwards: most commands start.
fn diagnose(error: &io::Error, program: &Path, cwd: &Path) -> SpawnProblem {
    if error.kind() == io::ErrorKind::InvalidInput && error.raw_os_error().is_none() {
        return SpawnProblem::NulByte;
    }
    let errno = error.raw_os_error().unwrap_or(0);
    if !cwd.is_dir() {
        return SpawnProblem::DirectoryMissing { cwd: cwd.to_owned() };
    }
    match errno {
        libc::ENOENT | libc::ENOTDIR if !program.exists() => {
            SpawnProblem::CommandNotFound { searched: program.to_string_lossy().into_owned() }
        }
        libc::ENOENT => SpawnProblem::InterpreterMissing { path: program.to_owned() },
        libc::EACCES | libc::EPERM | libc::ENOEXEC | libc::EISDIR => {
            SpawnProblem::NotExecutable { path: program.to_owned() }
        }
        libc::E2BIG => SpawnProblem::TooLong,
        _ => SpawnProblem::Refused { errno },
    }
}
