//! What must hold at every instant, read from the store alone (docs/design/protocol.md, Invariants).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use prunella_engine::{Loaded, load_state};
use prunella_journal::{Event, RestoreFrom, Stamped};
use prunella_model::{CheckpointId, Digest, PipelineName, RunId, SlotId, StepKey};
use prunella_store::{KeyView, Store, records::End};
use prunella_sys::Sys;

use crate::find::{Found, processes};
use crate::lineage::Lineage;
use crate::site::Site;

/// An invariant that does not hold.
#[derive(Debug, Clone)]
pub struct Broken {
    /// Its name, as in `I2 once`.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// What the journal of a run says about checkpoints.
#[derive(Debug, Default)]
pub struct Seen {
    /// The key of each step.
    pub keys: HashMap<String, StepKey>,
    /// The durable checkpoints of each key, and the entry that holds each.
    pub durable: HashMap<StepKey, Vec<(CheckpointId, String)>>,
    /// Steps that may go on from an older checkpoint: the newest did not do.
    pub excused: HashSet<String>,
}

/// Reads a store again and again, and remembers what may never change.
pub struct Oracle {
    sys: Sys,
    site: Site,
    /// Every start and end, as it was first seen.
    filled: BTreeMap<String, Bytes>,
    whole: HashSet<CheckpointId>,
    commits: HashSet<SlotId>,
    lineage: Lineage,
    /// What has rotted, as messages name it.
    rotten: Vec<String>,
}

impl Oracle {
    /// Returns the oracle of a store, which need not be there yet. `sys` suffers nothing.
    pub fn new(sys: &Sys, site: &Site) -> Self {
        let (filled, whole, commits, lineage) = Default::default();
        Self { sys: sys.clone(), site: site.clone(), filled, whole, commits, lineage, rotten: Vec::new() }
    }

    /// Is told that the bytes at a key are others than those that were written: what is wrong with these alone is no fault.
    pub fn rotten(&mut self, key: &str) {
        self.filled.remove(key);
        // Messages about an attempt or a checkpoint name its step's key, as short as people read it; so does the name of an object.
        let of_step = key.split(['/', '-']).find_map(|part| Digest::from_hex(part).ok());
        self.rotten.extend(of_step.map(|key| key.short()));
        self.rotten.push(key.to_owned());
    }

    /// Returns whether anything has rotted.
    pub fn has_rotten(&self) -> bool {
        !self.rotten.is_empty()
    }

    /// Checks everything that may be checked at any instant, and returns what each run's journal says.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub async fn check(&mut self) -> Result<Vec<Seen>, Broken> {
        match self.look().await {
            Err(broken) if self.rotten.iter().any(|name| broken.what.contains(name)) => Ok(Vec::new()),
            looked => looked,
        }
    }

    async fn look(&mut self) -> Result<Vec<Seen>, Broken> {
        let Some(store) = self.store().await? else { return Ok(Vec::new()) };
        let Self { sys, filled, whole, commits, lineage, .. } = self;
        let views = views(&store, filled).await?;
        slots(&store, &views, commits).await?;
        for slot in &*commits {
            lineage.walk(&store, *slot).await?;
        }
        nothing_closed_runs(sys, &store, &views).await?;
        let mut seen = Vec::new();
        for run in store.runs().await.map_err(unreadable)? {
            seen.push(journal(&store, &run.run, whole).await?);
        }
        Ok(seen)
    }

    /// Opens the store to look at it; nothing if nobody has made it yet.
    ///
    /// # Errors
    /// It does not open.
    pub async fn store(&self) -> Result<Option<Store>, Broken> {
        let opened = self.site.open(&self.sys).await;
        opened.map_err(|error| broken("I9 durable", format!("the store does not open: {error}")))
    }

