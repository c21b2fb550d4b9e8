//! Large objects: files that are durable before a row names them.
//!
//! A file without a row is no object. So the order is: content, mode, name, directory, and then the row; a crash between
//! leaves waste, never half an object.

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use prunella_sys::{FileKind, Sys, random_hex};

use super::layout::io_error;
use crate::error::ObjectsError;
use crate::key::ObjectKey;
use crate::objects::{ObjectReader, SMALL_BYTES, TakeIn};

/// The disk is asked to begin writing after so many bytes of a copy.
const WRITEBACK: u64 = 16 << 20;

/// The folder `data/` of a store.
#[derive(Clone)]
pub(super) struct Files {
    sys: Sys,
    dir: PathBuf,
    /// The folders of `data/` whose names this process knows to be durable.
    durable: Arc<Mutex<HashSet<String>>>,
}

/// A file that is durable in `data/` and waits for its row.
#[derive(Debug)]
pub(super) struct Staged {
    /// Its name below `data/`.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    source: Source,
}

/// A file on its way to become an object.
#[derive(Debug)]
pub(super) enum Taken {
    /// It fits beside the records.
    Small(Bytes),
    /// It is a file of the store now.
    Large(Staged),
}

#[derive(Debug)]
enum Source {
    /// The file itself was moved here.
    Moved(PathBuf),
    /// A copy was made; the source goes with success.
    RemoveAfter(PathBuf),
    /// The source stays, or there was none.
    Stays,
}

impl Files {
    /// Returns the folder of the store at `dir`, which exists.
    pub fn new(sys: Sys, dir: PathBuf) -> Self {
        Files { sys, dir, durable: Arc::default() }
    }

