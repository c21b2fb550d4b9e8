//! A store in a directory that suffers.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use prunella_objects::{
    Created, CreatedFile, Frames, Freshness, Listed, ObjectKey, ObjectReader, Objects, ObjectsError, Op, Packing, Take,
    TakeIn,
};
use rustix::io::Errno;

use crate::faults::Faults;
use crate::operation::{Act, Blow, Operation, Place};

/// A store that suffers as its errors allow: what it says was not done was not done, and what may have been done is undecided.
pub(crate) struct FaultyObjects {
    inner: Arc<dyn Objects>,
    faults: Faults,
    dir: PathBuf,
    /// After a failed sync nothing is durable any more, and every later one says so.
    unsynced: AtomicBool,
}

impl FaultyObjects {
    pub fn new(inner: Arc<dyn Objects>, faults: Faults, dir: &Path) -> Self {
        Self { inner, faults, dir: dir.to_owned(), unsynced: AtomicBool::new(false) }
    }

    /// Lets an operation pass. An error if it is not to be done; otherwise what its answer suffers.
    async fn pass(&self, act: Act, what: &str) -> Result<Option<Blow>, ObjectsError> {
        let operation = Operation { place: Place::Objects, act, what: Path::new(what) };
        match self.faults.pass(operation).await {
            Some(Blow::Full) => Err(ObjectsError::NoSpace { path: self.dir.clone() }),
            Some(Blow::Throttled) => Err(ObjectsError::Busy { path: self.dir.clone() }),
            Some(Blow::Error) => Err(self.io(Errno::IO.into())),
            Some(Blow::LostRequest) => Err(self.lost(act, what)),
            answer => Ok(answer),
        }
    }

