//! Equal keys within one run are one attempt: who works on a key, and who waits for them.

use prunella_model::StepKey;

use crate::StepIndex;
use crate::topology::FixedMap;

/// The steps that share one key: at most one leads, the others are queued behind it.
#[derive(Debug, Clone, PartialEq, Default)]
struct Group {
    leader: Option<StepIndex>,
    queue: Vec<StepIndex>,
}

/// The groups of all keys that a step is at work on.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Keys(FixedMap<StepKey, Group>);

impl Keys {
    /// Returns no groups, with room for so many.
    pub(crate) fn with_room(keys: usize) -> Self {
        Self(FixedMap::with_capacity_and_hasher(keys, Default::default()))
    }

    /// Returns whether another step than this leads the key.
    pub(crate) fn taken(&self, key: StepKey, step: StepIndex) -> bool {
        self.0.get(&key).and_then(|group| group.leader).is_some_and(|leader| leader != step)
    }

    /// Returns whether this step leads the key.
    pub(crate) fn leads(&self, key: StepKey, step: StepIndex) -> bool {
        self.0.get(&key).is_some_and(|group| group.leader == Some(step))
    }

    /// Returns the steps that are queued behind the leader, in their order.
    pub(crate) fn queued(&self, key: StepKey) -> &[StepIndex] {
        self.0.get(&key).map_or(&[], |group| &group.queue)
    }

    /// Makes the step lead the key, unless another does.
    pub(crate) fn lead(&mut self, key: StepKey, step: StepIndex) {
        self.0.entry(key).or_default().leader.get_or_insert(step);
    }

    /// Puts the step behind the leader.
    pub(crate) fn queue(&mut self, key: StepKey, step: StepIndex) {
        let queue = &mut self.0.entry(key).or_default().queue;
        if !queue.contains(&step) {
            queue.push(step);
        }
    }

    /// Takes the step out of the queue.
    pub(crate) fn unqueue(&mut self, key: StepKey, step: StepIndex) {
        if let Some(group) = self.0.get_mut(&key) {
            group.queue.retain(|other| *other != step);
            self.tidy(key);
        }
    }

    /// Ends the step's lead, if it has it, and returns who may go on: everyone if the work is done, else the next.
    pub(crate) fn release(&mut self, key: StepKey, step: StepIndex, done: bool) -> Vec<StepIndex> {
        let Some(group) = self.0.get_mut(&key) else { return Vec::new() };
        if group.leader != Some(step) {
            return Vec::new();
        }
        group.leader = None;
        let freed = match (done, group.queue.is_empty()) {
            (_, true) => Vec::new(),
            (true, false) => std::mem::take(&mut group.queue),
            (false, false) => vec![group.queue.remove(0)],
        };
        self.tidy(key);
        freed
    }

    fn tidy(&mut self, key: StepKey) {
        if self.0.get(&key).is_some_and(|group| group.leader.is_none() && group.queue.is_empty()) {
            self.0.remove(&key);
        }
    }
}
