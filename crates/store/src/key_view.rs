//! All attempts of one step key, as one listing shows them.

use std::{collections::BTreeMap, sync::LazyLock};

use bytes::Bytes;
use prunella_model::{Epoch, RunId, SlotId, StepId, StepKey, StepName, WriterId};
use prunella_objects::{Listed, ObjectKey};
use prunella_sys::mutated;

use crate::{
    Layout, Store, StoreError,
    layout::AttemptRecord,
    records::{Closed, Committed, End, EndRecord, FORMAT, Owner, StartRecord},
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
    /// Which of its records are damaged: what they said is not known any more.
    pub lost: LostRecords,
}

/// The records of a slot that are damaged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LostRecords {
    /// Its start.
    pub start: bool,
    /// What is wrong with its end: it was filled, with a commit or a fence.
    pub end: Option<String>,
}

impl SlotView {
    /// Returns the commit, if it is known to have one.
    pub fn commit(&self) -> Option<&Committed> {
        match &self.end {
            Some(EndRecord { end: End::Committed(committed), .. }) => Some(committed),
            Some(EndRecord { end: End::Closed(_), .. }) | None => None,
        }
    }

    /// Returns whether it was committed or closed.
    pub fn is_filled(&self) -> bool {
        self.end.is_some() || self.lost.end.is_some()
    }

    /// Returns its start; of one that is damaged, what stands for it.
    fn started_by(&self) -> Option<&StartRecord> {
        self.start.as_ref().or_else(|| self.lost.start.then(|| &*NOBODY))
    }

    /// Returns the commit if it may be reused.
    pub fn reusable(&self) -> Option<&Committed> {
        self.commit().filter(|_| (!self.damaged || mutated(10)) && (!self.retired || mutated(9)))
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
    /// The newest that was filled, and whether with a commit is not known any more: to be marked as damaged first.
    Lost(SlotId, &'a str),
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
        let may_be_commit = |s: &SlotView| s.lost.end.is_some() || s.commit().is_some();
        if let Some((epoch, view)) = self.slots.iter().rev().find(|(_, view)| may_be_commit(view)) {
            match (&view.lost.end, view.reusable()) {
                (Some(problem), _) if !view.damaged && !mutated(88) => return KeyState::Lost(slot(epoch), problem),
                (None, Some(committed)) => return KeyState::Committed(slot(epoch), committed),
                _ => {}
            }
        }
        for (epoch, view) in &self.slots {
            if let Some(start) = view.started_by()
                && !view.is_filled()
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
    pub fn newest_closed(&self, run: &RunId, step: &StepId) -> Option<(Epoch, &Closed)> {
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

/// What stands for a start that is damaged.
static NOBODY: LazyLock<StartRecord> = LazyLock::new(|| {
    const LOST: &str = "lost";
    StartRecord {
        format: FORMAT,
        run: RunId::new(LOST).expect("a name"),
        step: StepId::plain(StepName::new(LOST).expect("a name")),
        owner: Owner::nobody(),
        retry_index: None,
        members: 1,
        writer: WriterId::from_random(0),
        at_ms: 0,
    }
});

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
        let mut read = self.read_listed(&asked).await?.into_iter();
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
    /// [`StoreError::Record`] if one of the records cannot be understood: then nothing may be concluded. One that is damaged
    /// is no error: it is lost.
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
                AttemptRecord::Start => match decode(&name, &bytes) {
                    Err(StoreError::DamagedRecord { .. }) => view.lost.start = true,
                    start => view.start = Some(start?),
                },
                AttemptRecord::End => match decode(&name, &bytes) {
                    Err(StoreError::DamagedRecord { problem, .. }) => view.lost.end = Some(problem),
                    end => view.end = Some(end?),
                },
                AttemptRecord::Damaged => view.damaged = true,
                AttemptRecord::Retired => view.retired = true,
                AttemptRecord::Alive => {}
            }
        }
        Ok(Self { key: *key, slots })
    }
}
