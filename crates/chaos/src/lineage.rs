//! I7 lineage: from every committed byte to pinned data, by records alone; no journal is asked.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use prunella_engine::Plan;
use prunella_model::{
    BoundInput, Digest, EnvName, KeyScope, PortName, Reference, RunId, SlotId, Source, Step, StepId, StepName, fan_in,
    step_key,
};
use prunella_store::{
    Store,
    records::{Committed, End, GraphRecord, InputProvenance, Provenance, StoredArtifact},
};

use crate::oracle::{Broken, broken, unreadable};

/// What was walked to, so that a test can say what it saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walked {
    /// The commits, by the step that made each.
    pub commits: BTreeMap<SlotId, StepId>,
    /// The runs whose graphs were read.
    pub runs: BTreeSet<RunId>,
    /// The content of every output, and whose it is.
    pub outputs: BTreeMap<Digest, SlotId>,
    /// The data sets that the walk ends at: pinned, by content.
    pub data: BTreeMap<String, Digest>,
    /// The digests of code.
    pub code: BTreeSet<Digest>,
    /// The digests of environment locks.
    pub environments: BTreeSet<Digest>,
    /// The parameters, as they were.
    pub params: BTreeMap<String, String>,
    /// How many inputs were walked through.
    pub inputs: usize,
    /// How many folders were composed again from what items made.
    pub folders: usize,
    /// How many commits went on from a checkpoint.
    pub restored: usize,
    /// Attempts that ended without a commit below these.
    pub closed: usize,
}

/// Walks, and remembers what it has walked already: commits never change.
#[derive(Debug, Default)]
pub struct Lineage {
    walked: Walked,
    whole: HashSet<String>,
}

/// A commit, and whom it belongs to.
struct At<'a> {
    slot: SlotId,
    run: &'a RunId,
    id: &'a StepId,
    record: &'a GraphRecord,
    spec: &'a Step,
    plan: &'a Plan,
    from: &'a Provenance,
}

impl At<'_> {
    fn wrong(&self, what: impl std::fmt::Display) -> Broken {
        broken("I7 lineage", format!("{} of `{}` of run {}: {what}", self.slot, self.id, self.run))
    }
}

impl Lineage {
    /// Returns what was walked so far.
    pub fn walked(&self) -> &Walked {
        &self.walked
    }

    /// Walks from every commit that stands.
    ///
    /// # Errors
    /// [`Broken`] with the first place from which one cannot go on.
    pub async fn walk_all(&mut self, store: &Store) -> Result<(), Broken> {
        let mut keys = BTreeSet::new();
        for (name, _) in store.objects().read_prefix("attempts/", usize::MAX).await.map_err(unreadable)? {
            keys.extend(name.as_str().split('/').nth(1).and_then(|hex| Digest::from_hex(hex).ok()));
        }
        for key in keys {
            let view = store.look(&prunella_model::StepKey(key)).await.map_err(unreadable)?;
            for (epoch, slot) in &view.slots {
                if slot.reusable().is_some() {
                    self.walk(store, SlotId { key: view.key, epoch: *epoch }).await?;
                }
            }
        }
        Ok(())
    }

    /// Walks from every byte of a commit: to its run, step, attempts, code, environment or host, parameters and inputs,
    /// and on from these down to pinned data. Every digest on the way is that of bytes which are there.
    ///
    /// # Errors
    /// [`Broken`] with the first place from which one cannot go on.
    pub async fn walk(&mut self, store: &Store, slot: SlotId) -> Result<(), Broken> {
        let mut left = vec![slot];
        while let Some(slot) = left.pop() {
            if self.walked.commits.contains_key(&slot) {
                continue;
            }
            left.extend(self.step_back(store, slot).await?);
        }
        Ok(())
    }

