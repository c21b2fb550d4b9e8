//! One file: renamed onto its target.

use std::{io, path::Path, sync::Arc};

use prunella_model::{Digest, EffectHow};
use prunella_sys::{FileKind, Fs, blocking, mutated};

use super::Place;
use crate::{Store, StoreError, hashing::hash_file, records::StoredArtifact};

impl Store {
    /// Returns whether the file is at the target already; an error if what is there may not be replaced.
    pub(super) async fn file_stays(&self, at: &Place<'_>, stored: &StoredArtifact) -> Result<bool, StoreError> {
        let fs = self.sys.fs.clone();
        let meta = fs.metadata(at.target).map_err(StoreError::io(at.target))?;
        match meta.as_ref().map(|meta| meta.kind) {
            Some(FileKind::Dir) => return Err(at.occupied("a directory is there, and the artifact is a file")),
            Some(FileKind::Special) => return Err(at.occupied("a socket, pipe or device is there")),
            None | Some(FileKind::File | FileKind::Symlink) => {}
        }
        let alike = meta
            .filter(|meta| meta.kind == FileKind::File)
            .is_some_and(|meta| (meta.len, meta.mode_exec) == (stored.artifact.size_bytes, stored.executable));
        if !alike || read_back(&fs, at.target).await? != stored.artifact.digest {
            return Ok(false);
        }
        // Whoever put it there may have died before it was durable.
        fs.sync_file(at.target).map_err(StoreError::io(at.target))?;
        fs.sync_dir(at.parent()).map_err(StoreError::io(at.parent()))?;
        Ok(true)
    }

    pub(super) async fn make_file(&self, stored: &StoredArtifact, part: &Path) -> Result<(), StoreError> {
        let fs = self.sys.fs.clone();
        self.lay_out_outside(stored, part).await?;
        fs.set_executable(part, stored.executable).map_err(StoreError::io(part))?;
        if read_back(&fs, part).await? != stored.artifact.digest {
            return Err(StoreError::io(part)(io::Error::other("what was written reads back as something else")));
        }
        if mutated(8) { Ok(()) } else { fs.sync_file(part).map_err(StoreError::io(part)) }
    }

    pub(super) fn show_file(&self, at: &Place<'_>, part: &Path) -> Result<EffectHow, StoreError> {
        let fs = &self.sys.fs;
        let before = fs.metadata(at.target).map_err(StoreError::io(at.target))?;
        // I3: the one operation that readers see.
        fs.rename(part, at.target).map_err(StoreError::io(at.target))?;
        if !mutated(7) {
            fs.sync_dir(at.parent()).map_err(StoreError::io(at.parent()))?;
        }
        Ok(if before.is_some() { EffectHow::Replaced } else { EffectHow::Created })
    }
}

/// Returns the digest of a file as it is now.
async fn read_back(fs: &Arc<dyn Fs>, path: &Path) -> Result<Digest, StoreError> {
    let (fs, file) = (fs.clone(), path.to_owned());
    let (digest, _) = blocking(move || hash_file(&*fs, &file, 1)).await.map_err(StoreError::io(path))?;
    Ok(digest)
}
