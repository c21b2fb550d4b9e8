//! `prunella heal`: what a run lost is made anew, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use clap::Args;
use prunella_engine::{Again, EngineError, Loaded, Plan, load_state};
use prunella_journal::{RunState, StepIndex};
use prunella_model::{Digest, PortName, RunId, SlotId, Source, StepId, StepKey};
use prunella_store::{
    Layout, Store, StoreError,
    records::{GraphRecord, StoredArtifact},
};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    reading,
    run::{How, drive_run},
    which_run, writing,
};
use crate::{
    answer::{note, say, say_json, say_json_line},
    args::Output,
    condition::{self, Condition},
    context::Context,
    error::CliError,
    history, mounted,
    present::{attempt, count, short},
    project::Place,
    referenced,
};

/// Make anew what a run lost, and nothing else.
///
/// Reads everything again that stands for the steps of the run, marks what is damaged, and makes exactly that anew, by the
/// same run. What reads it runs again only if the bytes are others. A run that is not finished goes on afterwards.
#[derive(Debug, Args)]
pub struct Heal {
    /// The run, or the beginning of its id [default: the newest].
    run: Option<String>,

    /// Only say what would be made anew; exits 1 if something is damaged.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    how: How,
}

/// A commit of which bytes are lost.
struct Loss {
    step: StepIndex,
    slot: SlotId,
    /// The output; nothing if the commit was marked before, and is not read again.
    output: Option<PortName>,
    object: String,
    problem: String,
    marked: bool,
}

/// What is lost of a run.
#[derive(Default)]
struct Lost {
    commits: Vec<Loss>,
    /// What the run brought in.
    brought: BTreeMap<Digest, String>,
}

impl Heal {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no such run, an engine drives it, or what is lost cannot be made anew (78).
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let store = if self.dry_run { reading(context).await? } else { writing(context).await? };
        let run = which_run(&store, self.run.as_deref()).await?;
        if store.is_given_up(&run).await? {
            return Err(StoreError::GivenUp { run }.into());
        }
        if let (Some(driver), Condition::Running) = condition::now(&store, &run).await? {
            return Err(EngineError::Driven { run, owner: Box::new(driver.record.owner) }.into());
        }
        let Loaded { record, plan, state, damage, .. } = load_state(&store, &run).await?;
        history::tell_damage(damage.as_deref(), "looked at");
        let mut lost = find(&store, &record, &plan, &state, context.sys.machine.cpu_count()).await?;
        let anew: BTreeSet<StepIndex> = lost.commits.iter().map(|loss| loss.step).collect();
        let place = Place::of(context, std::path::Path::new("pipeline.yaml"));
        let mut gone = lost.brought.clone();
        if !anew.is_empty() {
            gone.extend(mounted::lost(&context.sys, &record.graph, &place.local));
            gone.extend(referenced::lost(&store, &record.graph).await?);
        }
        let stuck: Vec<String> = anew.iter().filter_map(|step| chain(*step, &plan, &anew, &gone)).collect();
        if stuck.is_empty() && !self.dry_run {
            for loss in lost.commits.iter_mut().filter(|loss| !loss.marked) {
                store.mark_damaged(&loss.slot, &loss.object, &loss.problem).await?;
                loss.marked = true;
            }
            store.sync().await?;
        }
        self.tell(context, &run, &plan, &lost, &anew, &stuck)?;
        if !stuck.is_empty() {
            let hint = "begin a new run with `prunella run`: it brings code and data in anew".to_owned();
            return Err(CliError::Refused(stuck.join("; "), Some(hint)));
        }
        if anew.is_empty() || self.dry_run {
            return Ok(u8::from(!anew.is_empty()));
        }
        let damaged: BTreeSet<(StepId, SlotId)> =
            lost.commits.iter().map(|loss| (plan.id(loss.step).clone(), loss.slot)).collect();
        let again = Again { reset_budgets: false, retried: Some(Vec::new()), damaged: damaged.into_iter().collect() };
        drive_run(context, store, &place, run, &record, &self.how, again).await
    }

    fn tell(
        &self,
        context: &Context,
        run: &RunId,
        plan: &Plan,
        lost: &Lost,
        anew: &BTreeSet<StepIndex>,
        stuck: &[String],
    ) -> Result<(), CliError> {
        let names: Vec<String> = anew.iter().map(|step| plan.id(*step).to_string()).collect();
        if context.output == Output::Json {
            let answer = json!({
                "run": run,
                "dry_run": self.dry_run,
                "damaged": lost.commits.iter().map(|loss| as_json(plan, loss)).collect::<Vec<_>>(),
                "made_anew": names,
                "refused": stuck,
            });
            // The events of the run follow it, one a line.
            let alone = self.dry_run || names.is_empty();
            return if alone { say_json(&answer) } else { say_json_line(&answer) };
        }
        let mut out = String::new();
        for loss in &lost.commits {
            let output = loss.output.as_ref().map(|output| format!(" output {output}")).unwrap_or_default();
            let by = attempt(plan.id(loss.step), &loss.slot);
            out += &format!("damaged: {by}{output}: {} ({})\n", loss.problem, loss.object);
        }
        match names.as_slice() {
            [] => out += &format!("run {}: all whole, nothing to heal\n", short(run)),
            _ if !stuck.is_empty() => {}
            names if self.dry_run => out += &format!("would be made anew: {}\n", names.join(", ")),
            names => out += &format!("made anew: {}\n", names.join(", ")),
        }
        say(&out)?;
        if self.dry_run && stuck.is_empty() && !names.is_empty() {
            note("  help: `prunella heal` makes it anew; what reads it runs again only if the bytes are others");
        }
        if !lost.brought.is_empty() && stuck.is_empty() {
            let what = count(lost.brought.len(), "artifact");
            note(&format!("{what} that the run brought in lost bytes; nothing that is to be made anew needs it"));
        }
        Ok(())
    }
}

