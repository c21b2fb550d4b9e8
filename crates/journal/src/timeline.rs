//! When what happened to each attempt: the course of a run on one axis of time, for those who draw or trace it.

use std::collections::BTreeMap;

use prunella_model::{CheckpointId, Class, SlotId, Span, StepId};

use crate::{Event, RunStatus, Stamped};

/// An instant on the axis of a run, in milliseconds since 1970.
///
/// Only the beginning of each driver is by the wall clock; what happens under it is as far from there as its monotonic
/// clock says. A driver never begins before the last event of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// Returns the time from an earlier instant; nothing from a later one.
    pub fn since(self, earlier: Self) -> Span {
        Span::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns the instant so much later.
    pub fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.as_millis()))
    }

    /// Returns the instant so much earlier.
    pub fn before(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.as_millis()))
    }
}

/// The axis in the making: puts the events of a run, in order, on it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Axis {
    /// Where the present driver's clock stood at zero.
    zero: u64,
    last: Moment,
}

impl Axis {
    /// Returns where the next event is.
    pub fn place(&mut self, stamped: &Stamped) -> Moment {
        let mono = stamped.mono.as_millis();
        // What stands before the first driver's own event is of its time.
        if matches!(stamped.event, Event::DriverStarted { .. }) || self.zero == 0 {
            self.zero = stamped.at_ms.max(self.last.0).saturating_sub(mono);
        }
        self.last = Moment(self.zero.saturating_add(mono)).max(self.last);
        self.last
    }

    /// Returns where the newest event is.
    pub fn last(&self) -> Moment {
        self.last
    }
}

/// A driver's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Driven {
    /// The driver.
    pub driver: u64,
    /// Its first event.
    pub from: Moment,
    /// Its last event so far.
    pub to: Moment,
}

/// A checkpoint of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointMade {
    /// Which.
    pub id: CheckpointId,
    /// When it was taken: the program went on from here.
    pub taken: Moment,
    /// How long the program was held up.
    pub held_up: Span,
    /// When it became durable, if it has.
    pub durable: Option<Moment>,
}

/// How an attempt came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameOut {
    /// It goes on, or nobody has said how it ended.
    Open,
    /// It committed.
    Committed,
    /// It ended without a commit.
    Ended(Class),
}

/// What happened to one attempt, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptCourse {
    /// The step.
    pub step: StepId,
    /// Its slot.
    pub slot: SlotId,
    /// When it had its slot.
    pub started: Moment,
    /// When its program ran, its state restored.
    pub process: Option<Moment>,
    /// What it restored, and how long laying that out took.
    pub restored: Option<(CheckpointId, Span)>,
    /// Its checkpoints, in order.
    pub checkpoints: Vec<CheckpointMade>,
    /// When a notice came.
    pub notice: Option<Moment>,
    /// When its program was gone, as far as anybody knows.
    pub gone: Option<Moment>,
    /// When it was known how it came out.
    pub ended: Option<Moment>,
    /// How it came out.
    pub came_out: CameOut,
}

/// The course of a run: a fold of its events, each at the same small cost.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    axis: Axis,
    drivers: Vec<Driven>,
    attempts: Vec<AttemptCourse>,
    /// The newest attempt of each step that has one open.
    open: BTreeMap<StepId, usize>,
    ended: Option<RunStatus>,
}

impl Timeline {
    /// Returns the course that these events tell, which must be a run's, in order.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Stamped>) -> Self {
        let mut timeline = Self::default();
        events.into_iter().for_each(|event| _ = timeline.push(event));
        timeline
    }

    /// Returns the drivers, in order.
    pub fn drivers(&self) -> &[Driven] {
        &self.drivers
    }

    /// Returns the attempts, as they started.
    pub fn attempts(&self) -> &[AttemptCourse] {
        &self.attempts
    }

    /// Returns how the run ended; nothing while it goes on, or if its engine is gone.
    pub fn ended(&self) -> Option<RunStatus> {
        self.ended
    }

    /// Takes the next event, and returns where it is.
    pub fn push(&mut self, stamped: &Stamped) -> Moment {
        let dead_since = self.axis.last();
        let now = self.axis.place(stamped);
        match &stamped.event {
            Event::DriverStarted { driver, .. } => {
                self.drivers.push(Driven { driver: *driver, from: now, to: now });
                self.ended = None;
                // Nobody saw more of them than their driver did.
                for at in self.open.values() {
                    self.attempts[*at].gone.get_or_insert(dead_since);
                }
            }
            Event::AttemptStarted { step, slot, .. } => {
                self.open.insert(step.clone(), self.attempts.len());
                self.attempts.push(AttemptCourse {
                    step: step.clone(),
                    slot: *slot,
                    started: now,
                    process: None,
                    restored: None,
                    checkpoints: Vec::new(),
                    notice: None,
                    gone: None,
                    ended: None,
                    came_out: CameOut::Open,
                });
            }
            Event::StateRestored { step, slot, checkpoint, took } => {
                self.change(step, slot, |course| course.restored = Some((*checkpoint, *took)));
            }
            Event::ProcessStarted { step, slot, .. } => self.change(step, slot, |course| course.process = Some(now)),
            Event::CheckpointTaken { step, slot, checkpoint, took, .. } => self.change(step, slot, |course| {
                let (id, held_up) = (*checkpoint, *took);
                course.checkpoints.push(CheckpointMade { id, taken: now, held_up, durable: None });
            }),
            Event::CheckpointDurable { step, slot, checkpoint, .. } => self.change(step, slot, |course| {
                let made = course.checkpoints.iter_mut().rev().find(|made| made.id == *checkpoint);
                made.into_iter().for_each(|made| made.durable = Some(now));
            }),
            Event::NoticeReceived { step, slot, .. } => {
                self.change(step, slot, |course| _ = course.notice.get_or_insert(now));
            }
            Event::AttemptEnded { step, slot, class, compute, .. } => {
                self.end(step, slot, now, CameOut::Ended(*class), *compute);
            }
            Event::StepCommitted { step, slot, compute, .. } => self.end(step, slot, now, CameOut::Committed, *compute),
            Event::RunEnded { status } => self.ended = Some(*status),
            _ => {}
        }
        if let Some(driven) = self.drivers.last_mut() {
            driven.to = now;
        }
        now
    }

    fn change(&mut self, step: &StepId, slot: &SlotId, how: impl FnOnce(&mut AttemptCourse)) {
        if let Some(course) = self.open.get(step).map(|at| &mut self.attempts[*at])
            && course.slot == *slot
        {
            how(course);
        }
    }

    fn end(&mut self, step: &StepId, slot: &SlotId, now: Moment, came_out: CameOut, compute: Span) {
        self.change(step, slot, |course| {
            let ran = course.process.filter(|_| compute > Span::default()).map(|process| process.after(compute));
            // What an attempt says of itself counts, if its own driver still heard it.
            course.gone = course.gone.or(ran.map(|ran| ran.min(now))).or(Some(now));
            course.ended = Some(now);
            course.came_out = came_out;
        });
        if self.open.get(step).is_some_and(|at| self.attempts[*at].ended.is_some()) {
            self.open.remove(step);
        }
    }
}
