//! The store in a bucket.

use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use prunella_objects::{
    Created, CreatedFile, Frames, Freshness, Listed, MAX_GET_BYTES, ObjectKey, ObjectReader, Objects, ObjectsError, Op,
    Packing, SMALL_BYTES, Take, TakeIn, is_store_id, new_store_id,
};
use prunella_sys::{Sys, blocking, mutated};
use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Put, pour::Gathered};
use crate::cache::{Cache, Copying, Keep};
use crate::options::Options;
use crate::probe::{Depth, PROBE, probe};
use crate::records::Records;
use crate::transport::Traffic;
use crate::url::StoreUrl;

/// A store in a bucket. Clones are handles on one store; many machines may use it at the same time.
#[derive(Clone)]
pub struct Remote {
    pub(crate) bucket: Bucket,
    pub(crate) cache: Cache,
    records: Records,
    sys: Sys,
    id: Arc<str>,
    /// What this handle wrote as a hint: it may be overwritten without looking.
    hints: Arc<Mutex<HashSet<ObjectKey>>>,
    /// What is being copied to this machine: whoever wants the same waits for it.
    copying: Copying,
    /// Held by whoever reads a large record: of these one is on its way at a time.
    pub(crate) large: Arc<tokio::sync::Mutex<()>>,
}

/// The first record of a store.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    kind: String,
    format: u32,
    store_id: String,
}

const HEAD: &str = "prunella.json";
const KIND: &str = "prunella-store";
const FORMAT: u32 = 1;

/// How many requests one call makes beside each other.
pub(crate) const ABREAST: usize = 32;

/// Files up to this size are written in one request.
pub(crate) const ONE_REQUEST_BYTES: u64 = 64 << 20;

/// What is read of an object before its size is known: all of a pack, or of gathered chunks.
const BEGIN_BYTES: u64 = 16 << 20;

/// What is read at once of a larger one.
const RANGE_BYTES: u64 = 8 << 20;

impl Remote {
    /// Opens the store at `url`, which is made if there is none.
    ///
    /// # Errors
    /// [`ObjectsError::NewerFormat`], or what the bucket says.
    pub async fn open(sys: &Sys, url: &StoreUrl, options: &Options) -> Result<Self, ObjectsError> {
        let bucket = Bucket::new(sys, url, options)?;
        is_fit(sys, &bucket, options).await?;
        let head = Head { kind: KIND.to_owned(), format: FORMAT, store_id: new_store_id(&*sys.random) };
        let key = head_key();
        let bytes: Bytes = serde_json::to_vec(&head).expect("a number and a text are JSON").into();
        let there = match bucket.get(&key, SMALL_BYTES as u64).await? {
            Some(there) => there,
            None => match bucket.put_new(&key, bytes.clone()).await? {
                Put::New => bytes,
                Put::There => bucket.get(&key, SMALL_BYTES as u64).await?.ok_or_else(|| unfit(url, VANISHED))?,
            },
        };
        Self::with_head(sys, options, bucket, &there)
    }

    /// Opens the store at `url`, which must be there. It writes nothing by itself.
    ///
    /// # Errors
    /// [`ObjectsError::NoStore`] if there is none.
    pub async fn open_existing(sys: &Sys, url: &StoreUrl, options: &Options) -> Result<Self, ObjectsError> {
        let bucket = Bucket::new(sys, url, options)?;
        match bucket.get(&head_key(), SMALL_BYTES as u64).await? {
            Some(there) => Self::with_head(sys, options, bucket, &there),
            None => Err(ObjectsError::NoStore { path: url.to_string().into() }),
        }
    }

    fn with_head(sys: &Sys, options: &Options, bucket: Bucket, head: &[u8]) -> Result<Self, ObjectsError> {
        let url = bucket.url();
        let head: Head = serde_json::from_slice(head)
            .map_err(|error| unfit(url, &format!("its `{HEAD}` cannot be read: {error}")))?;
        if head.kind != KIND {
            return Err(unfit(url, &format!("its `{HEAD}` is of `{}`, no store", head.kind)));
        }
        if head.format > FORMAT {
            let path = url.to_string().into();
            return Err(ObjectsError::NewerFormat { path, found: head.format, supported: FORMAT });
        }
        // It names a directory here.
        if !is_store_id(&head.store_id) {
            return Err(unfit(url, &format!("its `{HEAD}` has not the store id that was written")));
        }
        let cache = Cache::new(sys, &options.cache, &head.store_id);
        cache.shrink(options.cache_bytes);
        let records = Records::new(&options.cache, &head.store_id);
        Ok(Self {
            bucket,
            cache,
            records,
            sys: sys.clone(),
            id: head.store_id.into(),
            hints: Arc::default(),
            copying: Copying::default(),
            large: Arc::default(),
        })
    }

