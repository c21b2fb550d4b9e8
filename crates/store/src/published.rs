//! What became of the publications of a run, for those who ask.

use std::collections::BTreeMap;

use prunella_model::{EffectHow, PortName, RunId, SlotId, StepId};

use crate::{Layout, Store, StoreError};

/// What the records of a run say about the newest publication of one output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The commit that is published.
    pub slot: SlotId,
    /// Where to.
    pub target: String,
    /// How it came to be there; nothing while it is open.
    pub how: Option<EffectHow>,
    /// The newer run whose artifact is there instead.
    pub by: Option<RunId>,
}

impl Store {
    /// Returns the publications that a run has begun, by step and output; of several of one output the newest.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not answer, [`StoreError::Record`] if it holds what cannot be read.
    pub async fn published(&self, run: &RunId) -> Result<BTreeMap<(StepId, PortName), Published>, StoreError> {
        let mut newest: BTreeMap<(StepId, PortName), (u64, Published)> = BTreeMap::new();
        for seen in self.effects_under(&Layout::effects(run)).await?.into_values() {
            let Some(begun) = seen.begun else { continue };
            let (how, by) = seen.done.map_or((None, None), |done| (Some(done.how), done.by));
            let published = Published { slot: begun.slot, target: begun.target, how, by };
            let name = (begun.step, begun.output);
            if newest.get(&name).is_none_or(|(binding, _)| *binding <= seen.binding) {
                newest.insert(name, (seen.binding, published));
            }
        }
        Ok(newest.into_iter().map(|(name, (_, published))| (name, published)).collect())
    }
}
