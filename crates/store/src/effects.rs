//! Effects: something done to the outside for a run, once, by whoever comes (protocol: Effects).
//!
//! Recorded, *then* done, *then* recorded as done. The commit is durable before the first of the three. Whoever finds an
//! effect begun and not done does it, and doing it twice is harmless: the target is compared with what it should hold.
//!
//! Of all effects on one target the newest counts: that of the run with the highest order and, in one run, that of the
//! highest binding. Which that is is asked under the lock under which the target is changed, so that nothing older ever
//! follows something newer, whoever dies when (`tests/models_effects.rs`).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use prunella_model::{
    ArtifactKind, Digest, EffectHow, EffectId, EffectKind, Encoder, PipelineName, PortName, RunId, SlotId, StepId,
    Target,
};
use prunella_objects::Op;
use prunella_sys::mutated;

use crate::{
    Layout, Overwrite, Store, StoreError,
    layout::EffectPart,
    publish::Place,
    records::{EffectDoerRecord, EffectDoneRecord, EffectFailedRecord, EffectRecord, FORMAT, Owner, StoredArtifact},
    store::{decode, encode},
};

/// A publication that a run owes.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// The run.
    pub run: RunId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The number of the run among the runs of its pipeline: an older run never replaces what a newer one published.
    pub order: u64,
    /// The number of the step's binding.
    pub binding: u64,
    /// The step.
    pub step: StepId,
    /// The output.
    pub output: PortName,
    /// The commit.
    pub slot: SlotId,
    /// The artifact.
    pub stored: StoredArtifact,
    /// Where to.
    pub target: Target,
    /// Whether a tree in a bucket is overwritten file by file.
    pub mirror: bool,
    /// The directory that must be there already, if the target lies below one: it is never made.
    pub base: Option<PathBuf>,
}

/// An effect that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectMade {
    /// Its identity.
    pub id: EffectId,
    /// How it came to be done.
    pub how: EffectHow,
    /// The newer run whose artifact is there instead.
    pub by: Option<RunId>,
    /// Whether it was done before this call.
    pub before: bool,
}

/// What the records of a run say about one effect.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub begun: Option<EffectRecord>,
    pub done: Option<EffectDoneRecord>,
    /// The highest binding for which it was done.
    pub binding: u64,
    pub failed: u32,
}

/// An effect on a target, with its place in the order of all of them.
#[derive(Debug, Clone)]
pub(crate) struct Ranked {
    pub rank: (u64, u64),
    pub run: RunId,
    pub id: EffectId,
    pub stored: StoredArtifact,
    pub done: bool,
}

impl Ranked {
    /// Returns an effect of which nobody else is asked.
    pub(crate) fn only(effect: &Effect) -> Self {
        Self {
            rank: (effect.order, effect.binding),
            run: effect.run.clone(),
            id: effect.id(),
            stored: effect.stored.clone(),
            done: false,
        }
    }
}

impl Effect {
    pub(crate) fn place(&self) -> Digest {
        place_of(EffectKind::Publication, &self.target.to_string())
    }

    /// Returns its identity: the same for whoever does it, and however often.
    pub fn id(&self) -> EffectId {
        let target = self.target.to_string();
        EffectId::of(EffectKind::Publication, &target, &self.slot.key, &self.stored.artifact.digest)
    }
}

fn place_of(kind: EffectKind, target: &str) -> Digest {
    Encoder::new("prunella-place-1").text(kind.as_str()).text(target).finish()
}

