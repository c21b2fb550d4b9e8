//! What the tests share: a directory of files that is a list.
#![allow(dead_code, reason = "each test binary uses a part")]

use prunella_manifest::{FileKind, Files};

/// The files beside every pipeline of the tests.
pub struct Listed;

const FILES: &[&str] = &[
    "data/digits.csv.gz",
    "data/gettysburg.txt",
    "requirements.txt",
    "split.py",
    "train.py",
    "evaluate.py",
    "report.py",
    "notify.sh",
];

impl Files for Listed {
    fn kind(&self, relative: &str) -> Option<FileKind> {
        match relative {
            "data" | "corpus" => Some(FileKind::Directory),
            "socket" => Some(FileKind::Other),
            _ => FILES.contains(&relative).then_some(FileKind::File),
        }
    }

    fn read(&self, relative: &str) -> Option<Vec<u8>> {
        // The one file that the reference includes.
        let relative = if relative == "common.yaml" { "included/common.yaml" } else { relative };
        std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(relative)).ok()
    }

    fn glob_matches(&self, pattern: &str) -> usize {
        // Enough for the patterns of the tests: one `*` at most, or `**/`.
        let pattern = &pattern.replace("**/", "");
        let matches = |file: &str| match pattern.split_once('*') {
            Some((before, after)) => file.starts_with(before) && file.ends_with(after),
            None => file == pattern,
        };
        FILES.iter().filter(|file| matches(file)).count()
    }
}

/// Compares with a file of the repository, or writes it where `UPDATE_GOLDEN` is set.
pub fn matches_golden(path: &std::path::Path, actual: &str) -> Result<(), String> {
    #[allow(clippy::disallowed_methods, reason = "a switch for the person who runs the tests")]
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, actual).expect("the repository is writable");
        return Ok(());
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return Ok(());
    }
    Err(format!("{} differs; UPDATE_GOLDEN=1 rewrites it. Now:\n{actual}", path.display()))
}
