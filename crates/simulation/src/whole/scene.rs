//! The pipelines that whole runs are of, and what must come of them.

use std::{collections::BTreeMap, path::PathBuf, sync::OnceLock};

use prunella_manifest::{FileKind, Files, Overrides, Source};
use prunella_model::{
    Artifact, ArtifactKind, DataName, DataPin, Digest, GRAPH_FORMAT, Graph, Pipeline, PipelineName, Platform,
};

use super::program::{made_of, trained, untrained};

/// Steps of the training.
const STEPS: u64 = 12;

const TEXT: &str = "\
prunella: v1
name: simulated
data: { raw: raw.txt }
steps:
  prepare:
    run: prepare
    inputs: { raw: data.raw }
    outputs: { out: out.txt }
    retry: { error: { limit: 12 } }
  train:
    run: train 12
    inputs: { data: prepare.out }
    outputs: { model: model.txt }
    checkpoint: { format: files, every: 20s, grace: 15s }
    resources: { memory: 1GiB..8GiB }
    retry: { error: { limit: 12 } }
  describe:
    run: describe
    inputs: { data: prepare.out }
    outputs: { out: out.txt }
    retry: { error: { limit: 12 } }
  report:
    run: report
    inputs: { model: train.model, text: describe.out }
    outputs: { page: page.txt }
    publish: { page: out/page }
    retry: { error: { limit: 12 } }
";

struct Lone;

impl Files for Lone {
    fn kind(&self, _: &str) -> Option<FileKind> {
        Some(FileKind::File)
    }

    fn glob_matches(&self, _: &str) -> usize {
        0
    }
}

fn pipeline() -> &'static Pipeline {
    static READ: OnceLock<Pipeline> = OnceLock::new();
    READ.get_or_init(|| {
        let source = Source { name: "pipeline.yaml".into(), text: TEXT.to_owned() };
        let read = prunella_manifest::read(&source, &Overrides::default(), &Lone);
        read.unwrap_or_else(|wrong| panic!("{wrong:#?}")).pipeline
    })
}

/// Returns the name of the pipeline.
pub(crate) fn name() -> PipelineName {
    pipeline().name.clone()
}

/// Returns the data of one of the variants.
pub(crate) fn raw(variant: u64) -> Vec<u8> {
    format!("data {variant}").into_bytes()
}

/// Returns what the data of a variant is.
pub(crate) fn artifact(variant: u64) -> Artifact {
    let bytes = raw(variant);
    Artifact { kind: ArtifactKind::File, digest: Digest::of(&bytes), size_bytes: bytes.len() as u64 }
}

/// Returns the graph of a run.
pub(crate) fn graph(variant: u64) -> Graph {
    let pin = DataPin {
        artifact: artifact(variant),
        base_name: "raw.txt".to_owned(),
        pinned: true,
        mounted: None,
        referenced: None,
    };
    Graph {
        format: GRAPH_FORMAT,
        pipeline: pipeline().clone(),
        data: BTreeMap::from([(DataName::new("raw").expect("a name"), pin)]),
        code: None,
        step_code: BTreeMap::new(),
        environment: None,
        platform: Platform { os: "linux".into(), arch: "x86_64".into() },
        force: BTreeMap::new(),
        warm: BTreeMap::new(),
    }
}

/// Returns where publications lie.
pub(crate) fn base() -> PathBuf {
    PathBuf::from("/")
}

/// Returns what every step must have made, as an undisturbed run makes it.
pub(crate) fn results(variant: u64) -> BTreeMap<&'static str, Digest> {
    let prepared = made_of("prepare", &[&raw(variant)]);
    let model = (1..=STEPS).fold(untrained(&prepared), |state, n| trained(&state, n)).into_bytes();
    let described = made_of("describe", &[&prepared]);
    // Inputs come in the order of their variables.
    let page = made_of("report", &[&model, &described]);
    BTreeMap::from([
        ("prepare", Digest::of(&prepared)),
        ("train", Digest::of(&model)),
        ("describe", Digest::of(&described)),
        ("report", Digest::of(&page)),
    ])
}
