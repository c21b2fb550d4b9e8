//! How an attempt came out.

use std::collections::BTreeMap;

use prunella_healing::{Evidence, Spent};
use prunella_model::{Class, PortName, SlotId};
use prunella_store::records::{StoredArtifact, Timeline};

/// A commit, made or found.
#[derive(Debug, Clone, PartialEq)]
pub struct Success {
    /// The slot.
    pub slot: SlotId,
    /// Its artifacts.
    pub artifacts: BTreeMap<PortName, StoredArtifact>,
    /// The time line of the attempt that made it.
    pub timeline: Timeline,
    /// The store from which this attempt copied it.
    pub copied_from: Option<String>,
}

/// An end without a commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The slot, if one was claimed.
    pub slot: Option<SlotId>,
    /// What it was.
    pub class: Class,
    /// What is known.
    pub evidence: Box<Evidence>,
    /// The counters of the run and step, this end included.
    pub spent: Box<Spent>,
    /// The time line.
    pub timeline: Timeline,
    /// Whether the slot's `end` stands; if not, the store could not be written and the next one closes it.
    pub closed: bool,
}

/// How an attempt came out.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Somebody had committed the same work.
    Reused(Success),
    /// Committed.
    Committed(Success),
    /// Ended without a commit.
    Failed(Failure),
    /// The slot was closed by another: nothing more may be touched (I5).
    Fenced(SlotId),
}
