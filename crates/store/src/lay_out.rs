//! Laying artifacts out: objects become files that belong to the one who asked.

use std::{
    io::{self, Read, Take, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use prunella_model::{ArtifactKind, Digest, Hasher, Tree, TreeEntry, TreeNode, tree_digest};
use prunella_objects::ObjectReader;
use prunella_sys::{Fs, mutated};

use crate::{
    Store, StoreError,
    abreast::abreast,
    hashing::{buffer_for, hash_either},
    in_chunks::{InChunks, Out},
    pack::cut,
    pieces::{Piece, Sink, Source},
    records::{StoredArtifact, StoredEntry, TREE_FORMAT, TreeManifest},
    store::decode_up_to,
    transfers::Transfers,
};

/// What was laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Laid {
    /// Bytes written or cloned.
    pub bytes: u64,
}

/// What describes a million files, or a tebibyte in chunks, has a tenth of this; more is never read into memory.
const MOST_MANIFEST_BYTES: u64 = 2 << 30;

/// So many files are read or written in one go, so that several processors share the work on one pack.
const AT_ONCE: usize = 1024;

impl Store {
    /// Lays an artifact out at `to`, which must not exist; its bytes are verified on the way.
    ///
    /// The files are copies or clones, never other names of an object: whatever is done to them, the object stays.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if bytes are missing or wrong in two fresh reads; `to` then holds nothing that may be used.
    pub async fn lay_out(&self, stored: &StoredArtifact, to: &Path) -> Result<Laid, StoreError> {
        self.lay_out_from(Source::Nearest, stored, to).await
    }

    /// Lays an artifact out as [`Store::lay_out`] does, outside of what runs: no copies are kept of what had none.
    ///
    /// # Errors
    /// As [`Store::lay_out`].
    pub async fn lay_out_outside(&self, stored: &StoredArtifact, to: &Path) -> Result<Laid, StoreError> {
        self.lay_out_from(Source::Passing, stored, to).await
    }

    async fn lay_out_from(&self, source: Source, stored: &StoredArtifact, to: &Path) -> Result<Laid, StoreError> {
        let bytes = stored.artifact.size_bytes;
        let (fs, processors) = (self.sys.fs.clone(), self.sys.machine.cpu_count());
        self.transfers.fetching().begin(bytes);
        match stored.artifact.kind {
            ArtifactKind::File if stored.in_chunks => {
                let file = self.single_in_chunks(stored).await?;
                self.lay_in_chunks(source, &file, to, false).await?;
            }
            ArtifactKind::File => {
                let files = vec![(to.to_owned(), false)];
                self.whole(source, stored, Arc::new(Lay { fs, processors, transfers: self.transfers.clone(), files }))
                    .await?;
            }
            ArtifactKind::Tree => {
                let manifest = self.manifest(stored).await?;
                fs.create_dir(to).map_err(StoreError::io(to))?;
                for StoredEntry { entry, place } in &manifest.entries {
                    let path = to.join(&entry.path);
                    let made = match &entry.node {
                        TreeNode::Directory => fs.create_dir(&path).map(drop),
                        TreeNode::Symlink { target } => fs.symlink(Path::new(target), &path),
                        TreeNode::File { executable, size_bytes: 0, .. } if place.is_none() => {
                            fs.create_new(&path).and_then(|_| make_executable(&*fs, &path, *executable))
                        }
                        TreeNode::File { .. } => Ok(()),
                    };
                    made.map_err(StoreError::io(&path))?;
                }
                let to = to.to_owned();
                let in_chunks = manifest.chunks.keys().filter_map(|at| {
                    let file = InChunks::of(&manifest, *at)?;
                    let TreeEntry { path, node } = &manifest.entries[*at as usize].entry;
                    Some((file, to.join(path), matches!(node, TreeNode::File { executable: true, .. })))
                });
                let in_chunks: Vec<_> = in_chunks.collect();
                self.pieces_of(source, manifest, move |manifest, members| {
                    let place = |at: &u32| {
                        let entry = &manifest.entries[*at as usize].entry;
                        let executable = matches!(entry.node, TreeNode::File { executable: true, .. });
                        (to.join(&entry.path), executable)
                    };
                    let (fs, files) = (fs.clone(), members.iter().map(place).collect());
                    Arc::new(Lay { fs, processors, transfers: self.transfers.clone(), files })
                })
                .await?;
                abreast(in_chunks, self.lanes.files(), |(file, to, executable)| {
                    let store = self.clone();
                    async move { store.lay_in_chunks(source, &file, &to, executable).await }
                })
                .await?;
            }
        }
        Ok(Laid { bytes })
    }

    async fn lay_in_chunks(
        &self,
        source: Source,
        file: &InChunks,
        to: &Path,
        executable: bool,
    ) -> Result<(), StoreError> {
        let fs = &self.sys.fs;
        let write = || {
            let (fs, transfers, to, mut file) = (fs.clone(), self.transfers.clone(), to.to_owned(), None);
            // Made where it is written: to make a file takes long enough to keep the network waiting.
            Out::new(to.clone(), move |bytes| {
                transfers.fetching().done(bytes.len() as u64);
                let file = match &mut file {
                    Some(file) => file,
                    none => none.insert(fs.create_new(&to)?),
                };
                file.write_all(bytes)
            })
        };
        // Nobody looks at it before it is whole.
        if !self.read_at_once(source, file, write()).await? {
            if fs.metadata(to).map_err(StoreError::io(to))?.is_some() {
                fs.remove_file(to).map_err(StoreError::io(to))?;
            }
            self.read_in_chunks(source, file, write()).await?;
        }
        make_executable(&**fs, to, executable).map_err(StoreError::io(to))
    }

    /// Reads an artifact whole and compares it with its digest.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if bytes are missing or wrong in two fresh reads.
    pub async fn verify(&self, stored: &StoredArtifact) -> Result<u64, StoreError> {
        match stored.artifact.kind {
            ArtifactKind::File if !stored.in_chunks => {
                self.whole(Source::Store, stored, Arc::new(self.check(&stored.object))).await?;
            }
            ArtifactKind::File | ArtifactKind::Tree => {
                let manifest = self.manifest_itself(stored).await?;
                let in_chunks: Vec<_> = manifest.chunks.keys().filter_map(|at| InChunks::of(&manifest, *at)).collect();
                self.pieces_of(Source::Store, manifest, move |_, _| Arc::new(self.check(&stored.object))).await?;
                abreast(in_chunks, self.lanes.files(), |file| {
                    let store = self.clone();
                    async move { store.read_in_chunks(Source::Store, &file, Out::new(file.name(), |_| Ok(()))).await }
                })
                .await?;
            }
        }
        Ok(stored.artifact.size_bytes)
    }

    async fn whole(&self, source: Source, stored: &StoredArtifact, sink: Arc<dyn Sink>) -> Result<(), StoreError> {
        let piece = Piece { offset: 0, size: stored.artifact.size_bytes, digest: stored.artifact.digest, whole: true };
        match self.read_pieces_from(source, &stored.object, [piece].into(), sink).await?.pop() {
            Some((_, problem)) => Err(StoreError::Damaged { object: stored.object.clone(), problem }),
            None => Ok(()),
        }
    }

    /// Reads the bytes of all files of a tree, many at once; what is damaged ends it.
    async fn pieces_of(
        &self,
        source: Source,
        manifest: TreeManifest,
        sink: impl Fn(&TreeManifest, &[u32]) -> Arc<dyn Sink>,
    ) -> Result<(), StoreError> {
        let manifest = Arc::new(manifest);
        let by_object = by_object(&manifest);
        let jobs = by_object.iter().flat_map(|members| cut(members.len(), AT_ONCE).map(|range| &members[range]));
        let read = |members: &[u32]| {
            let (store, manifest) = (self.clone(), manifest.clone());
            let (members, sink): (Vec<u32>, _) = (members.to_vec(), sink(&manifest, members));
            async move {
                let pieces = members.iter().filter_map(|at| piece(&manifest.entries[*at as usize])).collect();
                let place = members.first().and_then(|at| manifest.entries[*at as usize].place);
                let object = place.map_or("", |place| manifest.object(place));
                match store.read_pieces_from(source, object, pieces, sink).await?.into_iter().next() {
                    Some((at, problem)) => {
                        let path = prunella_model::shown(manifest.entries[members[at] as usize].entry.path.as_bytes());
                        Err(StoreError::Damaged { object: object.to_owned(), problem: format!("`{path}`: {problem}") })
                    }
                    None => Ok(()),
                }
            }
        };
        let jobs: Vec<&[u32]> = jobs.collect();
        match jobs.as_slice() {
            // To hand one small job on takes longer than to do it.
            [only] => read(only).await,
            _ => abreast(jobs, self.sys.machine.cpu_count(), read).await.map(drop),
        }
    }

    /// Returns the manifest of a stored tree, or of a file in chunks, its digest checked.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if in two fresh reads it is missing, cannot be understood, or describes another tree;
    /// [`StoreError::Record`] if a newer program wrote it.
    pub async fn manifest(&self, stored: &StoredArtifact) -> Result<TreeManifest, StoreError> {
        self.manifest_from(Source::Nearest, stored).await
    }

    /// Returns the manifest as [`Store::manifest`] does, past every copy: a copy says nothing about the store.
    pub(crate) async fn manifest_itself(&self, stored: &StoredArtifact) -> Result<TreeManifest, StoreError> {
        let first = if mutated(90) { Source::Nearest } else { Source::Store };
        self.manifest_from(first, stored).await
    }

    /// Reads a manifest, the first time from `first`, the second time always past every copy.
    async fn manifest_from(&self, first: Source, stored: &StoredArtifact) -> Result<TreeManifest, StoreError> {
        match self.read_manifest(first, stored).await {
            Err(StoreError::Damaged { .. }) => self.read_manifest(Source::Store, stored).await,
            read => read,
        }
    }

    async fn read_manifest(&self, source: Source, stored: &StoredArtifact) -> Result<TreeManifest, StoreError> {
        let damaged = |problem: String| StoreError::Damaged { object: stored.object.clone(), problem };
        let (key, mut reader) = self.open(source, &stored.object).await?;
        let size = reader.size();
        if size > MOST_MANIFEST_BYTES {
            return Err(damaged(format!("it has {size} bytes, and no manifest has more than {MOST_MANIFEST_BYTES}")));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        let read = Read::by_ref(&mut reader).take(MOST_MANIFEST_BYTES).read_to_end(&mut bytes);
        read.map_err(StoreError::io(key.as_str()))?;
        let read = decode_up_to(&key, &bytes, TREE_FORMAT, |manifest: &TreeManifest| manifest.format);
        drop(bytes);
        let manifest = read?.map_err(&damaged)?;
        if stored.artifact.kind == ArtifactKind::File {
            return match manifest.is_of_file(&stored.artifact) {
                true => Ok(manifest),
                false => Err(damaged("it describes another file".to_owned())),
            };
        }
        let TreeManifest { format, objects, entries, chunks } = manifest;
        let (entries, places): (Vec<_>, Vec<_>) = entries.into_iter().map(|e| (e.entry, e.place)).unzip();
        let sizes = entries.iter().map(|entry| match &entry.node {
            TreeNode::File { size_bytes, .. } => *size_bytes,
            TreeNode::Directory | TreeNode::Symlink { .. } => 0,
        });
        // Not more than was recorded is ever written.
        if sizes.into_iter().try_fold(0_u64, u64::checked_add) != Some(stored.artifact.size_bytes) {
            return Err(damaged("its files have not the size that was recorded".to_owned()));
        }
        let tree = Tree::recorded(entries).map_err(|error| damaged(error.to_string()))?;
        if tree_digest(&tree) != stored.artifact.digest && !mutated(67) {
            return Err(damaged("it describes another tree".to_owned()));
        }
        let entries = tree.into_entries().into_iter().zip(places);
        let entries = entries.map(|(entry, place)| StoredEntry { entry, place }).collect();
        Ok(TreeManifest { format, objects, entries, chunks })
    }
}

/// Returns the files of each object of the table, in the order in which they lie in it.
fn by_object(manifest: &TreeManifest) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); manifest.objects.len()];
    for (stored, at) in manifest.entries.iter().zip(0..) {
        if let Some(place) = stored.place {
            members[place.object as usize].push(at);
        }
    }
    for of_one in &mut members {
        of_one.sort_by_key(|at| manifest.entries[*at as usize].place);
    }
    members
}

