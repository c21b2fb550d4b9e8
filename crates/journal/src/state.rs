//! The state of one step, and which events it accepts.

use std::collections::BTreeMap;

use prunella_healing::Evidence;
use prunella_model::{Artifact, CheckpointId, Class, PortName, RunId, SlotId, Span, StepKey, WriterId};
use serde::{Deserialize, Serialize};

use crate::{Event, Next, NextTry, StepIndex};

/// Outputs by name, in the order of their names.
pub type Artifacts = Box<[(PortName, Artifact)]>;

/// What is known of an attempt that has its slot and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its slot.
    pub slot: SlotId,
    /// The writer of its records.
    pub writer: WriterId,
    /// What it was started with.
    pub next: NextTry,
    /// When it started, on the clock of the driver that started it.
    pub since: Span,
    /// The driver that started it.
    pub driver: u64,
    /// The process of its program, once it runs.
    pub pid: Option<u32>,
    /// The checkpoint that it goes on from.
    pub restored: Option<CheckpointId>,
    /// The newest checkpoint that it took.
    pub taken: Option<CheckpointId>,
    /// The newest of its checkpoints that is durable.
    pub durable: Option<CheckpointId>,
    /// Whether a notice came.
    pub notice: bool,
}

/// An attempt that ended without a commit; what is done about it is not decided yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Its slot, closed.
    pub slot: SlotId,
    /// What the failure is.
    pub class: Class,
    /// What was seen.
    pub evidence: Evidence,
    /// What it was started with.
    pub next: NextTry,
    /// When it started, on the clock of the driver that started it.
    pub since: Span,
    /// The driver that started it.
    pub driver: u64,
}

/// A commit that stands for a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The slot.
    pub slot: SlotId,
    /// Whether it was there before: no attempt of this run made it.
    pub reused: bool,
    /// When that became known, on the clock of the driver that learnt it.
    pub at: Span,
    /// The driver that learnt it.
    pub driver: u64,
    /// The outputs.
    pub artifacts: Artifacts,
}

/// Why nothing is made for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SkippedBy {
    /// Its condition does not hold.
    Condition,
    /// A step whose output it reads was skipped.
    Need(StepIndex),
}

/// Where a step is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StepState {
    /// A step that it needs is not done.
    Waiting,
    /// All that it needs is settled: its condition can be answered.
    Undecided,
    /// All that it needs is settled: its key can be computed.
    Bindable,
    /// Its key is known; whether a commit exists is not.
    Keyed {
        /// The key.
        key: StepKey,
    },
    /// Another step of this run does the same work, and goes first.
    Queued {
        /// The key of both.
        key: StepKey,
    },
    /// There is no commit: an attempt may start.
    Ready {
        /// The key.
        key: StepKey,
        /// The conditions of the attempt.
        next: Next,
        /// The driver's time before which it may not start.
        not_before: Span,
    },
    /// The live attempt of another run holds the key.
    Held {
        /// The slot that is waited for.
        slot: SlotId,
        /// The run that holds it.
        holder: RunId,
    },
    /// An attempt has its slot.
    Running(Box<Running>),
    /// The attempt ended without a commit.
    Ended(Box<Ended>),
    /// A commit stands for it.
    Done(Box<Done>),
    /// It fans out, and its items are at work.
    Gathering,
    /// It fans out, and all its items are done.
    Gathered {
        /// The outputs of all items together.
        artifacts: Artifacts,
    },
    /// It is an item that the list has no more.
    Dropped,
    /// It is not to run; nothing is made for it, and the run goes on without.
    Skipped {
        /// Why.
        by: SkippedBy,
    },
    /// It was given up.
    Failed {
        /// The failure that ended it.
        class: Class,
        /// Why, for people.
        why: Box<str>,
    },
    /// A step that it needs was given up.
    Blocked {
        /// That step.
        by: StepIndex,
    },
}

/// The names of the states, without what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "documented at StepState")]
pub enum Stage {
    Waiting,
    Undecided,
    Bindable,
    Keyed,
    Queued,
    Ready,
    Held,
    Running,
    Ended,
    Done,
    Skipped,
    Failed,
    Blocked,
    Gathering,
    Gathered,
    Dropped,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 16] = [
        Self::Waiting,
        Self::Undecided,
        Self::Bindable,
        Self::Keyed,
        Self::Queued,
        Self::Ready,
        Self::Held,
        Self::Running,
        Self::Ended,
        Self::Done,
        Self::Skipped,
        Self::Failed,
        Self::Blocked,
        Self::Gathering,
        Self::Gathered,
        Self::Dropped,
    ];

    /// Returns its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Undecided => "undecided",
            Self::Bindable => "bindable",
            Self::Keyed => "keyed",
            Self::Queued => "queued",
            Self::Ready => "ready",
            Self::Held => "held",
            Self::Running => "running",
            Self::Ended => "ended",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::Gathering => "gathering",
            Self::Gathered => "gathered",
            Self::Dropped => "dropped",
        }
    }
}