    /// Returns the address.
    pub fn url(&self) -> &StoreUrl {
        self.bucket.url()
    }

    /// Returns what went over the network.
    pub fn traffic(&self) -> &Traffic {
        self.bucket.traffic()
    }

    /// Forgets what this machine knows of the records of this store.
    pub fn forget_records(&self) {
        self.records.clear(&self.sys);
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Returns how large an object is, if it is there.
    pub(crate) async fn size(&self, key: &ObjectKey) -> Result<Option<u64>, ObjectsError> {
        let listed = self.list(key.as_str(), None, 1).await?;
        Ok(listed.first().filter(|listed| listed.key == *key).map(|listed| listed.size))
    }

    fn hints(&self) -> MutexGuard<'_, HashSet<ObjectKey>> {
        self.hints.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn download(&self, key: &ObjectKey, keep: Keep) -> Result<Option<ObjectReader>, ObjectsError> {
        let Some((first, size)) = self.bucket.get_begin(key, BEGIN_BYTES).await? else { return Ok(None) };
        if size <= SMALL_BYTES as u64 {
            let all = first.into_bytes();
            if keep == Keep::Copy {
                self.cache.keep(key, &all);
            }
            return Ok(Some(ObjectReader::from_bytes(all)));
        }
        let io = |source| ObjectsError::Io { path: key.as_str().into(), source };
        let mut filling = self.cache.fill(key, keep).map_err(io)?;
        let have = first.len() as u64;
        let ranges = (have..size).step_by(RANGE_BYTES as usize);
        let rest = stream::iter(ranges.map(|at| {
            let (bucket, key) = (self.bucket.clone(), key.clone());
            async move { bucket.get_range(&key, at, RANGE_BYTES.min(size - at)).await }
        }));
        let mut rest = rest.buffered(RANGES_AT_ONCE);
        let mut next = Some(first);
        while let Some(frames) = next {
            let write = move || frames.pieces().try_for_each(|piece| filling.write(piece)).map(|()| filling);
            filling = blocking(write).await.map_err(io)?;
            next = match rest.try_next().await? {
                None => None,
                Some(Some(bytes)) => Some(bytes),
                Some(None) => return Ok(None),
            };
        }
        let (reader, size) = filling.done().map_err(io)?;
        Ok(Some(ObjectReader::new(reader, size)))
    }
}

/// Which questions a bucket was asked that counts as fit here; another word when there are more.
const PROBED: &str = "parts";

/// Refuses a bucket whose conditions do not hold; found out once a machine, bucket and endpoint.
async fn is_fit(sys: &Sys, bucket: &Bucket, options: &Options) -> Result<(), ObjectsError> {
    let url = bucket.url();
    let place = format!("{:?}-{}-{}", url.kind, bucket.endpoint(), url.bucket);
    let name: String = place.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(200).collect();
    let parent = options.cache.join("fit").join(PROBED);
    let known = parent.join(name);
    if matches!(sys.fs.metadata(&known), Ok(Some(_))) {
        return Ok(());
    }
    let report = probe(sys, bucket, Depth::Quick).await?;
    if let Some(reason) = report.reason() {
        return Err(unfit(url, &reason));
    }
    // Not remembered, it is found out again by the next.
    let _not_remembered = sys.fs.create_dir_all(&parent).and_then(|_| sys.fs.create_new(&known).map(drop));
    Ok(())
}

const RANGES_AT_ONCE: usize = 4;

/// How often a create is made again that was told of something and found nothing (protocol: Store layout).
const LOOKS: usize = 4;

fn undecided(key: &ObjectKey) -> ObjectsError {
    let message = "the store says that something is there, and then that nothing is".to_owned();
    ObjectsError::Undecided { key: key.clone(), message }
}

const VANISHED: &str = "its `prunella.json` was there and then was not";

fn unfit(url: &StoreUrl, message: &str) -> ObjectsError {
    ObjectsError::Unfit { store: url.to_string(), message: message.to_owned() }
}

pub(crate) fn head_key() -> ObjectKey {
    ObjectKey::new(HEAD).expect("it is a key")
}

/// Returns the id that a store's first record says, if it is one.
pub(crate) fn head_id(head: &[u8]) -> Option<String> {
    let head: Head = serde_json::from_slice(head).ok()?;
    is_store_id(&head.store_id).then_some(head.store_id)
}

#[async_trait]
impl Objects for Remote {
    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError> {
        for _ in 0..LOOKS {
            if self.bucket.put_new(key, bytes.clone()).await? == Put::New {
                return Ok(Created::New);
            }
            if let Some(there) = self.bucket.get(key, MAX_GET_BYTES).await? {
                return Ok(Created::There(there));
            }
        }
        Err(undecided(key))
    }

