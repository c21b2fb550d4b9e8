//! The declared code: which files, their digest, and a directory that holds exactly them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use prunella_model::{Artifact, ArtifactKind, Digest, Tree, TreeEntry, TreeNode, tree_digest};
use prunella_sys::Sys;

use super::files::Beside;
use crate::error::CliError;

/// Code that some steps see.
#[derive(Debug, Clone)]
pub struct Code {
    /// What it is.
    pub artifact: Artifact,
    files: Vec<(String, Vec<u8>, bool)>,
}

/// Returns the code that these patterns name: an empty tree if there are none.
///
/// # Errors
/// [`CliError`] for a file that cannot be read, or a set of names that cannot be one tree.
pub fn collect(base: &Path, beside: &Beside, patterns: &[String]) -> Result<Code, CliError> {
    let paths: BTreeSet<&str> = patterns.iter().flat_map(|pattern| beside.matching(pattern)).collect();
    let (mut entries, mut files, mut directories) = (Vec::new(), Vec::new(), BTreeSet::new());
    for path in paths {
        let full = base.join(path);
        let bytes = std::fs::read(&full).map_err(CliError::io(&full))?;
        let meta = std::fs::metadata(&full).map_err(CliError::io(&full))?;
        let executable = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o100 != 0;
        let mut parent = path;
        while let Some((above, _)) = parent.rsplit_once('/') {
            directories.insert(above.to_owned());
            parent = above;
        }
        let node = TreeNode::File { digest: Digest::of(&bytes), size_bytes: bytes.len() as u64, executable };
        entries.push(TreeEntry { path: path.to_owned(), node });
        files.push((path.to_owned(), bytes, executable));
    }
    entries.extend(directories.into_iter().map(|path| TreeEntry { path, node: TreeNode::Directory }));
    let tree = Tree::new(entries).map_err(|error| CliError::Refused(format!("the code: {error}"), None))?;
    let artifact = Artifact { kind: ArtifactKind::Tree, digest: tree_digest(&tree), size_bytes: tree.size_bytes() };
    Ok(Code { artifact, files })
}

impl Code {
    /// Writes exactly this code below a new directory `to`.
    ///
    /// # Errors
    /// [`CliError::Io`] if it cannot be written.
    pub fn lay_out(&self, sys: &Sys, to: &Path) -> Result<(), CliError> {
        sys.fs.create_dir_all(to).map_err(CliError::io(to))?;
        for (path, bytes, executable) in &self.files {
            let full: PathBuf = to.join(path);
            if let Some(parent) = full.parent() {
                sys.fs.create_dir_all(parent).map_err(CliError::io(parent))?;
            }
            let written = sys.fs.create_new(&full).and_then(|mut file| std::io::Write::write_all(&mut file, bytes));
            written.map_err(CliError::io(&full))?;
            if *executable {
                sys.fs.set_executable(&full, true).map_err(CliError::io(&full))?;
            }
        }
        Ok(())
    }
}
