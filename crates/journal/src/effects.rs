//! Which steps of a run owe something to the outside.
//!
//! The fold does not know what a step does to the outside, only the plan does: a step whose commit has just come to stand is
//! *unsorted* until the driver says whether it owes anything ([`RunState::owe_effects`]). What is owed, waits and is under
//! way is forgotten with its driver, like every command; what is done, has failed and was given up stands in the journal.

use std::collections::{BTreeMap, BTreeSet};

use prunella_model::{EffectHow, EffectId, EffectKind, PortName, RunId, SlotId, Span};
use serde::{Deserialize, Serialize};

use crate::{Event, RunState, StepIndex, StepSet, StepState};

/// One effect that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectDone {
    /// Its identity.
    pub effect: EffectId,
    /// What kind it is.
    pub kind: EffectKind,
    /// The output.
    pub output: PortName,
    /// What it was done to.
    pub target: String,
    /// How it came to be done.
    pub how: EffectHow,
    /// The newer run whose artifact is there instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<RunId>,
    /// Whether an earlier process did it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub before: bool,
}

/// Failures of a step's effects so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectTries {
    /// How many.
    pub failed: u32,
    /// When the last was, if the present driver saw it.
    #[serde(rename = "at_ms", default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Span>,
    /// Whether trying again is useless.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hopeless: bool,
}

/// What a summary keeps of the effects: what the log said, and nothing of what a driver has under way. Steps by their places.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct KeptEffects {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    open: Vec<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tries: Vec<(u32, EffectTries)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    given_up: Vec<(u32, Box<str>)>,
    /// For the commits that stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    done: Vec<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    anew: Vec<u32>,
}

/// What is known of the effects of all steps.
#[derive(Debug, Clone)]
pub(crate) struct Effects {
    unsorted: StepSet,
    owed: StepSet,
    waiting: BTreeSet<(Span, StepIndex)>,
    under_way: StepSet,
    tries: BTreeMap<StepIndex, EffectTries>,
    given_up: BTreeMap<StepIndex, Box<str>>,
    done: BTreeMap<StepIndex, SlotId>,
    /// Steps whose commit was taken back and that are being made anew.
    anew: StepSet,
}

impl Effects {
    pub(crate) fn new(steps: usize) -> Self {
        let none = StepSet::new(steps);
        Self {
            unsorted: none.clone(),
            owed: none.clone(),
            waiting: BTreeSet::new(),
            under_way: none.clone(),
            tries: BTreeMap::new(),
            given_up: BTreeMap::new(),
            done: BTreeMap::new(),
            anew: none,
        }
    }

    pub(crate) fn keep(&self) -> KeptEffects {
        let waiting = self.waiting.iter().map(|(_, step)| *step);
        let open: BTreeSet<StepIndex> =
            self.unsorted.iter().chain(self.owed.iter()).chain(self.under_way.iter()).chain(waiting).collect();
        KeptEffects {
            open: open.into_iter().map(StepIndex::get).collect(),
            tries: self.tries.iter().map(|(step, tries)| (step.get(), *tries)).collect(),
            given_up: self.given_up.iter().map(|(step, why)| (step.get(), why.clone())).collect(),
            done: self.done.keys().map(|step| step.get()).collect(),
            anew: self.anew.iter().map(StepIndex::get).collect(),
        }
    }

    /// Returns what was kept of this many steps, or nothing; `stands` returns the commit that stands for a step.
    pub(crate) fn from_kept(
        kept: KeptEffects,
        steps: usize,
        stands: impl Fn(StepIndex) -> Option<SlotId>,
    ) -> Option<Self> {
        let place = |step: u32| Some(StepIndex::new(step)).filter(|step| step.as_usize() < steps);
        let mut effects = Self::new(steps);
        for (step, tries) in kept.tries {
            effects.tries.insert(place(step)?, tries);
        }
        for (step, why) in kept.given_up {
            effects.given_up.insert(place(step)?, why);
        }
        for step in kept.done {
            let step = place(step)?;
            // Those of a step that its list has no more count for nothing.
            if let Some(slot) = stands(step) {
                effects.done.insert(step, slot);
            }
        }
        for step in kept.anew {
            effects.anew.insert(place(step)?);
        }
        for step in kept.open {
            let step = place(step)?;
            // As the log alone leaves it: what failed under the present driver is owed.
            let failed = effects.tries.get(&step).is_some_and(|tries| tries.at.is_some());
            if failed {
                effects.owed.insert(step)
            } else {
                effects.unsorted.insert(step)
            };
        }
        Some(effects)
    }

    /// Makes room for more steps.
    pub(crate) fn grow(&mut self, steps: usize) {
        for set in [&mut self.unsorted, &mut self.owed, &mut self.under_way, &mut self.anew] {
            set.grow(steps);
        }
    }

    /// A commit has come to stand for the step, with the inputs as they are now.
    pub(crate) fn settled(&mut self, step: StepIndex) {
        self.anew.remove(step);
        self.unsorted.insert(step);
    }

    /// What stood for the step does so no longer: its effects, too, are to be planned anew.
    pub(crate) fn unsettled(&mut self, step: StepIndex) {
        self.anew.insert(step);
        self.close(step);
        for all in [&mut self.unsorted, &mut self.under_way] {
            all.remove(step);
        }
        self.tries.remove(&step);
        self.given_up.remove(&step);
        self.done.remove(&step);
    }

    fn close(&mut self, step: StepIndex) {
        self.owed.remove(step);
        self.waiting.retain(|(_, waiting)| *waiting != step);
    }

