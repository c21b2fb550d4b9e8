//! Hints: objects that may be overwritten, and that say so.

use bytes::Bytes;
use prunella_objects::{ObjectKey, ObjectsError};

use super::Bucket;

/// The mark of an object that may be overwritten, among its metadata; letters only, as Azure wants it.
pub(super) const HINT: &str = "prunellahint";

impl Bucket {
    /// Writes an object, replacing what is there, and marks it as a hint.
    pub(crate) async fn put_hint(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), ObjectsError> {
        let size = bytes.len() as u64;
        let write = || {
            let (op, bytes, key) = (self.op.clone(), bytes.clone(), key.clone());
            async move {
                let mark = [(HINT.to_owned(), "true".to_owned())];
                op.write_with(key.as_str(), bytes).user_metadata(mark).await.map(drop)
            }
        };
        self.unconditional(self.tried(Some(key), size, write).await).map(drop)
    }

    /// Returns whether what stands at `key` is a hint; nothing if nothing is there.
    pub(crate) async fn is_hint(&self, key: &ObjectKey) -> Result<Option<bool>, ObjectsError> {
        let meta = self.about(key.as_str()).await?;
        Ok(meta.map(|meta| meta.user_metadata().is_some_and(|meta| meta.get(HINT).is_some())))
    }
}
