//! Sequences of records: numbers taken by create-if-absent, the highest listed first.

use prunella_objects::{Created, ObjectKey};
use prunella_sys::mutated;
use serde::Serialize;

use crate::{Layout, Store, StoreError, store::encode};

impl Store {
    /// Returns the highest number under `prefix`, 0 if there is none.
    pub(crate) async fn highest(&self, prefix: &str) -> Result<u64, StoreError> {
        let listed = self.objects.list(prefix, None, 1).await?;
        Ok(listed.first().and_then(|first| Layout::number(first.key.as_str())).unwrap_or(0))
    }

    /// Takes the next number under `prefix` with this record, and returns it.
    ///
    /// A number counts only if a list made after the create shows no higher one; otherwise it is given up and taken anew.
    pub(crate) async fn take_number<T: Serialize>(
        &self,
        prefix: &str,
        key: impl Fn(u64) -> ObjectKey,
        record: &T,
    ) -> Result<u64, StoreError> {
        loop {
            let n = self.highest(prefix).await? + 1;
            let key = key(n);
            let bytes = encode(&key, record);
            let ours = match self.put(&key, bytes.clone()).await? {
                Created::New => true,
                // Made by ourselves, and the answer got lost: the record names its writer.
                Created::There(there) => there == bytes && !mutated(27) || mutated(28),
            };
            if ours && self.highest(prefix).await? == n {
                return Ok(n);
            }
        }
    }
}
