//! `--warm`: a step of changed code goes on from a checkpoint that it had before.

use std::collections::{BTreeMap, BTreeSet};

use prunella_engine::{Loaded, load_state};
use prunella_journal::Event;
use prunella_model::{CheckpointId, Epoch, Pipeline, RunId, SlotId, StepId, StepKey, StepName, WarmStart};
use prunella_store::{
    KeyView, Store,
    records::{End, EndRecord, GraphRecord, StoredArtifact, Timeline},
};

use crate::{commands::among, error::CliError};

/// How many runs are looked back for a checkpoint.
const LOOK_BACK: usize = 64;

/// What steps are to begin with, and where its bytes lie.
pub type Warm = BTreeMap<StepName, (WarmStart, StoredArtifact)>;

/// What a user wrote: `STEP=E-SEQ`, `STEP=RUN:E-SEQ`, `STEP=OTHER@E-SEQ` or `STEP=RUN:OTHER@E-SEQ`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wish {
    step: String,
    run: Option<String>,
    other: Option<String>,
    epoch: u64,
    seq: u64,
}

impl Wish {
    /// Reads what a user wrote; nothing if it has another shape.
    fn parse(text: &str) -> Option<Self> {
        let (step, rest) = text.split_once('=')?;
        let (run, rest) = match rest.split_once(':') {
            Some((run, rest)) => (Some(run), rest),
            None => (None, rest),
        };
        let (other, rest) = match rest.split_once('@') {
            Some((other, rest)) => (Some(other), rest),
            None => (None, rest),
        };
        let (epoch, seq) = rest.split_once('-')?;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (epoch, seq) = (epoch.parse().ok()?, seq.parse().ok()?);
        Some(Self { step: step.to_owned(), run: owned(run), other: owned(other), epoch, seq })
    }

    fn is(&self, id: &CheckpointId) -> bool {
        id.slot.epoch == Epoch(self.epoch) && id.seq == self.seq
    }
}

/// Finds the checkpoints that these words name.
///
/// Without a run, the newest run in which the step had such a checkpoint, or began with it, says which is meant; so the
/// same words mean the same checkpoint after they were followed.
///
/// # Errors
/// [`CliError::Usage`] for words that name none.
pub async fn find(store: &Store, pipeline: &Pipeline, words: &[String]) -> Result<Warm, CliError> {
    let mut warm = Warm::new();
    for text in words {
        let Some(wish) = Wish::parse(text) else {
            let hint = "write STEP=CHECKPOINT, such as `--warm train=3-12`; `prunella plan` names the checkpoints";
            return Err(CliError::Usage(format!("`--warm {text}` names no checkpoint"), Some(hint.to_owned())));
        };
        let Some((name, step)) = pipeline.steps.get_key_value(wish.step.as_str()) else {
            let names: Vec<&str> = pipeline.steps.keys().map(StepName::as_str).collect();
            return Err(CliError::Usage(format!("there is no step `{}`", wish.step), Some(among("steps", &names))));
        };
        if step.checkpoint.is_none() {
            let hint = "give it a `checkpoint`, so that it finds one at $PRUNELLA_CHECKPOINT_DIR";
            return Err(CliError::Usage(format!("`{name}` has no checkpoints"), Some(hint.to_owned())));
        }
        if step.for_each.is_some() {
            let hint = "its items have checkpoints of their own, and one cannot stand for all";
            return Err(CliError::Usage(format!("`{name}` runs once for each item"), Some(hint.to_owned())));
        }
        let found = look(store, pipeline, &wish, name).await?;
        let Some(found) = found else {
            let hint = "`prunella plan` names the newest one; `prunella explain STEP` all attempts".to_owned();
            return Err(CliError::Usage(format!("there is no checkpoint `{text}`"), Some(hint)));
        };
        if warm.insert(name.clone(), found).is_some() {
            return Err(CliError::Usage(format!("`--warm {name}=…` is given twice"), None));
        }
    }
    Ok(warm)
}

async fn look(
    store: &Store,
    pipeline: &Pipeline,
    wish: &Wish,
    step: &StepName,
) -> Result<Option<(WarmStart, StoredArtifact)>, CliError> {
    let other = wish.other.as_deref().unwrap_or(step.as_str());
    let runs: Vec<RunId> = match &wish.run {
        Some(run) => vec![crate::commands::which_run(store, Some(run)).await?],
        None => store.runs_of(&pipeline.name, LOOK_BACK).await?.into_iter().map(|listed| listed.run).collect(),
    };
    let mut seen = BTreeSet::new();
    for run in runs {
        let (record, key) = key_in(store, &run, other).await?;
        if let Some(found) = begun_with(&record, step, wish) {
            return Ok(Some(found));
        }
        let Some(key) = key.filter(|key| seen.insert(*key)) else { continue };
        let id = CheckpointId { slot: SlotId { key, epoch: Epoch(wish.epoch) }, seq: wish.seq };
        if let Some(record) = store.checkpoint(&id).await? {
            let warm = WarmStart {
                checkpoint: id,
                entry: record.entry,
                executable: record.executable,
                artifact: record.stored.artifact,
            };
            return Ok(Some((warm, record.stored)));
        }
    }
    Ok(None)
}

