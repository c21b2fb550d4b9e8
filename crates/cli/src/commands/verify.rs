//! `prunella verify`: reads again what the store has promised.

use std::{collections::BTreeMap, sync::Arc};

use clap::Args;
use prunella_model::{ByteSize, SlotId, StepId};
use prunella_store::{Promised, PromisedObject, Promiser, Store, StoreError};
use serde::Serialize;
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{reading, which_run, writing};
use crate::{
    answer::{note, say, say_json},
    args::Output,
    context::Context,
    error::CliError,
    present::{count, lasting, short},
};

/// Read everything that commits name again, and say what is damaged.
///
/// Of the whole store, or what one run made, uses and brought in; the newest checkpoints of unfinished steps, too.
/// Changes nothing without `--mark`. Exits 1 if something is damaged.
#[derive(Debug, Args)]
pub struct Verify {
    /// Only what this run made, uses and brought in.
    run: Option<String>,

    /// How many of the objects to read: a share of them at random, such as `10%`, or `all`.
    #[arg(long, value_name = "N%|all", default_value = "all", value_parser = share)]
    sample: Share,

    /// Mark damaged commits, so that the next run makes them anew.
    #[arg(long)]
    mark: bool,
}

/// A share, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share(u64);

const WHOLE: u64 = 1_000_000;

fn share(text: &str) -> Result<Share, String> {
    if text == "all" {
        return Ok(Share(WHOLE));
    }
    let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    match percent {
        Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(Share((percent * 1e4).ceil() as u64)),
        _ => Err("write a percentage above 0 and up to 100, such as `10%`, or `all`".to_owned()),
    }
}

/// An object to be read, and everybody who promised it.
struct Job {
    asked: PromisedObject,
    by: Vec<Promiser>,
}

/// What is wrong with an object.
struct Damage {
    by: Promiser,
    path: String,
    object: String,
    problem: String,
    marked: bool,
}

#[derive(Default)]
struct Tally {
    objects: usize,
    bytes: u64,
    damages: Vec<Damage>,
}

impl Verify {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no such store or run, or it does not answer.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let store = if self.mark { writing(context)? } else { reading(context)? };
        let run = match &self.run {
            Some(text) => Some(which_run(&store, Some(text)).await?),
            None => None,
        };
        let clock = &context.sys.clock;
        let began = clock.monotonic();
        let promises = store.promises(run.as_ref()).await?;
        let (jobs, mut tally) = self.jobs(context, &store, promises.artifacts).await?;
        read(&store, jobs, context.sys.machine.cpu_count(), &mut tally).await?;
        let took_ms = u64::try_from((clock.monotonic() - began).as_millis()).unwrap_or(u64::MAX);
        if self.mark {
            for damage in &mut tally.damages {
                if let Promiser::Commit { slot, .. } = &damage.by {
                    store.mark_damaged(slot, &damage.object, &damage.problem).await?;
                    damage.marked = true;
                }
            }
            store.sync().await?;
        }
        match context.output {
            Output::Json => say_json(&json!({
                "objects": tally.objects,
                "bytes": tally.bytes,
                "took_ms": took_ms,
                "damaged": tally.damages.iter().map(as_json).collect::<Vec<_>>(),
                "marked_before": promises.damaged,
                "retired": promises.retired,
            }))?,
            Output::Text => {
                say(&text(&tally, took_ms))?;
                if promises.damaged > 0 {
                    note(&format!("{} marked as damaged before: not read", count(promises.damaged, "commit")));
                }
                self.tell_what_to_do(&tally);
            }
        }
        Ok(u8::from(!tally.damages.is_empty()))
    }

    /// Returns every object once, with all who promised it; of these, the share that was asked for.
    async fn jobs(
        &self,
        context: &Context,
        store: &Store,
        artifacts: Vec<Promised>,
    ) -> Result<(Vec<Job>, Tally), CliError> {
        let (mut jobs, mut tally) = (BTreeMap::<String, Job>::new(), Tally::default());
        for Promised { by, stored } in artifacts {
            match store.promised_objects(&stored).await {
                Ok(objects) => {
                    for asked in objects {
                        let object = asked.object.clone();
                        jobs.entry(object).or_insert_with(|| Job { asked, by: Vec::new() }).by.push(by.clone());
                    }
                }
                // A tree without its manifest: none of its files can be found.
                Err(StoreError::Damaged { object, problem }) => {
                    tally.damages.push(Damage { by, path: String::new(), object, problem, marked: false });
                }
                Err(error) => return Err(error.into()),
            }
        }
        let mut jobs: Vec<Job> = jobs.into_values().collect();
        if self.sample.0 < WHOLE {
            jobs.retain(|_| context.sys.random.u64() % WHOLE < self.sample.0);
        }
        Ok((jobs, tally))
    }

    fn tell_what_to_do(&self, tally: &Tally) {
        let any = |of: fn(&Promiser) -> bool| tally.damages.iter().any(|damage| of(&damage.by));
        if any(|by| matches!(by, Promiser::Commit { .. })) {
            note(match self.mark {
                true => "  help: `prunella run` makes what is marked anew",
                false => "  help: `prunella verify --mark` marks damaged commits; `prunella run` then makes them anew",
            });
        }
        if any(|by| matches!(by, Promiser::Checkpoint { .. })) {
            note("  help: a damaged checkpoint is skipped: its step goes on from the one before");
        }
        if any(|by| matches!(by, Promiser::Run(_))) {
            note("  help: what a run brought in cannot be made anew: begin a new one with `prunella run`");
        }
    }
}

