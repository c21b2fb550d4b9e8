//! What members were told: an answer that somebody relies on must be true, and stay so.

use prunella_model::{CheckpointId, Digest, Epoch, RunId, SlotId, StepKey};
use prunella_store::records::StoredArtifact;

use super::Oracle;

impl Oracle {
    /// A claim was answered with this slot.
    pub fn claimed(&mut self, slot: &SlotId, writer: &str) {
        if self.slots.get(slot).is_none_or(|seen| seen.starter != writer) {
            self.broken("I2", format!("{slot} was claimed by {writer}, who did not start it"));
        }
        let of_key = self.slots.iter().filter(|(other, _)| other.key == slot.key);
        let lower: Vec<SlotId> = of_key
            .filter(|(other, seen)| other.epoch < slot.epoch && seen.filled_ms.is_none())
            .map(|(other, _)| *other)
            .collect();
        if !lower.is_empty() {
            self.broken("I2", format!("{slot} was claimed while {lower:?} are open"));
        }
        let current = self.current_of(&slot.key);
        if current.iter().any(|other| other.epoch < slot.epoch) {
            self.broken("I2", format!("{slot} was claimed while {current:?} may be reused"));
        }
    }

    /// The program of an attempt (`store/run/key/epoch`) is started.
    pub fn runs_program(&mut self, attempt: &str) {
        let mut words = attempt.split('/').skip(2);
        let (Some(key), Some(Ok(epoch))) = (words.next(), words.next().map(str::parse)) else {
            return self.broken("I7", format!("`{attempt}` is no attempt"));
        };
        let Ok(key) = Digest::from_hex(key).map(StepKey) else { return };
        let slot = SlotId { key, epoch: Epoch(epoch) };
        if self.slots.get(&slot).is_none_or(|seen| seen.starter.is_empty()) {
            self.broken("I2", format!("the program of {slot} is started, and nobody has claimed that"));
        }
        let current = self.current_of(&key);
        if !current.is_empty() {
            self.broken("I2", format!("the program of {slot} is started, and {current:?} may be reused"));
        }
    }

    /// A run was answered as created.
    pub fn began(&mut self, run: &RunId) {
        if self.runs.get(run).is_none_or(|run| run.order == 0) {
            self.broken("I9", format!("run {run} was answered as created, and it is not there"));
        }
    }

    /// A process was told that its run was given up.
    pub fn was_given_up(&mut self, run: &RunId) {
        if !self.runs.get(run).is_some_and(|run| run.given_up) {
            self.broken("I10", format!("run {run} was called given up, and it is not"));
        }
    }

    /// A run was told that it may use this commit.
    pub fn relies(&mut self, run: &RunId, slot: &SlotId) {
        if self.slots.get(slot).is_none_or(|seen| seen.committed.is_none()) {
            self.broken("I2", format!("run {run} was told to use {slot}, which is no commit"));
        }
        self.runs.entry(run.clone()).or_default().relied.insert(*slot);
    }

    /// A commit was answered as done.
    pub fn committed(&mut self, slot: &SlotId, writer: &str) {
        self.commits += 1;
        match self.slots.get(slot) {
            Some(seen) if seen.committed.is_some() && seen.writer == writer => {}
            Some(seen) if seen.filled_ms.is_some() => {
                self.broken("I5", format!("the commit of {slot} was answered as done, and it is filled by another"));
            }
            _ => self.broken("I9", format!("the commit of {slot} was answered as done, and it is not there")),
        }
    }

    /// A checkpoint was called durable.
    pub fn durable(&mut self, id: &CheckpointId) {
        self.durables += 1;
        let filled = self.slots.get(&id.slot).and_then(|seen| seen.filled_ms);
        let place = (id.slot.key, id.slot.epoch.0, id.seq);
        match self.checkpoints.get_mut(&place) {
            None => self.broken("I4", format!("checkpoint {id} was called durable, and it is not there")),
            Some(checkpoint) => {
                checkpoint.durable = true;
                let created = checkpoint.created_ms;
                if filled.is_some_and(|filled| filled <= created) {
                    self.broken("I5", format!("checkpoint {id} was called durable, and its slot was filled before"));
                }
            }
        }
    }

    /// An attempt restored this, or nothing.
    pub fn restored(&mut self, slot: &SlotId, from: Option<&CheckpointId>) {
        self.restores += u64::from(from.is_some());
        let before = self.checkpoints.range((slot.key, 0, 0)..(slot.key, slot.epoch.0, 0));
        // A collector counts one that rots as one that is there: what is older may have gone for it.
        let mut standing = before.rev().filter(|(_, one)| !one.deleted);
        let best = standing.find(|(_, one)| one.durable || self.is_rotten(one));
        let Some((best, _)) = best.filter(|(_, one)| !self.is_rotten(one)) else { return };
        let best = *best;
        // Once an attempt has committed, its key needs no checkpoints any more.
        let committed = self.slots.iter().any(|(other, seen)| other.key == slot.key && seen.committed.is_some());
        let had = from.map_or((slot.key, 0, 0), |id| (id.slot.key, id.slot.epoch.0, id.seq));
        if had < best && !committed {
            let (_, epoch, seq) = best;
            self.broken("I4", format!("{slot} goes on from {from:?}, and {epoch}-{seq} was durable"));
        }
    }

    /// Somebody read an artifact, and was given these bytes.
    pub fn was_read(&mut self, stored: &StoredArtifact, bytes: &[u8]) {
        if Digest::of(bytes) != stored.artifact.digest {
            self.broken("I1", format!("`{}` was read as something else, and nobody noticed", stored.object));
        }
    }

    /// Somebody who may rely on an artifact found it damaged.
    pub fn was_lost(&mut self, who: &str, stored: &StoredArtifact) {
        if !self.rotten.contains(&stored.object) {
            self.broken("I8", format!("{who} relies on `{}`, and it is gone", stored.object));
        }
    }
}