    /// Lets a whole operation pass.
    async fn through<T>(
        &self,
        act: Act,
        what: &str,
        operation: impl Future<Output = Result<T, ObjectsError>> + Send,
    ) -> Result<T, ObjectsError> {
        let blow = self.pass(act, what).await?;
        let answer = operation.await?;
        match blow {
            Some(Blow::LostReply) => Err(self.lost(act, what)),
            // Whoever reads records knows where they end.
            Some(Blow::Short) => Err(self.io(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(answer),
        }
    }

    fn io(&self, source: io::Error) -> ObjectsError {
        ObjectsError::Io { path: self.dir.clone(), source }
    }

    /// Returns what it means that no answer came.
    fn lost(&self, act: Act, what: &str) -> ObjectsError {
        match ObjectKey::new(what) {
            Ok(key) if !act.only_reads() => ObjectsError::Undecided { key, message: "the answer got lost".to_owned() },
            _ => self.io(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Opens as `open` does; what is read may come short.
    async fn opened(
        &self,
        key: &ObjectKey,
        open: impl Future<Output = Result<Option<ObjectReader>, ObjectsError>> + Send,
    ) -> Result<Option<ObjectReader>, ObjectsError> {
        let blow = self.pass(Act::Read, key.as_str()).await?;
        let reader = open.await?;
        match blow {
            Some(Blow::LostReply) => Err(self.lost(Act::Read, key.as_str())),
            Some(Blow::Short) => Ok(reader.map(|reader| {
                let size = reader.size();
                ObjectReader::new(Box::new(Cut { inner: reader, left: size / 2 }), size)
            })),
            _ => Ok(reader),
        }
    }
}

/// A reader whose bytes end before they should.
struct Cut {
    inner: ObjectReader,
    left: u64,
}

impl Read for Cut {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let n = self.inner.read(&mut buf[..most])?;
        self.left -= n as u64;
        Ok(n)
    }
}

impl Seek for Cut {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[async_trait]
impl Objects for FaultyObjects {
    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError> {
        self.through(Act::Create, key.as_str(), self.inner.create(key, bytes)).await
    }

    async fn overwrite(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), ObjectsError> {
        self.through(Act::Write, key.as_str(), self.inner.overwrite(key, bytes)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError> {
        self.through(Act::Read, key.as_str(), self.inner.get(key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, ObjectsError> {
        self.through(Act::Look, prefix, self.inner.list(prefix, after, limit)).await
    }

    async fn see_keys(&self, prefix: &str, see: &mut (dyn for<'k> FnMut(&'k str) + Send)) -> Result<(), ObjectsError> {
        self.through(Act::Look, prefix, self.inner.see_keys(prefix, see)).await
    }

    async fn read_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<(ObjectKey, Bytes)>, ObjectsError> {
        self.through(Act::Read, prefix, self.inner.read_prefix(prefix, limit)).await
    }

    async fn read_prefixes(&self, prefixes: &[String]) -> Result<Vec<Vec<(ObjectKey, Bytes)>>, ObjectsError> {
        self.through(Act::Read, first(prefixes), self.inner.read_prefixes(prefixes)).await
    }

    async fn list_prefixes(&self, prefixes: &[String]) -> Result<Vec<Vec<Listed>>, ObjectsError> {
        self.through(Act::Look, first(prefixes), self.inner.list_prefixes(prefixes)).await
    }

    async fn read_listed(&self, keys: &[ObjectKey]) -> Result<Vec<Option<Bytes>>, ObjectsError> {
        let first = keys.first().map_or("", ObjectKey::as_str);
        self.through(Act::Read, first, self.inner.read_listed(keys)).await
    }

    async fn examine(&self) -> Result<Vec<String>, ObjectsError> {
        self.inner.examine().await
    }

    fn is_remote(&self) -> bool {
        self.inner.is_remote()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<bool, ObjectsError> {
        self.through(Act::Remove, key.as_str(), self.inner.delete(key)).await
    }

    async fn delete_seen(&self, key: &ObjectKey) -> Result<(), ObjectsError> {
        self.through(Act::Remove, key.as_str(), self.inner.delete_seen(key)).await
    }

    async fn sync(&self) -> Result<(), ObjectsError> {
        if self.unsynced.load(Ordering::Relaxed) {
            return Err(self.io(Errno::IO.into()));
        }
        let synced = self.through(Act::Sync, "", self.inner.sync()).await;
        self.unsynced.store(synced.is_err(), Ordering::Relaxed);
        synced
    }

    async fn batch(&self, ops: Vec<Op>) -> Result<Vec<Created>, ObjectsError> {
        let first = ops.first().map(|op| match op {
            Op::Create { key, .. } | Op::Overwrite { key, .. } => key.clone(),
        });
        let first = first.as_ref().map_or("", ObjectKey::as_str);
        self.through(Act::Create, first, self.inner.batch(ops)).await
    }

    async fn create_and_look(
        &self,
        key: &ObjectKey,
        bytes: Bytes,
        prefix: &str,
    ) -> Result<(Created, Vec<(ObjectKey, Bytes)>), ObjectsError> {
        self.through(Act::Create, key.as_str(), self.inner.create_and_look(key, bytes, prefix)).await
    }

    async fn create_from_file(&self, key: &ObjectKey, source: &Path, how: TakeIn) -> Result<CreatedFile, ObjectsError> {
        self.through(Act::Create, key.as_str(), self.inner.create_from_file(key, source, how)).await
    }

    async fn create_and_keep(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError> {
        self.through(Act::Create, key.as_str(), self.inner.create_and_keep(key, bytes)).await
    }

    fn packing(&self) -> Packing {
        self.inner.packing()
    }

    async fn local_path(&self, key: &ObjectKey) -> Result<Option<PathBuf>, ObjectsError> {
        self.through(Act::Look, key.as_str(), self.inner.local_path(key)).await
    }

    async fn open(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError> {
        self.opened(key, self.inner.open(key)).await
    }

    async fn open_fresh(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError> {
        self.opened(key, self.inner.open_fresh(key)).await
    }

    async fn read_range(
        &self,
        key: &ObjectKey,
        offset: u64,
        size: usize,
        freshness: Freshness,
    ) -> Result<Option<Frames>, ObjectsError> {
        self.through(Act::Read, key.as_str(), self.inner.read_range(key, offset, size, freshness)).await
    }

    async fn pour_range(
        &self,
        key: &ObjectKey,
        offset: u64,
        size: usize,
        freshness: Freshness,
        take: Take<'_>,
    ) -> Result<Option<usize>, ObjectsError> {
        self.through(Act::Read, key.as_str(), self.inner.pour_range(key, offset, size, freshness, take)).await
    }

    fn store_id(&self) -> &str {
        self.inner.store_id()
    }
}

fn first(prefixes: &[String]) -> &str {
    prefixes.first().map_or("", String::as_str)
}
