//! What a commit says of where it comes from.

use std::collections::BTreeMap;

use prunella_model::{Artifact, CheckpointId, Digest, Item, ParamValue, PipelineName, PortName, Referenced, SlotId};
use serde::{Deserialize, Serialize};

/// Everything from which one walks back from a committed byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The item, of a step that fans out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
    /// The command as it ran.
    pub command: Vec<String>,
    /// The digest of the code that it saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Digest>,
    /// The digest of the environment lock, or nothing on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Digest>,
    /// The host, where no environment is declared: OS, architecture.
    pub platform: String,
    /// The parameters it refers to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, ParamValue>,
    /// The declared variables; of a step at the end of a run also what it sees of that end.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Its inputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<PortName, InputProvenance>,
    /// The checkpoint it went on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<CheckpointId>,
    /// What was taken on trust, such as unpinned data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// Of a commit that was copied: whose it is. All else is of the attempt that copied it, whose key is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<CopiedFrom>,
}

/// A commit of another store, of which every byte was compared while it was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedFrom {
    /// The address of the store.
    pub store: String,
    /// The slot there.
    pub slot: SlotId,
    /// What was taken on trust there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// Where an input came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputProvenance {
    /// Its content.
    pub artifact: Artifact,
    /// The producer's slot; nothing for data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<SlotId>,
    /// `data.NAME` or `STEP.OUTPUT`.
    pub source: String,
    /// For a folder of what every item of a step made: the items and their slots, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<(Item, SlotId)>,
    /// For data that was read where it lies: its bytes are in no store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounted: Option<MountedAt>,
    /// For data by reference: where its bytes are; the artifact is the listing that pins them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referenced: Option<Referenced>,
}

/// Where data was read that no store holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountedAt {
    /// The absolute path, on the machine of the attempt.
    pub path: String,
    /// Whether the step could not write it: the kernel let it be mounted read-only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protected: bool,
}
