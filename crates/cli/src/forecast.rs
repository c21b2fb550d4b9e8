//! What a run would do with each step, before anything runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use prunella_engine::{EngineError, Loaded, Plan, Walked, key_of, load_state};
use prunella_journal::{RunState, Stage, StepIndex};
use prunella_model::{
    Artifact, CheckpointId, KeyScope, PipelineName, PortName, Reuse, RunId, SlotId, Source, StepId, StepKey, StepName,
};
use prunella_store::{
    KeyState, KeyView, Store, StoreError,
    records::{End, EndRecord, GraphRecord},
};

use crate::{
    changes::{Inputs, changes},
    error::CliError,
    present::{attempt, short},
    skips::{at_end, expression},
    warm::Offer,
};

/// What a run would do with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This commit stands for it.
    Reused(SlotId),
    /// It goes on from this checkpoint.
    Resumed(CheckpointId),
    /// It runs from the beginning.
    ToRun,
    /// That depends on what a step before it gives.
    Open,
    /// It does not run: its condition, or that of a step that it reads, does not hold.
    Skipped,
}

impl Verdict {
    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reused(_) => "reused",
            Self::Resumed(_) => "resumed",
            Self::ToRun => "to run",
            Self::Open => "open",
            Self::Skipped => "skipped",
        }
    }
}

/// What a run would do with a step, and why.
#[derive(Debug, Clone)]
pub struct Forecast {
    /// The step.
    pub step: StepId,
    /// What.
    pub verdict: Verdict,
    /// Its key, if that is certain.
    pub key: Option<StepKey>,
    /// Why.
    pub why: Vec<String>,
    /// Checkpoints of the key that it had before, which are not used.
    pub unused_checkpoints: usize,
    /// The newest of them, with which it could begin.
    pub offer: Option<Offer>,
}

/// What the newest run that knew a step knew of it.
pub struct Earlier {
    run: RunId,
    record: Arc<GraphRecord>,
    key: Option<StepKey>,
    inputs: Inputs,
    artifacts: Option<Content>,
}

impl Earlier {
    /// Returns the key that the step had.
    pub const fn key(&self) -> Option<StepKey> {
        self.key
    }
}

/// The outputs of a step.
pub type Content = Vec<(PortName, Artifact)>;

/// How many runs are looked back.
const LOOK_BACK: usize = 8;

/// Returns what earlier runs of the pipeline knew of these steps.
///
/// # Errors
/// [`CliError`] if the store did not answer.
pub async fn earlier(
    store: &Store,
    pipeline: &PipelineName,
    plan: &Plan,
) -> Result<BTreeMap<StepId, Earlier>, CliError> {
    let mut found: BTreeMap<StepId, Earlier> = BTreeMap::new();
    for run in store.runs_of(pipeline, LOOK_BACK).await? {
        if found.len() == plan.len() {
            break;
        }
        let Loaded { record, plan: old, state, events, .. } = match load_state(store, &run.run).await {
            // Of what it did nothing is known any more.
            Err(EngineError::Store(StoreError::DamagedRecord { .. })) => continue,
            loaded => loaded?,
        };
        let content: Vec<Option<Content>> =
            old.indices().map(|step| state.state(step).artifacts().map(|artifacts| artifacts.to_vec())).collect();
        let mut keys: BTreeMap<&StepId, StepKey> = BTreeMap::new();
        for stamped in &events {
            if let prunella_journal::Event::StepKeyed { step, key } = &stamped.event {
                keys.insert(step, *key);
            }
        }
        for step in old.indices() {
            let id = old.id(step);
            let key = state.done(step).map(|done| done.slot.key).or(keys.get(id).copied());
            if plan.index(id).is_none() || found.contains_key(id) || key.is_none() {
                continue;
            }
            let inputs = inputs(&old, step, &content);
            let artifacts = content[step.as_usize()].clone();
            let earlier = Earlier { run: run.run.clone(), record: record.clone(), key, inputs, artifacts };
            found.insert(id.clone(), earlier);
        }
    }
    Ok(found)
}

