//! What the driver hears of its attempts, each message under the number of the attempt that sent it.

use std::sync::Arc;

use prunella_attempt::{Failure, Tell, Told, Verdict};
use prunella_journal::{EffectDone, StepIndex};
use prunella_model::SlotId;
use prunella_store::{Observer, StoreError, records::Timeline};
use tokio::sync::mpsc::UnboundedSender;

use crate::{EffectTrouble, EngineError, conditions::Decision};

/// One attempt of this driver.
///
/// What one that was given up still had on the way is not taken for its successor's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nth {
    pub(crate) step: StepIndex,
    pub(crate) n: u64,
}

/// What came of effects: the inner trouble is theirs, the outer one the run's.
pub(crate) type EffectsHeard = Result<Result<Vec<EffectDone>, EffectTrouble>, EngineError>;

pub(crate) enum Heard {
    /// An attempt says what it does.
    Told(Nth, Told),
    /// An attempt answered.
    Ended(Nth, Box<Verdict>),
    /// An attempt is gone without an answer: its task panicked, or was given up.
    BrokenOff(Nth),
    /// A key that somebody else worked on has no live attempt any more.
    Free(StepIndex, Result<Observer, StoreError>),
    /// What a step does to the outside is done, or could not be.
    Effects(StepIndex, SlotId, Box<EffectsHeard>),
    /// The condition of a step was looked at, as its inputs were in these commits.
    Decided(StepIndex, Vec<SlotId>, Box<Result<Decision, StoreError>>),
}

/// Returns which attempt of its own a verdict is of, and what that says of its time.
pub(crate) fn time_of(verdict: &Verdict) -> Option<(SlotId, &Timeline)> {
    match verdict {
        Verdict::Committed(success) => Some((success.slot, &success.timeline)),
        Verdict::Failed(Failure { slot, timeline, .. }) => slot.map(|slot| (slot, timeline)),
        Verdict::Reused(_) | Verdict::Fenced(_) => None,
    }
}

/// An attempt's end of the line: however the attempt ends, the driver hears of it.
pub(crate) struct Line {
    nth: Nth,
    to: UnboundedSender<Heard>,
    answered: bool,
}

impl Line {
    pub(crate) fn of(nth: Nth, to: UnboundedSender<Heard>) -> Self {
        Self { nth, to, answered: false }
    }

    /// Returns how the attempt tells what it does.
    pub(crate) fn tell(&self) -> Arc<dyn Tell> {
        let (nth, to) = (self.nth, self.to.clone());
        Arc::new(move |told: Told| {
            // The driver that would hear it is gone, and this attempt with it.
            let _gone = to.send(Heard::Told(nth, told));
        })
    }

    pub(crate) fn ended(&mut self, verdict: Verdict) {
        self.answered = true;
        let _gone = self.to.send(Heard::Ended(self.nth, Box::new(verdict)));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.answered {
            let _gone = self.to.send(Heard::BrokenOff(self.nth));
        }
    }
}
