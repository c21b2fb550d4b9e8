//! Taking files and trees in: bytes become objects, known by their digest.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use prunella_model::{Artifact, ArtifactKind, Digest, Hasher, RunId, SlotId, Tree, TreeEntry, TreeNode, tree_digest};
use prunella_objects::{CreatedFile, ObjectKey, Op, SMALL_BYTES, TakeIn};
use prunella_sys::{FileKind, Fs, blocking};

use crate::{
    Layout, Store, StoreError,
    records::{FORMAT, StoredArtifact, StoredEntry, TreeManifest},
    store::encode,
};

/// For whom bytes are taken in; it enters the objects' names.
#[derive(Debug, Clone)]
pub(crate) enum For {
    Attempt(SlotId),
    Run(RunId),
}

/// Bytes taken in, not yet part of any commit.
#[derive(Debug)]
pub struct Taken {
    /// What they are and where the commit will find them.
    pub stored: StoredArtifact,
    /// Small objects that have to be created before any record names them.
    pub objects: Vec<(ObjectKey, Bytes)>,
    /// Every file in it; a single file has the empty path.
    pub files: Vec<TakenFile>,
}

/// One file that was taken in.
#[derive(Debug, Clone)]
pub struct TakenFile {
    /// Its path in the tree.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
    /// Its object.
    pub object: ObjectKey,
    /// Its bytes, while they are still to be created.
    pub inline: Option<Bytes>,
}

/// Small objects are stored in between once so many bytes have gathered, so that memory stays bounded.
const FLUSH_BYTES: usize = 8 << 20;

impl Store {
    /// Takes in what an attempt wrote at `path`; a large file is moved where that is possible.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] and [`StoreError::Tree`] for what artifacts may not hold; [`StoreError::Io`] for a path that is
    /// not there.
    pub async fn take_output(&self, slot: &SlotId, path: &Path, kind: ArtifactKind) -> Result<Taken, StoreError> {
        self.take_in(&For::Attempt(*slot), path, kind, true).await
    }

    /// Takes in code or data that a run brings in; the source stays as it is.
    ///
    /// # Errors
    /// As [`Store::take_output`].
    pub async fn take_brought(&self, run: &RunId, path: &Path, kind: ArtifactKind) -> Result<Taken, StoreError> {
        self.take_in(&For::Run(run.clone()), path, kind, false).await
    }

    pub(crate) async fn take_in(
        &self,
        owner: &For,
        path: &Path,
        kind: ArtifactKind,
        take_over: bool,
    ) -> Result<Taken, StoreError> {
        let fs = self.sys.fs.clone();
        let meta = fs.metadata(path).map_err(StoreError::io(path))?;
        let unfit = |problem: &str| StoreError::Unfit { path: path.to_owned(), problem: problem.to_owned() };
        match (kind, meta.as_ref().map(|m| m.kind)) {
            (_, None) => Err(unfit("it is not there")),
            (ArtifactKind::File, Some(FileKind::File)) => {
                let (digest, mut file) = self.take_file(owner, path, String::new(), take_over).await?;
                let artifact = Artifact { kind, digest, size_bytes: file.size_bytes };
                let objects = file.inline.clone().map(|bytes| (file.object.clone(), bytes)).into_iter().collect();
                file.path = String::new();
                let executable = meta.is_some_and(|meta| meta.mode_exec);
                let stored = StoredArtifact { artifact, object: file.object.to_string(), executable };
                Ok(Taken { stored, objects, files: vec![file] })
            }
            (ArtifactKind::Tree, Some(FileKind::Dir)) => self.take_tree(owner, path, take_over).await,
            (ArtifactKind::File, Some(FileKind::Dir)) => {
                Err(unfit("it is a directory; a tree is declared with a trailing `/`"))
            }
            (ArtifactKind::Tree, Some(FileKind::File)) => Err(unfit("it is a file, and a directory was declared")),
            (_, Some(FileKind::Symlink)) => Err(unfit("it is a symbolic link; an output is the bytes themselves")),
            (_, Some(FileKind::Special)) => Err(unfit("it is a socket, pipe or device")),
        }
    }

