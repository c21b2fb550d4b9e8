//! A store in this process's memory, for tests: stricter than any real one.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use prunella_sys::{Sys, random_hex};

use crate::error::ObjectsError;
use crate::key::ObjectKey;
use crate::objects::{
    Created, CreatedFile, Listed, MAX_GET_BYTES, ObjectReader, Objects, Packing, SMALL_BYTES, TakeIn,
};

/// A store in this process's memory. Clones are handles on one store.
///
/// It grants no more than the trait promises: every operation lets other tasks run before and after it, a batch is not
/// atomic, and nothing is a local file.
#[derive(Clone)]
pub struct Memory {
    sys: Sys,
    id: Arc<str>,
    objects: Arc<Mutex<BTreeMap<ObjectKey, Object>>>,
    packing: Packing,
}

#[derive(Clone)]
struct Object {
    bytes: Bytes,
    hint: bool,
}

impl Memory {
    /// Returns an empty store that reads source files through `sys`.
    pub fn new(sys: &Sys) -> Self {
        Self::packing(sys, Packing::Whole)
    }

    /// Returns an empty store that wants large files in this way.
    pub fn packing(sys: &Sys, packing: Packing) -> Self {
        Memory { id: random_hex(&*sys.random, 16).into(), sys: sys.clone(), objects: Arc::default(), packing }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Object>> {
        self.objects.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn found(&self, key: &ObjectKey) -> Option<Bytes> {
        turn().await;
        let found = self.objects().get(key).map(|object| object.bytes.clone());
        turn().await;
        found
    }
}

/// Lets every other ready task run first.
async fn turn() {
    tokio::task::yield_now().await;
}

#[async_trait]
impl Objects for Memory {
    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError> {
        turn().await;
        let created = {
            let mut objects = self.objects();
            match objects.get(key) {
                Some(there) => Created::There(there.bytes.clone()),
                None => {
                    objects.insert(key.clone(), Object { bytes, hint: false });
                    Created::New
                }
            }
        };
        turn().await;
        Ok(created)
    }

    async fn overwrite(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), ObjectsError> {
        turn().await;
        refuse_large_hint(key, &bytes)?;
        let mut objects = self.objects();
        if objects.get(key).is_some_and(|there| !there.hint) {
            return Err(ObjectsError::Immutable { key: key.clone() });
        }
        objects.insert(key.clone(), Object { bytes, hint: true });
        Ok(())
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError> {
        let found = self.found(key).await;
        match found {
            Some(bytes) if bytes.len() as u64 > MAX_GET_BYTES => Err(ObjectsError::TooLarge {
                key: key.clone(),
                size_bytes: bytes.len() as u64,
                limit_bytes: MAX_GET_BYTES,
            }),
            found => Ok(found),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, ObjectsError> {
        turn().await;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let objects = self.objects();
        let matching =
            objects.range::<str, _>((from, Bound::Unbounded)).take_while(|(key, _)| key.as_str().starts_with(prefix));
        Ok(matching
            .take(limit)
            .map(|(key, object)| Listed { key: key.clone(), size: object.bytes.len() as u64 })
            .collect())
    }

    async fn delete(&self, key: &ObjectKey) -> Result<bool, ObjectsError> {
        turn().await;
        Ok(self.objects().remove(key).is_some())
    }

    async fn sync(&self) -> Result<(), ObjectsError> {
        turn().await;
        Ok(())
    }

    async fn create_from_file(&self, key: &ObjectKey, source: &Path, how: TakeIn) -> Result<CreatedFile, ObjectsError> {
        let io = |error| ObjectsError::Io { path: source.to_owned(), source: error };
        let bytes = Bytes::from(self.sys.fs.read(source).map_err(io)?);
        let size_bytes = bytes.len() as u64;
        match self.create(key, bytes).await? {
            Created::There(there) => Ok(CreatedFile::There { size_bytes: there.len() as u64 }),
            Created::New => {
                if matches!(how, TakeIn::Move { .. }) {
                    self.sys.fs.remove_file(source).map_err(io)?;
                }
                Ok(CreatedFile::New { size_bytes })
            }
        }
    }

    async fn local_path(&self, _key: &ObjectKey) -> Result<Option<PathBuf>, ObjectsError> {
        turn().await;
        Ok(None)
    }

    async fn open(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError> {
        Ok(self.found(key).await.map(ObjectReader::from_bytes))
    }

    fn packing(&self) -> Packing {
        self.packing
    }

    fn store_id(&self) -> &str {
        &self.id
    }
}

/// Refuses hints that are not small.
pub(crate) fn refuse_large_hint(key: &ObjectKey, bytes: &Bytes) -> Result<(), ObjectsError> {
    if bytes.len() > SMALL_BYTES {
        return Err(ObjectsError::TooLarge {
            key: key.clone(),
            size_bytes: bytes.len() as u64,
            limit_bytes: SMALL_BYTES as u64,
        });
    }
    Ok(())
}
