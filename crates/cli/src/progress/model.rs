//! What the screen knows of a run: a fold of its events and of what attempts tell, each at the same small cost.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use prunella_attempt::{Told, Way};
use prunella_healing::Ending;
use prunella_journal::{
    Event, MetricsFold, RunState, SkippedBy, Stage, Stamped, StepIndex, StepState, StopHow, Topology,
};
use prunella_model::{CheckpointId, Class, RunId, Span, StepId};
use prunella_process::Stream;
use prunella_store::Moved;

use super::{
    text::{line, value},
    transfer::{self, Speed},
};
use crate::present::lasting;

/// Runs with at most this many steps are known step by step; of larger ones only what goes on, failed or ended last.
pub const EVERY_STEP: usize = 100;
/// How many of the steps that ended last are remembered in larger runs.
const RECENT: usize = 5;
/// How many checkpoints are remembered with what the step said when they were taken.
const MARKS: usize = 4;

/// Where a step is, as far as people want to see it.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// An earlier commit stands for it.
    Reused,
    /// An attempt has its slot; its process does not run yet.
    Starting,
    /// Its process runs.
    Running,
    /// The attempt ended and another follows.
    Healing {
        /// When, at the earliest.
        not_before: Span,
    },
    /// The attempt ended because the run stops.
    Stopped,
    /// Another run's attempt at the same work is waited for.
    Held {
        /// That run.
        holder: RunId,
    },
    /// It committed after this time.
    Done {
        /// From its first attempt in this driver.
        took: Span,
    },
    /// It was given up.
    Failed {
        /// The failure that ended it.
        class: Class,
        /// Why.
        why: String,
    },
    /// It is not to run.
    Skipped {
        /// Why.
        why: String,
    },
    /// It needs a step that was given up.
    Blocked {
        /// That step.
        by: StepId,
    },
}

/// One step on the screen.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Where it is.
    pub phase: Phase,
    /// Its newest attempt, as people address it; 0 before the first.
    pub epoch: u64,
    /// How it came to that attempt: `killed at 9.1 s, back at epoch 14 in 0.11 s`.
    pub story: Option<String>,
    /// When its newest checkpoint became durable.
    pub checkpoint: Option<Span>,
    /// When its first attempt in this driver began.
    pub since: Span,
    /// When its process began.
    pub running_since: Span,
    said: Option<String>,
    spoke: Spoke,
    marks: VecDeque<(CheckpointId, String)>,
    restored: Option<CheckpointId>,
    /// What it fetches before its program runs, or sends after it, and how fast.
    moving: Option<(Way, Moved, Speed)>,
}

/// How its last words came; what is further down counts more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Spoke {
    Stderr,
    Stdout,
    Told,
}

impl Shown {
    fn new(phase: Phase, since: Span) -> Self {
        Self {
            phase,
            epoch: 0,
            story: None,
            checkpoint: None,
            since,
            running_since: since,
            said: None,
            spoke: Spoke::Stderr,
            marks: VecDeque::new(),
            restored: None,
            moving: None,
        }
    }

    /// Returns how far its transfer is, as long as something is left to do of it.
    pub fn moving(&self) -> Option<String> {
        let (way, moved, speed) = self.moving.as_ref()?;
        (moved.done < moved.all).then(|| transfer::line(*way, *moved, speed.per_second()))
    }

    /// Returns the last words of its attempt: the progress that it told, else its last line.
    pub fn said(&self) -> Option<&str> {
        self.said.as_deref()
    }

    fn say(&mut self, spoke: Spoke, text: String) {
        if spoke >= self.spoke && !text.is_empty() {
            (self.spoke, self.said) = (spoke, Some(text));
        }
    }
}

/// How many steps are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// All.
    pub steps: u32,
    /// An earlier commit stands for them.
    pub reused: u32,
    /// Done, reused ones included.
    pub done: u32,
    /// They have an attempt.
    pub running: u32,
    /// Not to run.
    pub skipped: u32,
    /// Given up.
    pub failed: u32,
    /// They need one that was given up.
    pub blocked: u32,
}

/// What the screen knows of a run.
#[derive(Debug, Default)]
pub struct Model {
    /// The steps and the order among them, once the run began.
    pub topology: Option<Arc<Topology>>,
    /// How many steps are where.
    pub tally: Tally,
    /// The steps that are known one by one.
    pub shown: BTreeMap<StepIndex, Shown>,
    /// Of steps that fan out, how many items are done and how many there are; nothing before they are known.
    pub groups: BTreeMap<StepIndex, (u32, u32)>,
    /// How the run was asked to stop.
    pub stopping: Option<StopHow>,
    /// Whether it has ended.
    pub ended: bool,
    /// The figures.
    pub figures: MetricsFold,
    recent: VecDeque<StepIndex>,
}

