//! The attempts of one step on the way to one commit: what of their compute time entered it.

use std::collections::BTreeMap;

use prunella_model::{CheckpointId, Class, SlotId, Span};
use serde::{Deserialize, Serialize};

use super::{LossReason, minus, plus};

/// A checkpoint that an attempt took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Taken {
    pub(super) id: CheckpointId,
    /// The driver's time of the instant that it describes.
    pub(super) covers: Span,
    pub(super) durable: bool,
}

/// One attempt, as far as its events tell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Try {
    pub(super) slot: SlotId,
    /// The driver that started it; all times are on its clock.
    pub(super) driver: u64,
    pub(super) started: Span,
    pub(super) process: Option<Span>,
    pub(super) restored: Option<CheckpointId>,
    pub(super) taken: Vec<Taken>,
    pub(super) notice: Option<Span>,
    /// How long it ran: until its end, or as far as it is known.
    pub(super) ran: Option<Span>,
    /// What its end was, if it ended without a commit and somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) class: Option<Class>,
}

impl Try {
    pub(super) fn new(slot: SlotId, driver: u64, started: Span) -> Self {
        let taken = Vec::new();
        Self { slot, driver, started, process: None, restored: None, taken, notice: None, ran: None, class: None }
    }

    /// From the slot to the running process; all there was if none ran.
    pub(super) fn brought(&self, until: Span) -> Span {
        minus(self.process.unwrap_or(until), self.started)
    }

    /// How long its program ran up to the instant that a checkpoint describes.
    fn ran_until(&self, checkpoint: CheckpointId) -> Span {
        let ran = self.ran.unwrap_or_default();
        match (self.process, self.taken.iter().find(|taken| taken.id == checkpoint)) {
            (Some(process), Some(taken)) => minus(taken.covers, process).min(ran),
            // It became durable although no event tells of it: later than all that is known.
            _ => ran,
        }
    }
}

/// What an attempt used: how long it took to bring its program up, and how long that ran.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    pub(super) brought: Span,
    pub(super) ran: Span,
}

impl Used {
    pub(super) fn total(self) -> Span {
        plus(self.brought, self.ran)
    }
}

/// Where a chain of attempts ends, seen from the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The last attempt committed.
    Committed,
    /// No commit will contain any of it.
    Lost,
    /// The last attempt goes on, or another will go on from the newest durable checkpoint.
    Open,
}

/// What of a chain's compute time is kept, and how many attempts of it began with a restore.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Kept {
    pub(super) span: Span,
    pub(super) restarts: u32,
    /// What of each attempt's time is kept; they add up to `span`.
    each: Vec<Span>,
}

impl Kept {
    fn add(&mut self, at: usize, span: Span) {
        self.span = plus(self.span, span);
        self.each[at] = plus(self.each[at], span);
    }

    /// Adds what was lost of each attempt to the reason of it.
    pub(super) fn lost_by(&self, tries: &[Try], used: &[Used], by: &mut BTreeMap<LossReason, Span>) {
        let mut add = |reason, span: Span| {
            if span > Span::default() {
                let sum = by.entry(reason).or_default();
                *sum = plus(*sum, span);
            }
        };
        for ((one, used), kept) in tries.iter().zip(used).zip(&self.each) {
            let lost = minus(used.total(), *kept);
            let again = if one.restored.is_some() { used.brought.min(lost) } else { Span::default() };
            add(LossReason::Restart, again);
            add(one.class.map_or(LossReason::Unfinished, LossReason::Ended), minus(lost, again));
        }
    }
}

/// Returns what of the attempts' time has entered the commit, or can still.
///
/// From the last attempt back: its time counts up to the commit, that of the one whose checkpoint it restored up to the
/// instant that this checkpoint describes, and so on. Bringing the program up counts for the one that began from zero
/// only. `used[i]` belongs to `tries[i]`.
pub(super) fn kept(tries: &[Try], used: &[Used], outcome: Outcome) -> Kept {
    let mut kept = Kept { each: vec![Span::default(); tries.len()], ..Kept::default() };
    let mut at = match outcome {
        Outcome::Lost => None,
        Outcome::Committed => tries.len().checked_sub(1).map(|last| (last, None)),
        Outcome::Open if tries.last().is_some_and(|last| last.ran.is_none() && last.process.is_some()) => {
            Some((tries.len() - 1, None))
        }
        Outcome::Open => tries
            .iter()
            .enumerate()
            .flat_map(|(i, t)| t.taken.iter().filter(|taken| taken.durable).map(move |taken| (i, Some(taken.id))))
            .max_by_key(|(_, id)| *id),
    };
    while let Some((i, until)) = at {
        let ran = until.map_or(used[i].ran, |checkpoint| tries[i].ran_until(checkpoint).min(used[i].ran));
        kept.add(i, ran);
        let Some(restored) = tries[i].restored else {
            kept.add(i, used[i].brought);
            break;
        };
        kept.restarts += 1;
        // A checkpoint of another run's attempt ends the walk: that time is not this run's.
        at = tries[..i].iter().position(|t| t.slot == restored.slot).map(|j| (j, Some(restored)));
    }
    kept
}
