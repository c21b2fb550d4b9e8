//! Artifacts, known by the digest of their content.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// Whether an artifact is one file or a tree of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactKind {
    /// One regular file.
    File,
    /// A directory and all that is in it.
    Tree,
}

/// The content of a named output: what it is, not where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Artifact {
    /// File or tree.
    pub kind: ArtifactKind,
    /// BLAKE3 of the bytes of a file, or [`crate::tree_digest`] of a tree.
    pub digest: Digest,
    /// Bytes in the file, or in all files of the tree.
    pub size_bytes: u64,
}
