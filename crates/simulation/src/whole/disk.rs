//! The disks of all machines in memory: quick, without a log, and full when a plan says so.
//!
//! What a loss of power does to unsynced files, `CrashFs` enumerates elsewhere: here a machine is lost with all it has.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io::{self, Cursor, ErrorKind, Write},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use prunella_sys::{DirEntry, DirLock, FileKind, Fs, FsFile, FsRead, Meta, ReadLease};

/// The file system as one machine sees it. What lies below `/mN` is its own, the rest is shared by all.
#[derive(Clone)]
pub(crate) struct Disk {
    shared: Arc<Mutex<Shared>>,
    machine: usize,
}

enum Content {
    File(Vec<u8>),
    Dir(BTreeMap<OsString, usize>),
    Symlink(PathBuf),
}

struct Node {
    content: Content,
    executable: bool,
    names: u64,
    changed_ns: i128,
}

struct Shared {
    nodes: Vec<Node>,
    locked: BTreeSet<usize>,
    full: BTreeSet<usize>,
    /// Moves with every change: no two changes have one time.
    now_ns: i128,
}

const ROOT: usize = 0;
const ROOM: u64 = 1 << 40;

impl Disk {
    pub fn new() -> Self {
        let root = Node { content: Content::Dir(BTreeMap::new()), executable: true, names: 1, changed_ns: 0 };
        let shared = Shared { nodes: vec![root], locked: BTreeSet::new(), full: BTreeSet::new(), now_ns: 1 };
        Self { shared: Arc::new(Mutex::new(shared)), machine: 0 }
    }

    /// Returns the same file system as this machine sees it.
    pub fn of(&self, machine: usize) -> Self {
        Self { shared: self.shared.clone(), machine }
    }

