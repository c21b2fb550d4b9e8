//! `prunella explain`: why a step is as it is.

use std::sync::Arc;

use clap::Args;
use prunella_engine::{Plan, load_state};
use prunella_healing::{Evidence, JitterSeed, Remedy, Spent, Traits, remedy, root_cause};
use prunella_journal::{RunState, SkippedBy, Stamped, StepIndex, StepState};
use prunella_model::{CheckpointId, Class, RunId, SlotId, Source, StepId, StepKey};
use prunella_store::{
    SlotView, Store,
    records::{Committed, End, GraphRecord, InputProvenance},
};
use serde_json::{Value, json};

use super::{reading, run_and_step};
use crate::{
    answer::{say, say_json},
    args::Output,
    condition::{self, Condition, StepCondition},
    context::Context,
    error::CliError,
    evidence::in_words,
    history,
    items::Items,
    present::{Line, Paint, Tone, artifact, attempt, columns, indented, lasting, moment, short},
    skips::{Decided, decided, expression, seen, why_skipped},
};

/// Show why a step is as it is, and what to do.
///
/// Its attempts with what was seen and done about it, its key, where its inputs come from, and what to do next.
#[derive(Debug, Args)]
pub struct Explain {
    /// The step; before it a run, or the beginning of its id.
    #[arg(value_name = "[RUN] STEP", required = true, num_args = 1..=2)]
    words: Vec<String>,
}

/// One attempt: its records, and what else the journal knows.
struct Tried<'a> {
    slot: SlotId,
    view: SlotView,
    known: Option<history::Attempt<'a>>,
}

struct Subject<'a> {
    run: RunId,
    step: StepId,
    place: StepIndex,
    plan: &'a Plan,
    state: &'a RunState,
    record: &'a GraphRecord,
    run_condition: Condition,
    condition: StepCondition,
    key: Option<StepKey>,
    bound: Option<(SlotId, Committed)>,
    /// Who made the commit, if it was another run.
    made_by: Option<(RunId, StepId)>,
    tried: Vec<Tried<'a>>,
    /// Inputs by name: where from, what, and which attempt made it.
    inputs: Vec<(String, InputProvenance, Option<String>)>,
    checkpoints: Vec<CheckpointId>,
    /// How its condition was answered.
    decided: Option<Decided<'a>>,
}

impl Explain {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no such step, or the store does not answer.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let store = reading(context)?;
        let (run, step) = run_and_step(&store, &self.words).await?;
        let (record, plan, state, events) = load_state(&store, &run).await?;
        let Some(place) = plan.index(&step) else {
            let hint = "it was not among the steps asked for, nor needed by them".to_owned();
            return Err(CliError::Usage(format!("run {run} leaves `{step}` out"), Some(hint)));
        };
        let (_, run_condition) = condition::of(&store, &run, state.ended()).await?;
        if plan.topology().is_group(place) {
            let bound = store.bindings(&run).await?;
            let (plan, state, bound) = (&*plan, &state, &bound);
            let items = Items { run: &run, condition: run_condition, plan, state, bound, step: place };
            match context.output {
                Output::Json => say_json(&items.as_json())?,
                Output::Text => say(&items.text(Paint::of(context)))?,
            }
            return Ok(0);
        }
        let subject =
            Subject::find(&store, &run, &step, place, (&record, &plan, &state, &events), run_condition).await?;
        match context.output {
            Output::Json => say_json(&subject.as_json())?,
            Output::Text => say(&subject.text(Paint::of(context)))?,
        }
        Ok(0)
    }
}

type Read<'a> = (&'a Arc<GraphRecord>, &'a Arc<Plan>, &'a RunState, &'a [Stamped]);

