//! Where a key's bytes lie as a file: pure.
//!
//! A key may be an object and the beginning of others (`a`, `a/b`), and a segment may be longer than a file's name. So folders
//! end with a comma, which is in no key; an object's file has its own name.

use std::path::{Path, PathBuf};

use crate::key::ObjectKey;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sort {
    /// Created once.
    Object,
    /// Replaced again and again.
    Hint,
}

/// What an entry of a folder stands for; its text is what it adds to the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A file with the key's last part.
    File(Sort, String),
    /// A folder of all keys that go on with the text: a whole segment with its slash, or the begin of a long one.
    Folder(String),
}

/// The end of a hint's name.
const HINT: &str = ",hint";
/// The end of a folder's name that holds the begin of a long segment only.
const MORE: &str = ",more";

/// So much of a segment is in one name; file systems take 255 bytes.
const NAME_BYTES: usize = 200;

/// Returns the folder of all keys that begin with these whole segments.
pub(super) fn folder<'a>(base: &Path, segments: impl Iterator<Item = &'a str>) -> PathBuf {
    segments.fold(base.to_owned(), |path, segment| {
        let (path, rest) = long(path, segment);
        path.join(format!("{rest},"))
    })
}

/// Returns the file of a key.
pub(super) fn file(base: &Path, key: &ObjectKey, sort: Sort) -> PathBuf {
    let (folders, last) = key.as_str().rsplit_once('/').unwrap_or(("", key.as_str()));
    let path = folder(base, folders.split('/').filter(|segment| !segment.is_empty()));
    let (path, rest) = long(path, last);
    match sort {
        Sort::Object => path.join(rest),
        Sort::Hint => path.join(format!("{rest}{HINT}")),
    }
}

/// Descends to what is left of a long segment. A key's characters are one byte each.
fn long(mut path: PathBuf, mut segment: &str) -> (PathBuf, &str) {
    while segment.len() > NAME_BYTES {
        let (begin, rest) = segment.split_at(NAME_BYTES);
        path.push(format!("{begin}{MORE}"));
        segment = rest;
    }
    (path, segment)
}

/// Returns whether a segment lies in folders of its own.
pub(super) fn is_long(segment: &str) -> bool {
    segment.len() > NAME_BYTES
}

/// Returns what an entry stands for; nothing if it is none of the store's.
pub(super) fn entry(name: &str, is_folder: bool) -> Option<Entry> {
    // What NFS leaves of a file that was deleted while it was read.
    if name.starts_with(".nfs") {
        return None;
    }
    if is_folder {
        let more = name.strip_suffix(MORE).map(|begin| Entry::Folder(begin.to_owned()));
        return more.or_else(|| Some(Entry::Folder(format!("{}/", name.strip_suffix(',')?))));
    }
    Some(match name.strip_suffix(HINT) {
        Some(text) => Entry::File(Sort::Hint, text.to_owned()),
        None if name.contains(',') => return None,
        None => Entry::File(Sort::Object, name.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str, sort: Sort) -> String {
        file(Path::new(""), &ObjectKey::new(text).unwrap(), sort).display().to_string()
    }

    #[test]
    fn no_two_keys_share_a_path_and_none_is_in_the_way_of_another() {
        assert_eq!(path("attempts/k/1.end.json", Sort::Object), "attempts,/k,/1.end.json");
        assert_eq!(path("a", Sort::Object), "a");
        assert_eq!(path("a/b", Sort::Object), "a,/b");
        assert_eq!(path("a", Sort::Hint), "a,hint");
        let (long, longer) = ("x".repeat(400), "x".repeat(401));
        assert_eq!(path(&long, Sort::Object), format!("{0},more/{0}", "x".repeat(200)));
        assert_ne!(path(&long, Sort::Object), path(&longer, Sort::Object));
        for name in path(&"y".repeat(512), Sort::Hint).split('/') {
            assert!(name.len() < 255);
        }
    }

    #[test]
    fn an_entry_says_what_it_adds_to_a_key() {
        assert_eq!(entry("a", false), Some(Entry::File(Sort::Object, "a".into())));
        assert_eq!(entry("a,hint", false), Some(Entry::File(Sort::Hint, "a".into())));
        assert_eq!(entry("a,", true), Some(Entry::Folder("a/".into())));
        assert_eq!(entry("a,more", true), Some(Entry::Folder("a".into())));
        for (name, is_folder) in [("a", true), ("a,b", false), (".nfs0001", false), ("lost+found", true)] {
            assert_eq!(entry(name, is_folder), None, "{name}");
        }
    }
}
