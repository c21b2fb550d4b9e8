//! Records whose content does not matter, so that a new field costs one line.

use std::collections::BTreeMap;

use prunella_model::{Class, Graph, Pipeline, PipelineName, Platform, RunId, StepId};
use prunella_store::records::{Closed, Provenance};

/// Returns a graph without steps.
pub fn graph(pipeline: PipelineName) -> Graph {
    Graph {
        format: 1,
        pipeline: Pipeline {
            name: pipeline,
            params: BTreeMap::new(),
            data: BTreeMap::new(),
            mounted: Default::default(),
            referenced: Default::default(),
            code: Vec::new(),
            environment: None,
            steps: Default::default(),
        },
        data: BTreeMap::new(),
        code: None,
        step_code: BTreeMap::new(),
        environment: None,
        platform: Platform { os: "linux".into(), arch: "x86_64".into() },
        force: BTreeMap::new(),
        warm: BTreeMap::new(),
    }
}

/// Returns where the artifacts of some command come from.
pub fn provenance(pipeline: PipelineName) -> Provenance {
    Provenance {
        item: None,
        pipeline,
        command: vec!["true".into()],
        code: None,
        environment: None,
        platform: "linux-x86_64".into(),
        params: BTreeMap::new(),
        env: BTreeMap::new(),
        inputs: BTreeMap::new(),
        restored: None,
        remarks: Vec::new(),
        copied_from: None,
    }
}

/// Returns the end of an attempt that was killed.
pub fn closed(run: RunId, step: StepId) -> Closed {
    Closed {
        class: Class::Killed,
        evidence: Default::default(),
        spent: Default::default(),
        run,
        step,
        timeline: Default::default(),
    }
}
