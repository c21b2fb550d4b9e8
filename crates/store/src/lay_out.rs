//! Laying artifacts out: objects become files that belong to the one who asked.

use std::{
    io::{Read, Write},
    path::Path,
    sync::Arc,
};

use prunella_model::{ArtifactKind, Digest, Hasher, Tree, TreeNode, tree_digest};
use prunella_objects::{ObjectKey, ObjectReader, ObjectsError};
use prunella_sys::{Fs, blocking};

use crate::{
    Store, StoreError,
    records::{StoredArtifact, StoredEntry, TreeManifest},
    take_in::hash_reader,
};

/// What was laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Laid {
    /// Bytes written or cloned.
    pub bytes: u64,
}

impl Store {
    /// Lays an artifact out at `to`, which must not exist; its bytes are verified on the way.
    ///
    /// The files are copies or clones, never other names of an object: whatever is done to them, the object stays.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if bytes are missing or wrong in two fresh reads; `to` then holds nothing that may be used.
    pub async fn lay_out(&self, stored: &StoredArtifact, to: &Path) -> Result<Laid, StoreError> {
        match stored.artifact.kind {
            ArtifactKind::File => self.lay_file(&stored.object, &stored.artifact.digest, to, false).await,
            ArtifactKind::Tree => {
                let manifest = self.manifest(stored).await?;
                self.sys.fs.create_dir(to).map_err(StoreError::io(to))?;
                let mut laid = Laid::default();
                for StoredEntry { entry, object } in &manifest.entries {
                    let path = to.join(&entry.path);
                    match &entry.node {
                        TreeNode::Directory => {
                            self.sys.fs.create_dir(&path).map_err(StoreError::io(&path))?;
                        }
                        TreeNode::Symlink { target } => {
                            self.sys.fs.symlink(Path::new(target), &path).map_err(StoreError::io(&path))?;
                        }
                        TreeNode::File { digest, executable, .. } => {
                            let object = object.as_deref().unwrap_or_default();
                            laid.bytes += self.lay_file(object, digest, &path, *executable).await?.bytes;
                        }
                    }
                }
                Ok(laid)
            }
        }
    }

    /// Returns the bytes of a stored file, verified; only for what is known to be small.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if bytes are missing or wrong in two fresh reads, or it is no file.
    pub async fn read_whole(&self, stored: &StoredArtifact) -> Result<Vec<u8>, StoreError> {
        twice(|| async {
            let (key, mut reader) = self.open(&stored.object).await?;
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map_err(StoreError::io(key.as_str()))?;
            let found = Digest::of(&bytes);
            if found == stored.artifact.digest {
                Ok(bytes)
            } else {
                Err(other_bytes(&stored.object, &found, &stored.artifact.digest))
            }
        })
        .await
    }

    /// Returns the manifest of a stored tree, its digest checked.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if in two fresh reads it is missing, cannot be understood, or describes another tree.
    pub async fn manifest(&self, stored: &StoredArtifact) -> Result<TreeManifest, StoreError> {
        twice(|| self.read_manifest(stored)).await
    }

    async fn read_manifest(&self, stored: &StoredArtifact) -> Result<TreeManifest, StoreError> {
        let damaged = |problem: String| StoreError::Damaged { object: stored.object.clone(), problem };
        let (key, mut reader) = self.open(&stored.object).await?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(StoreError::io(key.as_str()))?;
        let manifest: TreeManifest = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let entries = manifest.entries.iter().map(|entry| entry.entry.clone()).collect();
        match Tree::new(entries) {
            Ok(tree) if tree_digest(&tree) == stored.artifact.digest => Ok(manifest),
            Ok(_) => Err(damaged("it describes another tree".to_owned())),
            Err(error) => Err(damaged(error.to_string())),
        }
    }

    async fn lay_file(&self, object: &str, digest: &Digest, to: &Path, executable: bool) -> Result<Laid, StoreError> {
        twice(|| self.lay_file_once(object, digest, to, executable)).await
    }

