//! Looking through all records for what the storage changed or lost.

use std::collections::{BTreeMap, BTreeSet};

use prunella_model::{Digest, Epoch, RunId, SlotId, StepId, StepKey};
use prunella_objects::ObjectKey;

use crate::{
    Layout, Store, StoreError,
    gc::Owner,
    layout::AttemptRecord,
    records::{BindingRecord, BoundRecord, UsesRecord},
    store::{decode, is_whole},
};

/// A record that is damaged or missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostRecord {
    /// Where it lies, or should.
    pub key: ObjectKey,
    /// What is wrong with it.
    pub problem: String,
    /// What is lost with it, and what to do, in words.
    pub lost: &'static str,
    /// The slot, if how it ended is what is lost.
    pub end_of: Option<SlotId>,
}

/// What the journals tell of: it was in the store.
#[derive(Debug, Default)]
pub struct ToldByJournals {
    /// Attempts that began.
    pub started: BTreeSet<SlotId>,
    /// Attempts that ended, and commits that stand for a step.
    pub filled: BTreeSet<SlotId>,
    /// The steps of each run that have a result.
    pub bound: BTreeMap<RunId, BTreeSet<StepId>>,
}

const CHANGED: &str = "its bytes are not those that were written";
const MISSING: &str = "it is missing";

impl Store {
    /// Reads every record and returns those that are damaged, and those of which others or the journals say that they were there.
    ///
    /// One that decides nothing any more is passed over: of a slot that is marked as damaged, of a run that was given up, a
    /// pin of an attempt that has ended, all but the newest of names and condemned objects. Hints, logs and summaries decide nothing and are not looked at, the journal has sums of its own. A record of which no
    /// other speaks can be lost without a trace: `docs/stores.md` lists them.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer.
    pub async fn lost_records(&self, told: &ToldByJournals) -> Result<Vec<LostRecord>, StoreError> {
        let mut found = Found::default();
        for prefix in [Layout::ALL_ATTEMPTS, "checkpoints/", "pins/", "names/"] {
            self.read_through(prefix, &mut found).await?;
        }
        for prefix in [Layout::ALL_ORDERS, Layout::ALL_GC] {
            self.read_through(prefix, &mut found).await?;
            found.gaps(prefix);
        }
        for run in &self.run_ids().await? {
            for prefix in [
                Layout::graph(run).as_str(),
                Layout::run_retired(run).as_str(),
                &Layout::drivers(run),
                &Layout::bindings(run),
                &Layout::all_bound(run),
                &Layout::all_uses(run),
                &Layout::effects(run),
            ] {
                self.read_through(prefix, &mut found).await?;
            }
            found.gaps(&Layout::drivers(run));
            let driven = found.there.range(Layout::drivers(run)..).next();
            let driven = driven.is_some_and(|key| key.starts_with(&Layout::drivers(run)));
            if driven && !found.there.contains(Layout::graph(run).as_str()) {
                found.lose(Layout::graph(run), MISSING);
            }
            if let Some(steps) = told.bound.get(run) {
                self.bindings_of(run, steps, &mut found).await?;
            }
        }
        found.slots(told);
        let mut lost = std::mem::take(&mut found.lost);
        lost.retain(|lost| found.decides(lost.key.as_str()));
        lost.sort();
        lost.dedup();
        Ok(lost)
    }

    /// Returns the ids of all runs of which anything is there, also of those that are listed no more.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer.
    pub async fn run_ids(&self) -> Result<BTreeSet<RunId>, StoreError> {
        let mut runs = BTreeSet::new();
        self.objects.see_keys("runs/", &mut |key| runs.extend(run_of(key))).await?;
        Ok(runs)
    }

    async fn bindings_of(&self, run: &RunId, steps: &BTreeSet<StepId>, found: &mut Found) -> Result<(), StoreError> {
        let bound = match self.bindings(run).await {
            // It is named itself, and what it says is not known.
            Err(StoreError::DamagedRecord { .. }) => return Ok(()),
            bound => bound?,
        };
        let missing = steps.iter().filter(|step| !bound.contains_key(*step));
        missing.for_each(|step| found.lose(Layout::binding(run, step, 1), MISSING));
        Ok(())
    }

    async fn read_through(&self, prefix: &str, found: &mut Found) -> Result<(), StoreError> {
        for (key, bytes) in self.records(prefix, usize::MAX).await? {
            let is_hint = matches!(Layout::parse_attempt(key.as_str()), Some((_, AttemptRecord::Alive)));
            if !is_hint && !is_whole(&key, &bytes) {
                found.lose(key.clone(), CHANGED);
            } else if let Some(relied) = relied_on(&key, &bytes) {
                found.relied.extend(relied);
            }
            found.there.insert(key.as_str().to_owned());
        }
        Ok(())
    }
}

