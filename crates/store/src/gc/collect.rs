//! Collection: condemn, read all roots again, delete what is still no root (protocol: Slots, Collection).

use std::collections::{BTreeSet, HashSet};

use prunella_objects::{Created, ObjectKey};
use prunella_sys::mutated;

use super::{
    Caretaker, Collected, Retention, Supposed,
    inventory::decode_known,
    roots::{Manifests, Reader, Reading},
};
use crate::{
    Layout, Store, StoreError,
    records::{CondemnedRecord, FORMAT, GcDoneRecord},
    store::encode,
};

/// So many are condemned at once at most, so that a record stays small enough to be read by everybody who pins.
const ROUND: usize = 100_000;

impl Store {
    /// Says what a collection would do, changing nothing.
    ///
    /// # Errors
    /// As [`Store::collect`].
    pub async fn plan_collection(
        &self,
        caretaker: &dyn Caretaker,
        retention: &Retention,
    ) -> Result<Collected, StoreError> {
        let (mut collected, mut supposed, mut manifests) = Default::default();
        let inventory = self.inventory().await?;
        self.close_dead(caretaker, &inventory, Some(&mut supposed), &mut collected).await?;
        let read = async |supposed: &Supposed, manifests: &mut Manifests| {
            Reader { store: self, caretaker, retention, supposed }.read(manifests).await
        };
        collected.runs = read(&supposed, &mut manifests).await?.runs.finished;
        supposed.runs = collected.runs.clone();
        collected.retired = read(&supposed, &mut manifests).await?.unneeded;
        supposed.retired = collected.retired.iter().copied().collect();
        let reading = read(&supposed, &mut manifests).await?;
        for (key, size) in &inventory.candidates {
            match reading.why(key.as_str()) {
                None => collected.goes(key, *size),
                Some(_) => collected.stays(&reading, key, *size),
            }
        }
        Ok(collected)
    }

    /// Retires and deletes what nothing needs any more. Safe beside attempts, runs and other collections (I8).
    ///
    /// One that is interrupted leaves nothing that is needed deleted; the next goes on.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer; [`StoreError::Record`] if it holds what this program does not know, and
    /// then nothing was deleted.
    pub async fn collect(&self, caretaker: &dyn Caretaker, retention: &Retention) -> Result<Collected, StoreError> {
        let (mut collected, supposed, mut manifests) = Default::default();
        let inventory = self.inventory().await?;
        self.close_dead(caretaker, &inventory, None, &mut collected).await?;
        let reader = Reader { store: self, caretaker, retention, supposed: &supposed };

        // A mark, then a reading that may contradict it: first for runs, then for commits.
        collected.runs = reader.read(&mut manifests).await?.runs.finished;
        self.give_up_runs(&collected.runs).await?;
        let reading = reader.read(&mut manifests).await?;
        self.retire(&reading).await?;
        collected.retired = reading.unneeded;
        while self.round(&reader, &mut manifests, &mut collected).await? {}
        Ok(collected)
    }

    /// Collects once; answers whether there may be more.
    async fn round(
        &self,
        reader: &Reader<'_>,
        manifests: &mut Manifests,
        collected: &mut Collected,
    ) -> Result<bool, StoreError> {
        // What there is before the roots are read: what comes later is not touched.
        let there = self.inventory().await?.candidates;
        let reading = reader.read(manifests).await?;
        let unreachable: BTreeSet<&ObjectKey> =
            there.keys().filter(|key| reading.why(key.as_str()).is_none()).take(ROUND).collect();
        let unreachable: BTreeSet<String> = unreachable.iter().map(|key| key.as_str().to_owned()).collect();
        if unreachable.is_empty() {
            there.iter().for_each(|(key, size)| collected.stays(&reading, key, *size));
            return Ok(false);
        }
        let more = unreachable.len() == ROUND;
        let (n, listed) = self.condemn(&unreachable).await?;
        let again = if mutated(13) { reading } else { reader.read(manifests).await? };
        // Before deletion: the marks, the list, and all that was read and let something go.
        self.sync().await?;
        // Manifests of checkpoints before their objects before pins, as the names are ordered.
        let mut deleted = 0;
        for (key, size) in there.iter().filter(|(key, _)| listed.contains(key.as_str())) {
            if again.why(key.as_str()).is_some() {
                collected.spared += 1;
            } else {
                self.objects.delete_seen(key).await?;
                deleted += 1;
                collected.goes(key, *size);
            }
        }
        let done = GcDoneRecord { format: FORMAT, writer: self.writer.clone(), deleted };
        let _by_us_alone = self.create(&Layout::gc_done(n), &done).await?;
        if !more {
            let left = there.iter().filter(|(key, _)| again.why(key.as_str()).is_some());
            left.for_each(|(key, size)| collected.stays(&again, key, *size));
        }
        Ok(more)
    }

