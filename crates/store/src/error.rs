//! What can go wrong in the protocol, and what the caller must do.

use std::path::PathBuf;

use prunella_model::RunId;
use prunella_objects::{ObjectKey, ObjectsError};

use crate::walk::Refusals;

/// What a [`StoreError`] asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The same again later can succeed.
    TryAgain,
    /// Somebody has to make room, give access or update first.
    AskUser,
    /// Whether it was done is unknown: leave, and let the next one look.
    Leave,
    /// Bytes are lost or wrong: record the damage and make them anew.
    MakeAnew,
    /// What the step made cannot be stored as it is.
    Reject,
}

/// An operation of the protocol that did not succeed. Losing a race is not an error.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store refused or could not be reached.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// A record is not what it should be.
    #[error("the record `{key}` cannot be read: {problem}")]
    Record {
        /// The record.
        key: ObjectKey,
        /// What is wrong with it.
        problem: String,
    },
    /// A record is not what was written: its storage lost or changed bytes of it.
    #[error("the record `{key}` is damaged: {problem}")]
    DamagedRecord {
        /// The record.
        key: ObjectKey,
        /// What is wrong with it.
        problem: String,
    },
    /// The run does not exist.
    #[error("there is no run `{run}` in this store")]
    NoRun {
        /// The run.
        run: RunId,
    },
    /// A collection gave the run up: what it needs may be gone.
    #[error("run `{run}` was given up by `prunella gc`: what it needs may be gone")]
    GivenUp {
        /// The run.
        run: RunId,
    },
    /// A newer driver drives the run.
    #[error("run `{run}` now has a newer driver ({seen}; ours is {ours})")]
    Superseded {
        /// The run.
        run: RunId,
        /// Our number.
        ours: u64,
        /// The number seen.
        seen: u64,
    },
    /// An object's bytes are missing or are not those that were recorded.
    #[error("`{object}` is damaged: {problem}")]
    Damaged {
        /// The object.
        object: String,
        /// What was found instead.
        problem: String,
    },
    /// A tree holds something that artifacts may not hold.
    #[error("`{}` cannot be an artifact: {refusals}", path.display())]
    Tree {
        /// The tree.
        path: PathBuf,
        /// What is in it.
        refusals: Refusals,
    },
    /// A path holds something that is neither a regular file, a directory nor a link.
    #[error("`{}` cannot be an artifact: {problem}", path.display())]
    Unfit {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Something stands where an artifact is to be published that is not Prunella's to replace, or nothing can stand there.
    #[error("nothing can be published at `{}`: {problem}", path.display())]
    Occupied {
        /// The target.
        path: PathBuf,
        /// What is in the way.
        problem: String,
    },
    /// The local file system refused.
    #[error("could not access `{}`", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
}

impl StoreError {
    /// Returns what the caller must do.
    pub fn remedy(&self) -> Remedy {
        use prunella_objects::Remedy as R;
        match self {
            Self::Objects(error) => match error.remedy() {
                R::TryAgain => Remedy::TryAgain,
                R::AskUser | R::FixCaller => Remedy::AskUser,
                R::ReadBack => Remedy::Leave,
                R::MakeAnew => Remedy::MakeAnew,
            },
            Self::Record { .. }
            | Self::DamagedRecord { .. }
            | Self::NoRun { .. }
            | Self::GivenUp { .. }
            | Self::Occupied { .. } => Remedy::AskUser,
            Self::Superseded { .. } => Remedy::Leave,
            Self::Damaged { .. } => Remedy::MakeAnew,
            Self::Tree { .. } | Self::Unfit { .. } => Remedy::Reject,
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull
                | std::io::ErrorKind::ReadOnlyFilesystem
                | std::io::ErrorKind::PermissionDenied => Remedy::AskUser,
                _ => Remedy::TryAgain,
            },
        }
    }

    /// Returns whether the disk is full.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Objects(ObjectsError::NoSpace { .. }) => true,
            Self::Objects(ObjectsError::Io { source, .. }) | Self::Io { source, .. } => {
                matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Returns whether the store cannot be written at all.
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Objects(ObjectsError::ReadOnly { .. }))
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
