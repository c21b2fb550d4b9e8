//! Reads a requirements file as far as pinning needs it: what it includes, which index it names, what cannot be pinned.

use std::path::{Path, PathBuf};

use prunella_model::{Digest, Encoder};
use prunella_sys::Sys;

use crate::EnvironmentError;
use crate::message::{carries_credentials, redact};
use crate::tool::absolute;

/// A requirements file with all it includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirements {
    /// The digest of all lines that count; blank lines and comments are none.
    pub(crate) digest: Digest,
    /// The options that say where packages come from; variables in them are not expanded.
    pub(crate) options: Vec<String>,
    /// Whether nothing is required.
    pub(crate) is_empty: bool,
}

/// Options that installing from the lock needs again.
const INDEX_OPTIONS: [&str; 10] = [
    "-i",
    "--index-url",
    "--extra-index-url",
    "-f",
    "--find-links",
    "--no-index",
    "--trusted-host",
    "--no-binary",
    "--only-binary",
    "--prefer-binary",
];
const INCLUDES: [&str; 4] = ["-r", "--requirement", "-c", "--constraint"];

/// Reads the file and those that it includes.
///
/// # Errors
/// [`EnvironmentError::Requirements`] if one is missing or not UTF-8, [`EnvironmentError::NotPinnable`] for the first line
/// whose meaning could change under the same text, or that holds a credential.
pub(crate) fn read(sys: &Sys, path: &Path) -> Result<Requirements, EnvironmentError> {
    let mut reader = Reader { sys, lines: Vec::new(), options: Vec::new(), seen: Vec::new(), is_empty: true };
    reader.file(path)?;
    let mut encoder = Encoder::new("prunella-requirements-1");
    encoder.list(reader.lines.len());
    for line in &reader.lines {
        encoder.text(line);
    }
    Ok(Requirements { digest: encoder.finish(), options: reader.options, is_empty: reader.is_empty })
}

struct Reader<'a> {
    sys: &'a Sys,
    lines: Vec<String>,
    options: Vec<String>,
    seen: Vec<PathBuf>,
    is_empty: bool,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path) -> Result<(), EnvironmentError> {
        if self.seen.iter().any(|seen| seen == path) {
            return Ok(());
        }
        self.seen.push(path.to_owned());
        let unreadable = |source| EnvironmentError::Requirements { path: path.to_owned(), source };
        let bytes = self.sys.fs.read(path).map_err(unreadable)?;
        let text = String::from_utf8(bytes)
            .map_err(|error| unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, error.utf8_error())))?;
        for (number, line) in logical_lines(&text) {
            self.line(path, number, &line)?;
        }
        Ok(())
    }

    fn line(&mut self, path: &Path, number: usize, line: &str) -> Result<(), EnvironmentError> {
        let refuse =
            |why| Err(EnvironmentError::NotPinnable { path: path.to_owned(), line: number, text: redact(line), why });
        if carries_credentials(line) {
            return refuse(
                "it holds a credential, which would stand in the lock (write ${NAME}, or configure the installer)",
            );
        }
        let dir = path.parent().unwrap_or(Path::new("."));
        let (option, value) = split_option(line);
        self.lines.push(line.to_owned());
        if INCLUDES.contains(&option) {
            if value.contains("://") {
                return refuse("the list behind a URL can change");
            }
            return self.file(&dir.join(value));
        }
        match option {
            "-e" | "--editable" => return refuse("an editable package changes without its version"),
            "-f" | "--find-links" if !value.contains("://") => {
                let place = absolute(self.sys, &dir.join(value))?;
                self.options.push(format!("--find-links {}", place.display()));
            }
            option if INDEX_OPTIONS.contains(&option) => self.options.push(line.to_owned()),
            option if option.starts_with('-') => {}
            _ if is_local(line) => return refuse("a local path changes without its version"),
            _ => self.is_empty = false,
        }
        Ok(())
    }
}

/// Returns the lines with continuations joined and comments removed, each with the number of its first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let (number, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        // As in pip: a comment ends a continuation, and `#` begins one only at the start or behind a blank.
        let comment = raw.find('#').filter(|at| raw[..*at].chars().next_back().is_none_or(char::is_whitespace));
        match raw.strip_suffix('\\') {
            Some(raw) if comment.is_none() => {
                joined.push_str(raw);
                open = Some((number, joined));
            }
            _ => {
                joined.push_str(&raw[..comment.unwrap_or(raw.len())]);
                lines.push((number, joined));
            }
        }
    }
    lines.extend(open);
    lines
        .into_iter()
        .map(|(number, line)| (number, line.trim().to_owned()))
        .filter(|(_, line)| !line.is_empty())
        .collect()
}