    fn object_name(&self, owner: &For) -> ObjectKey {
        match owner {
            For::Attempt(slot) => Layout::data_of_attempt(slot, &self.random()),
            For::Run(run) => Layout::data_of_run(run, &self.random()),
        }
    }

    async fn take_file(
        &self,
        owner: &For,
        path: &Path,
        name: String,
        take_over: bool,
    ) -> Result<(Digest, TakenFile), StoreError> {
        let object = self.object_name(owner);
        let fs = self.sys.fs.clone();
        let meta = fs.metadata(path).map_err(StoreError::io(path))?;
        if meta.as_ref().is_some_and(|meta| meta.len <= SMALL_BYTES as u64) {
            let bytes = fs.read(path).map_err(StoreError::io(path))?;
            // It may have grown since; then it is taken as a large one.
            if bytes.len() <= SMALL_BYTES {
                let digest = Digest::of(&bytes);
                let size_bytes = bytes.len() as u64;
                return Ok((digest, TakenFile { path: name, size_bytes, object, inline: Some(bytes.into()) }));
            }
        }
        let (digest, size_bytes) =
            if take_over { self.move_large(&object, path).await? } else { self.copy_large(&object, path).await? };
        Ok((digest, TakenFile { path: name, size_bytes, object, inline: None }))
    }

    /// Hashes and syncs at once, then renames into the store.
    async fn move_large(&self, object: &ObjectKey, path: &Path) -> Result<(Digest, u64), StoreError> {
        let (fs, source) = (self.sys.fs.clone(), path.to_owned());
        let hashed = tokio::task::spawn(async move { blocking(move || hash_file(&*fs, &source)).await });
        let (fs, source) = (self.sys.fs.clone(), path.to_owned());
        let synced = blocking(move || fs.sync_file(&source)).await;
        let hashed = hashed.await.map_err(|error| StoreError::io(path)(std::io::Error::other(error)))?;
        synced.map_err(StoreError::io(path))?;
        let (digest, size) = hashed.map_err(StoreError::io(path))?;
        self.create_large(object, path, TakeIn::Move { synced: true }, size).await?;
        Ok((digest, size))
    }

    /// Copies into the store while hashing; what changed meanwhile is refused.
    async fn copy_large(&self, object: &ObjectKey, path: &Path) -> Result<(Digest, u64), StoreError> {
        let before = self.sys.fs.metadata(path).map_err(StoreError::io(path))?;
        let (fs, source) = (self.sys.fs.clone(), path.to_owned());
        let hashed = tokio::task::spawn(async move { blocking(move || hash_file(&*fs, &source)).await });
        let size = before.as_ref().map_or(0, |meta| meta.len);
        let created = self.create_large(object, path, TakeIn::Copy, size).await;
        let hashed = hashed.await.map_err(|error| StoreError::io(path)(std::io::Error::other(error)))?;
        created?;
        let (digest, size) = hashed.map_err(StoreError::io(path))?;
        if self.sys.fs.metadata(path).map_err(StoreError::io(path))? != before {
            return Err(StoreError::Unfit {
                path: path.to_owned(),
                problem: "it was changed while it was being read".to_owned(),
            });
        }
        Ok((digest, size))
    }

    async fn create_large(&self, object: &ObjectKey, path: &Path, how: TakeIn, size: u64) -> Result<(), StoreError> {
        match self.objects.create_from_file(object, path, how).await? {
            CreatedFile::New { size_bytes } if size_bytes == size => Ok(()),
            CreatedFile::New { size_bytes } | CreatedFile::There { size_bytes } => Err(StoreError::Unfit {
                path: path.to_owned(),
                problem: format!("it had {size} bytes and then {size_bytes}: it was changed while it was being read"),
            }),
        }
    }

