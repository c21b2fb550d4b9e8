//! All attempts of one step key, as one listing shows them.

use std::collections::BTreeMap;

use bytes::Bytes;
use prunella_model::{Epoch, SlotId, StepKey};
use prunella_objects::{Listed, ObjectKey};
use prunella_sys::mutated;

use crate::{
    Layout, Store, StoreError,
    layout::AttemptRecord,
    records::{Committed, End, EndRecord, StartRecord},
    store::decode,
};

/// One slot as far as it is filled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SlotView {
    /// Who started it.
    pub start: Option<StartRecord>,
    /// How it ended.
    pub end: Option<EndRecord>,
    /// Whether its commit was found damaged.
    pub damaged: bool,
    /// Whether its commit is no longer reusable.
    pub retired: bool,
}

impl SlotView {
    /// Returns the commit if it may be reused.
    pub fn reusable(&self) -> Option<&Committed> {
        match &self.end {
            Some(EndRecord { end: End::Committed(committed), .. })
                if (!self.damaged || mutated(10)) && (!self.retired || mutated(9)) =>
            {
                Some(committed)
            }
            _ => None,
        }
    }
}

/// All attempts of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyView {
    /// The key.
    pub key: StepKey,
    /// Its slots by epoch; boxed, because a map makes room for eleven at once and nearly every key has one.
    pub slots: BTreeMap<Epoch, Box<SlotView>>,
}

/// What a newcomer finds (protocol: Slots, Start).
#[derive(Debug, Clone, PartialEq)]
pub enum KeyState<'a> {
    /// A commit that may be reused: that of the highest epoch.
    Committed(SlotId, &'a Committed),
    /// An attempt that is neither committed nor closed.
    Open(SlotId, &'a StartRecord),
    /// Nothing stands in the way of this epoch.
    Free(Epoch),
}

impl KeyView {
    /// Returns what a newcomer has to do first.
    ///
    /// The newest commit decides if it is neither damaged nor retired. Otherwise the lowest open slot has to be ended
    /// before anything starts: one never runs while a lower slot is open.
    pub fn state(&self) -> KeyState<'_> {
        let slot = |epoch: &Epoch| SlotId { key: self.key, epoch: *epoch };
        let newest =
            self.slots.iter().rev().find(|(_, s)| matches!(&s.end, Some(e) if matches!(e.end, End::Committed(_))));
        if let Some((epoch, view)) = newest
            && let Some(committed) = view.reusable()
        {
            return KeyState::Committed(slot(epoch), committed);
        }
        for (epoch, view) in &self.slots {
            if let (Some(start), None) = (&view.start, &view.end)
                && !mutated(1)
            {
                return KeyState::Open(slot(epoch), start);
            }
        }
        KeyState::Free(self.slots.keys().next_back().map_or(Epoch::FIRST, |e| e.next()))
    }

    /// Returns the highest number taken.
    pub fn highest(&self) -> Option<Epoch> {
        self.slots.keys().next_back().copied()
    }

    /// Returns the newest closed slot of this run and step, whose counters go on (protocol: Slots, Budgets).
    pub fn newest_closed(
        &self,
        run: &prunella_model::RunId,
        step: &prunella_model::StepId,
    ) -> Option<(Epoch, &crate::records::Closed)> {
        self.slots.iter().rev().find_map(|(epoch, view)| match &view.end {
            Some(EndRecord { end: End::Closed(closed), .. })
                if closed.run == *run && closed.step == *step || mutated(42) =>
            {
                Some((*epoch, closed))
            }
            _ => None,
        })
    }
}

impl Store {
    /// Returns all attempts of each key, in order.
    ///
    /// # Errors
    /// As [`Store::look`].
    pub async fn look_all(&self, keys: &[StepKey]) -> Result<Vec<KeyView>, StoreError> {
        let prefixes: Vec<String> = keys.iter().map(Layout::attempts).collect();
        let listed = self.objects.list_prefixes(&prefixes).await?;
        // Hints and marks say with their names what they say.
        let says = |key: &ObjectKey| {
            matches!(Layout::parse_attempt(key.as_str()), Some((_, AttemptRecord::Start | AttemptRecord::End)))
        };
        let names = listed.iter().flatten().map(|listed| &listed.key);
        let asked: Vec<ObjectKey> = names.filter(|key| says(key)).cloned().collect();
        let mut read = self.objects.read_listed(&asked).await?.into_iter();
        let mut content = |key: ObjectKey| match says(&key) {
            // What was deleted meanwhile is not there.
            true => read.next().flatten().map(|bytes| (key, bytes)),
            false => Some((key, Bytes::new())),
        };
        let view = |(key, listed): (&StepKey, Vec<Listed>)| {
            KeyView::of(key, listed.into_iter().filter_map(|listed| content(listed.key)).collect())
        };
        keys.iter().zip(listed).map(view).collect()
    }

    /// Returns all attempts of `key`.
    ///
    /// # Errors
    /// [`StoreError::Record`] if one of the records cannot be understood: then nothing may be concluded.
    pub async fn look(&self, key: &StepKey) -> Result<KeyView, StoreError> {
        Ok(self.look_all(std::slice::from_ref(key)).await?.pop().expect("a view for every key"))
    }
}

impl KeyView {
    /// Returns the view that these records of the key's attempts give.
    pub(crate) fn of(key: &StepKey, records: Vec<(ObjectKey, Bytes)>) -> Result<Self, StoreError> {
        let mut slots: BTreeMap<Epoch, Box<SlotView>> = BTreeMap::new();
        for (name, bytes) in records {
            let Some((epoch, record)) = Layout::parse_attempt(name.as_str()) else {
                return Err(StoreError::Record { key: name, problem: "its name is not that of a record".to_owned() });
            };
            let view = slots.entry(epoch).or_default();
            match record {
                AttemptRecord::Start => view.start = Some(decode(&name, &bytes)?),
                AttemptRecord::End => view.end = Some(decode(&name, &bytes)?),
                AttemptRecord::Damaged => view.damaged = true,
                AttemptRecord::Retired => view.retired = true,
                AttemptRecord::Alive => {}
            }
        }
        Ok(Self { key: *key, slots })
    }
}
