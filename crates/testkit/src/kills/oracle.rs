//! What must hold at every instant, read from the store alone (docs/design/protocol.md, Invariants).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prunella_engine::{Loaded, load_state};
use prunella_journal::{Event, RestoreFrom, Stamped};
use prunella_model::{CheckpointId, Digest, RunId, SlotId, StepKey};
use prunella_objects::{Embedded, ObjectsError};
use prunella_store::{KeyView, Store, records::End};
use prunella_sys::{Clock, RealClock, Sys};

use super::find::{Found, processes};
use super::lineage::Lineage;

/// An invariant that does not hold.
#[derive(Debug, Clone)]
pub struct Broken {
    /// Its name, as in `I2 once`.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// One attempt, as its own program says it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Started {
    pub(crate) step: String,
    pub(crate) epoch: u64,
    pub(crate) restored: bool,
    /// The epoch of the training that it went on from.
    pub(crate) progress: u64,
}

impl Started {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (step, epoch) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        Some(Self { step, epoch, restored: words.next()? == "1", progress: words.next()?.parse().ok()? })
    }
}

/// Reads a store again and again, and remembers what may never change.
pub(crate) struct Oracle {
    dir: PathBuf,
    runtime: tokio::runtime::Runtime,
    /// Every start and end, as it was first seen.
    filled: BTreeMap<String, Bytes>,
    whole: HashSet<CheckpointId>,
    commits: HashSet<SlotId>,
    lineage: Lineage,
}

impl Oracle {
    pub(crate) fn new(dir: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let (filled, whole, commits, lineage) = Default::default();
        Self { dir: dir.to_owned(), runtime, filled, whole, commits, lineage }
    }

    /// Checks everything that may be checked at any instant.
    pub(crate) fn check(&mut self, started: &[Started]) -> Result<(), Broken> {
        let objects = match Embedded::open_read_only(&Sys::real(), &self.dir) {
            Ok(objects) => objects,
            // Killed before there was a store.
            Err(ObjectsError::NoStore { .. }) => return Ok(()),
            Err(error) => return Err(broken("I9 durable", format!("the store does not open: {error}"))),
        };
        let store = Store::new(Arc::new(objects), Sys::real());
        let Self { runtime, filled, whole, commits, lineage, .. } = self;
        runtime.block_on(async {
            let views = views(&store, filled).await?;
            slots(&store, &views, commits).await?;
            for slot in &*commits {
                lineage.walk(&store, *slot).await?;
            }
            nothing_closed_runs(&store, &views).await?;
            for run in store.runs().await.map_err(unreadable)? {
                journal(&store, &run.run, started, whole).await?;
            }
            Ok(())
        })
    }

    /// Returns the only run, once its graph is there.
    pub(crate) fn run(&self) -> Option<RunId> {
        let store = Store::new(Arc::new(Embedded::open_read_only(&Sys::real(), &self.dir).ok()?), Sys::real());
        self.runtime.block_on(async {
            let run = store.runs().await.ok()?.into_iter().next()?.run;
            store.graph(&run).await.ok().map(|_| run)
        })
    }

    /// Returns how far the stored checkpoints of a step have come.
    pub(crate) fn progress_of(&mut self, step: &str) -> Result<u64, Broken> {
        let objects = Embedded::open_read_only(&Sys::real(), &self.dir).map_err(unreadable)?;
        let store = Store::new(Arc::new(objects), Sys::real());
        let Self { runtime, filled, .. } = self;
        runtime.block_on(async {
            let mut most = 0;
            for view in views(&store, filled).await? {
                let starts = view.slots.values().filter_map(|slot| slot.start.as_ref());
                if !starts.into_iter().any(|start| start.step.name.as_str() == step) {
                    continue;
                }
                for id in store.checkpoints(&view.key).await.map_err(unreadable)? {
                    let record = store.checkpoint(&id).await.map_err(unreadable)?;
                    most = most.max(record.map_or(0, |record| epoch_of(&record.entry)));
                }
            }
            Ok(most)
        })
    }

    /// Returns what the newest successful run made, by name.
    pub(crate) fn results(&self) -> Result<BTreeMap<String, Digest>, Broken> {
        let objects = Embedded::open_read_only(&Sys::real(), &self.dir).map_err(unreadable)?;
        let store = Store::new(Arc::new(objects), Sys::real());
        self.runtime.block_on(async {
            let name = prunella_model::PipelineName::new("kills").expect("a name");
            let names = store.names(&name).await.map_err(unreadable)?;
            let names = names.ok_or_else(|| broken("I10 ends", "the run succeeded and moved no names"))?;
            Ok(names.artifacts.into_iter().map(|(name, (_, stored))| (name, stored.artifact.digest)).collect())
        })
    }
}

