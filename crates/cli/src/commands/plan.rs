//! `prunella plan`: what a run would do, before anything runs.

use std::{collections::BTreeMap, sync::Arc};

use clap::Args;
use prunella_attempt::Foreseen;
use prunella_engine::{Plan as EnginePlan, load_state, walk_and_expand, walk_everywhere};
use prunella_model::{KeyScope, RunId, StepId};
use prunella_objects::{Memory, ObjectsError};
use prunella_store::{Store, StoreError};
use serde_json::{Value, json};

use super::run::{are_steps, unfinished};
use crate::{
    answer::{say, say_json},
    args::{Output, Which},
    checkpointing,
    condition::{self, Condition},
    context::Context,
    error::CliError,
    forcing::Force,
    forecast::{Forecast, Question, Verdict, earlier, forecast, number_of},
    mounted, open,
    present::{Line, Paint, Tone, columns, count, lasting, short},
    project::{Footprint, Strictness, find, prepare, read},
    referenced, room, warm,
};

/// Say what a run would do with each step, and why.
///
/// Runs nothing and changes nothing. reused: a commit stands for it. resumed: it goes on from a checkpoint. to run: from the beginning. open: that depends
/// on the bytes that a step before it gives. skipped: its condition does not hold.
#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    pub which: Which,

    /// As if a new run began, even if an unfinished one could go on.
    #[arg(long)]
    new: bool,

    /// As for `run`: which accelerators may be used.
    #[arg(long, value_name = "N|LIST", env = "PRUNELLA_GPUS")]
    gpus: Option<String>,

    #[command(flatten)]
    force: Force,

    /// As if this step began with a checkpoint that it had before its code changed.
    #[arg(long, value_name = "STEP=CHECKPOINT")]
    warm: Vec<String>,
}

struct Answer {
    pipeline: String,
    goes_on: Option<RunId>,
    /// Whether an engine drives that run now.
    driven: bool,
    steps: Vec<Forecast>,
    /// What `every: auto` would choose.
    intervals: BTreeMap<StepId, Foreseen>,
    unpinned: Vec<String>,
    unlocked: bool,
    /// What a step asks for that this machine does not have.
    notes: Vec<String>,
}

impl Plan {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] for a wrong pipeline file, or a store that does not answer.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let (place, targets) = find(context, &self.which)?;
        let pipeline = read(context, &place, &self.which.set)?.pipeline;
        let force = self.force.steps(&pipeline)?;
        are_steps(&targets, &pipeline)?;
        let mut prepared =
            prepare(context, &place, pipeline, Strictness::AllowUnpinned, Footprint::Nothing, &force).await?;
        let store = match open::store_read_only(context, &place.store).await {
            // Nothing has run here yet: plan against an empty store.
            Err(CliError::Store(StoreError::Objects(ObjectsError::NoStore { .. }))) => {
                Store::new(Arc::new(Memory::new(&context.sys)), context.sys.clone())
            }
            store => store?,
        };
        let store = open::with_others(context, store).await?;
        prepared.begin_with(warm::find(&store, &prepared.graph.pipeline, &self.warm).await?);
        let base = std::path::absolute(&place.base).map_err(CliError::io(&place.base))?;
        let going_on = if self.new || !force.is_empty() {
            None
        } else {
            unfinished(&store, &prepared.graph, &targets, &base).await?
        };
        let state = match &going_on {
            Some((run, _)) => Some(load_state(&store, run).await?.state),
            None => None,
        };
        let driven = match &going_on {
            Some((run, _)) => condition::now(&store, run).await?.1 == Condition::Running,
            None => false,
        };
        let (run, driver) = match &going_on {
            Some((run, _)) => (run.clone(), store.driver_of(run).await?.map_or(1, |(n, _, _)| n + 1)),
            None => (RunId::new("a-new-run").expect("it is one"), 1),
        };
        let graph = Arc::new(prepared.graph);
        let mut plan = EnginePlan::build(graph.clone(), &targets).map_err(prunella_engine::EngineError::from)?;
        let scope = KeyScope { run, driver };
        let walked = match &state {
            Some(state) => {
                // What the run fans out over by now.
                plan.follow(state.topology().clone());
                walk_everywhere(&store, &plan, Some(state), &scope).await?
            }
            None => walk_and_expand(&store, &mut plan, &scope).await?,
        };
        let earlier = earlier(&store, &graph.pipeline.name, &plan).await?;
        let question = Question {
            store: &store,
            plan: &plan,
            walked,
            state: state.as_ref(),
            scope: &scope,
            earlier: &earlier,
            unlocked: prepared.unlocked,
        };
        let unpinned = graph.data.iter().filter(|(_, pin)| !pin.pinned).map(|(name, _)| format!("data.{name}"));
        let steps = forecast(&question).await?;
        let runs = |one: &&Forecast| !matches!(one.verdict, Verdict::Reused(_) | Verdict::Skipped);
        let keys = steps.iter().filter(runs).filter_map(|one| {
            let key = one.key.or_else(|| earlier.get(&one.step)?.key())?;
            Some((one.step.clone(), key))
        });
        let intervals = checkpointing::choices(context, &store, &plan, keys).await?;
        let answer = Answer {
            pipeline: graph.pipeline.name.to_string(),
            driven,
            goes_on: going_on.map(|(run, _)| run),
            steps,
            intervals,
            unpinned: unpinned.collect(),
            unlocked: prepared.unlocked,
            notes: room::notes(context, &plan, self.gpus.as_deref())?
                .into_iter()
                .chain(mounted::notes(&graph))
                .chain(referenced::notes(&graph))
                .collect(),
        };
        match context.output {
            Output::Json => say_json(&as_json(&answer))?,
            Output::Text => say(&text(Paint::of(context), &answer))?,
        }
        Ok(0)
    }
}

