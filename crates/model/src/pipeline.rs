//! A pipeline as its file says it, every default resolved.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    ByteSize, CapacityWish, DataName, EnvName, ForEach, Handler, Item, ParamName, PipelineName, PortName, Publication,
    RetryPolicy, Span, StepName, Template, When,
};

/// A value of a parameter; decimals stay the text that the user wrote, lists are shown as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction or exponent, as written.
    Decimal(String),
    /// Text.
    Text(String),
    /// A list of items, for `for_each`.
    List(Vec<Item>),
}

impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(b) => fmt::Display::fmt(b, f),
            Self::Integer(n) => fmt::Display::fmt(n, f),
            Self::Decimal(text) | Self::Text(text) => f.write_str(text),
            Self::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { "," } else { "" }, item.as_str())?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A relative path inside a workspace: no `..`, not absolute, `/`-separated.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RelPath(String);

/// Text that is not a path inside the workspace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a path inside the workspace (relative, without `..`)")]
pub struct RelPathError(String);

impl RelPath {
    /// Returns the path, with `./`, doubled and trailing slashes removed.
    ///
    /// # Errors
    /// [`RelPathError`] if it is empty, absolute, or leaves the workspace.
    pub fn new(text: &str) -> Result<Self, RelPathError> {
        let wrong = || RelPathError(text.to_owned());
        if text.starts_with('/') || text.contains('\0') {
            return Err(wrong());
        }
        let segments: Vec<&str> = text.split('/').filter(|s| !s.is_empty() && *s != ".").collect();
        if segments.is_empty() || segments.contains(&"..") {
            return Err(wrong());
        }
        Ok(Self(segments.join("/")))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the last segment.
    pub fn base_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// Returns whether one of the two paths is, or lies below, the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        let below = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        below(&self.0, &other.0) || below(&other.0, &self.0)
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// What a step runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// A script for `/bin/sh -e -c`; every value enters as one quoted word.
    Shell(Template),
    /// A program and its arguments, without a shell.
    Argv(Vec<Template>),
}

impl Command {
    /// Returns all templates in it.
    pub fn templates(&self) -> &[Template] {
        match self {
            Self::Shell(template) => std::slice::from_ref(template),
            Self::Argv(templates) => templates,
        }
    }
}

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A pinned data set: `data.NAME`.
    Data(DataName),
    /// An output of another step: `STEP.OUTPUT`.
    Step {
        /// The producer.
        step: StepName,
        /// Its output.
        output: PortName,
    },
}

/// The format that the bytes of an output must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentFormat {
    /// Any bytes.
    Any,
    /// One JSON value.
    Json,
    /// One JSON value a line.
    Jsonl,
    /// Gzip with a right checksum.
    Gzip,
    /// A zip archive with a right directory.
    Zip,
    /// Apache Parquet (magic at both ends, footer inside the file).
    Parquet,
    /// Safetensors (header that fits the file).
    Safetensors,
    /// NumPy `.npy` (header that fits the file).
    Npy,
    /// NumPy `.npz` (a zip of `.npy`).
    Npz,
}

impl ContentFormat {
    /// Returns the name used in the pipeline file and in the step key.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Gzip => "gzip",
            Self::Zip => "zip",
            Self::Parquet => "parquet",
            Self::Safetensors => "safetensors",
            Self::Npy => "npy",
            Self::Npz => "npz",
        }
    }

    /// Returns the format that a file name promises.
    pub fn of_name(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).as_deref() {
            Some("json") => Self::Json,
            Some("jsonl" | "ndjson") => Self::Jsonl,
            Some("gz" | "tgz") => Self::Gzip,
            Some("zip" | "whl") => Self::Zip,
            Some("parquet") => Self::Parquet,
            Some("safetensors") => Self::Safetensors,
            Some("npy") => Self::Npy,
            Some("npz") => Self::Npz,
            _ => Self::Any,
        }
    }
}

/// What must hold of an output before it is promoted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Check {
    /// For a tree: patterns that each match at least one file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// The least number of bytes; without it, one (an output is never empty unless the user says `min_size: 0B`).
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "min_size_bytes")]
    pub min_size: Option<ByteSize>,
    /// The largest number of bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "max_size_bytes")]
    pub max_size: Option<ByteSize>,
    /// The format; without it, what the file name promises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ContentFormat>,
    /// A command that must exit 0; it sees `PRUNELLA_CHECK_PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// A declared output of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Where the step writes it, inside its workspace.
    pub path: RelPath,
    /// Whether it is a directory (written with a trailing `/`).
    pub tree: bool,
    /// What must hold of it.
    #[serde(default)]
    pub check: Check,
}

/// How entries of a checkpoint directory are known to be complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckpointFormat {
    /// An entry renamed into place is complete.
    Files,
    /// An entry is complete once a file of this name is in it (or beside it, for a file: `ENTRY.MARKER`).
    Marker(String),
    /// Only what the program announces on the socket.
    Socket,
    /// Folders `checkpoint-N` of the Trainer of Hugging Face transformers.
    #[serde(rename = "hf-trainer")]
    HfTrainer,
    /// `*.ckpt` of Lightning: a file of `torch.save`, or a sharded folder.
    Lightning,
    /// A folder of `torch.distributed.checkpoint`.
    Dcp,
}

