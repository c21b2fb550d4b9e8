//! The accelerators of an engine: who has which, and which have failed.

use std::collections::HashMap;

use prunella_attempt::Lent;
use prunella_journal::{Event, StepIndex};
use prunella_model::Class;
use prunella_sys::Accelerators;

/// A device that failed so often since something last succeeded on it is set aside while there are others.
const FAULTS: u32 = 2;

/// Hands out accelerators, each to one attempt at a time.
#[derive(Debug, Default)]
pub(crate) struct Rack {
    all: Accelerators,
    /// Failures of each since the last success on it.
    faults: Vec<u32>,
    /// What each attempt of this driver has, by its number.
    lent: HashMap<u64, Vec<usize>>,
    /// What the newest attempt of a step ran on, also of earlier drivers.
    last: HashMap<StepIndex, Vec<String>>,
    /// Whose newest attempt failed on account of its devices.
    avoiding: HashMap<StepIndex, Vec<String>>,
    /// The most that one step needs: so many are never set aside.
    most: usize,
}

impl Rack {
    /// Returns the rack for a plan whose largest step needs `most`.
    pub(crate) fn new(all: Accelerators, most: u32) -> Self {
        let faults = vec![0; all.names.len()];
        Self { all, faults, most: most as usize, ..Self::default() }
    }

    /// Returns how many can be used: those set aside do not count.
    pub(crate) fn usable(&self) -> u32 {
        let aside = self.faults.iter().filter(|faults| **faults >= FAULTS).count();
        let all = self.all.names.len();
        u32::try_from(all - aside.min(all.saturating_sub(self.most.max(1)))).unwrap_or(u32::MAX)
    }

    /// Lends `count` devices to the `n`-th attempt: not those on which the step just failed, if there are others free,
    /// then those that failed least.
    ///
    /// A step without accelerators is shown none if any step of the pipeline has some; if none has, nothing is said.
    pub(crate) fn lend(&mut self, n: u64, step: StepIndex, count: u32) -> Option<Lent> {
        if self.most == 0 {
            return None;
        }
        let taken = |device: &usize| self.lent.values().flatten().any(|lent| lent == device);
        let mut free: Vec<usize> = (0..self.all.names.len()).filter(|device| !taken(device)).collect();
        let avoided = self.avoiding.get(&step).map_or(&[][..], Vec::as_slice);
        free.sort_by_key(|device| (avoided.contains(&self.all.names[*device]), self.faults[*device], *device));
        // Admission counts what is lent and never starts more than there are.
        debug_assert!(free.len() >= count as usize, "{count} accelerators, {} free", free.len());
        free.truncate(count as usize);
        let names: Vec<String> = free.iter().map(|device| self.all.names[*device].clone()).collect();
        self.lent.insert(n, free);
        Some(Lent { variables: self.all.variables(&names), names })
    }

    /// Takes back what an attempt had; harmless if it had nothing.
    pub(crate) fn take_back(&mut self, n: u64) {
        self.lent.remove(&n);
    }

    /// Learns from what happened to a step.
    pub(crate) fn hear(&mut self, step: StepIndex, event: &Event) {
        match event {
            Event::ProcessStarted { accelerators, .. } => {
                self.last.insert(step, accelerators.clone());
            }
            Event::AttemptEnded { class: Class::GpuFault, .. } => {
                let failed = self.last.get(&step).cloned().unwrap_or_default();
                self.count(&failed, |faults| faults + 1);
                self.avoiding.insert(step, failed);
            }
            Event::StepCommitted { .. } => {
                let proved = self.last.remove(&step).unwrap_or_default();
                self.count(&proved, |_| 0);
                self.avoiding.remove(&step);
            }
            _ => {}
        }
    }