/// Splits `--name=value`, `--name value` and `-nvalue`; a requirement comes back whole, without a value.
fn split_option(line: &str) -> (&str, &str) {
    if !line.starts_with('-') {
        return (line, "");
    }
    if !line.starts_with("--") && line.len() > 2 && line.is_char_boundary(2) {
        let (name, value) = line.split_at(2);
        return (name, value.trim_start_matches([' ', '=']).trim());
    }
    match line.find(['=', ' ']) {
        Some(at) => (&line[..at], line[at + 1..].trim()),
        None => (line, ""),
    }
}

fn is_local(line: &str) -> bool {
    let target = line.split_once(" @ ").map_or(line, |(_, target)| target).trim();
    target.starts_with(['.', '/'])
        || target.starts_with("file:")
        || (target.ends_with(".whl") && !target.contains("://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::io::Write::write_all(
                &mut std::fs::OpenOptions::new().write(true).create_new(true).open(dir.path().join(name)).unwrap(),
                text.as_bytes(),
            )
            .unwrap();
        }
        let main = dir.path().join(files[0].0);
        (dir, main)
    }

    fn of(text: &str) -> Result<Requirements, EnvironmentError> {
        let (_dir, main) = written(&[("r.txt", text)]);
        read(&Sys::real(), &main)
    }

    #[test]
    fn comments_and_blank_lines_do_not_change_the_digest_but_versions_do() {
        let base = of("six==1.17.0\n").unwrap();
        assert_eq!(base.digest, of("# what for\n\nsix==1.17.0   # note\r\n").unwrap().digest);
        assert_eq!(base.digest, of("six\\\n==1.17.0\n").unwrap().digest);
        assert_ne!(base.digest, of("six==1.16.0\n").unwrap().digest);
        assert!(!base.is_empty && of("# none\n").unwrap().is_empty);
    }

    #[test]
    fn an_included_file_counts_and_may_include_its_includer() {
        let (_dir, main) =
            written(&[("r.txt", "-r more.txt\n-c limits.txt"), ("more.txt", "six\n-r r.txt"), ("limits.txt", "six<2")]);
        let before = read(&Sys::real(), &main).unwrap();
        assert!(!before.is_empty);
        let (_dir, main) =
            written(&[("r.txt", "-r more.txt\n-c limits.txt"), ("more.txt", "six\n-r r.txt"), ("limits.txt", "six<1")]);
        assert_ne!(before.digest, read(&Sys::real(), &main).unwrap().digest);
    }

    #[test]
    fn a_missing_include_is_named() {
        let error = of("-rabsent.txt").unwrap_err();
        assert!(
            matches!(&error, EnvironmentError::Requirements { path, .. } if path.ends_with("absent.txt")),
            "{error}"
        );
    }

    #[test]
    fn what_could_change_under_the_same_text_is_refused_with_its_line() {
        for text in ["-e .", "--editable=src", "./pkg", "six @ file:///x", "local.whl", "-r https://h/r.txt"] {
            match of(&format!("six\n\n{text}\n")) {
                Err(EnvironmentError::NotPinnable { line: 3, .. }) => {}
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(of("six @ https://host/six-1.17.0-py2.py3-none-any.whl").is_ok());
        assert!(of("x @ git+https://host/x@main").is_ok());
    }

    #[test]
    fn a_credential_is_refused_and_not_repeated() {
        let error = of("--index-url https://me:s3cret@host/simple").unwrap_err().to_string();
        assert!(error.contains("line 1") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn index_options_are_kept_and_relative_places_made_absolute() {
        let found = of("--index-url https://${TOKEN}@host/simple\n-f wheels\n--pre\nsix").unwrap().options;
        assert_eq!(found[0], "--index-url https://${TOKEN}@host/simple");
        assert!(found[1].starts_with("--find-links /") && found[1].ends_with("/wheels"), "{found:?}");
        assert_eq!(found.len(), 2);
    }
}