    /// Checks one commit, and returns those that it comes from.
    async fn step_back(&mut self, store: &Store, slot: SlotId) -> Result<Vec<SlotId>, Broken> {
        let missing = |what: &str| broken("I7 lineage", format!("{slot}: {what}"));
        let committed = store.committed(&slot).await.map_err(unreadable)?.ok_or_else(|| missing("it is no commit"))?;
        let start = store.start_of(&slot).await.map_err(unreadable)?;
        let start = start.ok_or_else(|| missing("nobody started it"))?;
        let record = store.graph(&start.run).await.map_err(unreadable)?;
        let plan = Plan::build(record.graph.clone(), &[]).map_err(unreadable)?;
        let spec = record.graph.pipeline.steps.get(start.step.name.as_str());
        let spec = spec.ok_or_else(|| missing("its run has no such step"))?;
        let from = &committed.provenance;
        let at = At { slot, run: &start.run, id: &start.step, record: &record, spec, plan: &plan, from };
        self.attempts(store, &at).await?;
        self.made_of(store, &at).await?;
        self.restored(store, &at).await?;
        self.outputs(store, &at, &committed).await?;
        let producers = self.inputs(store, &at).await?;
        self.walked.commits.insert(slot, start.step);
        self.walked.runs.insert(start.run);
        Ok(producers)
    }

    /// Every earlier attempt of the key is there, and how it ended.
    async fn attempts(&mut self, store: &Store, at: &At<'_>) -> Result<(), Broken> {
        let view = store.look(&at.slot.key).await.map_err(unreadable)?;
        let numbers: Vec<u64> = view.slots.keys().map(|epoch| epoch.0).filter(|n| *n <= at.slot.epoch.0).collect();
        if numbers != (1..=at.slot.epoch.0).collect::<Vec<_>>() {
            return Err(at.wrong(format!("of the attempts up to it only {numbers:?} are there")));
        }
        for (epoch, slot) in view.slots.range(..at.slot.epoch) {
            match (&slot.start, &slot.end) {
                (Some(_), Some(end)) => self.walked.closed += usize::from(matches!(end.end, End::Closed(_))),
                _ => return Err(at.wrong(format!("attempt {epoch} before it has no start or no end"))),
            }
        }
        Ok(())
    }

    /// The pipeline, the item, the code, the environment or host, the parameters and variables are those of its run.
    async fn made_of(&mut self, store: &Store, at: &At<'_>) -> Result<(), Broken> {
        let (graph, from) = (&at.record.graph, at.from);
        if (&from.pipeline, &from.item) != (&graph.pipeline.name, &at.id.item) {
            return Err(at.wrong("it says another pipeline or item"));
        }
        if from.command.is_empty() {
            return Err(at.wrong("it does not say what ran"));
        }
        let code = graph.code_of(&at.id.name);
        if from.code != code.map(|code| code.digest) {
            return Err(at.wrong("its code is not that of its run"));
        }
        if let Some(code) = code {
            self.is_there(store, at, "its code", brought(at.record, code.digest)).await?;
            self.walked.code.insert(code.digest);
        }
        let platform = format!("{}-{}", graph.platform.os, graph.platform.arch);
        if from.platform != platform {
            return Err(at.wrong(format!("it ran on {}, its run on {platform}", from.platform)));
        }
        if from.environment != graph.environment.as_ref().map(|pin| pin.digest) {
            return Err(at.wrong("its environment is not that of its run"));
        }
        if graph.environment.as_ref().is_some_and(|pin| pin.lock.is_null()) {
            return Err(at.wrong("nothing says what its environment is"));
        }
        self.walked.environments.extend(from.environment);
        let mut referenced = BTreeMap::new();
        for reference in at.spec.run.templates().iter().flat_map(|template| template.references()) {
            if let Reference::Param(name) = reference {
                let value = graph.pipeline.params.get(name.as_str());
                referenced.insert(name.to_string(), value.ok_or_else(|| at.wrong(format!("no parameter `{name}`")))?);
            }
        }
        if !from.params.iter().eq(referenced.iter().map(|(name, value)| (name, *value))) {
            return Err(at.wrong(format!("its parameters are {:?}, those of its run {referenced:?}", from.params)));
        }
        let said = from.params.iter().map(|(name, value)| (name.clone(), format!("{value:?}")));
        self.walked.params.extend(said);
        // What belongs to the end of a run sees how it came out, too.
        let declared = at.spec.env.iter().all(|(name, value)| from.env.get(name.as_str()) == Some(value));
        if !declared || at.spec.handler.is_none() && from.env.len() != at.spec.env.len() {
            return Err(at.wrong("its variables are not those of its step"));
        }
        Ok(())
    }

