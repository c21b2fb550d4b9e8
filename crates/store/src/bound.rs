//! Bindings of many steps in one record: a run that finds ten thousand results makes three writes of them, and not ten thousand.

use std::collections::BTreeMap;

use prunella_model::{RunId, SlotId, StepId};
use prunella_objects::{ObjectKey, Op};
use prunella_sys::mutated;

use crate::{
    Layout, Store, StoreError,
    records::{BindingRecord, BoundRecord, BoundStep, FORMAT},
    store::{decode, encode},
};

/// From so many at once on, bindings stand in one record.
const MANY: usize = 64;

impl Store {
    /// Returns the writes that bind these steps; `page` is the name of the segment of the journal that tells of them.
    ///
    /// Few steps get a binding each, which is found by the step's name; many get one record together.
    pub fn binding_ops(run: &RunId, page: &str, bound: Vec<BoundStep>) -> Vec<Op> {
        if bound.len() < MANY {
            return bound.into_iter().map(|BoundStep(step, n, slot)| Self::binding_op(run, &step, n, slot)).collect();
        }
        let key = Layout::bound(run, page);
        let bytes = encode(&key, &BoundRecord { format: FORMAT, bound });
        vec![Op::Create { key, bytes }]
    }

    /// Returns the write that binds a step to a slot, as its `n`-th binding.
    pub fn binding_op(run: &RunId, step: &StepId, n: u64, slot: SlotId) -> Op {
        let key = Layout::binding(run, step, n);
        let bytes = encode(&key, &BindingRecord { format: FORMAT, step: step.clone(), slot });
        Op::Create { key, bytes }
    }

    /// Returns the slot that each step of the run is bound to, with the binding's number.
    ///
    /// # Errors
    /// [`StoreError::Record`] if a record cannot be understood.
    pub async fn bindings(&self, run: &RunId) -> Result<BTreeMap<StepId, (u64, SlotId)>, StoreError> {
        let mut bindings = BTreeMap::new();
        for (key, bytes) in self.records(&Layout::bindings(run), usize::MAX).await? {
            let record: BindingRecord = decode(&key, &bytes)?;
            hold(&mut bindings, record.step, Layout::number(key.as_str()).unwrap_or(0), record.slot);
        }
        for (key, bytes) in self.records(&Layout::all_bound(run), usize::MAX).await? {
            for BoundStep(step, n, slot) in decode::<BoundRecord>(&key, &bytes)?.bound {
                hold(&mut bindings, step, n, slot);
            }
        }
        Ok(bindings)
    }

    /// Returns the slot that one step of the run is bound to.
    ///
    /// # Errors
    /// [`StoreError::Record`] if the record cannot be understood.
    pub async fn binding(&self, run: &RunId, step: &StepId) -> Result<Option<SlotId>, StoreError> {
        let mut found = BTreeMap::new();
        for (key, bytes) in self.records(&Layout::bindings_of(run, step), 1).await? {
            let record: BindingRecord = decode(&key, &bytes)?;
            hold(&mut found, record.step, Layout::number(key.as_str()).unwrap_or(0), record.slot);
        }
        // There may be a hundred thousand steps in them: what does not have the name is not taken apart.
        let name = serde_json::to_string(&step.name).expect("a name is text");
        for (key, bytes) in self.records(&Layout::all_bound(run), usize::MAX).await? {
            if std::str::from_utf8(&bytes).is_ok_and(|text| text.contains(&name)) {
                for BoundStep(bound, n, slot) in decode::<BoundRecord>(&key, &bytes)?.bound {
                    if bound == *step {
                        hold(&mut found, bound, n, slot);
                    }
                }
            }
        }
        Ok(found.remove(step).map(|(_, slot)| slot))
    }

    /// Returns what these records of many bindings say of which the journal tells nothing yet.
    ///
    /// # Errors
    /// [`StoreError::Record`] if a record cannot be understood.
    pub(crate) async fn untold(
        &self,
        run: &RunId,
        records: &[ObjectKey],
    ) -> Result<BTreeMap<StepId, (u64, SlotId)>, StoreError> {
        let mut bindings = BTreeMap::new();
        // The newest is listed first, and pages are written in order: whatever is before one that is told is told, too.
        for key in records {
            let name = key.as_str().rsplit('/').next().unwrap_or_default();
            let page = name.strip_suffix(".json").unwrap_or(name);
            if mutated(80) || self.exists(&Layout::segment(run, page)).await? {
                break;
            }
            let Some(bytes) = self.objects.get(key).await? else { continue };
            for BoundStep(step, n, slot) in decode::<BoundRecord>(key, &bytes)?.bound {
                hold(&mut bindings, step, n, slot);
            }
        }
        Ok(bindings)
    }
}

/// Of several bindings of one step the highest holds.
pub(crate) fn hold(bindings: &mut BTreeMap<StepId, (u64, SlotId)>, step: StepId, n: u64, slot: SlotId) {
    let held = bindings.entry(step).or_insert((n, slot));
    if n > held.0 && !mutated(79) {
        *held = (n, slot);
    }
}
