//! Taking files and trees in: bytes become objects, known by their digest.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use prunella_model::{Artifact, ArtifactKind, Digest, RunId, SlotId};
use prunella_objects::{CreatedFile, ObjectKey, ObjectReader, Op, Packing, SMALL_BYTES, TakeIn};
use prunella_sys::{FileKind, Meta, Phase, blocking, mutated};

use crate::{
    Layout, Store, StoreError,
    bring_in::Notes,
    cut_in::{Cut, Table, ToCut},
    hashing::hash_file,
    in_chunks::InChunks,
    pack::PACKED_BYTES,
    records::{StoredArtifact, TreeManifest},
    store::encode,
    there::{Alike, There},
};

/// For whom bytes are taken in; it enters the objects' names.
#[derive(Debug, Clone)]
pub(crate) enum For {
    Attempt(SlotId),
    Run(RunId),
}

/// A file that became an object of its own.
pub(crate) struct OwnObject {
    pub size_bytes: u64,
    pub object: ObjectKey,
    /// Its bytes, while they are still to be created.
    pub inline: Option<Bytes>,
}

/// Bytes taken in, not yet part of any commit.
#[derive(Debug)]
pub struct Taken {
    /// What they are and where the commit will find them.
    pub stored: StoredArtifact,
    /// Small objects that have to be created before any record names them.
    pub objects: Vec<(ObjectKey, Bytes)>,
    /// The manifest of a tree, or of a file in chunks.
    pub manifest: Option<TreeManifest>,
}

/// One file that was taken in.
#[derive(Debug, Clone, Copy)]
pub struct TakenFile<'a> {
    /// Its path in the tree; a single file has the empty path.
    pub path: &'a str,
    /// Its length.
    pub size_bytes: u64,
    /// The object that holds it; nothing for a file of a tree that has no bytes, or that lies in chunks.
    object: Option<(&'a str, u64)>,
    /// Its position among the entries of the manifest, if it lies in chunks.
    in_chunks: Option<u32>,
}

impl Taken {
    /// Returns every file in it.
    pub fn files(&self) -> impl Iterator<Item = TakenFile<'_>> {
        let StoredArtifact { artifact, object, .. } = &self.stored;
        let single =
            TakenFile { path: "", size_bytes: artifact.size_bytes, object: Some((object, 0)), in_chunks: None };
        let single = self.manifest.is_none().then_some(single);
        let of_tree = self.manifest.iter().flat_map(|manifest| {
            manifest.files_at().map(|(at, (path, size_bytes, _, place))| {
                let object = place.map(|place| (manifest.object(place), place.offset));
                let in_chunks = manifest.chunks_of(at).map(|_| at);
                TakenFile { path, size_bytes, object, in_chunks }
            })
        });
        single.into_iter().chain(of_tree)
    }

    /// Returns the bytes of one of its files, while those of a small object are perhaps still to be created.
    fn waiting(&self, file: &TakenFile<'_>) -> Option<ObjectReader> {
        let Some((object, offset)) = file.object else { return Some(ObjectReader::from_bytes(Bytes::new())) };
        let (_, bytes) = self.objects.iter().find(|(key, _)| key.as_str() == object)?;
        let (from, len) = (usize::try_from(offset).ok()?, usize::try_from(file.size_bytes).ok()?);
        Some(ObjectReader::from_bytes(bytes.slice(from..from + len)))
    }
}

impl Store {
    /// Takes in what an attempt wrote at `path`; a large file is moved where that is possible.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] and [`StoreError::Tree`] for what artifacts may not hold; [`StoreError::Io`] for a path that is
    /// not there.
    pub async fn take_output(&self, slot: &SlotId, path: &Path, kind: ArtifactKind) -> Result<Taken, StoreError> {
        Phase::Upload.during(self.take_in(&For::Attempt(*slot), path, kind, true, None)).await
    }

    /// Takes in as [`Store::take_output`] what is perhaps like what a name means now: of that only what is new is sent.
    ///
    /// # Errors
    /// As [`Store::take_output`].
    pub async fn take_output_alike(
        &self,
        slot: &SlotId,
        path: &Path,
        kind: ArtifactKind,
        alike: &Alike<'_>,
    ) -> Result<Taken, StoreError> {
        Phase::Upload.during(self.take_in(&For::Attempt(*slot), path, kind, true, Some(alike))).await
    }

