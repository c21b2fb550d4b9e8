//! The state of a run: the fold over its events.

use std::sync::Arc;

use prunella_healing::Spent;
use prunella_model::{Digest, PipelineName, RunId, Span, StepId};
use serde::{Deserialize, Serialize};

use crate::agenda::Agenda;
use crate::effects::Effects;
use crate::keys::Keys;
use crate::state::{Around, Artifacts, Stage, StepState, open_state};
use crate::{Event, RunStatus, Stamped, StepIndex, StepSet, StopHow, Topology};

mod ending;
mod expand;
mod follow;
mod gone;
mod keep;
mod view;

/// An event that the state it met cannot accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{event}` cannot happen{} now: {why}", step.as_ref().map(|s| format!(" to `{s}`")).unwrap_or_default())]
pub struct IllegalEvent {
    /// The event's name.
    pub event: &'static str,
    /// The step, if it is about one.
    pub step: Option<StepId>,
    /// What forbids it: the step's or the run's state.
    pub why: &'static str,
}

/// What the fold keeps of one step.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    state: StepState,
    /// Steps that it needs and that are not settled.
    missing: u32,
    /// If it fans out, its items that are not settled.
    unsettled_items: u32,
    /// Those of them that wait behind another step of the same work.
    queued_items: u32,
    /// Steps that it needs, and items of it, that were given up or blocked.
    dead: u32,
    /// Steps that it reads and that were skipped.
    absent: u32,
    /// Attempts that claimed a slot in this run.
    attempts: u32,
    /// Whether it is done or skipped, and what it reads is what it was keyed or decided with.
    settled: bool,
    /// Whether its consumers count it as absent.
    skipped: bool,
    /// Whether something re-produced that it reads has other content than what it was keyed or decided with.
    stale: bool,
    /// Whether nothing is left to do about it: settled, failed or blocked.
    closed: bool,
    /// Whether a command about it is under way; forgotten with its driver, never stored.
    issued: bool,
    spent: Option<Box<Spent>>,
    /// What its consumers were keyed with, while it is being made anew.
    basis: Option<Outcome>,
    /// Whether it is an item that the list has no more.
    dropped: bool,
    /// Whether it was planned anew, and nothing has stood for it since.
    turned: bool,
    /// Whether those that read it count it as gone: planned anew, and then given up or blocked.
    is_gone: bool,
    /// Steps that it reads and that are gone.
    gone: u32,
}

impl Entry {
    fn new(state: StepState, missing: u32) -> Self {
        Self {
            state,
            missing,
            unsettled_items: 0,
            queued_items: 0,
            dead: 0,
            absent: 0,
            attempts: 0,
            settled: false,
            skipped: false,
            stale: false,
            closed: false,
            issued: false,
            spent: None,
            basis: None,
            dropped: false,
            turned: false,
            is_gone: false,
            gone: 0,
        }
    }

    /// Returns whether all that a step that fans out waits for of its items are queued ones.
    fn only_queued(&self) -> bool {
        self.queued_items > 0 && self.queued_items == self.unsettled_items
    }
}

/// What a step that is settled leaves to its consumers.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    /// Its outputs.
    Made(Artifacts),
    /// Nothing: it was skipped.
    Nothing,
}

impl Outcome {
    fn of(state: &StepState) -> Option<Self> {
        match state {
            StepState::Skipped { .. } => Some(Self::Nothing),
            state => state.artifacts().cloned().map(Self::Made),
        }
    }
}

/// The run as a whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Whole {
    run: Option<RunId>,
    pipeline: Option<PipelineName>,
    graph: Option<Digest>,
    driver: u64,
    stopping: Option<StopHow>,
    concluded: Option<RunStatus>,
    /// How often the run's end was known, this time included.
    conclusions: u32,
    ended: Option<RunStatus>,
    clock: Span,
}

