//! Steps by their identity, and maps that are the same in every process.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use prunella_model::StepId;

use crate::StepIndex;

/// A map whose hashes are the same in every process; nothing iterates over it.
pub(crate) type FixedMap<K, V> = HashMap<K, V, FixedState>;

const HASH: FixedState = FixedState::with_seed(0);

/// The places of steps by their identities. Those stand in the topology and not here: there may be a hundred thousand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(HashTable<StepIndex>);

impl Places {
    /// Returns no places, with room for so many.
    pub(crate) fn with_room(steps: usize) -> Self {
        Self(HashTable::with_capacity(steps))
    }

    /// Returns the places of these steps, of which no two are one.
    pub(crate) fn of(ids: &[StepId]) -> Self {
        let mut places = Self::with_room(ids.len());
        for (place, id) in (0..).zip(ids) {
            places.0.insert_unique(HASH.hash_one(id), StepIndex::new(place), |step| of(ids, *step));
        }
        places
    }

    /// Returns the place of a step of these.
    pub(crate) fn get(&self, ids: &[StepId], id: &StepId) -> Option<StepIndex> {
        self.0.find(HASH.hash_one(id), |step| ids[step.as_usize()] == *id).copied()
    }

    /// Adds the step that is to stand behind these; false if one of them is the same.
    pub(crate) fn add(&mut self, ids: &[StepId], id: &StepId, place: StepIndex) -> bool {
        let new = self.get(ids, id).is_none();
        if new {
            self.0.insert_unique(HASH.hash_one(id), place, |step| of(ids, *step));
        }
        new
    }
}

fn of(ids: &[StepId], step: StepIndex) -> u64 {
    HASH.hash_one(&ids[step.as_usize()])
}