    async fn lay_file_once(
        &self,
        object: &str,
        digest: &Digest,
        to: &Path,
        executable: bool,
    ) -> Result<Laid, StoreError> {
        let (key, mut reader) = self.open(object).await?;
        let local = self.objects.local_path(&key).await?;
        let (fs, path) = (self.sys.fs.clone(), to.to_owned());
        let small = reader.size() <= prunella_objects::SMALL_BYTES as u64;
        let mut work = move || write_out(&fs, &mut reader, local.as_deref(), &path, executable);
        let (found, bytes) = if small { work() } else { blocking(work).await }.map_err(StoreError::io(to))?;
        if found == *digest {
            return Ok(Laid { bytes });
        }
        self.sys.fs.remove_file(to).map_err(StoreError::io(to))?;
        Err(other_bytes(object, &found, digest))
    }

    /// Reads an artifact whole and compares it with its digest.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if bytes are missing or wrong.
    pub async fn verify(&self, stored: &StoredArtifact) -> Result<u64, StoreError> {
        match stored.artifact.kind {
            ArtifactKind::File => self.verify_object(&stored.object, &stored.artifact.digest).await,
            ArtifactKind::Tree => {
                let mut bytes = 0;
                for StoredEntry { entry, object } in &self.manifest(stored).await?.entries {
                    if let TreeNode::File { digest, .. } = &entry.node {
                        bytes += self.verify_object(object.as_deref().unwrap_or_default(), digest).await?;
                    }
                }
                Ok(bytes)
            }
        }
    }

    /// Reads an object whole and compares it with its digest; returns its length in bytes.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its bytes are missing or wrong in two fresh reads.
    pub async fn verify_object(&self, object: &str, digest: &Digest) -> Result<u64, StoreError> {
        twice(|| self.verify_object_once(object, digest)).await
    }

    async fn verify_object_once(&self, object: &str, digest: &Digest) -> Result<u64, StoreError> {
        let (key, mut reader) = self.open(object).await?;
        let (found, bytes) = blocking(move || hash_reader(&mut reader)).await.map_err(StoreError::io(key.as_str()))?;
        if found == *digest { Ok(bytes) } else { Err(other_bytes(object, &found, digest)) }
    }

    /// Opens an object that a record names; its absence, or damage that the backend is sure of, is damage.
    async fn open(&self, object: &str) -> Result<(ObjectKey, ObjectReader), StoreError> {
        let damaged = |problem: String| StoreError::Damaged { object: object.to_owned(), problem };
        let key = ObjectKey::new(object).map_err(|_| damaged("the record names no object".to_owned()))?;
        match self.objects.open(&key).await {
            Ok(Some(reader)) => Ok((key, reader)),
            Ok(None) => Err(damaged("it is missing".to_owned())),
            Err(ObjectsError::Corrupt { what, .. }) => Err(damaged(what)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Does a fresh read a second time if the first found damage: a bad cable is no bad object (protocol: Damage).
async fn twice<T, F: Future<Output = Result<T, StoreError>>>(read: impl Fn() -> F) -> Result<T, StoreError> {
    match read().await {
        Err(StoreError::Damaged { .. }) => read().await,
        found => found,
    }
}

fn other_bytes(object: &str, found: &Digest, recorded: &Digest) -> StoreError {
    let problem = format!("its bytes are {}, {} was recorded", found.short(), recorded.short());
    StoreError::Damaged { object: object.to_owned(), problem }
}

fn write_out(
    fs: &Arc<dyn Fs>,
    reader: &mut dyn Read,
    local: Option<&Path>,
    to: &Path,
    executable: bool,
) -> std::io::Result<(Digest, u64)> {
    let cloned = match local {
        Some(local) => fs.reflink(local, to)?,
        None => false,
    };
    let done = if cloned {
        hash_reader(reader)?
    } else {
        let mut file = fs.create_new(to)?;
        let (mut hasher, mut size, mut buffer) = (Hasher::new(), 0, vec![0; 1 << 18]);
        loop {
            match reader.read(&mut buffer)? {
                0 => break (hasher.finish(), size),
                n => {
                    hasher.update(&buffer[..n]);
                    file.write_all(&buffer[..n])?;
                    size += n as u64;
                }
            }
        }
    };
    if executable || cloned {
        fs.set_executable(to, executable)?;
    }
    Ok(done)
}