    /// Returns where the file of that name lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join("data").join(name)
    }

    /// Makes `bytes` a durable file.
    pub fn stage_bytes(&self, key: &ObjectKey, bytes: &[u8]) -> Result<Staged, ObjectsError> {
        self.stage(key, |path| {
            let mut file = match self.sys.fs.create_new(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
                file => file?,
            };
            let filled = file.write_all(bytes).and_then(|()| file.sync());
            if let Err(error) = filled.and_then(|()| self.sys.fs.set_mode(path, 0o444)) {
                // What cannot be removed is waste.
                let _ = self.sys.fs.remove_file(path);
                return Err(error);
            }
            Ok(Some((bytes.len() as u64, Source::Stays)))
        })
    }

    /// Takes the file at `source` in: read if it is small, else made a durable file of the store.
    pub fn take_in(&self, key: &ObjectKey, source: &Path, how: TakeIn) -> Result<Taken, ObjectsError> {
        let meta = self.sys.fs.metadata(source).and_then(|meta| meta.ok_or_else(|| io::ErrorKind::NotFound.into()));
        let meta = meta.map_err(|error| ObjectsError::Io { path: source.to_owned(), source: error })?;
        if meta.kind != FileKind::File {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
            return Err(ObjectsError::Io { path: source.to_owned(), source: error });
        }
        if meta.len <= SMALL_BYTES as u64 {
            let bytes = self.sys.fs.read(source);
            let bytes = bytes.map_err(|error| ObjectsError::Io { path: source.to_owned(), source: error })?;
            return Ok(Taken::Small(bytes.into()));
        }
        let staged = match how {
            // Through another name it could still be written.
            TakeIn::Move { synced } if meta.nlink == 1 => {
                let moved = self.stage(key, |path| self.take_over(source, path, meta.len, synced));
                match moved {
                    Err(ObjectsError::Io { source: error, .. }) if error.kind() == io::ErrorKind::CrossesDevices => {
                        self.stage(key, |path| self.copy(source, path, Source::RemoveAfter(source.to_owned())))
                    }
                    moved => moved,
                }
            }
            TakeIn::Move { .. } => {
                self.stage(key, |path| self.copy(source, path, Source::RemoveAfter(source.to_owned())))
            }
            TakeIn::Copy => self.stage(key, |path| self.copy(source, path, Source::Stays)),
        };
        staged.map(Taken::Large)
    }

    /// Puts the source of a refused object back, or removes the copy.
    pub fn discard(&self, staged: &Staged) {
        let path = self.path(&staged.name);
        // Whatever fails here leaves a file without a row: waste, which is no object.
        let _ = match &staged.source {
            Source::Moved(source) => self.sys.fs.rename_noreplace(&path, source).map(|_| ()),
            Source::RemoveAfter(_) | Source::Stays => self.sys.fs.remove_file(&path),
        };
    }

    /// Ends the taking in of an object whose row stands.
    pub fn finish(&self, staged: &Staged) -> Result<(), ObjectsError> {
        match &staged.source {
            Source::RemoveAfter(source) => self.remove_source(source),
            Source::Moved(_) | Source::Stays => Ok(()),
        }
    }

    /// Removes the source of a move whose bytes are an object now.
    pub fn remove_source(&self, source: &Path) -> Result<(), ObjectsError> {
        self.sys.fs.remove_file(source).map_err(|error| ObjectsError::Io { path: source.to_owned(), source: error })
    }

    /// Removes the file of an object whose row is gone.
    pub fn remove(&self, name: &str) {
        // What stays is waste.
        let _ = self.sys.fs.remove_file(&self.path(name));
    }

    /// Opens a file for reading; `None` if it is not there.
    pub fn open(&self, name: &str) -> Result<Option<ObjectReader>, ObjectsError> {
        let opened = self.sys.fs.open_read(&self.path(name)).and_then(|mut file| {
            let size = file.seek(SeekFrom::End(0))?;
            file.rewind()?;
            Ok(ObjectReader::new(file, size))
        });
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ObjectsError::Io { path: self.path(name), source: error }),
        }
    }

    /// Returns a file's bytes; `None` if it is not there.
    pub fn read(&self, name: &str) -> Result<Option<Bytes>, ObjectsError> {
        match self.sys.fs.read(&self.path(name)) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ObjectsError::Io { path: self.path(name), source: error }),
        }
    }

    /// Finds a free name, lets `put` fill it, and makes the name durable. `put` returns `None` if the name is taken.
    fn stage(
        &self,
        key: &ObjectKey,
        put: impl Fn(&Path) -> io::Result<Option<(u64, Source)>>,
    ) -> Result<Staged, ObjectsError> {
        let (folder, plain) = file_name(key);
        let folder_path = self.path(&folder);
        self.make_durable(&folder, &folder_path).map_err(|error| io_error(&self.dir, &folder_path, error))?;
        let mut name = format!("{folder}/{plain}");
        loop {
            let path = self.path(&name);
            match put(&path) {
                Ok(Some((size, source))) => {
                    let staged = Staged { name, size, source };
                    return match self.sys.fs.sync_dir(&folder_path) {
                        Ok(()) => Ok(staged),
                        Err(error) => {
                            self.discard(&staged);
                            Err(io_error(&self.dir, &folder_path, error))
                        }
                    };
                }
                // Another's attempt at the same key, or what a crash left of one.
                Ok(None) => name = format!("{folder}/{plain}%{}", random_hex(&*self.sys.random, 8)),
                Err(error) => return Err(io_error(&self.dir, &path, error)),
            }
        }
    }

    fn make_durable(&self, folder: &str, path: &Path) -> io::Result<()> {
        let durable = || self.durable.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if durable().contains(folder) {
            return Ok(());
        }
        let data = self.dir.join("data");
        self.sys.fs.create_dir(&data)?;
        self.sys.fs.create_dir(path)?;
        // Also if they existed: whoever made them may not have come so far. Once a process is enough.
        if !durable().contains("") {
            self.sys.fs.sync_dir(&self.dir)?;
            durable().insert(String::new());
        }
        self.sys.fs.sync_dir(&data)?;
        durable().insert(folder.to_owned());
        Ok(())
    }

    fn take_over(&self, source: &Path, path: &Path, size: u64, synced: bool) -> io::Result<Option<(u64, Source)>> {
        self.sys.fs.set_mode(source, 0o444)?;
        if !self.sys.fs.rename_noreplace(source, path)? {
            return Ok(None);
        }
        if !synced && let Err(error) = self.sys.fs.sync_file(path) {
            let _ = self.sys.fs.rename_noreplace(path, source);
            return Err(error);
        }
        Ok(Some((size, Source::Moved(source.to_owned()))))
    }

    fn copy(&self, source: &Path, path: &Path, after: Source) -> io::Result<Option<(u64, Source)>> {
        let filled = self.clone_or_copy(source, path);
        match filled {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => {
                let _ = self.sys.fs.remove_file(path);
                Err(error)
            }
            Ok(size) => Ok(Some((size, after))),
        }
    }

    /// Clones where the file system can; else copies, while the disk already writes what was copied.
    fn clone_or_copy(&self, source: &Path, path: &Path) -> io::Result<u64> {
        let size = if self.sys.fs.reflink(source, path)? {
            self.sys.fs.sync_file(path)?;
            self.sys.fs.metadata(path)?.map_or(0, |meta| meta.len)
        } else {
            let mut from = self.sys.fs.open_read(source)?;
            let mut to = self.sys.fs.create_new(path)?;
            let mut buffer = vec![0; 1 << 20];
            let mut size = 0;
            loop {
                match from.read(&mut buffer)? {
                    0 => break,
                    n => {
                        to.write_all(&buffer[..n])?;
                        size += n as u64;
                        if size % WRITEBACK < buffer.len() as u64 {
                            to.start_writeback();
                        }
                    }
                }
            }
            to.sync()?;
            size
        };
        self.sys.fs.set_mode(path, 0o444)?;
        Ok(size)
    }
}

/// Returns folder and file name for a key: readable, unique unless very long, valid on every file system.
fn file_name(key: &ObjectKey) -> (String, String) {
    let hash = blake3::hash(key.as_str().as_bytes()).to_hex();
    let (folder, rest) = match key.as_str().strip_prefix("data/").and_then(|rest| rest.split_once('/')) {
        Some((folder, rest)) if folder.len() == 2 => (folder, rest),
        _ => (&hash[..2], key.as_str()),
    };
    // `%` is in no key.
    let mut name = rest.replace('/', "%");
    if name.len() > 200 {
        name.truncate(150);
        name = format!("{name}%{}", &hash[..32]);
    }
    (folder.to_owned(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_found_by_eye_and_no_two_keys_share_a_name() {
        let name = |text: &str| {
            let (folder, name) = file_name(&ObjectKey::new(text).unwrap());
            format!("{folder}/{name}")
        };
        assert_eq!(name("data/ab/key-1-x"), "ab/key-1-x");
        assert!(name("checkpoints/k/1").ends_with("/checkpoints%k%1"));
        let long = "x".repeat(400);
        assert!(name(&long).len() < 220);
        assert_ne!(name(&format!("{long}1")), name(&format!("{long}2")));
    }
}
