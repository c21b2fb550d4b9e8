//! Knowing the content of data without reading unchanged bytes twice.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use super::{elsewhere, place::Place};
use crate::{answer::note, context::Context, error::CliError};
use globset::{GlobBuilder, GlobMatcher};
use prunella_model::{DataName, Listing, Pipeline, is_address, pattern_root};
use prunella_store::{Contents, Remembered, StoreError, measure_matching};

/// A data set and what it is now.
#[derive(Debug)]
pub struct Measured {
    /// Its path, relative to the pipeline file, or its address.
    pub path: String,
    /// The base name under which it is laid out.
    pub base_name: String,
    /// Where it lies; of a pattern the folder that it begins with.
    pub full: PathBuf,
    /// Its content; of data by reference that of its listing.
    pub contents: Contents,
    /// What its bytes are, if they stay elsewhere.
    pub listing: Option<Listing>,
}

impl Measured {
    fn by_reference(name: &DataName, url: &str, listing: Listing) -> Self {
        Self {
            path: url.to_owned(),
            base_name: format!("{name}.listing.json"),
            full: PathBuf::new(),
            contents: listing.artifact().into(),
            listing: Some(listing),
        }
    }
}

/// Returns what every data set of the pipeline is now; what lies elsewhere is listed, and fetched unless it stays there.
///
/// # Errors
/// [`CliError`] for data that cannot be read or holds what artifacts may not hold.
pub async fn measure(
    context: &Context,
    pipeline: &Pipeline,
    place: &Place,
    remembered: Remembered,
) -> Result<BTreeMap<DataName, Measured>, CliError> {
    let mut measured = BTreeMap::new();
    for (name, path) in &pipeline.data {
        let found = match is_address(path) {
            true if pipeline.referenced.contains(name) => {
                Measured::by_reference(name, path, elsewhere::list(context, name, path).await?)
            }
            true => {
                let full = elsewhere::fetched(context, name, path).await?;
                read(context, name, (path, elsewhere::base_name(path)), (&full, None), place, remembered)?
            }
            false => local(context, name, path, place, remembered)?,
        };
        measured.insert(name.clone(), found);
    }
    Ok(measured)
}

/// Returns what lies at a path, or matches a pattern, on this machine.
fn local(
    context: &Context,
    name: &DataName,
    path: &str,
    place: &Place,
    remembered: Remembered,
) -> Result<Measured, CliError> {
    let folder = elsewhere::folder(path);
    // What is there under this very name is no pattern.
    let pattern = pattern_root(path).filter(|_| folder.is_none() && !place.base.join(path).exists());
    let (lies, below) = pattern.map_or((folder.unwrap_or(path), None), |(folder, pattern)| (folder, Some(pattern)));
    let base_name = lies.trim_end_matches('/').rsplit('/').next().unwrap_or(lies);
    read(context, name, (path, base_name), (&place.base.join(lies), below), place, remembered)
}

fn read(
    context: &Context,
    name: &DataName,
    (path, base_name): (&str, &str),
    (full, below): (&Path, Option<&str>),
    place: &Place,
    remembered: Remembered,
) -> Result<Measured, CliError> {
    let (sys, cache) = (&context.sys, &place.local);
    // A link at the top is followed: the data is what it leads to.
    let real = std::fs::canonicalize(full).map_err(CliError::io(full))?;
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
    let base_name = base_name.to_owned();
    Ok(Measured { path: path.to_owned(), base_name, full: real, contents, listing: None })
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
