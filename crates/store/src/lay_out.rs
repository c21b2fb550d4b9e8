//! Laying artifacts out: objects become files that belong to the one who asked.

use std::{
    io::{Read, Write},
    path::Path,
    sync::Arc,
};

use prunella_model::{ArtifactKind, Digest, Hasher, Tree, TreeNode, tree_digest};
use prunella_objects::{ObjectKey, ObjectsError};
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
            ArtifactKind::File => {
                let key = object_key(&stored.object)?;
                self.lay_file(&key, &stored.artifact.digest, to, false).await
            }
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
                            let object = object_key(object.as_deref().unwrap_or_default())?;
                            laid.bytes += self.lay_file(&object, digest, &path, *executable).await?.bytes;
                        }
                    }
                }
                Ok(laid)
            }
        }
    }

    /// Returns the manifest of a stored tree, its digest checked.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it is missing, cannot be read, or describes another tree.
    pub async fn manifest(&self, stored: &StoredArtifact) -> Result<TreeManifest, StoreError> {
        let damaged = |problem: String| StoreError::Damaged { object: stored.object.clone(), problem };
        let key = object_key(&stored.object)?;
        let Some(mut reader) = definite(self.objects.open(&key).await, &key)? else {
            return Err(damaged("it is missing".to_owned()));
        };
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

    async fn lay_file(
        &self,
        object: &ObjectKey,
        digest: &Digest,
        to: &Path,
        executable: bool,
    ) -> Result<Laid, StoreError> {
        let damaged = |problem: &str| StoreError::Damaged { object: object.to_string(), problem: problem.to_owned() };
        // Damage is concluded only from two fresh reads.
        for last in [false, true] {
            let Some(reader) = definite(self.objects.open(object).await, object)? else {
                if last {
                    return Err(damaged("it is missing"));
                }
                continue;
            };
            let local = self.objects.local_path(object).await?;
            let (fs, path) = (self.sys.fs.clone(), to.to_owned());
            let small = reader.size() <= prunella_objects::SMALL_BYTES as u64;
            let mut reader = reader;
            let mut work = move || write_out(&fs, &mut reader, local.as_deref(), &path, executable);
            let (found, bytes) = if small { work() } else { blocking(work).await }.map_err(StoreError::io(to))?;
            if found == *digest {
                return Ok(Laid { bytes });
            }
            self.sys.fs.remove_file(to).map_err(StoreError::io(to))?;
            if last {
                return Err(damaged(&format!("its bytes are {}, {} was recorded", found.short(), digest.short())));
            }
        }
        Err(damaged("it cannot be read"))
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

    async fn verify_object(&self, object: &str, digest: &Digest) -> Result<u64, StoreError> {
        let key = object_key(object)?;
        let damaged = |problem: String| StoreError::Damaged { object: object.to_owned(), problem };
        let Some(mut reader) = definite(self.objects.open(&key).await, &key)? else {
            return Err(damaged("it is missing".to_owned()));
        };
        let (found, bytes) = blocking(move || hash_reader(&mut reader)).await.map_err(StoreError::io(key.as_str()))?;
        if found == *digest {
            Ok(bytes)
        } else {
            Err(damaged(format!("its bytes are {}, {} was recorded", found.short(), digest.short())))
        }
    }
}

pub(crate) fn object_key(text: &str) -> Result<ObjectKey, StoreError> {
    ObjectKey::new(text)
        .map_err(|_| StoreError::Damaged { object: text.to_owned(), problem: "the record names no object".to_owned() })
}

/// A definite finding of damage by the backend counts as absence; anything else stays an error.
fn definite<T>(found: Result<Option<T>, ObjectsError>, key: &ObjectKey) -> Result<Option<T>, StoreError> {
    match found {
        Err(ObjectsError::Corrupt { what, .. }) => Err(StoreError::Damaged { object: key.to_string(), problem: what }),
        other => Ok(other?),
    }
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
