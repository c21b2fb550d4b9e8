//! A workspace for somebody who looks: laid out as an attempt would see it, with nothing behind it that commits.
//!
//! No slot is taken, nothing is pinned and no record is written. What a collection takes meanwhile is missed while the
//! workspace is laid out, every byte of which is verified; what lies in it afterwards is a copy that nobody else knows of.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use prunella_model::{AttemptId, CheckpointId, Epoch, RunId, SlotId};
use prunella_store::StoreError;

use crate::{
    Ground, Request, RestoreFrom,
    command::command,
    variables::{Seen, variables},
    workspace::{NoWorkspace, Workspace},
};

/// What stands before the id of an attempt in a scratch workspace: whoever looks for what an attempt left finds nothing there.
const NO_ATTEMPT: &str = "shell";

/// What a scratch workspace begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// What the next attempt would restore.
    Next,
    /// This checkpoint.
    From(CheckpointId),
    /// Nothing.
    Zero,
}

/// A workspace for somebody who looks.
#[derive(Debug)]
pub struct Scratch {
    /// The working directory.
    pub root: PathBuf,
    /// The whole environment of a process in it.
    pub variables: Vec<(OsString, OsString)>,
    /// What an attempt would run there.
    pub command: Vec<String>,
    /// The checkpoint that is laid out.
    pub restored: Option<CheckpointId>,
    /// Checkpoints that are not, and why.
    pub skipped: Vec<(CheckpointId, String)>,
}

/// Why there is no scratch workspace.
#[derive(Debug, thiserror::Error)]
pub enum NoScratch {
    /// Bytes of the code, of an input or of what the step begins with are lost, or were collected.
    #[error("`{what}` cannot be laid out: {problem}")]
    Lost {
        /// Which input.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// The graph has no such step.
    #[error("run `{run}` has no such step")]
    NoStep {
        /// The run.
        run: RunId,
    },
    /// The store refused, or a file could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Scratch {
    /// Lays out what attempt `epoch` of the request would see, below the ground's directory for work.
    ///
    /// Whoever made that directory removes it, also after an error.
    ///
    /// # Errors
    /// [`NoScratch::Lost`] if a byte is missing or wrong: then nothing of it may be used.
    pub async fn make(ground: &Ground<'_>, request: &Request, epoch: Epoch, start: Start) -> Result<Self, NoScratch> {
        let Some(step) = request.graph.graph.pipeline.steps.get(request.step.name.as_str()) else {
            return Err(NoScratch::NoStep { run: request.run.clone() });
        };
        let slot = SlotId { key: request.key, epoch };
        let workspace = match Workspace::make(ground, request, step, &slot).await {
            Ok(workspace) => workspace,
            Err(NoWorkspace::Damaged { input, problem, .. } | NoWorkspace::Changed { input, problem }) => {
                return Err(NoScratch::Lost { what: input, problem });
            }
            Err(NoWorkspace::Store(error)) => return Err(error.into()),
        };
        let (mut restored, mut skipped) = (None, Vec::new());
        if step.checkpoint.is_some() {
            restored = restore(ground, request, start, &workspace.checkpoint, &mut skipped).await?;
        }
        let id = AttemptId { store: ground.store.id().to_owned(), run: request.run.clone(), slot };
        let attempt_id = format!("{NO_ATTEMPT}/{id}");
        let seen = Seen { epoch, attempt_id: &attempt_id, restored: restored.is_some(), socket: None, span: None };
        let variables = variables(ground, request, step, &workspace, &seen);
        let command = command(request, step, &workspace.mounts);
        Ok(Self { root: workspace.root, variables, command, restored, skipped })
    }
}

/// Lays out the checkpoint that is asked for, in the order in which an attempt would look for one.
async fn restore(
    ground: &Ground<'_>,
    request: &Request,
    start: Start,
    directory: &Path,
    skipped: &mut Vec<(CheckpointId, String)>,
) -> Result<Option<CheckpointId>, NoScratch> {
    let before = match (start, request.restore) {
        (Start::Zero, _) => return Ok(None),
        // What a step begins with is of another key.
        (Start::From(id), _) if id.slot.key != request.key => return begin_with(ground, request, directory).await,
        (Start::From(id), _) => {
            return Ok(match ground.store.look_into(&id, directory).await? {
                Ok(()) => Some(id),
                Err(problem) => {
                    skipped.push((id, problem));
                    None
                }
            });
        }
        (Start::Next, RestoreFrom::Zero) => return begin_with(ground, request, directory).await,
        (Start::Next, RestoreFrom::Newest) => None,
        (Start::Next, RestoreFrom::Before(id)) if id.slot.key != request.key => {
            return begin_with(ground, request, directory).await;
        }
        (Start::Next, RestoreFrom::Before(id)) => Some(id),
    };
    for id in ground.store.checkpoints(&request.key).await? {
        if before.is_some_and(|before| id >= before) {
            continue;
        }
        match ground.store.look_into(&id, directory).await? {
            Ok(()) => return Ok(Some(id)),
            Err(problem) => skipped.push((id, problem)),
        }
    }
    begin_with(ground, request, directory).await
}

/// Lays out what the graph says that the step begins with.
async fn begin_with(
    ground: &Ground<'_>,
    request: &Request,
    directory: &Path,
) -> Result<Option<CheckpointId>, NoScratch> {
    let record = &request.graph;
    let Some(warm) = record.graph.warm.get(&request.step.name) else { return Ok(None) };
    let lost = |problem: String| NoScratch::Lost { what: format!("--warm {}", warm.checkpoint), problem };
    let stored = record.brought.iter().find(|stored| stored.artifact == warm.artifact);
    let stored = stored.ok_or_else(|| lost("the run's record does not say where it lies".to_owned()))?;
    ground.store.look_into_warm(warm, stored, directory).await?.map_err(lost)?;
    Ok(Some(warm.checkpoint))
}
