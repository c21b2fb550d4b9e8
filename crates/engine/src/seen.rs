//! A run as its readers see it: from its summary and what its journal says since, or from the whole journal.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use prunella_journal::{
    Event, Glance, Read, RunMetrics, RunState, RunStatus, SegmentId, Stamped, StepIndex, StepSet, Summary,
    decode_about, metrics, read_since, read_sound, read_summary, segment_key,
};
use prunella_model::{RunId, StepAddress, StepId};
use prunella_store::{GraphParts, Store, records::GraphRecord};
use prunella_sys::aside;

use crate::{EngineError, NoSuchStep, Plan, find::find};

/// Of more steps than this the whole run is read at once.
const FEW: usize = 256;

/// How a run is, without what only few of its steps need.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The run.
    pub run: RunId,
    /// Where each step is.
    pub state: RunState,
    /// What interruptions cost.
    pub figures: RunMetrics,
    /// What is wrong with its journal: what happened after the sound part is not known to it.
    pub damage: Option<String>,
    from: From,
}

#[derive(Debug, Clone)]
enum From {
    Journal(Closer),
    Summary { summary: Box<Summary>, since: Vec<Stamped> },
}

/// What was looked at closely: some steps of a run, or all of them.
#[derive(Debug, Clone)]
pub struct Closer {
    /// The graph; it has at least the steps that were asked for.
    pub record: Arc<GraphRecord>,
    /// All steps, and the definitions of those that the graph has.
    pub plan: Arc<Plan>,
    /// The events of at least these steps, in order.
    pub events: Vec<Stamped>,
}

impl Seen {
    /// Returns how a run is, from the store alone.
    ///
    /// The answer is the same with a summary and without: one that does not fit, or cannot be understood, is passed over.
    ///
    /// # Errors
    /// [`EngineError`] if there is no such run or its journal cannot be read.
    pub async fn of(store: &Store, run: &RunId) -> Result<Self, EngineError> {
        match Self::from_summary(store, run).await {
            Some(seen) => Ok(seen),
            None => Self::from_journal(store, run).await,
        }
    }

    async fn from_summary(store: &Store, run: &RunId) -> Option<Self> {
        let objects = &**store.objects();
        let summary = read_summary(objects, run).await?;
        // Beside it: either takes its time.
        let beside = store.objects().clone();
        let (position, id) = (summary.position(), run.clone());
        let reading = aside(async move { read_since(&*beside, &id, position).await });
        let state = summary.state();
        let read = reading.await.ok()?.ok()?;
        if read.anew {
            // A new driver left out what the summary has.
            return None;
        }
        let since = read.events;
        let mut state = state?;
        let figures = if since.is_empty() { summary.finished()? } else { figures_since(&summary, &state, &since)? };
        since.iter().try_for_each(|event| state.apply(event)).ok()?;
        Some(Self {
            run: run.clone(),
            state,
            figures,
            damage: None,
            from: From::Summary { summary: Box::new(summary), since },
        })
    }

    async fn from_journal(store: &Store, run: &RunId) -> Result<Self, EngineError> {
        let (closer, state, damage) = whole(store, run).await?;
        let figures = metrics(&closer.events);
        Ok(Self { run: run.clone(), state, figures, damage, from: From::Journal(closer) })
    }

    /// Returns the step, or the item, that people mean by an address.
    ///
    /// # Errors
    /// [`NoSuchStep`] if there is none, or if the beginning of a label is that of several.
    pub fn find(&self, address: &StepAddress) -> Result<StepIndex, NoSuchStep> {
        find(self.state.topology(), address)
    }

    /// Looks closely at these steps.
    ///
    /// # Errors
    /// [`EngineError`] if the graph or the journal cannot be read.
    pub async fn closer(&self, store: &Store, steps: &BTreeSet<StepIndex>) -> Result<Closer, EngineError> {
        match &self.from {
            From::Journal(closer) => return Ok(closer.clone()),
            From::Summary { summary, since } if steps.len() <= FEW => {
                if let Some(closer) = self.few(store, steps, summary, since).await {
                    return Ok(closer);
                }
            }
            From::Summary { .. } => {}
        }
        Ok(whole(store, &self.run).await?.0)
    }

