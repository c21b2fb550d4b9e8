//! Equal keys within one run are one attempt: who works on a key, and who waits for them.

use prunella_model::StepKey;

use crate::StepIndex;
use crate::places::FixedMap;

/// The steps of all keys that are at work: of one key at most one leads, the others are queued behind it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Keys {
    leaders: FixedMap<StepKey, StepIndex>,
    /// None is empty. Hardly a key has one, and many have a leader.
    queues: FixedMap<StepKey, Vec<StepIndex>>,
}

impl Keys {
    /// Returns no keys, with room for so many.
    pub(crate) fn with_room(keys: usize) -> Self {
        let leaders = FixedMap::with_capacity_and_hasher(keys, Default::default());
        Self { leaders, queues: FixedMap::default() }
    }

    /// Returns whether another step than this leads the key.
    pub(crate) fn taken(&self, key: StepKey, step: StepIndex) -> bool {
        self.leaders.get(&key).is_some_and(|leader| *leader != step)
    }

    /// Returns whether this step leads the key.
    pub(crate) fn leads(&self, key: StepKey, step: StepIndex) -> bool {
        self.leaders.get(&key) == Some(&step)
    }

    /// Returns who leads the key.
    pub(crate) fn leader(&self, key: StepKey) -> Option<StepIndex> {
        self.leaders.get(&key).copied()
    }

    /// Returns the steps that are queued behind the leader, in their order.
    pub(crate) fn queued(&self, key: StepKey) -> &[StepIndex] {
        self.queues.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Makes the step lead the key, unless another does.
    pub(crate) fn lead(&mut self, key: StepKey, step: StepIndex) {
        self.leaders.entry(key).or_insert(step);
    }

    /// Puts the step behind the leader.
    pub(crate) fn queue(&mut self, key: StepKey, step: StepIndex) {
        let queue = self.queues.entry(key).or_default();
        if !queue.contains(&step) {
            queue.push(step);
        }
    }

    /// Takes the step out of the queue.
    pub(crate) fn unqueue(&mut self, key: StepKey, step: StepIndex) {
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.retain(|other| *other != step);
            if queue.is_empty() {
                self.queues.remove(&key);
            }
        }
    }

    /// Ends the step's lead, if it has it, and returns who may go on: everyone if the work is done, else the next.
    pub(crate) fn release(&mut self, key: StepKey, step: StepIndex, done: bool) -> Vec<StepIndex> {
        if !self.leads(key, step) {
            return Vec::new();
        }
        self.leaders.remove(&key);
        if done {
            return self.queues.remove(&key).unwrap_or_default();
        }
        let next = self.queued(key).first().copied();
        next.into_iter().inspect(|next| self.unqueue(key, *next)).collect()
    }
}
