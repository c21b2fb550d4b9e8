//! Large objects, sent in parts: all of one is visible at once, or nothing.

use std::time::Duration;

use bytes::Bytes;
use opendal::layers::RetryLayer;
use opendal::{Operator, Writer};
use prunella_objects::{ObjectKey, ObjectsError};

use super::{Bucket, Ended, Put};

/// How large the parts of a large upload are; five times the smallest that S3 takes, at most 10,000 of them.
pub(crate) const PART_BYTES: usize = 24 << 20;
pub(super) const PARTS_AT_ONCE: usize = 4;
const PART_TRIES: usize = 5;

impl Bucket {
    /// Writes a large object unless one is there, from pieces; all of it is visible at once, or nothing.
    pub(crate) async fn put_new_in_parts<F>(&self, key: &ObjectKey, size: u64, parts: F) -> Result<Put, ObjectsError>
    where
        F: Fn(u64, usize) -> std::io::Result<Bytes> + Send + Sync + Clone + 'static,
    {
        self.put_new_in_parts_of(PART_BYTES, key, size, parts).await
    }

    /// As [`Bucket::put_new_in_parts`], in parts of so many bytes.
    pub(crate) async fn put_new_in_parts_of<F>(
        &self,
        part_bytes: usize,
        key: &ObjectKey,
        size: u64,
        parts: F,
    ) -> Result<Put, ObjectsError>
    where
        F: Fn(u64, usize) -> std::io::Result<Bytes> + Send + Sync + Clone + 'static,
    {
        let by_part = self.by_part();
        let write = || {
            let (op, key, parts) = (by_part.clone(), key.clone(), parts.clone());
            async move {
                let write = op.writer_with(key.as_str()).if_not_exists(true);
                send(write.chunk(part_bytes).concurrent(PARTS_AT_ONCE).await?, size, parts).await
            }
        };
        self.line(size).await;
        for _ in 0..PART_TRIES {
            match self.tried(Some(key), size, write).await {
                Ok(Ok(())) => return Ok(Put::New),
                Ok(Err(source)) => return Err(ObjectsError::Io { path: key.as_str().into(), source }),
                Err(Ended::There) => return Ok(Put::There),
                // The upload is not known any more: it was completed and the answer got lost, or it was removed.
                Err(Ended::Absent) => {}
                Err(Ended::Error(error)) => return Err(error),
            }
        }
        Err(ObjectsError::Undecided {
            key: key.clone(),
            message: "its uploads were lost one after the other".to_owned(),
        })
    }

    /// Returns the smallest part that is not the last one.
    pub(crate) fn smallest_part_bytes(&self) -> usize {
        self.op.info().capability().write_multi_min_size.unwrap_or(1)
    }

    /// Each part is made again by itself: to begin a large upload anew for one of them would never end in a bad network.
    pub(super) fn by_part(&self) -> Operator {
        let again = RetryLayer::new().with_max_times(PART_TRIES).with_jitter().with_max_delay(Duration::from_secs(5));
        self.op.clone().layer(again)
    }
}

/// Sends a large object from pieces and gives it its name; the inner error is that of reading them.
pub(super) async fn send<F>(mut writer: Writer, size: u64, parts: F) -> opendal::Result<std::io::Result<()>>
where
    F: Fn(u64, usize) -> std::io::Result<Bytes> + Send + Sync + Clone + 'static,
{
    let mut at = 0;
    while at < size {
        let want = usize::try_from(size - at).unwrap_or(usize::MAX).min(PART_BYTES);
        let parts = parts.clone();
        match prunella_sys::blocking(move || parts(at, want)).await {
            Ok(bytes) => {
                at += bytes.len() as u64;
                writer.write(bytes).await?;
            }
            Err(error) => {
                // The upload is given up; what has no name is no object.
                let _given_up = writer.abort().await;
                return Ok(Err(error));
            }
        }
    }
    writer.close().await?;
    Ok(Ok(()))
}
