//! What is planned anew though nothing that it reads has other content: it rests on what is gone, or holds others up.

use std::sync::Arc;

use prunella_model::StepKey;

use super::follow::is_end;
use super::{Entry, RunState};
use crate::StepIndex;
use crate::agenda::Todo;
use crate::state::StepState;

impl Entry {
    /// Returns whether something stands for the step that rests on what is replaced by nothing.
    pub(super) fn rests_on_nothing(&self) -> bool {
        match self.state {
            StepState::Done(_) | StepState::Skipped { .. } => self.gone > 0,
            // Of a list that is skipped after all, some items may have been at work already.
            StepState::Gathered { .. } => self.gone > 0 || self.absent > 0,
            _ => false,
        }
    }
}

impl RunState {
    /// Notes that a step is planned anew: what stood for it, and for the step of which it is an item, counts no more.
    ///
    /// Until something stands for it again. If it is given up or blocked instead, those that read what it was are planned
    /// anew, too: they reached what is replaced, and nothing of them may go to the outside. A step whose bytes are lost and
    /// that cannot be made again is not one of these: what was made of those bytes was made of what the step is.
    pub(super) fn turn(&mut self, step: StepIndex) {
        for step in [Some(step), self.member_of(step)].into_iter().flatten() {
            self.steps[step.as_usize()].turned = true;
            self.count_gone(step);
        }
    }

    /// Tells those that read the step's outputs that there will be none in place of what they read, or that there may be.
    pub(super) fn count_gone(&mut self, step: StepIndex) {
        let entry = &mut self.steps[step.as_usize()];
        let is_gone = entry.turned && is_end(entry.state.stage());
        if std::mem::replace(&mut entry.is_gone, is_gone) == is_gone {
            return;
        }
        let topology = Arc::clone(&self.topology);
        for &reader in topology.consumers(step).iter().filter(|reader| topology.is_read_by(step, **reader)) {
            let entry = &mut self.steps[reader.as_usize()];
            if is_gone {
                entry.gone += 1;
            } else {
                entry.gone -= 1;
            }
            self.refresh(reader);
        }
    }

    /// Returns whether the step was planned anew, and nothing has stood for it since.
    pub fn is_turned(&self, step: StepIndex) -> bool {
        self.steps[step.as_usize()].turned
    }

    /// Returns whether the step waits, and meanwhile another of the same work that could go on waits behind it.
    ///
    /// What it waits for may wait for that one in its turn (I10): it is planned anew, and the other goes first.
    pub(super) fn holds_up(&self, step: StepIndex) -> bool {
        let entry = &self.steps[step.as_usize()];
        let (StepState::Keyed { key } | StepState::Ready { key, .. }) = &entry.state else {
            let StepState::Ended(ended) = &entry.state else { return false };
            return self.lets_wait(step, ended.slot.key);
        };
        self.lets_wait(step, *key)
    }

    fn lets_wait(&self, step: StepIndex, key: StepKey) -> bool {
        let goes_on = |queued: &StepIndex| {
            let queued = &self.steps[queued.as_usize()];
            queued.missing == 0 && queued.dead == 0 && !queued.stale
        };
        let waits = self.steps[step.as_usize()].missing > 0 && self.keys.leads(key, step);
        waits && !self.goes_first(step) && self.keys.queued(key).iter().any(goes_on)
    }

    /// Puts the step that leads a key on its list: whoever is queued behind it may be able to go on now.
    pub(super) fn refresh_leader(&mut self, key: StepKey) {
        if let Some(leader) = self.keys.leader(key) {
            let todo = self.todo_of(leader);
            self.agenda.set(leader, todo);
        }
    }

    /// Returns whether any step is to be planned anew, and nobody has said so yet.
    ///
    /// One that rests on what is gone counts as settled until then. No more than one of those that are not stale
    /// ([`RunState::is_stale`]) is to be told at a time: the next may have no reason any more.
    pub fn any_to_rebind(&self) -> bool {
        !self.list(Todo::Rebind).is_empty()
    }
}
