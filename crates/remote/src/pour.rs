//! Handing on a stretch of an object as it comes: from a copy on this machine, or from the bucket.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use prunella_objects::{Frames, Freshness, ObjectKey, ObjectReader, ObjectsError, Take};
use prunella_sys::blocking;

use crate::remote::Remote;

impl Remote {
    /// As [`prunella_objects::Objects::pour_range`].
    pub(crate) async fn pour(
        &self,
        key: &ObjectKey,
        offset: u64,
        size: usize,
        freshness: Freshness,
        take: Take<'_>,
    ) -> Result<Option<usize>, ObjectsError> {
        if freshness == Freshness::Fresh {
            let _none = self.cache.forget(key);
        } else if let Some((reader, len)) = self.cache.open(key) {
            let reader = ObjectReader::new(reader, len);
            let bytes = blocking(move || reader.stretch(offset, size)).await;
            let bytes = bytes.map_err(|source| ObjectsError::Io { path: key.as_str().into(), source })?;
            return Ok(Some(Frames::from(bytes).pour(take)));
        }
        let came = AtomicUsize::new(0);
        let counted = |bytes: Bytes| {
            came.fetch_add(bytes.len(), Ordering::Relaxed);
            take(bytes);
        };
        let read = self.bucket.pour_range(key, offset, size as u64, &counted).await;
        let so_far = came.load(Ordering::Relaxed);
        match read {
            Ok(false) => return Ok(None),
            Ok(true) if so_far == size => return Ok(Some(size)),
            Ok(true) | Err(ObjectsError::Unfit { .. }) => {}
            Err(error) => return Err(error),
        }
        // What it has of the range is the answer.
        let Some(there) = self.size(key).await? else { return Ok(None) };
        let (from, end) = (offset + so_far as u64, there.min(offset + size as u64));
        if from < end {
            self.bucket.pour_range(key, from, end - from, &counted).await?;
        }
        Ok(Some(came.into_inner()))
    }
}
