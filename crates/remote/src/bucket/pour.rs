//! Reading a stretch of an object whose bytes are handed on as they come.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::TryStreamExt;
use prunella_objects::{ObjectKey, ObjectsError, Take};

use super::{Bucket, NOTHING_LEFT, TOO_FEW};

impl Bucket {
    /// Gives `size` bytes of an object from `offset` on to `take`, each piece as soon as it came; fewer if it ends before.
    /// Returns whether it is there.
    ///
    /// What came is not asked for again: after a failure the next try asks for the rest.
    ///
    /// # Errors
    /// As [`Bucket::get_range`].
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
                if from >= end {
                    return Ok(());
                }
                let mut stream = op.reader(key.as_str()).await?.into_stream(from..end).await?;
                loop {
                    let buffer = match stream.try_next().await {
                        Ok(Some(buffer)) => buffer,
                        Ok(None) => return Ok(()),
                        Err(error) if error.message() == TOO_FEW => return Ok(()),
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