impl Model {
    /// Takes up a run as earlier drivers left it.
    pub fn begin(&mut self, earlier: &[Stamped], state: &RunState) {
        earlier.iter().for_each(|stamped| self.figures.push(stamped));
        let topology = state.topology().clone();
        self.size(state);
        if topology.len() <= EVERY_STEP {
            for step in topology.indices() {
                if let StepState::Done(done) = state.state(step) {
                    let took = Phase::Done { took: Span::default() };
                    let phase = if done.reused { Phase::Reused } else { took };
                    let shown = Shown { epoch: done.slot.epoch.0, ..Shown::new(phase, Span::default()) };
                    self.shown.insert(step, shown);
                }
                if let StepState::Skipped { by } = state.state(step) {
                    let why = match by {
                        SkippedBy::Condition => "its condition does not hold".to_owned(),
                        SkippedBy::Need(need) => format!("it reads {}", topology.id(*need)),
                    };
                    self.shown.insert(step, Shown::new(Phase::Skipped { why }, Span::default()));
                }
            }
        }
        self.tally.reused = self.figures.finish().steps.reused;
        self.topology = Some(topology);
        self.count(state);
    }

    /// Returns whether every step is known by itself.
    pub fn knows_every_step(&self) -> bool {
        self.tally.steps as usize <= EVERY_STEP
    }

    /// Takes the next event; `state` is the run's after it.
    pub fn push(&mut self, stamped: &Stamped, state: &RunState) {
        self.figures.push(stamped);
        let (now, event) = (stamped.mono, &stamped.event);
        if let Event::StepExpanded { .. } = event {
            self.topology = Some(state.topology().clone());
            self.size(state);
        }
        self.count(state);
        match event {
            Event::StopRequested { how } => self.stopping = self.stopping.max(Some(*how)),
            Event::RunEnded { .. } => self.ended = true,
            _ => {}
        }
        let (Some(id), Some(topology)) = (event.step(), &self.topology) else { return };
        let Some(step) = topology.index(id) else { return };
        if let Some(group) = topology.group_of(step) {
            self.groups.insert(group, state.items_done(group));
        }
        match event {
            Event::StepReused { slot, .. } => {
                self.tally.reused += 1;
                if self.knows_every_step() || self.shown.contains_key(&step) {
                    self.show(step, Phase::Reused, now).epoch = slot.epoch.0;
                    self.ended(step);
                }
            }
            Event::StepWaiting { holder, .. } => _ = self.show(step, Phase::Held { holder: holder.clone() }, now),
            Event::AttemptStarted { slot, .. } => {
                let shown = self.show(step, Phase::Starting, now);
                shown.epoch = slot.epoch.0;
                (shown.said, shown.spoke, shown.checkpoint, shown.restored) = (None, Spoke::Stderr, None, None);
                shown.moving = None;
            }
            Event::StateRestored { checkpoint, .. } => {
                self.shown.entry(step).and_modify(|shown| shown.restored = Some(*checkpoint));
            }
            Event::ProcessStarted { .. } => self.run(step, id, now),
            Event::CheckpointTaken { checkpoint, .. } => {
                if let Some(shown) = self.shown.get_mut(&step)
                    && let Some(said) = shown.said.clone()
                {
                    shown.marks.push_back((*checkpoint, said));
                    if shown.marks.len() > MARKS {
                        shown.marks.pop_front();
                    }
                }
            }
            Event::CheckpointDurable { .. } => {
                self.shown.entry(step).and_modify(|shown| shown.checkpoint = Some(now));
            }
            Event::AttemptEnded { class, evidence, .. } => {
                // What this driver did not start died with the one that did.
                let orphan = evidence.ended == Ending::SupervisorDied && !self.shown.contains_key(&step);
                let stops = *class == Class::Stopped && self.stopping.is_some();
                let phase = if stops { Phase::Stopped } else { Phase::Healing { not_before: now } };
                let shown = self.show(step, phase, now);
                shown.story = Some(match orphan {
                    true => "its engine died".to_owned(),
                    false => format!("{} at {}", word(*class), lasting(now.as_millis())),
                });
            }
            Event::StepHealing { next, .. } => {
                let not_before = Span::from_millis(now.as_millis().saturating_add(next.delay.as_millis()));
                self.show(step, Phase::Healing { not_before }, now);
            }
            Event::StepCommitted { .. } => {
                let since = self.shown.get(&step).map_or(now, |shown| shown.since);
                let took = Span::from_millis(now.as_millis().saturating_sub(since.as_millis()));
                self.show(step, Phase::Done { took }, now);
                self.ended(step);
            }
            Event::StepFailed { class, why, .. } => {
                self.show(step, Phase::Failed { class: *class, why: why.clone() }, now);
            }
            Event::StepBlocked { by, .. } if self.knows_every_step() => {
                self.show(step, Phase::Blocked { by: by.clone() }, now);
            }
            Event::StepDecided { run: false, saw, .. } if self.knows_every_step() => {
                let why = match saw.last() {
                    Some(last) => format!("{} is {}", last.what, last.value),
                    None => "its condition does not hold".to_owned(),
                };
                self.show(step, Phase::Skipped { why }, now);
            }
            Event::StepSkipped { by, .. } if self.knows_every_step() => {
                self.show(step, Phase::Skipped { why: format!("it reads {by}") }, now);
            }
            // It is to be made anew: it waits like any other.
            Event::StepRebound { .. } | Event::CommitDamaged { .. } => _ = self.shown.remove(&step),
            Event::InputDamaged { producer, .. } => {
                if let Some(producer) = topology.index(producer) {
                    self.shown.remove(&producer);
                }
            }
            _ => {}
        }
    }