impl<'a> Subject<'a> {
    async fn find(
        store: &Store,
        run: &RunId,
        step: &StepId,
        place: StepIndex,
        (record, plan, state, events): Read<'a>,
        run_condition: Condition,
    ) -> Result<Self, CliError> {
        let slot = match state.done(place) {
            Some(done) => Some(done.slot),
            // `exec` binds without a journal.
            None => store.binding(run, step).await?,
        };
        let mut keys = history::keys(events, step);
        if let Some(slot) = slot {
            keys.retain(|key| *key != slot.key);
            keys.push(slot.key);
        }
        let known = history::attempts(events, step);
        let mut tried = Vec::new();
        for key in &keys {
            for (epoch, view) in store.look(key).await?.slots {
                let slot_here = SlotId { key: *key, epoch };
                let ours = view.start.as_ref().is_some_and(|start| start.run == *run && start.step == *step);
                if ours || slot == Some(slot_here) {
                    let known = known.iter().find(|attempt| attempt.slot == slot_here).cloned();
                    tried.push(Tried { slot: slot_here, view: *view, known });
                }
            }
        }
        let bound = match slot {
            Some(slot) => store.committed(&slot).await?.map(|committed| (slot, committed)),
            None => None,
        };
        let mut made_by = None;
        if let Some((slot, _)) = &bound
            && let Some(start) = store.start_of(slot).await?
            && (start.run != *run || start.step != *step)
        {
            made_by = Some((start.run, start.step));
        }
        let mut inputs = Vec::new();
        for (name, provenance) in inputs_of(plan, state, place, bound.as_ref().map(|(_, committed)| committed)) {
            let producer = match provenance.slot {
                Some(slot) => store
                    .start_of(&slot)
                    .await?
                    .map(|start| format!("{} of run {}", attempt(&start.step, &slot), short(&start.run))),
                None => None,
            };
            inputs.push((name, provenance, producer));
        }
        let checkpoints = match keys.last() {
            Some(key) if plan.step(place).checkpoint.is_some() => store.checkpoints(key).await?,
            _ => Vec::new(),
        };
        let mut condition = StepCondition::of(state, place, run_condition);
        if state.done(place).is_none() && bound.is_some() {
            condition = if made_by.is_some() { StepCondition::Reused } else { StepCondition::Done };
        }
        Ok(Self {
            run: run.clone(),
            step: step.clone(),
            place,
            plan,
            state,
            record,
            run_condition,
            condition,
            key: keys.last().copied(),
            bound,
            made_by,
            tried,
            inputs,
            checkpoints,
            decided: decided(events, step),
        })
    }

    fn as_json(&self) -> Value {
        let tried: Vec<Value> = self.tried.iter().map(|tried| tried.as_json(&self.step)).collect();
        let inputs: Vec<Value> = self
            .inputs
            .iter()
            .map(|(name, input, producer)| {
                json!({
                    "input": name,
                    "source": input.source,
                    "artifact": input.artifact,
                    "producer": producer,
                    "producer_key": input.slot.map(|slot| slot.key.hex()),
                    "producer_epoch": input.slot.map(|slot| slot.epoch.0),
                })
            })
            .collect();
        let mut out = json!({
            "run": self.run,
            "step": self.step.to_string(),
            "state": self.condition,
            "key": self.key.map(|key| key.hex()),
            "inputs": inputs,
            "attempts": tried,
            "checkpoints": self.checkpoints.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "next": self.next(),
        });
        if let Some((slot, committed)) = &self.bound {
            out["commit"] = json!({
                "epoch": slot.epoch.0,
                "artifacts": committed.artifacts.iter()
                    .map(|(name, stored)| (name.to_string(), json!(stored.artifact)))
                    .collect::<serde_json::Map<_, _>>(),
                "provenance": committed.provenance,
                "reused_from": self.made_by.as_ref().map(|(run, _)| run),
            });
        }
        match self.state.state(self.place) {
            StepState::Failed { class, why } => {
                out["class"] = class.as_str().into();
                out["why"] = why.to_string().into();
            }
            StepState::Skipped { by } => out["why"] = why_skipped(self.plan, self.place, *by).into(),
            _ => {}
        }
        if let Some(when) = &self.plan.step(self.place).when {
            out["when"] = json!({
                "expression": when.expression,
                "reads": when.reads.iter().map(|read| format!("{}.{}", read.step, read.output)).collect::<Vec<_>>(),
                "holds": self.decided.as_ref().map(|decided| decided.run),
                "saw": self.decided.as_ref().map(|decided| decided.saw),
            });
        }
        out
    }