    async fn overwrite(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), ObjectsError> {
        if bytes.len() > SMALL_BYTES {
            let (size_bytes, limit_bytes) = (bytes.len() as u64, SMALL_BYTES as u64);
            return Err(ObjectsError::TooLarge { key: key.clone(), size_bytes, limit_bytes });
        }
        let known = self.hints().contains(key);
        if !known {
            // Mostly nothing is there yet. The look is only against mistakes in the caller: a key of a hint is never created.
            let new = self.bucket.put_new_hint(key, bytes.clone()).await? == Put::New;
            if !new && self.bucket.is_hint(key).await? == Some(false) {
                return Err(ObjectsError::Immutable { key: key.clone() });
            }
            self.hints().insert(key.clone());
            if new {
                return Ok(());
            }
        }
        self.bucket.put_hint(key, bytes).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError> {
        self.get_record(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, ObjectsError> {
        // What is beside the store's objects is no object of it.
        let beside = |key: &ObjectKey| key.as_str() == HEAD || key.as_str().starts_with(PROBE);
        let (mut found, mut from) = (Vec::new(), after.map(str::to_owned));
        while found.len() < limit {
            let wanted = limit - found.len();
            let page = self.bucket.list(prefix, from.as_deref(), wanted).await?;
            let ended = page.len() < wanted;
            from = page.last().map(|last| last.key.to_string());
            found.extend(page.into_iter().filter(|listed| !beside(&listed.key)));
            if ended {
                break;
            }
        }
        Ok(found)
    }

    async fn read_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<(ObjectKey, Bytes)>, ObjectsError> {
        let listed = self.list(prefix, None, limit).await?;
        let reads = listed.into_iter().map(|Listed { key, .. }| async move {
            let bytes = self.get(&key).await?;
            Ok::<_, ObjectsError>(bytes.map(|bytes| (key, bytes)))
        });
        stream::iter(reads).buffered(ABREAST).try_filter_map(|found| async move { Ok(found) }).try_collect().await
    }

    async fn read_prefixes(&self, prefixes: &[String]) -> Result<Vec<Vec<(ObjectKey, Bytes)>>, ObjectsError> {
        let reads = prefixes.iter().cloned().map(|prefix| async move { self.read_prefix(&prefix, usize::MAX).await });
        stream::iter(reads).buffered(ABREAST).try_collect().await
    }

    async fn list_prefixes(&self, prefixes: &[String]) -> Result<Vec<Vec<Listed>>, ObjectsError> {
        self.list_many(prefixes).await
    }

    async fn read_listed(&self, keys: &[ObjectKey]) -> Result<Vec<Option<Bytes>>, ObjectsError> {
        let (records, sys, asked) = (self.records.clone(), self.sys.clone(), keys.to_vec());
        let mut found = blocking(move || records.get(&sys, &asked)).await;
        let missing: Vec<usize> = (0..keys.len()).filter(|at| found[*at].is_none()).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let asked: Vec<ObjectKey> = missing.iter().map(|at| keys[*at].clone()).collect();
        let read = self.get_many(&asked).await?;
        for (at, bytes) in missing.into_iter().zip(&read) {
            found[at].clone_from(bytes);
        }
        let (records, sys) = (self.records.clone(), self.sys.clone());
        let keep = move || {
            let fresh = asked.iter().zip(&read).filter_map(|(key, bytes)| Some((key, bytes.as_ref()?)));
            records.keep(&sys, fresh);
        };
        blocking(keep).await;
        Ok(found)
    }

    fn is_remote(&self) -> bool {
        true
    }

    async fn batch(&self, ops: Vec<Op>) -> Result<Vec<Created>, ObjectsError> {
        self.write_many(ops).await
    }

    async fn create_and_look(
        &self,
        key: &ObjectKey,
        bytes: Bytes,
        prefix: &str,
    ) -> Result<(Created, Vec<(ObjectKey, Bytes)>), ObjectsError> {
        let created = self.create(key, bytes.clone()).await?;
        let own = match &created {
            Created::New => bytes,
            Created::There(there) => there.clone(),
        };
        let listed = self.list(prefix, None, usize::MAX).await?;
        let others: Vec<ObjectKey> = listed.iter().map(|l| l.key.clone()).filter(|other| other != key).collect();
        let mut read = self.get_many(&others).await?.into_iter();
        let content = |listed: Listed| {
            let bytes = if listed.key == *key { Some(own.clone()) } else { read.next().flatten() };
            bytes.map(|bytes| (listed.key, bytes))
        };
        Ok((created, listed.into_iter().filter_map(content).collect()))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<bool, ObjectsError> {
        let _none = self.cache.forget(key);
        let there = self.size(key).await?.is_some();
        if there {
            self.bucket.delete(key).await?;
        }
        Ok(there)
    }

    async fn delete_seen(&self, key: &ObjectKey) -> Result<(), ObjectsError> {
        let _none = self.cache.forget(key);
        self.bucket.delete(key).await
    }

    async fn sync(&self) -> Result<(), ObjectsError> {
        // What a cloud answered is durable there (protocol: I9).
        Ok(())
    }

    async fn create_from_file(&self, key: &ObjectKey, source: &Path, how: TakeIn) -> Result<CreatedFile, ObjectsError> {
        let io = |source_error| ObjectsError::Io { path: source.to_owned(), source: source_error };
        let absent = || io(std::io::ErrorKind::NotFound.into());
        let size_bytes = self.sys.fs.metadata(source).map_err(io)?.ok_or_else(absent)?.len;
        for _ in 0..LOOKS {
            let (sys, path) = (self.sys.clone(), source.to_owned());
            let put = if size_bytes <= ONE_REQUEST_BYTES {
                let bytes = Bytes::from(blocking(move || sys.fs.read(&path)).await.map_err(io)?);
                let put = self.bucket.put_new(key, bytes.clone()).await?;
                if put == Put::New {
                    self.cache.keep(key, &bytes);
                }
                put
            } else {
                self.bucket.put_new_in_parts(key, size_bytes, move |at, size| read_part(&sys, &path, at, size)).await?
            };
            if put == Put::New {
                if matches!(how, TakeIn::Move { .. }) {
                    self.sys.fs.remove_file(source).map_err(io)?;
                }
                return Ok(CreatedFile::New { size_bytes });
            }
            if let Some(size_bytes) = self.size(key).await? {
                return Ok(CreatedFile::There { size_bytes });
            }
        }
        Err(undecided(key))
    }

    async fn create_and_keep(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError> {
        let created = self.create(key, bytes.clone()).await?;
        if created == Created::New {
            let (cache, key) = (self.cache.clone(), key.clone());
            blocking(move || cache.keep(&key, &bytes)).await;
        }
        Ok(created)
    }

    fn packing(&self) -> Packing {
        Packing::Chunks
    }

    async fn read_range(
        &self,
        key: &ObjectKey,
        offset: u64,
        size: usize,
        freshness: Freshness,
    ) -> Result<Option<Frames>, ObjectsError> {
        let came = Gathered::default();
        let there = self.pour(key, offset, size, freshness, &|bytes| came.take(bytes)).await?;
        Ok(there.map(|_| came.frames()))
    }

    async fn pour_range(
        &self,
        key: &ObjectKey,
        offset: u64,
        size: usize,
        freshness: Freshness,
        take: Take<'_>,
    ) -> Result<Option<usize>, ObjectsError> {
        self.pour(key, offset, size, freshness, take).await
    }

    async fn local_path(&self, _key: &ObjectKey) -> Result<Option<PathBuf>, ObjectsError> {
        Ok(None)
    }

    async fn open(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError> {
        if let Some((reader, size)) = self.cache.open(key) {
            return Ok(Some(ObjectReader::new(reader, size)));
        }
        let _turn = self.copying.turn(key).await;
        if let Some((reader, size)) = self.cache.open(key) {
            return Ok(Some(ObjectReader::new(reader, size)));
        }
        self.download(key, Keep::Copy).await
    }

    async fn open_fresh(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError> {
        // To look at a whole store does not fill this machine with it.
        if mutated(50) {
            return self.open(key).await;
        }
        let keep = if self.cache.forget(key) { Keep::Copy } else { Keep::Nothing };
        self.download(key, keep).await
    }

    fn store_id(&self) -> &str {
        &self.id
    }
}

/// Reads a piece of a file that is sent.
pub(crate) fn read_part(sys: &Sys, path: &Path, at: u64, size: usize) -> std::io::Result<Bytes> {
    let mut file = sys.fs.open_read(path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = vec![0; size];
    file.read_exact(&mut bytes)?;
    Ok(bytes.into())
}
