//! The step key: everything that can change a step's result, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ArtifactKind, Check, Command, Digest, Encoder, Graph, ParamValue, PortName, Reference, Reuse, RunId, Source, Step,
    StepId, StepKey,
};

/// The version of the encoding; it is the first thing in every key.
pub const KEY_FORMAT: &str = "prunella-key-1";

/// An input whose content is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundInput {
    /// File or tree.
    pub kind: ArtifactKind,
    /// The base name under which it is laid out.
    pub base_name: String,
    /// Its content.
    pub digest: Digest,
}

/// Which run and driver ask; it enters the key only as far as `reuse` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyScope {
    /// The run.
    pub run: RunId,
    /// The driver's number.
    pub driver: u64,
}

/// Returns the key of `id`, whose inputs have these contents.
///
/// Pure: equal arguments give equal keys on every machine. Secrets enter by name. Retries, limits, timeouts and
/// resources do not enter: they change whether a step finishes, not what it makes.
pub fn step_key(
    graph: &Graph,
    id: &StepId,
    step: &Step,
    inputs: &BTreeMap<PortName, BoundInput>,
    scope: &KeyScope,
) -> StepKey {
    let mut e = Encoder::new(KEY_FORMAT);
    command(&mut e, &step.run);
    e.field("item");
    match &id.item {
        Some(item) => e.text(item.as_str()),
        None => e.nothing(),
    };
    e.field("params");
    let referenced: BTreeSet<_> = step
        .run
        .templates()
        .iter()
        .flat_map(|template| template.references())
        .filter_map(|reference| match reference {
            Reference::Param(name) => Some(name),
            Reference::Input(_) | Reference::Output(_) | Reference::Item(_) => None,
        })
        .collect();
    e.list(referenced.len());
    for name in referenced {
        e.text(name.as_str());
        match graph.pipeline.params.get(name.as_str()) {
            None => e.nothing(),
            Some(ParamValue::Bool(b)) => e.field("bool").integer(i128::from(*b)),
            Some(ParamValue::Integer(n)) => e.field("integer").integer(i128::from(*n)),
            Some(ParamValue::Decimal(text)) => e.field("decimal").text(text),
            Some(ParamValue::Text(text)) => e.field("text").text(text),
            Some(ParamValue::List(items)) => {
                e.field("list").list(items.len());
                items.iter().fold(&mut e, |e, item| e.text(item.as_str()))
            }
        };
    }
    e.field("environment");
    match &graph.environment {
        Some(pin) => e.digest(&pin.digest),
        None => e.field("host").text(&graph.platform.os).text(&graph.platform.arch),
    };
    e.field("code");
    match graph.code_of(&id.name) {
        Some(artifact) => e.digest(&artifact.digest),
        None => e.nothing(),
    };
    e.field("inputs").list(inputs.len());
    for (name, input) in inputs {
        let kind = if is_reference(graph, step, name) { "reference" } else { kind(input.kind) };
        e.text(name.as_str()).text(kind).text(&input.base_name).digest(&input.digest);
    }
    e.field("env").list(step.env.len());
    for (name, value) in &step.env {
        e.text(name.as_str()).text(value);
    }
    let secrets: BTreeSet<_> = step.secrets.iter().collect();
    e.field("secrets").list(secrets.len());
    for name in secrets {
        e.text(name.as_str());
    }
    e.field("outputs").list(step.outputs.len());
    for (name, output) in &step.outputs {
        e.text(name.as_str()).text(output.path.as_str());
        e.text(kind(if output.tree { ArtifactKind::Tree } else { ArtifactKind::File }));
        check(&mut e, &output.check);
    }
    e.field("reuse");
    match step.reuse {
        Reuse::Always => e.text("always"),
        Reuse::Run => e.text("run").text(scope.run.as_str()),
        Reuse::Never => e.text("never").text(scope.run.as_str()).integer(i128::from(scope.driver)),
    };
    e.field("force");
    match graph.force.get(&id.name) {
        Some(nonce) => e.text(nonce),
        None => e.nothing(),
    };
    // Only where there is one: the keys of all other steps stay what they are.
    if let Some(warm) = graph.warm.get(&id.name) {
        e.field("warm").text(&warm.entry).text(match (warm.artifact.kind, warm.executable) {
            (ArtifactKind::Tree, _) => "tree",
            (ArtifactKind::File, false) => "file",
            (ArtifactKind::File, true) => "executable",
        });
        e.digest(&warm.artifact.digest);
    }
    StepKey(e.finish())
}

/// A step that is given a listing reads what it lists: other work than one that is given a file with the same text.
fn is_reference(graph: &Graph, step: &Step, input: &PortName) -> bool {
    match step.inputs.get(input) {
        Some(Source::Data(data)) => graph.data.get(data).is_some_and(|pin| pin.referenced.is_some()),
        Some(Source::Step { .. }) | None => false,
    }
}

fn kind(kind: ArtifactKind) -> &'static str {
    match kind {
        ArtifactKind::File => "file",
        ArtifactKind::Tree => "tree",
    }
}

fn command(e: &mut Encoder, run: &Command) {
    // The templates enter as written and the values beside them: equal pairs render equally.
    match run {
        Command::Shell(template) => e.field("shell").text(template.source()),
        Command::Argv(templates) => {
            e.field("argv").list(templates.len());
            for template in templates {
                e.text(template.source());
            }
            e
        }
    };
}

fn check(e: &mut Encoder, check: &Check) {
    e.field("files").list(check.files.len());
    for pattern in &check.files {
        e.text(pattern);
    }
    for (name, size) in [("min", check.min_size), ("max", check.max_size)] {
        e.field(name);
        match size {
            Some(size) => e.integer(i128::from(size.bytes())),
            None => e.nothing(),
        };
    }
    e.field("format");
    match check.format {
        Some(format) => e.text(format.as_str()),
        None => e.nothing(),
    };
    e.field("command");
    match &check.command {
        Some(command) => e.text(command),
        None => e.nothing(),
    };
}