/// Reads all objects, as many at once as there are processors.
async fn read(store: &Store, jobs: Vec<Job>, processors: usize, tally: &mut Tally) -> Result<(), CliError> {
    let (places, mut reading) = (Arc::new(Semaphore::new(processors.max(1))), JoinSet::new());
    let mut left = jobs.into_iter();
    loop {
        // Bounded, so that a store of millions of objects fits into memory.
        while reading.len() < processors.max(1) * 2
            && let Some(job) = left.next()
        {
            let (store, places) = (store.clone(), places.clone());
            reading.spawn(async move {
                let _place = places.acquire_owned().await;
                let outcome = store.verify_object(&job.asked.object, &job.asked.digest).await;
                (job, outcome)
            });
        }
        let Some(done) = reading.join_next().await else { break };
        let (job, outcome) = done.map_err(|error| CliError::io("a reader")(std::io::Error::other(error)))?;
        tally.objects += 1;
        match outcome {
            Ok(bytes) => tally.bytes += bytes,
            Err(StoreError::Damaged { object, problem }) => {
                let path = job.asked.path;
                tally.damages.extend(job.by.into_iter().map(|by| Damage {
                    by,
                    path: path.clone(),
                    object: object.clone(),
                    problem: problem.clone(),
                    marked: false,
                }));
            }
            Err(error) => return Err(error.into()),
        }
    }
    tally.damages.sort_by(|a, b| (place(a), &a.path).cmp(&(place(b), &b.path)));
    Ok(())
}

/// Returns what is damaged, as people say it: `train@2 (01a2…) model/weights`.
fn place(damage: &Damage) -> String {
    let made = |slot: &SlotId, made: &Option<(_, StepId)>| match made {
        Some((run, step)) => format!("{step}@{} of run {}", slot.epoch, short(run)),
        None => slot.to_string(),
    };
    match &damage.by {
        Promiser::Commit { slot, made: by, port } => format!("{} output {port}", made(slot, by)),
        Promiser::Checkpoint { id, made: by } => format!("{} checkpoint {}", made(&id.slot, by), id.seq),
        Promiser::Run(run) => format!("brought in by run {}", short(run)),
    }
}

fn text(tally: &Tally, took_ms: u64) -> String {
    let mut out = String::new();
    for damage in &tally.damages {
        let path = if damage.path.is_empty() { String::new() } else { format!(" `{}`", damage.path) };
        let marked = if damage.marked { "; marked" } else { "" };
        out += &format!("damaged: {}{path}: {} ({}){marked}\n", place(damage), damage.problem, damage.object);
    }
    let speed = tally.bytes.saturating_mul(1000) / took_ms.max(1);
    out += &format!(
        "{}, {} read in {} ({}/s): {}\n",
        count(tally.objects, "object"),
        ByteSize(tally.bytes),
        lasting(took_ms),
        ByteSize(speed),
        if tally.damages.is_empty() { "all whole".to_owned() } else { format!("{} damaged", tally.damages.len()) },
    );
    out
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Commit,
    Checkpoint,
    Brought,
}

fn as_json(damage: &Damage) -> serde_json::Value {
    let (what, slot, made, output, seq) = match &damage.by {
        Promiser::Commit { slot, made, port } => (What::Commit, Some(slot), made.clone(), Some(port), None),
        Promiser::Checkpoint { id, made } => (What::Checkpoint, Some(&id.slot), made.clone(), None, Some(id.seq)),
        Promiser::Run(_) => (What::Brought, None, None, None, None),
    };
    let run = match &damage.by {
        Promiser::Run(run) => Some(run.clone()),
        _ => made.as_ref().map(|(run, _)| run.clone()),
    };
    json!({
        "what": what,
        "run": run,
        "step": made.map(|(_, step)| step.to_string()),
        "key": slot.map(|slot| slot.key.hex()),
        "epoch": slot.map(|slot| slot.epoch.0),
        "output": output,
        "checkpoint": seq,
        "path": damage.path,
        "object": damage.object,
        "problem": damage.problem,
        "marked": damage.marked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_all() {
        assert_eq!(share("all"), Ok(Share(WHOLE)));
        assert_eq!(share("100%"), Ok(Share(WHOLE)));
        assert_eq!(share("0.5%"), Ok(Share(5000)));
        for wrong in ["", "10", "0%", "-1%", "101%", "NaN%", "x%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
