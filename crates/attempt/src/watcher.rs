//! Knowing when an entry of the checkpoint directory is complete.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use prunella_model::{Checkpoint, CheckpointFormat};
use prunella_sys::{FileKind, Fs};

use crate::{
    changes::{Changes, Depth},
    completeness::{self, Look, Ranks},
};

/// What was missed is looked at again after so many looks, if nothing else is heard of it.
const PATIENCE: u32 = 20;

/// What identifies one moment of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    inode: u64,
    length: u64,
    modified_ns: i128,
}

/// Finds complete entries: renamed into place (`files`), marked (`marker`), or complete by the layout of a framework.
pub(crate) struct Watcher {
    directory: PathBuf,
    format: CheckpointFormat,
    /// How many processes write an entry: as declared, or as an entry showed that a newer one had followed.
    ranks: Option<u32>,
    changes: Option<Changes>,
    /// Entries that may have become complete.
    changed: BTreeSet<OsString>,
    /// Entries that are not complete yet, and become it by what happens beside them.
    waiting: BTreeSet<OsString>,
    missed: BTreeSet<OsString>,
    taken: BTreeMap<OsString, Moment>,
    looks: u32,
    puzzled: Option<String>,
}

impl Watcher {
    /// Watches the directory; entries that are there already (a restored one) are not new.
    pub(crate) fn new(directory: &Path, checkpoint: &Checkpoint, fs: &dyn Fs) -> Self {
        let changes = match checkpoint.format {
            CheckpointFormat::Socket => None,
            CheckpointFormat::Files => Changes::of(directory, Depth::Renames, fs),
            _ => Changes::of(directory, Depth::Everything, fs),
        };
        let mut watcher = Self {
            directory: directory.to_owned(),
            format: checkpoint.format.clone(),
            ranks: checkpoint.ranks,
            changes,
            changed: BTreeSet::new(),
            waiting: BTreeSet::new(),
            missed: BTreeSet::new(),
            taken: BTreeMap::new(),
            looks: 0,
            puzzled: None,
        };
        watcher.taken = watcher.entries(fs);
        watcher
    }

    /// Returns the newest entry that is complete and was not returned before, if there is one.
    ///
    /// Older complete entries are passed over: the newest comes first, and one is enough.
    pub(crate) fn newest(&mut self, fs: &dyn Fs) -> Option<String> {
        if self.format == CheckpointFormat::Socket {
            return None;
        }
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(PATIENCE) {
            self.changed.append(&mut self.missed);
        }
        self.hear(fs);
        match self.changes {
            Some(_) if self.changed.is_empty() => None,
            // Nobody tells: it is looked at from time to time.
            None if self.looks % PATIENCE != 1 => None,
            _ => self.look(fs),
        }
    }

    /// As [`Watcher::newest`], once the program is gone: what was missed is looked at, too.
    pub(crate) fn last(&mut self, fs: &dyn Fs) -> Option<String> {
        self.changed.append(&mut self.missed);
        self.hear(fs);
        self.look(fs)
    }

    /// Notes that an entry could not be taken: it was being written to.
    pub(crate) fn missed(&mut self, entry: &str) {
        self.taken.remove(OsStr::new(entry));
        self.missed.insert(entry.into());
    }

    /// Returns, once, an entry of which it is not known whether all that belongs to it is there.
    pub(crate) fn puzzled(&mut self) -> Option<String> {
        self.puzzled.take()
    }

    fn look(&mut self, fs: &dyn Fs) -> Option<String> {
        let entries = self.entries(fs);
        let highest = entries.keys().filter_map(|name| self.number(name)).max();
        let mut complete: Vec<(&OsString, Moment)> = Vec::new();
        for (name, moment) in &entries {
            let may = match self.changes {
                Some(_) => self.changed.contains(name),
                None => self.taken.get(name) != Some(moment),
            };
            if may && self.is_complete(fs, name, highest) {
                complete.push((name, *moment));
            }
        }
        complete.sort_by(|a, b| {
            let of = |(name, moment): &(&OsString, Moment)| (self.number(name), moment.modified_ns);
            (of(a), a.0).cmp(&(of(b), b.0))
        });
        let newest = complete.last().map(|(name, _)| (*name).clone());
        for (name, moment) in complete {
            self.waiting.remove(name);
            self.taken.insert(name.clone(), moment);
        }
        // What is not complete yet is looked at again when something is heard of it. Names that were renamed away again are
        // forgotten.
        self.changed.clear();
        self.waiting.retain(|name| entries.contains_key(name));
        newest.and_then(|name| name.into_string().ok())
    }