/// What a step's state has to know of the run around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Around {
    /// The driver's number.
    pub driver: u64,
    /// The driver's time.
    pub now: Span,
    /// Whether everything that the step needs is settled.
    pub bound: bool,
    /// Whether a condition says if the step runs.
    pub conditional: bool,
    /// Whether another step of the run is at work on the same key.
    pub taken: bool,
    /// Whether an input has other content than the one it was keyed with, or will have none in its place.
    pub stale: bool,
    /// The step that was given up, if the step needs it.
    pub dead: Option<StepIndex>,
    /// Whether it fans out over a list of its own.
    pub leads: bool,
    /// The step that was skipped, if the step reads it.
    pub absent: Option<StepIndex>,
}

impl Around {
    /// Returns the state of a step of which nothing is decided yet.
    pub(crate) const fn open(&self) -> StepState {
        open_state(self.bound, self.conditional)
    }
}

/// Returns the state of a step of which nothing is decided yet.
pub(crate) const fn open_state(bound: bool, conditional: bool) -> StepState {
    match (bound, conditional) {
        (false, _) => StepState::Waiting,
        (true, true) => StepState::Undecided,
        (true, false) => StepState::Bindable,
    }
}

impl StepState {
    /// Returns its name.
    pub const fn stage(&self) -> Stage {
        match self {
            Self::Waiting => Stage::Waiting,
            Self::Undecided => Stage::Undecided,
            Self::Bindable => Stage::Bindable,
            Self::Keyed { .. } => Stage::Keyed,
            Self::Queued { .. } => Stage::Queued,
            Self::Ready { .. } => Stage::Ready,
            Self::Held { .. } => Stage::Held,
            Self::Running(_) => Stage::Running,
            Self::Ended(_) => Stage::Ended,
            Self::Done(_) => Stage::Done,
            Self::Gathering => Stage::Gathering,
            Self::Gathered { .. } => Stage::Gathered,
            Self::Dropped => Stage::Dropped,
            Self::Skipped { .. } => Stage::Skipped,
            Self::Failed { .. } => Stage::Failed,
            Self::Blocked { .. } => Stage::Blocked,
        }
    }

    /// Returns the key that the step is bound to, if it is.
    pub fn key(&self) -> Option<StepKey> {
        match self {
            Self::Keyed { key } | Self::Queued { key } | Self::Ready { key, .. } => Some(*key),
            Self::Held { slot, .. } => Some(slot.key),
            Self::Running(running) => Some(running.slot.key),
            Self::Ended(ended) => Some(ended.slot.key),
            Self::Done(done) => Some(done.slot.key),
            Self::Waiting
            | Self::Undecided
            | Self::Bindable
            | Self::Skipped { .. }
            | Self::Failed { .. }
            | Self::Blocked { .. }
            | Self::Gathering
            | Self::Gathered { .. }
            | Self::Dropped => None,
        }
    }

    /// Returns the outputs, if it is done.
    pub fn artifacts(&self) -> Option<&Artifacts> {
        match self {
            Self::Done(done) => Some(&done.artifacts),
            Self::Gathered { artifacts } => Some(artifacts),
            _ => None,
        }
    }

    /// Returns whether it rests on the content of what it needs: it has a key, or items.
    pub(crate) fn is_bound(&self) -> bool {
        self.key().is_some() || matches!(self, Self::Gathering | Self::Gathered { .. })
    }

