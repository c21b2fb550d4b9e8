//! Open slots of dead owners are filled with *closed*, so that what they held on to can go.

use prunella_model::SlotId;
use prunella_sys::mutated;

use super::{Caretaker, Collected, Supposed, inventory::Inventory};
use crate::{Layout, Store, StoreError};

impl Store {
    /// The deliberate bug 56: what closes an attempt is deleted as if nobody could need it.
    async fn forget_fences(&self, inventory: &Inventory) -> Result<(), StoreError> {
        for slot in inventory.filled.iter() {
            if self.committed(slot).await?.is_none() {
                self.objects.delete(&Layout::end(slot)).await?;
                self.objects.delete(&Layout::start(slot)).await?;
            }
        }
        Ok(())
    }

    /// Closes every open slot whose owner is known to be gone from this machine; a dry run only says which.
    ///
    /// A slot whose owner may live elsewhere stays open, and what it made stays with it: nothing times out.
    pub(super) async fn close_dead(
        &self,
        caretaker: &dyn Caretaker,
        inventory: &Inventory,
        supposed: Option<&mut Supposed>,
        collected: &mut Collected,
    ) -> Result<(), StoreError> {
        if mutated(56) {
            self.forget_fences(inventory).await?;
        }
        let mut dead = Vec::new();
        for slot in inventory.started.difference(&inventory.filled) {
            let start = match self.start_of(slot).await {
                // Whose it is nobody knows: whoever wants its step waits for its sign of life, and closes it.
                Err(StoreError::DamagedRecord { .. }) => {
                    collected.open.push(*slot);
                    continue;
                }
                start => start?,
            };
            let Some(start) = start else { continue };
            if self.owner_gone(&start.owner) == Some(true) {
                dead.push((*slot, start));
            } else {
                collected.open.push(*slot);
            }
        }
        if let Some(supposed) = supposed {
            supposed.closed.extend(dead.iter().map(|(slot, _)| *slot));
            collected.closed.extend(dead.into_iter().map(|(slot, _)| slot));
            return Ok(());
        }
        for (slot, start) in dead {
            if !caretaker.sweep(&slot, &start).await {
                collected.open.push(slot);
                continue;
            }
            let view = self.look(&slot.key).await?;
            let closed = caretaker.closing(&view, &slot, &start).await?;
            // "There: committed" is a commit like any other.
            let _whoever_filled_it = self.close(&slot, closed).await?;
            collected.closed.push(SlotId { ..slot });
        }
        Ok(())
    }
}