    fn number(&self, name: &OsStr) -> Option<u64> {
        completeness::number(&self.format, name.to_str()?)
    }

    fn is_complete(&mut self, fs: &dyn Fs, name: &OsString, highest: Option<u64>) -> bool {
        let path = self.directory.join(name);
        match &self.format {
            // Without word of renames, an entry that is there was perhaps renamed.
            CheckpointFormat::Files => true,
            CheckpointFormat::Socket => false,
            CheckpointFormat::Marker(marker) => {
                let mut beside = name.clone();
                beside.push(".");
                beside.push(marker);
                [path.join(marker), self.directory.join(beside)]
                    .iter()
                    .any(|marker| matches!(fs.metadata(marker), Ok(Some(_))))
            }
            format => {
                let passed = self.number(name).is_some() && self.number(name) < highest;
                let ranks = match self.ranks {
                    Some(known) => Ranks::Known(known),
                    None if passed => Ranks::Passed,
                    None => Ranks::Unknown,
                };
                match completeness::look(format, fs, &path, ranks) {
                    Look::Complete(seen) => {
                        if passed {
                            self.ranks.get_or_insert(seen);
                        }
                        true
                    }
                    Look::NotYet => false,
                    Look::HowMany => {
                        if self.waiting.insert(name.clone()) {
                            self.puzzled = name.to_str().map(str::to_owned);
                        }
                        false
                    }
                }
            }
        }
    }

    /// Notes what changed since the last time.
    fn hear(&mut self, fs: &dyn Fs) {
        let Some(changes) = &mut self.changes else { return };
        let Some(changed) = changes.read(fs) else {
            self.changes = None;
            return;
        };
        if changed.lost {
            self.changed.extend(self.entries(fs).into_keys());
        }
        let suffix = match &self.format {
            CheckpointFormat::Marker(marker) => format!(".{marker}"),
            _ => String::new(),
        };
        for name in changed.entries {
            let begun = !self.taken.contains_key(&name) && self.number(&name).is_some();
            if let Some(marked) = name.to_str().and_then(|name| name.strip_suffix(&suffix)) {
                self.changed.insert(marked.into());
            }
            if begun {
                self.changed.extend(self.waiting.iter().cloned());
            }
            self.changed.insert(name);
        }
    }

