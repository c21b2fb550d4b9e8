//! A run that is made up event by event, and looked at meanwhile.

use std::{collections::BTreeMap, sync::Arc};

use prunella_attempt::Told;
use prunella_engine::{Outcome, Plan};
use prunella_healing::{Ending, Evidence, Phase as AttemptPhase, Spent};
use prunella_journal::{Event, NextTry, Position, RunState, RunStatus, Stamped, StepIndex};
use prunella_manifest::{FileKind, Files, Overrides, Source, read};
use prunella_model::{
    Artifact, ArtifactKind, ByteSize, CheckpointId, Class, Digest, Epoch, GRAPH_FORMAT, Graph, Platform, PortName,
    RunId, SlotId, Span, StepId, StepKey, StepName, WriterId,
};
use prunella_process::Stream;

use crate::progress::{
    coverage::Coverage,
    ending::{End, GivenUp},
    frame::{Size, frame},
    model::Model,
    plain::Plain,
};

struct NoFiles;

impl Files for NoFiles {
    fn kind(&self, _: &str) -> Option<FileKind> {
        None
    }
    fn glob_matches(&self, _: &str) -> usize {
        0
    }
}

pub const DIGITS: &str = "
prunella: v1
name: digits
steps:
  split: { run: a, outputs: { train: train.npz } }
  train:
    run: b
    inputs: { train: split.train }
    outputs: { model: model/ }
    checkpoint: { format: files }
  evaluate: { run: c, inputs: { model: train.model, test: split.train }, outputs: { metrics: metrics.json } }
  report: { run: d, inputs: { metrics: evaluate.metrics }, outputs: { page: out/report.html } }
";

fn plan_of(text: &str) -> Arc<Plan> {
    let source = Source { name: "pipeline.yaml".to_owned(), text: text.to_owned() };
    let pipeline = read(&source, &Overrides::default(), &NoFiles).expect("a pipeline").pipeline;
    let graph = Graph {
        format: GRAPH_FORMAT,
        pipeline,
        data: BTreeMap::new(),
        code: None,
        step_code: BTreeMap::new(),
        environment: None,
        platform: Platform { os: "linux".to_owned(), arch: "x86_64".to_owned() },
        force: BTreeMap::new(),
        warm: BTreeMap::new(),
    };
    Arc::new(Plan::build(Arc::new(graph), &[]).expect("a plan"))
}

/// A run that is looked at while it is made up.
pub struct Watched {
    pub plan: Arc<Plan>,
    pub state: RunState,
    pub model: Model,
    pub plain: Plain,
    pub lines: Vec<String>,
    pub events: Vec<Stamped>,
    pub now: u64,
}

pub fn id(name: &str) -> StepId {
    StepId::plain(StepName::new(name).expect("a name"))
}

pub fn slot(name: &str, epoch: u64) -> SlotId {
    SlotId { key: StepKey(Digest::of(name.as_bytes())), epoch: Epoch(epoch) }
}

impl Watched {
    pub fn new(text: &str) -> Self {
        let plan = plan_of(text);
        let state = RunState::new(plan.topology().clone());
        let (model, plain) = (Model::default(), Plain::new(false));
        let mut this = Self { plan, state, model, plain, lines: Vec::new(), events: Vec::new(), now: 0 };
        this.model.begin(&[], &this.state);
        this.plain.begin("digits  run 0193c", &this.model, &mut this.lines);
        let graph = this.plan.graph().digest();
        let pipeline = this.plan.graph().pipeline.name.clone();
        this.at(
            0,
            Event::RunStarted { run: RunId::new("0193c").expect("an id"), pipeline, graph, params: BTreeMap::new() },
        );
        let engine = "0.1.0".to_owned();
        this.at(
            0,
            Event::DriverStarted { driver: 1, engine, continues: Position::START, budgets_reset: false, retried: None },
        );
        this
    }

    pub fn at(&mut self, now: u64, event: Event) {
        self.now = now;
        let stamped = Stamped { at_ms: 1_700_000_000_000 + now, mono: Span::from_millis(now), event };
        self.state.apply(&stamped).expect("it can happen");
        self.model.push(&stamped, &self.state);
        let step = stamped.event.step().and_then(|step| self.plan.index(step));
        self.plain.event(&stamped, step, &self.model, &self.plan, &mut self.lines);
        self.events.push(stamped);
    }

    pub fn keyed(&mut self, now: u64, name: &str) {
        self.at(now, Event::StepKeyed { step: id(name), key: slot(name, 1).key });
    }

    pub fn reused(&mut self, now: u64, name: &str) {
        self.keyed(now, name);
        self.at(
            now,
            Event::StepReused {
                step: id(name),
                slot: slot(name, 1),
                artifacts: self.artifacts(name),
                copied_from: None,
            },
        );
    }

    pub fn artifacts(&self, name: &str) -> BTreeMap<PortName, Artifact> {
        let step = self.plan.step(self.index(name));
        let artifact = Artifact { kind: ArtifactKind::File, digest: Digest::of(name.as_bytes()), size_bytes: 100 };
        step.outputs.keys().map(|port| (port.clone(), artifact)).collect()
    }

