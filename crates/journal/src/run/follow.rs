//! What one change brings with it: consumers, equal keys, and the lists of what is to be done.

use std::collections::HashSet;
use std::sync::Arc;

use prunella_model::{SlotId, Span, StepId, StepKey};

use super::{Outcome, RunState, Whole};
use crate::agenda::Todo;
use crate::state::{Stage, StepState};
use crate::{StepIndex, StepSet};

impl RunState {
    /// Puts a step into a state and brings everything that follows from it up to date.
    pub(super) fn put(&mut self, step: StepIndex, next: StepState) {
        let entry = &mut self.steps[step.as_usize()];
        // What has no key any more was keyed with nothing.
        entry.stale &= next.is_bound();
        let old = std::mem::replace(&mut entry.state, next);
        let (was, is) = (old.stage(), entry.state.stage());
        if was == is && was == Stage::Running {
            return;
        }
        let (was_keyed, is_keyed) = ((was, old.key()), (is, entry.state.key()));
        if self.topology.handler(step).is_none() {
            self.counts[was as usize] -= 1;
            self.counts[is as usize] += 1;
        }
        if was == Stage::Running {
            self.running.remove(step);
            self.vacated.remove(step);
            self.to_interrupt.remove(step);
        }
        if is == Stage::Running {
            self.running.insert(step);
            if self.whole.stopping.is_some() {
                self.to_interrupt.insert(step);
            }
        }
        if is_end(was) != is_end(is) {
            self.count_dead(step, is_end(is));
            self.count_gone(step);
        }
        self.follow_key(step, was_keyed, is_keyed);
        self.settle(step, Outcome::of(&old));
        self.close_or_open(step);
        self.refresh(step);
        if let (Stage::Queued, Some(key)) = was_keyed {
            self.refresh_leader(key);
        }
        if was != is && (was == Stage::Queued || is == Stage::Queued) {
            // Whether one that needs it goes first depends on that.
            let topology = Arc::clone(&self.topology);
            topology.consumers(step).iter().for_each(|consumer| self.refresh(*consumer));
            if let Some(group) = self.member_of(step) {
                let entry = &mut self.steps[group.as_usize()];
                if is == Stage::Queued {
                    entry.queued_items += 1;
                } else {
                    entry.queued_items -= 1;
                }
                self.regroup(group);
            }
        }
    }

    /// Keeps the groups of equal keys: who leads, who queues, who goes on when the leader leaves.
    fn follow_key(&mut self, step: StepIndex, was: (Stage, Option<StepKey>), is: (Stage, Option<StepKey>)) {
        if let (Stage::Queued, Some(key)) = was {
            self.keys.unqueue(key, step);
        }
        let freed = match was.1 {
            Some(key) if is.1 != Some(key) || !is_at_work(is.0) => {
                let freed = self.keys.release(key, step, is.0 == Stage::Done);
                freed.into_iter().map(|step| (step, key)).collect()
            }
            _ => Vec::new(),
        };
        match is {
            (Stage::Queued, Some(key)) => self.keys.queue(key, step),
            (stage, Some(key)) if is_at_work(stage) => self.keys.lead(key, step),
            _ => {}
        }
        for (step, key) in freed {
            self.put(step, StepState::Keyed { key });
        }
    }

