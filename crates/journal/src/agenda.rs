//! What is to be done about each step, kept up to date event by event, so that nobody ever looks through all steps.

use std::collections::BTreeSet;

use prunella_model::Span;

use crate::{StepIndex, StepSet};

/// What is to be done about a step next; a step is on one list at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Todo {
    /// Its condition can be answered.
    Decide,
    /// It is to be told that what it reads was skipped.
    Skip,
    /// Its key can be computed.
    Bind,
    /// The list that it fans out over can be read.
    Expand,
    /// A commit of its key is to be looked for.
    Guard,
    /// An attempt may start, if there is room in its lane.
    Start(u16),
    /// Another run's attempt is to be watched.
    Watch,
    /// It is to be decided what follows a failure.
    Heal,
    /// It is to be planned anew.
    Rebind,
    /// It is to be told that what it needs was given up.
    Block,
    /// An attempt may start, but not before this time.
    Wait(Span),
    /// An attempt is being started: asked for, not reported yet.
    Starting,
}

const LISTS: usize = 10;

/// The lists of [`Todo`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Agenda {
    of: Vec<Option<Todo>>,
    lists: [StepSet; LISTS],
    lanes: Vec<StepSet>,
    timers: BTreeSet<(Span, StepIndex)>,
}

impl Agenda {
    pub(crate) fn new(steps: usize, lanes: usize) -> Self {
        Self {
            of: vec![None; steps],
            lists: std::array::from_fn(|_| StepSet::new(steps)),
            lanes: (0..lanes).map(|_| StepSet::new(steps)).collect(),
            timers: BTreeSet::new(),
        }
    }

    /// Makes room for steps that were added.
    pub(crate) fn grow(&mut self, steps: usize) {
        self.of.resize(steps, None);
        self.lists.iter_mut().chain(&mut self.lanes).for_each(|list| list.grow(steps));
    }

    /// Moves a step to the list where it belongs now.
    pub(crate) fn set(&mut self, step: StepIndex, todo: Option<Todo>) {
        let old = std::mem::replace(&mut self.of[step.as_usize()], todo);
        if old == todo {
            return;
        }
        match old {
            None => {}
            Some(Todo::Wait(at)) => {
                self.timers.remove(&(at, step));
            }
            Some(old) => {
                self.list_mut(old).remove(step);
            }
        }
        match todo {
            None => {}
            Some(Todo::Wait(at)) => {
                self.timers.insert((at, step));
            }
            Some(new) => {
                self.list_mut(new).insert(step);
            }
        }
    }

    /// Returns the step's place; nothing if there is nothing to do about it.
    pub(crate) fn of(&self, step: StepIndex) -> Option<Todo> {
        self.of[step.as_usize()]
    }

    /// Returns the steps on a list; a `Wait` has none, see [`Agenda::first_timer`].
    pub(crate) fn list(&self, todo: Todo) -> &StepSet {
        match todo {
            Todo::Start(lane) => &self.lanes[usize::from(lane)],
            other => &self.lists[place(other)],
        }
    }

    fn list_mut(&mut self, todo: Todo) -> &mut StepSet {
        match todo {
            Todo::Start(lane) => &mut self.lanes[usize::from(lane)],
            other => &mut self.lists[place(other)],
        }
    }

    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn first_timer(&self) -> Option<(Span, StepIndex)> {
        self.timers.first().copied()
    }
}

fn place(todo: Todo) -> usize {
    match todo {
        Todo::Bind => 0,
        Todo::Guard => 1,
        Todo::Watch => 2,
        Todo::Heal => 3,
        Todo::Rebind => 4,
        Todo::Block => 5,
        Todo::Starting => 6,
        Todo::Decide => 7,
        Todo::Skip => 8,
        Todo::Expand => 9,
        Todo::Start(_) | Todo::Wait(_) => unreachable!("these have lists of their own"),
    }
}
