//! A graph: the pipeline with everything it refers to pinned by content.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Artifact, CheckpointId, DataName, Digest, Encoder, Pipeline, Referenced, StepName};

/// The version of the graph record.
pub const GRAPH_FORMAT: u32 = 1;

/// A data set, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPin {
    /// Its content.
    pub artifact: Artifact,
    /// The base name under which it is laid out.
    pub base_name: String,
    /// Whether `prunella.lock` had this digest; false only under `--allow-unpinned`.
    pub pinned: bool,
    /// Of data that is mounted: where it lies, absolute. Its bytes are in no store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounted: Option<String>,
    /// Of data by reference: where it stays. The artifact is its listing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referenced: Option<Referenced>,
}

/// The environment, locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentPin {
    /// The digest of the lock: interpreter, ABI, platform and exact packages.
    pub digest: Digest,
    /// The lock itself, as the crate `environment` wrote it.
    pub lock: serde_json::Value,
}

/// The operating system and processor that a host step is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Such as `linux`.
    pub os: String,
    /// Such as `x86_64`.
    pub arch: String,
}

/// A pipeline with its data, code and environment pinned: what one run executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// [`GRAPH_FORMAT`].
    pub format: u32,
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Its data by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<DataName, DataPin>,
    /// The code of all steps that declare none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Artifact>,
    /// The code of steps that narrow it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub step_code: BTreeMap<StepName, Artifact>,
    /// The environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentPin>,
    /// Where host steps run.
    pub platform: Platform,
    /// `--force`: a nonce that enters the key of each forced step.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub force: BTreeMap<StepName, String>,
    /// `--warm`: the checkpoint of another key that a step begins with; its content enters the key of that step.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub warm: BTreeMap<StepName, WarmStart>,
}

/// A checkpoint of another key that a step begins with, as long as it has none of its own.
///
/// What a restore needs stands here, so that the checkpoint's own record is not needed any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmStart {
    /// Which; for people and lineage.
    pub checkpoint: CheckpointId,
    /// The name of its entry in the checkpoint directory.
    pub entry: String,
    /// Whether the entry is executable, for a file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// Its content.
    pub artifact: Artifact,
}

impl Graph {
    /// Returns the code that `step` sees, if any.
    pub fn code_of(&self, step: &StepName) -> Option<&Artifact> {
        self.step_code.get(step).or(self.code.as_ref())
    }

    /// Returns the digest by which two graphs are the same; what `--force` and `--warm` add does not enter.
    pub fn digest(&self) -> Digest {
        let plain = Self { force: BTreeMap::new(), warm: BTreeMap::new(), ..self.clone() };
        let json = serde_json::to_vec(&plain).expect("a graph has only string keys");
        Encoder::new("prunella-graph-1").bytes(&json).finish()
    }
}
