//! What must hold, judged from what the store holds and from what members were told.
//!
//! The oracle sees every change at the instant at which it takes effect, and every answer that a member relies on. It reads
//! records, but runs no code of the protocol: it has the invariants of `docs/design/protocol.md`, by their names.

mod needs;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bytes::Bytes;
use prunella_model::{CheckpointId, Digest, Epoch, RunId, SlotId, StepKey, from_descending};
use prunella_store::records::{
    CheckpointRecord, DamagedRecord, EffectDoerRecord, EffectDoneRecord, EffectRecord, End, EndRecord, GraphRecord,
    NamesRecord, StartRecord, StoredArtifact,
};

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its name: `I1` to `I10`.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// An object that a record names, and what its bytes must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub object: String,
    pub digest: Digest,
}

impl Named {
    pub fn of(stored: &StoredArtifact) -> Self {
        Self { object: stored.object.clone(), digest: stored.artifact.digest }
    }
}

#[derive(Debug, Default)]
struct Slot {
    starter: String,
    filled_ms: Option<u64>,
    committed: Option<Vec<Named>>,
    writer: String,
    damaged: bool,
    retired: bool,
    /// Whether its end is damaged, so that nobody knows any more how it was filled.
    lost: bool,
}

impl Slot {
    fn current(&self) -> bool {
        self.committed.is_some() && !self.damaged && !self.retired
    }
}

#[derive(Debug, Default)]
struct Run {
    brought: Vec<Named>,
    order: u64,
    given_up: bool,
    /// Commits that a process of the run was told it may use.
    relied: BTreeSet<SlotId>,
}

#[derive(Debug)]
struct EffectSeen {
    run: RunId,
    named: Named,
    /// The highest number of a binding for which somebody did it.
    binding: u64,
    done: bool,
}

#[derive(Debug)]
struct Checkpoint {
    named: Named,
    created_ms: u64,
    durable: bool,
    deleted: bool,
    /// Whether its record is damaged.
    lost: bool,
    /// Whether it was there when a list of condemned objects was damaged: no attempt relies on it anew.
    doubtful: bool,
}

/// What the oracle knows.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    slots: BTreeMap<SlotId, Slot>,
    checkpoints: BTreeMap<CheckpointKey, Checkpoint>,
    runs: BTreeMap<RunId, Run>,
    /// By number.
    names: BTreeMap<u64, (RunId, Vec<(SlotId, Named)>)>,
    /// By the path of their records.
    effects: BTreeMap<String, EffectSeen>,
    /// Every name of an object that was ever created, with a digest of what it held.
    ever: BTreeMap<String, Digest>,
    rotten: BTreeSet<String>,
    /// Whether the newest list of condemned objects is damaged: the next one names all that is there (0030).
    list_lost: bool,
    newest_list: u64,
    /// What the target of all publications shows, and the newest run that is known to have put it there.
    published: Option<(Digest, (u64, u64))>,
    pub commits: u64,
    pub durables: u64,
    pub restores: u64,
    pub deletions: u64,
    violation: Option<Violation>,
}

/// In the order of progress.
type CheckpointKey = (StepKey, u64, u64);

/// Looks an object up.
type There<'a> = &'a dyn Fn(&str) -> Option<Bytes>;

