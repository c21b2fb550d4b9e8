//! What is a root, read in the order that the protocol prescribes.
//!
//! What protects an object may change hands while this is read: an open attempt's object becomes a commit's, a run's uses
//! become a name's. So whoever gives is read before whoever takes: pins, open slots, runs, names, uses, commits, checkpoints.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use prunella_model::{CheckpointId, Digest, RunId, SlotId, StepKey};
use prunella_objects::ObjectKey;
use prunella_sys::mutated;

use super::{
    Caretaker, Retention, Supposed, Why,
    collect::Condemned,
    inventory::{Inventory, Owner, check_format, decode_known},
    retire::Runs,
};
use crate::{
    KeyState, KeyView, Layout, Store, StoreError,
    layout::AttemptRecord,
    records::{CheckpointRecord, GraphRecord, NamesRecord, PinRecord, StartRecord, StoredArtifact},
};

/// The objects of trees, and of files in chunks, by their manifest, which never changes; nothing where it cannot be read.
pub(super) type Manifests = HashMap<String, Option<Arc<Vec<String>>>>;

/// All roots at one reading.
#[derive(Debug, Default)]
pub(super) struct Reading {
    roots: HashMap<String, Why>,
    filled: BTreeSet<SlotId>,
    /// Owners of something unreadable: all of theirs stays.
    unreadable: HashSet<Owner>,
    pub runs: Runs,
    /// Commits, not retired, that no retained run made or uses and no current name shows.
    pub unneeded: Vec<SlotId>,
}

impl Reading {
    /// Returns why this object, manifest or pin stays; nothing if it is unreachable.
    pub fn why(&self, key: &str) -> Option<Why> {
        if let Some(why) = self.roots.get(key) {
            return Some(*why);
        }
        let owner = match Owner::of_object(key).or_else(|| Owner::of_pin(key)) {
            Some(owner) => owner,
            None => {
                let (_, rest) = key.split_once("checkpoints/")?;
                let step = StepKey(Digest::from_hex(rest.split('/').next()?).ok()?);
                Owner::Attempt(Layout::parse_checkpoint(step, key)?.slot)
            }
        };
        match &owner {
            Owner::Attempt(slot) if !self.filled.contains(slot) && !mutated(37) => Some(Why::OpenAttempt),
            // A run without a graph is about to begin.
            Owner::Run(run) if !self.runs.forgotten.contains(run) && !mutated(38) => Some(Why::Run),
            owner => self.unreadable.contains(owner).then_some(Why::Unreadable),
        }
    }

    fn root(&mut self, key: &str, why: Why) {
        let there = self.roots.entry(key.to_owned()).or_insert(why);
        *there = why.min(*there);
    }
}

/// What a reading takes as given.
pub(super) struct Reader<'a> {
    pub store: &'a Store,
    pub caretaker: &'a dyn Caretaker,
    pub retention: &'a Retention,
    pub supposed: &'a Supposed,
}

