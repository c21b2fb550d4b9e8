//! A file system in memory that logs every operation, so that every state a crash can leave is known.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Cursor, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use prunella_sys::{DirEntry, FileKind, Fs, FsFile, FsRead, Meta};

/// A file system in memory that logs every operation.
///
/// Between any two operations a crash is possible: [`CrashFs::crash_points`] counts them, [`CrashFs::images_at`] gives
/// the states that can be left there. It is stricter than real file systems: unsynced effects are lost in any subset and
/// a rename between directories can be half done. Permission bits are durable at once. Links are not followed.
///
/// Clones share one file system.
#[derive(Clone)]
pub struct CrashFs {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    File(Vec<u8>),
    Dir(BTreeMap<OsString, usize>),
    Symlink(PathBuf),
}

/// One change of the disk. Which of them a crash can undo is decided in `crash_fs_images`.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// A node without a name.
    Make(Node),
    /// Bytes at a file's end.
    Write {
        file: usize,
        bytes: Vec<u8>,
    },
    /// Names set or removed together.
    Names(Vec<NameChange>),
    SyncFile(usize),
    SyncDir(usize),
    /// An operation of somebody else; durable with the next `SyncTransactions`, never without those before it.
    Transaction(Vec<u8>),
    SyncTransactions,
}

#[derive(Clone, Debug)]
pub(crate) struct NameChange {
    pub dir: usize,
    pub name: OsString,
    pub node: Option<usize>,
}

pub(crate) struct State {
    pub nodes: Vec<Node>,
    modes: BTreeMap<usize, u32>,
    /// The nodes when the log began: all of it is durable.
    pub base: Vec<Node>,
    /// The transactions before the log began.
    pub base_transactions: Vec<Vec<u8>>,
    /// One entry an operation.
    pub log: Vec<Vec<Effect>>,
    failing: Option<(usize, io::ErrorKind)>,
    reflinks: bool,
}

pub(crate) const ROOT: usize = 0;

impl CrashFs {
    /// Returns an empty file system.
    pub fn new() -> Self {
        Self::from_nodes(vec![Node::Dir(BTreeMap::new())], Vec::new(), false)
    }

    /// Returns an empty file system that supports reflinks.
    pub fn with_reflinks() -> Self {
        Self::from_nodes(vec![Node::Dir(BTreeMap::new())], Vec::new(), true)
    }

