//! What lies below a directory: the one walker of trees, for outputs, checkpoints and data.

use std::{
    ffi::OsString,
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use prunella_model::shown;
use prunella_sys::{FileKind, Fs, Meta};

use crate::StoreError;

/// How many problems are told at once.
pub(crate) const MOST_REFUSALS: usize = 20;

/// What a tree may not hold: all of it, up to a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// The problems, each naming its path.
    pub problems: Vec<String>,
    /// Whether there may be more.
    pub more: bool,
}

impl Refusals {
    pub(crate) fn of(problems: impl IntoIterator<Item = String>) -> Self {
        let problems: Vec<String> = problems.into_iter().take(MOST_REFUSALS).collect();
        Self { more: problems.len() == MOST_REFUSALS, problems }
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))?;
        if self.more { f.write_str("; and perhaps more") } else { Ok(()) }
    }
}

/// One thing that was found, by its path relative to the root.
#[derive(Debug, Clone)]
pub(crate) struct Walked {
    pub path: String,
    pub what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Directory,
    Symlink(String),
    File(Stat),
}

/// What tells whether a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub size: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub inode: u64,
    pub device: u64,
    pub executable: bool,
}

impl Stat {
    pub(crate) fn of(meta: &Meta) -> Self {
        // Nanoseconds since 1970 fit until the year 2262.
        let time = |ns: i128| i64::try_from(ns).unwrap_or(i64::MAX);
        Self {
            size: meta.len,
            mtime_ns: time(meta.mtime_ns),
            ctime_ns: time(meta.ctime_ns),
            inode: meta.ino,
            device: meta.dev,
            executable: meta.mode_exec,
        }
    }
}

/// Returns everything below `root`, byte-sorted by path; no link is followed.
///
/// # Errors
/// [`StoreError::Tree`] names all that no tree may hold, up to a bound.
pub(crate) fn walk(fs: &dyn Fs, root: &Path) -> Result<Vec<Walked>, StoreError> {
    let (mut found, mut refused, mut left) = (Vec::new(), Vec::new(), vec![String::new()]);
    while let Some(directory) = left.pop() {
        let here = if directory.is_empty() { root.to_owned() } else { root.join(&directory) };
        for entry in fs.list(&here).map_err(StoreError::io(&here))? {
            match enter(fs, &here, &directory, entry.name, entry.kind)? {
                Ok(walked) => {
                    if matches!(walked.what, What::Directory) {
                        left.push(walked.path.clone());
                    }
                    found.push(walked);
                }
                Err(refusal) => refused.push(refusal),
            }
            if refused.len() == MOST_REFUSALS {
                left.clear();
                break;
            }
        }
    }
    if refused.is_empty() {
        found.sort_unstable_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        return Ok(found);
    }
    refused.sort();
    Err(StoreError::Tree { path: root.to_owned(), refusals: Refusals::of(refused) })
}

/// Answers what stands there, or why no tree may hold it.
fn enter(
    fs: &dyn Fs,
    here: &Path,
    directory: &str,
    name: OsString,
    kind: FileKind,
) -> Result<Result<Walked, String>, StoreError> {
    let full: PathBuf = here.join(&name);
    let refused = |problem: &str| {
        let at = [directory.as_bytes(), if directory.is_empty() { b"" } else { b"/" }, name.as_bytes()].concat();
        Ok(Err(format!("`{}`: {problem}", shown(&at))))
    };
    let Some(text) = name.to_str() else { return refused("its name is not UTF-8") };
    let path = if directory.is_empty() { text.to_owned() } else { format!("{directory}/{text}") };
    let what = match kind {
        FileKind::Dir => What::Directory,
        FileKind::File => match fs.metadata(&full).map_err(StoreError::io(&full))? {
            Some(meta) if meta.kind == FileKind::File => What::File(Stat::of(&meta)),
            Some(_) | None => return refused("it was changed while it was being read"),
        },
        FileKind::Symlink => match fs.read_link(&full).map_err(StoreError::io(&full))?.to_str() {
            Some(target) => What::Symlink(target.to_owned()),
            None => return refused("where it leads is not UTF-8"),
        },
        FileKind::Special => return refused("it is a socket, pipe or device"),
    };
    Ok(Ok(Walked { path, what }))
}