    /// Takes in code or data that a run brings in; the source stays as it is.
    ///
    /// # Errors
    /// As [`Store::take_output`].
    pub async fn take_brought(&self, run: &RunId, path: &Path, kind: ArtifactKind) -> Result<Taken, StoreError> {
        self.take_in(&For::Run(run.clone()), path, kind, false, None).await
    }

    pub(crate) async fn take_in(
        &self,
        owner: &For,
        path: &Path,
        kind: ArtifactKind,
        take_over: bool,
        alike: Option<&Alike<'_>>,
    ) -> Result<Taken, StoreError> {
        let fs = self.sys.fs.clone();
        let meta = fs.metadata(path).map_err(StoreError::io(path))?;
        let unfit = |problem: &str| StoreError::Unfit { path: path.to_owned(), problem: problem.to_owned() };
        match (kind, meta.as_ref().map(|m| m.kind)) {
            (_, None) => Err(unfit("it is not there")),
            (ArtifactKind::File, Some(FileKind::File)) if self.is_cut(kind, meta.as_ref()) => {
                self.take_in_chunks(owner, path, meta.as_ref(), self.there_of(owner, alike).await?, None).await
            }
            (ArtifactKind::File, Some(FileKind::File)) => {
                let (digest, file) = self.take_file(owner, path, take_over).await?;
                let artifact = Artifact { kind: ArtifactKind::File, digest, size_bytes: file.size_bytes };
                let executable = meta.is_some_and(|meta| meta.mode_exec);
                let stored = StoredArtifact { artifact, object: file.object.to_string(), executable, in_chunks: false };
                let objects = file.inline.map(|bytes| (file.object, bytes)).into_iter().collect();
                Ok(Taken { stored, objects, manifest: None })
            }
            (ArtifactKind::Tree, Some(FileKind::Dir)) => self.take_tree(owner, path, take_over, alike).await,
            (ArtifactKind::File, Some(FileKind::Dir)) => {
                Err(unfit("it is a directory; a tree is declared with a trailing `/`"))
            }
            (ArtifactKind::Tree, Some(FileKind::File)) => Err(unfit("it is a file, and a directory was declared")),
            (_, Some(FileKind::Symlink)) => Err(unfit("it is a symbolic link; an output is the bytes themselves")),
            (_, Some(FileKind::Special)) => Err(unfit("it is a socket, pipe or device")),
        }
    }

    /// Returns what whoever takes in may rely on; what a run brings in is looked for elsewhere.
    pub(crate) async fn there_of(&self, owner: &For, alike: Option<&Alike<'_>>) -> Result<There, StoreError> {
        match owner {
            For::Attempt(slot) => self.there_for(slot, alike).await,
            For::Run(_) => Ok(There::default()),
        }
    }

    /// Returns whether a file lies in chunks here once it is taken in.
    pub(crate) fn is_cut(&self, kind: ArtifactKind, meta: Option<&Meta>) -> bool {
        let large = meta.is_some_and(|meta| meta.kind == FileKind::File && meta.len > PACKED_BYTES);
        kind == ArtifactKind::File && large && self.objects.packing() == Packing::Chunks
    }

    /// Takes one large file in, in chunks.
    pub(crate) async fn take_in_chunks(
        &self,
        owner: &For,
        path: &Path,
        meta: Option<&Meta>,
        there: There,
        notes: Option<Notes>,
    ) -> Result<Taken, StoreError> {
        let (size_bytes, executable) = meta.map_or((0, false), |meta| (meta.len, meta.mode_exec));
        self.transfers.sending().begin(size_bytes);
        let table = Arc::new(Table::new(there));
        let file = ToCut { at: 0, path: path.to_owned(), size: size_bytes };
        let mut cut = self.cut_in(owner, vec![file], &table, &Arc::new(notes)).await?;
        let Cut { digest, chunks, .. } = cut.pop().expect("one file was cut");
        let artifact = Artifact { kind: ArtifactKind::File, digest, size_bytes };
        let table = Arc::into_inner(table).expect("nobody fills it any more");
        let manifest = TreeManifest::of_file(&artifact, executable, table.into_objects(), chunks);
        let object = self.object_name(owner);
        let objects = vec![(object.clone(), encode(&object, &manifest))];
        let stored = StoredArtifact { artifact, object: object.to_string(), executable, in_chunks: true };
        Ok(Taken { stored, objects, manifest: Some(manifest) })
    }

