//! Reuse is a dependency: first `uses` is written, then `retired` is looked for.

use prunella_model::{Epoch, RunId, SlotId, StepKey};
use prunella_sys::mutated;

use crate::{
    Layout, Store, StoreError,
    guard::Looked,
    records::{Committed, FORMAT, UsesRecord},
};

/// What the guard of a step found.
#[derive(Debug, Clone, PartialEq)]
pub enum Guarded {
    /// A commit that this run now uses.
    Committed(SlotId, Box<Committed>),
    /// No commit that may be reused; the epoch that is free, if nothing stands in its way.
    Missed(Option<Epoch>),
}

impl Store {
    /// Looks for commits of all these keys and records those found as used, in one record.
    ///
    /// The answers are in the order of the keys.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer or a record cannot be understood.
    pub async fn guard(&self, run: &RunId, keys: &[StepKey]) -> Result<Vec<Guarded>, StoreError> {
        let looked = self.look_for_commits(keys).await?;
        let mut found = Vec::new();
        for looked in &looked {
            if let Looked::Committed(slot, _) = looked {
                found.push(*slot);
            }
        }
        // After `uses` stands: what is neither retired nor damaged now is a root for every collector that comes later.
        let mut still = self.reuse_all(run, &found).await?.into_iter();
        let answer = |looked| match looked {
            Looked::Committed(slot, committed) if still.next() == Some(true) => Guarded::Committed(slot, committed),
            Looked::Free(epoch) => Guarded::Missed(Some(epoch)),
            Looked::Committed(..) | Looked::Open | Looked::Lost(_) => Guarded::Missed(None),
        };
        Ok(looked.into_iter().map(answer).collect())
    }

    /// Records these commits as used by the run, in one record, and answers for each whether it may still be reused.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer or a record cannot be understood.
    pub async fn reuse_all(&self, run: &RunId, slots: &[SlotId]) -> Result<Vec<bool>, StoreError> {
        if slots.is_empty() {
            return Ok(Vec::new());
        }
        if mutated(11) {
            let looked = self.not_barred(slots).await?;
            return self.write_uses(run, slots).await.map(|()| looked);
        }
        self.write_uses(run, slots).await?;
        self.not_barred(slots).await
    }

    /// Records these slots as used by the run, and returns those that are retired: their bytes may be gone.
    ///
    /// For whoever was told which commit to read, instead of looking for one.
    ///
    /// # Errors
    /// [`StoreError::GivenUp`] if the run is no longer retained; [`StoreError::Objects`] if the store did not answer.
    pub async fn rely_on(&self, run: &RunId, slots: &[SlotId]) -> Result<Vec<SlotId>, StoreError> {
        if !slots.is_empty() {
            self.write_uses(run, slots).await?;
        }
        self.not_given_up(run).await?;
        self.retired_of(slots).await
    }

    /// Records the slot as used by the run, then looks whether it may still be reused.
    pub(crate) async fn reuse(&self, run: &RunId, slot: SlotId) -> Result<bool, StoreError> {
        Ok(self.reuse_all(run, &[slot]).await? == [true])
    }

    async fn write_uses(&self, run: &RunId, slots: &[SlotId]) -> Result<(), StoreError> {
        // A name of its own for every record: numbers of one writer would have to outlive it.
        let i = self.sys.random.u64() % 100_000_000;
        let key = Layout::uses(run, &self.random(), i);
        let _random_name = self.create(&key, &UsesRecord { format: FORMAT, slots: slots.to_vec() }).await?;
        Ok(())
    }
}
