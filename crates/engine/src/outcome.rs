//! How a run came out, and its state as its journal tells it.

use std::sync::Arc;

use prunella_journal::{Event, RunState, RunStatus, Stamped, last_event};
use prunella_model::{RunId, Span};
use prunella_store::{Store, records::GraphRecord};

use crate::{
    EngineError, Plan,
    seen::{Closer, whole},
};

/// How a run came out.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub status: RunStatus,
    /// How long this driver drove it.
    pub wall: Span,
    /// Its state at the end.
    pub state: RunState,
    /// Its plan.
    pub plan: Arc<Plan>,
}

/// A run, from the store alone.
#[derive(Debug)]
pub struct Loaded {
    /// Its graph.
    pub record: Arc<GraphRecord>,
    /// Its plan.
    pub plan: Arc<Plan>,
    /// Its state.
    pub state: RunState,
    /// All events.
    pub events: Vec<Stamped>,
    /// What is wrong with its journal: of what happened after the sound part, neither state nor events know.
    pub damage: Option<String>,
}

/// Returns a run; of a damaged journal what the sound part says.
///
/// # Errors
/// [`EngineError`] if there is no such run or its journal cannot be read.
pub async fn load_state(store: &Store, run: &RunId) -> Result<Loaded, EngineError> {
    let (Closer { record, plan, events }, state, damage) = whole(store, run).await?;
    Ok(Loaded { record, plan, state, events, damage })
}

/// Returns whether the run has succeeded or failed: nothing is left to go on with by itself.
///
/// Costs one listing and one segment, whatever the size of the run.
///
/// # Errors
/// [`EngineError`] if the journal cannot be read.
pub async fn is_finished(store: &Store, run: &RunId) -> Result<bool, EngineError> {
    Ok(match last_event(&**store.objects(), run).await? {
        Some(Stamped { event: Event::RunEnded { status }, .. }) => status != RunStatus::Stopped,
        _ => false,
    })
}