/// Returns what the step of that run began with, if it is what is wished for.
fn begun_with(record: &GraphRecord, step: &StepName, wish: &Wish) -> Option<(WarmStart, StoredArtifact)> {
    let warm = record.graph.warm.get(step).filter(|warm| wish.is(&warm.checkpoint))?;
    let stored = record.brought.iter().find(|stored| stored.artifact == warm.artifact)?;
    Some((warm.clone(), stored.clone()))
}

/// Returns the key that a step has in a run, if it got one.
async fn key_in(
    store: &Store,
    run: &RunId,
    step: &str,
) -> Result<(std::sync::Arc<GraphRecord>, Option<StepKey>), CliError> {
    let Loaded { record, plan, state, events, .. } = load_state(store, run).await?;
    let Ok(name) = StepName::new(step) else { return Ok((record, None)) };
    let id = StepId::plain(name);
    let keyed = events.iter().rev().find_map(|stamped| match &stamped.event {
        Event::StepKeyed { step, key } if *step == id => Some(*key),
        _ => None,
    });
    let done = plan.index(&id).and_then(|index| state.done(index).map(|done| done.slot.key));
    Ok((record, done.or(keyed)))
}

/// The newest checkpoint of an older key, which is not used unless the user says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Which.
    pub checkpoint: CheckpointId,
    /// The work that led to it, as far as it is known.
    pub work_ms: Option<u64>,
}

impl Offer {
    /// Returns the offer of the newest of these checkpoints of one key.
    ///
    /// # Errors
    /// [`CliError`] if the store did not answer.
    pub async fn of(store: &Store, checkpoints: &[CheckpointId]) -> Result<Option<Self>, CliError> {
        let Some(newest) = checkpoints.first() else { return Ok(None) };
        let view = store.look(&newest.slot.key).await?;
        Ok(Some(Self { checkpoint: *newest, work_ms: work(&view, newest) }))
    }
}

/// Returns the time of computing that led to a checkpoint: of its own attempt, and of those whose checkpoints were restored.
fn work(view: &KeyView, checkpoint: &CheckpointId) -> Option<u64> {
    let mut total = 0u64;
    let mut at = Some(*checkpoint);
    while let Some(id) = at {
        let timeline = timeline(view, &id.slot)?;
        let taken = timeline.checkpoints.iter().find(|mark| mark.seq == id.seq)?.taken_ms;
        let began = timeline.phases.iter().find(|(phase, _)| phase == "run").map_or(0, |(_, at)| *at);
        total = total.saturating_add(taken.saturating_sub(began));
        // Only backwards, so that it ends whatever the records say.
        at = timeline
            .restored
            .map(|(before, _)| before)
            .filter(|before| before.slot.key == id.slot.key && before.slot.epoch < id.slot.epoch);
    }
    Some(total)
}

fn timeline<'a>(view: &'a KeyView, slot: &SlotId) -> Option<&'a Timeline> {
    match &view.slots.get(&slot.epoch)?.end {
        Some(EndRecord { end: End::Committed(committed), .. }) => Some(&committed.timeline),
        Some(EndRecord { end: End::Closed(closed), .. }) => Some(&closed.timeline),
        None => None,
    }
}

/// Returns in words which checkpoint an attempt went on from: one of its own key, or the one that `--warm` gave it.
pub fn back_at(checkpoint: &CheckpointId, attempt: &SlotId) -> String {
    if checkpoint.slot.key == attempt.key {
        return format!("back at checkpoint {checkpoint}");
    }
    format!("began with checkpoint {checkpoint} of the older key {} (`--warm`)", checkpoint.slot.key.short())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_names_step_checkpoint_and_where_to_look() {
        let wish = |step: &str, run: Option<&str>, other: Option<&str>| Wish {
            step: step.to_owned(),
            run: run.map(str::to_owned),
            other: other.map(str::to_owned),
            epoch: 3,
            seq: 12,
        };
        assert_eq!(Wish::parse("train=3-12"), Some(wish("train", None, None)));
        assert_eq!(Wish::parse("train=0193:3-12"), Some(wish("train", Some("0193"), None)));
        assert_eq!(Wish::parse("train=old@3-12"), Some(wish("train", None, Some("old"))));
        assert_eq!(Wish::parse("train=0193-c:old@3-12"), Some(wish("train", Some("0193-c"), Some("old"))));
        for text in ["train", "train=", "train=3", "train=a-b", "train=3-", "3-12"] {
            assert_eq!(Wish::parse(text), None, "{text}");
        }
    }
}
