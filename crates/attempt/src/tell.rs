//! What an attempt tells while it goes on.

use prunella_model::{CheckpointId, RunId, SlotId};
use prunella_process::Stream;
use prunella_store::Moved;

/// Something that happened in an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Another run's live attempt holds the key; this one waits for it.
    Waiting {
        /// That attempt.
        slot: SlotId,
        /// Its run.
        holder: RunId,
    },
    /// The slot is ours.
    Claimed {
        /// It.
        slot: SlotId,
    },
    /// A checkpoint was restored.
    Restored {
        /// Which.
        checkpoint: CheckpointId,
        /// How long it took.
        took_ms: u64,
    },
    /// A checkpoint could not be used, and the one before it is tried.
    CheckpointSkipped {
        /// Which.
        checkpoint: CheckpointId,
        /// Why.
        problem: String,
    },
    /// The program runs.
    Started {
        /// Its pid.
        pid: u32,
        /// The accelerators that it was lent.
        accelerators: Vec<String>,
    },
    /// It could write to data that is mounted.
    Unprotected {
        /// Why that could not be prevented.
        why: String,
    },
    /// A commit of another store is not used, or that store is not asked.
    NotCopied {
        /// Its address.
        store: String,
        /// Why.
        why: String,
    },
    /// It wrote a line (redacted, without its end).
    Line {
        /// Where to.
        stream: Stream,
        /// The text.
        text: String,
    },
    /// It told its progress.
    Progress {
        /// As it was told.
        value: serde_json::Value,
    },
    /// A snapshot was taken: the program may go on.
    Taken {
        /// Which.
        checkpoint: CheckpointId,
        /// Its size.
        bytes: u64,
        /// How long its bytes were being read.
        took_ms: u64,
    },
    /// A snapshot survives this machine.
    Durable {
        /// Which.
        checkpoint: CheckpointId,
        /// Its size.
        bytes: u64,
        /// From taken to durable.
        took_ms: u64,
    },
    /// An entry of the checkpoint directory was not taken.
    SnapshotSkipped {
        /// Its name.
        entry: String,
        /// Why.
        why: String,
    },
    /// `every: auto` chose the least time between two snapshots.
    IntervalChosen {
        /// It.
        every_ms: u64,
        /// From what.
        why: String,
    },
    /// No process of it runs any more: what it made is valid and being stored.
    Storing,
    /// So much of what it fetches before its program, or sends after it, is done; told from time to time.
    Moving {
        /// Which way.
        way: Way,
        /// How far.
        moved: Moved,
    },
    /// A notice was passed on.
    Noticed {
        /// Where it came from.
        source: String,
        /// Until the kill.
        grace_ms: u64,
    },
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Into the store.
    Sending,
    /// Out of it.
    Fetching,
}

/// Hears what an attempt tells; must not block.
pub trait Tell: Send + Sync {
    /// Called for everything that happens, in order.
    fn tell(&self, told: Told);
}

impl<F: Fn(Told) + Send + Sync> Tell for F {
    fn tell(&self, told: Told) {
        self(told);
    }
}
