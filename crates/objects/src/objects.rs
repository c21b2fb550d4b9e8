//! What a store has to do.

use std::fmt;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use prunella_sys::{FsRead, blocking};

use crate::error::ObjectsError;
use crate::frames::Frames;
use crate::key::ObjectKey;

/// Objects up to this size are small: kept beside the records, and the only ones that may be hints.
pub const SMALL_BYTES: usize = 64 << 10;

/// [`Objects::get`] refuses objects above this size; [`Objects::open`] reads them.
pub const MAX_GET_BYTES: u64 = 64 << 20;

/// The outcome of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Created {
    /// It was created now.
    New,
    /// It was there already, with these bytes; nothing was changed.
    There(Bytes),
}

/// The outcome of a create from a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum CreatedFile {
    /// It was created now with this many bytes.
    New {
        /// Its size.
        size_bytes: u64,
    },
    /// It was there already, with this many bytes; nothing was changed, the source is left alone.
    There {
        /// The size of what is there.
        size_bytes: u64,
    },
}

/// How a file becomes an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeIn {
    /// The file itself is taken over where that is possible, and its path is gone afterwards.
    ///
    /// The caller guarantees that nobody has it open for writing. A file with a second name is copied and removed.
    Move {
        /// Whether the caller has synced the content since its last change, so that it need not be done again.
        synced: bool,
    },
    /// The bytes are cloned or copied; the source stays.
    Copy,
}

/// How a store wants large files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Each as one object, from a file: it costs nothing to move or clone one in.
    Whole,
    /// In pieces that lie together in objects of middling size: every byte is sent.
    Chunks,
}

/// From where a stretch of an object is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// From a copy on this machine, if there is one.
    CopyWillDo,
    /// From the store, past every copy.
    Fresh,
}

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// As [`Objects::create`].
    Create {
        /// Where.
        key: ObjectKey,
        /// What.
        bytes: Bytes,
    },
    /// As [`Objects::overwrite`].
    Overwrite {
        /// Where.
        key: ObjectKey,
        /// What.
        bytes: Bytes,
    },
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The object.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size: u64,
}

