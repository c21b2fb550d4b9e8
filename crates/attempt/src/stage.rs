//! Making a private copy of one moment of a checkpoint entry.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use prunella_sys::{FileKind, Fs, LeaseHeld, Meta, ReadLease};

/// What came of an attempt to copy an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Staged {
    /// One moment of it lies there, so many bytes.
    Whole(u64),
    /// It was being written to, or is gone: what lies there is worth nothing.
    Missed,
    /// The copy would have taken more than half of the space that is left: nothing worth keeping lies there.
    NoRoom {
        /// What it needs.
        bytes: u64,
        /// What is left.
        free: u64,
    },
}

/// Makes a private copy of one moment of the entry `from` at `to`.
///
/// Never a mixture of moments: each file is read under a read lease where the file system has them, otherwise its size,
/// times and inode are the same before and after; and of a folder, everything in it is the same before the first file was
/// read and after the last. A second name is given only to what the program sealed.
///
/// # Errors
/// If the disk refused.
pub(crate) fn stage(fs: &dyn Fs, from: &Path, to: &Path, sealed: bool) -> io::Result<Staged> {
    match copy_all(fs, from, to, sealed) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Staged::Missed),
        copied => copied,
    }
}

fn copy_all(fs: &dyn Fs, from: &Path, to: &Path, sealed: bool) -> io::Result<Staged> {
    let before = Census::of(fs, from)?;
    let Some(before) = before else { return Ok(Staged::Missed) };
    let bytes = before.bytes();
    let mut copier = Copier { fs, sealed, left: bytes, room: None };
    for (path, (meta, target)) in &before.0 {
        let (inner, copy) = (join(from, path), join(to, path));
        match (meta.kind, target) {
            (FileKind::Dir, _) => drop(fs.create_dir(&copy)?),
            (FileKind::Symlink, Some(target)) => fs.symlink(target, &copy)?,
            (FileKind::File, _) => match copier.file(&inner, &copy, meta)? {
                Staged::Whole(_) => {}
                other => return Ok(other),
            },
            (FileKind::Symlink | FileKind::Special, _) => return Ok(Staged::Missed),
        }
    }
    let alone = before.0.len() == 1;
    let after = match Census::of(fs, from) {
        // Removed while it was read: of a file, what was read is still one moment.
        Err(error) if alone && error.kind() == io::ErrorKind::NotFound => return Ok(Staged::Whole(bytes)),
        after => after?,
    };
    let same = after.is_some_and(|after| before.is_same(&after, sealed) || (alone && before.is_replaced_by(&after)));
    Ok(if same { Staged::Whole(bytes) } else { Staged::Missed })
}

fn join(base: &Path, relative: &Path) -> PathBuf {
    if relative.as_os_str().is_empty() { base.to_owned() } else { base.join(relative) }
}

/// Everything in an entry at one moment, by its path in it; the entry itself has the empty path.
struct Census(BTreeMap<PathBuf, (Meta, Option<PathBuf>)>);

impl Census {
    /// Looks at everything; nothing if there is something that no checkpoint can hold.
    fn of(fs: &dyn Fs, entry: &Path) -> io::Result<Option<Self>> {
        let mut census = Self(BTreeMap::new());
        let mut paths = vec![PathBuf::new()];
        while let Some(path) = paths.pop() {
            let at = join(entry, &path);
            let meta = fs.metadata(&at)?.ok_or(io::ErrorKind::NotFound)?;
            let target = match meta.kind {
                FileKind::Dir => {
                    paths.extend(fs.list(&at)?.into_iter().map(|entry| path.join(entry.name)));
                    None
                }
                FileKind::Symlink if !path.as_os_str().is_empty() => Some(fs.read_link(&at)?),
                FileKind::File => None,
                FileKind::Symlink | FileKind::Special => return Ok(None),
            };
            census.0.insert(path, (meta, target));
        }
        Ok(Some(census))
    }

    fn bytes(&self) -> u64 {
        self.0.values().filter(|(meta, _)| meta.kind == FileKind::File).map(|(meta, _)| meta.len).sum()
    }

    fn is_same(&self, after: &Self, sealed: bool) -> bool {
        self.0.len() == after.0.len()
            && self.0.iter().zip(&after.0).all(|((path, (meta, target)), (later, (meta_after, target_after)))| {
                let content = |meta: &Meta| (meta.kind, meta.len, meta.mtime_ns, meta.ino, meta.dev);
                // A second name changes the inode, not what is in it.
                let unchanged = if sealed { content(meta) == content(meta_after) } else { meta == meta_after };
                path == later && target == target_after && unchanged
            })
    }

    /// Whether another file was renamed onto a lone file while it was read: what was read is still one moment.
    fn is_replaced_by(&self, after: &Self) -> bool {
        let inode = |census: &Self| census.0.get(Path::new("")).map(|(meta, _)| (meta.kind, meta.ino));
        after.0.len() == 1 && inode(self) != inode(after)
    }
}

struct Copier<'a> {
    fs: &'a dyn Fs,
    sealed: bool,
    /// Bytes that are not copied yet.
    left: u64,
    /// What a copy may take of the disk, once it is known that it takes anything.
    room: Option<u64>,
}

impl Copier<'_> {
    fn file(&mut self, from: &Path, to: &Path, meta: &Meta) -> io::Result<Staged> {
        let fs = self.fs;
        if self.sealed {
            fs.hard_link(from, to)?;
            return Ok(Staged::Whole(meta.len));
        }
        let lease = match fs.read_lease(from)? {
            ReadLease::Granted(held) => Some(held),
            ReadLease::Writers => return Ok(Staged::Missed),
            ReadLease::Unsupported => None,
        };
        let before = fs.metadata(from)?;
        if !fs.reflink(from, to)? {
            if self.room.is_none() {
                let free = fs.free_space(to.parent().unwrap_or(to))?;
                self.room = Some(free / 2);
                if self.left > free / 2 {
                    return Ok(Staged::NoRoom { bytes: self.left, free });
                }
            }
            if !copy(fs, from, to, lease.as_ref())? {
                return Ok(Staged::Missed);
            }
        }
        self.left = self.left.saturating_sub(meta.len);
        let after = fs.metadata(from)?;
        let same = match (&before, &after) {
            // Removed or replaced while it was read: the moment that was read is still one moment.
            (Some(before), Some(after)) => before.ino != after.ino || before == after,
            _ => true,
        };
        if !same || !lease.as_ref().is_none_or(LeaseHeld::intact) {
            return Ok(Staged::Missed);
        }
        if meta.mode_exec {
            fs.set_executable(to, true)?;
        }
        Ok(Staged::Whole(meta.len))
    }
}

/// Copies a file; false if somebody asked to write to it meanwhile, who is then not held up any longer.
fn copy(fs: &dyn Fs, from: &Path, to: &Path, lease: Option<&LeaseHeld>) -> io::Result<bool> {
    let (mut source, mut target) = (fs.open_read(from)?, fs.create_new(to)?);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match io::Read::read(&mut source, &mut buffer)? {
            0 => return Ok(true),
            n => io::Write::write_all(&mut target, &buffer[..n])?,
        }
        if !lease.is_none_or(LeaseHeld::intact) {
            return Ok(false);
        }
    }
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
