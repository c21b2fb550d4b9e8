//! Looking for commits with few requests: names tell nearly everything, so that of a finished step one record is read.

use std::collections::BTreeMap;

use bytes::Bytes;
use prunella_model::{Epoch, SlotId, StepKey};
use prunella_objects::{Listed, ObjectKey};
use prunella_sys::mutated;

use crate::{
    Layout, Store, StoreError,
    layout::AttemptRecord,
    records::{Committed, End, EndRecord},
    store::decode,
};

/// Records that are in memory at the same time.
const AT_ONCE: usize = 4096;

/// What stands in the store under a key, without what it says.
#[derive(Debug, Default)]
struct Names {
    slots: BTreeMap<Epoch, Slot>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Slot {
    started: bool,
    ended: bool,
    damaged: bool,
    retired: bool,
}

impl Slot {
    fn is_barred(&self) -> bool {
        (self.damaged || self.retired) && !mutated(102)
    }
}

/// What a newcomer finds under a key, of a commit only that of the highest epoch (protocol: Slots, Start).
#[derive(Debug, Clone, PartialEq)]
pub enum Looked {
    /// A commit that may be reused.
    Committed(SlotId, Box<Committed>),
    /// An attempt that is neither committed nor closed.
    Open,
    /// An attempt of which nobody knows any more how it ended: that record is damaged.
    Lost(SlotId),
    /// Nothing stands in the way of this epoch.
    Free(Epoch),
}

impl Names {
    fn of(listed: &[Listed]) -> Result<Self, StoreError> {
        let mut names = Self::default();
        for Listed { key, .. } in listed {
            let Some((epoch, record)) = Layout::parse_attempt(key.as_str()) else {
                return Err(StoreError::Record {
                    key: key.clone(),
                    problem: "its name is not that of a record".into(),
                });
            };
            let slot = names.slots.entry(epoch).or_default();
            match record {
                AttemptRecord::Start => slot.started = true,
                AttemptRecord::End => slot.ended = true,
                AttemptRecord::Damaged => slot.damaged = true,
                AttemptRecord::Retired => slot.retired = true,
                AttemptRecord::Alive => {}
            }
        }
        Ok(names)
    }

    /// Returns the highest epoch below `below` that has ended, whether or not it was a commit.
    fn ended_below(&self, below: Option<Epoch>) -> Option<Epoch> {
        self.slots
            .iter()
            .rev()
            .find(|(epoch, slot)| slot.ended && below.is_none_or(|below| **epoch < below))
            .map(|(epoch, _)| *epoch)
    }

    fn is_barred(&self, epoch: Epoch) -> bool {
        self.slots.get(&epoch).is_some_and(Slot::is_barred)
    }

    /// Returns what stands in the way if no commit may be reused.
    fn without_a_commit(&self) -> Looked {
        if self.slots.values().any(|slot| slot.started && !slot.ended) {
            return Looked::Open;
        }
        Looked::Free(self.slots.keys().next_back().map_or(Epoch::FIRST, |epoch| epoch.next()))
    }
}

impl Store {
    /// Returns what a newcomer finds under each key, in order: a listing each, and of the newest end what it says.
    ///
    /// # Errors
    /// [`StoreError::Record`] if one of the records cannot be understood: then nothing may be concluded.
    pub async fn look_for_commits(&self, keys: &[StepKey]) -> Result<Vec<Looked>, StoreError> {
        let names = self.names_of(keys).await?;
        let mut looked: Vec<Option<Looked>> = vec![None; keys.len()];
        // The place of a key, and the epoch whose end is read next: nearly always the first is the commit.
        let mut asked: Vec<(usize, Epoch)> = Vec::new();
        for (at, names) in names.iter().enumerate() {
            match names.ended_below(None) {
                Some(epoch) => asked.push((at, epoch)),
                None => looked[at] = Some(names.without_a_commit()),
            }
        }
        while !asked.is_empty() {
            let slot = |&(at, epoch): &(usize, Epoch)| SlotId { key: keys[at], epoch };
            let ends: Vec<ObjectKey> = asked.iter().map(|asked| Layout::end(&slot(asked))).collect();
            let read = self.read_listed(&ends).await?;
            let mut next = Vec::new();
            for ((asked, key), bytes) in asked.iter().zip(&ends).zip(read) {
                let (at, epoch) = *asked;
                let names = &names[at];
                match said(key, bytes)? {
                    Said::Commit(_) | Said::Lost if names.is_barred(epoch) => {
                        looked[at] = Some(names.without_a_commit());
                    }
                    Said::Commit(committed) => looked[at] = Some(Looked::Committed(slot(asked), committed)),
                    Said::Lost => looked[at] = Some(Looked::Lost(slot(asked))),
                    Said::NoCommit => match names.ended_below(Some(epoch)) {
                        Some(lower) => next.push((at, lower)),
                        None => looked[at] = Some(names.without_a_commit()),
                    },
                }
            }
            asked = next;
        }
        Ok(looked.into_iter().map(|looked| looked.expect("every key was looked at")).collect())
    }

