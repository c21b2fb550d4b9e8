//! Hearing of changes in the checkpoint directory, so that looking costs nothing while nothing happens.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsString,
    path::{Path, PathBuf},
};

use prunella_sys::{FileKind, Fs};
use rustix::{
    fd::OwnedFd,
    fs::inotify::{self, ReadFlags, WatchFlags},
};

/// More directories than this are not watched: the checkpoint directory is then looked at from time to time.
const MOST: usize = 4096;

/// What is heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Entries that are renamed into the directory.
    Renames,
    /// Every file that is closed, made or renamed, however deep.
    Everything,
}

/// What changed since the last question.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// Names of top-level entries.
    pub(crate) entries: BTreeSet<OsString>,
    /// Whether more may have changed than was told.
    pub(crate) lost: bool,
}

/// A watched checkpoint directory.
pub(crate) struct Changes {
    fd: OwnedFd,
    root: PathBuf,
    depth: Depth,
    /// Watched directories, relative to the root.
    watched: HashMap<i32, PathBuf>,
}

impl Changes {
    /// Watches the directory; nothing where the system cannot.
    pub(crate) fn of(root: &Path, depth: Depth, fs: &dyn Fs) -> Option<Self> {
        if !fs.is_of_the_kernel() {
            return None;
        }
        let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).ok()?;
        let mut changes = Self { fd, root: root.to_owned(), depth, watched: HashMap::new() };
        changes.watch(Path::new(""), fs).then_some(changes)
    }

    /// Returns what changed since the last time; nothing if it cannot be heard any more.
    pub(crate) fn read(&mut self, fs: &dyn Fs) -> Option<Changed> {
        let mut changed = Changed::default();
        let mut appeared = Vec::new();
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        // Not blocking: an error says that there is nothing more.
        while let Ok(event) = reader.next() {
            let flags = event.events();
            changed.lost |= flags.contains(ReadFlags::QUEUE_OVERFLOW);
            if flags.contains(ReadFlags::IGNORED) {
                self.watched.remove(&event.wd());
                continue;
            }
            let (Some(directory), Some(name)) = (self.watched.get(&event.wd()), event.file_name()) else { continue };
            let path = directory.join(os_string(name.to_bytes()));
            if let Some(top) = path.iter().next() {
                changed.entries.insert(top.to_owned());
            }
            if self.depth == Depth::Everything && flags.contains(ReadFlags::ISDIR) {
                appeared.push(path);
            }
        }
        // What was made in a new directory before it was watched is not told of: its entry counts as changed anyway.
        appeared.iter().all(|path| self.watch(path, fs)).then_some(changed)
    }

    /// Watches a directory, and those in it unless only renames are wanted; false if that is too much.
    fn watch(&mut self, relative: &Path, fs: &dyn Fs) -> bool {
        let flags = match self.depth {
            Depth::Renames => WatchFlags::MOVED_TO,
            Depth::Everything => WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::CREATE,
        };
        let path = self.root.join(relative);
        match inotify::add_watch(&self.fd, &path, flags | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW) {
            // A directory that was renamed is watched already, and has its new name from now on.
            Ok(number) => drop(self.watched.insert(number, relative.to_owned())),
            // Gone again.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return true,
            Err(_) => return false,
        }
        if self.depth == Depth::Renames {
            return true;
        }
        if self.watched.len() > MOST {
            return false;
        }
        let inside = fs.list(&path).unwrap_or_default();
        let directories = inside.into_iter().filter(|entry| entry.kind == FileKind::Dir);
        directories.map(|entry| relative.join(entry.name)).all(|path| self.watch(&path, fs))
    }
}

fn os_string(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec(bytes.to_vec())
}
