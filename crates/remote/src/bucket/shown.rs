//! Objects that others read: of any name, and replaced while they are what they were thought to be.

use bytes::Bytes;
use opendal::Metadata;
use prunella_objects::{Instead, ObjectKey, ObjectsError, Shown};

use super::parts::{PART_BYTES, PARTS_AT_ONCE, send};
use super::{Bucket, Ended, Put};

/// What stands beside an object's bytes: the digest of what it shows; letters only, as Azure wants it.
const DIGEST: &str = "prunelladigest";

impl Bucket {
    /// Returns what stands under a name; nothing only if it is definitely absent.
    pub(crate) async fn look(&self, name: &str) -> Result<Option<Shown>, ObjectsError> {
        let meta = self.about(name).await?;
        Ok(meta.as_ref().map(shown))
    }

    /// Puts few bytes under a name, in one request.
    pub(crate) async fn put_shown(
        &self,
        name: &str,
        bytes: Bytes,
        digest: &str,
        instead: &Instead,
    ) -> Result<Put, ObjectsError> {
        let (size, mark) = (bytes.len() as u64, [(DIGEST.to_owned(), digest.to_owned())]);
        let version = self.version(instead);
        let write = || {
            let (op, bytes, name, mark) = (self.op.clone(), bytes.clone(), name.to_owned(), mark.clone());
            let (version, fresh) = (version.clone(), *instead == Instead::OfNothing);
            async move {
                let mut write = op.write_with(&name, bytes).user_metadata(mark);
                if fresh {
                    write = write.if_not_exists(true);
                }
                if let Some(version) = &version {
                    write = write.if_match(version);
                }
                write.await.map(drop)
            }
        };
        self.line(size).await;
        self.replaced(self.tried(None, size, write).await)
    }

    /// Puts a large object under a name, from pieces; all of it is visible at once, or nothing.
    pub(crate) async fn put_shown_in_parts<F>(
        &self,
        name: &str,
        size: u64,
        parts: F,
        digest: &str,
        instead: &Instead,
    ) -> Result<Put, ObjectsError>
    where
        F: Fn(u64, usize) -> std::io::Result<Bytes> + Send + Sync + Clone + 'static,
    {
        let (op, mark) = (self.by_part(), [(DIGEST.to_owned(), digest.to_owned())]);
        let version = self.version(instead);
        let write = || {
            let (op, name, parts, mark) = (op.clone(), name.to_owned(), parts.clone(), mark.clone());
            let (version, fresh) = (version.clone(), *instead == Instead::OfNothing);
            async move {
                let mut write = op.writer_with(&name).user_metadata(mark).chunk(PART_BYTES).concurrent(PARTS_AT_ONCE);
                if fresh {
                    write = write.if_not_exists(true);
                }
                if let Some(version) = &version {
                    write = write.if_match(version);
                }
                send(write.await?, size, parts).await
            }
        };
        self.line(size).await;
        match self.tried(None, size, write).await {
            Ok(Ok(())) => Ok(Put::New),
            Ok(Err(source)) => Err(ObjectsError::Io { path: name.into(), source }),
            Err(ended) => self.replaced(Err(ended)),
        }
    }

    /// Returns the names that begin so and the sizes of their objects, in byte order.
    pub(crate) async fn list_names(&self, prefix: &str, limit: usize) -> Result<Vec<(String, u64)>, ObjectsError> {
        self.listed(prefix, None, limit, |name, size| Some((name, size))).await
    }

    /// Returns an object's bytes; nothing only if it is definitely absent.
    pub(crate) async fn read_name(&self, name: &str, limit: u64) -> Result<Option<Bytes>, ObjectsError> {
        self.get(&ObjectKey::new(name)?, limit).await
    }

    /// Removes an object; done as well if it was absent.
    pub(crate) async fn delete_name(&self, name: &str) -> Result<(), ObjectsError> {
        let delete = || {
            let (op, name) = (self.op.clone(), name.to_owned());
            async move { op.delete(&name).await }
        };
        self.unconditional(self.tried(None, 0, delete).await).map(drop)
    }

    /// Returns the version that a write asks for, where the service knows such a condition.
    fn version(&self, instead: &Instead) -> Option<String> {
        match instead {
            Instead::Of(version) if self.op.info().capability().write_with_if_match => Some(version.clone()),
            Instead::Of(_) | Instead::OfNothing | Instead::OfAnything => None,
        }
    }

    fn replaced(&self, outcome: Result<(), Ended>) -> Result<Put, ObjectsError> {
        match outcome {
            Ok(()) => Ok(Put::New),
            // Asked to replace what is gone, some services say that it is absent.
            Err(Ended::There | Ended::Absent) => Ok(Put::There),
            Err(Ended::Error(error)) => Err(error),
        }
    }
}

fn shown(meta: &Metadata) -> Shown {
    let digest = meta.user_metadata().and_then(|meta| meta.get(DIGEST)).map(str::to_owned);
    Shown { version: meta.etag().unwrap_or_default().to_owned(), size_bytes: meta.content_length(), digest }
}
