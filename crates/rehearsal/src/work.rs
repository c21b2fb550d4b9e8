//! What there is to do.

use std::{collections::BTreeMap, sync::Arc};

use prunella_model::{
    Check, Checkpoint, CheckpointFormat, Command, GRAPH_FORMAT, Graph, OnNotice, Output, Pipeline, PipelineName,
    Platform, PortName, RelPath, Resources, RetryPolicy, Reuse, Span, Step, StepName, Template,
};

/// The steps of a run, and how much work is in each.
#[derive(Debug, Clone)]
pub struct Work {
    /// What is run.
    pub graph: Arc<Graph>,
    /// Which steps; all for none.
    pub targets: Vec<StepName>,
    /// How long each step works without interruptions, in seconds. An item has the work of its step.
    pub seconds: BTreeMap<StepName, f64>,
    /// The work of a step that is not among them.
    pub otherwise: f64,
    /// How many items the list of a step has that another step makes.
    pub items: BTreeMap<StepName, u32>,
}

impl Work {
    /// Returns the work of a step.
    pub fn of(&self, step: &StepName) -> f64 {
        self.seconds.get(step).copied().unwrap_or(self.otherwise)
    }
}

/// Returns one step with checkpoints, of so much work.
pub fn one_step(seconds: f64) -> Work {
    let port = PortName::new("model").expect("a name");
    let output = Output { path: RelPath::new("model").expect("a path"), tree: false, check: Check::default() };
    let step = Step {
        run: Command::Shell(Template::parse("train").expect("a template")),
        inputs: BTreeMap::new(),
        outputs: BTreeMap::from([(port, output)]),
        checkpoint: Some(Checkpoint {
            format: CheckpointFormat::Files,
            every: Span::default(),
            auto: true,
            keep: 2,
            grace: Span::from_secs(30),
            sealed: false,
            ranks: None,
        }),
        resources: Resources::default(),
        env: BTreeMap::new(),
        pass_env: Vec::new(),
        secrets: Vec::new(),
        secret_files: Default::default(),
        retry: RetryPolicy::default(),
        timeout: None,
        stall: None,
        deterministic: true,
        capacity: None,
        reuse: Reuse::Always,
        on_notice: OnNotice::Interrupt,
        for_each: None,
        after: Vec::new(),
        code: None,
        publish: BTreeMap::new(),
        when: None,
        handler: None,
    };
    let graph = Graph {
        format: GRAPH_FORMAT,
        pipeline: Pipeline {
            name: PipelineName::new("simulated").expect("a name"),
            params: BTreeMap::new(),
            data: BTreeMap::new(),
            mounted: Default::default(),
            referenced: Default::default(),
            code: Vec::new(),
            environment: None,
            steps: [(StepName::new("train").expect("a name"), step)].into_iter().collect(),
        },
        data: BTreeMap::new(),
        code: None,
        step_code: BTreeMap::new(),
        environment: None,
        platform: Platform { os: "linux".to_owned(), arch: "x86_64".to_owned() },
        force: BTreeMap::new(),
        warm: BTreeMap::new(),
    };
    let (targets, items) = (Vec::new(), BTreeMap::new());
    Work { graph: Arc::new(graph), targets, seconds: BTreeMap::new(), otherwise: seconds, items }
}