    /// Returns for each slot whether its commit is neither retired nor damaged: names alone say so.
    ///
    /// # Errors
    /// As [`Store::look_for_commits`].
    pub(crate) async fn not_barred(&self, slots: &[SlotId]) -> Result<Vec<bool>, StoreError> {
        let keys: Vec<StepKey> = slots.iter().map(|slot| slot.key).collect();
        let names = self.names_of(&keys).await?;
        let fine = |(slot, names): (&SlotId, &Names)| {
            names.slots.get(&slot.epoch).is_some_and(|found| found.ended && (!found.is_barred() || mutated(70)))
        };
        Ok(slots.iter().zip(&names).map(fine).collect())
    }

    /// Returns those of these slots that are retired.
    ///
    /// # Errors
    /// As [`Store::look_for_commits`].
    pub(crate) async fn retired_of(&self, slots: &[SlotId]) -> Result<Vec<SlotId>, StoreError> {
        let keys: Vec<StepKey> = slots.iter().map(|slot| slot.key).collect();
        let names = self.names_of(&keys).await?;
        let retired = |(slot, names): &(&SlotId, &Names)| names.slots.get(&slot.epoch).is_some_and(|slot| slot.retired);
        Ok(slots.iter().zip(&names).filter(retired).map(|(slot, _)| *slot).collect())
    }

    /// Reads the ends of all attempts, so that this machine knows them; returns how many there are.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not answer.
    pub async fn read_all_ends(&self) -> Result<usize, StoreError> {
        let (mut ends, mut known) = (Vec::new(), 0);
        let is_end = |key: &str| matches!(Layout::parse_attempt(key), Some((_, AttemptRecord::End)));
        self.objects.see_keys("attempts/", &mut |key| ends.extend(is_end(key).then(|| key.to_owned()))).await?;
        for some in ends.chunks(AT_ONCE) {
            let keys: Vec<ObjectKey> = some.iter().map(ObjectKey::new).collect::<Result<_, _>>()?;
            known += self.objects.read_listed(&keys).await?.iter().flatten().count();
        }
        Ok(known)
    }

    async fn names_of(&self, keys: &[StepKey]) -> Result<Vec<Names>, StoreError> {
        let prefixes: Vec<String> = keys.iter().map(Layout::attempts).collect();
        self.objects.list_prefixes(&prefixes).await?.iter().map(|listed| Names::of(listed)).collect()
    }
}

/// What an end says.
enum Said {
    Commit(Box<Committed>),
    /// It is a fence, or was deleted meanwhile.
    NoCommit,
    /// It is damaged.
    Lost,
}

fn said(key: &ObjectKey, bytes: Option<Bytes>) -> Result<Said, StoreError> {
    let Some(bytes) = bytes else { return Ok(Said::NoCommit) };
    match decode::<EndRecord>(key, &bytes) {
        Ok(EndRecord { end: End::Committed(committed), .. }) => Ok(Said::Commit(Box::new(committed))),
        Ok(EndRecord { end: End::Closed(_), .. }) => Ok(Said::NoCommit),
        Err(StoreError::DamagedRecord { .. }) => Ok(Said::Lost),
        Err(error) => Err(error),
    }
}
