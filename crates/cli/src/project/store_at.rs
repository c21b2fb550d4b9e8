//! Where a store is: a directory of this machine, or a bucket.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use prunella_model::FOLDER;
use prunella_remote::StoreUrl;

use crate::{error::CliError, present};

/// Where a store is.
#[derive(Debug, Clone)]
pub enum StoreAt {
    /// In a directory: records in SQLite, objects beside them.
    Directory(PathBuf),
    /// In a directory of plain files: `dir://PATH`.
    Plain(PathBuf),
    /// In a bucket.
    Bucket(StoreUrl),
}

impl StoreAt {
    /// Returns the place that a word of a command or of the environment names.
    ///
    /// # Errors
    /// [`CliError::Usage`] with every mistake of an address.
    pub fn named(word: &Path) -> Result<Self, CliError> {
        match word.to_str() {
            Some(text) if text.starts_with(FOLDER) => match &text[FOLDER.len()..] {
                "" => Err(CliError::Usage(
                    format!("`{text}` names no directory"),
                    Some("as `dir:///srv/store`".to_owned()),
                )),
                path => Ok(Self::Plain(PathBuf::from(path))),
            },
            Some(text) if StoreUrl::looks_like_one(text) => text.parse().map(Self::Bucket).map_err(|error| {
                let hint =
                    "an address is `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX` or `dir://PATH`";
                CliError::Usage(format!("{error}"), Some(hint.to_owned()))
            }),
            _ => Ok(Self::Directory(word.to_owned())),
        }
    }

    /// Returns the place that a file names: a directory is meant from where the file lies.
    ///
    /// # Errors
    /// As [`StoreAt::named`].
    pub fn named_beside(word: &Path, beside: &Path) -> Result<Self, CliError> {
        Ok(match Self::named(word)? {
            Self::Directory(dir) => Self::Directory(beside.join(dir)),
            Self::Plain(dir) => Self::Plain(beside.join(dir)),
            bucket => bucket,
        })
    }

    /// Returns the directory, if it is one of this machine that holds local things, too.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(dir) => Some(dir),
            Self::Plain(_) | Self::Bucket(_) => None,
        }
    }
}

impl fmt::Display for StoreAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => f.write_str(&present::path(dir)),
            Self::Plain(dir) => write!(f, "{FOLDER}{}", present::path(dir)),
            Self::Bucket(url) => url.fmt(f),
        }
    }
}
