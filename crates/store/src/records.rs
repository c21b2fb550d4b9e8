//! What stands in each record. All are JSON, have a `format`, and stay readable for ever (`docs/formats/store.md`).

use std::{collections::BTreeMap, sync::Arc};

use prunella_model::{
    CheckpointId, Class, EffectHow, EffectKind, Graph, PortName, RunId, SlotId, StepId, StepName, TraceParent, WriterId,
};
use serde::{Deserialize, Serialize};

pub use crate::manifest::{Chunk, Place, StoredEntry, TREE_FORMAT, TreeManifest};
pub use crate::provenance::{CopiedFrom, InputProvenance, MountedAt, Provenance};
pub use crate::stored::StoredArtifact;

/// The version of every record written by this program.
pub const FORMAT: u32 = 1;

/// A process of one machine, known beyond the reuse of its pid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The pid.
    pub pid: u32,
    /// When it started, in the kernel's ticks.
    pub start_ticks: u64,
}

/// Who owns an attempt or drives a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The machine.
    pub machine: String,
    /// Its boot.
    pub boot: String,
    /// The engine or `exec`.
    pub process: ProcessId,
    /// Its guardian.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardian: Option<ProcessId>,
}

/// An attempt was started: `attempts/<key>/<e>.start.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The run that started it.
    pub run: RunId,
    /// The step of that run.
    pub step: StepId,
    /// Who runs it.
    pub owner: Owner,
    /// The orchestrator's number of this try, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_index: Option<u64>,
    /// How many processes share the attempt: 1 today.
    pub members: u32,
    /// Who wrote this record.
    pub writer: WriterId,
    /// Wall time, for people.
    pub at_ms: i64,
}

/// How a slot was filled: `attempts/<key>/<e>.end.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// Who filled it.
    pub writer: WriterId,
    /// Wall time, for people.
    pub at_ms: i64,
    /// With what.
    #[serde(flatten)]
    pub end: End,
}

/// The one decision of a slot.
#[expect(clippy::large_enum_variant, reason = "one is looked at at a time; most are commits")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The attempt committed.
    Committed(Committed),
    /// The attempt is over without a commit.
    Closed(Closed),
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    /// What it made.
    pub artifacts: BTreeMap<PortName, StoredArtifact>,
    /// Where it comes from (I7).
    pub provenance: Provenance,
    /// The attempt's time line and measured costs.
    #[serde(default)]
    pub timeline: Timeline,
}

/// An attempt's phases and costs, in milliseconds since its claim on its own monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timeline {
    /// When each phase began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<(String, u64)>,
    /// How long the process ran.
    #[serde(default)]
    pub process_ms: u64,
    /// Processor time of its tree.
    #[serde(default)]
    pub cpu_ms: u64,
    /// The most memory it used.
    #[serde(default)]
    pub memory_peak_bytes: u64,
    /// What it restored, and how long that took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<(CheckpointId, u64)>,
    /// Durable checkpoints: id, when, bytes, how long taking and storing took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<CheckpointMark>,
    /// When a notice came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice_ms: Option<u64>,
    /// When the process was gone.
    #[serde(default)]
    pub ended_ms: u64,
}

/// One durable checkpoint in a time line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointMark {
    /// Which.
    pub seq: u64,
    /// When it was taken.
    pub taken_ms: u64,
    /// When it was durable.
    pub durable_ms: u64,
    /// How long the program's bytes were being read.
    pub took_ms: u64,
    /// Its size.
    pub bytes: u64,
}

/// An end without a commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// What kind of end it was.
    pub class: Class,
    /// What is known about it, as the crate `healing` writes it.
    pub evidence: serde_json::Value,
    /// The counters of this (run, step) including this end, as the crate `healing` writes them.
    pub spent: serde_json::Value,
    /// The run and step that the counters belong to.
    pub run: RunId,
    /// See `run`.
    pub step: StepId,
    /// The attempt's time line as far as it is known.
    #[serde(default)]
    pub timeline: Timeline,
}

/// A sign of life: `attempts/<key>/<e>.alive.json`, overwritten; a hint, never a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliveRecord {
    /// Counts up.
    pub counter: u64,
    /// Who lives.
    pub writer: WriterId,
    /// Memory in use by the step's tree.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Its limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Whether a notice was seen.
    #[serde(default)]
    pub notice: bool,
}

impl AliveRecord {
    /// Returns a sign of life that says nothing else.
    pub fn of(writer: &WriterId, counter: u64) -> Self {
        Self { counter, writer: writer.clone(), memory_bytes: 0, memory_limit_bytes: None, notice: false }
    }
}

/// A commit's bytes are lost: `attempts/<key>/<e>.damaged.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The object.
    pub object: String,
    /// What was found.
    pub evidence: String,
    /// Who found it.
    pub writer: WriterId,
}

