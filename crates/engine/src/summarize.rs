//! When a run is summarized, and what of it: so that readers need not fold its whole journal.

use std::sync::{Arc, OnceLock};

use prunella_journal::{
    Kept, MetricsFold, Position, Read, RunState, Stamped, Topology, Whereabouts, keep, read_all, write_summary,
};
use prunella_model::RunId;
use prunella_objects::Objects;
use prunella_store::{GraphParts, Layout, Store};
use prunella_sys::aside;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};

use crate::{EngineError, Plan};

/// A journal of fewer events is read faster than a summary is worth.
const LEAST: usize = 8192;
/// At the end of a run a summary is worth it for fewer: nobody will write a better one.
const LEAST_AT_END: usize = 1024;
/// Keeping costs what steps and events there are; that is shared by at least the so-manieth part of as many events.
const SHARE: usize = 32;

/// The turn of one summary, from when the state is kept until it is written; there is one at a time, since each is as large as
/// its run. Given back when it is dropped.
pub(crate) type Turn = OwnedSemaphorePermit;

/// What a driver keeps in mind for its next summary.
pub(crate) struct Summarizer {
    figures: MetricsFold,
    all: usize,
    since: usize,
    turns: Arc<Semaphore>,
}

impl Default for Summarizer {
    fn default() -> Self {
        Self { figures: MetricsFold::default(), all: 0, since: 0, turns: Arc::new(Semaphore::new(1)) }
    }
}

impl Summarizer {
    /// Takes the next event.
    pub(crate) fn hear(&mut self, event: &Stamped) {
        self.figures.push(event);
        self.all += 1;
        self.since += 1;
    }

    /// Returns what is to be kept, if enough has happened since and no summary is under way.
    pub(crate) fn due(&mut self, state: &RunState) -> Option<(Kept, Turn)> {
        let cost = state.topology().len() + self.all / 2;
        if self.since < LEAST.max(cost / SHARE) {
            return None;
        }
        let turn = self.turns.clone().try_acquire_owned().ok()?;
        Some((self.keep(state), turn))
    }

    /// Returns what is to be kept at the end of a run, if that is worth it, as soon as no summary is under way.
    pub(crate) async fn due_at_end(&mut self, state: &RunState) -> Option<(Kept, Turn)> {
        if self.all < LEAST || self.since < LEAST_AT_END {
            return None;
        }
        let turn = self.turns.clone().acquire_owned().await.ok()?;
        Some((self.keep(state), turn))
    }

    fn keep(&mut self, state: &RunState) -> Kept {
        self.since = 0;
        keep(state, &self.figures)
    }
}

/// Returns where the events of each step are in what was read.
pub(crate) fn whereabouts(read: &Read, topology: &Topology) -> Whereabouts {
    let mut whereabouts = Whereabouts::default();
    let mut events = read.events.iter();
    for (position, count) in &read.segments {
        whereabouts.begin(*position);
        for stamped in events.by_ref().take(*count) {
            if let Some(step) = stamped.event.step().and_then(|id| topology.index(id)) {
                whereabouts.note(step);
            }
        }
    }
    whereabouts
}

/// Writes summaries beside the work.
pub(crate) struct Summaries {
    objects: Arc<dyn Objects>,
    run: RunId,
    places: Vec<u32>,
    /// Found in the graph's record once.
    definitions: Arc<OnceLock<Vec<u8>>>,
    under_way: Option<JoinHandle<()>>,
}

impl Summaries {
    pub(crate) fn new(objects: Arc<dyn Objects>, run: RunId, places: Vec<u32>) -> Self {
        Self { objects, run, places, definitions: Arc::default(), under_way: None }
    }