/// Returns the slots whose commits a record of a run relies on.
fn relied_on(key: &ObjectKey, bytes: &[u8]) -> Option<Vec<SlotId>> {
    let (_, rest) = key.as_str().strip_prefix("runs/")?.split_once('/')?;
    Some(match rest.split('/').next()? {
        "bindings" => vec![decode::<BindingRecord>(key, bytes).ok()?.slot],
        "bound" => decode::<BoundRecord>(key, bytes).ok()?.bound.into_iter().map(|bound| bound.2).collect(),
        uses if uses.starts_with("uses-") => decode::<UsesRecord>(key, bytes).ok()?.slots,
        _ => return None,
    })
}

#[derive(Default)]
struct Found {
    there: BTreeSet<String>,
    lost: Vec<LostRecord>,
    /// Slots whose commits a run relies on.
    relied: BTreeSet<SlotId>,
}

impl Found {
    fn lose(&mut self, key: ObjectKey, problem: &str) {
        let (lost, end_of) = what_is_lost(key.as_str());
        self.lost.push(LostRecord { key, problem: problem.to_owned(), lost, end_of });
    }

    /// Numbers are taken one after the other, and the records that took them stay.
    fn gaps(&mut self, prefix: &str) {
        let mut folders: BTreeMap<String, (BTreeSet<u64>, BTreeSet<u64>)> = BTreeMap::new();
        for key in self.there.range(prefix.to_owned()..).take_while(|key| key.starts_with(prefix)) {
            let Some((folder, _)) = key.rsplit_once('/') else { continue };
            let number = Layout::gc_number(key).map(|(n, _)| n).or_else(|| Layout::number(key));
            let Some(number) = number else { continue };
            let (taken, lists) = folders.entry(folder.to_owned()).or_default();
            taken.insert(number);
            if !key.ends_with(".done.json") {
                lists.insert(number);
            }
        }
        for (folder, (taken, there)) in folders {
            for n in missing(&taken, &there) {
                if let Ok(key) = ObjectKey::new(format!("{folder}/{}.json", prunella_model::descending(n))) {
                    self.lose(key, MISSING);
                }
            }
        }
    }

    /// Returns whether the record at this key, damaged or missing, still decides anything.
    fn decides(&self, key: &str) -> bool {
        let is_there = |key: ObjectKey| self.there.contains(key.as_str());
        let decides_nothing = match key.split('/').next() {
            Some("attempts") => slot_of(key).is_some_and(|slot| is_there(Layout::damaged(&slot))),
            Some("pins") => match Owner::of_pin(key) {
                Some(Owner::Attempt(slot)) => is_there(Layout::end(&slot)),
                Some(Owner::Run(run)) => is_there(Layout::run_retired(&run)),
                None => false,
            },
            Some("runs") => run_of(key).is_some_and(|run| is_there(Layout::run_retired(&run))),
            // The newest is listed first; `.done` stands before its list.
            Some("names" | "gc") => {
                let folder = &key[..=key.rfind('/').unwrap_or(0)];
                let newest = self.there.range(folder.to_owned()..).next();
                newest.is_some_and(|newest| *newest.replace(".done.json", ".json") < *key)
            }
            _ => false,
        };
        !decides_nothing
    }

    /// A slot that has any record was started, and so were all before it; one on which a run relies was committed.
    fn slots(&mut self, told: &ToldByJournals) {
        let mut taken: BTreeMap<StepKey, BTreeSet<u64>> = BTreeMap::new();
        let known = self.there.iter().filter_map(|key| slot_of(key));
        for slot in known.chain(told.started.iter().copied()) {
            taken.entry(slot.key).or_default().insert(slot.epoch.0);
        }
        let mut missing = Vec::new();
        for (key, epochs) in taken {
            let slot = |epoch| SlotId { key, epoch: Epoch(epoch) };
            missing.extend(self::missing(&epochs, &epochs).into_iter().map(|epoch| Layout::start(&slot(epoch))));
            let highest = epochs.last().copied();
            for epoch in epochs {
                let slot = slot(epoch);
                missing.push(Layout::start(&slot));
                // Nobody starts above a slot that is open, and only a commit is marked.
                let marked = [Layout::damaged(&slot), Layout::retired(&slot)];
                let was_filled = Some(epoch) < highest || marked.iter().any(|mark| self.there.contains(mark.as_str()));
                missing.extend(was_filled.then(|| Layout::end(&slot)));
            }
        }
        for slot in self.relied.iter().chain(&told.filled) {
            missing.extend([Layout::start(slot), Layout::end(slot)]);
        }
        for key in missing {
            if !self.there.contains(key.as_str()) {
                self.lose(key, MISSING);
            }
        }
    }
}

