//! `prunella.lock`: what the pipeline's data and environment are, beside the pipeline file and under version control.

use std::{collections::BTreeMap, path::Path};

use prunella_model::{Artifact, DataName, Listing};
use prunella_sys::Sys;
use serde::{Deserialize, Serialize};

use super::data::Measured;
use crate::{error::CliError, whole_file::write_whole};

/// The version of the lock file.
const FORMAT: u32 = 1;

/// A data set, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataLock {
    /// The path it had, relative to the pipeline file, or its address.
    pub path: String,
    /// Its content; of data by reference that of its listing.
    #[serde(flatten)]
    pub artifact: Artifact,
    /// What its bytes are, if they stay elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<Listing>,
}

impl From<Measured> for DataLock {
    fn from(found: Measured) -> Self {
        Self { path: found.path, artifact: found.contents.artifact, listing: found.listing }
    }
}

/// The lock file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LockFile {
    /// Its version.
    pub format: u32,
    /// The data sets by name.
    #[serde(default)]
    pub data: BTreeMap<DataName, DataLock>,
    /// The locked environment, as the crate `environment` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<serde_json::Value>,
}

impl Default for LockFile {
    fn default() -> Self {
        Self { format: FORMAT, data: BTreeMap::new(), python: None }
    }
}

impl LockFile {
    /// Returns the lock file at `path`, an empty one if there is none.
    ///
    /// # Errors
    /// [`CliError::Refused`] if it cannot be understood: it is never overwritten then.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(CliError::Io(path.to_owned(), error)),
        };
        let refused = |problem: String| {
            let hint = "take it from version control, or delete it and run `prunella pin`".to_owned();
            CliError::Refused(format!("`{}` cannot be read: {problem}", path.display()), Some(hint))
        };
        let lock: Self = serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
        if lock.format > FORMAT {
            return Err(refused(format!("it has format {}, this program reads up to {FORMAT}", lock.format)));
        }
        Ok(lock)
    }

    /// Writes the lock file whole: a reader sees the old one or the new one.
    ///
    /// # Errors
    /// [`CliError::Io`] if the directory cannot be written.
    pub fn write(&self, sys: &Sys, path: &Path) -> Result<(), CliError> {
        let mut text = serde_json::to_vec_pretty(self).expect("a lock file has only string keys");
        text.push(b'\n');
        write_whole(sys, path, &text)
    }
}
