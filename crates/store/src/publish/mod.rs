//! Putting an artifact at a path for others to read: at every instant nothing, the old one whole, or the new one whole (I3).
//!
//! Everything is made beside the target under a name that nobody takes for it, read back, verified and made durable; then
//! one operation of the file system shows it: a rename for a file, an exchange for a tree.

mod file;
mod leftovers;
mod tree;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use prunella_model::{ArtifactKind, Digest, EffectHow, RunId};

use crate::{Store, StoreError, records::StoredArtifact};

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

    fn occupied(&self, problem: impl Into<String>) -> StoreError {
        StoreError::Occupied { path: self.target.to_owned(), problem: problem.into() }
    }
}

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
        let doer = Self::new(self.objects.clone(), self.sys.clone());
        doer.put_in_place(&Place { run, target, base: None, overwrite }, stored).await
    }

    /// Puts an artifact at a path: whole, verified and durable, or not at all.
    pub(crate) async fn put_in_place(&self, at: &Place<'_>, stored: &StoredArtifact) -> Result<EffectHow, StoreError> {
        self.make_parents(at)?;
        self.remove_leftovers(at).await?;
        let part = self.part(at);
        let done = match stored.artifact.kind {
            ArtifactKind::File => self.put_file(at, stored, &part).await,
            ArtifactKind::Tree => self.put_tree(at, stored, &part).await,
        };
        if done.is_err() {
            // The target is as it was; the next one removes what cannot be removed now.
            let _left_over = self.remove(&part);
        }
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