/// Returns the numbers that were taken, or must have been before one that was, and are not there; of many in a row the first:
/// a name that rotted may say any number.
fn missing(taken: &BTreeSet<u64>, there: &BTreeSet<u64>) -> Vec<u64> {
    let (mut missing, mut next) = (Vec::new(), 1);
    for n in taken {
        missing.extend((*n > next).then_some(next));
        missing.extend((!there.contains(n)).then_some(*n));
        next = n.saturating_add(1);
    }
    missing
}

/// Returns the run whose record this is.
fn run_of(key: &str) -> Option<RunId> {
    RunId::new(key.strip_prefix("runs/")?.split('/').next()?).ok()
}

/// Returns the attempt whose record this is.
fn slot_of(key: &str) -> Option<SlotId> {
    let (kind, rest) = key.split_once('/')?;
    let key_of = |rest: &str| Some(StepKey(Digest::from_hex(rest.split('/').next()?).ok()?));
    match kind {
        "attempts" => Some(SlotId { key: key_of(rest)?, epoch: Layout::parse_attempt(key)?.0 }),
        "checkpoints" => Some(Layout::parse_checkpoint(key_of(rest)?, key)?.slot),
        "pins" => match Owner::of_pin(key)? {
            Owner::Attempt(slot) => Some(slot),
            Owner::Run(_) => None,
        },
        _ => None,
    }
}

/// Returns what is lost with a record, and the slot if it said how that ended.
fn what_is_lost(key: &str) -> (&'static str, Option<SlotId>) {
    let parts: Vec<&str> = key.split('/').collect();
    let lost = match parts.as_slice() {
        ["attempts", ..] => match Layout::parse_attempt(key).map(|(_, record)| record) {
            Some(AttemptRecord::End) => {
                return ("an attempt's result: the next run makes it anew, `prunella heal` for a run", slot_of(key));
            }
            Some(AttemptRecord::Start) => "who made an attempt, and when; its result stands",
            _ => "nothing: the mark says with its name what it says",
        },
        ["checkpoints", ..] => "a checkpoint: its step goes on from the one before",
        ["pins", ..] => "what an attempt held on to: until it ends, nothing is collected",
        ["names", ..] => "what the pipeline's names show: the next run that succeeds says it anew",
        ["order", ..] => "which run has this number: it is listed no more, and nothing is collected",
        ["gc", ..] => "which objects are condemned: until the next collection everything is sent anew",
        ["runs", _, "graph"] => "what the run executes: begin a new one with `prunella run`, which finds its results",
        ["runs", _, "drivers", ..] => "who drove the run: the next driver waits until no sign of life comes any more",
        ["runs", _, "bindings" | "bound", ..] => {
            "which results the run has: begin a new one with `prunella run`, which finds them"
        }
        ["runs", _, "effects", ..] => "what the run published: `prunella publish` does it again",
        ["runs", _, "retired.json"] => "nothing: the mark says with its name what it says",
        _ => "which results of others the run uses: while it is retained, nothing is collected",
    };
    (lost, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_in_numbers_are_missing_records() {
        let mut found = Found::default();
        let pipeline = prunella_model::PipelineName::new("p").expect("a name");
        found.there.extend([1, 2, 4].map(|n| Layout::order(&pipeline, n).to_string()));
        found.there.extend([Layout::gc(1).to_string(), Layout::gc_done(2).to_string()]);
        found.gaps("order/");
        found.gaps(Layout::ALL_GC);
        let lost: Vec<_> = found.lost.into_iter().map(|lost| lost.key).collect();
        assert_eq!(lost, [Layout::order(&pipeline, 3), Layout::gc(2)]);
    }

    #[test]
    fn a_name_that_rotted_into_a_huge_number_costs_no_time() {
        let mut found = Found::default();
        let slot = SlotId { key: StepKey(Digest::of(b"k")), epoch: Epoch(1 << 60) };
        found.there.extend([Layout::start(&slot).to_string(), Layout::gc(u64::MAX).to_string()]);
        found.gaps(Layout::ALL_GC);
        found.slots(&ToldByJournals::default());
        let lost: Vec<_> = found.lost.into_iter().map(|lost| lost.key).collect();
        let first = Layout::start(&SlotId { epoch: Epoch::FIRST, ..slot });
        assert_eq!(lost, [Layout::gc(1), first]);
    }
}