fn piece(stored: &StoredEntry) -> Option<Piece> {
    match (&stored.entry.node, stored.place) {
        (TreeNode::File { digest, size_bytes, .. }, Some(place)) => {
            Some(Piece { offset: place.offset, size: *size_bytes, digest: *digest, whole: false })
        }
        _ => None,
    }
}

/// Writes pieces as files.
struct Lay {
    fs: Arc<dyn Fs>,
    processors: usize,
    transfers: Arc<Transfers>,
    /// Where each goes, and whether it is executable.
    files: Vec<(PathBuf, bool)>,
}

impl Sink for Lay {
    fn take(&self, at: usize, reader: &mut Take<&mut ObjectReader>, local: Option<&Path>) -> io::Result<(Digest, u64)> {
        let (to, executable) = &self.files[at];
        let written = write_out(&*self.fs, reader, local, to, *executable, self.processors)?;
        self.transfers.fetching().done(written.1);
        Ok(written)
    }

    fn reject(&self, piece: usize) -> io::Result<()> {
        self.fs.remove_file(&self.files[piece].0)
    }

    fn about(&self, piece: usize) -> PathBuf {
        self.files[piece].0.clone()
    }
}

fn make_executable(fs: &dyn Fs, path: &Path, executable: bool) -> io::Result<()> {
    if executable { fs.set_executable(path, true) } else { Ok(()) }
}

fn write_out(
    fs: &dyn Fs,
    reader: &mut Take<&mut ObjectReader>,
    local: Option<&Path>,
    to: &Path,
    executable: bool,
    processors: usize,
) -> io::Result<(Digest, u64)> {
    let size = reader.limit();
    let cloned = match local {
        Some(local) => fs.reflink(local, to)?,
        None => false,
    };
    let done = if cloned {
        hash_either(fs, local, reader, size, processors)?
    } else {
        let mut file = fs.create_new(to)?;
        let (mut hasher, mut written, mut buffer) = (Hasher::new(), 0, buffer_for(size));
        loop {
            match reader.read(&mut buffer)? {
                0 => break (hasher.finish(), written),
                n => {
                    hasher.update(&buffer[..n]);
                    file.write_all(&buffer[..n])?;
                    written += n as u64;
                }
            }
        }
    };
    if executable || cloned {
        fs.set_executable(to, executable)?;
    }
    Ok(done)
}
