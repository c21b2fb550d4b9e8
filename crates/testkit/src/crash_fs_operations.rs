//! What a program does with the file system: every operation is checked, logged and carried out.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};

use prunella_sys::{DirEntry, DirLock, FileKind, Fs, FsFile, FsRead, Meta, ReadLease};

use crate::crash_fs::{CrashFs, Effect, Node, names};

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

/// A directory that somebody has; a crash leaves nothing of it.
struct Locked {
    fs: CrashFs,
    node: usize,
}

impl DirLock for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        self.fs.state().locked.remove(&self.node);
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

    fn try_lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let mut state = self.state();
        let node = state.find(path)?;
        Ok(state.locked.insert(node).then(|| Box::new(Locked { fs: self.clone(), node }) as Box<dyn DirLock>))
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
        if !self.state().reflinks() {
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
