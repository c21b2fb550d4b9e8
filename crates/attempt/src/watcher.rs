//! Knowing when an entry of the checkpoint directory is complete.

use std::{
    collections::HashMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use prunella_model::CheckpointFormat;
use prunella_sys::{FileKind, Fs};
use rustix::fs::inotify;

/// What identifies one moment of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    inode: u64,
    length: u64,
    modified_ns: i128,
}

/// Finds complete entries: renamed into place (`files`) or marked (`marker`).
pub(crate) struct Watcher {
    directory: PathBuf,
    format: CheckpointFormat,
    inotify: Option<rustix::fd::OwnedFd>,
    taken: HashMap<OsString, Moment>,
    renamed: HashMap<OsString, ()>,
}

impl Watcher {
    /// Watches the directory; entries that are there already (a restored one) are not new.
    pub(crate) fn new(directory: &Path, format: CheckpointFormat, fs: &dyn Fs) -> Self {
        let mut watcher = Self {
            directory: directory.to_owned(),
            inotify: match format {
                CheckpointFormat::Files => watch(directory),
                CheckpointFormat::Marker(_) | CheckpointFormat::Socket => None,
            },
            format,
            taken: HashMap::new(),
            renamed: HashMap::new(),
        };
        for (name, moment) in watcher.entries(fs) {
            watcher.taken.insert(name, moment);
        }
        watcher
    }

    /// Returns the newest entry that is complete and was not returned before, if there is one.
    ///
    /// Older complete entries are passed over: the newest comes first, and one is enough.
    pub(crate) fn newest(&mut self, fs: &dyn Fs) -> Option<String> {
        if self.format == CheckpointFormat::Socket {
            return None;
        }
        self.read_renames();
        if self.format == CheckpointFormat::Files && self.inotify.is_some() && self.renamed.is_empty() {
            return None;
        }
        let mut complete: Vec<(OsString, Moment)> = self
            .entries(fs)
            .into_iter()
            .filter(|(name, moment)| self.taken.get(name) != Some(moment) && self.is_complete(fs, name))
            .collect();
        complete.sort_by(|a, b| (a.1.modified_ns, &a.0).cmp(&(b.1.modified_ns, &b.0)));
        let newest = complete.last().map(|(name, _)| name.clone());
        for (name, moment) in complete {
            self.renamed.remove(&name);
            self.taken.insert(name, moment);
        }
        // Names that were renamed away again are forgotten with the next look.
        newest.and_then(|name| name.into_string().ok())
    }

    fn is_complete(&self, fs: &dyn Fs, name: &OsString) -> bool {
        match &self.format {
            CheckpointFormat::Files => self.inotify.is_none() || self.renamed.contains_key(name),
            CheckpointFormat::Marker(marker) => {
                let path = self.directory.join(name);
                let mut beside = name.clone();
                beside.push(".");
                beside.push(marker);
                [path.join(marker), self.directory.join(beside)]
                    .iter()
                    .any(|marker| matches!(fs.metadata(marker), Ok(Some(_))))
            }
            CheckpointFormat::Socket => false,
        }
    }

    fn entries(&self, fs: &dyn Fs) -> Vec<(OsString, Moment)> {
        let Ok(listed) = fs.list(&self.directory) else { return Vec::new() };
        let marker = match &self.format {
            CheckpointFormat::Marker(marker) => Some(format!(".{marker}")),
            CheckpointFormat::Files | CheckpointFormat::Socket => None,
        };
        listed
            .into_iter()
            .filter(|entry| matches!(entry.kind, FileKind::File | FileKind::Dir))
            .filter(|entry| {
                let name = entry.name.to_string_lossy();
                let hidden = name.starts_with('.') || name.ends_with(".tmp") || name.ends_with(".part");
                !hidden && marker.as_ref().is_none_or(|marker| !name.ends_with(marker.as_str()))
            })
            .filter_map(|entry| {
                let meta = fs.metadata(&self.directory.join(&entry.name)).ok()??;
                let moment = Moment { inode: meta.ino, length: meta.len, modified_ns: meta.mtime_ns };
                Some((entry.name, moment))
            })
            .collect()
    }

    fn read_renames(&mut self) {
        let Some(fd) = &self.inotify else { return };
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(fd, &mut buffer);
        let mut lost = false;
        // Not blocking: an error says that there is nothing more.
        while let Ok(event) = reader.next() {
            lost |= event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
            if event.events().contains(inotify::ReadFlags::MOVED_TO)
                && let Some(name) = event.file_name()
            {
                self.renamed.insert(os_string(name.to_bytes()), ());
            }
        }
        if lost && let Ok(listed) = std::fs::read_dir(&self.directory) {
            // Too many renames to be told of each: every entry may have been renamed.
            self.renamed.extend(listed.flatten().map(|entry| (entry.file_name(), ())));
        }
    }
}

fn os_string(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec(bytes.to_vec())
}

fn watch(directory: &Path) -> Option<rustix::fd::OwnedFd> {
    let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).ok()?;
    inotify::add_watch(&fd, directory, inotify::WatchFlags::MOVED_TO).ok()?;
    Some(fd)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests play the program that writes checkpoints")]
mod tests {
    use prunella_sys::Sys;

    use super::*;

    fn scratch() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn only_what_was_renamed_into_place_is_complete() {
        let (directory, sys) = (scratch(), Sys::real());
        std::fs::write(directory.path().join("restored"), "0").expect("writable");
        let mut watcher = Watcher::new(directory.path(), CheckpointFormat::Files, &*sys.fs);
        std::fs::write(directory.path().join("half"), "1").expect("writable");
        std::fs::write(directory.path().join(".e1"), "1").expect("writable");
        assert_eq!(watcher.newest(&*sys.fs), None);
        std::fs::rename(directory.path().join(".e1"), directory.path().join("e1")).expect("renamed");
        assert_eq!(watcher.newest(&*sys.fs).as_deref(), Some("e1"));
        assert_eq!(watcher.newest(&*sys.fs), None, "once");
    }

    #[test]
    fn a_marked_entry_is_complete_and_an_unmarked_one_is_not() {
        let (directory, sys) = (scratch(), Sys::real());
        let mut watcher = Watcher::new(directory.path(), CheckpointFormat::Marker("DONE".to_owned()), &*sys.fs);
        std::fs::create_dir(directory.path().join("step-1")).expect("writable");
        std::fs::write(directory.path().join("step-1/weights"), "1").expect("writable");
        assert_eq!(watcher.newest(&*sys.fs), None);
        std::fs::write(directory.path().join("step-1/DONE"), "").expect("writable");
        assert_eq!(watcher.newest(&*sys.fs).as_deref(), Some("step-1"));
        std::fs::write(directory.path().join("state"), "2").expect("writable");
        std::fs::write(directory.path().join("state.DONE"), "").expect("writable");
        assert_eq!(watcher.newest(&*sys.fs).as_deref(), Some("state"));
    }
}