    fn text(&self, paint: Paint) -> String {
        let mut out = format!(
            "{}  run {}  {}\n",
            paint.tone(Tone::Strong, &self.step.to_string()),
            self.run,
            paint.tone(tone(self.condition), self.condition.as_str())
        );
        match (self.state.state(self.place), &self.made_by) {
            (StepState::Failed { class, why }, _) => out.push_str(&format!("given up: {class}: {why}\n")),
            (StepState::Blocked { by }, _) => {
                out.push_str(&format!("it needs {}, which was given up\n", self.plan.id(*by)));
            }
            (StepState::Skipped { by: SkippedBy::Need(by) }, _) => {
                out.push_str(&format!("skipped: it reads {}, which was skipped\n", self.plan.id(*by)));
            }
            (_, Some((run, step))) => {
                let (slot, _) = self.bound.as_ref().expect("only a commit is made by somebody");
                out.push_str(&format!(
                    "reused: {} of run {} is the same work (command, code, parameters and inputs are equal)\n",
                    attempt(step, slot),
                    short(run)
                ));
            }
            _ => {}
        }
        self.condition_text(&mut out);
        match self.key {
            _ if self.condition == StepCondition::Skipped => {}
            Some(key) => out.push_str(&format!("key {}\n", key.hex())),
            None => out.push_str("key not known before what it needs is done\n"),
        }
        self.lineage(paint, &mut out);
        for tried in &self.tried {
            tried.text(paint, &self.step, &mut out);
        }
        if let Some((_, committed)) = &self.bound {
            out.push_str("outputs\n");
            let lines = committed
                .artifacts
                .iter()
                .map(|(name, stored)| Line(Tone::Plain, vec![format!("  {name}"), artifact(&stored.artifact)]));
            out.push_str(&columns(paint, &lines.collect::<Vec<_>>()));
        }
        if let Some(newest) = self.checkpoints.first() {
            out.push_str(&format!("checkpoints of this key: {}, the newest {newest}\n", self.checkpoints.len()));
        }
        for next in self.next() {
            out.push_str(&format!("  next: {next}\n"));
        }
        out
    }

    fn condition_text(&self, out: &mut String) {
        let spec = self.plan.step(self.place);
        if spec.when.is_none() {
            return;
        }
        let answer = match &self.decided {
            None => "not answered yet",
            Some(decided) if decided.run => "it holds",
            Some(_) => "it does not hold",
        };
        out.push_str(&format!("condition {}: {answer}\n", expression(spec)));
        if let Some(decided) = self.decided.as_ref().filter(|decided| !decided.saw.is_empty()) {
            out.push_str(&format!("  saw {}\n", seen(decided.saw)));
        }
    }

    fn lineage(&self, paint: Paint, out: &mut String) {
        if let Some((_, committed)) = &self.bound {
            let provenance = &committed.provenance;
            out.push_str(&format!("command {}\n", one_line(&provenance.command)));
            if let Some(code) = provenance.code {
                out.push_str(&format!("code {}\n", code.short()));
            }
            match provenance.environment {
                Some(lock) => out.push_str(&format!("environment {}\n", lock.short())),
                None => out.push_str(&format!("on the host ({})\n", provenance.platform)),
            }
            for (name, value) in &provenance.params {
                out.push_str(&format!("param {name} = {value}\n"));
            }
            for remark in &provenance.remarks {
                out.push_str(&format!("remark: {remark}\n"));
            }
        }
        if self.inputs.is_empty() {
            return;
        }
        out.push_str("inputs\n");
        let lines = self.inputs.iter().map(|(name, input, producer)| {
            let producer = producer.as_ref().map_or_else(String::new, |by| format!(", made by {by}"));
            let from = format!("from {}{producer}", input.source);
            Line(Tone::Plain, vec![format!("  {name}"), artifact(&input.artifact), from])
        });
        out.push_str(&columns(paint, &lines.collect::<Vec<_>>()));
    }

