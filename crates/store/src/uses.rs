//! Reuse is a dependency: first `uses` is written, then `retired` is looked for.

use prunella_model::{Epoch, RunId, SlotId, StepKey};

use crate::{
    KeyState, KeyView, Layout, Store, StoreError,
    records::{Committed, FORMAT, UsesRecord},
    store::encode,
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
        let (mut found, mut missed) = (Vec::new(), Vec::new());
        for view in self.look_all(keys).await? {
            match view.state() {
                KeyState::Committed(slot, _) => found.push(slot),
                KeyState::Open(..) => missed.push(Guarded::Missed(None)),
                KeyState::Free(epoch) => missed.push(Guarded::Missed(Some(epoch))),
            }
        }
        if found.is_empty() {
            return Ok(missed);
        }
        self.write_uses(run, &found).await?;
        let mut answers = Vec::with_capacity(keys.len());
        for view in self.look_all(keys).await? {
            // The whole view again: it must show neither `retired` nor `damaged` after `uses` stands.
            answers.push(match view.state() {
                KeyState::Committed(slot, committed) if found.contains(&slot) => {
                    Guarded::Committed(slot, Box::new(committed.clone()))
                }
                KeyState::Free(epoch) => Guarded::Missed(Some(epoch)),
                KeyState::Committed(..) | KeyState::Open(..) => Guarded::Missed(None),
            });
        }
        Ok(answers)
    }

    /// Records these commits as used by the run, in one record, and answers for each whether it may still be reused.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer or a record cannot be understood.
    pub async fn reuse_all(&self, run: &RunId, slots: &[SlotId]) -> Result<Vec<bool>, StoreError> {
        self.write_uses(run, slots).await?;
        let keys: Vec<StepKey> = slots.iter().map(|slot| slot.key).collect();
        let views = self.look_all(&keys).await?;
        let still =
            |(slot, view): (&SlotId, &KeyView)| matches!(view.state(), KeyState::Committed(now, _) if now == *slot);
        Ok(slots.iter().zip(&views).map(still).collect())
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
        let mut retired = Vec::new();
        for slot in slots {
            if self.exists(&Layout::retired(slot)).await? {
                retired.push(*slot);
            }
        }
        Ok(retired)
    }

    /// Records the slot as used by the run, then looks whether it may still be reused.
    pub(crate) async fn reuse(&self, run: &RunId, slot: SlotId) -> Result<Guarded, StoreError> {
        self.write_uses(run, std::slice::from_ref(&slot)).await?;
        Ok(match self.look(&slot.key).await?.state() {
            KeyState::Committed(now, committed) if now == slot => Guarded::Committed(slot, Box::new(committed.clone())),
            _ => Guarded::Missed(None),
        })
    }

    async fn write_uses(&self, run: &RunId, slots: &[SlotId]) -> Result<(), StoreError> {
        let record = encode(&UsesRecord { format: FORMAT, slots: slots.to_vec() });
        // A name of its own for every record: numbers of one writer would have to outlive it.
        let i = self.sys.random.u64() % 100_000_000;
        let key = Layout::uses(run, &self.random(), i);
        let _random_name = self.put(&key, record).await?;
        Ok(())
    }
}
