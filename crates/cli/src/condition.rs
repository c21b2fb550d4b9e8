//! How a run is: what its journal says, and whether an engine still drives it.

use std::collections::BTreeMap;

use prunella_engine::Plan;
use prunella_journal::{Event, RunState, RunStatus, Stage, Stamped, StepIndex, StepState, last_event};
use prunella_model::{RunId, SlotId, StepId};
use prunella_store::{BindingKeys, Store, StoreError, records::DriverRecord};
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::{error::CliError, present::Tone};

/// How a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// An engine drives it.
    Running,
    /// Its engine is gone; it can go on.
    Interrupted,
    /// It was stopped and can go on.
    Stopped,
    /// Every step is done.
    Succeeded,
    /// A step was given up.
    Failed,
}

impl Condition {
    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Stopped => "stopped",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// Returns the exit code that `prunella run` has for it; a run that goes on is not finished, as an interrupted one.
    pub fn code(self, state: &RunState) -> u8 {
        match self {
            Self::Succeeded => code_of(RunStatus::Succeeded, state),
            Self::Failed => code_of(RunStatus::Failed, state),
            Self::Running | Self::Interrupted | Self::Stopped => code_of(RunStatus::Stopped, state),
        }
    }
}

/// Returns the exit code of a run that ended so.
pub fn code_of(status: RunStatus, state: &RunState) -> u8 {
    match status {
        RunStatus::Succeeded => 0,
        // Every step is done: what could not be done is outside, and trying again alone is useless.
        RunStatus::Failed if state.all_settled() => 78,
        RunStatus::Failed => 1,
        RunStatus::Stopped => 75,
    }
}

/// The engine that drives a run, or did so last.
#[derive(Debug, Clone)]
pub struct Driver {
    /// Its number.
    pub number: u64,
    /// Its record.
    pub record: DriverRecord,
    /// Whether it lives; nothing if that cannot be known from this machine.
    pub alive: Option<bool>,
}

/// Returns the newest driver of a run, and how the run is.
///
/// # Errors
/// [`CliError`] if the store did not answer.
pub async fn of(store: &Store, run: &RunId, ended: Option<RunStatus>) -> Result<(Option<Driver>, Condition), CliError> {
    let driver = store.driver_of(run).await?.map(|(number, record, alive)| Driver { number, record, alive });
    let condition = match ended {
        Some(RunStatus::Succeeded) => Condition::Succeeded,
        Some(RunStatus::Failed) => Condition::Failed,
        Some(RunStatus::Stopped) => Condition::Stopped,
        None => match driver.as_ref().map(|driver| driver.alive) {
            Some(Some(true) | None) => Condition::Running,
            Some(Some(false)) | None => Condition::Interrupted,
        },
    };
    Ok((driver, condition))
}

/// Returns the newest driver of a run, and how the run is, without reading its whole journal.
///
/// # Errors
/// [`CliError`] if the store did not answer.
pub async fn now(store: &Store, run: &RunId) -> Result<(Option<Driver>, Condition), CliError> {
    let ended = match last_event(&**store.objects(), run).await? {
        Some(Stamped { event: Event::RunEnded { status }, .. }) => Some(status),
        _ => None,
    };
    of(store, run, ended).await
}

/// The commits that the steps of a run are bound to.
pub type Bound = BTreeMap<StepId, (u64, SlotId)>;

/// The commits of a run, being looked for beside other work: there may be a hundred thousand.
pub struct Binding(Option<JoinHandle<Result<BindingKeys, StoreError>>>);

impl Binding {
    /// Begins to look for them, unless the run has succeeded: then its journal says all.
    ///
    /// # Errors
    /// [`CliError`] if the journal cannot be read.
    pub async fn begin(store: &Store, run: &RunId) -> Result<Self, CliError> {
        let last = last_event(&**store.objects(), run).await?;
        if let Some(Stamped { event: Event::RunEnded { status: RunStatus::Succeeded }, .. }) = last {
            return Ok(Self(None));
        }
        let (store, run) = (store.clone(), run.clone());
        let here = tokio::runtime::Handle::current();
        Ok(Self(Some(tokio::task::spawn_blocking(move || here.block_on(store.binding_keys(&run))))))
    }

    /// Returns the commits that may stand for a step although the journal does not say so: those of steps that are open.
    ///
    /// # Errors
    /// [`CliError`] if the store did not answer.
    pub async fn of_open_steps(self, store: &Store, run: &RunId, state: &RunState) -> Result<Bound, CliError> {
        let topology = state.topology();
        let open = |step: &StepIndex| state.done(*step).is_none() && !topology.is_group(*step);
        let open: Vec<&StepId> = topology.indices().filter(open).map(|step| topology.id(step)).collect();
        if open.is_empty() {
            return Ok(Bound::new());
        }
        let keys = match self.0 {
            Some(listing) => listing.await.expect("listing keys does not panic")?,
            // What was not to run although the run has succeeded: hardly anything.
            None => store.binding_keys_of(run, &open).await?,
        };
        Ok(store.bindings_at(run, &open, &keys).await?)
    }
}

