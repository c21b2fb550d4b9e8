//! What engines are seen to do: noted in the log, and judged at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use prunella_attempt::Told;
use prunella_engine::{Plan, Spectator};
use prunella_healing::{Refill, defaults};
use prunella_journal::{Event, NextTry, RestoreFrom, RunState, RunStatus, Stamped, StepIndex, StepState};
use prunella_model::{CheckpointId, Class, RunId, SlotId, StepId};

use super::stage::Stage;

/// Returns whether a step may fail so, given what goes wrong here.
fn may_be(class: Class) -> bool {
    use Class as C;
    match class {
        C::Contract | C::Validation | C::GpuMemory | C::GpuFault | C::Capacity | C::Timeout | C::Stopped => false,
        C::Preempted | C::Killed | C::NoProgress | C::OutOfMemory | C::Stalled | C::Storage | C::InputDamaged => true,
        C::CheckpointDamaged | C::CheckpointRejected | C::Effect | C::Infrastructure | C::Error => true,
    }
}

/// Watches one engine drive one run.
pub(crate) struct Eye {
    stage: Stage,
    member: usize,
    run: RunId,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    driver: u64,
    events: Vec<Event>,
    /// How often each class of failure of a step was counted; only what is never refilled.
    spent: BTreeMap<(StepId, Class), u32>,
    claimed: BTreeMap<StepIndex, (SlotId, Option<CheckpointId>)>,
    /// How each step goes on that was healed, whichever engine did it.
    healed: BTreeMap<StepId, NextTry>,
}

impl Eye {
    pub fn new(stage: &Stage, member: usize, run: &RunId) -> Arc<Self> {
        Arc::new(Self { stage: stage.clone(), member, run: run.clone(), seen: Mutex::default() })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Counts what a failure costs; answers what is wrong with that: budgets survive engines and only grow (I10).
    fn counts(&self, event: &Event) -> Option<String> {
        let Event::AttemptEnded { step, class, spent, .. } = event else { return None };
        if defaults(*class).refill != Refill::Never || defaults(*class).limit.is_none() {
            return None;
        }
        let (mut seen, now) = (self.seen(), spent.count(*class));
        let before = seen.spent.insert((step.clone(), *class), now).unwrap_or(0);
        (now <= before).then(|| format!("`{step}` of run {} spent {before} tries of {class}, and then {now}", self.run))
    }

    fn heals(&self, event: &Event) {
        if let Event::StepHealing { step, next, .. } = event {
            self.seen().healed.insert(step.clone(), *next);
        }
    }

    /// Returns what this engine appended to the journal.
    pub fn events(&self) -> Vec<Event> {
        self.seen().events.clone()
    }
}

impl Spectator for Eye {
    fn event(&self, stamped: &Stamped, state: &RunState, _: &Plan) {
        let event = &stamped.event;
        let text = serde_json::to_string(event).unwrap_or_default();
        self.stage.say(self.member, "journal", &text);
        let overdrawn = self.counts(event);
        self.heals(event);
        let mut seen = self.seen();
        if let Event::DriverStarted { driver, .. } = event {
            seen.driver = *driver;
        }
        let driver = seen.driver;
        seen.events.push(event.clone());
        drop(seen);
        let mut world = self.stage.world.state();
        if let Some(what) = overdrawn {
            world.oracle.broken("I10", what);
        }
        match event {
            // Nothing that goes wrong here breaks a contract, or makes a result that is none.
            Event::StepFailed { step, class, why } if !may_be(*class) => {
                let what = format!("`{step}` of run {} failed by class {class}: {why}", self.run);
                world.oracle.broken("I10", what);
            }
            Event::StepCommitted { slot, .. } => {
                world.oracle.commits += 1;
                world.oracle.relies(&self.run, slot);
            }
            Event::StepReused { slot, .. } => world.oracle.relies(&self.run, slot),
            Event::RunEnded { status } => {
                if *status != RunStatus::Stopped {
                    world.ended.insert(self.run.clone(), driver);
                }
                if !state.running().is_empty() {
                    let what = format!("run {} ended as {status:?} while steps of it were running", self.run);
                    world.oracle.broken("I10", what);
                }
            }
            _ => {}
        }
    }

    fn told(&self, step: StepIndex, told: &Told, plan: &Plan) {
        let mut seen = self.seen();
        match told {
            Told::Claimed { slot } => {
                seen.claimed.insert(step, (*slot, None));
            }
            Told::Restored { checkpoint, .. } => {
                if let Some((_, restored)) = seen.claimed.get_mut(&step) {
                    *restored = Some(*checkpoint);
                }
            }
            Told::Durable { checkpoint, .. } => self.stage.world.state().oracle.durable(checkpoint),
            _ => {}
        }
        let started = matches!(told, Told::Started { .. }).then(|| seen.claimed.get(&step).copied()).flatten();
        let healed = seen.healed.get(plan.id(step)).copied();
        drop(seen);
        // A checkpoint that was rejected is given up, and that is recorded (I4).
        let newest = healed.is_none_or(|NextTry { restore, .. }| restore == RestoreFrom::Newest);
        if let Some((slot, restored)) = started.filter(|_| newest) {
            self.stage.world.state().oracle.restored(&slot, restored.as_ref());
        }
    }

    fn begins(&self, earlier: &[Stamped], state: &RunState, plan: &Plan) {
        for stamped in earlier {
            let _told_before = self.counts(&stamped.event);
            self.heals(&stamped.event);
        }
        for step in plan.indices() {
            if let StepState::Done(done) = state.state(step) {
                self.stage.world.state().oracle.relies(&self.run, &done.slot);
            }
        }
    }
}
