//! Pins: what an open attempt or a run relies on but did not upload (protocol: Slots, Pins).

use std::sync::Arc;

use prunella_model::{RunId, SlotId};
use prunella_objects::ObjectKey;
use prunella_sys::mutated;

use crate::{
    Layout, Store, StoreError,
    abreast::abreast,
    gc::Condemned,
    records::{FORMAT, PinRecord},
    store::encode,
};

/// So many objects are looked up beside each other.
const AT_ONCE: usize = 32;

/// Who pins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pinner<'a> {
    Attempt(&'a SlotId),
    Run(&'a RunId),
}

impl Store {
    /// Pins the objects and returns whether all of them may be relied on.
    ///
    /// The order is the protocol's: pin, *then* read the newest list of condemned objects, *then* look that each object is
    /// there. A condemned object is never relied on anew, also if it was spared.
    pub(crate) async fn pin(&self, pinner: Pinner<'_>, objects: &[String]) -> Result<bool, StoreError> {
        Ok(self.pin_each(pinner, objects).await?.into_iter().all(|reliable| reliable))
    }

    /// Pins the objects and returns which of them may be relied on; see [`Store::pin`].
    pub(crate) async fn pin_each(&self, pinner: Pinner<'_>, objects: &[String]) -> Result<Vec<bool>, StoreError> {
        let key = match pinner {
            Pinner::Attempt(slot) => Layout::pin_of_attempt(slot, &self.random()),
            Pinner::Run(run) => Layout::pin_of_run(run, &self.random()),
        };
        let record = encode(&key, &PinRecord { format: FORMAT, objects: objects.to_vec() });
        let early = if mutated(2) { Some(self.condemned().await?) } else { None };
        if !mutated(3) {
            let _random_name = self.put(&key, record.clone()).await?;
        }
        let condemned = match early {
            Some(early) => early,
            None => self.condemned().await?,
        };
        let condemned = Arc::new(if mutated(57) { Condemned::default() } else { condemned });
        let reliable = abreast(objects.to_vec(), AT_ONCE, |object| {
            let (store, condemned) = (self.clone(), condemned.clone());
            async move { Ok(!condemned.contains(&object) && store.exists(&ObjectKey::new(&object)?).await?) }
        });
        let reliable = reliable.await?;
        if mutated(3) {
            let _random_name = self.put(&key, record).await?;
        }
        Ok(reliable)
    }

    /// Returns whether the object is there.
    pub(crate) async fn exists(&self, key: &ObjectKey) -> Result<bool, StoreError> {
        let listed = self.objects.list(key.as_str(), None, 1).await?;
        Ok(mutated(69) || listed.first().is_some_and(|listed| listed.key == *key))
    }
}
