//! Graphs of tests: steps in words.

use std::collections::BTreeMap;
use std::sync::Arc;

use prunella_model::{Command as Run, *};

/// A step of a test's graph.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// What it runs; steps with one command and the same inputs are the same work.
    pub command: String,
    /// Producers of its inputs.
    pub needs: Vec<String>,
    /// Steps that only come before it.
    pub after: Vec<String>,
    /// The step whose output its condition reads.
    pub when: Option<String>,
    /// What it fans out over.
    pub for_each: Option<ForEach>,
    /// Whether it runs at the end of the run.
    pub handler: Option<Handler>,
    /// Whether its output is published.
    pub publish: bool,
    pub resources: Resources,
    pub retry: RetryPolicy,
}

pub fn spec(needs: &[&str]) -> Spec {
    Spec { command: String::new(), needs: needs.iter().map(|n| (*n).to_owned()).collect(), ..Spec::default() }
}

pub fn name(text: &str) -> StepName {
    StepName::new(text).expect("a name")
}

pub fn id(text: &str) -> StepId {
    StepId::plain(name(text))
}

/// The graph of these steps; every step has one output, and every need is an input `in-<producer>`.
pub fn graph(steps: &[(String, Spec)]) -> Arc<Graph> {
    let out = PortName::new("out").expect("a name");
    let output = Output { path: RelPath::new("out").expect("a path"), tree: false, check: Check::default() };
    let step = |own: &str, spec: &Spec| {
        let text = if spec.command.is_empty() { own } else { &spec.command };
        let input = |need: &String| {
            (
                PortName::new(&format!("in-{need}")).expect("a name"),
                Source::Step { step: name(need), output: out.clone() },
            )
        };
        Step {
            run: Run::Shell(Template::parse(text).expect("a template")),
            inputs: spec.needs.iter().map(input).collect(),
            outputs: BTreeMap::from([(out.clone(), output.clone())]),
            checkpoint: None,
            resources: spec.resources,
            env: BTreeMap::new(),
            pass_env: Vec::new(),
            secrets: Vec::new(),
            secret_files: Default::default(),
            retry: spec.retry.clone(),
            timeout: None,
            stall: None,
            deterministic: true,
            capacity: None,
            reuse: Reuse::Always,
            on_notice: OnNotice::Interrupt,
            for_each: spec.for_each.clone(),
            after: spec.after.iter().map(|step| name(step)).collect(),
            code: None,
            publish: spec
                .publish
                .then(|| (out.clone(), Publication { path: own.to_owned(), mirror: false }))
                .into_iter()
                .collect(),
            when: spec.when.as_ref().map(|step| When {
                expression: format!("{step}.out"),
                reads: vec![OutputRead { step: name(step), output: out.clone() }],
            }),
            handler: spec.handler,
        }
    };
    Arc::new(Graph {
        format: GRAPH_FORMAT,
        pipeline: Pipeline {
            name: PipelineName::new("test").expect("a name"),
            params: BTreeMap::new(),
            data: BTreeMap::new(),
            mounted: Default::default(),
            referenced: Default::default(),
            code: Vec::new(),
            environment: None,
            steps: steps.iter().map(|(own, spec)| (name(own), step(own, spec))).collect(),
        },
        data: BTreeMap::new(),
        code: None,
        step_code: BTreeMap::new(),
        environment: None,
        platform: Platform { os: "linux".to_owned(), arch: "x86_64".to_owned() },
        force: BTreeMap::new(),
        warm: BTreeMap::new(),
    })
}
