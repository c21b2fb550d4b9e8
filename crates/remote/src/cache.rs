//! Objects that were read on this machine, kept for whoever reads them next.
//!
//! No object's name is ever used twice (protocol: I8), so that a copy is never stale: it is right, or damaged. Whoever finds
//! damage reads past the cache before believing it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use prunella_objects::ObjectKey;
use prunella_sys::{FileKind, FsRead, Sys, random_hex};

/// A directory of copies.
#[derive(Clone)]
pub(crate) struct Cache {
    sys: Sys,
    dir: PathBuf,
}

/// Whether what is read stays as a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// For whoever reads it next.
    Copy,
    /// It goes when its reader is done.
    Nothing,
}

/// A copy that is being written; nobody sees it until it is complete.
pub(crate) struct Filling {
    sys: Sys,
    part: PathBuf,
    /// Where it stays; nothing if it goes with its reader.
    place: Option<PathBuf>,
    file: Box<dyn prunella_sys::FsFile>,
    bytes: u64,
}

/// Which objects are being copied, so that many readers of one make one copy.
#[derive(Clone, Default)]
pub(crate) struct Copying(Arc<Mutex<HashMap<ObjectKey, Weak<tokio::sync::Mutex<()>>>>>);

impl Copying {
    /// Waits until nobody else copies the object.
    pub(crate) async fn turn(&self, key: &ObjectKey) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut copying = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            copying.retain(|_, lock| lock.strong_count() > 0);
            let known = copying.get(key).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::default();
                copying.insert(key.clone(), Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }
}

impl Cache {
    /// Returns the copies of the store with this id, below `base`.
    pub(crate) fn new(sys: &Sys, base: &Path, store_id: &str) -> Self {
        Self { sys: sys.clone(), dir: base.join(store_id) }
    }

    fn place(&self, key: &ObjectKey) -> Option<PathBuf> {
        // A name may have 255 bytes on most file systems.
        key.as_str().split('/').all(|segment| segment.len() <= 200).then(|| self.dir.join(key.as_str()))
    }

    /// Opens the copy of an object.
    pub(crate) fn open(&self, key: &ObjectKey) -> Option<(Box<dyn FsRead>, u64)> {
        let place = self.place(key)?;
        let meta = self.sys.fs.metadata(&place).ok()??;
        Some((self.sys.fs.open_read(&place).ok()?, meta.len))
    }

    /// Forgets the copy of an object.
    ///
    /// Returns whether there was one.
    pub(crate) fn forget(&self, key: &ObjectKey) -> bool {
        self.place(key).is_some_and(|place| self.sys.fs.remove_file(&place).is_ok())
    }

    /// Begins a copy.
    ///
    /// # Errors
    /// What the file system says; the object can be read without a copy then only if it is small.
    pub(crate) fn fill(&self, key: &ObjectKey, keep: Keep) -> std::io::Result<Filling> {
        let part = self.dir.join("part").join(random_hex(&*self.sys.random, 16));
        let place = self.place(key).filter(|_| keep == Keep::Copy);
        self.sys.fs.create_dir_all(&self.dir.join("part"))?;
        let file = self.sys.fs.create_new(&part)?;
        Ok(Filling { sys: self.sys.clone(), part, place, file, bytes: 0 })
    }

    /// Keeps a small object that was just written or read.
    pub(crate) fn keep(&self, key: &ObjectKey, bytes: &Bytes) {
        // Without a copy, the next reader asks the store.
        let _not_kept = self.fill(key, Keep::Copy).and_then(|mut filling| {
            filling.write(bytes)?;
            filling.done().map(drop)
        });
    }

    /// Removes the oldest above `limit` bytes: copies, and parts that a writer left that was killed.
    pub(crate) fn shrink(&self, limit: u64) {
        let mut copies = Vec::new();
        self.walk(&self.dir, &mut copies);
        copies.sort();
        let mut all: u64 = copies.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in copies {
            if all <= limit {
                break;
            }
            // Whoever has it open goes on reading it.
            let _gone = self.sys.fs.remove_file(&path);
            all -= size;
        }
    }

    fn walk(&self, dir: &Path, copies: &mut Vec<(i128, u64, PathBuf)>) {
        for entry in self.sys.fs.list(dir).unwrap_or_default() {
            let path = dir.join(&entry.name);
            match self.sys.fs.metadata(&path) {
                Ok(Some(meta)) if meta.kind == FileKind::Dir => self.walk(&path, copies),
                Ok(Some(meta)) => copies.push((meta.mtime_ns, meta.len, path)),
                _ => {}
            }
        }
    }
}

impl Filling {
    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        use std::io::Write;
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Completes the copy and opens it.
    ///
    /// It is not synced: after a loss of power it may be damaged, and readers verify what they read.
    pub(crate) fn done(mut self) -> std::io::Result<(Box<dyn FsRead>, u64)> {
        use std::io::Write;
        self.file.flush()?;
        let reader = self.sys.fs.open_read(&self.part)?;
        if let Some(place) = &self.place {
            // Where it cannot stay, it is read all the same.
            let parent = place.parent().unwrap_or(Path::new("."));
            let _not_kept = self
                .sys
                .fs
                .create_dir_all(parent)
                .and_then(|_| self.sys.fs.set_mode(&self.part, 0o444))
                .and_then(|()| self.sys.fs.rename(&self.part, place));
        }
        Ok((reader, self.bytes))
    }
}

/// What was renamed into place, and what was given up, has no part any more.
impl Drop for Filling {
    fn drop(&mut self) {
        // Whoever has it open goes on reading it.
        let _renamed = self.sys.fs.remove_file(&self.part);
    }
}