/// What the forecast is made from.
pub struct Question<'a> {
    /// The store.
    pub store: &'a Store,
    /// The plan.
    pub plan: &'a Plan,
    /// What is there already.
    pub walked: Vec<Walked>,
    /// The state of the run that would go on; nothing for a new run.
    pub state: Option<&'a RunState>,
    /// Who would ask for keys.
    pub scope: &'a KeyScope,
    /// What earlier runs knew.
    pub earlier: &'a BTreeMap<StepId, Earlier>,
    /// Whether the environment has no lock yet.
    pub unlocked: bool,
}

/// Returns what a run would do with each step of the plan, in the order of the file. Reads only.
///
/// # Errors
/// [`CliError`] if the store did not answer.
pub async fn forecast(question: &Question<'_>) -> Result<Vec<Forecast>, CliError> {
    let Question { store, plan, state, scope, earlier, .. } = *question;
    let mut answers: Vec<Option<bool>> = vec![None; plan.len()];
    let mut keys: Vec<Option<StepKey>> = vec![None; plan.len()];
    let mut slots: Vec<Option<SlotId>> = vec![None; plan.len()];
    let mut content: Vec<Option<Content>> = vec![None; plan.len()];
    let mut others: BTreeMap<StepIndex, &str> = BTreeMap::new();
    for walked in &question.walked {
        let at = walked.step.as_usize();
        keys[at] = walked.key.or_else(|| state.and_then(|state| state.state(walked.step).key()));
        let skipped = state.is_some_and(|state| state.state(walked.step).stage() == Stage::Skipped);
        answers[at] = if skipped { Some(false) } else { walked.holds };
        if let Some(found) = &walked.found {
            slots[at] = Some(found.slot);
            others.extend(found.other.as_deref().map(|other| (walked.step, other)));
            content[at] = Some(found.artifacts.iter().map(|(name, stored)| (name.clone(), stored.artifact)).collect());
        } else if let Some(done) = state.and_then(|state| state.done(walked.step)) {
            slots[at] = Some(done.slot);
            content[at] = Some(done.artifacts.to_vec());
        }
    }
    // What would be if every step that runs gave the same bytes as the last time.
    let mut assumed = content.clone();
    let mut there: Vec<bool> =
        slots.iter().zip(&answers).map(|(slot, answer)| slot.is_some() || *answer == Some(false)).collect();
    let mut forecasts: Vec<Option<Forecast>> = vec![None; plan.len()];
    for step in in_order_of_need(plan) {
        let at = step.as_usize();
        let id = plan.id(step);
        if plan.topology().is_group(step) && answers[at] != Some(false) {
            forecasts[at] = group(plan, step, &mut there, &mut assumed, &answers);
            continue;
        }
        let before = earlier.get(id);
        let likely = keys[at].or_else(|| key_of(plan, step, &assumed, scope));
        let mut one = Forecast {
            step: id.clone(),
            verdict: Verdict::ToRun,
            key: keys[at],
            why: Vec::new(),
            unused_checkpoints: 0,
            offer: None,
        };
        if let Some(handler) = plan.step(step).handler {
            one.verdict = Verdict::Open;
            one.why.push(at_end(handler).to_owned());
        } else if answers[at] == Some(false) {
            one.verdict = Verdict::Skipped;
            let by = plan.topology().reads(step).iter().find(|need| answers[need.as_usize()] == Some(false));
            one.why.push(match by {
                Some(by) => format!("`{}`, which it reads, is skipped", plan.id(*by)),
                None => format!("its condition does not hold: {}", expression(plan.step(step))),
            });
        } else if let (Some(when), None, None) = (&plan.step(step).when, slots[at], answers[at]) {
            one.verdict = Verdict::Open;
            let producers: BTreeSet<&StepName> = when.reads.iter().map(|read| &read.step).collect();
            let producers: Vec<String> = producers.into_iter().map(|step| format!("`{step}`")).collect();
            let done = match producers.len() {
                0 => "at once".to_owned(),
                1 => format!("when {} is done", producers[0]),
                _ => format!("when {} are done", producers.join(", ")),
            };
            one.why.push(format!("decided {done}: {}", expression(plan.step(step))));
            assumed[at] = before.and_then(|before| before.artifacts.clone());
        } else if let Some(slot) = slots[at] {
            one.verdict = Verdict::Reused(slot);
            one.why.push(match others.get(&step) {
                Some(other) => format!("copied from {other}"),
                None => made_by(store, id, &slot).await?,
            });
        } else {
            let running: Vec<String> = plan
                .topology()
                .needs(step)
                .iter()
                .filter(|need| !there[need.as_usize()])
                .map(|need| format!("`{}`", plan.id(*need)))
                .collect();
            let view = match likely {
                Some(key) => Some(store.look(&key).await?),
                None => None,
            };
            let committed = view.as_ref().and_then(|view| match view.state() {
                KeyState::Committed(_, committed) => Some(committed),
                KeyState::Open(..) | KeyState::Lost(..) | KeyState::Free(_) => None,
            });
            let checkpoint = match likely {
                Some(key) if plan.step(step).checkpoint.is_some() => store.checkpoints(&key).await?.into_iter().next(),
                _ => None,
            };
            let same = |running: &[String]| match running {
                [one] => format!("{one} gives the same bytes again"),
                several => format!("{} give the same bytes again", several.join(", ")),
            };
            if let (Some(committed), None) = (committed, keys[at]) {
                one.verdict = Verdict::Open;
                one.why.push(format!("runs unless {}", same(&running)));
                let artifacts = committed.artifacts.iter();
                assumed[at] = Some(artifacts.map(|(name, stored)| (name.clone(), stored.artifact)).collect());
            } else {
                match (checkpoint, keys[at]) {
                    (Some(checkpoint), Some(_)) => {
                        one.verdict = Verdict::Resumed(checkpoint);
                        one.why.push(format!("from checkpoint {checkpoint}"));
                    }
                    (Some(checkpoint), None) => {
                        one.verdict = Verdict::Open;
                        one.why.push(format!("goes on from checkpoint {checkpoint} if {}", same(&running)));
                    }
                    (None, _) => {
                        let now = inputs(plan, step, &assumed);
                        one.why = why(question, step, before, likely, view.as_ref(), &now);
                        if !running.is_empty() {
                            one.why.push(format!("after {}", running.join(", ")));
                        }
                    }
                }
                assumed[at] = before.and_then(|before| before.artifacts.clone());
            }
            if let Some(old) = before.and_then(|before| before.key)
                && likely != Some(old)
                && plan.step(step).checkpoint.is_some()
            {
                let unused = store.checkpoints(&old).await?;
                one.unused_checkpoints = unused.len();
                // A step that was forced is to be made anew, and one that may be reused needs none.
                if one.verdict == Verdict::ToRun && !plan.graph().force.contains_key(&id.name) && id.item.is_none() {
                    one.offer = Offer::of(store, &unused).await?;
                }
            }
        }
        forecasts[at] = Some(one);
    }
    Ok(forecasts.into_iter().flatten().collect())
}