/// The state of a run, made by applying its events in order, and the lists of what is to be done next.
///
/// Every event costs the same whatever the size of the graph, plus the consumers of its step; only
/// [`Event::DriverStarted`] looks at every step. Beside what events say it knows which commands are under way
/// ([`RunState::issue`]); that is not stored and begins empty with every driver.
#[derive(Debug, Clone)]
pub struct RunState {
    topology: Arc<Topology>,
    whole: Whole,
    steps: Vec<Entry>,
    counts: [u32; Stage::ALL.len()],
    /// Steps that are neither settled, nor failed, nor blocked.
    open: u32,
    agenda: Agenda,
    keys: Keys,
    pub(crate) effects: Effects,
    running: StepSet,
    /// Those of which no process runs any more; as short-lived as `issued`.
    vacated: StepSet,
    to_interrupt: StepSet,
    conclusion_issued: bool,
    end_issued: bool,
}

impl PartialEq for RunState {
    fn eq(&self, other: &Self) -> bool {
        self.whole == other.whole && self.steps == other.steps && self.agenda == other.agenda && self.keys == other.keys
    }
}

impl RunState {
    /// Returns the state of a run in which nothing has happened.
    pub fn new(topology: Arc<Topology>) -> Self {
        let count = topology.len();
        let entry = |step| {
            // What belongs to the end of the run waits for that.
            let missing = topology.needs(step).len() as u32 + u32::from(topology.handler(step).is_some());
            let mut entry = Entry::new(open_state(missing == 0, topology.is_conditional(step)), missing);
            if let Some(members) = topology.members(step) {
                entry.unsettled_items = members.len() as u32;
                entry.state = StepState::Gathering;
            }
            entry
        };
        let steps: Vec<Entry> = topology.indices().map(entry).collect();
        let mut counts = [0; Stage::ALL.len()];
        for step in topology.indices().filter(|step| topology.handler(*step).is_none()) {
            counts[steps[step.as_usize()].state.stage() as usize] += 1;
        }
        // One lane more for steps whose memory has grown: what they ask for differs from step to step.
        let agenda = Agenda::new(count, topology.lane_count() + 1);
        let mut run = Self {
            whole: Whole::default(),
            steps,
            counts,
            open: (count - topology.handlers().len()) as u32,
            agenda,
            keys: Keys::default(),
            effects: Effects::new(count),
            running: StepSet::new(count),
            vacated: StepSet::new(count),
            to_interrupt: StepSet::new(count),
            conclusion_issued: false,
            end_issued: false,
            topology,
        };
        for step in run.topology.indices() {
            run.refresh(step);
            // One without items is done before anything has happened.
            run.regroup(step);
        }
        run
    }

