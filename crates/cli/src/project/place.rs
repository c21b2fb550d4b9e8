//! Finding the pipeline file, its directory and its store.

use std::path::{Path, PathBuf};

use prunella_model::StepName;

use crate::{args::Which, context::Context, error::CliError, project::StoreAt};

/// Where a pipeline lies.
#[derive(Debug, Clone)]
pub struct Place {
    /// The pipeline file as the user gave it.
    pub file: PathBuf,
    /// Its directory.
    pub base: PathBuf,
    /// Its store.
    pub store: StoreAt,
    /// The directory of what this machine alone needs: workspaces, and what is staged.
    pub local: PathBuf,
}

impl Place {
    /// Returns the place of the pipeline file at `file`.
    pub fn of(context: &Context, file: &Path) -> Self {
        let base = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let beside = || base.join(".prunella");
        let store = context.store.clone().unwrap_or_else(|| StoreAt::Directory(beside()));
        let local = store.directory().map_or_else(beside, Path::to_owned);
        Self { file: file.to_owned(), base, store, local }
    }

    /// Returns the place of a pipeline file, of the one in a directory, or of `./pipeline.yaml`.
    pub fn named(context: &Context, path: Option<&Path>) -> Self {
        match path {
            None => Self::of(context, Path::new("pipeline.yaml")),
            Some(path) if path.is_dir() => Self::of(context, &path.join("pipeline.yaml")),
            Some(path) => Self::of(context, path),
        }
    }

    /// Returns where the lock file lies.
    pub fn lock(&self) -> PathBuf {
        self.base.join("prunella.lock")
    }
}

/// Returns the pipeline file that the first word of a command names; nothing if it is a step.
pub fn pipeline_file(words: &[String]) -> Option<PathBuf> {
    let first = words.first()?;
    let path = Path::new(first);
    if path.is_dir() {
        return Some(path.join("pipeline.yaml"));
    }
    let looks_like_file = first.contains('/') || first.ends_with(".yaml") || first.ends_with(".yml");
    (path.exists() || looks_like_file).then(|| path.to_owned())
}

/// Splits the words of a command: a first one that is an existing file is the pipeline, the others are steps.
///
/// # Errors
/// [`CliError::Usage`] for a word that is neither.
pub fn find(context: &Context, which: &Which) -> Result<(Place, Vec<StepName>), CliError> {
    let file = pipeline_file(&which.words);
    let steps = &which.words[usize::from(file.is_some())..];
    let file = file.unwrap_or_else(|| PathBuf::from("pipeline.yaml"));
    let mut targets = Vec::new();
    for word in steps {
        let name = StepName::new(word)
            .map_err(|error| CliError::Usage(format!("`{word}` is neither a file nor a step: {error}"), None))?;
        targets.push(name);
    }
    Ok((Place::of(context, &file), targets))
}