/// Follows a step that fans out from its items: only one whose items nobody knows has a verdict of its own.
fn group(
    plan: &Plan,
    step: StepIndex,
    there: &mut [bool],
    assumed: &mut [Option<Content>],
    answers: &[Option<bool>],
) -> Option<Forecast> {
    let (id, at) = (plan.id(step).clone(), step.as_usize());
    let Some(members) = plan.topology().members(step) else {
        let list: Vec<String> =
            plan.topology().needs(step).iter().map(|need| format!("`{}`", plan.id(*need))).collect();
        let why = vec![format!("its items are known when {} is done", list.join(", "))];
        return Some(Forecast { step: id, verdict: Verdict::Open, key: None, why, unused_checkpoints: 0, offer: None });
    };
    there[at] = members.iter().all(|member| there[member.as_usize()]);
    let is_known =
        |member: &StepIndex| assumed[member.as_usize()].is_some() || answers[member.as_usize()] == Some(false);
    if members.iter().all(is_known) {
        let made = |member: StepIndex| assumed[member.as_usize()].as_deref();
        assumed[at] = Some(plan.topology().gather(step, made).into_vec());
    }
    None
}

async fn made_by(store: &Store, step: &StepId, slot: &SlotId) -> Result<String, CliError> {
    let by = store.start_of(slot).await?.map(|start| format!(" of run {}", short(&start.run)));
    Ok(format!("{}{}", attempt(step, slot), by.unwrap_or_default()))
}