impl Store {
    /// Sees to it that the effect is done; one that is done already costs a look.
    ///
    /// With `again` the target is looked at, and put right, also if the effect is done already.
    ///
    /// # Errors
    /// [`StoreError::Occupied`] if something stands there that is not Prunella's to replace; [`StoreError::Damaged`] if the
    /// artifact's bytes are lost. After any error the effect is open, and the target is whole.
    pub async fn do_effect(&self, owner: &Owner, effect: &Effect, again: bool) -> Result<EffectMade, StoreError> {
        let (place, id) = (effect.place(), effect.id());
        let seen = self.effects_on(&effect.run, &place).await?;
        let alone = seen.keys().all(|other| *other == id);
        if let Some(done) = seen.get(&id).and_then(|seen| seen.done.as_ref())
            && alone
            && !again
        {
            return Ok(EffectMade { id, how: done.how, by: done.by.clone(), before: true });
        }
        // A writer of its own: what this call leaves unfinished carries its name.
        let doer = self.another();
        doer.begin(owner, effect, &place, &id).await?;
        let (how, by) = match &effect.target {
            _ if mutated(30) => (EffectHow::Created, None),
            Target::Path(target) => doer.settle(effect, target, &place, &id).await?,
            Target::Bucket(url) => doer.settle_in_bucket(effect, url, true).await?,
        };
        let done =
            EffectDoneRecord { format: FORMAT, writer: doer.writer.clone(), how, by, at_ms: self.sys.clock.wall_ms() };
        let _or_somebody_else =
            self.create(&Layout::effect(&effect.run, &place, &id, &EffectPart::Done), &done).await?;
        if mutated(30)
            && let Target::Path(target) = &effect.target
        {
            let _too_late = doer.settle(effect, target, &place, &id).await?;
        }
        Ok(EffectMade { id, how: done.how, by: done.by, before: false })
    }

    /// Puts an artifact at an address, as a run publishes it, without being one of its effects; what is there is replaced.
    ///
    /// # Errors
    /// As [`Store::do_effect`].
    pub async fn publish_in_bucket(&self, effect: &Effect, url: &str) -> Result<EffectHow, StoreError> {
        self.another().settle_in_bucket(effect, url, false).await.map(|(how, _)| how)
    }

    /// Records that the effect is being done, and makes that and the commit durable.
    async fn begin(&self, owner: &Owner, effect: &Effect, place: &Digest, id: &EffectId) -> Result<(), StoreError> {
        let begun = EffectRecord {
            format: FORMAT,
            kind: EffectKind::Publication,
            target: effect.target.to_string(),
            step: effect.step.clone(),
            output: effect.output.clone(),
            slot: effect.slot,
            stored: effect.stored.clone(),
            writer: self.writer.clone(),
            at_ms: self.sys.clock.wall_ms(),
        };
        let doer = EffectDoerRecord {
            format: FORMAT,
            owner: owner.clone(),
            binding: effect.binding,
            writer: self.writer.clone(),
        };
        let at = |part| Layout::effect(&effect.run, place, id, &part);
        let (begun_at, doer_at) = (at(EffectPart::Begun), at(EffectPart::Doer(self.writer.as_str().to_owned())));
        let ops = vec![
            Op::Create { bytes: encode(&begun_at, &begun), key: begun_at },
            Op::Create { bytes: encode(&doer_at, &doer), key: doer_at },
        ];
        let _begun_before = self.put_all(ops).await?;
        // Written first, looked for afterwards: a collector marks the run first and reads effects afterwards.
        self.not_given_up(&effect.run).await?;
        // Durability point: nothing outside may show what a loss of power could take back.
        self.sync().await
    }

    /// Sees to it that the newest is at the target, be it this one or one that somebody else began.
    async fn settle(
        &self,
        effect: &Effect,
        target: &Path,
        place: &Digest,
        id: &EffectId,
    ) -> Result<(EffectHow, Option<RunId>), StoreError> {
        let mut made: Option<(EffectId, PathBuf)> = None;
        let settled = loop {
            let newest = self.newest_on(effect, place).await?;
            let overwrite = match newest.stored.artifact.kind {
                ArtifactKind::File => Overwrite::Files(BTreeSet::new()),
                ArtifactKind::Tree => self.published_before(effect, place).await?,
            };
            let at = Place { run: &effect.run, target, base: effect.base.as_deref(), overwrite: &overwrite };
            // Where nothing is, nothing can be as it should be: the lock is taken once.
            if made.is_none() && self.sys.fs.metadata(at.target).map_err(StoreError::io(at.target))?.is_none() {
                made = Some((newest.id, self.make_newest(effect, &at, &newest).await?));
            }
            match self.attempt(effect, place, &at, &newest, id, made.as_ref()).await {
                Ok(Some(done)) => break Ok(done),
                Ok(None) => {}
                Err(error) => break Err(error),
            }
            if let Some((_, part)) = made.take() {
                self.tidy(&part, Ok(()))?;
            }
            made = Some((newest.id, self.make_newest(effect, &at, &newest).await?));
        };
        match &made {
            Some((_, part)) => self.tidy(part, settled),
            None => settled,
        }
    }