    pub fn index(&self, name: &str) -> StepIndex {
        self.plan.index(&id(name)).expect("a step")
    }

    pub fn started(&mut self, now: u64, name: &str, epoch: u64) {
        if epoch == 1 {
            self.keyed(now, name);
            self.at(now, Event::StepMissed { step: id(name) });
        }
        self.at(
            now,
            Event::AttemptStarted { step: id(name), slot: slot(name, epoch), writer: WriterId::from_random(1) },
        );
    }

    pub fn runs(&mut self, now: u64, name: &str, epoch: u64) {
        let (step, slot) = (id(name), slot(name, epoch));
        self.at(now, Event::ProcessStarted { step, slot, pid: 7, accelerators: Vec::new() });
    }

    pub fn says(&mut self, name: &str, text: &str) {
        let told = Told::Line { stream: Stream::Stdout, text: text.to_owned() };
        self.model.tell(self.index(name), &told);
    }

    pub fn checkpoint(&mut self, now: u64, name: &str, epoch: u64, seq: u64) {
        let (step, slot, size) = (id(name), slot(name, epoch), ByteSize(1000));
        let (checkpoint, took) = (CheckpointId { slot, seq }, Span::from_millis(5));
        self.at(now, Event::CheckpointTaken { step: step.clone(), slot, checkpoint, size, took });
        self.at(now, Event::CheckpointDurable { step, slot, checkpoint, size, took });
    }

    pub fn ends(&mut self, now: u64, name: &str, epoch: u64, class: Class, ended: Ending, compute: u64) {
        let mut evidence = Evidence::of(ended, AttemptPhase::Run);
        evidence.stderr_tail = vec!["loading".to_owned(), "ValueError: labels differ".to_owned()];
        self.at(
            now,
            Event::AttemptEnded {
                step: id(name),
                slot: slot(name, epoch),
                class,
                evidence: Box::new(evidence),
                spent: Box::new(Spent::default()),
                compute: Span::from_millis(compute),
                lost: Span::default(),
            },
        );
    }

    pub fn heals(&mut self, now: u64, name: &str, class: Class, delay: u64) {
        let next = NextTry { delay: Span::from_millis(delay), ..NextTry::default() };
        let remedy = "again from the newest checkpoint".to_owned();
        self.at(now, Event::StepHealing { step: id(name), class, next, remedy });
    }

    pub fn restored(&mut self, now: u64, name: &str, epoch: u64, from: CheckpointId) {
        let took = Span::from_millis(20);
        self.at(now, Event::StateRestored { step: id(name), slot: slot(name, epoch), checkpoint: from, took });
    }

    pub fn commits(&mut self, now: u64, name: &str, epoch: u64, compute: u64) {
        let (step, slot, artifacts) = (id(name), slot(name, epoch), self.artifacts(name));
        self.at(now, Event::StepCommitted { step, slot, artifacts, compute: Span::from_millis(compute) });
    }

    /// The screen of this moment, without colours.
    pub fn screen(&self, now: u64, columns: usize, rows: usize) -> String {
        let rows = frame(&self.model, "digits  run 0193c", Span::from_millis(now), Size { columns, rows });
        let lines = rows.iter().map(|row| row.iter().map(|(_, text)| text.as_str()).collect::<String>());
        lines.map(|line| format!("{}\n", line.trim_end())).collect()
    }

    pub fn log(&mut self) -> String {
        self.plain.flush(&self.model, &mut self.lines);
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    pub fn outcome(&self, status: RunStatus) -> Outcome {
        Outcome {
            run: RunId::new("0193c").expect("an id"),
            status,
            wall: Span::from_millis(self.now),
            state: self.state.clone(),
            plan: self.plan.clone(),
        }
    }

    pub fn end(&self, status: RunStatus, given_up: &[GivenUp]) -> String {
        let (outcome, figures) = (self.outcome(status), self.model.figures.finish());
        let coverage = Coverage::of(&self.plan, &self.state);
        let end = End { outcome: &outcome, figures: &figures, coverage: &coverage, given_up };
        let text = |line: Vec<(_, String)>| line.into_iter().map(|(_, text)| text).collect::<String>();
        end.lines().into_iter().map(|line| format!("{}\n", text(line))).collect()
    }
}

/// Killed at 9.1 s after its second checkpoint, back 0.11 s later.
pub fn killed() -> Watched {
    let mut run = Watched::new(DIGITS);
    run.reused(10, "split");
    run.started(20, "train", 1);
    run.runs(50, "train", 1);
    run.says("train", "epoch 13/30");
    run.checkpoint(8000, "train", 1, 1);
    run.says("train", "epoch 14/30");
    run.checkpoint(8600, "train", 1, 2);
    run.says("train", "epoch 15/30");
    run.ends(9105, "train", 1, Class::Killed, Ending::Signaled { signal: 9, by_us: None }, 9050);
    run.heals(9106, "train", Class::Killed, 0);
    run.started(9110, "train", 2);
    run.restored(9190, "train", 2, CheckpointId { slot: slot("train", 1), seq: 2 });
    run.runs(9210, "train", 2);
    run.says("train", "epoch 17/30");
    run.checkpoint(10_500, "train", 2, 1);
    run.says("train", "epoch 18/30");
    run
}