    pub(crate) fn object_name(&self, owner: &For) -> ObjectKey {
        match owner {
            For::Attempt(slot) if mutated(55) => Layout::data_of_attempt(slot, "00112233445566778899aabbccddeeff"),
            For::Attempt(slot) => Layout::data_of_attempt(slot, &self.random()),
            For::Run(run) => Layout::data_of_run(run, &self.random()),
        }
    }

    /// Makes a file an object of its own.
    pub(crate) async fn take_file(
        &self,
        owner: &For,
        path: &Path,
        take_over: bool,
    ) -> Result<(Digest, OwnObject), StoreError> {
        let object = self.object_name(owner);
        let fs = self.sys.fs.clone();
        let meta = fs.metadata(path).map_err(StoreError::io(path))?;
        if meta.as_ref().is_some_and(|meta| meta.len <= SMALL_BYTES as u64) {
            let bytes = fs.read(path).map_err(StoreError::io(path))?;
            // It may have grown since; then it is taken as a large one.
            if bytes.len() <= SMALL_BYTES {
                let digest = Digest::of(&bytes);
                let size_bytes = bytes.len() as u64;
                return Ok((digest, OwnObject { size_bytes, object, inline: Some(bytes.into()) }));
            }
        }
        let (digest, size_bytes) =
            if take_over { self.move_large(&object, path).await? } else { self.copy_large(&object, path).await? };
        Ok((digest, OwnObject { size_bytes, object, inline: None }))
    }

    /// Hashes and syncs at once, then renames into the store.
    async fn move_large(&self, object: &ObjectKey, path: &Path) -> Result<(Digest, u64), StoreError> {
        let (fs, source, processors) = (self.sys.fs.clone(), path.to_owned(), self.sys.machine.cpu_count());
        let hash = move || hash_file(&*fs, &source, processors);
        let hashed = tokio::task::spawn(async move { blocking(hash).await });
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
        let (fs, source, processors) = (self.sys.fs.clone(), path.to_owned(), self.sys.machine.cpu_count());
        let hash = move || hash_file(&*fs, &source, processors);
        let hashed = tokio::task::spawn(async move { blocking(hash).await });
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
            // Nobody else has this name: what is there is what an earlier try of this call wrote, unheard.
            CreatedFile::New { size_bytes } | CreatedFile::There { size_bytes } if size_bytes == size => Ok(()),
            CreatedFile::New { size_bytes } | CreatedFile::There { size_bytes } => Err(StoreError::Unfit {
                path: path.to_owned(),
                problem: format!("it had {size} bytes and then {size_bytes}: it was changed while it was being read"),
            }),
        }
    }

    /// Opens one file of what was taken in; a long one is to be read where blocking is allowed.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it is gone again.
    pub async fn open_taken(&self, taken: &Taken, file: &TakenFile<'_>) -> Result<ObjectReader, StoreError> {
        if let Some((manifest, at)) = taken.manifest.as_ref().zip(file.in_chunks)
            && let Some(in_chunks) = InChunks::of(manifest, at)
        {
            return Ok(self.open_in_chunks(in_chunks));
        }
        match (taken.waiting(file), file.object) {
            (Some(reader), _) => Ok(reader),
            (None, None) => unreachable!("a file without an object has no bytes to wait for"),
            (None, Some((object, offset))) => {
                let problem = || "it is gone right after it was taken in".to_owned();
                let damaged = || StoreError::Damaged { object: object.to_owned(), problem: problem() };
                let reader = self.objects.open(&ObjectKey::new(object)?).await?.ok_or_else(damaged)?;
                reader.part(offset, file.size_bytes).map_err(StoreError::io(object))
            }
        }
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
