//! Keys of a directory in byte order.

use std::io;
use std::path::{Path, PathBuf};

use prunella_sys::{FileKind, Fs};

use super::names::{Entry, Sort, entry, folder, is_long};

/// Which keys are wanted.
pub(super) struct Wanted<'a> {
    pub prefix: &'a str,
    pub after: Option<&'a str>,
}

impl Wanted<'_> {
    fn key(&self, key: &str) -> bool {
        key.starts_with(self.prefix) && self.after.is_none_or(|after| key > after)
    }

    /// Whether any key that begins with `begin` may be wanted.
    fn begin(&self, begin: &str) -> bool {
        let may = begin.starts_with(self.prefix) || self.prefix.starts_with(begin);
        may && self.after.is_none_or(|after| after < begin || after.starts_with(begin))
    }
}

/// Shows every wanted key with its file to `see`, in byte order, until it says that it has enough.
///
/// # Errors
/// What the file system says of a folder; one that is absent has no keys.
pub(super) fn walk(
    fs: &dyn Fs,
    base: &Path,
    wanted: &Wanted<'_>,
    see: &mut dyn FnMut(String, PathBuf) -> io::Result<bool>,
) -> io::Result<()> {
    // Directly to the folder that the prefix names.
    let whole = wanted.prefix.rsplit_once('/').map_or("", |(whole, _)| whole);
    let segments = || whole.split('/').filter(|segment| !segment.is_empty());
    let proper = segments().all(|segment| !is_long(segment) && segment != "." && segment != "..");
    if whole.is_empty() || !proper || segments().count() != whole.split('/').count() {
        return visit(fs, base, "", wanted, see).map(drop);
    }
    visit(fs, &folder(base, segments()), &format!("{whole}/"), wanted, see).map(drop)
}

/// Returns whether more is wanted.
fn visit(
    fs: &dyn Fs,
    dir: &Path,
    begin: &str,
    wanted: &Wanted<'_>,
    see: &mut dyn FnMut(String, PathBuf) -> io::Result<bool>,
) -> io::Result<bool> {
    let listed = match fs.list(dir) {
        Ok(listed) => listed,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::with_capacity(listed.len());
    let mut interleaved = false;
    for one in listed {
        let (Some(name), is_folder) = (one.name.to_str(), one.kind == FileKind::Dir) else { continue };
        if !is_folder && one.kind != FileKind::File {
            continue;
        }
        match entry(name, is_folder) {
            Some(Entry::File(sort, text)) => found.push((format!("{begin}{text}"), Some(sort), dir.join(name))),
            Some(Entry::Folder(text)) => {
                interleaved |= !text.ends_with('/');
                found.push((format!("{begin}{text}"), None, dir.join(name)));
            }
            None => {}
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    if !interleaved {
        return each(fs, found, wanted, see);
    }
    // Keys below a long segment's begin lie between others: all are gathered first.
    let mut keys = Vec::new();
    let mut gather = |key, path| {
        keys.push((key, path));
        Ok(true)
    };
    each(fs, found, wanted, &mut gather)?;
    keys.sort();
    for (key, path) in keys {
        if !see(key, path)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn each(
    fs: &dyn Fs,
    found: Vec<(String, Option<Sort>, PathBuf)>,
    wanted: &Wanted<'_>,
    see: &mut dyn FnMut(String, PathBuf) -> io::Result<bool>,
) -> io::Result<bool> {
    for (text, sort, path) in found {
        let more = match sort {
            Some(_) if wanted.key(&text) => see(text, path)?,
            None if wanted.begin(&text) => visit(fs, &path, &text, wanted, see)?,
            _ => true,
        };
        if !more {
            return Ok(false);
        }
    }
    Ok(true)
}
