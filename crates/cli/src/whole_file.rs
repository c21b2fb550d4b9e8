//! Files that are written whole or not at all: who reads one while it is written sees the one before.

use std::path::Path;

use prunella_sys::{FileKind, Fs, Sys, random_hex};

use crate::error::CliError;

/// Writes a file beside its place and renames it there; what is no plain file (a pipe, a terminal) is written to.
///
/// # Errors
/// [`CliError::Io`] if it cannot be written.
pub fn write_whole(sys: &Sys, path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let kind = sys.fs.metadata(path).map_err(CliError::io(path))?.map(|meta| meta.kind);
    if kind.is_some_and(|kind| !matches!(kind, FileKind::File | FileKind::Symlink)) {
        let to = sys.fs.append(path).map_err(CliError::io(path));
        return to.and_then(|mut to| std::io::Write::write_all(&mut to, bytes).map_err(CliError::io(path)));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", random_hex(&*sys.random, 6)));
    let part = path.with_file_name(name);
    let written = put(&*sys.fs, &part, path, bytes);
    written.map_err(|error| {
        let _left_over = sys.fs.remove_file(&part);
        CliError::Io(path.to_owned(), error)
    })
}

fn put(fs: &dyn Fs, part: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs.create_new(part)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.sync()?;
    fs.rename(part, path)?;
    fs.sync_dir(match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    })
}
