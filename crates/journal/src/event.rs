//! What can happen in a run.

use std::collections::BTreeMap;

use prunella_healing::{Evidence, Spent};
use prunella_model::{
    Artifact, ByteSize, CheckpointId, Class, Digest, Item, ParamName, ParamValue, PipelineName, PortName, RunId,
    SlotId, Span, StepId, StepKey, WriterId,
};
use serde::{Deserialize, Serialize};

use crate::{EffectDone, NextTry, RunStatus, StopHow};

/// A place in the log: everything up to and including this segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Position {
    /// The driver; 0 before the first.
    pub driver: u64,
    /// The segment's number; 0 before the driver's first.
    pub seq: u64,
}

impl Position {
    /// Before everything.
    pub const START: Self = Self { driver: 0, seq: 0 };
}

/// A part of a condition and the value that it had, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The part, as written.
    pub what: String,
    /// The value, as JSON would write it, shortened.
    pub value: String,
}

/// Something that happened, in the past tense; stored for ever (docs/formats/journal.md).
///
/// An event reports what the store's records decided; it never decides by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The run began.
    RunStarted {
        /// The run.
        run: RunId,
        /// Its pipeline.
        pipeline: PipelineName,
        /// The digest of its graph.
        graph: Digest,
        /// Its parameters.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        params: BTreeMap<ParamName, ParamValue>,
    },
    /// An engine took the run; its monotonic clock begins here.
    DriverStarted {
        /// Its number.
        driver: u64,
        /// The version of Prunella.
        engine: String,
        /// What of the log it had read: what an older driver appends later is evidence, not state.
        continues: Position,
        /// Whether every budget is full again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        budgets_reset: bool,
        /// The steps that were given up and are tried again, their budgets full; if nothing is said, all of them once
        /// the run had ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retried: Option<Vec<StepId>>,
        /// What was wrong with the log after `continues`, if it was damaged there: what it told is taken from the store's
        /// records.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        damaged: Option<String>,
    },
    /// The condition of a step was answered, from what it reads now.
    StepDecided {
        /// The step.
        step: StepId,
        /// Whether it runs.
        run: bool,
        /// What the answer came from, for people: parts of the condition and their values.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        saw: Vec<Observation>,
    },
    /// A step has nothing to do because one whose output it reads was skipped.
    StepSkipped {
        /// The step.
        step: StepId,
        /// The step that was skipped.
        by: StepId,
    },
    /// All inputs of a step were bound, so that its key is known.
    StepKeyed {
        /// The step.
        step: StepId,
        /// Its key.
        key: StepKey,
    },
    /// The list that a step fans out over became known, or changed: these are its items now.
    StepExpanded {
        /// The step as the file names it.
        step: StepId,
        /// Its items, each once, in their order.
        items: Vec<Item>,
    },
    /// The guard, or a wait for another run, found no commit to reuse.
    StepMissed {
        /// The step.
        step: StepId,
    },
    /// An earlier commit stands for the step.
    StepReused {
        /// The step.
        step: StepId,
        /// The slot whose commit it is.
        slot: SlotId,
        /// Its outputs.
        artifacts: BTreeMap<PortName, Artifact>,
        /// The store of others from which the run has just copied it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        copied_from: Option<String>,
    },
    /// The live attempt of another run holds the key.
    StepWaiting {
        /// The step.
        step: StepId,
        /// The slot that is waited for.
        slot: SlotId,
        /// The run that holds it.
        holder: RunId,
    },
    /// An attempt claimed its slot.
    AttemptStarted {
        /// The step.
        step: StepId,
        /// The slot.
        slot: SlotId,
        /// The writer of its records.
        writer: WriterId,
    },
    /// A checkpoint did not verify, or was rejected, and an earlier one is used (I4).
    CheckpointSkipped {
        /// The step.
        step: StepId,
        /// The slot.
        slot: SlotId,
        /// What was skipped.
        checkpoint: CheckpointId,
        /// Why.
        why: String,
    },
    /// An entry of the checkpoint directory was not taken: no room for it, or not known to be complete.
    SnapshotSkipped {
        /// The step.
        step: StepId,
        /// The slot.
        slot: SlotId,
        /// The entry's name.
        entry: String,
        /// Why.
        why: String,
    },
    /// `every: auto` chose the least time between two snapshots.
    CheckpointIntervalChosen {
        /// The step.
        step: StepId,
        /// The slot.
        slot: SlotId,
        /// The interval.
        #[serde(rename = "every_ms")]
        every: Span,
        /// From which figures, for people.
        why: String,
    },
    /// A checkpoint was laid out for the program.
    StateRestored {
        /// The step.
        step: StepId,
        /// The slot.
        slot: SlotId,
        /// What was restored.
        checkpoint: CheckpointId,
        /// How long that took.
        #[serde(rename = "took_ms")]
        took: Span,
    },
    /// The step's program was started.
    ProcessStarted {
        /// The step.
        step: StepId,
        /// The slot.
        slot: SlotId,
        /// Its process.
        pid: u32,
        /// The accelerators that it was lent.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        accelerators: Vec<String>,
    },
    /// A snapshot was taken: the program may go on.
    CheckpointTaken {
        /// The step.
        step: StepId,
        /// The slot.
        slot: SlotId,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Its size.
        #[serde(rename = "size_bytes")]
        size: ByteSize,
        /// How long the program was held up.
        #[serde(rename = "took_ms")]
        took: Span,
    },
    /// A snapshot became durable: it survives this machine.
    CheckpointDurable {
        /// The step.
        step: StepId,
        /// The slot.
        slot: SlotId,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Its size.
        #[serde(rename = "size_bytes")]
        size: ByteSize,
        /// How long it took since it was taken.
        #[serde(rename = "took_ms")]
        took: Span,
    },
    /// Word came that the machine goes away, or that the run stops.
    NoticeReceived {
        /// The step.
        step: StepId,
        /// The slot.
        slot: SlotId,
        /// Where it came from: `sigterm`, `stop`, or a cloud's name.
        source: String,
        /// The time left, if it was said.
        #[serde(default, skip_serializing_if = "Option::is_none", rename = "grace_ms")]
        grace: Option<Span>,
    },
    /// A cloud said that this machine may go away, or stands still for a moment; steps that run were asked for a checkpoint.
    HintReceived {
        /// The cloud's name.
        source: String,
        /// What it said, for people.
        what: String,
    },
    /// An attempt ended without a commit, and its slot is closed.
    AttemptEnded {
        /// The step.
        step: StepId,
        /// The slot.
        slot: SlotId,
        /// What the failure is.
        class: Class,
        /// What was seen.
        evidence: Box<Evidence>,
        /// The step's counters after this failure.
        spent: Box<Spent>,
        /// Compute time used by the attempt.
        #[serde(rename = "compute_ms")]
        compute: Span,
        /// Compute time whose result is lost.
        #[serde(rename = "lost_ms")]
        lost: Span,
    },
    /// A failure is being healed: another attempt follows.
    StepHealing {
        /// The step.
        step: StepId,
        /// What is healed.
        class: Class,
        /// The conditions of the next attempt.
        #[serde(flatten)]
        next: NextTry,
        /// What is done, for people.
        remedy: String,
    },
    /// An attempt committed.
    StepCommitted {
        /// The step.
        step: StepId,
        /// The slot.
        slot: SlotId,
        /// Its outputs.
        artifacts: BTreeMap<PortName, Artifact>,
        /// Compute time used by the attempt.
        #[serde(rename = "compute_ms")]
        compute: Span,
    },
    /// The bytes of an input were found lost, and the commit that made them is marked so.
    InputDamaged {
        /// The consumer that found it.
        step: StepId,
        /// The producer.
        producer: StepId,
        /// The producer's slot, now damaged.
        slot: SlotId,
    },
    /// The bytes of the commit that stands for a step were found lost, and the commit is marked so: it is made anew.
    CommitDamaged {
        /// The step.
        step: StepId,
        /// The slot, now damaged.
        slot: SlotId,
    },
    /// A re-produced input has other content, so the step is planned anew.
    StepRebound {
        /// The step.
        step: StepId,
    },
    /// A step was given up.
    StepFailed {
        /// The step.
        step: StepId,
        /// The failure that ended it.
        class: Class,
        /// Why no further attempt is made, for people.
        why: String,
    },
    /// A step cannot run because one that it needs was given up.
    StepBlocked {
        /// The step.
        step: StepId,
        /// The step that was given up.
        by: StepId,
    },
    /// Everything that a step does to the outside is done for this run.
    EffectsDone {
        /// The step.
        step: StepId,
        /// The commit whose artifacts it was done with.
        slot: SlotId,
        /// Each of them.
        effects: Vec<EffectDone>,
    },
    /// An effect of a step could not be done; the commit stands.
    EffectFailed {
        /// The step.
        step: StepId,
        /// The commit.
        slot: SlotId,
        /// The output.
        output: PortName,
        /// What it was to be done to.
        target: String,
        /// What was in the way, for people.
        why: String,
        /// Whether trying again is useless until somebody clears the way.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        hopeless: bool,
    },
    /// The effects of a step were given up; the commit stands.
    EffectsGivenUp {
        /// The step.
        step: StepId,
        /// The commit.
        slot: SlotId,
        /// Why they are not tried again, for people.
        why: String,
    },
    /// The run was asked to stop.
    StopRequested {
        /// How.
        how: StopHow,
    },
    /// Every step is settled, so that the run's end is known: what belongs to it may run.
    RunConcluded {
        /// How the run will have ended.
        status: RunStatus,
    },
    /// The run ended.
    RunEnded {
        /// How.
        status: RunStatus,
    },
}

/// An event and when its driver saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamped {
    /// Wall time in milliseconds since 1970, for people only: nothing is ordered or timed by it.
    pub at_ms: u64,
    /// The driver's monotonic time since its start.
    pub mono: Span,
    /// What happened.
    pub event: Event,
}
