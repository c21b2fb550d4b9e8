//! The invariants, and the same by what the programs themselves say.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prunella_chaos::{Broken, Oracle as Invariants, Seen, Site, broken};
use prunella_engine::load_state;
use prunella_journal::Event;
use prunella_model::{Digest, PipelineName, RunId, SlotId};
use prunella_objects::Embedded;
use prunella_store::Store;
use prunella_sys::Sys;

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
    invariants: Invariants,
    runtime: tokio::runtime::Runtime,
}

impl Oracle {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { invariants: Invariants::new(&Sys::real(), &Site::Directory(dir.to_owned())), runtime: runtime() }
    }

    /// Checks everything that may be checked at any instant.
    pub(crate) fn check(&mut self, started: &[Started]) -> Result<(), Broken> {
        let Self { invariants, runtime } = self;
        runtime.block_on(invariants.check())?.iter().try_for_each(|seen| ratchet(seen, started))
    }

    /// Returns the only run, once its graph is there.
    pub(crate) fn run(&self) -> Option<RunId> {
        self.runtime.block_on(self.invariants.run()).ok().flatten()
    }

    /// Returns how far the stored checkpoints of a step have come.
    pub(crate) fn progress_of(&mut self, step: &str) -> Result<u64, Broken> {
        let Self { invariants, runtime } = self;
        let all = runtime.block_on(invariants.checkpoints_of(step))?;
        Ok(all.iter().map(|(_, entry)| epoch_of(entry)).max().unwrap_or(0))
    }

    /// Returns what the newest successful run made, by name.
    pub(crate) fn results(&self) -> Result<BTreeMap<String, Digest>, Broken> {
        let name = PipelineName::new("kills").expect("a name");
        self.runtime.block_on(self.invariants.results(&name))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

/// I4: no attempt begins behind what was durable before it.
fn ratchet(seen: &Seen, started: &[Started]) -> Result<(), Broken> {
    for attempt in started {
        let Some(key) = seen.keys.get(&attempt.step) else { continue };
        let before = seen.durable.get(key).into_iter().flatten().filter(|(id, _)| id.slot.epoch.0 < attempt.epoch);
        let best = before.map(|(_, entry)| epoch_of(entry)).max().unwrap_or(0);
        if attempt.progress < best && !seen.excused.contains(&attempt.step) {
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

/// Returns the waits of half a second and more that the journal tells of, with what was healed.
pub(crate) fn waits(dir: &Path) -> Vec<String> {
    let Ok(objects) = Embedded::open_read_only(&Sys::real(), dir) else { return Vec::new() };
    let store = Store::new(Arc::new(objects), Sys::real());
    runtime().block_on(async {
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
    runtime().block_on(store.checkpoints(&slot.key)).is_ok_and(|all| all.iter().any(|id| id.slot == slot))
}