impl Oracle {
    /// Returns what was broken first.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub fn broken(&mut self, invariant: &'static str, what: String) {
        self.violation.get_or_insert(Violation { invariant, what });
    }

    /// The storage itself changes or loses this.
    pub fn rotten(&mut self, key: &str) {
        if let Some((slot, "end")) = slot_of(key) {
            self.slots.entry(slot).or_default().lost = true;
        }
        if let Some(id) = checkpoint_of(key)
            && let Some(checkpoint) = self.checkpoints.get_mut(&(id.slot.key, id.slot.epoch.0, id.seq))
        {
            checkpoint.lost = true;
        }
        self.list_lost |= key.starts_with("gc/") && number_of(key) == Some(self.newest_list);
        self.rotten.insert(key.to_owned());
    }

    /// Returns whether the storage itself changed or lost anything.
    pub fn has_rotten(&self) -> bool {
        !self.rotten.is_empty()
    }

    fn whole(&self, named: &Named, there: There<'_>) -> bool {
        self.rotten.contains(&named.object)
            || there(&named.object).is_some_and(|bytes| Digest::of(&bytes) == named.digest)
    }

    /// An object or a record came to be.
    pub fn created(&mut self, now_ms: u64, key: &str, bytes: &Bytes, there: There<'_>) {
        let (kind, rest) = key.split_once('/').unwrap_or((key, ""));
        if matches!(kind, "data" | "checkpoints") {
            let digest = Digest::of(bytes);
            if let Some(before) = self.ever.insert(key.to_owned(), digest)
                && before != digest
            {
                self.broken("I8", format!("`{key}` was used for other bytes before"));
            }
        }
        match kind {
            "attempts" => self.attempt(now_ms, key, bytes, there),
            "checkpoints" => self.checkpoint(now_ms, key, bytes, there),
            "gc" => self.condemned(key),
            "names" => self.named(key, bytes, there),
            "runs" => self.of_run(rest, bytes),
            _ => {}
        }
    }

    fn attempt(&mut self, now_ms: u64, key: &str, bytes: &Bytes, there: There<'_>) {
        let Some((slot, what)) = slot_of(key) else { return };
        match what {
            "start" => {
                let record: StartRecord = read(bytes);
                self.slots.entry(slot).or_default().starter = record.writer.to_string();
            }
            "end" => {
                let record: EndRecord = read(bytes);
                let committed = match record.end {
                    End::Closed(_) => None,
                    End::Committed(committed) => Some(committed.artifacts.values().map(Named::of).collect::<Vec<_>>()),
                };
                for named in committed.iter().flatten() {
                    if !self.whole(named, there) {
                        self.broken("I1", format!("{slot} commits `{}`, which is not there or wrong", named.object));
                    }
                }
                let seen = self.slots.entry(slot).or_default();
                seen.filled_ms = Some(now_ms);
                seen.writer = record.writer.to_string();
                seen.committed = committed;
                let current: Vec<SlotId> = self.current_of(&slot.key);
                if current.len() > 1 {
                    self.broken("I2", format!("{current:?} are committed at once"));
                }
            }
            "damaged" => {
                let record: DamagedRecord = read(bytes);
                let known = slot_of(&record.object).is_none_or(|_| self.rotten.contains(&record.object));
                if !known {
                    self.broken("I1", format!("{slot} is marked as damaged, and `{}` is whole", record.object));
                }
                let seen = self.slots.entry(slot).or_default();
                seen.damaged = true;
                let named = seen.committed.iter().flatten().find(|named| named.object == record.object).cloned();
                let retired = seen.retired;
                if let Some(named) = named
                    && !retired
                    && !self.rotten.contains(&named.object)
                    && self.whole(&named, there)
                {
                    self.broken("I1", format!("{slot} is marked as damaged, and `{}` is whole", named.object));
                }
            }
            "retired" => self.slots.entry(slot).or_default().retired = true,
            _ => {}
        }
    }

    fn current_of(&self, key: &StepKey) -> Vec<SlotId> {
        let of_key = self.slots.iter().filter(|(slot, seen)| slot.key == *key && seen.current());
        of_key.map(|(slot, _)| *slot).collect()
    }

    fn checkpoint(&mut self, now_ms: u64, key: &str, bytes: &Bytes, there: There<'_>) {
        let Some(id) = checkpoint_of(key) else { return };
        let record: CheckpointRecord = read(bytes);
        let named = Named::of(&record.stored);
        let open = self.slots.get(&id.slot).is_none_or(|seen| seen.filled_ms.is_none());
        if open && !self.whole(&named, there) {
            self.broken("I4", format!("checkpoint {id} names `{}`, which is not there", named.object));
        }
        let place = (id.slot.key, id.slot.epoch.0, id.seq);
        self.checkpoints.entry(place).or_insert(Checkpoint {
            named,
            created_ms: now_ms,
            durable: false,
            deleted: false,
            lost: false,
            doubtful: false,
        });
    }

    fn condemned(&mut self, key: &str) {
        let Some(n) = number_of(key) else { return };
        if std::mem::take(&mut self.list_lost) {
            self.checkpoints.values_mut().for_each(|checkpoint| checkpoint.doubtful = true);
        }
        self.newest_list = self.newest_list.max(n);
    }

    fn named(&mut self, key: &str, bytes: &Bytes, there: There<'_>) {
        let Some(n) = number_of(key) else { return };
        let record: NamesRecord = read(bytes);
        let artifacts: Vec<(SlotId, Named)> =
            record.artifacts.values().map(|(slot, stored)| (*slot, Named::of(stored))).collect();
        let newest = self.names.keys().next_back().is_none_or(|newest| n > *newest);
        for (slot, named) in &artifacts {
            let damaged = self.slots.get(slot).is_some_and(|seen| seen.damaged);
            if newest && !damaged && !self.whole(named, there) {
                self.broken(
                    "I1",
                    format!("the names of run {} show `{}`, which is not there", record.run, named.object),
                );
            }
        }
        if self.runs.get(&record.run).is_some_and(|run| run.order != n) {
            self.broken("I5", format!("run {} moved the names under {n}, which is not its number", record.run));
        }
        self.names.insert(n, (record.run, artifacts));
    }

    fn of_run(&mut self, rest: &str, bytes: &Bytes) {
        let Some((run, what)) = rest.split_once('/') else { return };
        let Ok(run) = RunId::new(run) else { return };
        match what {
            "graph" => {
                let record: GraphRecord = read(bytes);
                let of = self.runs.entry(run).or_default();
                (of.order, of.brought) = (record.order, record.brought.iter().map(Named::of).collect());
            }
            "retired.json" => self.runs.entry(run).or_default().given_up = true,
            _ if what.starts_with("effects/") => self.effect(run, what, bytes),
            _ => {}
        }
    }

    fn effect(&mut self, run: RunId, what: &str, bytes: &Bytes) {
        let name = format!("{run}/{}", what.split('.').next().unwrap_or_default());
        match what.split('.').nth(1) {
            Some("json") => {
                let record: EffectRecord = read(bytes);
                self.effects
                    .insert(name, EffectSeen { run, named: Named::of(&record.stored), binding: 0, done: false });
            }
            Some(doer) if doer.starts_with("doer-") => {
                let record: EffectDoerRecord = read(bytes);
                if let Some(effect) = self.effects.get_mut(&name) {
                    effect.binding = effect.binding.max(record.binding);
                }
            }
            Some("done") => {
                let record: EffectDoneRecord = read(bytes);
                let Some(effect) = self.effects.get_mut(&name) else {
                    return self.broken("I6", format!("`{name}` is done and was never begun"));
                };
                effect.done = true;
                if record.by.is_some() {
                    return;
                }
                let (digest, now) = (effect.named.digest, self.rank_of(&self.effects[&name]));
                match &mut self.published {
                    Some((shown, rank)) if *shown == digest => *rank = now.max(*rank),
                    // It was, and is over: a record of what is done may come late.
                    Some((_, rank)) if *rank > now => {}
                    _ => self.broken("I6", format!("`{name}` is done, and the target shows something else")),
                }
            }
            _ => {}
        }
    }

    /// Returns the place of an effect in the order of all: the number of its run, and of the binding.
    fn rank_of(&self, effect: &EffectSeen) -> (u64, u64) {
        (self.runs.get(&effect.run).map_or(0, |run| run.order), effect.binding)
    }

    /// Returns the place of the newest effect that began to publish these bytes.
    fn rank(&self, digest: &Digest) -> Option<(u64, u64)> {
        self.effects.values().filter(|effect| effect.named.digest == *digest).map(|effect| self.rank_of(effect)).max()
    }

    /// Looks at the target of all publications after every step.
    pub fn target(&mut self, shown: Option<Digest>) {
        if shown == self.published.map(|(shown, _)| shown) {
            return;
        }
        let Some(shown) = shown else { return self.broken("I3", "the publication is gone".to_owned()) };
        match (self.rank(&shown), self.published) {
            (None, _) => self.broken("I3", format!("{} is published, and nobody began that", shown.short())),
            (Some(now), Some((_, before))) if now < before => {
                let ((now, of), (before, older)) = (now, before);
                let what = format!("binding {of} of run {now} replaced binding {older} of run {before}");
                self.broken("I6", what);
            }
            (Some(now), _) => self.published = Some((shown, now)),
        }
    }

    fn is_rotten(&self, checkpoint: &Checkpoint) -> bool {
        checkpoint.lost || checkpoint.doubtful || self.list_lost || self.rotten.contains(&checkpoint.named.object)
    }

    /// Nothing happens any more: what may be reused must be whole.
    pub fn at_the_end(&mut self, there: There<'_>) {
        let mut wrong = Vec::new();
        // What stands in a damaged end nobody can reuse: the mark comes before the next attempt (I2).
        for (slot, seen) in self.slots.iter().filter(|(_, seen)| seen.current() && !seen.lost) {
            let lost = seen.committed.iter().flatten().filter(|named| !self.whole(named, there));
            wrong.extend(lost.map(|named| format!("{slot} may be reused, and `{}` is not whole", named.object)));
        }
        if let Some(what) = wrong.into_iter().next() {
            self.broken("I1", what);
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(bytes: &Bytes) -> T {
    serde_json::from_slice(bytes).expect("a record is what its writer wrote")
}

/// `attempts/<key>/<e>.<what>.json`.
fn slot_of(key: &str) -> Option<(SlotId, &str)> {
    let mut parts = key.strip_prefix("attempts/")?.split('/');
    let step = StepKey(Digest::from_hex(parts.next()?).ok()?);
    let mut parts = parts.next()?.split('.');
    let epoch = Epoch(from_descending(parts.next()?)?);
    Some((SlotId { key: step, epoch }, parts.next()?))
}

/// `checkpoints/<key>/<e>-<seq>.json`.
fn checkpoint_of(key: &str) -> Option<CheckpointId> {
    let (step, rest) = key.strip_prefix("checkpoints/")?.split_once('/')?;
    let (epoch, seq) = rest.strip_suffix(".json")?.split_once('-')?;
    let slot = SlotId { key: StepKey(Digest::from_hex(step).ok()?), epoch: Epoch(from_descending(epoch)?) };
    Some(CheckpointId { slot, seq: from_descending(seq)? })
}

fn number_of(key: &str) -> Option<u64> {
    from_descending(key.rsplit_once('/')?.1.strip_suffix(".json")?)
}