    /// Creates the next list: what is unreachable, and what was condemned before and still exists. Returns its number and what it names.
    async fn condemn(&self, unreachable: &BTreeSet<String>) -> Result<(u64, BTreeSet<String>), StoreError> {
        loop {
            let condemned = self.condemned().await?;
            // Never only the new ones: a slower collection may still delete what an older list named. Whether that still
            // exists is asked after the list was read: it may name what came after this collection had looked.
            let there = self.inventory().await?.candidates;
            let still = there.keys().map(|key| key.as_str()).filter(|object| condemned.contains(object));
            // Nothing is taken over from a try before: what it would have named, after a damaged list all that is there, may be
            // relied on since another's list stands.
            let mut listed = unreachable.clone();
            listed.extend(still.filter(|_| !mutated(12)).map(str::to_owned));
            let objects = listed.iter().cloned().collect();
            let n = condemned.n + 1;
            let key = Layout::gc(n);
            let bytes = encode(&key, &CondemnedRecord { format: FORMAT, writer: self.writer.clone(), objects });
            let ours = match self.put(&key, bytes.clone()).await? {
                Created::New => true,
                Created::There(there) => there == bytes || mutated(16),
            };
            // A number counts only if a look after the create shows no higher one.
            if ours && self.newest_gc().await?.is_some_and(|(newest, _)| newest == n) {
                return Ok((n, listed));
            }
        }
    }

    /// Returns the number and the key of the newest list of condemned objects.
    async fn newest_gc(&self) -> Result<Option<(u64, ObjectKey)>, StoreError> {
        // The highest number is listed first; its `.done` may stand before it.
        let listed = self.objects.list(Layout::ALL_GC, None, 2).await?;
        for one in listed {
            match Layout::gc_number(one.key.as_str()) {
                Some((n, false)) => return Ok(Some((n, one.key))),
                Some((_, true)) => {}
                None => {
                    let problem = "its name is not that of a record".to_owned();
                    return Err(StoreError::Record { key: one.key, problem });
                }
            }
        }
        Ok(None)
    }

    /// Returns the newest list of condemned objects, with its number. It holds every condemned object that still exists.
    ///
    /// # Errors
    /// [`StoreError::Record`] if it cannot be understood: then nothing may be relied on or deleted.
    pub(crate) async fn condemned(&self) -> Result<Condemned, StoreError> {
        let Some((n, key)) = self.newest_gc().await? else { return Ok(Condemned::default()) };
        let missing = || StoreError::Record { key: key.clone(), problem: "it was listed and is gone".to_owned() };
        let bytes = self.objects.get(&key).await?.ok_or_else(missing)?;
        let objects = match decode_known::<CondemnedRecord>(&key, &self.sound(&key, bytes).await?) {
            Ok(record) => Some(record.objects.into_iter().collect()),
            Err(StoreError::DamagedRecord { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Condemned { n, objects })
    }
}

/// The newest list of condemned objects.
#[derive(Debug)]
pub(crate) struct Condemned {
    /// Its number, 0 if there is none.
    n: u64,
    /// What it names; nothing if it is damaged.
    objects: Option<HashSet<String>>,
}

impl Default for Condemned {
    fn default() -> Self {
        Self { n: 0, objects: Some(HashSet::new()) }
    }
}

impl Condemned {
    /// Returns whether the object is condemned. What a damaged list names is not known: any object may be among them.
    pub(crate) fn contains(&self, object: &str) -> bool {
        self.objects.as_ref().map_or(!mutated(91), |named| named.contains(object))
    }
}

impl Collected {
    fn goes(&mut self, key: &ObjectKey, size: u64) {
        match key.as_str().split('/').next() {
            Some("checkpoints") => self.checkpoints += 1,
            Some("pins") => self.pins += 1,
            _ => self.deleted.add(size),
        }
    }

    fn stays(&mut self, reading: &Reading, key: &ObjectKey, size: u64) {
        if key.as_str().starts_with("data/")
            && let Some(why) = reading.why(key.as_str())
        {
            self.kept.entry(why).or_default().add(size);
        }
    }
}