pub(crate) fn broken(invariant: &'static str, what: impl Into<String>) -> Broken {
    Broken { invariant, what: what.into() }
}

pub(crate) fn unreadable(error: impl std::error::Error) -> Broken {
    broken("I9 durable", format!("the store cannot be read: {error}"))
}

/// I2: a slot is filled once and never changes.
async fn views(store: &Store, filled: &mut BTreeMap<String, Bytes>) -> Result<Vec<KeyView>, Broken> {
    let mut keys = BTreeMap::new();
    let mut there = HashSet::new();
    for (name, bytes) in store.objects().read_prefix("attempts/", usize::MAX).await.map_err(unreadable)? {
        let name = name.as_str().to_owned();
        if let Some(key) = name.split('/').nth(1).and_then(|hex| Digest::from_hex(hex).ok()) {
            keys.insert(StepKey(key), ());
        }
        if name.ends_with(".alive.json") {
            continue;
        }
        there.insert(name.clone());
        match filled.get(&name) {
            Some(before) if *before != bytes => return Err(broken("I2 once", format!("`{name}` has changed"))),
            Some(_) => {}
            None => drop(filled.insert(name, bytes)),
        }
    }
    if let Some(gone) = filled.keys().find(|name| !there.contains(*name)) {
        return Err(broken("I9 durable", format!("`{gone}` was there and is gone")));
    }
    let mut views = Vec::new();
    for key in keys.keys() {
        views.push(store.look(key).await.map_err(unreadable)?);
    }
    Ok(views)
}

/// I1, I2, and that nothing was started above an open slot.
async fn slots(store: &Store, views: &[KeyView], known: &mut HashSet<SlotId>) -> Result<(), Broken> {
    for view in views {
        let valid = view.slots.values().filter(|slot| slot.reusable().is_some()).count();
        if valid > 1 {
            return Err(broken("I2 once", format!("{:?} has {valid} valid commits", view.key)));
        }
        let highest = view.highest();
        for (epoch, slot) in &view.slots {
            let id = SlotId { key: view.key, epoch: *epoch };
            if slot.start.is_none() {
                return Err(broken("I2 once", format!("{id} has an end and no start")));
            }
            if slot.end.is_none() && Some(*epoch) != highest {
                return Err(broken("I5 fence", format!("{id} is open below a higher one")));
            }
            if let Some(committed) = slot.reusable()
                && !known.contains(&id)
            {
                for one in store.verify_commit(committed).await {
                    if let Err(error) = one.outcome {
                        return Err(broken("I1 visible", format!("`{}` of {id}: {error}", one.port)));
                    }
                }
                known.insert(id);
            }
        }
    }
    Ok(())
}

/// I5: of an attempt whose slot is filled nothing runs.
async fn nothing_closed_runs(store: &Store, views: &[KeyView]) -> Result<(), Broken> {
    let ended = |found: &Found| {
        let id = found.attempt.as_deref()?;
        let mut parts = id.split('/');
        let (owner, _run, key, epoch) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?.parse::<u64>().ok()?);
        let view = views.iter().find(|view| owner == store.id() && view.key.hex() == key)?;
        let slot = view.slots.iter().find(|(number, _)| number.0 == epoch)?.1;
        slot.end.as_ref().map(|end| match end.end {
            End::Committed(_) => format!("{id} (committed)"),
            End::Closed(ref closed) => format!("{id} (closed: {})", closed.class),
        })
    };
    let runs = || -> Vec<(u32, String)> {
        processes_of_store(store.id()).iter().filter_map(|found| Some((found.pid, ended(found)?))).collect()
    };
    let first = runs();
    if first.is_empty() {
        return Ok(());
    }
    // What was killed may take a moment to be gone.
    RealClock.sleep(Duration::from_millis(100)).await;
    let still: Vec<_> = runs().into_iter().filter(|one| first.contains(one)).collect();
    match still.first() {
        None => Ok(()),
        Some((pid, id)) => Err(broken("I5 fence", format!("process {pid} of {id} runs on"))),
    }
}

fn processes_of_store(store: &str) -> Vec<Found> {
    let prefix = format!("{}={store}/", prunella_process::ATTEMPT_ID).into_bytes();
    processes(|variable| variable.starts_with(&prefix))
}