fn as_json(plan: &Plan, loss: &Loss) -> Value {
    json!({
        "step": plan.id(loss.step).to_string(),
        "key": loss.slot.key.hex(),
        "epoch": loss.slot.epoch.0,
        "output": loss.output,
        "object": loss.object,
        "problem": loss.problem,
        "marked": loss.marked,
    })
}

/// What is read again, and for whom.
enum For {
    Commit(StepIndex, SlotId, PortName),
    Brought,
}

/// Reads everything that stands for the steps of the run, and what the run brought in.
async fn find(
    store: &Store,
    record: &GraphRecord,
    plan: &Plan,
    state: &RunState,
    processors: usize,
) -> Result<Lost, CliError> {
    let mut lost = Lost::default();
    let done: Vec<(StepIndex, SlotId)> =
        plan.indices().filter_map(|step| Some((step, state.done(step)?.slot))).collect();
    let keys: Vec<StepKey> = done.iter().map(|(_, slot)| slot.key).collect();
    let mut asked: Vec<(For, StoredArtifact)> = Vec::new();
    for ((step, slot), view) in done.into_iter().zip(store.look_all(&keys).await?) {
        let there = view.slots.get(&slot.epoch);
        match there.map(|there| (there.commit(), there.damaged)) {
            Some((Some(committed), false)) => {
                let artifacts = committed.artifacts.iter();
                asked.extend(artifacts.map(|(name, stored)| (For::Commit(step, slot, name.clone()), stored.clone())));
            }
            found => {
                let marked = matches!(found, Some((_, true)));
                let gone = there.and_then(|there| there.lost.end.as_deref());
                let problem = match gone {
                    _ if marked => "marked as damaged before",
                    Some(_) => "its record is damaged",
                    None => "its record is missing",
                };
                let object = if gone.is_some() { Layout::end(&slot).to_string() } else { String::new() };
                let problem = problem.to_owned();
                lost.commits.push(Loss { step, slot, output: None, object, problem, marked });
            }
        }
    }
    asked.extend(record.brought.iter().map(|stored| (For::Brought, stored.clone())));
    let (places, mut reading) = (Arc::new(Semaphore::new(processors.max(1))), JoinSet::new());
    let mut left = asked.into_iter();
    loop {
        while reading.len() < processors.max(1) * 2
            && let Some((whose, stored)) = left.next()
        {
            let (store, places) = (store.clone(), places.clone());
            reading.spawn(async move {
                let _place = places.acquire_owned().await;
                let outcome = store.verify(&stored).await;
                (whose, stored, outcome)
            });
        }
        let Some(read) = reading.join_next().await else { break };
        let (whose, stored, outcome) = read.map_err(|error| CliError::io("a reader")(std::io::Error::other(error)))?;
        match (outcome, whose) {
            (Ok(_), _) => {}
            (Err(StoreError::Damaged { object, problem }), For::Commit(step, slot, output)) => {
                lost.commits.push(Loss { step, slot, output: Some(output), object, problem, marked: false });
            }
            (Err(StoreError::Damaged { object, problem }), For::Brought) => {
                lost.brought.insert(stored.artifact.digest, format!("{problem} (`{object}`)"));
            }
            (Err(error), _) => return Err(error.into()),
        }
    }
    lost.commits.sort_by(|a, b| (a.step, &a.output).cmp(&(b.step, &b.output)));
    Ok(lost)
}

/// Returns why a step cannot be made anew, from its name down to what is gone; nothing if it can.
fn chain(
    step: StepIndex,
    plan: &Plan,
    anew: &BTreeSet<StepIndex>,
    brought: &BTreeMap<Digest, String>,
) -> Option<String> {
    // Along needs that are to be made anew themselves; every step is looked at once.
    let (mut left, mut seen) = (vec![(step, format!("`{}`", plan.id(step)))], BTreeSet::new());
    while let Some((at, path)) = left.pop() {
        if !seen.insert(at) {
            continue;
        }
        let code = plan.graph().code_of(&plan.id(at).name).map(|code| ("its code".to_owned(), code.digest));
        let data = plan.step(at).inputs.values().filter_map(|source| match source {
            Source::Data(name) => Some((format!("`data.{name}`"), plan.graph().data.get(name)?.artifact.digest)),
            Source::Step { .. } => None,
        });
        for (what, digest) in code.into_iter().chain(data) {
            if let Some(problem) = brought.get(&digest) {
                return Some(format!("{path} needs {what}, which is lost too: {problem}"));
            }
        }
        for need in plan.topology().needs(at).iter().filter(|need| anew.contains(need)) {
            left.push((*need, format!("{path} needs `{}`, which", plan.id(*need))));
        }
    }
    None
}
