//! A tree of files: exchanged with what is at its target, in one step.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use prunella_model::{Digest, EffectHow, Tree, TreeEntry, TreeNode, tree_digest};
use prunella_sys::{FileKind, Fs, blocking};

use super::{Overwrite, Place};
use crate::{Store, StoreError, hashing::hash_file, records::StoredArtifact};

impl Store {
    pub(super) async fn make_tree(&self, stored: &StoredArtifact, part: &Path) -> Result<(), StoreError> {
        self.lay_out_outside(stored, part).await?;
        if digest_of(&self.sys.fs, part).await? != Some(stored.artifact.digest) {
            return Err(StoreError::io(part)(io::Error::other("what was written reads back as something else")));
        }
        self.sync_tree(part).await
    }

    /// Afterwards what was at the target lies under the name of the part.
    pub(super) fn show_tree(&self, at: &Place<'_>, part: &Path) -> Result<EffectHow, StoreError> {
        let fs = &self.sys.fs;
        // I3: either of these is the one operation that readers see. What does not ask for the lock may remove it meanwhile.
        let how = loop {
            if fs.rename_noreplace(part, at.target).map_err(StoreError::io(at.target))? {
                break EffectHow::Created;
            }
            match fs.exchange(part, at.target) {
                Ok(()) => break EffectHow::Replaced,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    return Err(at.occupied("this file system cannot exchange two directories in one step"));
                }
                Err(error) => return Err(StoreError::io(at.target)(error)),
            }
        };
        fs.sync_dir(at.parent()).map_err(StoreError::io(at.parent()))?;
        Ok(how)
    }

    /// Returns whether the tree is at the target already; an error if what is there may not be replaced.
    pub(super) async fn tree_stays(&self, at: &Place<'_>, stored: &StoredArtifact) -> Result<bool, StoreError> {
        let fs = self.sys.fs.clone();
        match fs.metadata(at.target).map_err(StoreError::io(at.target))?.map(|meta| meta.kind) {
            None => Ok(false),
            Some(FileKind::Dir) => {
                let there = digest_of(&fs, at.target).await?;
                if there == Some(stored.artifact.digest) {
                    // Whoever put it there may have died before it was durable.
                    self.sync_tree(at.target).await?;
                    fs.sync_dir(at.parent()).map_err(StoreError::io(at.parent()))?;
                    return Ok(true);
                }
                let empty = fs.list(at.target).map_err(StoreError::io(at.target))?.is_empty();
                let ours = match at.overwrite {
                    Overwrite::Anything => true,
                    Overwrite::Files(trees) => there.is_some_and(|there| trees.contains(&there)),
                };
                if empty || ours {
                    return Ok(false);
                }
                Err(at.occupied("a directory is there that no run of this pipeline published, and it is not empty"))
            }
            Some(FileKind::File | FileKind::Symlink | FileKind::Special) => {
                Err(at.occupied("something is there that is no directory, and the artifact is a tree"))
            }
        }
    }

    /// Makes a tree durable: every file, and every directory after what is in it.
    async fn sync_tree(&self, root: &Path) -> Result<(), StoreError> {
        let (fs, from) = (self.sys.fs.clone(), root.to_owned());
        blocking(move || {
            let mut left = vec![from];
            let mut directories = Vec::new();
            while let Some(directory) = left.pop() {
                for entry in fs.list(&directory)? {
                    let path = directory.join(&entry.name);
                    match entry.kind {
                        FileKind::Dir => left.push(path),
                        FileKind::File => fs.sync_file(&path)?,
                        FileKind::Symlink | FileKind::Special => {}
                    }
                }
                directories.push(directory);
            }
            directories.iter().rev().try_for_each(|directory| fs.sync_dir(directory))
        })
        .await
        .map_err(StoreError::io(root))
    }
}

/// Returns the digest of the tree at `root`; nothing if what is there cannot be an artifact.
async fn digest_of(fs: &Arc<dyn Fs>, root: &Path) -> Result<Option<Digest>, StoreError> {
    let (fs, from) = (fs.clone(), root.to_owned());
    blocking(move || digest_at(&*fs, &from)).await.map_err(StoreError::io(root))
}

fn digest_at(fs: &dyn Fs, root: &Path) -> io::Result<Option<Digest>> {
    let mut entries = Vec::new();
    let mut left = vec![(root.to_owned(), String::new())];
    while let Some((directory, prefix)) = left.pop() {
        for entry in fs.list(&directory)? {
            let Ok(name) = entry.name.into_string() else { return Ok(None) };
            let full: PathBuf = directory.join(&name);
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            let node = match entry.kind {
                FileKind::Dir => {
                    left.push((full, path.clone()));
                    TreeNode::Directory
                }
                FileKind::File => {
                    let (digest, size_bytes) = hash_file(fs, &full, 1)?;
                    let executable = fs.metadata(&full)?.is_some_and(|meta| meta.mode_exec);
                    TreeNode::File { digest, size_bytes, executable }
                }
                FileKind::Symlink => match fs.read_link(&full)?.into_os_string().into_string() {
                    Ok(target) => TreeNode::Symlink { target },
                    Err(_) => return Ok(None),
                },
                FileKind::Special => return Ok(None),
            };
            entries.push(TreeEntry { path, node });
        }
    }
    Ok(Tree::new(entries).ok().map(|tree| tree_digest(&tree)))
}
