//! What lies outside: publications that are done, refused, given up, or cut off.

use prunella_journal::{Event, StepIndex};
use prunella_model::{PortName, SlotId, StepId};

use super::Sim;

/// Something in the way of what a step publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// The first driver that finds the way clear.
    pub until: u64,
    /// Whether whoever tries can see that trying again is useless.
    pub hopeless: bool,
}

impl Sim<'_> {
    /// Returns what is in the way of a publication now.
    fn bar(&self, step: StepIndex) -> Option<Bar> {
        let bar = self.bars.get(self.plan.id(step).name.as_str()).copied();
        bar.filter(|bar| self.driver < bar.until)
    }

    /// A publication is given up only if something was in its way, and nobody tries for ever: the budget is one of the run,
    /// so that it may be used up when the way is clear again.
    pub(super) fn may_give_up(&self, id: &StepId) {
        let step = self.plan.index(id).expect("a step of the plan");
        assert!(self.bars.contains_key(id.name.as_str()), "{id} is given up, and nothing was in the way");
        let tries = self.state.effect_tries(step);
        let useless = tries.is_some_and(|tries| tries.hopeless || tries.failed > 20);
        assert!(useless, "{id} is given up after {tries:?}");
    }

    /// What stands for a step that publishes lies outside, and the journal says so; or it says that it was given up.
    pub fn all_is_published(&self, when: &str) {
        for step in self.plan.indices().filter(|step| !self.plan.step(*step).publish.is_empty()) {
            if let Some(done) = self.state.done(step).filter(|_| self.state.effects_given_up(step).is_none()) {
                assert!(self.state.effects_done(step), "{when} and {} is not published", self.plan.id(step));
                assert_eq!(self.outside.get(&step), Some(&done.slot), "{when}: something else lies outside");
            }
        }
    }

    /// Lets the next publication end, if it is not after `first`; answers whether one did.
    pub(super) fn publishes_before(&mut self, first: Option<u64>) -> bool {
        let next = self.publishing.iter().map(|(step, (at, slot))| (*at, *step, *slot)).min();
        let Some((at, step, slot)) = next.filter(|(at, ..)| first.is_none_or(|first| *at <= first)) else {
            return false;
        };
        self.publishing.remove(&step);
        self.now = self.now.max(at);
        self.published(step, slot);
        true
    }

    /// Of what was under way some is done and nobody could say so.
    pub(super) fn cut_publications(&mut self) {
        for (step, (_, slot)) in std::mem::take(&mut self.publishing) {
            if self.random(2) == 0 {
                self.outside.insert(step, slot);
            }
        }
    }

    /// A publication ends: it is done, or fails; if nothing is in the way, at most twice.
    fn published(&mut self, step: StepIndex, slot: SlotId) {
        let refused = self.random(3) == 0;
        let count = self.refused.entry((step, slot)).or_insert(0);
        let refused = refused && *count < 2;
        *count += u32::from(refused);
        let bar = self.bar(step);
        let (refused, hopeless) = (refused || bar.is_some(), bar.is_some_and(|bar| bar.hopeless));
        let id = self.plan.id(step).clone();
        let output = PortName::new("out").expect("a name");
        let event = if refused {
            let (target, why) = (String::new(), "the disk is full".to_owned());
            Event::EffectFailed { step: id, slot, output, target, why, hopeless }
        } else {
            self.outside.insert(step, slot);
            Event::EffectsDone { step: id, slot, effects: Vec::new() }
        };
        // The step may be made anew meanwhile.
        if self.state.check(&event).is_ok() {
            self.tell(event);
        } else {
            self.state.release_effects(step);
        }
    }
}