    /// Brings `settled`, and what follows from it for the consumers, up to date.
    ///
    /// A step is settled while a commit stands for it that was keyed with what its inputs are now, or while it is
    /// skipped on account of what it reads now. `before` is what stood for it, if nothing stands for it any more.
    fn settle(&mut self, step: StepIndex, before: Option<Outcome>) {
        let entry = &mut self.steps[step.as_usize()];
        let stands = matches!(entry.state, StepState::Done(_) | StepState::Skipped { .. } | StepState::Gathered { .. });
        let settled = stands && !entry.stale;
        if settled == entry.settled {
            return;
        }
        entry.settled = settled;
        match (self.topology.handler(step), settled) {
            // It does nothing to the outside that could be owed, and nothing that is owed depends on it: it waits for that.
            (Some(_), _) => {}
            (None, true) => self.effects.settled(step),
            (None, false) => self.effects.unsettled(step),
        }
        let mut changed = false;
        if settled {
            entry.turned = false;
            if let (Some(basis), Some(outcome)) = (entry.basis.take(), Outcome::of(&entry.state)) {
                changed = basis != outcome;
            }
        } else {
            entry.basis = Outcome::of(&entry.state).or(before);
        }
        let was_skipped = entry.skipped;
        let skipped = settled && matches!(entry.state, StepState::Skipped { .. });
        entry.skipped = skipped;
        let topology = Arc::clone(&self.topology);
        for &consumer in topology.consumers(step) {
            let entry = &mut self.steps[consumer.as_usize()];
            if settled {
                entry.missing -= 1;
            } else {
                entry.missing += 1;
            }
            if was_skipped != skipped && topology.is_read_by(step, consumer) {
                if skipped {
                    entry.absent += 1;
                } else {
                    entry.absent -= 1;
                }
            }
            // A group rests on its list alone; one that follows another goes through what that was given, if it was.
            let rests = |state: &StepState| {
                let listed = state.is_bound() && (topology.leads(consumer) || was_skipped != skipped);
                state.key().is_some() || matches!(state, StepState::Skipped { .. }) || listed
            };
            match (&entry.state, entry.missing) {
                (StepState::Waiting, 0) => {
                    let opening = self.opening(consumer);
                    self.put(consumer, opening);
                }
                (StepState::Undecided | StepState::Bindable, 1) if !settled => self.put(consumer, StepState::Waiting),
                (state, _) if changed && rests(state) => {
                    entry.stale = true;
                    self.settle(consumer, None);
                    self.close_or_open(consumer);
                    self.refresh(consumer);
                }
                _ => {
                    self.refresh(consumer);
                    self.regroup(consumer);
                }
            }
        }
        if let Some(group) = self.member_of(step) {
            let entry = &mut self.steps[group.as_usize()];
            if settled {
                entry.unsettled_items -= 1;
            } else {
                entry.unsettled_items += 1;
            }
            self.regroup(group);
        }
    }

    /// Tells the consumers that the step was given up or blocked, or is so no longer.
    fn count_dead(&mut self, step: StepIndex, dead: bool) {
        let topology = Arc::clone(&self.topology);
        for consumer in topology.consumers(step).iter().copied().chain(self.member_of(step)) {
            let entry = &mut self.steps[consumer.as_usize()];
            if dead {
                entry.dead += 1;
            } else {
                entry.dead -= 1;
            }
            self.refresh(consumer);
        }
    }

    fn close_or_open(&mut self, step: StepIndex) {
        let entry = &mut self.steps[step.as_usize()];
        let closed = entry.settled || is_end(entry.state.stage()) || entry.state == StepState::Dropped;
        if closed == entry.closed {
            return;
        }
        entry.closed = closed;
        match (self.topology.handler(step), closed) {
            (Some(_), _) => {}
            (None, true) => self.open -= 1,
            (None, false) => {
                self.open += 1;
                self.void_conclusion();
            }
        }
    }

    /// Puts the step on the list where it belongs.
    pub(super) fn refresh(&mut self, step: StepIndex) {
        let todo = self.todo_of(step);
        self.agenda.set(step, todo);
        if let StepState::Queued { key } = *self.state(step) {
            self.refresh_leader(key);
        }
    }

    /// Returns whether all that a step still waits for waits itself for it: another step of the same work, made anew.
    ///
    /// Its attempt is theirs as well; without this the two would wait for each other for ever (I10).
    pub(super) fn goes_first(&self, step: StepIndex) -> bool {
        let Some(key) = self.state(step).key().filter(|_| self.topology.handler(step).is_none()) else { return false };
        let behind = |step: &StepIndex| *self.state(*step) == StepState::Queued { key };
        self.topology.needs(step).iter().all(|need| {
            let entry = &self.steps[need.as_usize()];
            // Of a step that fans out some item is behind it, and the others behind steps that wait for it as well.
            let items = self.topology.members(*need).filter(|_| entry.missing == 0 && entry.only_queued());
            entry.settled || behind(need) || items.is_some_and(|items| items.iter().any(behind))
        })
    }

    /// Returns whether the step needs what is blocked by this other one.
    pub(super) fn is_behind(&self, step: StepIndex, by: StepIndex) -> bool {
        let items = self.topology.members(step).unwrap_or_default();
        let blocked = |need: &StepIndex| *self.state(*need) == StepState::Blocked { by };
        self.topology.needs(step).iter().chain(items).any(blocked)
    }