    /// Makes the newest artifact beside the target: long work, and so done without the lock.
    async fn make_newest(&self, effect: &Effect, at: &Place<'_>, newest: &Ranked) -> Result<PathBuf, StoreError> {
        self.make(at, &newest.stored).await.map_err(|error| match error {
            // Not this effect's bytes: whoever hears of it must not mark its own commit.
            StoreError::Damaged { problem, .. } if newest.run != effect.run => at.occupied(format!(
                "run {} has begun to publish something newer there, and its bytes are damaged ({problem}): resume it",
                newest.run
            )),
            error => error,
        })
    }

    /// What is done under the lock: the target is left alone or changed, or nothing is done since `expected` is to be made
    /// first, or is no longer the newest.
    async fn attempt(
        &self,
        effect: &Effect,
        place: &Digest,
        at: &Place<'_>,
        expected: &Ranked,
        id: &EffectId,
        made: Option<&(EffectId, PathBuf)>,
    ) -> Result<Option<(EffectHow, Option<RunId>)>, StoreError> {
        let _lock = if mutated(33) { None } else { Some(self.lock(at).await?) };
        if made.is_none() {
            self.remove_leftovers(at).await?;
        }
        let newest = if mutated(32) { expected.clone() } else { self.newest_on(effect, place).await? };
        let ours = newest.run == effect.run && newest.id == *id;
        let other = (newest.run != effect.run).then(|| newest.run.clone());
        if !ours && newest.done {
            return Ok(Some((EffectHow::Superseded, other)));
        }
        if (&newest.run, newest.id) != (&expected.run, expected.id) {
            return Ok(None);
        }
        let how = match made {
            Some((made, part)) if *made == newest.id => self.show(at, &newest.stored, part).await?,
            _ if self.stays(at, &newest.stored).await? => EffectHow::Unchanged,
            _ => return Ok(None),
        };
        Ok(Some(if ours { (how, None) } else { (EffectHow::Superseded, other) }))
    }

    /// Returns the newest effect on the target that can be seen; there is at least this one.
    pub(crate) async fn newest_on(&self, effect: &Effect, place: &Digest) -> Result<Ranked, StoreError> {
        let mut ranked = Vec::new();
        for (run, order) in self.newer_runs(&effect.pipeline, effect.order).await? {
            self.rank(&run, order, place, &mut ranked).await?;
        }
        self.rank(&effect.run, effect.order, place, &mut ranked).await?;
        // Who begins it a second time may have made its bytes anew: the record that it was begun names those that were lost.
        let own = ranked.iter_mut().filter(|one| one.run == effect.run && one.id == effect.id());
        own.filter(|_| !mutated(61)).for_each(|one| one.stored = effect.stored.clone());
        let rank = |one: &Ranked| if mutated(106) { (one.rank.0, 0) } else { one.rank };
        ranked.into_iter().max_by_key(rank).ok_or_else(|| StoreError::Record {
            key: Layout::effect(&effect.run, place, &effect.id(), &EffectPart::Begun),
            problem: "it was created and is gone".to_owned(),
        })
    }

