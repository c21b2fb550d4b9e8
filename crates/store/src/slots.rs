//! Filling slots: the one decision of an attempt.

use std::collections::BTreeMap;

use bytes::Bytes;
use prunella_model::{PortName, SlotId};
use prunella_objects::{Created, ObjectKey, Op};
use prunella_sys::{Phase, mutated};

use crate::{
    Layout, Store, StoreError,
    records::{
        Closed, Committed, DamagedRecord, End, EndRecord, FORMAT, Provenance, StartRecord, StoredArtifact, Timeline,
    },
    store::{decode, encode},
};

/// The outcome of filling a slot. Losing is a value, not an error.
#[derive(Debug, Clone, PartialEq)]
pub enum Filled {
    /// It is filled with what was given, now or by an earlier call whose answer was lost.
    Ours,
    /// It was filled before, with this.
    Theirs(Box<EndRecord>),
}

/// Everything a commit needs; small objects travel in the commit's own batch, in order before it.
pub struct ReadyCommit {
    /// The artifacts.
    pub artifacts: BTreeMap<PortName, StoredArtifact>,
    /// Small objects that the artifacts name.
    pub objects: Vec<(ObjectKey, Bytes)>,
    /// Where it comes from.
    pub provenance: Provenance,
    /// The attempt's time line.
    pub timeline: Timeline,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Decision {
    Commit,
    Close,
}

impl Store {
    /// Commits: stores the small objects, then fills the slot.
    ///
    /// I1: the objects stand before the record that names them. I5: a slot that was closed stays closed.
    ///
    /// # Errors
    /// [`StoreError::Objects`]: the slot's state is unknown unless the error says that nothing was done.
    pub async fn commit(&self, slot: &SlotId, ready: ReadyCommit) -> Result<Filled, StoreError> {
        let ReadyCommit { artifacts, objects, provenance, timeline } = ready;
        let mut ops: Vec<Op> = objects.into_iter().map(|(key, bytes)| Op::Create { key, bytes }).collect();
        let record = self.end_record(End::Committed(Committed { artifacts, provenance, timeline }));
        let key = Layout::end(slot);
        ops.push(Op::Create { key: key.clone(), bytes: encode(&key, &record) });
        if mutated(4) {
            ops.rotate_right(1);
        }
        let created = Phase::Commit.during(self.put_all(ops)).await?.pop();
        self.filled(&key, created, Decision::Commit).await
    }

    /// Closes a slot: the fence (I5). Whoever comes later, its own attempt included, finds it closed.
    ///
    /// # Errors
    /// [`StoreError::Objects`]: the slot's state is unknown unless the error says that nothing was done.
    pub async fn close(&self, slot: &SlotId, closed: Closed) -> Result<Filled, StoreError> {
        let key = Layout::end(slot);
        let created = self.create(&key, &self.end_record(End::Closed(closed))).await?;
        self.filled(&key, Some(created), Decision::Close).await
    }

    fn end_record(&self, end: End) -> EndRecord {
        EndRecord { format: FORMAT, writer: self.writer.clone(), at_ms: self.sys.clock.wall_ms(), end }
    }

    /// One's own writer id says "filled by an earlier call" only of the same decision: all attempts of an engine share its
    /// id, so that a commit may meet the engine's own fence, and a close a commit of which the answer got lost.
    async fn filled(&self, key: &ObjectKey, created: Option<Created>, with: Decision) -> Result<Filled, StoreError> {
        match created {
            Some(Created::There(bytes)) => {
                let there: EndRecord = decode(key, &self.sound(key, bytes).await?)?;
                let same = match there.end {
                    End::Committed(_) => with == Decision::Commit,
                    End::Closed(_) => with == Decision::Close,
                };
                let (same, ours) = (same || mutated(21) || mutated(20), there.writer == self.writer || mutated(20));
                if same && ours { Ok(Filled::Ours) } else { Ok(Filled::Theirs(Box::new(there))) }
            }
            Some(Created::New) | None => Ok(Filled::Ours),
        }
    }

    /// Returns how the slot was filled, if it is.
    ///
    /// # Errors
    /// [`StoreError::Record`] if the record cannot be understood.
    pub async fn end_of(&self, slot: &SlotId) -> Result<Option<EndRecord>, StoreError> {
        self.read(&Layout::end(slot)).await
    }

    /// Returns who started the slot.
    ///
    /// # Errors
    /// [`StoreError::Record`] if the record cannot be understood.
    pub async fn start_of(&self, slot: &SlotId) -> Result<Option<StartRecord>, StoreError> {
        self.read(&Layout::start(slot)).await
    }

    /// Returns the commit of the slot, if it has one.
    ///
    /// # Errors
    /// [`StoreError::Record`] if the record cannot be understood.
    pub async fn committed(&self, slot: &SlotId) -> Result<Option<Committed>, StoreError> {
        Ok(match self.end_of(slot).await? {
            Some(EndRecord { end: End::Committed(committed), .. }) => Some(committed),
            Some(EndRecord { end: End::Closed(_), .. }) | None => None,
        })
    }

    /// Marks a commit as damaged, so that the next epoch may make it anew. Nothing is moved or deleted.
    ///
    /// Only after a definite loss: missing, or wrong bytes in two fresh reads (protocol: Slots, Damage).
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not answer.
    pub async fn mark_damaged(&self, slot: &SlotId, object: &str, evidence: &str) -> Result<(), StoreError> {
        let record = DamagedRecord {
            format: FORMAT,
            object: object.to_owned(),
            evidence: evidence.to_owned(),
            writer: self.writer.clone(),
        };
        // Somebody else's mark says the same.
        let _already_marked = self.create(&Layout::damaged(slot), &record).await?;
        Ok(())
    }
}
