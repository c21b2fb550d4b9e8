//! Knowing the content of local data without reading unchanged bytes twice.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use globset::{GlobBuilder, GlobMatcher};
use prunella_model::{DataName, Pipeline, pattern_root};
use prunella_store::{Contents, Remembered, StoreError, measure_matching};
use prunella_sys::Sys;

use crate::{answer::note, error::CliError};

/// A data set and what it is now.
#[derive(Debug)]
pub struct Measured {
    /// Its path, relative to the pipeline file.
    pub path: String,
    /// The base name under which it is laid out.
    pub base_name: String,
    /// Where it lies; of a pattern the folder that it begins with.
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
        // What is there under this very name is no pattern.
        let pattern = pattern_root(path).filter(|_| !base.join(path).exists());
        let (lies, below) = pattern.map_or((path.as_str(), None), |(folder, pattern)| (folder, Some(pattern)));
        let full = base.join(lies);
        // A link at the top is followed: the data is what it leads to.
        let real = std::fs::canonicalize(&full).map_err(CliError::io(&full))?;
        let matcher = below.map(|pattern| Ok::<_, CliError>((pattern, matcher(pattern)?))).transpose()?;
        let say = || note(&format!("reading data.{name} (`{path}`)"));
        let contents = said_if_long(PATIENCE, say, || match &matcher {
            None => prunella_store::measure(sys, &real, cache, remembered),
            Some((pattern, matcher)) => {
                let keep = |path: &str| matcher.is_match(path);
                measure_matching(sys, &real, (pattern, &keep), cache, remembered)
            }
        });
        let contents = contents.map_err(|error| match error {
            StoreError::Tree { refusals, .. } => CliError::Refused(format!("`{path}`: {refusals}"), None),
            StoreError::Unfit { path, problem } => CliError::Refused(format!("`{}`: {problem}", path.display()), None),
            error => error.into(),
        })?;
        let base_name = lies.trim_end_matches('/').rsplit('/').next().unwrap_or(lies).to_owned();
        measured.insert(name.clone(), Measured { path: path.clone(), base_name, full: real, contents });
    }
    Ok(measured)
}

fn matcher(pattern: &str) -> Result<GlobMatcher, CliError> {
    let built = GlobBuilder::new(pattern).literal_separator(true).build();
    built.map(|glob| glob.compile_matcher()).map_err(|error| CliError::Refused(format!("`{pattern}`: {error}"), None))
}

/// People begin to wonder after so long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Does something, and says so if it is not done by then.
fn said_if_long<T>(patience: Duration, say: impl FnOnce() + Send, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let (done, waiting) = mpsc::channel::<()>();
        scope.spawn(move || {
            if waiting.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                say();
            }
        });
        let came = work();
        drop(done);
        came
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_said_while_it_goes_on_and_what_is_quick_is_not() {
        let (tell, told) = mpsc::channel();
        // It ends only once it was said.
        said_if_long(Duration::ZERO, move || tell.send(()).expect("it waits"), || told.recv().expect("it is said"));
        said_if_long(Duration::MAX, || panic!("nobody waited"), || ());
    }
}
