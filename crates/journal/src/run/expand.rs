//! How a run grows by the items of a step that fans out, and what a group follows from its items.

use std::sync::Arc;

use prunella_model::Item;

use super::{Entry, RunState};
use crate::StepIndex;
use crate::fan::Expansion;
use crate::state::{Stage, StepState, open_state};

impl RunState {
    /// Gives a group, and those that follow it, these items.
    ///
    /// Items that stay keep all that is known of them. Those that went are dropped; an attempt that is running ends first.
    pub(super) fn expand(&mut self, leader: StepIndex, items: &[Item]) {
        let expansions = Arc::make_mut(&mut self.topology)
            .expand_groups(leader, items)
            .expect("items were checked before the event was accepted");
        self.grow();
        for (group, expansion) in expansions {
            self.exchange(group, &expansion);
            self.turn(group);
            let entry = &mut self.steps[group.as_usize()];
            (entry.issued, entry.stale) = (false, false);
            self.put(group, StepState::Gathering);
            self.regroup(group);
        }
    }

    /// Makes room for the steps that the topology has got.
    fn grow(&mut self) {
        let (known, count) = (self.steps.len(), self.topology.len());
        self.agenda.grow(count);
        self.effects.grow(count);
        for set in [&mut self.running, &mut self.vacated, &mut self.to_interrupt] {
            set.grow(count);
        }
        for step in (known as u32..count as u32).map(StepIndex::new) {
            let needs = self.topology.needs(step).iter().map(|need| &self.steps[need.as_usize()]);
            let (missing, dead) = needs.fold((0, 0), |(missing, dead), need| {
                let gone = matches!(need.state, StepState::Failed { .. } | StepState::Blocked { .. });
                (missing + u32::from(!need.settled), dead + u32::from(gone))
            });
            let reads = || self.topology.reads(step).iter().map(|need| &self.steps[need.as_usize()]);
            let absent = reads().filter(|need| need.skipped).count();
            let gone = reads().filter(|need| need.is_gone).count() as u32;
            let state = open_state(missing == 0, self.topology.is_conditional(step));
            let entry = Entry { dead, gone, absent: absent as u32, ..Entry::new(state, missing) };
            self.counts[entry.state.stage() as usize] += 1;
            self.open += 1;
            self.steps.push(entry);
            self.refresh(step);
        }
    }

    fn exchange(&mut self, group: StepIndex, expansion: &Expansion) {
        for &member in &expansion.went {
            // It counts no more, whatever becomes of it.
            self.count_member(group, member, false);
            self.steps[member.as_usize()].dropped = true;
            if self.state(member).stage() != Stage::Running {
                // Whatever is under way about it comes to nothing; if the item comes back, it begins anew.
                self.steps[member.as_usize()].issued = false;
                self.put(member, StepState::Dropped);
            }
        }
        for &member in &expansion.came {
            if std::mem::take(&mut self.steps[member.as_usize()].dropped) && *self.state(member) == StepState::Dropped {
                let open = self.opening(member);
                // It counts from here on, as what it is now.
                self.steps[member.as_usize()].dropped = true;
                self.put(member, open);
                self.steps[member.as_usize()].dropped = false;
            }
            self.count_member(group, member, true);
        }
    }

    fn count_member(&mut self, group: StepIndex, member: StepIndex, counts: bool) {
        let member = &self.steps[member.as_usize()];
        let gone = matches!(member.state, StepState::Failed { .. } | StepState::Blocked { .. });
        let (unsettled, dead) = (u32::from(!member.settled), u32::from(gone));
        let queued = u32::from(member.state.stage() == Stage::Queued);
        let group = &mut self.steps[group.as_usize()];
        if counts {
            group.unsettled_items += unsettled;
            group.queued_items += queued;
            group.dead += dead;
        } else {
            group.unsettled_items -= unsettled;
            group.queued_items -= queued;
            group.dead -= dead;
        }
    }

    /// Returns how many items of a step that fans out are done, and how many it has.
    pub fn items_done(&self, group: StepIndex) -> (u32, u32) {
        let all = self.topology.members(group).map_or(0, |members| members.len() as u32);
        (all.saturating_sub(self.steps[group.as_usize()].unsettled_items), all)
    }

    /// Returns the group that counts this step as one of its items.
    pub(super) fn member_of(&self, step: StepIndex) -> Option<StepIndex> {
        self.topology.group_of(step).filter(|_| !self.steps[step.as_usize()].dropped)
    }

    /// Returns where a step is that nothing is known of but what it needs.
    pub(super) fn opening(&self, step: StepIndex) -> StepState {
        let entry = &self.steps[step.as_usize()];
        // One with a list that another step makes reads it again.
        let listed = self.topology.leads(step) && !self.topology.needs(step).is_empty();
        if !listed && entry.absent == 0 && self.topology.members(step).is_some() {
            StepState::Gathering
        } else {
            open_state(entry.missing == 0, self.topology.is_conditional(step))
        }
    }

    /// Lets a group that has items follow from them whether it is done.
    pub(super) fn regroup(&mut self, step: StepIndex) {
        let entry = &self.steps[step.as_usize()];
        let whole = entry.missing == 0 && entry.unsettled_items == 0;
        match &entry.state {
            StepState::Gathering if whole && !entry.stale => {
                let made = |member| self.state(member).artifacts().map(|artifacts| &**artifacts);
                let artifacts = self.topology.gather(step, made);
                self.put(step, StepState::Gathered { artifacts });
            }
            // While its list, or what it follows, is made anew it stands, like every step that is done.
            StepState::Gathered { .. } if entry.unsettled_items > 0 => self.put(step, StepState::Gathering),
            StepState::Gathering => {
                // Whether one that needs it goes first depends on that.
                if entry.only_queued() {
                    let topology = Arc::clone(&self.topology);
                    topology.consumers(step).iter().for_each(|consumer| self.refresh(*consumer));
                }
                self.refresh(step);
            }
            _ => {}
        }
    }
}