impl Reader<'_> {
    /// Reads all roots.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer, or holds what this program does not know: then nothing may be deleted.
    pub async fn read(&self, manifests: &mut Manifests) -> Result<Reading, StoreError> {
        let mut reading = Reading::default();
        let pins = if mutated(14) { Vec::new() } else { self.pins().await? };
        let inventory = self.store.inventory().await?;
        let open = self.open(&inventory).await?;
        reading.filled = inventory.filled.union(&self.supposed.closed).copied().collect();
        let known = open.as_deref().unwrap_or_default();
        reading.runs = self.store.judge_runs(self.caretaker, self.retention, known, self.supposed).await?;
        if open.is_none() {
            reading.runs.forgotten.clear();
            reading.runs.finished.clear();
        }
        self.effects(&inventory, &mut reading, manifests).await?;
        let named = self.names(&inventory, &mut reading, manifests).await?;
        let used = self.uses(&mut reading, manifests).await?;
        let views = self.commits(&named, &used, &mut reading, manifests).await?;
        let pins = if mutated(14) { self.pins().await? } else { pins };
        if mutated(15) {
            reading.filled = self.store.inventory().await?.filled;
        }
        let mut pinned = HashSet::new();
        for (owner, objects) in pins.into_iter().filter(|_| !mutated(36)) {
            let why = match &owner {
                Owner::Attempt(slot) if !reading.filled.contains(slot) => Why::OpenAttempt,
                Owner::Run(run) if !reading.runs.forgotten.contains(run) => Why::Run,
                Owner::Attempt(_) | Owner::Run(_) => continue,
            };
            for object in objects? {
                reading.root(&object, why);
                pinned.insert(object);
            }
        }
        self.checkpoints(&views, &pinned, &mut reading, manifests).await?;
        Ok(reading)
    }

    async fn pins(&self) -> Result<Vec<(Owner, Result<Vec<String>, StoreError>)>, StoreError> {
        let mut pins = Vec::new();
        for (key, bytes) in self.store.records("pins/", usize::MAX).await? {
            let objects = decode_known::<PinRecord>(&key, &bytes).map(|record| record.objects);
            let owner = Owner::of_pin(key.as_str()).ok_or_else(|| unknown(key))?;
            match objects {
                // Of somebody who pins no more it says nothing that is needed.
                Err(StoreError::DamagedRecord { .. }) => pins.push((owner, objects)),
                objects => pins.push((owner, Ok(objects?))),
            }
        }
        Ok(pins)
    }

    /// Returns the starts of all slots that are open; nothing if one of them is damaged.
    async fn open(&self, inventory: &Inventory) -> Result<Option<Vec<StartRecord>>, StoreError> {
        let mut open = Vec::new();
        for slot in inventory.started.difference(&inventory.filled) {
            if !self.supposed.closed.contains(slot) {
                match self.store.start_of(slot).await {
                    // Whose it is nobody knows: it may be any run's.
                    Err(StoreError::DamagedRecord { .. }) => return Ok(None),
                    start => open.extend(start?),
                }
            }
        }
        Ok(Some(open))
    }

    /// Roots the artifacts of open effects, and keeps the runs that owe them: whoever comes next does them (I8).
    async fn effects(
        &self,
        inventory: &Inventory,
        reading: &mut Reading,
        manifests: &mut Manifests,
    ) -> Result<(), StoreError> {
        for run in &inventory.with_effects {
            let prefix = Layout::effects(run);
            for (key, bytes) in self.store.records(&prefix, usize::MAX).await? {
                check_format(&key, &bytes)?;
            }
            for seen in self.store.effects_under(&prefix).await?.into_values() {
                if let (Some(begun), None) = (seen.begun, seen.done)
                    && !mutated(40)
                {
                    reading.runs.forgotten.remove(run);
                    reading.runs.finished.remove(run);
                    self.artifact(&begun.stored, Why::Run, reading, manifests).await?;
                }
            }
        }
        Ok(())
    }

    /// Roots what the current names show, keeps the runs that moved them, and returns their slots.
    async fn names(
        &self,
        inventory: &Inventory,
        reading: &mut Reading,
        manifests: &mut Manifests,
    ) -> Result<BTreeSet<SlotId>, StoreError> {
        let mut named = BTreeSet::new();
        let with_runs = reading.runs.all.iter().map(|listed| listed.pipeline.clone());
        let pipelines: BTreeSet<_> = with_runs.chain(inventory.pipelines_with_names.iter().cloned()).collect();
        for pipeline in pipelines {
            let newest = self.store.records(&Layout::all_names(&pipeline), 1).await?;
            let Some((key, bytes)) = newest.first().filter(|_| !mutated(39)) else { continue };
            let record: NamesRecord = decode_known(key, bytes)?;
            reading.runs.forgotten.remove(&record.run);
            reading.runs.finished.remove(&record.run);
            for (slot, stored) in record.artifacts.values() {
                named.insert(*slot);
                self.artifact(stored, Why::Name, reading, manifests).await?;
            }
        }
        Ok(named)
    }

    /// Roots what retained runs brought in, and returns the slots that they use.
    async fn uses(&self, reading: &mut Reading, manifests: &mut Manifests) -> Result<BTreeSet<SlotId>, StoreError> {
        let mut used = BTreeSet::new();
        let retained: Vec<RunId> = reading.runs.all.iter().map(|listed| listed.run.clone()).collect();
        for run in retained.into_iter().filter(|run| !reading.runs.forgotten.contains(run)).collect::<Vec<_>>() {
            for prefix in [Layout::bindings(&run), Layout::all_bound(&run), Layout::all_uses(&run)] {
                for (key, bytes) in self.store.records(&prefix, usize::MAX).await? {
                    check_format(&key, &bytes)?;
                }
            }
            if !mutated(41) {
                used.extend(self.store.used_by(&run).await?);
            }
            let key = Layout::graph(&run);
            let Some(bytes) = self.store.objects.get(&key).await? else { continue };
            for stored in &decode_known::<GraphRecord>(&key, &bytes)?.brought {
                self.artifact(stored, Why::Run, reading, manifests).await?;
            }
        }
        Ok(used)
    }

    async fn commits(
        &self,
        named: &BTreeSet<SlotId>,
        used: &BTreeSet<SlotId>,
        reading: &mut Reading,
        manifests: &mut Manifests,
    ) -> Result<BTreeMap<StepKey, KeyView>, StoreError> {
        let mut views = BTreeMap::new();
        let fits = |key: &ObjectKey, bytes: &[u8]| match Layout::parse_attempt(key.as_str()) {
            // A hint holds on to nothing.
            Some((_, AttemptRecord::Alive)) => Ok(()),
            Some(_) | None => match check_format(key, bytes) {
                // What it held on to nobody can reach any more; a mark says with its name what it says.
                Err(StoreError::DamagedRecord { .. }) => Ok(()),
                checked => checked,
            },
        };
        for view in self.store.look_everywhere_if(fits).await? {
            for (epoch, filled) in &view.slots {
                let slot = SlotId { key: view.key, epoch: *epoch };
                if filled.lost.end.is_some() {
                    reading.unreadable.insert(Owner::Attempt(slot));
                }
                let Some(committed) = filled.commit() else { continue };
                // A commit that came after the listing counts as filled only at the next reading; it is a root here.
                let maker = filled.start.as_ref().map(|start| &start.run);
                let made = maker.is_none_or(|run| !reading.runs.forgotten.contains(run));
                let needed = made || used.contains(&slot) || named.contains(&slot);
                let retired = filled.retired || self.supposed.retired.contains(&slot);
                if !needed && !retired {
                    reading.unneeded.push(slot);
                }
                if (needed && !mutated(45)) || !retired {
                    for stored in committed.artifacts.values() {
                        self.artifact(stored, Why::Run, reading, manifests).await?;
                    }
                }
            }
            views.insert(view.key, view);
        }
        Ok(views)
    }

    /// Roots the newest durable checkpoints of keys without a commit, and what open attempts restored from.
    async fn checkpoints(
        &self,
        views: &BTreeMap<StepKey, KeyView>,
        pinned: &HashSet<String>,
        reading: &mut Reading,
        manifests: &mut Manifests,
    ) -> Result<(), StoreError> {
        let condemned = self.store.condemned().await?;
        let mut counted: BTreeMap<StepKey, usize> = BTreeMap::new();
        // The newest first.
        for (key, bytes) in self.store.records("checkpoints/", usize::MAX).await? {
            let id = checkpoint_id(&key).ok_or_else(|| unknown(key.clone()))?;
            let record: CheckpointRecord = match decode_known(&key, &bytes) {
                // Which objects it has is not known any more: all of its owner's stay.
                Err(StoreError::DamagedRecord { .. }) => {
                    reading.unreadable.insert(Owner::Attempt(id.slot));
                    continue;
                }
                record => record?,
            };
            let counted = counted.entry(id.slot.key).or_insert(0);
            let wanted = match views.get(&id.slot.key) {
                Some(view) if !wants_checkpoints(view, &self.supposed.retired) => 0,
                _ => self.retention.checkpoints.max(1),
            };
            let restored_from = pinned.contains(&record.stored.object);
            let open = !reading.filled.contains(&id.slot);
            // One whose objects are gone or condemned cannot be restored: it must not push out one that can.
            let durable = *counted < wanted && self.is_there(&record.stored, &condemned, manifests).await?;
            if durable {
                *counted += 1;
            }
            if (durable && !mutated(48)) || restored_from || open {
                reading.root(key.as_str(), Why::Checkpoint);
                self.artifact(&record.stored, Why::Checkpoint, reading, manifests).await?;
            }
        }
        Ok(())
    }

    async fn is_there(
        &self,
        stored: &StoredArtifact,
        condemned: &Condemned,
        manifests: &mut Manifests,
    ) -> Result<bool, StoreError> {
        let Some(objects) = self.objects(stored, manifests).await? else { return Ok(false) };
        for object in objects.iter() {
            if condemned.contains(object) || !self.store.exists(&ObjectKey::new(object)?).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Roots an artifact with all its objects.
    async fn artifact(
        &self,
        stored: &StoredArtifact,
        why: Why,
        reading: &mut Reading,
        manifests: &mut Manifests,
    ) -> Result<(), StoreError> {
        reading.root(&stored.object, why);
        match self.objects(stored, manifests).await? {
            Some(objects) => objects.iter().for_each(|object| reading.root(object, why)),
            // Which objects the tree has is not known any more: all of its owner's stay.
            None => {
                let owner = Owner::of_object(&stored.object);
                reading.unreadable.insert(owner.ok_or_else(|| StoreError::Damaged {
                    object: stored.object.clone(),
                    problem: "nobody knows whose it is".to_owned(),
                })?);
            }
        }
        Ok(())
    }

    /// Returns the names of an artifact's objects; nothing if its manifest is definitely lost.
    async fn objects(
        &self,
        stored: &StoredArtifact,
        manifests: &mut Manifests,
    ) -> Result<Option<Arc<Vec<String>>>, StoreError> {
        if !stored.has_manifest() {
            return Ok(Some(Arc::new(vec![stored.object.clone()])));
        }
        if let Some(known) = manifests.get(&stored.object) {
            return Ok(known.clone());
        }
        let objects = match self.store.manifest(stored).await {
            // One of a newer format is an error: nothing is collected then.
            Ok(manifest) => {
                let objects = manifest.into_objects().into_iter();
                Some(Arc::new(objects.chain([stored.object.clone()]).collect()))
            }
            Err(StoreError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        manifests.insert(stored.object.clone(), objects.clone());
        Ok(objects)
    }
}

/// Returns whether a newcomer might go on from a checkpoint of this key: nothing stands that makes it needless.
fn wants_checkpoints(view: &KeyView, retired: &BTreeSet<SlotId>) -> bool {
    let newest = view.slots.iter().rev().find(|(_, slot)| slot.commit().is_some());
    let is_open = view.slots.values().any(|slot| !slot.is_filled());
    match (newest, view.state()) {
        (None, _) => true,
        (Some(_), KeyState::Committed(..)) => false,
        (Some((epoch, slot)), _) => {
            let given_up = slot.retired || retired.contains(&SlotId { key: view.key, epoch: *epoch });
            !given_up || is_open
        }
    }
}

fn checkpoint_id(key: &ObjectKey) -> Option<CheckpointId> {
    let step = StepKey(Digest::from_hex(key.as_str().split('/').nth(1)?).ok()?);
    Layout::parse_checkpoint(step, key.as_str())
}

fn unknown(key: ObjectKey) -> StoreError {
    StoreError::Record { key, problem: "it is not understood, so nothing is collected; update prunella".to_owned() }
}