    /// Returns the state after all these events.
    ///
    /// # Errors
    /// [`IllegalEvent`] for the first that its state cannot accept.
    pub fn fold<'a>(
        topology: Arc<Topology>,
        events: impl IntoIterator<Item = &'a Stamped>,
    ) -> Result<Self, IllegalEvent> {
        let mut run = Self::new(topology);
        events.into_iter().try_for_each(|event| run.apply(event))?;
        Ok(run)
    }

    /// Makes the event part of the state.
    ///
    /// # Errors
    /// [`IllegalEvent`] if the state cannot accept it; the state is then as it was.
    pub fn apply(&mut self, stamped: &Stamped) -> Result<(), IllegalEvent> {
        let Stamped { mono, event, .. } = stamped;
        if let Event::DriverStarted { driver, budgets_reset, retried, .. } = event {
            self.run_accepts(event)?;
            self.start_driver(*driver, *mono, *budgets_reset, retried.as_deref());
            return Ok(());
        }
        match event.step() {
            None => {
                self.run_accepts(event)?;
                self.apply_to_run(event);
            }
            Some(id) if event.is_of_effects() => {
                let step = self.effects_accept(id, event)?;
                self.effects.apply(step, event, *mono);
                if self.whole.concluded != self.outlook() {
                    self.void_conclusion();
                }
            }
            Some(id) => {
                let (step, next) = self.step_accepts(id, *mono, event)?;
                self.apply_to_step(step, next, event);
            }
        }
        self.advance(*mono);
        Ok(())
    }

    /// Says whether the state would accept the event, without changing it.
    ///
    /// A driver asks before it appends the answer to a command that the run may have overtaken meanwhile.
    ///
    /// # Errors
    /// [`IllegalEvent`] if it would not.
    pub fn check(&self, event: &Event) -> Result<(), IllegalEvent> {
        match event.step() {
            None => self.run_accepts(event),
            Some(id) if event.is_of_effects() => self.effects_accept(id, event).map(|_| ()),
            Some(id) => self.step_accepts(id, self.whole.clock, event).map(|_| ()),
        }
    }

    fn run_accepts(&self, event: &Event) -> Result<(), IllegalEvent> {
        let whole = &self.whole;
        let why = match event {
            Event::RunStarted { .. } if whole.run.is_some() => "the run has begun already",
            Event::RunStarted { .. } => return Ok(()),
            _ if whole.run.is_none() => "the run has not begun",
            Event::DriverStarted { driver, .. } if *driver <= whole.driver => {
                "a driver with this or a higher number was"
            }
            Event::DriverStarted { .. } => return Ok(()),
            _ if whole.driver == 0 => "no driver has taken the run",
            _ if whole.ended.is_some() => "the run has ended",
            Event::StopRequested { how } if whole.stopping >= Some(*how) => "the run is stopping like this already",
            Event::RunConcluded { status } if Some(*status) != self.conclusion() => {
                "a step is open, or the run ends otherwise, or its end is known"
            }
            Event::RunEnded { .. } if !self.running.is_empty() => "an attempt is running",
            Event::RunEnded { status: RunStatus::Succeeded | RunStatus::Failed } if !self.handlers_are_closed() => {
                "what belongs to the end has not ended"
            }
            Event::RunEnded { status: RunStatus::Stopped } if whole.stopping.is_none() => "nobody asked it to stop",
            Event::RunEnded { status: RunStatus::Succeeded } if !self.all_settled() => "a step is not done",
            Event::RunEnded { status: RunStatus::Succeeded } if self.any_effects_given_up() => "an effect was given up",
            Event::RunEnded { status: RunStatus::Failed }
                if self.open > 0 || (self.all_settled() && !self.any_effects_given_up()) =>
            {
                "a step is open, or none was given up"
            }
            _ => return Ok(()),
        };
        Err(IllegalEvent { event: event.kind(), step: None, why })
    }

    /// Effects change nothing of a step, but are those of the commit that stands for it.
    fn effects_accept(&self, id: &StepId, event: &Event) -> Result<StepIndex, IllegalEvent> {
        let illegal = |why| IllegalEvent { event: event.kind(), step: Some(id.clone()), why };
        self.run_accepts(event).map_err(|e| illegal(e.why))?;
        let step = self.topology.index(id).ok_or_else(|| illegal("the run has no such step"))?;
        match (self.state(step), event.effects_slot()) {
            (StepState::Done(done), Some(slot)) if done.slot == slot => Ok(step),
            (state, _) => Err(illegal(state.stage().as_str())),
        }
    }

    fn step_accepts(&self, id: &StepId, now: Span, event: &Event) -> Result<(StepIndex, StepState), IllegalEvent> {
        let illegal = |why| IllegalEvent { event: event.kind(), step: Some(id.clone()), why };
        self.run_accepts(event).map_err(|e| illegal(e.why))?;
        let step = self.topology.index(id).ok_or_else(|| illegal("the run has no such step"))?;
        let entry = &self.steps[step.as_usize()];
        let (mut dead, mut absent) = (None, None);
        match event {
            Event::StepBlocked { by, .. } => {
                let by = self.topology.index(by).ok_or_else(|| illegal("the run has no step that it is blocked by"))?;
                // An item may have gone since it was given up; what it blocked stays blocked by it.
                if !matches!(self.state(by), StepState::Failed { .. }) && !self.is_behind(step, by) {
                    return Err(illegal("the step that it is blocked by was not given up"));
                }
                dead = (entry.dead > 0).then_some(by);
            }
            Event::StepSkipped { by, .. } => {
                let by = self.topology.index(by).ok_or_else(|| illegal("the run has no step that it is skipped by"))?;
                if !self.steps[by.as_usize()].skipped || !self.topology.is_read_by(by, step) {
                    return Err(illegal("it does not read the step that it is skipped by, or that was not skipped"));
                }
                absent = Some(by);
            }
            Event::InputDamaged { producer, .. } => {
                let needs = self.topology.needs(step);
                let needed = |producer: StepIndex| {
                    needs.contains(&producer)
                        || self.topology.group_of(producer).is_some_and(|group| needs.contains(&group))
                };
                if !self.topology.index(producer).is_some_and(needed) {
                    return Err(illegal("it does not need that producer"));
                }
            }
            Event::StepExpanded { items, .. } => {
                let mut seen = std::collections::HashSet::with_capacity(items.len());
                if !items.iter().all(|item| seen.insert(item)) {
                    return Err(illegal("an item stands twice"));
                }
            }
            _ => {}
        }
        let around = Around {
            driver: self.whole.driver,
            now,
            bound: entry.missing == 0,
            conditional: self.topology.is_conditional(step),
            taken: match event {
                Event::StepKeyed { key, .. } => self.keys.taken(*key, step),
                _ => entry.state.key().is_some_and(|key| self.keys.taken(key, step)),
            },
            stale: entry.stale || entry.rests_on_nothing() || self.holds_up(step),
            dead,
            leads: self.topology.leads(step),
            absent,
        };
        let next = entry.state.apply(event, &around).ok_or_else(|| illegal(entry.state.stage().as_str()))?;
        Ok((step, next))
    }

    fn apply_to_run(&mut self, event: &Event) {
        match event {
            Event::RunStarted { run, pipeline, graph, .. } => {
                self.whole.run = Some(run.clone());
                self.whole.pipeline = Some(pipeline.clone());
                self.whole.graph = Some(*graph);
            }
            Event::StopRequested { how } => {
                self.whole.stopping = Some(*how);
                self.to_interrupt = self.running.clone();
            }
            // Nothing is decided by it: whoever heard it passed it on.
            Event::HintReceived { .. } => {}
            Event::RunConcluded { status } => self.conclude(*status),
            Event::RunEnded { status } => self.whole.ended = Some(*status),
            _ => unreachable!("events of steps and drivers are applied elsewhere"),
        }
    }

    fn apply_to_step(&mut self, step: StepIndex, next: StepState, event: &Event) {
        let entry = &mut self.steps[step.as_usize()];
        entry.issued = false;
        match event {
            Event::AttemptStarted { .. } => entry.attempts += 1,
            Event::AttemptEnded { spent, .. } => entry.spent = Some(spent.clone()),
            Event::StepRebound { .. } => entry.stale = false,
            _ => {}
        }
        if let Event::StepExpanded { items, .. } = event {
            self.expand(step, items);
            return;
        }
        if let Event::StepRebound { .. } = event {
            self.turn(step);
        }
        // An attempt that was at work when its item went ends as it does, and nobody asks for it.
        let dropped = self.steps[step.as_usize()].dropped;
        let next = if dropped && next.stage() != Stage::Running { StepState::Dropped } else { next };
        self.put(step, next);
        if let Event::InputDamaged { producer, slot, .. } = event {
            let producer = self.topology.index(producer).expect("checked before the event was accepted");
            self.make_anew(producer, *slot);
        }
    }
}