    fn entries(&self, fs: &dyn Fs) -> BTreeMap<OsString, Moment> {
        let Ok(listed) = fs.list(&self.directory) else { return BTreeMap::new() };
        let marker = match &self.format {
            CheckpointFormat::Marker(marker) => Some(format!(".{marker}")),
            _ => None,
        };
        listed
            .into_iter()
            .filter(|entry| matches!(entry.kind, FileKind::File | FileKind::Dir))
            .filter(|entry| {
                let name = entry.name.to_string_lossy();
                let hidden = name.starts_with('.') || name.ends_with(".tmp") || name.ends_with(".part");
                let marks = marker.as_ref().is_some_and(|marker| name.ends_with(marker.as_str()));
                !hidden && !marks && completeness::is_entry(&self.format, &name, entry.kind)
            })
            .filter_map(|entry| {
                let meta = fs.metadata(&self.directory.join(&entry.name)).ok()??;
                let moment = Moment { inode: meta.ino, length: meta.len, modified_ns: meta.mtime_ns };
                Some((entry.name, moment))
            })
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests play the program that writes checkpoints")]
mod tests {
    use prunella_model::Span;
    use prunella_sys::Sys;

    use super::*;

    fn scratch() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    fn checkpoint(format: CheckpointFormat) -> Checkpoint {
        let (every, grace) = (Span::default(), Span::default());
        Checkpoint { format, every, auto: false, keep: 2, grace, sealed: false, ranks: None }
    }

    #[test]
    fn only_what_was_renamed_into_place_is_complete() {
        let (directory, sys) = (scratch(), Sys::real());
        std::fs::write(directory.path().join("restored"), "0").expect("writable");
        let mut watcher = Watcher::new(directory.path(), &checkpoint(CheckpointFormat::Files), &*sys.fs);
        std::fs::write(directory.path().join("half"), "1").expect("writable");
        std::fs::write(directory.path().join(".e1"), "1").expect("writable");
        assert_eq!(watcher.newest(&*sys.fs), None);
        std::fs::rename(directory.path().join(".e1"), directory.path().join("e1")).expect("renamed");
        assert_eq!(watcher.newest(&*sys.fs).as_deref(), Some("e1"));
        assert_eq!(watcher.newest(&*sys.fs), None, "once");
        assert_eq!(watcher.last(&*sys.fs), None, "half was never renamed");
    }

    #[test]
    fn a_marked_entry_is_complete_and_an_unmarked_one_is_not() {
        let (directory, sys) = (scratch(), Sys::real());
        let format = CheckpointFormat::Marker("DONE".to_owned());
        let mut watcher = Watcher::new(directory.path(), &checkpoint(format), &*sys.fs);
        std::fs::create_dir(directory.path().join("step-1")).expect("writable");
        std::fs::write(directory.path().join("step-1/weights"), "1").expect("writable");
        assert_eq!(watcher.newest(&*sys.fs), None);
        std::fs::write(directory.path().join("step-1/DONE"), "").expect("writable");
        assert_eq!(watcher.newest(&*sys.fs).as_deref(), Some("step-1"));
        std::fs::write(directory.path().join("state"), "2").expect("writable");
        std::fs::write(directory.path().join("state.DONE"), "").expect("writable");
        assert_eq!(watcher.newest(&*sys.fs).as_deref(), Some("state"));
    }

    #[test]
    fn what_was_missed_is_returned_again_and_at_the_end_at_once() {
        let (directory, sys) = (scratch(), Sys::real());
        let mut watcher = Watcher::new(directory.path(), &checkpoint(CheckpointFormat::Files), &*sys.fs);
        std::fs::write(directory.path().join(".e1"), "1").expect("writable");
        std::fs::rename(directory.path().join(".e1"), directory.path().join("e1")).expect("renamed");
        assert_eq!(watcher.newest(&*sys.fs).as_deref(), Some("e1"));
        watcher.missed("e1");
        let again = (0..=PATIENCE).find_map(|_| watcher.newest(&*sys.fs));
        assert_eq!(again.as_deref(), Some("e1"));
        watcher.missed("e1");
        assert_eq!(watcher.last(&*sys.fs).as_deref(), Some("e1"));
    }

    #[test]
    fn a_folder_that_is_written_deep_inside_is_heard_of() {
        let (directory, sys) = (scratch(), Sys::real());
        let format = CheckpointFormat::Marker("DONE".to_owned());
        let mut watcher = Watcher::new(directory.path(), &checkpoint(format), &*sys.fs);
        let changed = |watcher: &mut Watcher| {
            watcher.hear(&*sys.fs);
            std::mem::take(&mut watcher.changed).into_iter().collect::<Vec<_>>()
        };
        std::fs::create_dir_all(directory.path().join("e/a/b")).expect("writable");
        assert_eq!(changed(&mut watcher), ["e"]);
        std::fs::write(directory.path().join("e/a/b/file"), "x").expect("writable");
        assert_eq!(changed(&mut watcher), ["e"]);
        assert_eq!(changed(&mut watcher), [""; 0], "nothing happened");
        std::fs::rename(directory.path().join("e"), directory.path().join("f")).expect("renamed");
        assert_eq!(changed(&mut watcher), ["f"]);
        std::fs::write(directory.path().join("f/a/b/file"), "y").expect("writable");
        assert_eq!(changed(&mut watcher), ["f"]);
    }
}
