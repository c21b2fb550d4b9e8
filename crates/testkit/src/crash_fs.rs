//! A file system in memory that logs every operation, so that every state a crash can leave is known.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

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
    pub modes: BTreeMap<usize, u32>,
    /// The nodes when the log began: all of it is durable.
    pub base: Vec<Node>,
    /// The transactions before the log began.
    pub base_transactions: Vec<Vec<u8>>,
    /// One entry an operation.
    pub log: Vec<Vec<Effect>>,
    /// The directories that somebody has locked.
    pub locked: BTreeSet<usize>,
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
            locked: BTreeSet::new(),
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
    pub(crate) fn change(&self) -> io::Result<MutexGuard<'_, State>> {
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

    pub(crate) fn make(&self, path: &Path, node: Node) -> io::Result<usize> {
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

pub(crate) fn names<const N: usize>(changes: [(usize, OsString, Option<usize>); N]) -> Effect {
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
    pub(crate) fn apply(&mut self, effects: Vec<Effect>) {
        for effect in &effects {
            apply(&mut self.nodes, effect);
        }
        self.log.push(effects);
    }

    pub(crate) fn reflinks(&self) -> bool {
        self.reflinks
    }

    pub(crate) fn mode(&self, node: usize) -> u32 {
        self.modes.get(&node).copied().unwrap_or(if matches!(self.nodes[node], Node::Dir(_)) { 0o755 } else { 0o644 })
    }

    pub(crate) fn dir(&self, node: usize) -> io::Result<&BTreeMap<OsString, usize>> {
        match &self.nodes[node] {
            Node::Dir(entries) => Ok(entries),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(crate) fn file(&self, node: usize) -> io::Result<&Vec<u8>> {
        match &self.nodes[node] {
            Node::File(content) => Ok(content),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
            Node::Symlink(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(crate) fn entry(&self, dir: usize, name: &OsStr) -> Option<usize> {
        self.dir(dir).ok()?.get(name).copied()
    }

    pub(crate) fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = ROOT;
        for component in path.components() {
            if let Component::Normal(name) = component {
                at = *self.dir(at)?.get(name).ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(at)
    }

    pub(crate) fn parent(&self, path: &Path) -> io::Result<(usize, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::AlreadyExists)?;
        let dir = self.find(path.parent().unwrap_or(Path::new("")))?;
        self.dir(dir)?;
        Ok((dir, name.to_owned()))
    }

    pub(crate) fn nlink(&self, node: usize) -> u64 {
        let dirs = self.nodes.iter().filter_map(|n| if let Node::Dir(entries) = n { Some(entries) } else { None });
        dirs.flat_map(BTreeMap::values).filter(|&&named| named == node).count() as u64
    }

    /// Returns the effects of a rename: between two directories it is two, of which a crash can keep one.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<Vec<Effect>> {
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
