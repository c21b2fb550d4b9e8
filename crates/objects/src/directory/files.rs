//! What is done with the files of a store.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use prunella_sys::{FileKind, Sys, mutated};

use super::names::{Sort, file};
use super::parts::{self, Named, NotNamed, Parts};
use super::walk::{Wanted, walk};
use crate::embedded::layout::io_error;
use crate::error::ObjectsError;
use crate::key::ObjectKey;
use crate::objects::{CreatedFile, Listed, MAX_GET_BYTES, TakeIn};

/// The files of one store.
pub(super) struct Files {
    pub(super) sys: Sys,
    pub(super) dir: PathBuf,
    pub(super) base: PathBuf,
    pub(super) id: String,
    pub(super) parts: Parts,
    pub(super) read_only: bool,
    /// The folders whose names this process knows to be durable.
    durable: Mutex<HashSet<PathBuf>>,
    /// The folders of which something was read since the last sync: whoever wrote it may not have synced the name yet.
    relied_on: Mutex<Relied>,
}

#[derive(Default)]
struct Relied {
    folders: BTreeSet<PathBuf>,
    failed: Option<io::ErrorKind>,
}

/// What is at a key.
pub(super) struct There {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) sort: Sort,
}

impl Files {
    /// Returns the files of the store in `dir`, whose folders are there.
    pub(super) fn new(sys: &Sys, dir: &Path, id: String, read_only: bool) -> Self {
        Files {
            sys: sys.clone(),
            dir: dir.to_owned(),
            base: dir.join("objects"),
            id,
            parts: Parts::new(sys, dir),
            read_only,
            durable: Mutex::default(),
            relied_on: Mutex::default(),
        }
    }

    pub(super) fn error(&self, path: &Path, error: io::Error) -> ObjectsError {
        io_error(&self.dir, path, error)
    }

    fn relied_on(&self) -> MutexGuard<'_, Relied> {
        self.relied_on.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn there(&self, key: &ObjectKey) -> Result<Option<There>, ObjectsError> {
        for sort in [Sort::Object, Sort::Hint] {
            let path = file(&self.base, key, sort);
            match self.sys.fs.metadata(&path) {
                Ok(Some(meta)) if meta.kind == FileKind::File => return Ok(Some(There { path, size: meta.len, sort })),
                Ok(_) => {}
                Err(error) => return Err(self.error(&path, error)),
            }
        }
        Ok(None)
    }