    async fn take_tree(&self, owner: &For, root: &Path, take_over: bool) -> Result<Taken, StoreError> {
        let (fs, start) = (self.sys.fs.clone(), root.to_owned());
        let walked = blocking(move || walk(&fs, &start)).await?;
        let (mut entries, mut objects, mut files, mut gathered) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let mut places = std::collections::HashMap::new();
        for found in walked {
            let node = match found.what {
                Walked::Directory => TreeNode::Directory,
                Walked::Symlink(target) => TreeNode::Symlink { target },
                Walked::File { executable } => {
                    let path = root.join(&found.path);
                    let (digest, mut file) = self.take_file(owner, &path, found.path.clone(), take_over).await?;
                    if let Some(bytes) = &file.inline {
                        gathered += bytes.len();
                        objects.push((file.object.clone(), bytes.clone()));
                    }
                    if gathered > FLUSH_BYTES {
                        self.put_small(std::mem::take(&mut objects)).await?;
                        gathered = 0;
                        files.iter_mut().for_each(|file: &mut TakenFile| file.inline = None);
                        file.inline = None;
                    }
                    places.insert(found.path.clone(), file.object.to_string());
                    let size_bytes = file.size_bytes;
                    files.push(file);
                    TreeNode::File { digest, size_bytes, executable }
                }
            };
            entries.push(TreeEntry { path: found.path, node });
        }
        let tree = Tree::new(entries).map_err(|source| StoreError::Tree { path: root.to_owned(), source })?;
        let artifact = Artifact { kind: ArtifactKind::Tree, digest: tree_digest(&tree), size_bytes: tree.size_bytes() };
        let entries = tree
            .entries()
            .iter()
            .map(|entry| StoredEntry { entry: entry.clone(), object: places.get(&entry.path).cloned() })
            .collect();
        let object = self.object_name(owner);
        objects.push((object.clone(), encode(&TreeManifest { format: FORMAT, entries })));
        let stored = StoredArtifact { artifact, object: object.to_string(), executable: false };
        Ok(Taken { stored, objects, files })
    }

    /// Creates small objects now, instead of with the record that names them.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not take them.
    pub async fn put_small(&self, objects: Vec<(ObjectKey, Bytes)>) -> Result<(), StoreError> {
        if objects.is_empty() {
            return Ok(());
        }
        let ops = objects.into_iter().map(|(key, bytes)| Op::Create { key, bytes }).collect();
        let _fresh_names = self.put_all(ops).await?;
        Ok(())
    }
}

/// Returns digest and length of a file.
pub(crate) fn hash_file(fs: &dyn Fs, path: &Path) -> std::io::Result<(Digest, u64)> {
    let mut file = fs.open_read(path)?;
    hash_reader(&mut file)
}

/// Returns digest and length of what is left to read.
pub(crate) fn hash_reader(reader: &mut dyn Read) -> std::io::Result<(Digest, u64)> {
    let (mut hasher, mut size, mut buffer) = (Hasher::new(), 0, vec![0; 1 << 18]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok((hasher.finish(), size)),
            n => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
}

enum Walked {
    Directory,
    File { executable: bool },
    Symlink(String),
}

struct Found {
    path: String,
    what: Walked,
}

fn walk(fs: &Arc<dyn Fs>, root: &Path) -> Result<Vec<Found>, StoreError> {
    let (mut found, mut left) = (Vec::new(), vec![String::new()]);
    while let Some(directory) = left.pop() {
        let here = if directory.is_empty() { root.to_owned() } else { root.join(&directory) };
        for entry in fs.list(&here).map_err(StoreError::io(&here))? {
            let full: PathBuf = here.join(&entry.name);
            let unfit = |problem: &str| StoreError::Unfit { path: full.clone(), problem: problem.to_owned() };
            let Some(name) = entry.name.to_str() else { return Err(unfit("its name is not UTF-8")) };
            let path = if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
            let what = match entry.kind {
                FileKind::Dir => {
                    left.push(path.clone());
                    Walked::Directory
                }
                FileKind::File => {
                    let meta = fs.metadata(&full).map_err(StoreError::io(&full))?;
                    Walked::File { executable: meta.is_some_and(|meta| meta.mode_exec) }
                }
                FileKind::Symlink => {
                    let target = fs.read_link(&full).map_err(StoreError::io(&full))?;
                    match target.to_str() {
                        Some(target) => Walked::Symlink(target.to_owned()),
                        None => return Err(unfit("its target is not UTF-8")),
                    }
                }
                FileKind::Special => return Err(unfit("it is a socket, pipe or device")),
            };
            found.push(Found { path, what });
        }
    }
    Ok(found)
}
