//! `prunella verify`: reads again what the store has promised.

use std::{collections::BTreeSet, sync::Arc};

use clap::Args;
use prunella_journal::{Event, read_sound};
use prunella_model::{ByteSize, RunId, SlotId, StepId, shown};
use prunella_objects::ObjectKey;
use prunella_store::{LostRecord, Promiser, Store, StoreError, ToldByJournals};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;

use super::{reading, which_run, writing};
use crate::{
    answer::{note, say, say_json},
    args::Output,
    context::Context,
    error::CliError,
    present::{count, lasting, short},
    referenced,
    to_read::{Jobs, Lost, MOST, ToRead},
};

/// Read everything that commits name again, and say what is damaged.
///
/// Of the whole store, or what one run made, uses and brought in; the newest checkpoints of unfinished steps, too. Of the
/// whole store every record and the journals of all runs are read, too, and what is lost with a damaged one is said.
/// Changes nothing without `--mark`. Exits 1 if something is damaged.
#[derive(Debug, Args)]
pub struct Verify {
    /// Only what this run made, uses and brought in.
    run: Option<String>,

    /// How many of the files to read: a share of them at random, such as `10%`, or `all`.
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
    objects: BTreeSet<Arc<str>>,
    files: usize,
    bytes: u64,
    damages: Vec<Damage>,
    records: Vec<LostRecord>,
    /// What the store finds wrong with itself.
    store: Vec<String>,
}

impl Tally {
    fn wrong(&self) -> usize {
        self.damages.len() + self.records.len() + self.store.len()
    }

    fn is_whole(&self) -> bool {
        self.wrong() == 0
    }

    fn lost(&mut self, Lost { by, object, problem }: Lost) {
        self.damages.extend(by.into_iter().map(|by| Damage {
            by,
            path: String::new(),
            object: object.clone(),
            problem: problem.clone(),
            marked: false,
        }));
    }
}