    /// What it went on from is a checkpoint of an earlier attempt of this work, or the one that its run begins with.
    async fn restored(&mut self, store: &Store, at: &At<'_>) -> Result<(), Broken> {
        let Some(id) = at.from.restored else { return Ok(()) };
        self.walked.restored += 1;
        if at.record.graph.warm.get(&at.id.name).is_some_and(|warm| warm.checkpoint == id) {
            return Ok(());
        }
        if id.slot.key != at.slot.key || id.slot.epoch >= at.slot.epoch {
            return Err(at.wrong(format!("it went on from {id}, which is not of an attempt before it")));
        }
        let collected = !store.objects().read_prefix("gc/", 1).await.map_err(unreadable)?.is_empty();
        // Once there is a commit its checkpoints may be collected.
        if !collected && !store.checkpoint_is_whole(&id).await.map_err(unreadable)? {
            return Err(at.wrong(format!("it went on from {id}, which is not whole")));
        }
        Ok(())
    }

    async fn outputs(&mut self, store: &Store, at: &At<'_>, committed: &Committed) -> Result<(), Broken> {
        if !committed.artifacts.keys().eq(at.spec.outputs.keys()) {
            return Err(at.wrong("its outputs are not those of its step"));
        }
        for (name, stored) in &committed.artifacts {
            self.is_there(store, at, name.as_str(), Some(stored)).await?;
            self.walked.outputs.insert(stored.artifact.digest, at.slot);
        }
        Ok(())
    }

    /// Every declared input, and nothing else, is data of the run or an output of a commit; together with all of the above
    /// they give the key again, so that no digest stands there that did not enter the work.
    async fn inputs(&mut self, store: &Store, at: &At<'_>) -> Result<Vec<SlotId>, Broken> {
        if !at.from.inputs.keys().eq(at.spec.inputs.keys()) {
            let (said, declared): (Vec<_>, Vec<_>) = (at.from.inputs.keys().collect(), at.spec.inputs.keys().collect());
            return Err(at.wrong(format!("it says the inputs {said:?}, its step declares {declared:?}")));
        }
        let (mut bound, mut producers) = (BTreeMap::new(), Vec::new());
        for (name, source) in &at.spec.inputs {
            let input = &at.from.inputs[name];
            let base_name = match source {
                Source::Data(data) => {
                    let pin = at.record.graph.data.get(data).ok_or_else(|| at.wrong(format!("no data `{data}`")))?;
                    let said = format!("data.{data}");
                    if (input.artifact, input.slot, &input.source) != (pin.artifact, None, &said) {
                        return Err(at.wrong(format!("`{name}` is not the data `{data}` of its run")));
                    }
                    if !pin.pinned && !at.from.remarks.iter().any(|remark| remark.starts_with(&said)) {
                        return Err(at.wrong(format!("`{name}` was not pinned, and nothing says so")));
                    }
                    if input.referenced != pin.referenced {
                        return Err(at.wrong(format!("nothing says where the bytes of `{name}` were")));
                    }
                    match &pin.mounted {
                        // Its bytes are in no store: where they were read stands there instead.
                        Some(path) if input.mounted.as_ref().is_some_and(|there| there.path == *path) => {}
                        Some(_) => return Err(at.wrong(format!("nothing says where `{name}` was read"))),
                        None => {
                            self.is_there(store, at, name.as_str(), brought(at.record, pin.artifact.digest)).await?
                        }
                    }
                    if pin.pinned {
                        self.walked.data.insert(data.to_string(), pin.artifact.digest);
                    }
                    pin.base_name.clone()
                }
                Source::Step { step, output } => {
                    self.made_by(store, at, (name, input), (step, output), &mut producers).await?
                }
            };
            self.walked.inputs += 1;
            let (kind, digest) = (input.artifact.kind, input.artifact.digest);
            bound.insert(name.clone(), BoundInput { kind, base_name, digest });
        }
        // What belongs to the end of a run has what it saw of it among its variables.
        let mut spec = at.spec.clone();
        for (name, value) in &at.from.env {
            let name = EnvName::new(name).map_err(unreadable)?;
            spec.env.entry(name).or_insert_with(|| value.clone());
        }
        let newest = store.driver_of(at.run).await.map_err(unreadable)?.map_or(1, |(n, _, _)| n);
        let is_key = |driver| {
            let scope = KeyScope { run: at.run.clone(), driver };
            step_key(&at.record.graph, at.id, &spec, &bound, &scope) == at.slot.key
        };
        if !(1..=newest).any(is_key) {
            return Err(at.wrong("what it says it was made of does not give its key"));
        }
        Ok(producers)
    }