    /// Returns the state after `event`, or nothing if this state cannot accept it; never the same by way of ignoring.
    ///
    /// Pure. Everything that an event needs of the rest of the run is in `around`.
    pub fn apply(&self, event: &Event, around: &Around) -> Option<Self> {
        use {Event as E, StepState as S};
        let next = match (self, event) {
            (S::Bindable, E::StepExpanded { .. }) if around.leads => S::Gathering,
            (S::Bindable, E::StepKeyed { .. }) if around.leads => return None,
            // What is lost is the list itself; it stays to be read.
            (S::Bindable, E::InputDamaged { .. }) if around.leads => S::Bindable,
            (S::Undecided, E::StepDecided { run: true, .. }) => S::Bindable,
            (S::Undecided, E::StepDecided { run: false, .. }) => S::Skipped { by: SkippedBy::Condition },
            (S::Undecided | S::Bindable, E::StepSkipped { .. }) => S::Skipped { by: SkippedBy::Need(around.absent?) },
            // What its condition reads is made anew; it waits for that as soon as its producer is put back.
            (S::Undecided, E::InputDamaged { .. }) => S::Undecided,

            (S::Bindable, E::StepKeyed { key, .. }) if around.taken => S::Queued { key: *key },
            (S::Bindable, E::StepKeyed { key, .. }) => S::Keyed { key: *key },

            (S::Keyed { key }, E::StepMissed { .. }) if around.taken => S::Queued { key: *key },
            (S::Keyed { key }, E::StepMissed { .. }) => ready(*key, NextTry::default(), around),
            (S::Held { slot, .. }, E::StepMissed { .. }) => ready(slot.key, NextTry::default(), around),

            (S::Keyed { key } | S::Ready { key, .. }, E::StepReused { slot, artifacts, .. }) if slot.key == *key => {
                done(*slot, true, artifacts, around)
            }
            (S::Held { slot: held, .. }, E::StepReused { slot, artifacts, .. }) if slot.key == held.key => {
                done(*slot, true, artifacts, around)
            }

            (S::Keyed { key }, E::StepWaiting { slot, .. }) if slot.key == *key && around.taken => {
                S::Queued { key: *key }
            }
            (S::Keyed { key } | S::Ready { key, .. }, E::StepWaiting { slot, holder, .. }) if slot.key == *key => {
                S::Held { slot: *slot, holder: holder.clone() }
            }
            (S::Held { slot: held, .. }, E::StepWaiting { slot, holder, .. }) if slot.key == held.key => {
                S::Held { slot: *slot, holder: holder.clone() }
            }

            (S::Ready { key, next, .. }, E::AttemptStarted { slot, writer, .. }) if slot.key == *key => {
                S::Running(Box::new(Running {
                    slot: *slot,
                    writer: writer.clone(),
                    next: **next,
                    since: around.now,
                    driver: around.driver,
                    pid: None,
                    restored: None,
                    taken: None,
                    durable: None,
                    notice: false,
                }))
            }
            // Before a slot was claimed: no attempt, hence no class of one, but a wait all the same.
            (S::Ready { key, .. }, E::StepHealing { next, .. }) => ready(*key, *next, around),

            (S::Running(running), event) => return running.apply(event, around),

            (S::Ended(ended), E::StepHealing { next, .. }) => ready(ended.slot.key, *next, around),
            (S::Ended(ended), E::InputDamaged { .. }) => {
                let again = NextTry { delay: Span::default(), ..ended.next };
                ready(ended.slot.key, again, around)
            }

            // Back to the guard: another run may have made it anew already.
            (S::Done(done), E::CommitDamaged { slot, .. }) if *slot == done.slot && around.taken => {
                S::Queued { key: slot.key }
            }
            (S::Done(done), E::CommitDamaged { slot, .. }) if *slot == done.slot => S::Keyed { key: slot.key },

            (
                S::Undecided | S::Bindable | S::Keyed { .. } | S::Ready { .. } | S::Held { .. } | S::Ended(_),
                E::StepFailed { class, why, .. },
            ) => S::Failed { class: *class, why: why.as_str().into() },

            (
                S::Keyed { .. }
                | S::Queued { .. }
                | S::Ready { .. }
                | S::Held { .. }
                | S::Ended(_)
                | S::Done(_)
                | S::Skipped { .. }
                | S::Gathering
                | S::Gathered { .. },
                E::StepRebound { .. },
            ) if around.stale => around.open(),

            (
                S::Waiting
                | S::Keyed { .. }
                | S::Queued { .. }
                | S::Ready { .. }
                | S::Held { .. }
                | S::Ended(_)
                | S::Gathering,
                E::StepBlocked { .. },
            ) => S::Blocked { by: around.dead? },
            _ => return None,
        };
        Some(next)
    }
}

impl Running {
    fn apply(&self, event: &Event, around: &Around) -> Option<StepState> {
        use Event as E;
        let mut next = self.clone();
        match event {
            E::CheckpointSkipped { slot, .. }
            | E::SnapshotSkipped { slot, .. }
            | E::CheckpointIntervalChosen { slot, .. }
                if *slot == self.slot => {}
            E::StateRestored { slot, checkpoint, .. } if *slot == self.slot => next.restored = Some(*checkpoint),
            E::ProcessStarted { slot, pid, .. } if *slot == self.slot => next.pid = Some(*pid),
            E::CheckpointTaken { slot, checkpoint, .. } if *slot == self.slot && checkpoint.slot == self.slot => {
                next.taken = next.taken.max(Some(*checkpoint));
            }
            E::CheckpointDurable { slot, checkpoint, .. } if *slot == self.slot && checkpoint.slot == self.slot => {
                next.durable = next.durable.max(Some(*checkpoint));
            }
            E::NoticeReceived { slot, .. } if *slot == self.slot => next.notice = true,
            E::AttemptEnded { slot, class, evidence, .. } if *slot == self.slot => {
                return Some(StepState::Ended(Box::new(Ended {
                    slot: *slot,
                    class: *class,
                    evidence: (**evidence).clone(),
                    next: self.next,
                    since: self.since,
                    driver: self.driver,
                })));
            }
            E::StepCommitted { slot, artifacts, .. } if *slot == self.slot => {
                return Some(done(*slot, false, artifacts, around));
            }
            _ => return None,
        }
        Some(StepState::Running(Box::new(next)))
    }
}

fn ready(key: StepKey, next: NextTry, around: &Around) -> StepState {
    let not_before = Span::from_millis(around.now.as_millis().saturating_add(next.delay.as_millis()));
    StepState::Ready { key, next: next.into(), not_before }
}

fn done(slot: SlotId, reused: bool, artifacts: &BTreeMap<PortName, Artifact>, around: &Around) -> StepState {
    let artifacts = artifacts.iter().map(|(name, artifact)| (name.clone(), *artifact)).collect();
    StepState::Done(Box::new(Done { slot, reused, at: around.now, driver: around.driver, artifacts }))
}
