//! What an attempt is asked to do.

use std::{collections::BTreeMap, sync::Arc};

use prunella_healing::{Interruptions, Spent};
use prunella_model::{ByteSize, CheckpointId, Epoch, PortName, RunId, StepId, StepKey};
use prunella_store::{Observer, records::GraphRecord};

use crate::BoundArtifact;

/// Which checkpoint to go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestoreFrom {
    /// The newest that verifies.
    #[default]
    Newest,
    /// The newest that verifies before this one.
    Before(CheckpointId),
    /// None: start from zero.
    Zero,
}

/// The accelerators that an engine lends to an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lent {
    /// Their names.
    pub names: Vec<String>,
    /// The variables by which the program sees them and no others; not in the key.
    pub variables: Vec<(&'static str, String)>,
}

/// What a step at the end of a run sees of that run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtEnd {
    /// Variables beside its own.
    pub variables: Vec<(&'static str, String)>,
    /// The report on the run, JSON, which lies at `PRUNELLA_REPORT`.
    pub report: Vec<u8>,
}

/// One attempt of one step.
#[derive(Debug, Clone)]
pub struct Request {
    /// The run.
    pub run: RunId,
    /// What it executes.
    pub graph: Arc<GraphRecord>,
    /// The step.
    pub step: StepId,
    /// Its key.
    pub key: StepKey,
    /// Its inputs.
    pub inputs: BTreeMap<PortName, BoundArtifact>,
    /// The orchestrator's number of this try.
    pub retry_index: Option<u64>,
    /// Whether to close a live attempt of another run instead of waiting.
    pub take_over: bool,
    /// The epoch that a look just found free.
    pub expected: Option<Epoch>,
    /// What its engine saw already of the signs of life of whoever held the work.
    pub observed: Observer,
    /// Which checkpoint to go on from.
    pub restore: RestoreFrom,
    /// The memory limit, if it has grown.
    pub memory: Option<ByteSize>,
    /// How often attempts of this run were interrupted, as far as its engine knows; without one, the step's own are looked up.
    pub interruptions: Option<Interruptions>,
    /// Halves the interval between snapshots.
    pub checkpoint_sooner: bool,
    /// Its accelerators; nothing where nobody hands them out, and the caller's variables are passed on.
    pub accelerators: Option<Lent>,
    /// What it sees of the run, if it belongs to its end.
    pub at_end: Option<Arc<AtEnd>>,
    /// Whether the counters start anew (`--reset-budgets`).
    pub budgets: Budgets,
}

/// Where the counters of a step go on from.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Budgets {
    /// From the newest closed slot of this run and step.
    #[default]
    Continue,
    /// From these.
    From(Box<Spent>),
}