    /// Writes a summary of the log up to `position`; then the turn is over.
    ///
    /// Whether it works out matters to nobody but readers, who go on without.
    pub(crate) fn write(&mut self, kept: Kept, turn: Turn, position: Position, whereabouts: &Whereabouts) {
        let (objects, run, places) = (self.objects.clone(), self.run.clone(), self.places.clone());
        let (definitions, whereabouts) = (self.definitions.clone(), whereabouts.clone());
        // Not on the thread that drives: it is linear in the number of steps.
        self.under_way = Some(aside(async move {
            let _until_then = turn;
            if definitions.get().is_none() {
                let Ok(found) = find_definitions(&*objects, &run, &places).await else { return };
                let _first = definitions.set(found);
            }
            let definitions = definitions.get().map_or(&[][..], Vec::as_slice);
            let _no_summary = write_summary(&*objects, &run, position, &kept, &whereabouts, definitions).await;
        }));
    }

    /// Waits for the summary that is being written.
    pub(crate) async fn settle(&mut self) {
        if let Some(under_way) = self.under_way.take() {
            let _written_or_not = under_way.await;
        }
    }
}

async fn find_definitions(
    objects: &dyn Objects,
    run: &RunId,
    places: &[u32],
) -> Result<Vec<u8>, prunella_objects::ObjectsError> {
    let Some(record) = objects.open(&Layout::graph(run)).await? else { return Ok(Vec::new()) };
    let size = record.size();
    Ok(GraphParts::of(record, size, places).map(|parts| parts.as_bytes().to_owned()).unwrap_or_default())
}

/// Summarizes a run as it stands, whoever drives it: for one that has no summary, as of an older version.
///
/// # Errors
/// [`EngineError`] if there is no such run, its journal cannot be read, or the store did not take the summary.
pub async fn summarize(store: &Store, run: &RunId) -> Result<(), EngineError> {
    let record = store.graph(run).await?;
    let plan = Plan::build(record.graph.clone(), &record.targets)?;
    let objects = &**store.objects();
    let read = read_all(objects, run).await?;
    let state = RunState::fold(plan.topology().clone(), &read.events)
        .map_err(|source| EngineError::Illegal { run: run.clone(), source })?;
    let mut figures = MetricsFold::default();
    read.events.iter().for_each(|event| figures.push(event));
    let whereabouts = whereabouts(&read, state.topology());
    let definitions = find_definitions(objects, run, plan.places()).await.map_err(prunella_store::StoreError::from)?;
    write_summary(objects, run, read.position, &keep(&state, &figures), &whereabouts, &definitions)
        .await
        .map_err(prunella_store::StoreError::from)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use prunella_journal::{Event, StopHow};
    use prunella_model::Span;

    use super::*;

    #[tokio::test]
    async fn there_is_one_summary_at_a_time_and_the_last_waits_for_its_turn() {
        let state = RunState::new(Arc::default());
        let mut summarizer = Summarizer::default();
        let event = Event::StopRequested { how: StopHow::Checkpoint };
        let stamped = Stamped { at_ms: 0, mono: Span::default(), event };
        let hear = |summarizer: &mut Summarizer, count| (0..count).for_each(|_| summarizer.hear(&stamped));

        hear(&mut summarizer, LEAST - 1);
        assert!(summarizer.due(&state).is_none());
        hear(&mut summarizer, 1);
        let (_, turn) = summarizer.due(&state).expect("enough has happened");
        hear(&mut summarizer, 2 * LEAST);
        assert!(summarizer.due(&state).is_none(), "one is under way");
        {
            let mut end = std::pin::pin!(summarizer.due_at_end(&state));
            let waits = std::future::poll_fn(|cx| std::task::Poll::Ready(end.as_mut().poll(cx).is_pending()));
            assert!(waits.await, "the one under way is waited for");
        }
        drop(turn);
        let (_, turn) = summarizer.due_at_end(&state).await.expect("it is worth it");
        assert!(summarizer.due(&state).is_none());
        drop(turn);
        hear(&mut summarizer, LEAST);
        assert!(summarizer.due(&state).is_some());
    }
}