/// Returns the waits of half a second and more that the journal tells of, with what was healed.
pub(crate) fn waits(dir: &Path) -> Vec<String> {
    let Ok(objects) = Embedded::open_read_only(&Sys::real(), dir) else { return Vec::new() };
    let store = Store::new(Arc::new(objects), Sys::real());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
    runtime.block_on(async {
        let mut waits = Vec::new();
        for run in store.runs().await.unwrap_or_default() {
            let Ok(loaded) = load_state(&store, &run.run).await else { continue };
            for event in loaded.events.into_iter().map(|stamped| stamped.event) {
                if let Event::StepHealing { step, class, next, remedy } = event
                    && next.delay.duration() >= Duration::from_millis(500)
                {
                    waits.push(format!("{step}: {class}, {} ms, {remedy}", next.delay.as_millis()));
                }
            }
        }
        waits
    })
}

/// Returns whether the attempt of this number has a checkpoint of its own.
pub(crate) fn has_checkpoint(dir: &Path, slot: SlotId) -> bool {
    let Ok(objects) = Embedded::open_read_only(&Sys::real(), dir) else { return false };
    let store = Store::new(Arc::new(objects), Sys::real());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
    runtime.block_on(store.checkpoints(&slot.key)).is_ok_and(|all| all.iter().any(|id| id.slot == slot))
}

/// The journal folds; I4: what is restored is at least what was durable.
async fn journal(
    store: &Store,
    run: &RunId,
    started: &[Started],
    whole: &mut HashSet<CheckpointId>,
) -> Result<(), Broken> {
    let events = match load_state(store, run).await {
        Ok(Loaded { events, damage: None, .. }) => events,
        Ok(Loaded { damage: Some(damage), .. }) => return Err(broken("I10 ends", damage)),
        Err(error) => return Err(broken("I10 ends", format!("the journal does not fold: {}", chain(&error)))),
    };
    let mut durable: HashMap<StepKey, Vec<CheckpointId>> = HashMap::new();
    let mut excused = HashSet::new();
    for Stamped { event, .. } in &events {
        match event {
            Event::CheckpointDurable { checkpoint, .. } => {
                durable.entry(checkpoint.slot.key).or_default().push(*checkpoint);
            }
            Event::CheckpointSkipped { step, .. } => drop(excused.insert(step.name.to_string())),
            Event::StepHealing { step, next, .. } if next.restore != RestoreFrom::Newest => {
                excused.insert(step.name.to_string());
            }
            Event::StateRestored { step, slot, checkpoint, .. } => {
                let before = durable.get(&slot.key).into_iter().flatten();
                let best = before.filter(|one| one.slot.epoch < slot.epoch).max();
                if best.is_some_and(|best| checkpoint < best) && !excused.contains(step.name.as_str()) {
                    let what =
                        format!("{slot} of `{step}` went on from {checkpoint}, {} was durable", best.expect("some"));
                    return Err(broken("I4 ratchet", what));
                }
            }
            _ => {}
        }
    }
    let mut progress: HashMap<CheckpointId, u64> = HashMap::new();
    for id in durable.values().flatten() {
        let record = store.checkpoint(id).await.map_err(unreadable)?;
        let Some(record) = record else {
            return Err(broken("I4 ratchet", format!("the durable checkpoint {id} has no record")));
        };
        progress.insert(*id, epoch_of(&record.entry));
        if !whole.contains(id) {
            if !store.checkpoint_is_whole(id).await.map_err(unreadable)? {
                return Err(broken("I4 ratchet", format!("the durable checkpoint {id} is not whole")));
            }
            whole.insert(*id);
        }
    }
    // The same by what the programs themselves say.
    let mut steps: HashMap<String, StepKey> = HashMap::new();
    for Stamped { event, .. } in &events {
        if let Event::StepKeyed { step, key } = event {
            steps.insert(step.name.to_string(), *key);
        }
    }
    for attempt in started {
        let Some(key) = steps.get(&attempt.step) else { continue };
        let before = durable.get(key).into_iter().flatten().filter(|one| one.slot.epoch.0 < attempt.epoch);
        let best = before.filter_map(|one| progress.get(one)).max().copied().unwrap_or(0);
        if attempt.progress < best && !excused.contains(&attempt.step) {
            let what = format!("{attempt:?} began behind epoch {best}, which was durable");
            return Err(broken("I4 ratchet", what));
        }
    }
    Ok(())
}

/// Returns the epoch of the training that an entry holds.
fn epoch_of(entry: &str) -> u64 {
    entry.strip_prefix("epoch-").and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
