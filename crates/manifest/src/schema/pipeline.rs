//! The words of a pipeline, its data and its steps.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::policy::*;

/// A pipeline: steps that read data and each other's outputs.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Pipeline {
    /// The version of this format: `v1`.
    pub prunella: Version,
    /// The name of the pipeline.
    pub name: Name,
    /// Values that commands and `for_each` use as `${{ params.NAME }}`; `--set NAME=VALUE` changes them for one run.
    pub params: Option<BTreeMap<Name, Param>>,
    /// Files and folders that steps read as `data.NAME`, relative to this file.
    pub data: Option<BTreeMap<Name, Data>>,
    /// Other files whose params, data, code, environment, defaults and steps are parts of this pipeline.
    pub include: Option<OneOrMany>,
    /// Patterns of the files that every step sees; their content is part of every step's key.
    pub code: Option<OneOrMany>,
    /// The Python environment that steps run in; without it they use the tools of the machine.
    pub environment: Option<Environment>,
    /// Settings that every step has unless it says otherwise.
    pub defaults: Option<Defaults>,
    /// The steps by name.
    #[schemars(extend("minProperties" = 1))]
    pub steps: BTreeMap<Name, Step>,
    /// What runs once the run has succeeded or failed; it sees `$PRUNELLA_RUN_STATUS`, `$PRUNELLA_FAILED_STEPS` and `$PRUNELLA_REPORT`.
    pub on_exit: Option<HandlerForm>,
    /// What runs once the run has failed; it sees the same.
    pub on_failure: Option<HandlerForm>,
}

/// The version of the format.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum Version {
    /// The first version.
    V1,
}

/// A name: a letter a–z, then a–z, 0–9, `_` and `-`; at most 64 characters.
#[derive(JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(#[schemars(regex(pattern = r"^[a-z][a-z0-9_-]{0,63}$"))] String);

/// The name of an environment variable.
#[derive(JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Variable(#[schemars(regex(pattern = r"^(?!PRUNELLA_)[A-Za-z_][A-Za-z0-9_]*$"))] String);

/// A number, a text, `true` or `false`.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Scalar {
    Bool(bool),
    Integer(i64),
    Decimal(f64),
    Text(String),
}

/// The value of a parameter: a number, a text, `true`, `false`, or a list for `for_each`.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Param {
    One(Scalar),
    List(Vec<Item>),
}

/// One text or a list of texts.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A path, an address, or a mapping with one of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Data {
    Path(String),
    Full(DataFull),
}

/// A data set.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct DataFull {
    /// Its path, relative to and below the directory of this file.
    pub path: Option<String>,
    /// Its address, in place of a path: `s3://BUCKET/PREFIX/`, `gs://…`, `az://…`, or `dir:///PATH` of this machine.
    pub uri: Option<String>,
    /// Whether it is copied into the store (the default; `fetch` of an address), mounted: read where it lies, for data too large to
    /// copy, or, of an address in a bucket, left there and pinned by version (`reference`).
    pub access: Option<DataAccess>,
}

/// How steps come to the bytes of a data set.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum DataAccess {
    Copy,
    Fetch,
    Mount,
    Reference,
}

/// A Python environment, locked once and cached.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Environment {
    /// The requirements file, relative to this file.
    pub python: String,
    /// The interpreter, such as `"3.12"`; without it the first `python3`.
    pub version: Option<VersionNumber>,
}

/// A version such as `3.12`.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum VersionNumber {
    Text(String),
    Number(f64),
}

/// Settings that every step has unless it says otherwise; mappings are merged key by key, the step wins.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Defaults {
    #[schemars(flatten)]
    pub policy: Policy,
}

/// A step: one command with declared inputs and outputs.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Step {
    /// What it runs: a text for the shell, or a list of words for a program without a shell.
    pub run: Run,
    /// What it fans out over: lists by name (all combinations), one list, a JSON list (`STEP.OUTPUT`), or the items of
    /// a `STEP`.
    pub for_each: Option<ForEach>,
    /// What it reads, by name: `data.NAME` or `STEP.OUTPUT`; laid out at `$PRUNELLA_INPUT_<NAME>`.
    pub inputs: Option<BTreeMap<Name, Reference>>,
    /// What it writes, by name: a path in its workspace, with `/` at the end for a folder.
    pub outputs: Option<BTreeMap<Name, Output>>,
    /// Where its outputs are published once they are committed, by name: a path relative to this file, or an absolute one.
    pub publish: Option<BTreeMap<Name, Publication>>,
    /// Steps that must have succeeded before, without using their data.
    pub after: Option<OneOrMany>,
    /// The condition under which it runs: a part of CEL over JSON outputs (`STEP.OUTPUT`) and `params.NAME`.
    pub when: Option<ConditionText>,
    /// Patterns of the code that this step sees, instead of the pipeline's.
    pub code: Option<OneOrMany>,
    /// Which earlier results may stand for it [always; run for a step without outputs].
    pub reuse: Option<Reuse>,
    #[schemars(flatten)]
    pub policy: Policy,
}

/// Lists by name, a list of items, or where they come from.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum ForEach {
    Source(ForEachSource),
    Items(Vec<Item>),
    Product(BTreeMap<Name, Factor>),
}

/// `STEP.OUTPUT` for a JSON list, `STEP` for the items of another step, `${{ params.NAME }}` for a list.
#[derive(JsonSchema)]
pub(super) struct ForEachSource(
    #[schemars(regex(
        pattern = r"^([a-z][a-z0-9_-]{0,63}(\.[a-z][a-z0-9_-]{0,63})?|\$\{\{ *params\.[a-z][a-z0-9_-]{0,63} *\}\})$"
    ))]
    String,
);

/// A list of values, which may be parameters, or a parameter that is one.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Factor {
    Values(Vec<Scalar>),
    Param(ParamReference),
}