    async fn rank(&self, run: &RunId, order: u64, place: &Digest, into: &mut Vec<Ranked>) -> Result<(), StoreError> {
        for (id, seen) in self.effects_on(run, place).await? {
            if let Some(begun) = seen.begun {
                let (rank, done) = ((order, seen.binding), seen.done.is_some());
                into.push(Ranked { rank, run: run.clone(), id, stored: begun.stored, done });
            }
        }
        Ok(())
    }

    /// Returns the runs of the pipeline that started after the one with this number.
    async fn newer_runs(&self, pipeline: &PipelineName, order: u64) -> Result<Vec<(RunId, u64)>, StoreError> {
        if mutated(31) {
            return Ok(Vec::new());
        }
        let runs = self.runs_after(pipeline, order).await?.into_iter();
        Ok(runs.map(|listed| (listed.run, listed.order)).collect())
    }

    /// Returns what of a directory at the target is Prunella's to replace: all of it once a run of the pipeline has published
    /// there, and before that what is the work of somebody who died before he could say so.
    async fn published_before(&self, effect: &Effect, place: &Digest) -> Result<Overwrite, StoreError> {
        let mut begun = BTreeSet::new();
        for listed in self.runs_of(&effect.pipeline, usize::MAX).await? {
            for seen in self.effects_on(&listed.run, place).await?.into_values() {
                if seen.done.is_some() {
                    return Ok(Overwrite::Anything);
                }
                begun.extend(seen.begun.map(|begun| begun.stored.artifact.digest));
            }
        }
        Ok(Overwrite::Files(begun))
    }

    /// Returns what the records of a run say about its effects on one place.
    pub(crate) async fn effects_on(&self, run: &RunId, place: &Digest) -> Result<BTreeMap<EffectId, Seen>, StoreError> {
        self.effects_under(&Layout::effects_on(run, place)).await
    }

    /// Returns what the records of a run say about all its effects, by place.
    pub(crate) async fn effects_under(&self, prefix: &str) -> Result<BTreeMap<EffectId, Seen>, StoreError> {
        let mut found: BTreeMap<EffectId, Seen> = BTreeMap::new();
        for (key, bytes) in self.records(prefix, usize::MAX).await? {
            let Some((id, part)) = Layout::parse_effect(key.as_str()) else { continue };
            let seen = found.entry(id).or_default();
            match part {
                EffectPart::Begun => seen.begun = Some(decode(&key, &bytes)?),
                EffectPart::Done => seen.done = Some(decode(&key, &bytes)?),
                EffectPart::Doer(_) => {
                    seen.binding = seen.binding.max(decode::<EffectDoerRecord>(&key, &bytes)?.binding);
                }
                EffectPart::Failed(n) => seen.failed = seen.failed.max(n),
            }
        }
        Ok(found)
    }

    /// Returns whether whoever had this writer id for an effect of the run is proved dead.
    pub(crate) async fn doer_gone(&self, run: &RunId, writer: &str) -> Result<bool, StoreError> {
        let suffix = format!(".doer-{writer}.json");
        for (key, bytes) in self.records(&Layout::effects(run), usize::MAX).await? {
            if key.as_str().ends_with(&suffix) {
                return Ok(self.owner_gone(&decode::<EffectDoerRecord>(&key, &bytes)?.owner) == Some(true));
            }
        }
        Ok(false)
    }

    /// Records that the effect could not be done, and returns how often that happened to this one, in processes that keep no
    /// journal.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not answer.
    pub async fn effect_failed(&self, effect: &Effect, why: &str) -> Result<u32, StoreError> {
        let (place, id) = (effect.place(), effect.id());
        let record = EffectFailedRecord {
            format: FORMAT,
            writer: self.writer.clone(),
            why: why.to_owned(),
            at_ms: self.sys.clock.wall_ms(),
        };
        loop {
            let n = self.effects_on(&effect.run, &place).await?.get(&id).map_or(0, |seen| seen.failed) + 1;
            let key = Layout::effect(&effect.run, &place, &id, &EffectPart::Failed(n));
            if let prunella_objects::Created::New = self.create(&key, &record).await? {
                return Ok(n);
            }
        }
    }
}