    pub(super) fn todo_of(&self, step: StepIndex) -> Option<Todo> {
        use StepState as S;
        let entry = &self.steps[step.as_usize()];
        if entry.issued {
            return matches!(entry.state, S::Ready { .. }).then_some(Todo::Starting);
        }
        match &entry.state {
            S::Running(_) | S::Failed { .. } | S::Blocked { .. } | S::Dropped => None,
            _ if entry.stale => Some(Todo::Rebind),
            S::Done(_) | S::Skipped { .. } | S::Gathered { .. } => entry.rests_on_nothing().then_some(Todo::Rebind),
            // An item that was given up counts no more once the list is read anew.
            S::Bindable if self.topology.is_group(step) && entry.absent > 0 => Some(Todo::Skip),
            S::Bindable if self.topology.leads(step) => Some(Todo::Expand),
            // It gets its items when its leader does.
            S::Bindable if self.topology.is_group(step) => None,
            _ if entry.dead > 0 => Some(Todo::Block),
            S::Waiting | S::Queued { .. } | S::Gathering => None,
            S::Undecided | S::Bindable if entry.absent > 0 => Some(Todo::Skip),
            S::Undecided => Some(Todo::Decide),
            S::Bindable => Some(Todo::Bind),
            S::Held { .. } => Some(Todo::Watch),
            _ if entry.missing > 0 && !self.goes_first(step) => self.holds_up(step).then_some(Todo::Rebind),
            S::Keyed { .. } => Some(Todo::Guard),
            S::Ended(_) => Some(Todo::Heal),
            S::Ready { not_before, .. } if *not_before > self.whole.clock => Some(Todo::Wait(*not_before)),
            S::Ready { next, .. } if next.memory.is_some() => Some(Todo::Start(self.topology.lane_count() as u16)),
            S::Ready { .. } => Some(Todo::Start(self.topology.lane(step))),
        }
    }

    /// A new driver: commands of the old one are forgotten, its waits begin anew on the new clock.
    ///
    /// If the run had ended, or budgets are refilled, what was given up is tried again; a run that broke off goes on
    /// where it was. If the driver says what it tries again, that and nothing else is: what stays given up blocks anew
    /// what needs it. Attempts of dead drivers stay *running* until recovery has filled their slots.
    pub(super) fn start_driver(&mut self, driver: u64, now: Span, budgets_reset: bool, retried: Option<&[StepId]>) {
        let again = budgets_reset || retried.is_some() || self.whole.ended.is_some();
        let retried: Option<HashSet<StepIndex>> =
            retried.map(|steps| steps.iter().filter_map(|id| self.topology.index(id)).collect());
        let tried = |step: &StepIndex| retried.as_ref().map(|steps| steps.contains(step));
        self.whole = Whole { driver, stopping: None, ended: None, clock: now, ..std::mem::take(&mut self.whole) };
        (self.conclusion_issued, self.end_issued) = (false, false);
        if self.effects.start_driver(again, budgets_reset) {
            self.void_conclusion();
        }
        self.to_interrupt = StepSet::new(self.steps.len());
        self.vacated = StepSet::new(self.steps.len());
        for step in self.topology.indices() {
            let entry = &mut self.steps[step.as_usize()];
            entry.issued = false;
            if budgets_reset || tried(&step) == Some(true) {
                entry.spent = None;
            }
            match &entry.state {
                StepState::Failed { .. } if tried(&step) == Some(false) => {}
                StepState::Failed { .. } | StepState::Blocked { .. } if again => {
                    let open = self.opening(step);
                    self.put(step, open);
                    self.regroup(step);
                }
                StepState::Held { slot, .. } => {
                    let key = slot.key;
                    self.put(step, StepState::Keyed { key });
                }
                StepState::Ready { key, next, .. } => {
                    let not_before = Span::from_millis(now.as_millis().saturating_add(next.delay.as_millis()));
                    let state = StepState::Ready { key: *key, next: next.clone(), not_before };
                    self.put(step, state);
                }
                _ => {}
            }
        }
        for step in self.topology.indices() {
            self.refresh(step);
        }
    }

    /// Sends the step whose commit is damaged back to the guard, unless a newer commit already stands for it.
    pub(super) fn make_anew(&mut self, producer: StepIndex, damaged: SlotId) {
        let StepState::Done(done) = self.state(producer) else { return };
        if done.slot != damaged {
            return;
        }
        let state = if self.keys.taken(damaged.key, producer) {
            StepState::Queued { key: damaged.key }
        } else {
            StepState::Keyed { key: damaged.key }
        };
        self.put(producer, state);
    }
}

pub(super) const fn is_end(stage: Stage) -> bool {
    matches!(stage, Stage::Failed | Stage::Blocked)
}

/// Whether a step at this stage works on its key, so that others with the same key wait for it.
const fn is_at_work(stage: Stage) -> bool {
    matches!(stage, Stage::Keyed | Stage::Ready | Stage::Held | Stage::Running | Stage::Ended)
}