    pub(crate) fn from_nodes(nodes: Vec<Node>, transactions: Vec<Vec<u8>>, reflinks: bool) -> Self {
        let state = State {
            base: nodes.clone(),
            nodes,
            modes: BTreeMap::new(),
            base_transactions: transactions,
            log: Vec::new(),
            failing: None,
            reflinks,
        };
        CrashFs { state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Returns how many operations were done so far: a crash is possible after each, and before the first.
    pub fn crash_points(&self) -> usize {
        self.state().log.len()
    }

    /// Makes everything durable and forgets the log, so that a test enumerates only what follows.
    pub fn settle(&self) {
        let mut state = self.state();
        state.base_transactions = transactions(&state);
        state.base = state.nodes.clone();
        state.log.clear();
    }

    /// Returns what was noted as transactions so far, oldest first.
    pub fn transactions(&self) -> Vec<Vec<u8>> {
        transactions(&self.state())
    }

    /// Lets the `n`-th changing operation from now on (0: the next) fail once, having done nothing.
    pub fn fail_once_after(&self, n: usize, kind: io::ErrorKind) {
        self.state().failing = Some((n, kind));
    }

    /// Returns the permission bits of `path`.
    pub fn mode(&self, path: &Path) -> io::Result<u32> {
        let state = self.state();
        let node = state.find(path)?;
        Ok(state.mode(node))
    }

    /// Returns every path that exists, sorted, directories with a slash at the end.
    pub fn paths(&self) -> Vec<String> {
        let state = self.state();
        let mut found = Vec::new();
        let mut waiting = vec![(ROOT, PathBuf::from("/"))];
        while let Some((dir, path)) = waiting.pop() {
            for (name, &node) in state.dir(dir).into_iter().flatten() {
                let path = path.join(name);
                if matches!(state.nodes[node], Node::Dir(_)) {
                    found.push(format!("{}/", path.display()));
                    waiting.push((node, path));
                } else {
                    found.push(path.display().to_string());
                }
            }
        }
        found.sort();
        found
    }

    /// Checks that nothing was to fail here and returns the state to change.
    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        match state.failing {
            Some((0, kind)) => {
                state.failing = None;
                Err(kind.into())
            }
            Some((n, kind)) => {
                state.failing = Some((n - 1, kind));
                Ok(state)
            }
            None => Ok(state),
        }
    }

    fn make(&self, path: &Path, node: Node) -> io::Result<usize> {
        let mut state = self.change()?;
        let (dir, name) = state.parent(path)?;
        if state.entry(dir, &name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.nodes.len();
        state.apply(vec![Effect::Make(node), names([(dir, name, Some(id))])]);
        Ok(id)
    }
}

impl Default for CrashFs {
    fn default() -> Self {
        Self::new()
    }
}

fn names<const N: usize>(changes: [(usize, OsString, Option<usize>); N]) -> Effect {
    Effect::Names(changes.into_iter().map(|(dir, name, node)| NameChange { dir, name, node }).collect())
}

fn transactions(state: &State) -> Vec<Vec<u8>> {
    let logged = state.log.iter().flatten().filter_map(|effect| match effect {
        Effect::Transaction(note) => Some(note.clone()),
        _ => None,
    });
    state.base_transactions.iter().cloned().chain(logged).collect()
}

/// Carries out an effect on nodes.
pub(crate) fn apply(nodes: &mut Vec<Node>, effect: &Effect) {
    match effect {
        Effect::Make(node) => nodes.push(node.clone()),
        Effect::Write { file, bytes } => {
            if let Node::File(content) = &mut nodes[*file] {
                content.extend_from_slice(bytes);
            }
        }
        Effect::Names(changes) => {
            for NameChange { dir, name, node } in changes {
                if let Node::Dir(entries) = &mut nodes[*dir] {
                    match node {
                        Some(node) => entries.insert(name.clone(), *node),
                        None => entries.remove(name),
                    };
                }
            }
        }
        Effect::SyncFile(_) | Effect::SyncDir(_) | Effect::Transaction(_) | Effect::SyncTransactions => {}
    }
}

impl State {
    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in &effects {
            apply(&mut self.nodes, effect);
        }
        self.log.push(effects);
    }

    pub(crate) fn reflinks(&self) -> bool {
        self.reflinks
    }

    fn mode(&self, node: usize) -> u32 {
        self.modes.get(&node).copied().unwrap_or(if matches!(self.nodes[node], Node::Dir(_)) { 0o755 } else { 0o644 })
    }

    fn dir(&self, node: usize) -> io::Result<&BTreeMap<OsString, usize>> {
        match &self.nodes[node] {
            Node::Dir(entries) => Ok(entries),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&self, node: usize) -> io::Result<&Vec<u8>> {
        match &self.nodes[node] {
            Node::File(content) => Ok(content),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
            Node::Symlink(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn entry(&self, dir: usize, name: &OsStr) -> Option<usize> {
        self.dir(dir).ok()?.get(name).copied()
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = ROOT;
        for component in path.components() {
            if let Component::Normal(name) = component {
                at = *self.dir(at)?.get(name).ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(at)
    }

    fn parent(&self, path: &Path) -> io::Result<(usize, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::AlreadyExists)?;
        let dir = self.find(path.parent().unwrap_or(Path::new("")))?;
        self.dir(dir)?;
        Ok((dir, name.to_owned()))
    }

    fn nlink(&self, node: usize) -> u64 {
        let dirs = self.nodes.iter().filter_map(|n| if let Node::Dir(entries) = n { Some(entries) } else { None });
        dirs.flat_map(BTreeMap::values).filter(|&&named| named == node).count() as u64
    }

    /// Returns the effects of a rename: between two directories it is two, of which a crash can keep one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<Vec<Effect>> {
        let ((from_dir, from_name), (to_dir, to_name)) = (self.parent(from)?, self.parent(to)?);
        let node = self.entry(from_dir, &from_name).ok_or(io::ErrorKind::NotFound)?;
        if let Some(there) = self.entry(to_dir, &to_name) {
            match &self.nodes[there] {
                Node::Dir(entries) if !entries.is_empty() => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
                _ if there == node => return Ok(Vec::new()),
                _ => {}
            }
        }
        let (set, remove) = ((to_dir, to_name, Some(node)), (from_dir, from_name, None));
        Ok(if from_dir == to_dir { vec![names([set, remove])] } else { vec![names([set]), names([remove])] })
    }
}

struct OpenFile {
    fs: CrashFs,
    node: usize,
}

impl Write for OpenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.fs.change()?.apply(vec![Effect::Write { file: self.node, bytes: bytes.to_vec() }]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FsFile for OpenFile {
    fn sync(&mut self) -> io::Result<()> {
        self.fs.change()?.apply(vec![Effect::SyncFile(self.node)]);
        Ok(())
    }
}

impl Fs for CrashFs {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let node = self.make(path, Node::File(Vec::new()))?;
        Ok(Box::new(OpenFile { fs: self.clone(), node }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let found = self.state().find(path);
        match found {
            Ok(node) => {
                self.state().file(node)?;
                Ok(Box::new(OpenFile { fs: self.clone(), node }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create_new(path),
            Err(error) => Err(error),
        }
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn FsRead>> {
        Ok(Box::new(Cursor::new(self.read(path)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state();
        state.file(state.find(path)?).cloned()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let effects = state.rename(from, to)?;
        state.apply(effects);
        Ok(())
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<bool> {
        let mut state = self.change()?;
        let effects = state.rename(from, to);
        if state.find(to).is_ok() {
            return Ok(false);
        }
        let effects = effects?;
        state.apply(effects);
        Ok(true)
    }

    fn exchange(&self, a: &Path, b: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let ((a_dir, a_name), (b_dir, b_name)) = (state.parent(a)?, state.parent(b)?);
        let (a_node, b_node) = (state.find(a)?, state.find(b)?);
        state.apply(vec![names([(a_dir, a_name, Some(b_node)), (b_dir, b_name, Some(a_node))])]);
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let node = state.find(from)?;
        state.file(node)?;
        let (dir, name) = state.parent(to)?;
        if state.entry(dir, &name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.apply(vec![names([(dir, name, Some(node))])]);
        Ok(())
    }

    fn reflink(&self, from: &Path, to: &Path) -> io::Result<bool> {
        if !self.state().reflinks {
            return Ok(false);
        }
        let content = self.read(from)?;
        self.create_new(to)?.write_all(&content)?;
        Ok(true)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let (dir, name) = state.parent(path)?;
        let node = state.entry(dir, &name).ok_or(io::ErrorKind::NotFound)?;
        if matches!(state.nodes[node], Node::Dir(_)) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        state.apply(vec![names([(dir, name, None)])]);
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let entries = match self.list(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = path.join(entry.name);
            match entry.kind {
                FileKind::Dir => self.remove_dir_all(&path)?,
                _ => self.remove_file(&path)?,
            }
        }
        let mut state = self.change()?;
        let (dir, name) = state.parent(path)?;
        state.apply(vec![names([(dir, name, None)])]);
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        let found = {
            let state = self.state();
            state.find(path).map(|node| state.dir(node).map(|_| ()))
        };
        match found {
            Ok(Ok(())) => Ok(false),
            Ok(Err(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => self.make(path, Node::Dir(BTreeMap::new())).map(|_| true),
        }
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let node = state.find(path)?;
        state.file(node)?;
        state.apply(vec![Effect::SyncFile(node)]);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let node = state.find(path)?;
        state.dir(node)?;
        state.apply(vec![Effect::SyncDir(node)]);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state();
        let entries = state.dir(state.find(path)?)?;
        Ok(entries
            .iter()
            .map(|(name, &node)| DirEntry { name: name.clone(), kind: kind(&state.nodes[node]) })
            .collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Meta>> {
        let state = self.state();
        let node = match state.find(path) {
            Ok(node) => node,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let len = if let Node::File(content) = &state.nodes[node] { content.len() as u64 } else { 0 };
        // Time is the number of the last operation that touched it.
        let touched = |effect: &Effect| matches!(effect, Effect::Write { file, .. } if *file == node);
        let time = state.log.iter().rposition(|effects| effects.iter().any(touched)).map_or(1, |at| at as i128 + 2);
        Ok(Some(Meta {
            kind: kind(&state.nodes[node]),
            len,
            mtime_ns: time,
            ctime_ns: time,
            ino: node as u64 + 1,
            dev: 1,
            mode_exec: state.mode(node) & 0o100 != 0,
            nlink: state.nlink(node),
        }))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let state = self.state();
        match &state.nodes[state.find(path)?] {
            Node::Symlink(target) => Ok(target.clone()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.make(path, Node::Symlink(target.to_owned())).map(|_| ())
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mut state = self.change()?;
        let node = state.find(path)?;
        state.modes.insert(node, mode);
        Ok(())
    }

    fn free_space(&self, _path: &Path) -> io::Result<u64> {
        Ok(1 << 40)
    }

    fn transaction(&self, describe: &dyn Fn() -> Vec<u8>) {
        self.state().apply(vec![Effect::Transaction(describe())]);
    }

    fn sync_transactions(&self, _log: &Path, _new: bool) -> io::Result<()> {
        self.change()?.apply(vec![Effect::SyncTransactions]);
        Ok(())
    }
}

fn kind(node: &Node) -> FileKind {
    match node {
        Node::File(_) => FileKind::File,
        Node::Dir(_) => FileKind::Dir,
        Node::Symlink(_) => FileKind::Symlink,
    }
}
