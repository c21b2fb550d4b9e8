//! How a record names an artifact and where it lies.

use prunella_model::{Artifact, ArtifactKind};
use serde::{Deserialize, Serialize};

/// An artifact and the object that holds it: a file's bytes, or the manifest of a tree or of a file in chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct StoredArtifact {
    /// What it is.
    pub artifact: Artifact,
    /// The object's key.
    pub object: String,
    /// Whether a single file was executable; a tree's manifest says it of each of its files.
    pub executable: bool,
    /// Whether a single file lies in chunks: its object is a manifest, as that of a tree always is.
    pub in_chunks: bool,
}

impl StoredArtifact {
    /// Returns whether its object is a manifest.
    pub fn has_manifest(&self) -> bool {
        self.artifact.kind == ArtifactKind::Tree || self.in_chunks
    }
}

/// As it is written. A program that knows of no chunks misses `object` and refuses the record.
#[derive(Clone, Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    artifact: Artifact,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chunks: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    executable: bool,
}

impl From<StoredArtifact> for Written {
    fn from(StoredArtifact { artifact, object, executable, in_chunks }: StoredArtifact) -> Self {
        let (object, chunks) = if in_chunks { (None, Some(object)) } else { (Some(object), None) };
        Self { artifact, object, chunks, executable }
    }
}

impl TryFrom<Written> for StoredArtifact {
    type Error = &'static str;

    fn try_from(Written { artifact, object, chunks, executable }: Written) -> Result<Self, Self::Error> {
        let (object, in_chunks) = match (object, chunks) {
            (Some(object), None) => (object, false),
            (None, Some(chunks)) if artifact.kind == ArtifactKind::File => (chunks, true),
            (None, Some(_)) => return Err("only a single file has `chunks` in place of `object`"),
            (None, None) => return Err("missing field `object`"),
            (Some(_), Some(_)) => return Err("there are both `object` and `chunks`"),
        };
        Ok(Self { artifact, object, executable, in_chunks })
    }
}