/// Bytes at keys. The only atomic operation is create-if-absent (protocol: Store layout).
///
/// Every write that was answered is visible to all later reads of all handles, whichever process dies, and durable after the
/// next [`Objects::sync`]. What a loss of power takes before that are the last writes: one is never there without all that
/// were answered before it. A future dropped before its answer leaves it open whether the write happens. An error other than
/// [`ObjectsError::Undecided`] says that nothing was done.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// Creates `key` unless it exists. Atomic: a reader sees all bytes or none.
    ///
    /// Of many at once exactly one gets [`Created::New`].
    ///
    /// # Errors
    /// [`ObjectsError::Undecided`] if the answer got lost; the others did nothing.
    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError>;

    /// Writes a hint, replacing the last one. Only for what may be lost and is at most [`SMALL_BYTES`] long.
    ///
    /// # Errors
    /// [`ObjectsError::Immutable`] if `key` was created.
    async fn overwrite(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), ObjectsError>;

    /// Returns the object's bytes; `None` only if it is definitely absent.
    ///
    /// # Errors
    /// [`ObjectsError::TooLarge`] above [`MAX_GET_BYTES`]; [`ObjectsError::Corrupt`] if it was there and is lost.
    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError>;

    /// Returns up to `limit` objects whose key begins with `prefix` and is greater than `after`, in byte order.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, ObjectsError>;

    /// Shows all keys that begin with `prefix` to `see`, in byte order: for those of which few are wanted of very many.
    ///
    /// `see` asks the store nothing: it may be called while a read goes on.
    async fn see_keys(&self, prefix: &str, see: &mut (dyn for<'k> FnMut(&'k str) + Send)) -> Result<(), ObjectsError> {
        self.list(prefix, None, usize::MAX).await?.iter().for_each(|listed| see(listed.key.as_str()));
        Ok(())
    }

    /// Returns up to `limit` objects whose key begins with `prefix` with their bytes, in byte order.
    ///
    /// Meant for records. What is deleted meanwhile is left out.
    ///
    /// # Errors
    /// As [`Objects::get`] for any of them.
    async fn read_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<(ObjectKey, Bytes)>, ObjectsError> {
        let mut found = Vec::new();
        for listed in self.list(prefix, None, limit).await? {
            if let Some(bytes) = self.get(&listed.key).await? {
                found.push((listed.key, bytes));
            }
        }
        Ok(found)
    }

    /// Returns what [`Objects::read_prefix`] gives for each prefix, in order; where it can be, from one moment.
    ///
    /// # Errors
    /// As [`Objects::read_prefix`] for any of them.
    async fn read_prefixes(&self, prefixes: &[String]) -> Result<Vec<Vec<(ObjectKey, Bytes)>>, ObjectsError> {
        let mut found = Vec::with_capacity(prefixes.len());
        for prefix in prefixes {
            found.push(self.read_prefix(prefix, usize::MAX).await?);
        }
        Ok(found)
    }

    /// Returns what [`Objects::list`] gives for each prefix, in order; where it can be, from one moment.
    async fn list_prefixes(&self, prefixes: &[String]) -> Result<Vec<Vec<Listed>>, ObjectsError> {
        let mut found = Vec::with_capacity(prefixes.len());
        for prefix in prefixes {
            found.push(self.list(prefix, None, usize::MAX).await?);
        }
        Ok(found)
    }

    /// Returns the bytes of records that a listing has just shown, in order; nothing for those deleted meanwhile.
    ///
    /// Never for hints: a record never changes and its name is never used twice, so that a copy on this machine will do.
    ///
    /// # Errors
    /// As [`Objects::get`] for any of them.
    async fn read_listed(&self, keys: &[ObjectKey]) -> Result<Vec<Option<Bytes>>, ObjectsError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.get(key).await?);
        }
        Ok(found)
    }

    /// Returns what the store finds wrong with itself, in words, beside what lies in it.
    async fn examine(&self) -> Result<Vec<String>, ObjectsError> {
        Ok(Vec::new())
    }

    /// Returns whether every operation is a request over a network: then few matter more than what each does.
    fn is_remote(&self) -> bool {
        false
    }

    /// Deletes the object; false if it was absent.
    async fn delete(&self, key: &ObjectKey) -> Result<bool, ObjectsError>;

    /// Deletes an object that the caller has seen; whether it was still there is not said, which costs a request less elsewhere.
    ///
    /// # Errors
    /// As [`Objects::delete`].
    async fn delete_seen(&self, key: &ObjectKey) -> Result<(), ObjectsError> {
        self.delete(key).await.map(drop)
    }

    /// Makes durable what this handle was answered and what it read: that survives a loss of power.
    ///
    /// # Errors
    /// Any error is final for the handle: what was written may be lost, and every later call says so.
    async fn sync(&self) -> Result<(), ObjectsError>;

    /// Writes all of them, the last one when every other was answered, and returns each outcome; an overwrite's is
    /// [`Created::New`].
    ///
    /// Those before the last may be written in any order, those of one key in the order given. One transaction where the backend
    /// has such; correctness never rests on that. After an error any of them may be done, the last one only if all are.
    async fn batch(&self, ops: Vec<Op>) -> Result<Vec<Created>, ObjectsError> {
        let mut done = Vec::with_capacity(ops.len());
        for op in ops {
            done.push(match op {
                Op::Create { key, bytes } => self.create(&key, bytes).await?,
                Op::Overwrite { key, bytes } => {
                    self.overwrite(&key, bytes).await?;
                    Created::New
                }
            });
        }
        Ok(done)
    }

    /// Creates `key` unless it exists, then returns what [`Objects::read_prefix`] gives for `prefix`.
    ///
    /// The look sees at least everything that was there when the create took effect, that object included.
    ///
    /// # Errors
    /// As [`Objects::create`] and [`Objects::read_prefix`]; a look that failed leaves the object created.
    async fn create_and_look(
        &self,
        key: &ObjectKey,
        bytes: Bytes,
        prefix: &str,
    ) -> Result<(Created, Vec<(ObjectKey, Bytes)>), ObjectsError> {
        let created = self.create(key, bytes).await?;
        Ok((created, self.read_prefix(prefix, usize::MAX).await?))
    }

    /// Creates `key` from the file at `source` unless it exists.
    ///
    /// Content, name and directories are durable before the object is visible.
    ///
    /// # Errors
    /// As [`Objects::create`]. The source of a move may then be where it was or gone into the store as waste, never changed.
    async fn create_from_file(&self, key: &ObjectKey, source: &Path, how: TakeIn) -> Result<CreatedFile, ObjectsError>;

    /// Creates as [`Objects::create`]; where copies are kept on this machine, one of this object is, since its readers are here.
    ///
    /// # Errors
    /// As [`Objects::create`].
    async fn create_and_keep(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError> {
        self.create(key, bytes).await
    }

    /// Returns how this store wants large files.
    fn packing(&self) -> Packing {
        Packing::Whole
    }

    /// Returns where the object lies as a file, to read or reflink from, never to write; `None` if it is no file or absent.
    async fn local_path(&self, key: &ObjectKey) -> Result<Option<PathBuf>, ObjectsError>;

    /// Opens an object of any size; `None` only if it is definitely absent.
    async fn open(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError>;

    /// Opens an object past every copy that this machine keeps: what is read is what the store has now.
    ///
    /// Damage is believed only of bytes that were read so (protocol: Damage).
    async fn open_fresh(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError> {
        self.open(key).await
    }

    /// Returns `size` bytes from `offset` on, fewer where the object ends before; `None` only if it is definitely absent.
    ///
    /// It makes no copy. What is asked for is held in memory.
    ///
    /// # Errors
    /// As [`Objects::open`].
    async fn read_range(
        &self,
        key: &ObjectKey,
        offset: u64,
        size: usize,
        freshness: Freshness,
    ) -> Result<Option<Frames>, ObjectsError> {
        let opened = match freshness {
            Freshness::CopyWillDo => self.open(key).await?,
            Freshness::Fresh => self.open_fresh(key).await?,
        };
        let Some(reader) = opened else { return Ok(None) };
        blocking(move || reader.stretch(offset, size))
            .await
            .map(|bytes| Some(bytes.into()))
            .map_err(|source| ObjectsError::Io { path: key.as_str().into(), source })
    }

    /// Gives what [`Objects::read_range`] returns to `take`, in order, each piece as soon as it came; returns how many bytes that were.
    ///
    /// # Errors
    /// As [`Objects::open`]; what was given until then are the first bytes of the stretch.
    async fn pour_range(
        &self,
        key: &ObjectKey,
        offset: u64,
        size: usize,
        freshness: Freshness,
        take: Take<'_>,
    ) -> Result<Option<usize>, ObjectsError> {
        let frames = self.read_range(key, offset, size, freshness).await?;
        Ok(frames.map(|frames| frames.pour(take)))
    }

    /// Returns the random id given to this store when it was made.
    fn store_id(&self) -> &str;
}

/// Takes bytes that come; it never waits.
pub type Take<'t> = &'t (dyn Fn(Bytes) + Send + Sync);

/// An open object.
pub struct ObjectReader {
    inner: Box<dyn FsRead>,
    size: u64,
}

impl ObjectReader {
    /// Returns a reader of `inner`, which has `size` bytes.
    pub fn new(inner: Box<dyn FsRead>, size: u64) -> Self {
        ObjectReader { inner, size }
    }

    /// Returns a reader of bytes in memory.
    pub fn from_bytes(bytes: Bytes) -> Self {
        let size = bytes.len() as u64;
        Self::new(Box::new(Cursor::new(bytes)), size)
    }

    /// Returns a reader of bytes as they came.
    pub fn from_frames(frames: Frames) -> Self {
        let size = frames.len() as u64;
        Self::new(Box::new(frames.into_reader()), size)
    }

    /// Returns a reader of `size` bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` if the object has not so many.
    pub fn part(mut self, offset: u64, size: u64) -> io::Result<Self> {
        if offset.checked_add(size).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.inner.seek(SeekFrom::Start(offset))?;
        Ok(Self::new(Box::new(Stretch { inner: self.inner, offset, size, at: 0 }), size))
    }

    /// Reads `size` bytes from `offset` on, fewer where the object ends before.
    ///
    /// # Errors
    /// What reading says.
    pub fn stretch(mut self, offset: u64, size: usize) -> io::Result<Bytes> {
        self.inner.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::with_capacity(size);
        self.inner.take(size as u64).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    /// Returns the object's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// Returns the place that is meant, of something that has `size` bytes and is read at `at`.
///
/// # Errors
/// `InvalidInput` before the begin.
pub fn sought(to: SeekFrom, at: u64, size: u64) -> io::Result<u64> {
    let wanted = match to {
        SeekFrom::Start(at) => Some(at),
        SeekFrom::Current(by) => at.checked_add_signed(by),
        SeekFrom::End(by) => size.checked_add_signed(by),
    };
    wanted.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// A stretch of something longer.
struct Stretch {
    inner: Box<dyn FsRead>,
    offset: u64,
    size: u64,
    at: u64,
}

impl Read for Stretch {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = left.min(buf.len());
        let n = self.inner.read(&mut buf[..most])?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Stretch {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let wanted = sought(to, self.at, self.size)?;
        self.inner.seek(SeekFrom::Start(self.offset.saturating_add(wanted)))?;
        self.at = wanted;
        Ok(wanted)
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf)
    }
}

impl Seek for ObjectReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

impl fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectReader").field("size", &self.size).finish_non_exhaustive()
    }
}