/// How a step checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// How complete entries are known.
    pub format: CheckpointFormat,
    /// The least time between two snapshots; 0 takes each that appears.
    #[serde(rename = "every_ms")]
    pub every: Span,
    /// Whether the time between two snapshots is chosen from what they cost and how often the step is interrupted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto: bool,
    /// How many durable snapshots of a key stay.
    pub keep: u32,
    /// The time between a notice's signal and the kill, if no cloud says less.
    #[serde(rename = "grace_ms")]
    pub grace: Span,
    /// Whether the program promises never to write again to an entry that is complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
    /// How many processes write one entry together, for formats in which each writes a file of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<u32>,
}

/// What a step needs of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a processor.
    pub cpu_millis: u32,
    /// Memory that the step starts with; its limit when given.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "memory_bytes")]
    pub memory: Option<ByteSize>,
    /// Memory that it may grow to after out-of-memory.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "memory_max_bytes")]
    pub memory_max: Option<ByteSize>,
    /// Accelerators.
    #[serde(default)]
    pub gpu: u32,
    /// Shared memory (`/dev/shm`) that there must be.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "shm_bytes")]
    pub shm: Option<ByteSize>,
}

impl Default for Resources {
    fn default() -> Self {
        Self { cpu_millis: 1000, memory: None, memory_max: None, gpu: 0, shm: None }
    }
}

/// Which earlier results may stand for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reuse {
    /// Any commit of the same key.
    #[default]
    Always,
    /// Only a commit of the same run.
    Run,
    /// Only a commit of the same driver of the same run.
    Never,
}

/// What exit 0 after a notice means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNotice {
    /// The step was interrupted, unless it said `done` on the socket.
    #[default]
    Interrupt,
    /// The step finished.
    Finish,
}

/// One step: a command with declared inputs, outputs, checkpoint directory and policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it runs.
    pub run: Command,
    /// Its inputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<PortName, Source>,
    /// Its outputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<PortName, Output>,
    /// How it checkpoints, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// What it needs of a machine.
    #[serde(default)]
    pub resources: Resources,
    /// Which capacity it would rather have, where there is a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<CapacityWish>,
    /// Variables that enter the key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<EnvName, String>,
    /// Variables of the caller that are passed on and do not enter the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pass_env: Vec<EnvName>,
    /// Secrets, by name; the value comes from the caller's environment unless `secret_files` says otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<EnvName>,
    /// Secrets whose value is a file's text: absolute, or relative to the pipeline file. Not in the key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_files: BTreeMap<EnvName, String>,
    /// What the user set about healing.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// The deadline of one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "timeout_ms")]
    pub timeout: Option<Span>,
    /// The time without a sign of life after which it counts as stalled.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "stall_ms")]
    pub stall: Option<Span>,
    /// Whether the same key gives the same bytes.
    pub deterministic: bool,
    /// Which earlier results may stand for it.
    #[serde(default)]
    pub reuse: Reuse,
    /// What exit 0 after a notice means.
    #[serde(default)]
    pub on_notice: OnNotice,
    /// What it fans out over, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<ForEach>,
    /// Steps that must have committed first, without data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepName>,
    /// Patterns of the code it sees, narrower than the pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Vec<String>>,
    /// Where its outputs are published for each run; not in the key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub publish: BTreeMap<PortName, Publication>,
    /// The condition under which it runs; without one it always does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// For a step that runs at the end of the run: when. Nothing needs it, and it needs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<Handler>,
}

impl Step {
    /// Returns every step that must be settled before this one: those that it reads or that list its items, and `after`.
    pub fn needs(&self) -> impl Iterator<Item = &StepName> {
        self.reads().chain(&self.after)
    }

    /// Returns every step whose outputs it reads: as inputs, or in its condition.
    pub fn reads(&self) -> impl Iterator<Item = &StepName> {
        let producers = self.inputs.values().filter_map(|source| match source {
            Source::Step { step, .. } => Some(step),
            Source::Data(_) => None,
        });
        let listed = self.for_each.as_ref().and_then(ForEach::needs);
        producers.chain(listed).chain(self.when.iter().flat_map(|when| when.reads.iter().map(|read| &read.step)))
    }
}

/// The environment that steps run in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentSpec {
    /// The requirements file, relative to the pipeline file.
    pub requirements: String,
    /// The interpreter, such as `3.12`; without it, the first `python3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A whole pipeline, validated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Its name.
    pub name: PipelineName,
    /// Its parameters, `--set` applied.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<ParamName, ParamValue>,
    /// Its data: paths relative to the pipeline file, or addresses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<DataName, String>,
    /// Those of its data that are mounted where they lie, not copied into the store; not in the key.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub mounted: BTreeSet<DataName>,
    /// Those of its data whose bytes stay at their address, pinned by a listing.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub referenced: BTreeSet<DataName>,
    /// Patterns of its code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub code: Vec<String>,
    /// Its environment; without one, steps run on the host's tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentSpec>,
    /// Its steps, in the order of the file.
    pub steps: IndexMap<StepName, Step>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_inside_the_workspace() {
        assert_eq!(RelPath::new("./out//model/").as_ref().map(RelPath::as_str), Ok("out/model"));
        for bad in ["", ".", "/etc", "../x", "a/../b"] {
            assert!(RelPath::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_that_meet_are_found() {
        let path = |text| RelPath::new(text).expect("a path");
        assert!(path("a").overlaps(&path("a")));
        assert!(path("a/b").overlaps(&path("a")));
        assert!(!path("ab").overlaps(&path("a")));
    }
}
