//! Knowing the content of local data without reading unchanged bytes twice.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use prunella_model::{DataName, Pipeline};
use prunella_store::{Contents, Remembered, StoreError};
use prunella_sys::Sys;

use crate::error::CliError;

/// A data set and what it is now.
#[derive(Debug)]
pub struct Measured {
    /// Its path, relative to the pipeline file.
    pub path: String,
    /// Where it lies.
    pub full: PathBuf,
    /// Its content.
    pub contents: Contents,
}

/// Returns what every data set of the pipeline is now; `cache` is where digests are remembered.
///
/// # Errors
/// [`CliError`] for data that cannot be read or holds what artifacts may not hold.
pub fn measure(
    sys: &Sys,
    pipeline: &Pipeline,
    base: &Path,
    cache: &Path,
    remembered: Remembered,
) -> Result<BTreeMap<DataName, Measured>, CliError> {
    let mut measured = BTreeMap::new();
    for (name, path) in &pipeline.data {
        let full = base.join(path);
        // A link at the top is followed: the data is what it leads to.
        let real = std::fs::canonicalize(&full).map_err(CliError::io(&full))?;
        let contents = prunella_store::measure(sys, &real, cache, remembered).map_err(|error| match error {
            StoreError::Tree { refusals, .. } => CliError::Refused(format!("`{path}`: {refusals}"), None),
            StoreError::Unfit { path, problem } => CliError::Refused(format!("`{}`: {problem}", path.display()), None),
            error => error.into(),
        })?;
        measured.insert(name.clone(), Measured { path: path.clone(), full: real, contents });
    }
    Ok(measured)
}
