//! Checking what commits promise.

use prunella_model::{PortName, SlotId};

use crate::{Store, StoreError, records::Committed};

/// The outcome of verifying one artifact of a commit.
#[derive(Debug)]
pub struct Verified {
    /// The output.
    pub port: PortName,
    /// The bytes read, or what is wrong.
    pub outcome: Result<u64, StoreError>,
}

impl Store {
    /// Reads every byte of a commit and says of each artifact whether it is whole (I1).
    pub async fn verify_commit(&self, committed: &Committed) -> Vec<Verified> {
        let mut verified = Vec::new();
        for (port, stored) in &committed.artifacts {
            verified.push(Verified { port: port.clone(), outcome: self.verify(stored).await });
        }
        verified
    }

    /// Verifies the commit of a slot and marks it damaged if bytes are definitely lost.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer; a damage found is not an error but in the answer.
    pub async fn verify_slot(&self, slot: &SlotId) -> Result<Vec<Verified>, StoreError> {
        let Some(committed) = self.committed(slot).await? else { return Ok(Vec::new()) };
        let verified = self.verify_commit(&committed).await;
        for one in &verified {
            if let Err(StoreError::Damaged { object, problem }) = &one.outcome {
                self.mark_damaged(slot, object, problem).await?;
            }
        }
        Ok(verified)
    }
}
