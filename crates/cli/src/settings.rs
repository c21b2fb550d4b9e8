//! What the project file says to the commands of this machine, and where a setting comes from.
//!
//! A word of the command line wins over the environment, the environment over `prunella.toml`, and that over what is
//! built in.

use std::path::{Path, PathBuf};

use prunella_manifest::{Gpus, NoticesOf, ProjectFile, Source, project_source, read_project, render, to_json};
use prunella_sys::{FileKind, Sys};
use serde::Serialize;

use crate::project::StoreAt;
use crate::{error::CliError, present::path};

/// The name of a project file.
pub const NAME: &str = "prunella.toml";

/// The project file that counts for a command.
#[derive(Debug, Default)]
pub struct Settings {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// What it says.
    pub project: ProjectFile,
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment.
    Environment,
    /// The project file.
    File,
    /// Nobody said anything.
    BuiltIn,
}

/// A setting as it is, for somebody who asks.
#[derive(Debug, Serialize)]
pub struct Setting {
    /// Its key in the project file.
    pub name: &'static str,
    /// What it is.
    pub value: String,
    /// Where it comes from.
    pub from: Origin,
    /// Which option, variable, or line of which file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

impl Settings {
    /// Reads the project file that was named, or else the nearest one: in the directory `base` or above it, up to the
    /// user's home or the root.
    ///
    /// # Errors
    /// All mistakes at once; [`CliError::Usage`] if the file that was named is not there.
    pub fn read(sys: &Sys, named: Option<&Path>, base: &Path, color: bool) -> Result<Self, CliError> {
        let is_there = |path: &Path| matches!(sys.fs.metadata(path), Ok(Some(meta)) if meta.kind != FileKind::Dir);
        let file = match named {
            Some(named) if !is_there(named) => {
                let hint = "name a file that is there, or leave `--config` and PRUNELLA_CONFIG away".to_owned();
                return Err(CliError::Usage(format!("there is no file `{}`", path(named)), Some(hint)));
            }
            Some(named) => named.to_owned(),
            None => match nearest(sys, base, is_there) {
                Some(file) => file,
                None => return Ok(Self::default()),
            },
        };
        let bytes = sys.fs.read(&file).map_err(CliError::io(&file))?;
        let name = path(&file);
        let wrong = |source: &Source, found: &[_]| CliError::Diagnostics {
            text: render(source, found, color, 100),
            json: to_json(found),
        };
        let nothing = || Source { name: name.clone(), text: String::new() };
        let source = project_source(&name, bytes).map_err(|found| wrong(&nothing(), &found))?;
        let project = read_project(&source).map_err(|found| wrong(&source, &found))?;
        Ok(Self { file: Some(file), project })
    }

    /// Returns the store.
    ///
    /// # Errors
    /// [`CliError::Usage`] if it is a wrong address.
    pub fn store(&self) -> Result<Option<StoreAt>, CliError> {
        let Some(store) = &self.project.defaults.store else { return Ok(None) };
        let beside = self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        match StoreAt::named_beside(Path::new(&store.value), beside) {
            Err(CliError::Usage(text, hint)) => {
                Err(CliError::Usage(format!("{}: {text}", self.line(store.line)), hint))
            }
            named => named.map(Some),
        }
    }

    /// Returns the stores of others from which commits are copied.
    ///
    /// # Errors
    /// [`CliError::Usage`] if one is a wrong address.
    pub fn read_from(&self) -> Result<Option<Vec<StoreAt>>, CliError> {
        let Some(others) = &self.project.defaults.read_from else { return Ok(None) };
        let beside = self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let named = others.value.iter().map(|word| StoreAt::named_beside(Path::new(word), beside));
        match named.collect() {
            Err(CliError::Usage(text, hint)) => {
                Err(CliError::Usage(format!("{}: {text}", self.line(others.line)), hint))
            }
            named => named.map(Some),
        }
    }

    /// Returns how many steps run at once.
    pub fn jobs(&self) -> Option<usize> {
        self.project.defaults.jobs.as_ref().map(|jobs| jobs.value)
    }

    /// Returns which accelerators may be used, as `--gpus` says it.
    pub fn gpus(&self) -> Option<String> {
        self.project.defaults.gpus.as_ref().map(|gpus| match &gpus.value {
            Gpus::Number(number) => number.to_string(),
            Gpus::List(list) => list.clone(),
        })
    }

    /// Returns whose notices end steps in checkpoints.
    pub fn notices(&self) -> Option<NoticesOf> {
        self.project.defaults.notices.as_ref().map(|notices| notices.value)
    }

    /// Returns how many runs of every pipeline `gc` retains.
    pub fn keep_runs(&self) -> Option<usize> {
        self.project.defaults.keep_runs.as_ref().map(|runs| runs.value)
    }

    /// Returns the place of a line of the file.
    pub fn line(&self, line: usize) -> String {
        format!("{}:{line}", self.file.as_deref().map_or_else(|| NAME.to_owned(), path))
    }
}

/// Returns the first project file on the way up from `base`: as it was written for `base` itself, absolute above it.
fn nearest(sys: &Sys, base: &Path, is_there: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let beside = base.join(NAME);
    if is_there(&beside) {
        return Some(beside);
    }
    let here = sys.env.current_dir().ok()?;
    // Without `..`: above a directory is what one sees above it, also behind a link.
    let base = from_the_root(&here, base);
    let home = sys.env.var("HOME").map(PathBuf::from);
    let mut dirs = base.ancestors();
    let first = dirs.next()?;
    if Some(first) == home.as_deref() {
        return None;
    }
    for dir in dirs {
        let file = dir.join(NAME);
        if is_there(&file) && !anybody_writes(dir) {
            return Some(file);
        }
        if Some(dir) == home.as_deref() {
            break;
        }
    }
    None
}

/// Returns whether everybody may put files there, as into `/tmp`: one that lies there belongs to nobody's project.
fn anybody_writes(dir: &Path) -> bool {
    std::fs::metadata(dir).is_ok_and(|meta| std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o002 != 0)
}

/// Returns the path from the root, without `.` and `..`.
fn from_the_root(here: &Path, path: &Path) -> PathBuf {
    use std::path::Component;
    let mut whole = PathBuf::new();
    for part in here.join(path).components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            Component::CurDir => {}
            part => whole.push(part),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cleaned_of_dots() {
        assert_eq!(from_the_root(Path::new("/a/b"), Path::new("./c/../../d/.")), PathBuf::from("/a/d"));
        assert_eq!(from_the_root(Path::new("/a"), Path::new("/x")), PathBuf::from("/x"));
    }
}