    /// Returns what a person can do, the most useful first.
    fn next(&self) -> Vec<String> {
        let (run, step) = (short(&self.run), &self.step);
        match self.condition {
            StepCondition::Done | StepCondition::Reused => {
                let outputs = self.plan.step(self.place).outputs.keys();
                outputs.map(|output| format!("prunella get {run} {step}.{output}")).take(1).collect()
            }
            StepCondition::Running | StepCondition::Healing => vec![format!("prunella logs {run} {step} --follow")],
            StepCondition::Failed => {
                let mut next: Vec<String> = self.hint().into_iter().collect();
                next.push(format!("prunella logs {run} {step}"));
                next.push(format!(
                    "then `prunella run` (a corrected file) or `prunella resume {run}` (the same again)"
                ));
                next
            }
            StepCondition::Blocked => match self.state.state(self.place) {
                StepState::Blocked { by } => vec![format!("prunella explain {run} {}", self.plan.id(*by))],
                _ => Vec::new(),
            },
            StepCondition::Dropped => Vec::new(),
            StepCondition::Skipped => match self.state.state(self.place) {
                StepState::Skipped { by: SkippedBy::Need(by) } => {
                    vec![format!("prunella explain {run} {}", self.plan.id(*by))]
                }
                _ => Vec::new(),
            },
            StepCondition::Waiting | StepCondition::Ready | StepCondition::Held | StepCondition::Interrupted => {
                match self.run_condition {
                    Condition::Running => vec![format!("prunella status {run}")],
                    _ => vec![format!("prunella resume {run}")],
                }
            }
        }
    }

    fn why(&self) -> &str {
        match self.state.state(self.place) {
            StepState::Failed { why, .. } => why,
            _ => "",
        }
    }

    /// Returns what healing knows to say about the last failure.
    fn hint(&self) -> Option<String> {
        let (tried, closed) = self.tried.iter().rev().find_map(|tried| match &tried.view.end {
            Some(end) => match &end.end {
                End::Closed(closed) => Some((tried, closed)),
                End::Committed(_) => None,
            },
            None => None,
        })?;
        let evidence: Evidence = serde_json::from_value(closed.evidence.clone()).unwrap_or_default();
        let spent: Spent = serde_json::from_value(closed.spent.clone()).unwrap_or_default();
        let spec = self.record.graph.pipeline.steps.get(&self.step.name)?;
        let seed = JitterSeed { run: &self.run, step: &self.step, attempt: tried.slot.epoch };
        match remedy(&spec.retry, &Traits::of(spec), closed.class, &evidence, &spent, &seed) {
            // Told with the reason, as a rule.
            Remedy::GiveUp { hint, .. } => Some(hint).filter(|hint| !self.why().contains(hint)),
            Remedy::Retry(_) | Remedy::Reproduce { .. } | Remedy::Wait { .. } | Remedy::None => None,
        }
    }
}

/// Returns the inputs of a step: those of its commit, or what is known so far.
fn inputs_of(
    plan: &Plan,
    state: &RunState,
    place: StepIndex,
    committed: Option<&Committed>,
) -> Vec<(String, InputProvenance)> {
    if let Some(committed) = committed {
        let inputs = committed.provenance.inputs.iter();
        return inputs.map(|(name, input)| (name.to_string(), input.clone())).collect();
    }
    let mut found = Vec::new();
    for (name, source) in &plan.step(place).inputs {
        let (known, slot, source) = match source {
            Source::Data(data) => (plan.graph().data.get(data).map(|pin| pin.artifact), None, format!("data.{data}")),
            Source::Step { step, output } => {
                let producer = plan.source(place, step);
                let artifacts = producer.and_then(|producer| state.state(producer).artifacts());
                let known = artifacts.and_then(|artifacts| artifacts.iter().find(|(name, _)| name == output));
                let slot = producer.and_then(|producer| state.done(producer)).map(|done| done.slot);
                (known.map(|(_, artifact)| *artifact), slot, format!("{step}.{output}"))
            }
        };
        if let Some(artifact) = known {
            found.push((name.to_string(), InputProvenance { artifact, slot, source, items: Vec::new() }));
        }
    }
    found
}

