//! What is still needed: nothing of it may be deleted (I8).

use prunella_model::{Epoch, RunId, SlotId};

use super::{CheckpointKey, Named, Oracle, checkpoint_of};

impl Oracle {
    /// An object is about to be deleted.
    pub fn deleting(&mut self, key: &str, ended: &dyn Fn(&RunId) -> bool) {
        self.deletions += 1;
        if key.starts_with("attempts/") || key.starts_with("names/") || key.starts_with("order/") {
            return self.broken("I8", format!("the record `{key}` was deleted"));
        }
        let needed = match key.split('/').next() {
            Some("data") => self.needs_object(key, ended),
            Some("checkpoints") => self.needs_checkpoint(key),
            Some("pins") => self.needs_pin(key),
            _ => Some("it is a record".to_owned()),
        };
        if let Some(who) = needed {
            self.broken("I8", format!("`{key}` was deleted, and {who}"));
        }
        if let Some(id) = checkpoint_of(key)
            && let Some(checkpoint) = self.checkpoints.get_mut(&(id.slot.key, id.slot.epoch.0, id.seq))
        {
            checkpoint.deleted = true;
        }
    }

    fn needs_object(&self, key: &str, ended: &dyn Fn(&RunId) -> bool) -> Option<String> {
        let names = |all: &[Named]| all.iter().any(|named| named.object == key);
        for (slot, seen) in &self.slots {
            if seen.filled_ms.is_none() && key.contains(&format!("/{}-{}-", slot.key, slot.epoch)) {
                return Some(format!("its attempt {slot} is open"));
            }
            if !seen.committed.as_ref().is_some_and(|all| names(all)) {
                continue;
            }
            if seen.current() {
                return Some(format!("{slot} may be reused"));
            }
            let user = self.runs.iter().find(|(id, run)| run.relied.contains(slot) && !ended(id) && !run.given_up);
            if let Some((user, _)) = user.filter(|_| !seen.damaged) {
                return Some(format!("run {user} was told that it may use {slot}"));
            }
        }
        for (id, run) in &self.runs {
            if names(&run.brought) && !run.given_up {
                return Some(format!("run {id} brought it in"));
            }
        }
        if let Some((run, artifacts)) = self.names.values().next_back()
            && artifacts.iter().any(|(_, named)| named.object == key)
        {
            return Some(format!("the names of run {run} show it"));
        }
        let begun = self.effects.values().find(|effect| effect.named.object == key && !effect.done);
        if let Some(effect) = begun.filter(|effect| self.runs.get(&effect.run).is_some_and(|run| !run.given_up)) {
            return Some(format!("run {} has yet to publish it", effect.run));
        }
        let of = self.checkpoints.iter().find(|(_, checkpoint)| checkpoint.named.object == key);
        of.and_then(|(place, _)| self.needs_checkpoint_at(place))
    }

    fn needs_checkpoint(&self, key: &str) -> Option<String> {
        let id = checkpoint_of(key)?;
        self.needs_checkpoint_at(&(id.slot.key, id.slot.epoch.0, id.seq))
    }

    /// The newest one that was called durable is needed, as long as no attempt of its key has committed.
    fn needs_checkpoint_at(&self, place: &CheckpointKey) -> Option<String> {
        let of_key =
            self.slots.range(SlotId { key: place.0, epoch: Epoch(0) }..).take_while(|(slot, _)| slot.key == place.0);
        let committed = of_key.into_iter().any(|(_, seen)| seen.committed.is_some());
        let newest = self.checkpoints.range((place.0, 0, 0)..=(place.0, u64::MAX, u64::MAX));
        // A newer one that stands without its writer having heard of it serves as well. Whether it rots, no collector can know: when
        // this one was condemned the newer one may have been whole, also if it is gone by now because it rotted.
        let newest = newest.rev().find(|(_, one)| !one.deleted || self.is_rotten(one));
        let is_it = newest.is_some_and(|(newest, one)| newest == place && one.durable && !self.is_rotten(one));
        (is_it && !committed).then(|| format!("checkpoint {}-{} is the newest durable one", place.1, place.2))
    }

    fn needs_pin(&self, key: &str) -> Option<String> {
        let open = self.slots.iter().filter(|(_, seen)| seen.filled_ms.is_none());
        let of = open.map(|(slot, _)| slot).find(|slot| key.starts_with(&format!("pins/{}-{}-", slot.key, slot.epoch)));
        of.map(|slot| format!("attempt {slot} is open"))
    }

    /// Returns whether a record is damaged that says which objects of an attempt are needed: all of them stay.
    fn is_obscure(&self, slot: &SlotId) -> bool {
        let of = self.checkpoints.range((slot.key, slot.epoch.0, 0)..=(slot.key, slot.epoch.0, u64::MAX));
        self.slots.get(slot).is_some_and(|seen| seen.lost) || of.into_iter().any(|(_, checkpoint)| checkpoint.lost)
    }

    /// Returns the objects that something still names, or that belong to an open attempt or a run not given up.
    pub fn is_wanted(&self, key: &str) -> bool {
        let named = self.slots.values().flat_map(|seen| seen.committed.iter().flatten());
        let brought = self.runs.values().filter(|run| !run.given_up).flat_map(|run| &run.brought);
        let checkpoints = self.checkpoints.values().map(|checkpoint| &checkpoint.named);
        named.chain(brought).chain(checkpoints).any(|named| named.object == key)
            || key.contains("/run-")
            || self.slots.iter().any(|(slot, seen)| {
                (seen.filled_ms.is_none() || self.is_obscure(slot))
                    && key.contains(&format!("{}-{}-", slot.key, slot.epoch))
            })
    }
}
