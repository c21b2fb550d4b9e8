//! A lock on a directory that dies with its process.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
};

use crate::fs::DirLock;

/// Held by the open file; the operating system lets it go when the process dies.
struct Held(File);

impl DirLock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing is not enough: a child that is being started beside may have a copy for a moment.
        let _closed_next = self.0.unlock();
    }
}

/// The file that stands for the directory where directories cannot be locked (NFS).
const STAND_IN: &str = ".prunella-lock";

/// Takes the directory; nothing if somebody has it.
pub(crate) fn try_lock_dir(path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
    match taken(File::open(path)?) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => stand_in(path),
        answer => answer,
    }
}

fn stand_in(path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
    taken(OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path.join(STAND_IN))?)
}

fn taken(file: File) -> io::Result<Option<Box<dyn DirLock>>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(Box::new(Held(file)))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_at_a_time_and_the_next_one_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        for take in [try_lock_dir, stand_in] {
            let first = take(dir.path()).unwrap().expect("nobody has it");
            assert!(take(dir.path()).unwrap().is_none());
            drop(first);
            assert!(take(dir.path()).unwrap().is_some());
        }
        assert_eq!(try_lock_dir(&dir.path().join("absent")).err().map(|e| e.kind()), Some(io::ErrorKind::NotFound));
    }
}
