//! What can go wrong, and what the caller must do then.

use std::io;
use std::path::PathBuf;

use crate::key::ObjectKey;

/// Says why a store did not do what was asked. Losing a race is not among them: that is a value.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The disk is full. Nothing was done.
    #[error("no space left on the disk of `{}`", path.display())]
    NoSpace {
        /// The store's directory.
        path: PathBuf,
    },
    /// The store cannot be written, or was opened for reading only. Nothing was done.
    #[error("`{}` is read-only", path.display())]
    ReadOnly {
        /// The store's directory.
        path: PathBuf,
    },
    /// Another process held the store for longer than this one waits. Nothing was done.
    #[error("`{}` is busy: another process has held it for too long", path.display())]
    Busy {
        /// The store's directory.
        path: PathBuf,
    },
    /// Bytes that the store had are lost or damaged: a definite finding, never a guess from a failed read.
    #[error("`{}` is damaged: {what}", path.display())]
    Corrupt {
        /// The object, if it is one object and not the whole store.
        key: Option<ObjectKey>,
        /// The damaged file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A newer Prunella wrote this store.
    #[error("`{}` has format {found}, this program reads up to {supported}", path.display())]
    NewerFormat {
        /// The store's directory.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest version known here.
        supported: u32,
    },
    /// There is no store in this directory, and it was to be opened for reading only.
    #[error("`{}` holds no store", path.display())]
    NoStore {
        /// The directory.
        path: PathBuf,
    },
    /// The store did not answer, or only that it has no time, for as long as this process waits. Nothing is known to be done.
    #[error("`{store}` cannot be reached: {message}")]
    Unreachable {
        /// The store's address.
        store: String,
        /// What happened last.
        message: String,
    },
    /// The store does not let this user do that. Nothing was done.
    #[error("`{store}` refuses access: {message}")]
    Forbidden {
        /// The store's address.
        store: String,
        /// What it said.
        message: String,
    },
    /// There is no such bucket. Nothing was done.
    #[error("there is no bucket for `{store}`: {message}")]
    NoBucket {
        /// The store's address.
        store: String,
        /// What was said.
        message: String,
    },
    /// The store does not do what the protocol needs, or not the way that it needs it. Nothing was done.
    #[error("`{store}` cannot be used: {message}")]
    Unfit {
        /// The store's address.
        store: String,
        /// What it lacks.
        message: String,
    },
    /// The file system refused. Nothing was created.
    #[error("could not access `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// SQLite refused. Nothing was done.
    #[error("could not use `{}`: {message}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's extended result code.
        code: i32,
        /// What it said.
        message: String,
    },
    /// The answer got lost: done or not done, both are possible. Read back before anything else.
    #[error("no answer while writing `{key}`: it may be there or not ({message})")]
    Undecided {
        /// The object.
        key: ObjectKey,
        /// What happened.
        message: String,
    },
    /// The object is larger than the operation takes.
    #[error("`{key}` has {size_bytes} bytes, at most {limit_bytes} are possible here")]
    TooLarge {
        /// The object.
        key: ObjectKey,
        /// Its size.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// An object that was created cannot be overwritten, only hints can.
    #[error("`{key}` was created once and never changes")]
    Immutable {
        /// The object.
        key: ObjectKey,
    },
    /// This is not a key.
    #[error("`{key}` is not an object key")]
    InvalidKey {
        /// The text.
        key: String,
    },
}

/// What the caller must do about an [`ObjectsError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing was done; the same again later can succeed by itself.
    TryAgain,
    /// Nothing was done; somebody has to make room, give access or update first.
    AskUser,
    /// Whether it was done is unknown: read back, and leave if that is not possible.
    ReadBack,
    /// Bytes are lost: record the damage, make them anew.
    MakeAnew,
    /// The call itself is wrong.
    FixCaller,
}

impl ObjectsError {
    /// Returns what the caller must do.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Busy { .. } | Self::Io { .. } | Self::Database { .. } | Self::Unreachable { .. } => Remedy::TryAgain,
            Self::NoSpace { .. }
            | Self::ReadOnly { .. }
            | Self::NewerFormat { .. }
            | Self::NoStore { .. }
            | Self::Forbidden { .. }
            | Self::NoBucket { .. }
            | Self::Unfit { .. } => Remedy::AskUser,
            Self::Undecided { .. } => Remedy::ReadBack,
            Self::Corrupt { .. } => Remedy::MakeAnew,
            Self::TooLarge { .. } | Self::Immutable { .. } | Self::InvalidKey { .. } => Remedy::FixCaller,
        }
    }
}