    /// Reads what is at a key; nothing if it is absent, or was deleted meanwhile.
    pub(super) fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError> {
        let Some(there) = self.there(key)? else { return Ok(None) };
        if there.size > MAX_GET_BYTES {
            let (size_bytes, limit_bytes) = (there.size, MAX_GET_BYTES);
            return Err(ObjectsError::TooLarge { key: key.clone(), size_bytes, limit_bytes });
        }
        match self.sys.fs.read(&there.path) {
            Ok(bytes) => {
                self.relies_on(&there.path);
                Ok(Some(bytes.into()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error(&there.path, error)),
        }
    }

    pub(super) fn relies_on(&self, path: &Path) {
        if let Some(folder) = path.parent() {
            self.relied_on().folders.insert(folder.to_owned());
        }
    }

    /// Makes the folders of a file and their names durable.
    fn make_folders(&self, path: &Path) -> Result<(), ObjectsError> {
        let Some(folder) = path.parent().filter(|folder| *folder != self.base) else { return Ok(()) };
        if self.durable().contains(folder) {
            return Ok(());
        }
        self.make_folders(folder)?;
        let made = self.sys.fs.create_dir(folder);
        // Also if it existed: whoever made it may not have come so far.
        let above = folder.parent().unwrap_or(&self.base);
        made.and_then(|_| self.sys.fs.sync_dir(above)).map_err(|error| self.error(folder, error))?;
        self.durable().insert(folder.to_owned());
        Ok(())
    }

    /// Gives a part its place, durably; a loser's part is left to the caller.
    fn place(&self, key: &ObjectKey, part: &Path) -> Result<Named, ObjectsError> {
        let place = file(&self.base, key, Sort::Object);
        self.make_folders(&place)?;
        let undecided = |error: io::Error| ObjectsError::Undecided {
            key: key.clone(),
            message: format!("{}: {error}", place.display()),
        };
        match parts::name(&*self.sys.fs, part, &place) {
            Ok(Named::Theirs) => Ok(Named::Theirs),
            Ok(Named::Ours) => {
                let folder = place.parent().unwrap_or(&self.base);
                if !mutated(83) {
                    self.sys.fs.sync_dir(folder).map_err(undecided)?;
                }
                Ok(Named::Ours)
            }
            Err(NotNamed::Failed(error)) => Err(self.error(&place, error)),
            Err(NotNamed::Unknown(error)) => Err(undecided(error)),
            Err(NotNamed::Unfit) => Err(ObjectsError::Unfit {
                store: self.dir.display().to_string(),
                message: "its file system has neither links nor renames that replace nothing: nobody could tell who was first"
                    .to_owned(),
            }),
        }
    }

    /// Creates an object of a small or large number of bytes; false if something is there.
    pub(super) fn create(&self, key: &ObjectKey, bytes: &[u8]) -> Result<bool, ObjectsError> {
        if self.there(key)?.is_some() {
            return Ok(false);
        }
        let part = self.parts.with_bytes(bytes).map_err(|error| self.error(&self.dir.join("tmp"), error))?;
        let placed = self.place(key, &part);
        self.parts.remove(&part);
        Ok(placed? == Named::Ours)
    }

    pub(super) fn overwrite(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), ObjectsError> {
        if self.there(key)?.is_some_and(|there| there.sort == Sort::Object) {
            return Err(ObjectsError::Immutable { key: key.clone() });
        }
        let place = file(&self.base, key, Sort::Hint);
        self.make_folders(&place)?;
        // Whole after any crash, though perhaps an older one.
        let part = self.parts.with_bytes(bytes).map_err(|error| self.error(&self.dir.join("tmp"), error))?;
        self.sys.fs.rename(&part, &place).map_err(|error| {
            self.parts.remove(&part);
            self.error(&place, error)
        })
    }

    pub(super) fn delete(&self, key: &ObjectKey) -> Result<bool, ObjectsError> {
        let Some(there) = self.there(key)? else { return Ok(false) };
        match self.sys.fs.remove_file(&there.path) {
            Ok(()) => {
                let folder = there.path.parent().unwrap_or(&self.base);
                self.sys.fs.sync_dir(folder).map_err(|error| self.error(folder, error))?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.error(&there.path, error)),
        }
    }

    pub(super) fn create_from_file(
        &self,
        key: &ObjectKey,
        source: &Path,
        how: TakeIn,
    ) -> Result<CreatedFile, ObjectsError> {
        let fs = &self.sys.fs;
        let of_source = |error| ObjectsError::Io { path: source.to_owned(), source: error };
        let meta = fs.metadata(source).and_then(|meta| meta.ok_or_else(|| io::ErrorKind::NotFound.into()));
        let meta = meta.map_err(of_source)?;
        if meta.kind != FileKind::File {
            return Err(of_source(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
        }
        if let Some(there) = self.there(key)? {
            self.relies_on(&there.path);
            return Ok(CreatedFile::There { size_bytes: there.size });
        }
        let part = self.parts.free();
        // Through another name it could still be written.
        let moved = match how {
            TakeIn::Move { synced } if meta.nlink == 1 => self.take_over(source, &part, synced)?,
            _ => false,
        };
        if !moved {
            let copied = self.parts.filled(part.clone(), |path| self.copy(source, path));
            copied.map_err(|error| self.error(&part, error))?;
        }
        let size_bytes = fs.metadata(&part).map_err(|error| self.error(&part, error))?.map_or(0, |meta| meta.len);
        let placed = self.place(key, &part);
        let give_up = || match moved {
            // What cannot be put back stays in `tmp`, with its owner's name, until it is gone.
            true => drop(fs.rename_noreplace(&part, source)),
            false => self.parts.remove(&part),
        };
        match placed {
            Ok(Named::Ours) => {
                self.parts.remove(&part);
                if matches!(how, TakeIn::Move { .. }) && !moved {
                    fs.remove_file(source).map_err(of_source)?;
                }
                Ok(CreatedFile::New { size_bytes })
            }
            Ok(Named::Theirs) => {
                give_up();
                match self.there(key)? {
                    Some(there) => {
                        self.relies_on(&there.path);
                        Ok(CreatedFile::There { size_bytes: there.size })
                    }
                    None => Err(ObjectsError::Busy { path: self.dir.clone() }),
                }
            }
            // The place may name it.
            Err(error @ ObjectsError::Undecided { .. }) => Err(error),
            Err(error) => {
                give_up();
                Err(error)
            }
        }
    }

    /// Moves the file itself in; false if it lies on another file system.
    fn take_over(&self, source: &Path, part: &Path, synced: bool) -> Result<bool, ObjectsError> {
        let fs = &self.sys.fs;
        let of_source = |error| self.error(source, error);
        if !synced {
            fs.sync_file(source).map_err(of_source)?;
        }
        fs.set_mode(source, 0o444).map_err(of_source)?;
        match fs.rename_noreplace(source, part) {
            Ok(moved) => Ok(moved),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(false),
            Err(error) => Err(of_source(error)),
        }
    }

    fn copy(&self, source: &Path, path: &Path) -> io::Result<()> {
        let fs = &self.sys.fs;
        if fs.reflink(source, path)? {
            return fs.sync_file(path);
        }
        let (mut from, mut to) = (fs.open_read(source)?, fs.create_new(path)?);
        let (mut buffer, mut size) = (vec![0; 1 << 20], 0);
        loop {
            match from.read(&mut buffer)? {
                0 => break,
                n => {
                    to.write_all(&buffer[..n])?;
                    size += n;
                    if size % WRITEBACK < buffer.len() {
                        to.start_writeback();
                    }
                }
            }
        }
        to.sync()
    }

    pub(super) fn list(&self, wanted: &Wanted<'_>, limit: usize) -> Result<Vec<Listed>, ObjectsError> {
        let mut found: Vec<Listed> = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let mut see = |key: String, path: PathBuf| {
            // Deleted meanwhile, or none of the store's.
            let Some(meta) = self.sys.fs.metadata(&path)? else { return Ok(true) };
            if let Ok(key) = ObjectKey::new(&key)
                && found.last().is_none_or(|last| last.key != key)
            {
                found.push(Listed { key, size: meta.len });
            }
            Ok(found.len() < limit)
        };
        walk(&*self.sys.fs, &self.base, wanted, &mut see).map_err(|error| self.error(&self.base, error))?;
        Ok(found)
    }

    pub(super) fn sync(&self) -> Result<(), ObjectsError> {
        let folders = {
            let mut relied = self.relied_on();
            if let Some(kind) = relied.failed {
                return Err(self.error(&self.base, kind.into()));
            }
            std::mem::take(&mut relied.folders)
        };
        for folder in folders {
            // The folder's own names first: whoever made it may not have come so far.
            let named = self.make_folders(&folder.join("x"));
            let synced = named.and_then(|()| self.sys.fs.sync_dir(&folder).map_err(|error| self.error(&folder, error)));
            if let Err(error) = synced {
                let kind = match &error {
                    ObjectsError::Io { source, .. } => source.kind(),
                    ObjectsError::NoSpace { .. } => io::ErrorKind::StorageFull,
                    _ => io::ErrorKind::Other,
                };
                self.relied_on().failed = Some(kind);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The disk is asked to begin writing after so many bytes of a copy.
const WRITEBACK: usize = 16 << 20;
