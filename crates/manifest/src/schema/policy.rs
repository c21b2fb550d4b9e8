//! The words of retries and checkpoints, and the values that everything is written with.

use std::collections::BTreeMap;

use schemars::JsonSchema;

/// A number of tries after the step's own errors, or settings by class.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Retry {
    Errors(u32),
    Classes(BTreeMap<Class, ClassPolicyOrLimit>),
}

/// A class of failure.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class;

impl JsonSchema for Class {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Class".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<_> = prunella_model::Class::ALL.iter().map(|class| class.as_str()).collect();
        let pattern = format!("^({})$", names.join("|"));
        schemars::json_schema!({ "description": "A class of failure.", "type": "string", "pattern": pattern })
    }
}

/// A limit, or settings of one class.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum ClassPolicyOrLimit {
    Limit(u32),
    Full(ClassPolicy),
}

/// Settings of one class of failure.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ClassPolicy {
    /// How often a step may fail this way in one run.
    pub limit: Option<u32>,
    /// The waits between tries, such as `10s..5m`: exponential between the two, with jitter.
    pub backoff: Option<DurationRange>,
}

/// A format of checkpoints, or a mapping with more.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum CheckpointOrFormat {
    Short(CheckpointWord),
    Full(Checkpoint),
}

/// A format of checkpoints.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum CheckpointWord {
    /// An entry that was renamed into place is complete.
    Files,
    /// Only what the program announces on its socket.
    Socket,
    /// `checkpoint-N/` of the Trainer of Hugging Face transformers.
    #[schemars(rename = "hf-trainer")]
    HfTrainer,
    /// `*.ckpt` of Lightning.
    Lightning,
    /// Folders of `torch.distributed.checkpoint`.
    Dcp,
}

/// A format of checkpoints.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum CheckpointFormat {
    Word(CheckpointWord),
    Marker(CheckpointMarker),
}

/// Entries that are complete once a marker is there.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct CheckpointMarker {
    /// The name of the file that marks a complete entry.
    pub marker: String,
}

/// How a step checkpoints.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Checkpoint {
    /// How complete entries are known [files].
    pub format: Option<CheckpointFormat>,
    /// Short for `format: { marker: NAME }`.
    pub marker: Option<String>,
    /// The least time between two snapshots, or `auto`; `0s` takes each that appears [0s].
    pub every: Option<DurationOrAuto>,
    /// How many snapshots stay [2].
    #[schemars(range(min = 1))]
    pub keep: Option<u32>,
    /// The time between the notice and the kill, if no cloud says less [30s].
    pub grace: Option<Duration>,
    /// Whether the program never again writes to a complete entry [false].
    pub sealed: Option<bool>,
    /// How many processes write one entry together (`hf-trainer`, `lightning`); without it, found out by the second.
    #[schemars(range(min = 1))]
    pub ranks: Option<u32>,
}

/// A duration with its unit: ms, s, m, h or d.
#[derive(JsonSchema)]
pub(super) struct Duration(#[schemars(regex(pattern = r"^\s*[0-9]+(\.[0-9]*)?\s*(ms|s|m|h|d)\s*$"))] String);

/// A duration, or `auto`: chosen from what a checkpoint costs and how often the step is interrupted.
#[derive(JsonSchema)]
pub(super) struct DurationOrAuto(
    #[schemars(regex(pattern = r"^\s*([0-9]+(\.[0-9]*)?\s*(ms|s|m|h|d)|auto)\s*$"))] String,
);

/// A size with its unit: B, KiB, MiB, GiB, TiB, kB, MB, GB or TB.
#[derive(JsonSchema)]
pub(super) struct Size(
    #[schemars(regex(pattern = r"^\s*[0-9]+(\.[0-9]*)?\s*(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)\s*$"))] String,
);

/// A size, or two with `..` between them.
#[derive(JsonSchema)]
pub(super) struct SizeRange(
    #[schemars(regex(pattern = r"^\s*[0-9]+(\.[0-9]*)?\s*(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)\s*(\.\..+)?$"))] String,
);

/// A duration, or two with `..` between them.
#[derive(JsonSchema)]
pub(super) struct DurationRange(
    #[schemars(regex(pattern = r"^\s*[0-9]+(\.[0-9]*)?\s*(ms|s|m|h|d)\s*(\.\..+)?$"))] String,
);

/// Which earlier results may stand for a step.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum Reuse {
    /// Any result of the same key.
    Always,
    /// Only a result of the same run.
    Run,
    /// None but of the same engine in the same run.
    Never,
}

/// What exit 0 means after a notice.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum OnNotice {
    /// The step was interrupted, unless it said `done` on the socket.
    Interrupt,
    /// The step finished.
    Finish,
}