/// Returns why a step runs although it may have run before.
fn why(
    question: &Question<'_>,
    step: StepIndex,
    before: Option<&Earlier>,
    likely: Option<StepKey>,
    view: Option<&KeyView>,
    now: &Inputs,
) -> Vec<String> {
    let plan = question.plan;
    let id = plan.id(step);
    if plan.graph().force.contains_key(&id.name) {
        return vec!["forced".to_owned()];
    }
    if question.unlocked {
        return vec!["the environment is not locked yet; the first run locks it".to_owned()];
    }
    match plan.step(step).reuse {
        Reuse::Always => {}
        Reuse::Run => return vec!["`reuse: run`: every run makes it anew".to_owned()],
        Reuse::Never => return vec!["`reuse: never`".to_owned()],
    }
    let Some(before) = before else { return vec!["it has never run".to_owned()] };
    if before.key == likely
        && let Some(view) = view
    {
        return view.slots.iter().next_back().map_or_else(
            || vec!["its last attempt did not get far".to_owned()],
            |(epoch, slot)| {
                let name = format!("{id}@{epoch}");
                vec![match &slot.end {
                    _ if slot.damaged => format!("the bytes of {name} were found damaged"),
                    _ if slot.retired => format!("{name} was retired"),
                    Some(EndRecord { end: End::Closed(closed), .. }) => format!("{name} ended as {}", closed.class),
                    Some(EndRecord { end: End::Committed(_), .. }) => format!("{name} cannot be reused"),
                    None if slot.lost.end.is_some() => format!("how {name} ended is lost: its record is damaged"),
                    None => format!("{name} has not ended"),
                }]
            },
        );
    }
    let found = changes(&id.name, (&before.record.graph, &before.inputs), (plan.graph(), now));
    if found.is_empty() {
        let run = short(&before.run);
        return match likely {
            Some(_) => vec![format!("something in its key changed since run {run}")],
            None => Vec::new(),
        };
    }
    found
}

/// Returns the content of a step's inputs, as far as it is known.
pub fn inputs(plan: &Plan, step: StepIndex, content: &[Option<Content>]) -> Inputs {
    let mut found = Inputs::new();
    for (name, source) in &plan.step(step).inputs {
        let digest = match source {
            Source::Data(data) => plan.graph().data.get(data).map(|pin| pin.artifact.digest),
            Source::Step { step: producer, output } => plan
                .source(step, producer)
                .and_then(|producer| content[producer.as_usize()].as_ref())
                .and_then(|artifacts| artifacts.iter().find(|(name, _)| name == output))
                .map(|(_, artifact)| artifact.digest),
        };
        found.extend(digest.map(|digest| (name.clone(), digest)));
    }
    found
}

/// Returns all steps, each behind those that it needs.
fn in_order_of_need(plan: &Plan) -> Vec<StepIndex> {
    let topology = plan.topology();
    let items = |step| topology.members(step).map_or(0, <[StepIndex]>::len);
    let mut missing: Vec<usize> = plan.indices().map(|step| topology.needs(step).len() + items(step)).collect();
    let mut order: Vec<StepIndex> = plan.indices().filter(|step| missing[step.as_usize()] == 0).collect();
    let mut next = 0;
    while let Some(&step) = order.get(next) {
        next += 1;
        for consumer in topology.dependents(step) {
            let left = &mut missing[consumer.as_usize()];
            *left -= 1;
            if *left == 0 {
                order.push(consumer);
            }
        }
    }
    order
}

/// Returns how many steps have a verdict like this one.
pub fn number_of(forecasts: &[Forecast], word: &str) -> usize {
    forecasts.iter().filter(|one| one.verdict.as_str() == word).count()
}
