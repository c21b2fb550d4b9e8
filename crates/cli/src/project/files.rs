//! The directory of the pipeline file, as the reader of manifests asks about it.

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
};

use globset::GlobBuilder;
use prunella_manifest::{FileKind, Files};

/// The files beside a pipeline file.
pub struct Beside {
    base: PathBuf,
    all: OnceCell<Vec<String>>,
}

/// Directories that hold no code of the user's.
const SKIPPED: &[&str] = &[".prunella", ".git", ".hg", "__pycache__", ".venv", "node_modules", "target"];

impl Beside {
    /// Returns the files below `base`.
    pub fn new(base: &Path) -> Self {
        Self { base: base.to_owned(), all: OnceCell::new() }
    }

    /// Returns all regular files and links below the directory, relative, sorted; hidden tool directories are left out.
    pub fn all(&self) -> &[String] {
        self.all.get_or_init(|| {
            let (mut found, mut left) = (Vec::new(), vec![String::new()]);
            while let Some(directory) = left.pop() {
                let Ok(entries) = std::fs::read_dir(self.base.join(&directory)) else { continue };
                for entry in entries.flatten() {
                    let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else { continue };
                    let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
                    if kind.is_dir() {
                        if !SKIPPED.contains(&name.as_str()) {
                            left.push(path);
                        }
                    } else {
                        found.push(path);
                    }
                }
            }
            found.sort();
            found
        })
    }

    /// Returns the files that match a pattern; one that names a directory means everything below it.
    pub fn matching(&self, pattern: &str) -> Vec<&str> {
        let whole = format!("{}/**", pattern.trim_end_matches('/'));
        let pattern = if self.base.join(pattern).is_dir() { whole.as_str() } else { pattern };
        let Ok(glob) = GlobBuilder::new(pattern.trim_start_matches("./")).literal_separator(true).build() else {
            return Vec::new();
        };
        let matcher = glob.compile_matcher();
        self.all().iter().map(String::as_str).filter(|path| matcher.is_match(path)).collect()
    }
}

impl Files for Beside {
    fn kind(&self, relative: &str) -> Option<FileKind> {
        let meta = std::fs::metadata(self.base.join(relative)).ok()?;
        Some(match () {
            () if meta.is_file() => FileKind::File,
            () if meta.is_dir() => FileKind::Directory,
            () => FileKind::Other,
        })
    }

    fn read(&self, relative: &str) -> Option<Vec<u8>> {
        let path = self.base.join(relative);
        // A little more than is allowed, so that the reader says that it is too much.
        let file = std::fs::File::open(&path).ok().filter(|_| path.is_file())?;
        let mut bytes = Vec::new();
        let most = prunella_manifest::MAX_SOURCE_BYTES as u64 + 1;
        std::io::Read::read_to_end(&mut std::io::Read::take(file, most), &mut bytes).ok()?;
        Some(bytes)
    }

    fn glob_matches(&self, pattern: &str) -> usize {
        self.matching(pattern).len()
    }
}