    /// Reads the definitions and the events of these steps only; nothing if the summary does not say where they are.
    async fn few(
        &self,
        store: &Store,
        steps: &BTreeSet<StepIndex>,
        summary: &Summary,
        since: &[Stamped],
    ) -> Option<Closer> {
        let topology = self.state.topology();
        let parts = GraphParts::from_bytes(summary.definitions())?;
        let groups: BTreeSet<StepIndex> = steps.iter().map(|step| topology.group_of(*step).unwrap_or(*step)).collect();
        let names: Vec<_> = groups.iter().map(|step| (&topology.id(*step).name, step.as_usize())).collect();
        let record = Arc::new(store.graph_with(&self.run, &parts, &names).await.ok()??);
        let plan = Plan::seen(record.graph.clone(), topology.clone());

        let steps: Vec<StepIndex> = steps.iter().copied().collect();
        let ids: HashSet<&StepId> = steps.iter().map(|step| topology.id(*step)).collect();
        let about = |event: &Event| event.step().is_some_and(|step| ids.contains(step));
        let names: HashSet<&str> = ids.iter().map(|id| id.name.as_str()).collect();
        let mut events = Vec::new();
        for position in summary.segments_of(&steps)? {
            let id = SegmentId { run: self.run.clone(), driver: position.driver, seq: position.seq };
            let key = segment_key(&id);
            let bytes = store.objects().get(&key).await.ok()??;
            events.extend(decode_about(key.as_str(), &bytes, &names).ok()?);
        }
        events.extend(since.iter().cloned());
        events.retain(|stamped| about(&stamped.event));
        Some(Closer { record, plan: Arc::new(plan), events })
    }
}

/// Returns what a list of runs shows of one; costs little for a run whose summary is of its whole journal.
///
/// # Errors
/// [`EngineError`] if the journal cannot be read.
pub async fn glance(store: &Store, run: &RunId) -> Result<Glance, EngineError> {
    let objects = &**store.objects();
    if let Some(glance) = prunella_journal::glance(objects, run).await {
        return Ok(glance);
    }
    if let Some(summary) = read_summary(objects, run).await
        && let Ok(Read { events, anew: false, .. }) = read_since(objects, run, summary.position()).await
        && let Some(glance) = summary.glance_after(&events)
    {
        return Ok(glance);
    }
    let events = read_sound(objects, run).await?.0.events;
    Ok(Glance::of(ended(&events), &metrics(&events)))
}

/// Returns how the run ended, unless it was taken up again.
fn ended(events: &[Stamped]) -> Option<RunStatus> {
    events.iter().rev().find_map(|stamped| match &stamped.event {
        Event::RunEnded { status } => Some(Some(*status)),
        Event::DriverStarted { .. } => Some(None),
        _ => None,
    })?
}

/// Returns the figures of all events, of which those `since` the summary are given.
fn figures_since(summary: &Summary, then: &RunState, since: &[Stamped]) -> Option<RunMetrics> {
    let mut steps = StepSet::new(then.topology().len());
    for step in since.iter().filter_map(|stamped| then.topology().index(stamped.event.step()?)) {
        steps.insert(step);
    }
    let mut figures = summary.figures(then, &steps)?;
    since.iter().for_each(|event| figures.push(event));
    Some(figures.finish())
}

/// Reads a run as a whole.
///
/// Of a damaged journal the sound part; says what is wrong with the rest.
pub(crate) async fn whole(store: &Store, run: &RunId) -> Result<(Closer, RunState, Option<String>), EngineError> {
    let record = Arc::new(store.graph(run).await?);
    let mut plan = Plan::build(record.graph.clone(), &record.targets)?;
    let (Read { events, .. }, damage) = read_sound(&**store.objects(), run).await?;
    let state = RunState::fold(plan.topology().clone(), &events)
        .map_err(|source| EngineError::Illegal { run: run.clone(), source })?;
    plan.follow(state.topology().clone());
    Ok((Closer { record, plan: Arc::new(plan), events }, state, damage.map(|damage| damage.to_string())))
}

#[cfg(test)]
mod tests {
    use prunella_journal::Position;
    use prunella_model::Span;

    use super::*;

    #[test]
    fn a_run_that_was_taken_up_again_has_not_ended() {
        let at = |event| Stamped { at_ms: 0, mono: Span::default(), event };
        let end = || at(Event::RunEnded { status: RunStatus::Stopped });
        let driver = |driver| {
            let (engine, continues) = ("test".to_owned(), Position::START);
            at(Event::DriverStarted { driver, engine, continues, budgets_reset: false, retried: None, damaged: None })
        };
        assert_eq!(ended(&[driver(1), end()]), Some(RunStatus::Stopped));
        assert_eq!(ended(&[driver(1), end(), driver(2)]), None);
        assert_eq!(ended(&[]), None);
    }
}
