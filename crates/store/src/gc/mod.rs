//! Retirement and collection: what nothing needs any more goes (protocol: Slots, Retirement and Collection).
//!
//! In this order: open slots of dead owners are filled with *closed* ([`close`]); finished runs that are no longer retained
//! are marked ([`retire`]); slots that no retained run made or uses and no current name shows are retired; then objects are
//! condemned, all roots are read a second time, and what is still no root is deleted ([`collect`]). [`roots`] says what is a
//! root, [`inventory`] what there is, and refuses a store that holds what this program does not know.

mod close;
mod collect;
mod inventory;
mod retire;
mod roots;

pub(crate) use collect::Condemned;
pub(crate) use inventory::Owner;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use prunella_model::{RunId, SlotId};
use serde::Serialize;

use crate::{
    KeyView, StoreError,
    records::{Closed, StartRecord},
};

/// Which runs and checkpoints are retained, beside unfinished runs and those that the current names show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The newest so many runs of every pipeline; at least 1 is kept.
    pub runs: usize,
    /// The newest so many durable checkpoints of every key without a commit; at least 1 is kept.
    pub checkpoints: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { runs: 10, checkpoints: 3 }
    }
}

/// What a collector needs from above: what the journals say, proof of death, and the words of a fence.
#[async_trait]
pub trait Caretaker: Send + Sync {
    /// Returns the driver under which the run's journal says that it succeeded or failed; nothing if it may go on.
    ///
    /// # Errors
    /// [`StoreError`] if the journal cannot be read: then nothing is deleted.
    async fn ended(&self, run: &RunId) -> Result<Option<u64>, StoreError>;

    /// Returns whether nothing of the attempt runs any more, its owner being gone: sweeps what is left.
    async fn sweep(&self, slot: &SlotId, start: &StartRecord) -> bool;

    /// Returns what to close a dead attempt with.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer.
    async fn closing(&self, view: &KeyView, slot: &SlotId, start: &StartRecord) -> Result<Closed, StoreError>;
}

/// Why an object stays; the first that applies, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A current name shows it.
    Name,
    /// A retained run made, uses or brought it in.
    Run,
    /// A checkpoint that the next attempt may go on from.
    Checkpoint,
    /// An open attempt made it or relies on it.
    OpenAttempt,
    /// It belongs to something that cannot be read, so that nobody knows what it needs.
    Unreadable,
}

/// A number of things and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sum {
    /// How many.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// What a collection did, or what it would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Open slots of dead owners that were closed.
    pub closed: Vec<SlotId>,
    /// Open slots whose owner lives, or may live on another machine.
    pub open: Vec<SlotId>,
    /// Runs that are no longer retained from now on.
    pub runs: BTreeSet<RunId>,
    /// Commits that are retired from now on.
    pub retired: Vec<SlotId>,
    /// Manifests of checkpoints that went.
    pub checkpoints: usize,
    /// Pins that held nothing any more and went.
    pub pins: usize,
    /// Objects that went, and their bytes.
    pub deleted: Sum,
    /// What was condemned and turned out to be needed at the second look.
    pub spared: usize,
    /// The objects that stay, by the first reason.
    pub kept: BTreeMap<Why, Sum>,
}

/// Decisions that a dry run takes as if they stood in the store.
#[derive(Debug, Clone, Default)]
struct Supposed {
    closed: BTreeSet<SlotId>,
    runs: BTreeSet<RunId>,
    retired: BTreeSet<SlotId>,
}