    /// Takes an event about effects, which has been accepted.
    pub(crate) fn apply(&mut self, step: StepIndex, event: &Event, now: Span) {
        match event {
            Event::EffectsDone { slot, .. } => {
                self.close(step);
                self.under_way.remove(step);
                self.unsorted.remove(step);
                self.tries.remove(&step);
                self.given_up.remove(&step);
                self.done.insert(step, *slot);
            }
            Event::EffectFailed { hopeless, .. } => {
                let failed = self.tries.get(&step).map_or(0, |tries| tries.failed) + 1;
                self.tries.insert(step, EffectTries { failed, at: Some(now), hopeless: *hopeless });
                self.under_way.remove(step);
                self.unsorted.remove(step);
                self.owed.insert(step);
            }
            Event::EffectsGivenUp { why, .. } => {
                self.close(step);
                self.under_way.remove(step);
                self.unsorted.remove(step);
                self.given_up.insert(step, why.as_str().into());
            }
            _ => {}
        }
    }

    /// A new driver: what the old one had under way is owed again, nothing waits, and with `again` also what was given up.
    ///
    /// Returns whether something that was given up is owed again.
    pub(crate) fn start_driver(&mut self, again: bool, budgets_reset: bool) -> bool {
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|(_, step)| step);
        for step in self.under_way.iter().chain(self.owed.iter()).chain(waiting).collect::<Vec<_>>() {
            self.unsorted.insert(step);
        }
        let reopened = if again { std::mem::take(&mut self.given_up) } else { BTreeMap::new() };
        for step in reopened.keys() {
            self.tries.remove(step);
            self.unsorted.insert(*step);
        }
        if budgets_reset {
            self.tries.clear();
        }
        for tries in self.tries.values_mut() {
            // Somebody started it, perhaps because the way is clear now.
            (tries.at, tries.hopeless) = (None, false);
        }
        while self.under_way.pop_first().is_some() {}
        while self.owed.pop_first().is_some() {}
        !reopened.is_empty()
    }

    fn wake(&mut self, now: Span) {
        while let Some((at, step)) = self.waiting.first().copied()
            && at <= now
        {
            self.waiting.pop_first();
            self.owed.insert(step);
        }
    }
}

impl Event {
    /// Returns whether it is about what a step does to the outside.
    pub const fn is_of_effects(&self) -> bool {
        matches!(self, Self::EffectsDone { .. } | Self::EffectFailed { .. } | Self::EffectsGivenUp { .. })
    }

    /// Returns the commit whose effects it is about, if it is about effects.
    pub(crate) const fn effects_slot(&self) -> Option<SlotId> {
        match self {
            Self::EffectsDone { slot, .. } | Self::EffectFailed { slot, .. } | Self::EffectsGivenUp { slot, .. } => {
                Some(*slot)
            }
            _ => None,
        }
    }
}

/// What is asked, and noted, about effects.
impl RunState {
    /// Takes a step whose commit has come to stand, and of which nobody has said whether it owes anything to the outside.
    pub fn take_unsorted(&mut self) -> Option<StepIndex> {
        self.effects.unsorted.pop_first()
    }

    /// Notes that a step owes its effects.
    pub fn owe_effects(&mut self, step: StepIndex) {
        self.effects.owed.insert(step);
    }

    /// Takes a step whose effects are to be done now; none while a step is being made anew that they could depend on.
    pub fn take_owed(&mut self) -> Option<StepIndex> {
        self.effects.wake(self.clock());
        let again = |step| {
            !matches!(self.state(step), StepState::Failed { .. } | StepState::Blocked { .. } | StepState::Dropped)
        };
        if self.effects.anew.iter().any(again) {
            return None;
        }
        self.effects.owed.pop_first()
    }

    /// Notes that the effects of the step are under way; forgotten with the next event about them, or by [`RunState::owe_effects`].
    pub fn issue_effects(&mut self, step: StepIndex) {
        self.effects.under_way.insert(step);
    }

    /// Notes that the effects under way came to nothing that could be reported.
    pub fn release_effects(&mut self, step: StepIndex) {
        if self.effects.under_way.remove(step) {
            self.effects.owed.insert(step);
        }
    }

    /// Notes that the effects of the step wait until `at`.
    pub fn delay_effects(&mut self, step: StepIndex, at: Span) {
        self.effects.waiting.insert((at, step));
    }

    /// Returns when the first effects that wait are to be tried again.
    pub fn next_effects(&self) -> Option<Span> {
        self.effects.waiting.first().map(|(at, _)| *at)
    }

    /// Returns whether effects are owed, wait, or are under way.
    pub fn has_open_effects(&self) -> bool {
        let effects = &self.effects;
        !(effects.owed.is_empty() && effects.waiting.is_empty() && effects.under_way.is_empty())
    }

    /// Returns how often the effects of the step have failed, if they have.
    pub fn effect_tries(&self, step: StepIndex) -> Option<EffectTries> {
        self.effects.tries.get(&step).copied()
    }

    /// Returns why the effects of the step were given up, if they were.
    pub fn effects_given_up(&self, step: StepIndex) -> Option<&str> {
        self.effects.given_up.get(&step).map(|why| &**why)
    }

    /// Returns the steps whose effects were given up.
    pub fn with_effects_given_up(&self) -> impl Iterator<Item = StepIndex> + use<'_> {
        self.effects.given_up.keys().copied()
    }

    /// Returns whether the effects of any step were given up.
    pub fn any_effects_given_up(&self) -> bool {
        !self.effects.given_up.is_empty()
    }

    /// Returns whether the effects of the step are done for the commit that stands for it.
    pub fn effects_done(&self, step: StepIndex) -> bool {
        self.done(step).is_some_and(|done| self.effects.done.get(&step) == Some(&done.slot))
    }
}