impl Verify {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no such store or run, or it does not answer.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let store = if self.mark { writing(context).await? } else { reading(context).await? };
        let run = match &self.run {
            Some(text) => Some(which_run(&store, Some(text)).await?),
            None => None,
        };
        let clock = &context.sys.clock;
        let began = clock.monotonic();
        let (records, itself) = match run {
            None => (lost_records(&store).await?, store.objects().examine().await.map_err(StoreError::from)?),
            Some(_) => Default::default(),
        };
        let promises = store.promises(run.as_ref()).await?;
        let (mut left, mut tally) =
            (ToRead::new(promises.artifacts), Tally { records, store: itself, ..Tally::default() });
        while let Some(mut jobs) = left.next(&store, MOST, &mut |lost| tally.lost(lost)).await? {
            if self.sample.0 < WHOLE {
                self.draw(context, &mut jobs);
            }
            jobs.objects.retain(|_, asked| !asked.is_empty());
            read(&store, jobs, context.sys.machine.cpu_count(), &mut tally).await?;
        }
        tally.damages.sort_by(|a, b| (place(a), &a.path).cmp(&(place(b), &b.path)));
        let took_ms = u64::try_from((clock.monotonic() - began).as_millis()).unwrap_or(u64::MAX);
        if self.mark {
            for damage in &mut tally.damages {
                if let Promiser::Commit { slot, .. } = &damage.by {
                    store.mark_damaged(slot, &damage.object, &damage.problem).await?;
                    damage.marked = true;
                }
            }
            for record in &tally.records {
                if let Some(slot) = &record.end_of {
                    store.mark_damaged(slot, record.key.as_str(), &record.problem).await?;
                }
            }
            store.sync().await?;
        }
        let (elsewhere, listed) = referenced::verified(&store, &promises.referenced).await;
        match context.output {
            Output::Json => say_json(&json!({
                "objects": tally.objects.len(),
                "files": tally.files,
                "bytes": tally.bytes,
                "took_ms": took_ms,
                "damaged": tally.damages.iter().map(as_json).collect::<Vec<_>>(),
                "store": tally.store,
                "records": tally.records.iter().map(record_as_json).collect::<Vec<_>>(),
                "marked_before": promises.damaged,
                "retired": promises.retired,
                "mounted": promises.mounted.iter().map(|(name, path)| json!({ "data": name, "path": path })).collect::<Vec<_>>(),
                "referenced": listed,
            }))?,
            Output::Text => {
                say(&text(&tally, took_ms))?;
                if promises.damaged > 0 {
                    note(&format!("{} marked as damaged before: not read", count(promises.damaged, "commit")));
                }
                for (name, path) in &promises.mounted {
                    note(&format!(
                        "data.{name} is mounted from `{path}`: not kept here and not read (`prunella pin --check`)"
                    ));
                }
                elsewhere.iter().for_each(|line| note(line));
                self.tell_what_to_do(&tally);
            }
        }
        Ok(u8::from(!tally.is_whole()))
    }

    /// Keeps the share that was asked for, at least one file: a sample of nothing would say that all is whole.
    fn draw(&self, context: &Context, jobs: &mut Jobs) {
        let all: usize = jobs.objects.values().map(Vec::len).sum();
        let lucky = usize::try_from(context.sys.random.u64() % (all.max(1) as u64)).unwrap_or(0);
        let mut at = 0;
        for asked in jobs.objects.values_mut() {
            asked.retain(|_| {
                at += 1;
                at - 1 == lucky || context.sys.random.u64() % WHOLE < self.sample.0
            });
        }
    }

    fn tell_what_to_do(&self, tally: &Tally) {
        let any = |of: fn(&Promiser) -> bool| tally.damages.iter().any(|damage| of(&damage.by));
        let ends = tally.records.iter().any(|record| record.end_of.is_some());
        if ends || any(|by| matches!(by, Promiser::Commit { .. })) {
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

/// Reads everything that a run made, uses and brought in; returns how many files there were, and how many artifacts of commits are
/// not what these say.
///
/// # Errors
/// [`CliError`] if the store does not answer.
pub async fn wrong_artifacts(context: &Context, store: &Store, run: &RunId) -> Result<(usize, usize), CliError> {
    let promises = store.promises(Some(run)).await?;
    let (mut left, mut tally) = (ToRead::new(promises.artifacts), Tally::default());
    while let Some(jobs) = left.next(store, MOST, &mut |lost| tally.lost(lost)).await? {
        read(store, jobs, context.sys.machine.cpu_count(), &mut tally).await?;
    }
    let commits = tally.damages.iter().filter_map(|damage| match &damage.by {
        Promiser::Commit { slot, port, .. } => Some((*slot, port.clone())),
        Promiser::Checkpoint { .. } | Promiser::Run(_) => None,
    });
    Ok((tally.files, commits.collect::<BTreeSet<_>>().len()))
}

/// So many files of one object are read in one go.
const AT_ONCE: usize = 1024;

/// Reads all objects, as many at once as there are processors.
async fn read(store: &Store, jobs: Jobs, processors: usize, tally: &mut Tally) -> Result<(), CliError> {
    let mut reading = JoinSet::new();
    let promisers = jobs.promisers;
    let mut left = jobs.objects.into_iter().flat_map(|(object, mut asked)| {
        let object: Arc<str> = object.into();
        let mut pieces = Vec::new();
        while asked.len() > AT_ONCE {
            let rest = asked.split_off(AT_ONCE);
            pieces.push((object.clone(), std::mem::replace(&mut asked, rest)));
        }
        pieces.push((object, asked));
        pieces
    });
    loop {
        // Bounded, so that no more is in memory than is worked on.
        while reading.len() < processors.max(1)
            && let Some((object, asked)) = left.next()
        {
            let store = store.clone();
            reading.spawn(async move {
                let wrong = store.verify_promised(&object, asked.iter().map(|asked| &asked.file)).await;
                (object, asked, wrong)
            });
        }
        let Some(done) = reading.join_next().await else { break };
        let done = done.map_err(|error| CliError::io("a reader")(std::io::Error::other(error)))?;
        let (object, asked, wrong) = done;
        tally.files += asked.iter().filter(|asked| asked.file.begins()).count();
        tally.bytes += asked.iter().map(|asked| asked.file.size_bytes).sum::<u64>();
        for (at, problem) in wrong? {
            tally.bytes -= asked[at].file.size_bytes;
            for by in asked[at].artifacts().flat_map(|artifact| &promisers[artifact]) {
                tally.damages.push(Damage {
                    by: by.clone(),
                    path: asked[at].file.path.clone(),
                    object: object.to_string(),
                    problem: problem.clone(),
                    marked: false,
                });
            }
        }
        tally.objects.insert(object);
    }
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
        let path = match damage.path.as_str() {
            "" => String::new(),
            path => format!(" `{}`", shown(path.as_bytes())),
        };
        let marked = if damage.marked { "; marked" } else { "" };
        out += &format!("damaged: {}{path}: {} ({}){marked}\n", place(damage), damage.problem, damage.object);
    }
    for problem in &tally.store {
        out += &format!("damaged: the store's database: {problem}\n");
    }
    for record in &tally.records {
        out += &format!("damaged: the record `{}`: {}; lost: {}\n", record.key, record.problem, record.lost);
    }
    let speed = tally.bytes.saturating_mul(1000) / took_ms.max(1);
    out += &format!(
        "{} in {}, {} read in {} ({}/s): {}\n",
        count(tally.files, "file"),
        count(tally.objects.len(), "object"),
        ByteSize(tally.bytes),
        lasting(took_ms),
        ByteSize(speed),
        match tally.wrong() {
            0 => "all whole".to_owned(),
            damaged => format!("{damaged} damaged"),
        },
    );
    out
}

/// Returns all records of the store that are lost, and all segments of journals.
async fn lost_records(store: &Store) -> Result<Vec<LostRecord>, CliError> {
    const LOST: &str = "what happened in a run from there on: `prunella resume` goes on from its records";
    let (mut told, mut lost) = (ToldByJournals::default(), Vec::new());
    for run in store.run_ids().await? {
        let (read, damage) = read_sound(&**store.objects(), &run).await?;
        if let Some(damage) = damage {
            let key = ObjectKey::new(damage.segment()).map_err(StoreError::from)?;
            lost.push(LostRecord { key, problem: damage.to_string(), lost: LOST, end_of: None });
        }
        for stamped in read.events {
            match stamped.event {
                Event::AttemptStarted { slot, .. } => _ = told.started.insert(slot),
                Event::AttemptEnded { slot, .. } => _ = told.filled.insert(slot),
                Event::StepCommitted { step, slot, .. } | Event::StepReused { step, slot, .. } => {
                    told.filled.insert(slot);
                    told.bound.entry(run.clone()).or_default().insert(step);
                }
                _ => {}
            }
        }
    }
    lost.extend(store.lost_records(&told).await?);
    Ok(lost)
}

fn record_as_json(record: &LostRecord) -> serde_json::Value {
    json!({
        "record": record.key.as_str(),
        "problem": record.problem,
        "lost": record.lost,
        "key": record.end_of.map(|slot| slot.key.hex()),
        "epoch": record.end_of.map(|slot| slot.epoch.0),
    })
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