/// `${{ params.NAME }}`.
#[derive(JsonSchema)]
pub(super) struct ParamReference(#[schemars(regex(pattern = r"^\$\{\{ *params\.[a-z][a-z0-9_-]{0,63} *\}\}$"))] String);

/// A value, or values by name.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Item {
    Value(Scalar),
    Values(BTreeMap<Name, Scalar>),
}

/// A condition, such as `evaluate.metrics.accuracy > 0.95`.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum ConditionText {
    Text(String),
    Constant(bool),
}

/// What `defaults` and a step may both set.
#[derive(JsonSchema)]
pub(super) struct Policy {
    /// What it needs of a machine.
    pub resources: Option<Resources>,
    /// Environment variables; they are part of the step's key.
    pub env: Option<BTreeMap<Variable, Scalar>>,
    /// Names of variables of the caller that are passed on; they are not part of the key.
    pub pass_env: Option<OneOrMany>,
    /// Names of variables with secrets, from the caller's environment or a file; only names enter the key.
    pub secrets: Option<Secrets>,
    /// How failures are retried: a number of tries after the step's own errors, or settings by class.
    pub retry: Option<Retry>,
    /// The longest time for one attempt, such as `2h` [none].
    pub timeout: Option<Duration>,
    /// The longest time without any sign of life, such as `30m` [none].
    pub stall: Option<Duration>,
    /// Whether the same inputs give the same bytes [true].
    pub deterministic: Option<bool>,
    /// What exit 0 means after the machine's notice: interrupted, or finished [interrupt].
    pub on_notice: Option<OnNotice>,
    /// How the step's checkpoint directory is read; without it the step has none.
    pub checkpoint: Option<CheckpointOrFormat>,
    /// Which capacity it would rather have, where there is a choice.
    pub capacity: Option<Capacity>,
}

/// A text for the shell, or a list of words.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Run {
    Shell(String),
    Words(Vec<Scalar>),
}

/// A command, a mapping with a command and settings, or a list of such mappings.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum HandlerForm {
    Command(Run),
    One(Box<HandlerFull>),
    Many(Vec<HandlerFull>),
}

/// A command at the end of the run, with settings as those of a step.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct HandlerFull {
    /// What it runs: a text for the shell, or a list of words for a program without a shell.
    pub run: Run,
    /// Patterns of the code that it sees, instead of the pipeline's.
    pub code: Option<OneOrMany>,
    #[schemars(flatten)]
    pub policy: Policy,
}

/// `data.NAME` or `STEP.OUTPUT`.
#[derive(JsonSchema)]
pub(super) struct Reference(#[schemars(regex(pattern = r"^[a-z][a-z0-9_-]{0,63}\.[a-z][a-z0-9_-]{0,63}$"))] String);

/// A path, or a mapping with the path and a check.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Output {
    Path(String),
    Full(OutputFull),
}

/// An output.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct OutputFull {
    /// Where the step writes it, in its workspace; `/` at the end for a folder.
    pub path: String,
    /// What must hold of it before it counts.
    pub check: Option<Check>,
}

/// A path, an address, or a mapping with one of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Publication {
    Path(String),
    Full(PublicationFull),
}

/// Where an output is published.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct PublicationFull {
    /// A path relative to this file, an absolute one, or a place in a bucket: `s3://BUCKET/PATH`.
    pub path: String,
    /// How a folder lies in a bucket [heads].
    pub mode: Option<PublicationMode>,
}

/// How a folder lies in a bucket.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum PublicationMode {
    /// All of it under its digest, and a head that names the newest.
    Heads,
    /// As plain objects that are overwritten one by one: not atomic.
    Mirror,
}

/// What must hold of an output before it counts; without any of this it must not be empty.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Check {
    /// For a folder: patterns that must each match at least one file.
    pub files: Option<OneOrMany>,
    /// The least size [1B].
    pub min_size: Option<Size>,
    /// The largest size [none].
    pub max_size: Option<Size>,
    /// For a file: its format [what its name promises].
    pub format: Option<ContentFormat>,
    /// A command that must exit 0; it sees the output at `$PRUNELLA_CHECK_PATH`.
    pub command: Option<String>,
}

/// The format of a file.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum ContentFormat {
    Any,
    Json,
    Jsonl,
    Gzip,
    Zip,
    Parquet,
    Safetensors,
    Npy,
    Npz,
}

/// What a step needs of a machine.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Resources {
    /// Processors, such as `2` or `0.5` [1].
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub cpu: Option<f64>,
    /// Memory, such as `2GiB`, or a range `2GiB..8GiB` to grow in after out-of-memory [no limit].
    pub memory: Option<SizeRange>,
    /// Accelerators [0].
    pub gpu: Option<u32>,
    /// Shared memory (`/dev/shm`) that the machine must have [any].
    pub shm: Option<Size>,
}

/// Which capacity a step would rather have; one machine has no choice.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Capacity {
    /// The kind of machine [either].
    pub prefer: Option<Prefer>,
    /// How long it waits for that kind before it takes the other [for ever].
    pub patience: Option<Duration>,
}

/// A kind of machine.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum Prefer {
    /// Cheap, and taken away at short notice.
    Spot,
    /// Dear, and left alone.
    OnDemand,
}

/// Names of secrets, or a mapping from names to files.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Secrets {
    One(Variable),
    Many(Vec<SecretItem>),
    Files(BTreeMap<Variable, SecretFile>),
}

/// A name, or a mapping from names to files.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum SecretItem {
    Name(Variable),
    File(BTreeMap<Variable, SecretFile>),
}

/// Where a secret is read from.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct SecretFile {
    /// A file whose text is the secret: absolute, or relative to this file.
    pub file: String,
}
