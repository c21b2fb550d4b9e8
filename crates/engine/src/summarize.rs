//! When a run is summarized, and what of it: so that readers need not fold its whole journal.

use std::sync::{Arc, OnceLock};

use prunella_journal::{
    Kept, MetricsFold, Position, Read, RunState, Stamped, Topology, Whereabouts, keep, read_all, write_summary,
};
use prunella_model::RunId;
use prunella_objects::Objects;
use prunella_store::{GraphParts, Layout, Store};
use tokio::task::JoinHandle;

use crate::{EngineError, Plan};

/// A journal of fewer events is read faster than a summary is worth.
const LEAST: usize = 8192;
/// At the end of a run a summary is worth it for fewer: nobody will write a better one.
const LEAST_AT_END: usize = 1024;
/// Keeping costs what steps and events there are; that is shared by at least the so-manieth part of as many events.
const SHARE: usize = 32;

/// What a driver keeps in mind for its next summary.
#[derive(Default)]
pub(crate) struct Summarizer {
    figures: MetricsFold,
    all: usize,
    since: usize,
}

impl Summarizer {
    /// Takes the next event.
    pub(crate) fn hear(&mut self, event: &Stamped) {
        self.figures.push(event);
        self.all += 1;
        self.since += 1;
    }

    /// Returns what is to be kept, if enough has happened since.
    pub(crate) fn due(&mut self, state: &RunState) -> Option<Kept> {
        let cost = state.topology().len() + self.all / 2;
        (self.since >= LEAST.max(cost / SHARE)).then(|| self.keep(state))
    }

    /// Returns what is to be kept at the end of a run, if that is worth it.
    pub(crate) fn due_at_end(&mut self, state: &RunState) -> Option<Kept> {
        (self.all >= LEAST && self.since >= LEAST_AT_END).then(|| self.keep(state))
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

/// Writes summaries beside the work, one at a time.
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

    /// Writes a summary of the log up to `position`, unless the one before is still being written.
    ///
    /// Whether it works out matters to nobody but readers, who go on without.
    pub(crate) fn write(&mut self, kept: Kept, position: Position, whereabouts: &Whereabouts) {
        if self.under_way.as_ref().is_some_and(|before| !before.is_finished()) {
            return;
        }
        let (objects, run, places) = (self.objects.clone(), self.run.clone(), self.places.clone());
        let (definitions, whereabouts) = (self.definitions.clone(), whereabouts.clone());
        let here = tokio::runtime::Handle::current();
        // Not on the thread that drives: it is linear in the number of steps.
        self.under_way = Some(tokio::task::spawn_blocking(move || {
            here.block_on(async {
                if definitions.get().is_none() {
                    let Ok(found) = find_definitions(&*objects, &run, &places).await else { return };
                    let _first = definitions.set(found);
                }
                let definitions = definitions.get().map_or(&[][..], Vec::as_slice);
                let _no_summary = write_summary(&*objects, &run, position, &kept, &whereabouts, definitions).await;
            });
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
    let record = objects.get(&Layout::graph(run)).await?.unwrap_or_default();
    Ok(GraphParts::of(&record, places).map(|parts| parts.as_bytes().to_owned()).unwrap_or_default())
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
