//! Putting an artifact at a path for others to read: at every instant nothing, the old one whole, or the new one whole (I3).
//!
//! Everything is made beside the target under a name that nobody takes for it, read back, verified and made durable; then
//! one operation of the file system shows it: a rename for a file, an exchange for a tree. That one is done under a lock on
//! the target's directory, which dies with its process.

mod bucket;
mod file;
mod heads;
mod leftovers;
mod mirror;
mod tree;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use prunella_model::{ArtifactKind, Digest, EffectHow, RunId};
use prunella_sys::DirLock;

use crate::{Store, StoreError, records::StoredArtifact};

pub(crate) use bucket::Outside;
pub use heads::HeadRecord;

/// What may be replaced at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overwrite {
    /// A file, as every build tool does it; a directory only if it is empty, or is one of these trees to the byte.
    Files(BTreeSet<Digest>),
    /// A directory with what is in it, too.
    Anything,
}

/// Where an artifact is put, and for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub run: &'a RunId,
    pub target: &'a Path,
    /// The directory that is never made.
    pub base: Option<&'a Path>,
    pub overwrite: &'a Overwrite,
}

impl Place<'_> {
    fn parent(&self) -> &Path {
        match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    pub(crate) fn occupied(&self, problem: impl Into<String>) -> StoreError {
        StoreError::Occupied { path: self.target.to_owned(), problem: problem.into() }
    }
}

/// How long somebody may have the directory before this counts as a failure: what is done under the lock is short.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before asking for the lock again.
const ASK_AGAIN: Duration = Duration::from_millis(5);

impl Store {
    /// Puts an artifact at a path, as a run publishes it, without being one of its effects.
    ///
    /// # Errors
    /// As [`Store::do_effect`].
    pub async fn publish(
        &self,
        run: &RunId,
        stored: &StoredArtifact,
        target: &Path,
        overwrite: &Overwrite,
    ) -> Result<EffectHow, StoreError> {
        let doer = self.another();
        let at = Place { run, target, base: None, overwrite };
        let lock = doer.lock(&at).await?;
        doer.remove_leftovers(&at).await?;
        if doer.stays(&at, stored).await? {
            return Ok(EffectHow::Unchanged);
        }
        drop(lock);
        let part = doer.make(&at, stored).await?;
        let lock = doer.lock(&at).await?;
        let how = doer.show(&at, stored, &part).await;
        drop(lock);
        doer.tidy(&part, how)
    }

    /// Takes the directory of the target, and makes it first where it is missing.
    ///
    /// Whoever has it may change what is at the target; for long work it is let go.
    pub(crate) async fn lock(&self, at: &Place<'_>) -> Result<Box<dyn DirLock>, StoreError> {
        self.make_parents(at)?;
        let since = self.sys.clock.monotonic();
        loop {
            if let Some(lock) = self.sys.fs.try_lock_dir(at.parent()).map_err(StoreError::io(at.parent()))? {
                return Ok(lock);
            }
            if self.sys.clock.monotonic().saturating_sub(since) > PATIENCE {
                let why = format!("somebody has been publishing there for {} s", PATIENCE.as_secs());
                return Err(StoreError::io(at.parent())(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
            self.sys.clock.sleep(ASK_AGAIN).await;
        }
    }

    /// Returns whether the artifact is at the target already; an error if what is there may not be replaced.
    pub(crate) async fn stays(&self, at: &Place<'_>, stored: &StoredArtifact) -> Result<bool, StoreError> {
        match stored.artifact.kind {
            ArtifactKind::File => self.file_stays(at, stored).await,
            ArtifactKind::Tree => self.tree_stays(at, stored).await,
        }
    }

    /// Makes the artifact beside the target, verified and durable, and returns where.
    pub(crate) async fn make(&self, at: &Place<'_>, stored: &StoredArtifact) -> Result<PathBuf, StoreError> {
        self.make_parents(at)?;
        self.remove_leftovers(at).await?;
        let part = self.part(at);
        let made = match stored.artifact.kind {
            ArtifactKind::File => self.make_file(stored, &part).await,
            ArtifactKind::Tree => self.make_tree(stored, &part).await,
        };
        match made {
            Ok(()) => Ok(part),
            Err(error) => self.tidy(&part, Err(error)),
        }
    }

    /// Shows what was made at the target, in one step; the lock is held.
    pub(crate) async fn show(
        &self,
        at: &Place<'_>,
        stored: &StoredArtifact,
        part: &Path,
    ) -> Result<EffectHow, StoreError> {
        // Something may have come there meanwhile.
        if self.stays(at, stored).await? {
            return Ok(EffectHow::Unchanged);
        }
        match stored.artifact.kind {
            ArtifactKind::File => self.show_file(at, part),
            ArtifactKind::Tree => self.show_tree(at, part),
        }
    }

    /// Removes what lies under the name of the part: something unfinished, or what was at the target before.
    ///
    /// What cannot be removed now is removed by the next one; the target is not touched.
    pub(crate) fn tidy<T>(&self, part: &Path, done: Result<T, StoreError>) -> Result<T, StoreError> {
        let _left_over = self.remove(part);
        done
    }

    /// Makes the directories that are missing, but never the project's own: one that is gone was moved away.
    fn make_parents(&self, at: &Place<'_>) -> Result<(), StoreError> {
        let fs = &self.sys.fs;
        if let Some(base) = at.base.filter(|base| at.target.starts_with(base))
            && fs.metadata(base).map_err(StoreError::io(base))?.is_none()
        {
            return Err(at.occupied(format!("the directory of the pipeline file, `{}`, is not there", base.display())));
        }
        fs.create_dir_all_durable(at.parent()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                at.occupied(format!("`{}` is not a directory", at.parent().display()))
            }
            _ => StoreError::io(at.parent())(error),
        })
    }

    /// Returns the name under which this writer makes what it is about to publish.
    fn part(&self, at: &Place<'_>) -> PathBuf {
        at.parent().join(format!("tmp-{}-{}-{}.part", at.run, self.sys.machine.pid(), self.writer.as_str()))
    }

    fn remove(&self, path: &Path) -> Result<(), StoreError> {
        let fs = &self.sys.fs;
        match fs.metadata(path).map_err(StoreError::io(path))?.map(|meta| meta.kind) {
            None => Ok(()),
            Some(prunella_sys::FileKind::Dir) => fs.remove_dir_all(path).map_err(StoreError::io(path)),
            Some(_) => fs.remove_file(path).map_err(StoreError::io(path)),
        }
    }
}