    fn count(&mut self, names: &[String], how: impl Fn(u32) -> u32) {
        for (name, faults) in self.all.names.iter().zip(&mut self.faults) {
            if names.contains(name) {
                *faults = how(*faults);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prunella_healing::{Ending, Evidence, Phase, Spent};
    use prunella_model::{Digest, Epoch, SlotId, Span, StepId, StepKey, StepName};

    use super::*;

    fn rack(count: usize, most: u32) -> Rack {
        let names = (0..count).map(|device| device.to_string()).collect();
        Rack::new(Accelerators { names, ..Accelerators::default() }, most)
    }

    fn step(place: u32) -> StepIndex {
        StepIndex::new(place)
    }

    fn slot() -> SlotId {
        SlotId { key: StepKey(Digest::of(b"key")), epoch: Epoch::FIRST }
    }

    fn id() -> StepId {
        StepId::plain(StepName::new("train").expect("a name"))
    }

    fn fails_on(rack: &mut Rack, place: u32, names: &[&str], class: Class) {
        let accelerators = names.iter().map(|name| (*name).to_owned()).collect();
        rack.hear(step(place), &Event::ProcessStarted { step: id(), slot: slot(), pid: 1, accelerators });
        let evidence = Box::new(Evidence::of(Ending::Exited { code: 1 }, Phase::Run));
        let (spent, compute, lost) = (Box::<Spent>::default(), Span::default(), Span::default());
        rack.hear(
            step(place),
            &Event::AttemptEnded { step: id(), slot: slot(), class, evidence, spent, compute, lost },
        );
    }

    fn lend(rack: &mut Rack, n: u64, place: u32, count: u32) -> Vec<String> {
        rack.lend(n, step(place), count).expect("the pipeline has accelerators").names
    }

    #[test]
    fn no_device_is_lent_twice_and_what_came_back_is_lent_again() {
        let mut rack = rack(3, 2);
        assert_eq!(lend(&mut rack, 1, 0, 1), ["0"]);
        assert_eq!(lend(&mut rack, 2, 1, 2), ["1", "2"]);
        rack.take_back(1);
        rack.take_back(7);
        assert_eq!(lend(&mut rack, 3, 2, 1), ["0"]);
    }

    #[test]
    fn a_step_without_accelerators_is_shown_none_unless_the_pipeline_has_none_at_all() {
        let none = rack(2, 1).lend(1, step(0), 0).expect("it is told");
        assert_eq!(none.names, [""; 0]);
        assert_eq!(none.variables[0], ("CUDA_VISIBLE_DEVICES", "-1".to_owned()));
        assert_eq!(rack(2, 0).lend(1, step(0), 0), None);
    }

    #[test]
    fn after_a_fault_the_step_gets_another_device_and_the_same_one_only_if_there_is_no_other() {
        let mut two = rack(2, 1);
        fails_on(&mut two, 0, &["0"], Class::GpuFault);
        assert_eq!(lend(&mut two, 1, 0, 1), ["1"]);
        two.take_back(1);
        let mut one = rack(1, 1);
        fails_on(&mut one, 0, &["0"], Class::GpuFault);
        assert_eq!(lend(&mut one, 1, 0, 1), ["0"]);
        let mut other = rack(2, 1);
        fails_on(&mut other, 0, &["0"], Class::Error);
        assert_eq!(lend(&mut other, 1, 0, 1), ["0"], "an error of the program says nothing about the device");
    }

    #[test]
    fn a_device_that_fails_again_is_set_aside_for_all_but_never_below_what_a_step_needs() {
        let mut rack = rack(2, 1);
        fails_on(&mut rack, 0, &["1"], Class::GpuFault);
        assert_eq!(rack.usable(), 2);
        fails_on(&mut rack, 1, &["1"], Class::GpuFault);
        assert_eq!(rack.usable(), 1);
        assert_eq!(lend(&mut rack, 1, 2, 1), ["0"]);
        rack.take_back(1);
        fails_on(&mut rack, 0, &["0"], Class::GpuFault);
        fails_on(&mut rack, 0, &["0"], Class::GpuFault);
        assert_eq!(rack.usable(), 1, "one stays");
        let committed =
            Event::StepCommitted { step: id(), slot: slot(), artifacts: Default::default(), compute: Span::default() };
        fails_on(&mut rack, 3, &["1"], Class::Error);
        rack.hear(step(3), &committed);
        assert_eq!(lend(&mut rack, 2, 0, 1), ["1"], "what worked again is trusted again");
    }
}