    /// Returns the newest run, once its graph is there.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn run(&self) -> Result<Option<RunId>, Broken> {
        let Some(store) = self.store().await? else { return Ok(None) };
        let runs = store.runs().await.map_err(unreadable)?;
        let Some(newest) = runs.into_iter().max_by_key(|run| run.order) else { return Ok(None) };
        Ok(store.graph(&newest.run).await.ok().map(|_| newest.run))
    }

    /// Returns every checkpoint of a step that the store has, and the entry that holds each.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn checkpoints_of(&mut self, step: &str) -> Result<Vec<(CheckpointId, String)>, Broken> {
        let Some(store) = self.store().await? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for view in views(&store, &mut self.filled).await? {
            let starts = view.slots.values().filter_map(|slot| slot.start.as_ref());
            if !starts.into_iter().any(|start| start.step.name.as_str() == step) {
                continue;
            }
            for id in store.checkpoints(&view.key).await.map_err(unreadable)? {
                if let Some(record) = store.checkpoint(&id).await.map_err(unreadable)? {
                    found.push((id, record.entry));
                }
            }
        }
        Ok(found)
    }

    /// Reads every byte that a pipeline's names mean.
    ///
    /// # Errors
    /// One of them is another than the one that was committed, or the store cannot be read.
    pub async fn results_are_whole(&self, pipeline: &PipelineName) -> Result<(), Broken> {
        let Some(store) = self.store().await? else { return Ok(()) };
        let Some(names) = store.names(pipeline).await.map_err(unreadable)? else { return Ok(()) };
        for (name, (_, stored)) in names.artifacts {
            let wrong = |error| broken("I1 visible", format!("`{name}`, after all that rotted was healed: {error}"));
            store.verify(&stored).await.map_err(wrong)?;
        }
        Ok(())
    }

    /// Returns what the newest successful run of a pipeline made, by name; what a run of some of its steps made if none was whole.
    ///
    /// # Errors
    /// No run of it has succeeded, or the store cannot be read.
    pub async fn results(&self, pipeline: &PipelineName) -> Result<BTreeMap<String, Digest>, Broken> {
        let none = || broken("I10 ends", "the run succeeded and moved no names");
        let store = self.store().await?.ok_or_else(none)?;
        let Some(names) = store.names(pipeline).await.map_err(unreadable)? else {
            let newest = store.runs_of(pipeline, 1).await.map_err(unreadable)?.pop().ok_or_else(none)?;
            let Loaded { record, plan, state, .. } = load_state(&store, &newest.run).await.map_err(unreadable)?;
            if record.targets.is_empty() {
                return Err(none());
            }
            let done = plan.indices().filter_map(|step| Some((plan.id(step), state.done(step)?)));
            let named = done.flat_map(|(step, done)| {
                done.artifacts.iter().map(move |(port, artifact)| (format!("{step}.{port}"), artifact.digest))
            });
            return Ok(named.collect());
        };
        Ok(names.artifacts.into_iter().map(|(name, (_, stored))| (name, stored.artifact.digest)).collect())
    }
}

/// Returns an invariant that does not hold.
pub fn broken(invariant: &'static str, what: impl Into<String>) -> Broken {
    Broken { invariant, what: what.into() }
}

/// Returns what it means that a store cannot be read.
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
async fn nothing_closed_runs(sys: &Sys, store: &Store, views: &[KeyView]) -> Result<(), Broken> {
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
    sys.clock.sleep(Duration::from_millis(100)).await;
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

/// The journal folds; I4: what is restored is at least what was durable.
async fn journal(store: &Store, run: &RunId, whole: &mut HashSet<CheckpointId>) -> Result<Seen, Broken> {
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
    let mut seen = Seen { excused, ..Seen::default() };
    for id in durable.values().flatten() {
        let record = store.checkpoint(id).await.map_err(unreadable)?;
        let Some(record) = record else {
            return Err(broken("I4 ratchet", format!("the durable checkpoint {id} of {} has no record", id.slot)));
        };
        seen.durable.entry(id.slot.key).or_default().push((*id, record.entry));
        if !whole.contains(id) {
            if !store.checkpoint_is_whole(id).await.map_err(unreadable)? {
                return Err(broken("I4 ratchet", format!("the durable checkpoint {id} of {} is not whole", id.slot)));
            }
            whole.insert(*id);
        }
    }
    for Stamped { event, .. } in &events {
        if let Event::StepKeyed { step, key } = event {
            seen.keys.insert(step.name.to_string(), *key);
        }
    }
    Ok(seen)
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