const WORDS: [(&str, &str); 5] =
    [("reused", "reused"), ("resumed", "resumed"), ("to run", "to_run"), ("open", "open"), ("skipped", "skipped")];

fn as_json(answer: &Answer) -> Value {
    let steps: Vec<Value> = answer
        .steps
        .iter()
        .map(|one| {
            let mut step = json!({
                "step": one.step.to_string(),
                "verdict": one.verdict.as_str().replace(' ', "_"),
                "why": one.why,
                "unused_checkpoints": one.unused_checkpoints,
            });
            if let Some(offer) = &one.offer {
                step["warm"] = json!({
                    "checkpoint": format!("{}={}", one.step.name, offer.checkpoint),
                    "work_ms": offer.work_ms,
                });
            }
            if let Some(foreseen) = answer.intervals.get(&one.step) {
                step["checkpoint_interval"] = checkpointing::as_json(foreseen);
            }
            if let Some(key) = one.key {
                step["key"] = key.hex().into();
            }
            match one.verdict {
                Verdict::Reused(slot) => step["epoch"] = slot.epoch.0.into(),
                Verdict::Resumed(checkpoint) => step["checkpoint"] = checkpoint.to_string().into(),
                Verdict::ToRun | Verdict::Open | Verdict::Skipped => {}
            }
            step
        })
        .collect();
    let summary: serde_json::Map<String, Value> =
        WORDS.iter().map(|(word, key)| ((*key).to_owned(), number_of(&answer.steps, word).into())).collect();
    json!({
        "pipeline": answer.pipeline,
        "goes_on": answer.goes_on,
        "driven": answer.driven,
        "summary": summary,
        "steps": steps,
        "unpinned": answer.unpinned,
        "environment_locked": !answer.unlocked,
        "notes": answer.notes,
    })
}

/// Returns what is said of checkpoints that a step had under another key.
fn unused(one: &Forecast) -> String {
    let mut text = match one.unused_checkpoints {
        0 => String::new(),
        1 => "; 1 checkpoint of the old key is not used".to_owned(),
        n => format!("; {n} checkpoints of the old key are not used"),
    };
    if let Some(offer) = &one.offer {
        let work = offer.work_ms.map_or_else(String::new, |ms| format!(", after {} of computing", lasting(ms)));
        text.push_str(&format!("; `--warm {}={}` goes on from the newest{work}", one.step.name, offer.checkpoint));
    }
    text
}

/// More are counted.
const NOTES: usize = 10;

fn text(paint: Paint, answer: &Answer) -> String {
    let counts: Vec<String> = WORDS
        .iter()
        .map(|(word, _)| (number_of(&answer.steps, word), *word))
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    let run = match &answer.goes_on {
        Some(run) if answer.driven => format!("run {}, which an engine drives now", short(run)),
        Some(run) => format!("goes on with run {}", short(run)),
        None => "a new run".to_owned(),
    };
    let steps = count(answer.steps.len(), "step");
    let mut out = format!("{}  {run}, {steps}: {}\n", paint.tone(Tone::Strong, &answer.pipeline), counts.join(", "));
    let lines: Vec<Line> = answer
        .steps
        .iter()
        .map(|one| {
            let tone = match one.verdict {
                Verdict::Reused(_) => Tone::Good,
                Verdict::Resumed(_) | Verdict::Open => Tone::Busy,
                Verdict::ToRun => Tone::Plain,
                Verdict::Skipped => Tone::Dim,
            };
            let mut why = one.why.join(", ");
            why.push_str(&unused(one));
            if let Some(foreseen) = answer.intervals.get(&one.step) {
                why.push_str(&format!("; {}", checkpointing::words(foreseen)));
            }
            Line(tone, vec![one.verdict.as_str().to_owned(), one.step.to_string(), why])
        })
        .collect();
    out.push_str(&columns(paint, &lines));
    for note in answer.notes.iter().take(NOTES) {
        out.push_str(&format!("{note}\n"));
    }
    if answer.notes.len() > NOTES {
        out.push_str(&format!("and {} more of these\n", answer.notes.len() - NOTES));
    }
    if answer.unlocked {
        out.push_str("the environment is not locked yet: the first run locks it into prunella.lock\n");
    }
    if !answer.unpinned.is_empty() {
        out.push_str(&format!(
            "{} not as prunella.lock says: `prunella pin` first, or `prunella run --allow-unpinned`\n",
            match answer.unpinned.as_slice() {
                [one] => format!("{one} is"),
                several => format!("{} are", several.join(", ")),
            }
        ));
    }
    out
}