impl Tried<'_> {
    fn closed(&self) -> Option<(Class, Evidence)> {
        match &self.view.end.as_ref()?.end {
            End::Closed(closed) => {
                Some((closed.class, serde_json::from_value(closed.evidence.clone()).unwrap_or_default()))
            }
            End::Committed(_) => None,
        }
    }

    fn timeline(&self) -> Option<&prunella_store::records::Timeline> {
        Some(match &self.view.end.as_ref()?.end {
            End::Committed(committed) => &committed.timeline,
            End::Closed(closed) => &closed.timeline,
        })
    }

    fn as_json(&self, step: &StepId) -> Value {
        let mut out = json!({
            "attempt": attempt(step, &self.slot),
            "epoch": self.slot.epoch.0,
            "key": self.slot.key.hex(),
            "run": self.view.start.as_ref().map(|start| &start.run),
            "started_at_ms": self.view.start.as_ref().map(|start| start.at_ms),
            "outcome": match (&self.view.end, self.closed()) {
                (None, _) => "open",
                (Some(_), None) => "committed",
                (Some(_), Some(_)) => "closed",
            },
            "timeline": self.timeline(),
            "damaged": self.view.damaged,
        });
        if let Some((class, evidence)) = self.closed() {
            out["class"] = class.as_str().into();
            out["seen"] = in_words(&evidence).into();
            out["root_cause"] = root_cause(&evidence.stderr_tail).into();
            out["evidence"] = json!(evidence);
        }
        if let Some((every, why)) = self.known.as_ref().and_then(|known| known.interval) {
            out["checkpoint_interval"] = json!({ "every_ms": every.as_millis(), "why": why });
        }
        if let Some(known) = self.known.as_ref().filter(|known| !known.accelerators.is_empty()) {
            out["accelerators"] = json!(known.accelerators);
        }
        if let Some(failure) = self.known.as_ref().and_then(|known| known.failure.as_ref()) {
            out["lost_ms"] = failure.lost.as_millis().into();
            out["healed_by"] = failure.healing.map(|(_, remedy)| remedy).into();
        }
        out
    }

    fn text(&self, paint: Paint, step: &StepId, out: &mut String) {
        let name = attempt(step, &self.slot);
        let (when, by) = match &self.view.start {
            Some(start) => (moment(start.at_ms), format!(", run {}", short(&start.run))),
            None => ("at an unknown time".to_owned(), String::new()),
        };
        out.push_str(&format!("{}  started {when}{by}\n", paint.tone(Tone::Strong, &name)));
        let mut lines: Vec<String> = Vec::new();
        if let Some(known) = &self.known {
            if !known.accelerators.is_empty() {
                lines.push(format!("on accelerator {}", known.accelerators.join(", ")));
            }
            lines.extend(known.about_checkpoints());
        }
        let ran = self.timeline().map(|timeline| timeline.process_ms).filter(|ms| *ms > 0);
        let after = ran.map_or_else(String::new, |ms| format!(" after {}", lasting(ms)));
        match (&self.view.end, self.closed()) {
            (None, _) => lines.push("it has not ended".to_owned()),
            (Some(_), None) => lines.push(paint.tone(Tone::Good, &format!("committed{after}"))),
            (Some(_), Some((class, evidence))) => {
                lines.push(paint.tone(Tone::Bad, &format!("ended{after}: {class}")));
                lines.extend(in_words(&evidence).into_iter().map(|line| format!("  {line}")));
                lines.extend(root_cause(&evidence.stderr_tail).into_iter().map(|line| format!("  | {line}")));
            }
        }
        if self.view.damaged {
            lines.push("its bytes were found damaged later".to_owned());
        }
        if let Some(failure) = self.known.as_ref().and_then(|known| known.failure.as_ref()) {
            if failure.lost.as_millis() > 0 {
                lines.push(format!("lost {} of computing", lasting(failure.lost.as_millis())));
            }
            if let Some((next, remedy)) = &failure.healing {
                let delay = next.delay.as_millis();
                let wait = if delay > 0 { format!(" (a wait of {})", lasting(delay)) } else { String::new() };
                lines.push(format!("healed by: {remedy}{wait}"));
            }
        }
        out.push_str(&indented(&lines.join("\n"), "  "));
    }
}

fn tone(condition: StepCondition) -> Tone {
    match condition {
        StepCondition::Done | StepCondition::Reused => Tone::Good,
        StepCondition::Failed | StepCondition::Blocked => Tone::Bad,
        StepCondition::Running | StepCondition::Interrupted | StepCondition::Healing | StepCondition::Held => {
            Tone::Busy
        }
        StepCondition::Waiting | StepCondition::Ready | StepCondition::Dropped | StepCondition::Skipped => Tone::Dim,
    }
}

/// Returns a command on one line, at most as long as people read.
fn one_line(command: &[String]) -> String {
    let script = match command {
        [shell, errexit, flag, script] if shell == "/bin/sh" && errexit == "-e" && flag == "-c" => script.clone(),
        argv => argv.join(" "),
    };
    let mut lines = script.trim().lines();
    let first = lines.next().unwrap_or_default().to_owned();
    if lines.next().is_some() { format!("{first} …") } else { first }
}