    /// Says whether nothing more can be written from here on by this machine.
    pub fn set_full(&self, full: bool) {
        let mut shared = self.shared();
        if full {
            shared.full.insert(self.machine);
        } else {
            shared.full.remove(&self.machine);
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn writing(&self) -> io::Result<MutexGuard<'_, Shared>> {
        let mut shared = self.shared();
        if shared.full.contains(&self.machine) {
            return Err(ErrorKind::StorageFull.into());
        }
        shared.now_ns += 1_000;
        Ok(shared)
    }
}

fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

fn name_of(path: &Path) -> io::Result<&OsStr> {
    path.file_name().ok_or_else(|| ErrorKind::InvalidInput.into())
}

impl Shared {
    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = ROOT;
        for name in names(path) {
            at = *self.dir(at)?.get(name).ok_or(ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    fn parent(&self, path: &Path) -> io::Result<usize> {
        self.find(path.parent().unwrap_or(Path::new("/")))
    }

    fn dir(&self, at: usize) -> io::Result<&BTreeMap<OsString, usize>> {
        match &self.nodes[at].content {
            Content::Dir(inside) => Ok(inside),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&self, at: usize) -> io::Result<&Vec<u8>> {
        match &self.nodes[at].content {
            Content::File(bytes) => Ok(bytes),
            Content::Dir(_) => Err(ErrorKind::IsADirectory.into()),
            Content::Symlink(_) => Err(ErrorKind::InvalidInput.into()),
        }
    }

    fn touch(&mut self, at: usize) {
        self.nodes[at].changed_ns = self.now_ns;
    }

    /// Gives what is at `node` a name, or takes the name away; what has none any more is forgotten.
    fn name(&mut self, dir: usize, name: &OsStr, node: Option<usize>) -> io::Result<()> {
        let Content::Dir(inside) = &mut self.nodes[dir].content else { return Err(ErrorKind::NotADirectory.into()) };
        let before = match node {
            Some(node) => inside.insert(name.to_owned(), node),
            None => inside.remove(name),
        };
        if let Some(node) = node {
            self.nodes[node].names += 1;
        }
        if let Some(before) = before {
            self.forget(before);
        }
        self.touch(dir);
        Ok(())
    }

    fn forget(&mut self, node: usize) {
        self.nodes[node].names -= 1;
        if self.nodes[node].names > 0 {
            return;
        }
        let gone = match &mut self.nodes[node].content {
            Content::File(bytes) => {
                *bytes = Vec::new();
                BTreeMap::new()
            }
            Content::Dir(inside) => std::mem::take(inside),
            Content::Symlink(_) => BTreeMap::new(),
        };
        gone.into_values().for_each(|inner| self.forget(inner));
    }

    fn make(&mut self, path: &Path, content: Content) -> io::Result<usize> {
        let (dir, name) = (self.parent(path)?, name_of(path)?);
        if self.dir(dir)?.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let executable = matches!(content, Content::Dir(_));
        self.nodes.push(Node { content, executable, names: 0, changed_ns: self.now_ns });
        let node = self.nodes.len() - 1;
        self.name(dir, name, Some(node))?;
        Ok(node)
    }

    /// Moves what is at `from` to `to`; what is there is replaced if it may be.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (node, old, new) = (self.find(from)?, self.parent(from)?, self.parent(to)?);
        if let Ok(there) = self.find(to) {
            let empty = self.dir(there).map(BTreeMap::is_empty);
            match (&self.nodes[node].content, empty) {
                _ if there == node => return Ok(()),
                (Content::Dir(_), Ok(true)) => {}
                (Content::Dir(_), Ok(false)) => return Err(ErrorKind::DirectoryNotEmpty.into()),
                (Content::Dir(_), Err(_)) => return Err(ErrorKind::NotADirectory.into()),
                (_, Ok(_)) => return Err(ErrorKind::IsADirectory.into()),
                (_, Err(_)) => {}
            }
        }
        self.name(new, name_of(to)?, Some(node))?;
        self.name(old, name_of(from)?, None)
    }

    fn kind(&self, at: usize) -> FileKind {
        match &self.nodes[at].content {
            Content::File(_) => FileKind::File,
            Content::Dir(_) => FileKind::Dir,
            Content::Symlink(_) => FileKind::Symlink,
        }
    }
}

struct Open {
    disk: Disk,
    node: usize,
}

impl Write for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut shared = self.disk.writing()?;
        if let Content::File(content) = &mut shared.nodes[self.node].content {
            content.extend_from_slice(bytes);
        }
        shared.touch(self.node);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FsFile for Open {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Locked {
    disk: Disk,
    node: usize,
}

impl DirLock for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        self.disk.shared().locked.remove(&self.node);
    }
}

impl Fs for Disk {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let node = self.writing()?.make(path, Content::File(Vec::new()))?;
        Ok(Box::new(Open { disk: self.clone(), node }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let found = self.shared().find(path);
        match found {
            Ok(node) => Ok(Box::new(Open { disk: self.clone(), node })),
            Err(error) if error.kind() == ErrorKind::NotFound => self.create_new(path),
            Err(error) => Err(error),
        }
    }

    fn read_lease(&self, _: &Path) -> io::Result<ReadLease> {
        Ok(ReadLease::Unsupported)
    }

    fn is_of_the_kernel(&self) -> bool {
        false
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn FsRead>> {
        Ok(Box::new(Cursor::new(self.read(path)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let shared = self.shared();
        shared.file(shared.find(path)?).cloned()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut shared = self.shared();
        shared.now_ns += 1_000;
        shared.rename(from, to)
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<bool> {
        let mut shared = self.shared();
        if shared.find(to).is_ok() {
            return Ok(false);
        }
        shared.now_ns += 1_000;
        shared.rename(from, to).map(|()| true)
    }

    fn exchange(&self, a: &Path, b: &Path) -> io::Result<()> {
        let mut shared = self.shared();
        let (one, other) = (shared.find(a)?, shared.find(b)?);
        let (dir, beside) = (shared.parent(a)?, shared.parent(b)?);
        // Both keep a name throughout.
        (shared.nodes[one].names, shared.nodes[other].names) =
            (shared.nodes[one].names + 1, shared.nodes[other].names + 1);
        shared.name(dir, name_of(a)?, Some(other))?;
        shared.name(beside, name_of(b)?, Some(one))?;
        (shared.nodes[one].names, shared.nodes[other].names) =
            (shared.nodes[one].names - 1, shared.nodes[other].names - 1);
        Ok(())
    }

    fn try_lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let mut shared = self.shared();
        let node = shared.find(path)?;
        shared.dir(node)?;
        if !shared.locked.insert(node) {
            return Ok(None);
        }
        Ok(Some(Box::new(Locked { disk: self.clone(), node })))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut shared = self.writing()?;
        let (node, dir) = (shared.find(from)?, shared.parent(to)?);
        if shared.dir(dir)?.contains_key(name_of(to)?) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        shared.name(dir, name_of(to)?, Some(node))
    }

    fn reflink(&self, _: &Path, _: &Path) -> io::Result<bool> {
        Ok(false)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.shared();
        let (node, dir) = (shared.find(path)?, shared.parent(path)?);
        if shared.dir(node).is_ok() {
            return Err(ErrorKind::IsADirectory.into());
        }
        shared.name(dir, name_of(path)?, None)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.shared();
        match shared.find(path) {
            Ok(_) => {
                let dir = shared.parent(path)?;
                shared.name(dir, name_of(path)?, None)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        if path.parent().is_none() {
            return Ok(false);
        }
        let mut shared = self.writing()?;
        match shared.find(path) {
            Ok(there) => shared.dir(there).map(|_| false).map_err(|_| ErrorKind::AlreadyExists.into()),
            Err(_) => shared.make(path, Content::Dir(BTreeMap::new())).map(|_| true),
        }
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.shared().find(path).map(drop)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.shared().find(path).map(drop)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let shared = self.shared();
        let inside = shared.dir(shared.find(path)?)?;
        Ok(inside.iter().map(|(name, node)| DirEntry { name: name.clone(), kind: shared.kind(*node) }).collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Meta>> {
        let shared = self.shared();
        let at = match shared.find(path) {
            Ok(at) => at,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(error),
        };
        let node = &shared.nodes[at];
        let len = match &node.content {
            Content::File(bytes) => bytes.len() as u64,
            Content::Dir(_) => 0,
            Content::Symlink(target) => target.as_os_str().len() as u64,
        };
        Ok(Some(Meta {
            kind: shared.kind(at),
            len,
            mtime_ns: node.changed_ns,
            ctime_ns: node.changed_ns,
            ino: at as u64,
            dev: 1,
            mode_exec: node.executable,
            nlink: node.names,
        }))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let shared = self.shared();
        match &shared.nodes[shared.find(path)?].content {
            Content::Symlink(target) => Ok(target.clone()),
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.writing()?.make(path, Content::Symlink(target.to_owned())).map(drop)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mut shared = self.shared();
        let node = shared.find(path)?;
        shared.nodes[node].executable = mode & 0o100 != 0;
        Ok(())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        Ok(if self.shared().full.contains(&self.machine) { 0 } else { ROOM })
    }
}