    /// Takes what an attempt told.
    pub fn tell(&mut self, step: StepIndex, told: &Told) {
        let Some(shown) = self.shown.get_mut(&step) else { return };
        match told {
            Told::Line { stream: Stream::Stdout, text } => shown.say(Spoke::Stdout, line(text)),
            Told::Line { stream: Stream::Stderr, text } => shown.say(Spoke::Stderr, line(text)),
            Told::Progress { value: told } => shown.say(Spoke::Told, value(told)),
            _ => {}
        }
    }

    /// Takes how far the transfer of a step's attempt is, at this time of the machine's clock.
    pub fn moves(&mut self, step: StepIndex, now: Duration, way: Way, moved: Moved) {
        let Some(shown) = self.shown.get_mut(&step) else { return };
        let mut speed = match shown.moving.take() {
            Some((same, _, speed)) if same == way => speed,
            _ => Speed::default(),
        };
        speed.see(now, moved.done);
        shown.moving = Some((way, moved, speed));
    }

    /// Counts the steps: each item of one that fans out, and one for those whose items nobody knows yet.
    fn size(&mut self, state: &RunState) {
        let topology = state.topology();
        let (mut groups, mut unknown) = (0, 0);
        for group in topology.groups() {
            groups += 1;
            match topology.members(group) {
                Some(_) => _ = self.groups.insert(group, state.items_done(group)),
                None => unknown += 1,
            }
        }
        let all = u32::try_from(topology.len() - topology.handlers().len()).unwrap_or(u32::MAX);
        self.tally.steps = (all - groups + unknown).saturating_sub(state.count(Stage::Dropped));
    }

    fn count(&mut self, state: &RunState) {
        self.tally.done = state.count(Stage::Done);
        self.tally.running = state.count(Stage::Running);
        self.tally.skipped = state.count(Stage::Skipped);
        self.tally.failed = state.count(Stage::Failed);
        self.tally.blocked = state.count(Stage::Blocked);
    }

    fn show(&mut self, step: StepIndex, phase: Phase, now: Span) -> &mut Shown {
        let shown = self.shown.entry(step).or_insert_with(|| Shown::new(Phase::Starting, now));
        shown.phase = phase;
        shown
    }

    fn run(&mut self, step: StepIndex, id: &StepId, now: Span) {
        let recovered = self.figures.recovered(id).and_then(|interruption| interruption.recovery);
        let shown = self.show(step, Phase::Running, now);
        (shown.running_since, shown.moving) = (now, None);
        let (Some(recovery), Some(story)) = (recovered, shown.story.take()) else { return };
        let place = match shown.restored {
            None => "from the beginning".to_owned(),
            Some(checkpoint) => match shown.marks.iter().find(|(id, _)| *id == checkpoint) {
                Some((_, said)) => format!("at {said}"),
                None => format!("at checkpoint {checkpoint}"),
            },
        };
        shown.story = Some(format!("{story}, back {place} in {}", lasting(recovery.total().as_millis())));
    }

    /// A step is done: of a large run it is soon forgotten.
    fn ended(&mut self, step: StepIndex) {
        if self.knows_every_step() {
            return;
        }
        self.recent.push_back(step);
        if self.recent.len() > RECENT
            && let Some(oldest) = self.recent.pop_front()
            && self.shown.get(&oldest).is_some_and(|shown| matches!(shown.phase, Phase::Done { .. } | Phase::Reused))
        {
            self.shown.remove(&oldest);
        }
    }
}

/// Returns what a class did to an attempt, in a word or two.
pub fn word(class: Class) -> &'static str {
    match class {
        Class::OutOfMemory => "out of memory",
        Class::GpuMemory => "out of accelerator memory",
        Class::GpuFault => "accelerator failed",
        Class::NoProgress => "no progress",
        Class::Timeout => "timed out",
        Class::Error => "failed",
        Class::Validation => "output rejected",
        Class::InputDamaged => "input damaged",
        Class::CheckpointDamaged => "checkpoint damaged",
        Class::CheckpointRejected => "checkpoint rejected",
        Class::Storage => "storage failed",
        other => other.as_str(),
    }
}