    /// Follows an input to the commits that made it; returns the name under which it was laid out.
    async fn made_by(
        &mut self,
        store: &Store,
        at: &At<'_>,
        (name, input): (&PortName, &InputProvenance),
        (step, output): (&StepName, &PortName),
        producers: &mut Vec<SlotId>,
    ) -> Result<String, Broken> {
        let declared = at.record.graph.pipeline.steps.get(step.as_str()).and_then(|step| step.outputs.get(output));
        let declared = declared.ok_or_else(|| at.wrong(format!("`{step}.{output}` is not declared")))?;
        let base_name = declared.path.base_name().to_owned();
        let made = async |slot: SlotId| -> Result<StoredArtifact, Broken> {
            let committed = store.committed(&slot).await.map_err(unreadable)?;
            let made = committed.and_then(|committed| committed.artifacts.get(output).cloned());
            made.ok_or_else(|| at.wrong(format!("`{name}` comes from {slot}, which has no `{output}`")))
        };
        let whole = StepId::plain(step.clone());
        let is_group = at.plan.index(&whole).is_some_and(|place| at.plan.topology().is_group(place));
        let (laid_out, artifact) = match input.slot {
            Some(slot) => {
                producers.push(slot);
                (base_name, made(slot).await?.artifact)
            }
            None if is_group => {
                let mut parts = Vec::new();
                for (item, slot) in &input.items {
                    producers.push(*slot);
                    parts.push((item, made(*slot).await?.artifact));
                }
                self.walked.folders += 1;
                (output.to_string(), fan_in(&base_name, &parts))
            }
            None => return Err(at.wrong(format!("nothing says which commit made `{name}`"))),
        };
        if artifact != input.artifact {
            return Err(at.wrong(format!("`{name}` is {:?}, made was {artifact:?}", input.artifact)));
        }
        Ok(laid_out)
    }

    /// Reads every byte of an artifact, once.
    async fn is_there(
        &mut self,
        store: &Store,
        at: &At<'_>,
        what: &str,
        stored: Option<&StoredArtifact>,
    ) -> Result<(), Broken> {
        let stored = stored.ok_or_else(|| at.wrong(format!("nobody says where `{what}` is")))?;
        let seen = format!("{} {}", stored.artifact.digest, stored.object);
        if !self.whole.contains(&seen) {
            store.verify(stored).await.map_err(|error| at.wrong(format!("`{what}`: {error}")))?;
            self.whole.insert(seen);
        }
        Ok(())
    }
}

/// Returns where a run has what it brought in with this content.
fn brought(record: &GraphRecord, digest: Digest) -> Option<&StoredArtifact> {
    record.brought.iter().find(|stored| stored.artifact.digest == digest)
}
