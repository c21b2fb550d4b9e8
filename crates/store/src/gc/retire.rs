//! Runs that are no longer retained, and commits that nothing retained needs: each gets a mark that outlives the decision.
//!
//! Both marks work alike. The mark is written, *then* what could contradict it is read again. Whoever wants to rely on the
//! run or the commit writes that down, *then* looks for the mark. So one of the two sees the other.

use std::collections::{BTreeMap, BTreeSet};

use prunella_model::{PipelineName, RunId};
use prunella_sys::mutated;

use super::{Caretaker, Retention, Supposed, roots::Reading};
use crate::{
    Layout, RunListed, Store, StoreError,
    records::{FORMAT, RetiredRecord, StartRecord},
    runs::Damaged,
};

/// Which runs hold on to what they need.
#[derive(Debug, Default)]
pub(super) struct Runs {
    pub all: Vec<RunListed>,
    /// Marked, and nothing contradicts the mark: what they need is no root.
    pub forgotten: BTreeSet<RunId>,
    /// Finished and not retained, and not marked yet.
    pub finished: BTreeSet<RunId>,
}

impl Store {
    /// Judges every run. `open` are the starts of all open slots.
    ///
    /// The names are read after it; runs that they show have to be taken out by the caller.
    pub(super) async fn judge_runs(
        &self,
        caretaker: &dyn Caretaker,
        retention: &Retention,
        open: &[StartRecord],
        supposed: &Supposed,
    ) -> Result<Runs, StoreError> {
        let all = self.listed_runs(Layout::ALL_ORDERS, usize::MAX, Damaged::Refused).await?;
        let mut runs = Runs { all, ..Runs::default() };
        let (mut newer, mut seen): (BTreeMap<&PipelineName, usize>, BTreeSet<&RunId>) = Default::default();
        for listed in &runs.all {
            // Listed by pipeline, the newest first. A number that a run gave up for a higher one still stands: the first
            // one listed counts.
            let run = &listed.run;
            if !seen.insert(run) {
                continue;
            }
            let rank = newer.entry(&listed.pipeline).or_insert(0);
            *rank += 1;
            if *rank <= retention.runs.max(1) || open.iter().any(|start| start.run == *run) {
                continue;
            }
            let marked = supposed.runs.contains(run) || self.is_given_up(run).await?;
            // The driver before the journal: one that comes in between is judged at the next reading.
            let driver = self.driver_of(run).await?;
            let ended = match (&driver, caretaker.ended(run).await?) {
                (Some((newest, ..)), Some(by)) => by >= *newest,
                _ => false,
            };
            // A driver that came after the mark saw it and left; one that came before it may still be at work.
            let gone = matches!(&driver, Some((_, record, _)) if self.owner_gone(&record.owner) == Some(true));
            match (marked, ended) {
                (true, true) => runs.forgotten.insert(run.clone()),
                (true, false) if gone || mutated(46) => runs.forgotten.insert(run.clone()),
                (false, true) => runs.finished.insert(run.clone()),
                (true | false, false) => false,
            };
        }
        Ok(runs)
    }

    /// Marks runs as no longer retained, and returns those that have the mark now.
    pub(super) async fn give_up_runs(&self, runs: &BTreeSet<RunId>) -> Result<(), StoreError> {
        for run in runs {
            let record = RetiredRecord { format: FORMAT, writer: self.writer.clone() };
            let _or_another_collector = self.create(&Layout::run_retired(run), &record).await?;
        }
        Ok(())
    }

    /// Retires the commits that a reading found to be needed by nothing.
    pub(super) async fn retire(&self, reading: &Reading) -> Result<(), StoreError> {
        for slot in &reading.unneeded {
            let record = RetiredRecord { format: FORMAT, writer: self.writer.clone() };
            let _or_another_collector = self.create(&Layout::retired(slot), &record).await?;
        }
        Ok(())
    }

    /// Returns whether the run was given up by a collection: what it needs may be gone.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not answer.
    pub async fn is_given_up(&self, run: &RunId) -> Result<bool, StoreError> {
        self.exists(&Layout::run_retired(run)).await
    }

    /// Refuses a run that a collection gave up. To be asked *after* what one does for the run is written down.
    pub(crate) async fn not_given_up(&self, run: &RunId) -> Result<(), StoreError> {
        match self.is_given_up(run).await? {
            true if !mutated(47) => Err(StoreError::GivenUp { run: run.clone() }),
            true | false => Ok(()),
        }
    }
}
