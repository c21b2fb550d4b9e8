//! Directories that are built once and used only when complete, whoever is killed while building.
//!
//! A virtual environment knows its own path, so it is built where it stays. Three things keep a half-made one from ever
//! being used: an exclusive lock on `<name>.lock` for as long as anybody writes (the installer inherits it, so it
//! outlives a killed builder), a marker `.complete` written last, after everything before it is durable, and removed
//! first.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use prunella_sys::Sys;
use serde::{Deserialize, Serialize};

use crate::interpreter::{Interpreter, InterpreterId, probe};
use crate::{EnvironmentError, Progress};

const COMPLETE: &str = ".complete";
const MARKER_FORMAT: u32 = 1;

/// What `.complete` says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Marker {
    format: u32,
    /// The interpreter the environment was made with: environments link to it.
    base: PathBuf,
    /// What it looked like then.
    base_size: u64,
    base_mtime_ns: i128,
}

impl Marker {
    fn of(base: &Path) -> io::Result<Self> {
        let meta = std::fs::metadata(base)?;
        let base_mtime_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        Ok(Self { format: MARKER_FORMAT, base: base.to_owned(), base_size: meta.len(), base_mtime_ns })
    }
}

/// Returns whether the environment at `prefix` is complete and its interpreter is still `id`.
pub(crate) fn is_complete(sys: &Sys, prefix: &Path, id: &InterpreterId) -> bool {
    let Ok(bytes) = sys.fs.read(&prefix.join(COMPLETE)) else { return false };
    let Ok(marker) = serde_json::from_slice::<Marker>(&bytes) else { return false };
    if marker.format != MARKER_FORMAT {
        return false;
    }
    // An upgraded interpreter has the same path and another stat: then it has to be asked.
    match Marker::of(&marker.base) {
        Ok(now) if now == marker => true,
        Ok(_) => probe(sys, &prefix.join("bin/python")).is_ok_and(|found| found.id == *id),
        Err(_) => false,
    }
}

/// Fills an absent directory; what it starts there holds the file.
type Build<'a> = dyn FnMut(&Path, &File, &mut dyn FnMut(Progress)) -> Result<Interpreter, EnvironmentError> + 'a;

/// Returns the directory `name` of the cache, built by `build` unless it is there and complete.
///
/// `build` gets the directory, absent, and the open lock file, which every program that writes there must hold. It
/// returns the interpreter that it used. Two callers at once, in one process or several, build once.
///
/// # Errors
/// Those of `build`; [`EnvironmentError::Cache`] if the cache cannot be read, written or locked.
pub(crate) fn built_once(
    sys: &Sys,
    cache: &Path,
    name: &str,
    id: &InterpreterId,
    progress: &mut dyn FnMut(Progress),
    build: &mut Build<'_>,
) -> Result<PathBuf, EnvironmentError> {
    let prefix = cache.join(name);
    if is_complete(sys, &prefix, id) {
        return Ok(prefix);
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => EnvironmentError::DiskFull { path },
            _ => EnvironmentError::Cache { path, source },
        }
    };
    sys.fs.create_dir_all(cache).map_err(failed(cache))?;
    let lock_path = cache.join(format!("{name}.lock"));
    let held = hold(&lock_path, progress).map_err(failed(&lock_path))?;
    if is_complete(sys, &prefix, id) {
        return Ok(prefix);
    }
    remove(sys, &prefix).map_err(failed(&prefix))?;
    match build(&prefix, &held, progress) {
        Ok(interpreter) => {
            finish(sys, &prefix, &interpreter.path).map_err(failed(&prefix))?;
            Ok(prefix)
        }
        Err(error) => {
            // What is left is never used; it goes now for the room it takes, or before the next building.
            let _ = remove(sys, &prefix);
            Err(error)
        }
    }
}

/// Returns the lock file, exclusively locked until the last copy of it is closed, those in child processes included.
fn hold(path: &Path, progress: &mut dyn FnMut(Progress)) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => progress(Progress::Waiting),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done.map(|()| file),
        }
    }
}

/// Removes a directory, the marker first: a removal that is cut short leaves nothing that looks complete.
fn remove(sys: &Sys, prefix: &Path) -> io::Result<()> {
    match sys.fs.remove_file(&prefix.join(COMPLETE)) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(error);
        }
        _ => {}
    }
    sys.fs.remove_dir_all(prefix)
}

/// Makes all that was built durable, then marks it complete.
fn finish(sys: &Sys, prefix: &Path, base: &Path) -> io::Result<()> {
    let marker = serde_json::to_vec(&Marker::of(base)?).map_err(io::Error::other)?;
    sync_file_system(prefix)?;
    let hidden = prefix.join(".complete.tmp");
    let mut file = sys.fs.create_new(&hidden)?;
    file.write_all(&marker)?;
    file.sync()?;
    drop(file);
    sys.fs.rename(&hidden, &prefix.join(COMPLETE))?;
    sys.fs.sync_dir(prefix)
}

/// Makes thousands of files durable in one call.
fn sync_file_system(prefix: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(File::open(prefix)?)?;
    #[cfg(not(target_os = "linux"))]
    {
        let _ = prefix;
        rustix::fs::sync();
    }
    Ok(())
}