/// Returns the commit that stands for a step although the journal does not say so: what `exec` made, or what a killed
/// engine had no time to tell.
pub fn untold(bound: &Bound, plan: &Plan, state: &RunState, step: StepIndex) -> Option<SlotId> {
    let (_, slot) = bound.get(plan.id(step)).filter(|_| state.done(step).is_none())?;
    // A step that is being made anew is bound to what was damaged.
    (!matches!(state.state(step), StepState::Running(_) | StepState::Ended(_))).then_some(*slot)
}

/// How a step of a run is, for people and programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepCondition {
    /// A step that it needs is not done.
    Waiting,
    /// It may start.
    Ready,
    /// Another run's attempt makes the same; it is waited for.
    Held,
    /// An attempt is running.
    Running,
    /// An attempt was running when the engine went away.
    Interrupted,
    /// An attempt failed and another follows.
    Healing,
    /// This run made it.
    Done,
    /// An earlier commit stands for it.
    Reused,
    /// It is not to run: its condition does not hold, or a step that it reads was skipped.
    Skipped,
    /// It was given up.
    Failed,
    /// A step that it needs was given up.
    Blocked,
    /// An item that the list has no more.
    Dropped,
}

impl StepCondition {
    /// Returns the condition of a step in a run.
    pub fn of(state: &RunState, step: StepIndex, run: Condition) -> Self {
        let goes_on = run == Condition::Running;
        match state.state(step).stage() {
            Stage::Waiting => Self::Waiting,
            Stage::Undecided | Stage::Bindable | Stage::Keyed | Stage::Queued => Self::Ready,
            Stage::Ready if state.spent(step).is_some() => Self::Healing,
            Stage::Ready => Self::Ready,
            Stage::Held => Self::Held,
            Stage::Running if goes_on => Self::Running,
            Stage::Running => Self::Interrupted,
            Stage::Ended if goes_on => Self::Healing,
            Stage::Ended => Self::Interrupted,
            Stage::Done => match state.state(step) {
                StepState::Done(done) if done.reused => Self::Reused,
                _ => Self::Done,
            },
            Stage::Skipped => Self::Skipped,
            Stage::Failed => Self::Failed,
            Stage::Blocked => Self::Blocked,
            Stage::Gathering => Self::of_group(state, step, run),
            Stage::Gathered => Self::Done,
            Stage::Dropped => Self::Dropped,
        }
    }

    /// Returns the condition of a step that fans out and is not done: what its items are at.
    fn of_group(state: &RunState, step: StepIndex, run: Condition) -> Self {
        let members = state.topology().members(step).unwrap_or_default();
        let mut all = Self::Waiting;
        for is in members.iter().map(|member| Self::of(state, *member, run)) {
            match is {
                Self::Running | Self::Healing | Self::Interrupted => return is,
                Self::Waiting | Self::Dropped | Self::Blocked | Self::Skipped => {}
                // Some are done and others are not: it is on its way.
                Self::Done | Self::Reused | Self::Ready | Self::Held | Self::Failed => all = Self::Ready,
            }
        }
        all
    }

    /// Returns the condition of every step in a run, by its index.
    ///
    /// # Errors
    /// [`CliError`] if the store did not answer.
    pub async fn of_all(
        store: &Store,
        run: &RunId,
        plan: &Plan,
        state: &RunState,
        condition: Condition,
    ) -> Result<Vec<Self>, CliError> {
        let bound = Binding::begin(store, run).await?.of_open_steps(store, run, state).await?;
        Ok(plan.indices().map(|step| Self::with(&bound, plan, state, step, condition)).collect())
    }

    /// Returns the condition of a step in a run, of which these commits are known beside the journal.
    pub fn with(bound: &Bound, plan: &Plan, state: &RunState, step: StepIndex, run: Condition) -> Self {
        match untold(bound, plan, state, step) {
            Some(_) => Self::Done,
            None => Self::of(state, step, run),
        }
    }

    /// Returns the sign that stands for it, and the tone of it.
    pub const fn mark(self) -> (Tone, char) {
        match self {
            Self::Done | Self::Reused => (Tone::Good, '✓'),
            Self::Running | Self::Healing => (Tone::Busy, '↻'),
            Self::Interrupted => (Tone::Busy, '!'),
            Self::Failed => (Tone::Bad, '✗'),
            Self::Waiting | Self::Ready | Self::Held | Self::Blocked | Self::Dropped => (Tone::Dim, '·'),
            Self::Skipped => (Tone::Dim, '–'),
        }
    }

    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Held => "held",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Healing => "healing",
            Self::Done => "done",
            Self::Reused => "reused",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::Dropped => "dropped",
        }
    }
}
