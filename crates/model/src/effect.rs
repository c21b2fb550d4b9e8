//! Effects: what is done to the outside for a run, once (protocol: Effects).

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{Digest, Encoder, StepKey};

/// Where an output is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// A path relative to the directory of the pipeline file, or an absolute one; no `.` or `..` in it. Or the address of a place
    /// in a bucket.
    pub path: String,
    /// Whether a tree in a bucket is overwritten file by file, which is not atomic.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mirror: bool,
}

impl Publication {
    /// Returns the place that every run of the project means by it; `base` is the directory of the pipeline file.
    pub fn target(&self, base: &Path) -> Target {
        match is_address(&self.path) {
            true => Target::Bucket(self.path.clone()),
            // An absolute path replaces the base.
            false => Target::Path(base.join(&self.path)),
        }
    }
}

/// How the address of a directory or file of this machine begins.
pub const FOLDER: &str = "dir://";

/// Returns whether a text names a place in a bucket, and not a path.
pub fn is_address(text: &str) -> bool {
    ["s3://", "gs://", "az://"].iter().any(|scheme| text.starts_with(scheme))
}

/// The place of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A path of this machine, absolute.
    Path(PathBuf),
    /// The address of a place in a bucket.
    Bucket(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Bucket(url) => f.write_str(url),
        }
    }
}

/// What kind of thing is done to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EffectKind {
    /// An artifact is put where others read it.
    Publication,
}

impl EffectKind {
    /// Returns the name that enters the identity of an effect.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publication => "publication",
        }
    }
}

/// How an effect came to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EffectHow {
    /// The right bytes were there.
    Unchanged,
    /// Nothing was there before.
    Created,
    /// What was there was replaced in one step.
    Replaced,
    /// A newer run's artifact is, or was put, there: an older run never replaces it.
    Superseded,
}

impl EffectHow {
    /// Returns its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Created => "created",
            Self::Replaced => "replaced",
            Self::Superseded => "superseded",
        }
    }
}

/// The identity of an effect within its run: the digest of what is done, where, and with what.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EffectId(Digest);

impl EffectId {
    /// Returns the identity of the effect of this kind on `target`, for the artifact of this digest made under `key`.
    pub fn of(kind: EffectKind, target: &str, key: &StepKey, artifact: &Digest) -> Self {
        let mut e = Encoder::new("prunella-effect-1");
        e.text(kind.as_str()).text(target).digest(&key.0).digest(artifact);
        Self(e.finish())
    }

    /// Returns the 64 hex digits of its name.
    pub fn hex(&self) -> String {
        self.0.hex()
    }

    /// Reads 64 hex digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        Digest::from_hex(hex).ok().map(Self)
    }
}

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.short())
    }
}

impl fmt::Debug for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(target: &str, key: &[u8], artifact: &[u8]) -> EffectId {
        EffectId::of(EffectKind::Publication, target, &StepKey(Digest::of(key)), &Digest::of(artifact))
    }

    #[test]
    fn an_effect_is_another_for_another_target_key_or_artifact_and_for_nothing_else() {
        let one = id("/p/out", b"k", b"a");
        assert_eq!(one, id("/p/out", b"k", b"a"));
        for other in [id("/p/other", b"k", b"a"), id("/p/out", b"l", b"a"), id("/p/out", b"k", b"b")] {
            assert_ne!(one, other);
        }
        assert_eq!(EffectId::from_hex(&one.hex()), Some(one));
    }

    #[test]
    fn a_relative_path_lies_beside_the_pipeline_file_and_an_absolute_one_where_it_says() {
        let target = |path: &str| Publication { path: path.to_owned(), mirror: false }.target(Path::new("/p"));
        let path = |path: &str| Target::Path(path.into());
        assert_eq!(target("out/report.html"), path("/p/out/report.html"));
        assert_eq!(target("/srv/report.html"), path("/srv/report.html"));
        assert_eq!(target("s3://lake/report.html"), Target::Bucket("s3://lake/report.html".to_owned()));
    }
}