/// A checkpoint: `checkpoints/<key>/<e>-<seq>.json`; all its objects are there before it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// How many manifests make up the checkpoint: 1 today.
    pub shards: u32,
    /// The name of the top-level entry in the checkpoint directory.
    pub entry: String,
    /// Whether the entry is executable, for a file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// Its content.
    pub stored: StoredArtifact,
    /// What the program said about its progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<serde_json::Value>,
    /// Who wrote it.
    pub writer: WriterId,
}

/// Objects that an open attempt or a run relies on but did not upload: `pins/…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The objects.
    pub objects: Vec<String>,
}

/// Slots that a run reused: `runs/<run>/uses-<writer>-<i>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsesRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The slots.
    pub slots: Vec<SlotId>,
}

/// What a run executes: `runs/<run>/graph`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The graph.
    pub graph: Arc<Graph>,
    /// What the run brought in: code and data by digest.
    #[serde(default)]
    pub brought: Vec<StoredArtifact>,
    /// The steps asked for; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<StepName>,
    /// The number of the run among the runs of its pipeline.
    pub order: u64,
    /// The directory of the pipeline file, absolute: what publications with a relative path lie beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The span of the caller that the run is a child of, from his `TRACEPARENT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_parent: Option<TraceParent>,
    /// Wall time, for people.
    pub at_ms: i64,
}

/// One engine drives a run: `runs/<run>/drivers/<n>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// Who.
    pub owner: Owner,
    /// Who wrote this record.
    pub writer: WriterId,
    /// Whether the budgets of all steps are refilled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reset_budgets: bool,
    /// The steps whose budgets are refilled, if not all are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retried: Vec<StepId>,
    /// Whether it replaced a driver that was not proved dead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub took_over: bool,
    /// Wall time, for people.
    pub at_ms: i64,
}

/// A step of a run is this slot: `runs/<run>/bindings/<step>/<n>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The step.
    pub step: StepId,
    /// The slot.
    pub slot: SlotId,
}

/// Steps of a run are these slots: `runs/<run>/bound/<page>.json`, where the page of the journal tells of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The bindings.
    pub bound: Vec<BoundStep>,
}

/// A step, the number of its binding, and the slot; the highest number holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundStep(pub StepId, pub u64, pub SlotId);

/// The n-th run of a pipeline began: `order/<pipeline>/<n>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The run.
    pub run: RunId,
    /// Who wrote it.
    pub writer: WriterId,
    /// Wall time, for people.
    pub at_ms: i64,
}

/// What the names of a pipeline mean since its n-th run succeeded: `names/<pipeline>/<n>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The run.
    pub run: RunId,
    /// All artifacts by step and output, with the slot that made them.
    pub artifacts: BTreeMap<String, (SlotId, StoredArtifact)>,
}

/// A request to stop a run: `runs/<run>/stop/<n>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// Whether to kill instead of letting steps checkpoint.
    #[serde(default)]
    pub now: bool,
}

/// No longer to be relied on anew: `attempts/<key>/<e>.retired.json` of a commit, `runs/<run>/retired.json` of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// Whose collection it was.
    pub writer: WriterId,
}

/// All objects condemned so far that still exist, and the new ones: `gc/<n>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CondemnedRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// Whose collection it is.
    pub writer: WriterId,
    /// Objects, manifests of checkpoints, and pins.
    pub objects: Vec<String>,
}

/// A collection came to its end: `gc/<n>.done.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcDoneRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// Whose collection it was.
    pub writer: WriterId,
    /// How many of the listed it deleted.
    pub deleted: usize,
}

/// Something is to be done to the outside for a run: `runs/<run>/effects/<place>/<id>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// What.
    pub kind: EffectKind,
    /// Where: the canonical target.
    pub target: String,
    /// The step whose artifact it is.
    pub step: StepId,
    /// The output.
    pub output: PortName,
    /// The commit.
    pub slot: SlotId,
    /// The artifact.
    pub stored: StoredArtifact,
    /// Who wrote it.
    pub writer: WriterId,
    /// Wall time, for people.
    pub at_ms: i64,
}

/// Somebody does an effect, or did: `runs/<run>/effects/<place>/<id>.doer-<writer>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectDoerRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// Who.
    pub owner: Owner,
    /// The number of the step's binding for which it is done: of the effects of a run on one target the highest counts.
    pub binding: u64,
    /// The writer in the name of what it leaves unfinished.
    pub writer: WriterId,
}

/// An effect is done: `runs/<run>/effects/<place>/<id>.done.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectDoneRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// Who wrote it.
    pub writer: WriterId,
    /// What the target and its file system allowed.
    pub how: EffectHow,
    /// The newer run whose artifact is at the target instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<RunId>,
    /// Wall time, for people.
    pub at_ms: i64,
}

/// An effect could not be done by `exec`: `runs/<run>/effects/<place>/<id>.failed-<n>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectFailedRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// Who tried.
    pub writer: WriterId,
    /// What was in the way, for people.
    pub why: String,
    /// Wall time, for people.
    pub at_ms: i64,
}
