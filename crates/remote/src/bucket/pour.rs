//! Reading a stretch of an object whose bytes are handed on as they come.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures_util::TryStreamExt;
use prunella_objects::{Frames, ObjectKey, ObjectsError, Take};

use super::{Bucket, NOTHING_LEFT, TOO_FEW};

/// What came, gathered.
#[derive(Default)]
pub(crate) struct Gathered(Mutex<Vec<Bytes>>);

impl Gathered {
    pub(crate) fn take(&self, bytes: Bytes) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }

    pub(crate) fn frames(self) -> Frames {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect()
    }
}

impl Bucket {
    /// Returns `size` bytes of an object from `offset` on; fewer if it ends before, nothing only if it is absent.
    ///
    /// # Errors
    /// As [`Bucket::pour_range`].
    pub(crate) async fn get_range(
        &self,
        key: &ObjectKey,
        offset: u64,
        size: u64,
    ) -> Result<Option<Frames>, ObjectsError> {
        let came = Gathered::default();
        let there = self.pour_range(key, offset, size, &|bytes| came.take(bytes)).await?;
        Ok(there.then(|| came.frames()))
    }

    /// Gives `size` bytes of an object from `offset` on to `take`, each piece as soon as it came; fewer if it ends before.
    /// Returns whether it is there.
    ///
    /// What came is not asked for again: after a failure the next try asks for the rest.
    ///
    /// # Errors
    /// [`ObjectsError::Unfit`] from services that refuse a range in which there is nothing.
    pub(crate) async fn pour_range(
        &self,
        key: &ObjectKey,
        offset: u64,
        size: u64,
        take: Take<'_>,
    ) -> Result<bool, ObjectsError> {
        let given = AtomicU64::new(0);
        let end = offset + size;
        let read = || {
            let (op, key, given) = (self.op.clone(), key.clone(), &given);
            async move {
                let mut from = offset + given.load(Ordering::Relaxed);
                // All of it came, and then something failed.
                if from >= end && size > 0 {
                    return Ok(());
                }
                let mut stream = op.reader(key.as_str()).await?.into_stream(from..end).await?;
                loop {
                    let buffer = match stream.try_next().await {
                        Ok(Some(buffer)) => buffer,
                        Ok(None) => return Ok(()),
                        // A whole answer of fewer bytes: the same again would be the same.
                        Err(error) if error.message() == TOO_FEW => return Ok(()),
                        // Azurite answers so where nothing is left; the range that was asked for ends behind its begin.
                        Err(error) if error.to_string().contains(NOTHING_LEFT) => return Ok(()),
                        Err(error) => return Err(error),
                    };
                    for bytes in buffer {
                        from += bytes.len() as u64;
                        if from > end {
                            let much = "more bytes came than were asked for";
                            return Err(opendal::Error::new(opendal::ErrorKind::Unexpected, much));
                        }
                        given.store(from - offset, Ordering::Relaxed);
                        take(bytes);
                    }
                }
            }
        };
        self.line(size).await;
        Ok(self.unconditional(self.tried(None, size, read).await)?.is_some())
    }
}
