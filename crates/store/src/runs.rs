//! Runs: their graphs, drivers, bindings, order and names.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use bytes::Bytes;
use prunella_model::{Graph, PipelineName, RunId, SlotId, StepId, StepName, TraceParent, WriterId};
use prunella_objects::{Created, ObjectKey};
use prunella_sys::mutated;

use crate::{
    LEASE, Layout, Observer, Store, StoreError,
    records::{
        AliveRecord, DriverRecord, FORMAT, GraphRecord, NamesRecord, OrderRecord, Owner, StopRecord, StoredArtifact,
    },
    store::{decode, encode},
};

/// What a new run executes.
pub struct NewRun {
    /// Its id, unique.
    pub run: RunId,
    /// Its graph.
    pub graph: Graph,
    /// What it brings in, already stored.
    pub brought: Vec<StoredArtifact>,
    /// The steps asked for; empty means all.
    pub targets: Vec<StepName>,
    /// The directory of the pipeline file, absolute, where publications with a relative path lie.
    pub base: Option<PathBuf>,
}

/// A run of a pipeline, as its order record shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunListed {
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// Its number among the runs of the pipeline.
    pub order: u64,
    /// The run.
    pub run: RunId,
    /// Wall time of its start, for people.
    pub at_ms: i64,
}

/// How long one waits before looking at the driver of another machine again.
const WATCH: Duration = Duration::from_secs(1);

/// What a list of runs does about a run whose number is damaged, so that nobody knows which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damaged {
    /// For whoever looks.
    LeftOut,
    /// For whoever concludes something from its absence.
    Refused,
}

/// Whose budgets are refilled when a driver takes a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refill {
    /// Those of all steps.
    pub all: bool,
    /// Those of these steps.
    pub steps: Vec<StepId>,
}

/// Who drives a run.
#[derive(Debug, Clone, PartialEq)]
pub enum DriverLease {
    /// We do.
    Ours {
        /// Our number.
        n: u64,
        /// Who drove before: dead, or replaced.
        before: Option<Box<Owner>>,
    },
    /// Another engine that lives.
    Live(u64, Box<DriverRecord>),
}

impl Store {
    /// Creates the run: its graph, then its place in the order of its pipeline's runs.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer.
    pub async fn create_run(&self, new: NewRun) -> Result<GraphRecord, StoreError> {
        self.create_run_under(new, None).await
    }

    /// Creates the run as [`Store::create_run`] does, as a child of the caller's span if there is one.
    ///
    /// # Errors
    /// As [`Store::create_run`].
    pub async fn create_run_under(&self, new: NewRun, caller: Option<TraceParent>) -> Result<GraphRecord, StoreError> {
        let pipeline = new.graph.pipeline.name.clone();
        let at_ms = self.sys.clock.wall_ms();
        let order = OrderRecord { format: FORMAT, run: new.run.clone(), writer: self.writer.clone(), at_ms };
        let n = self.take_number(&Layout::orders(&pipeline), |n| Layout::order(&pipeline, n), &order).await?;
        let record = GraphRecord {
            format: FORMAT,
            graph: new.graph.into(),
            brought: new.brought,
            targets: new.targets,
            order: n,
            base: new.base.map(|base| base.display().to_string()),
            trace_parent: caller,
            at_ms,
        };
        let _fresh_id = self.create(&Layout::graph(&new.run), &record).await?;
        Ok(record)
    }

    /// Returns what the run executes.
    ///
    /// # Errors
    /// [`StoreError::NoRun`] if there is no such run.
    pub async fn graph(&self, run: &RunId) -> Result<GraphRecord, StoreError> {
        self.read(&Layout::graph(run)).await?.ok_or_else(|| StoreError::NoRun { run: run.clone() })
    }

    /// Returns up to `limit` runs of the pipeline, the newest first; without those whose number is damaged.
    ///
    /// # Errors
    /// [`StoreError::Record`] if a record cannot be understood.
    pub async fn runs_of(&self, pipeline: &PipelineName, limit: usize) -> Result<Vec<RunListed>, StoreError> {
        self.listed_runs(&Layout::orders(pipeline), limit, Damaged::LeftOut).await
    }

    /// Returns all runs of all pipelines: by pipeline, the newest first; without those whose number is damaged.
    ///
    /// # Errors
    /// [`StoreError::Record`] if a record cannot be understood.
    pub async fn runs(&self) -> Result<Vec<RunListed>, StoreError> {
        self.listed_runs(Layout::ALL_ORDERS, usize::MAX, Damaged::LeftOut).await
    }

    /// Returns all runs of the pipeline that were numbered above `order`, the newest first.
    ///
    /// How many there are is not known beforehand: one that is numbered meanwhile is listed before the others.
    pub(crate) async fn runs_after(&self, pipeline: &PipelineName, order: u64) -> Result<Vec<RunListed>, StoreError> {
        let prefix = Layout::orders(pipeline);
        let newer = self.highest(&prefix).await?.saturating_sub(order);
        let mut ask = usize::try_from(newer).unwrap_or(usize::MAX);
        while ask > 0 {
            let found = self.records(&prefix, ask).await?;
            let lowest = found.last().and_then(|(key, _)| Layout::number(key.as_str()));
            if found.len() < ask || lowest.is_none_or(|lowest| lowest <= order.saturating_add(1)) || mutated(86) {
                let mut runs = self.begun_of(found, Damaged::Refused).await?;
                runs.retain(|listed| listed.order > order);
                return Ok(runs);
            }
            ask = ask.saturating_mul(2);
        }
        Ok(Vec::new())
    }

    pub(crate) async fn listed_runs(
        &self,
        prefix: &str,
        limit: usize,
        damaged: Damaged,
    ) -> Result<Vec<RunListed>, StoreError> {
        let mut ask = limit;
        loop {
            let found = self.records(prefix, ask).await?;
            let all = found.len() < ask;
            let mut runs = self.begun_of(found, damaged).await?;
            if all || runs.len() >= limit {
                runs.truncate(limit);
                return Ok(runs);
            }
            ask = ask.saturating_mul(2);
        }
    }

    /// Leaves out what was killed between its place in the order and its graph: such a run never began.
    async fn begun_of(&self, orders: Vec<(ObjectKey, Bytes)>, damaged: Damaged) -> Result<Vec<RunListed>, StoreError> {
        let mut runs = Vec::new();
        for (key, bytes) in orders {
            let record: OrderRecord = match decode(&key, &bytes) {
                Err(StoreError::DamagedRecord { .. }) if damaged == Damaged::LeftOut => continue,
                record => record?,
            };
            let pipeline = key.as_str().split('/').nth(1).and_then(|name| PipelineName::new(name).ok());
            if let (Some(pipeline), Some(order)) = (pipeline, Layout::number(key.as_str()))
                && self.exists(&Layout::graph(&record.run)).await?
            {
                runs.push(RunListed { pipeline, order, run: record.run, at_ms: record.at_ms });
            }
        }
        Ok(runs)
    }

    /// Takes the run as its driver, unless a live engine drives it.
    ///
    /// A driver on another machine is watched until it gives a sign of life, or for a lease, after which it counts as dead; on
    /// this one its processes decide. Dropping the future is safe.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer.
    pub async fn drive(
        &self,
        run: &RunId,
        owner: &Owner,
        take_over: bool,
        reset_budgets: bool,
    ) -> Result<DriverLease, StoreError> {
        self.drive_refilling(run, owner, take_over, Refill { all: reset_budgets, steps: Vec::new() }, &|_| {}).await
    }

    /// Takes the run as its driver like [`Store::drive`], and records whose budgets are refilled; `watching` is told, again and
    /// again, which driver is being watched.
    ///
    /// # Errors
    /// As [`Store::drive`].
    pub async fn drive_refilling(
        &self,
        run: &RunId,
        owner: &Owner,
        take_over: bool,
        refill: Refill,
        watching: &(dyn Fn(&DriverRecord) + Send + Sync),
    ) -> Result<DriverLease, StoreError> {
        let mut observer = Observer::default();
        let mut took_over = false;
        loop {
            let highest = self.highest(&Layout::drivers(run)).await?;
            let mut before = None;
            if highest > 0
                && let Some(there) = self.driver(run, highest).await?
            {
                let alive = Layout::driver_alive(run, highest);
                let dead = match self.owner_gone(&there.owner) {
                    // The guardian of a dead engine ends by itself and drives nothing.
                    Some(gone) => gone || self.engine_gone(&there.owner),
                    None if take_over => false,
                    None => match observer.expired(self, &alive, LEASE).await? {
                        false if !observer.saw_life(&alive) && !mutated(84) && !mutated(89) => {
                            watching(&there);
                            self.sys.clock.sleep(WATCH).await;
                            continue;
                        }
                        dead => dead,
                    },
                };
                if !dead && !take_over && !mutated(84) {
                    return Ok(DriverLease::Live(highest, Box::new(there)));
                }
                took_over |= !dead;
                before = Some(Box::new(there.owner));
            }
            self.not_given_up(run).await?;
            let record = DriverRecord {
                format: FORMAT,
                owner: owner.clone(),
                writer: self.writer.clone(),
                reset_budgets: refill.all,
                retried: refill.steps.clone(),
                took_over,
                at_ms: self.sys.clock.wall_ms(),
            };
            // Only the number after the one that was judged: a higher one is somebody else's, to be judged first.
            let n = highest + 1;
            let key = Layout::driver(run, n);
            let bytes = encode(&key, &record);
            let ours = match self.put(&key, bytes.clone()).await? {
                Created::New => true,
                Created::There(there) => there == bytes || mutated(85),
            };
            if ours && self.highest(&Layout::drivers(run)).await? == n {
                // Looked for after the driver's record stands: a collector marks first and looks for drivers afterwards.
                self.not_given_up(run).await?;
                return Ok(DriverLease::Ours { n, before });
            }
        }
    }

    /// Returns whether driver `n` of the run refilled the budgets of this step.
    ///
    /// # Errors
    /// [`StoreError::Record`] if its record cannot be understood.
    pub async fn refilled_by(&self, run: &RunId, n: u64, step: &StepId) -> Result<bool, StoreError> {
        let driver = self.driver(run, n).await?;
        Ok(driver.is_some_and(|driver| driver.reset_budgets || driver.retried.contains(step)))
    }

    /// Returns the `n`-th driver of a run; of one that is damaged, what stands for it names nobody.
    async fn driver(&self, run: &RunId, n: u64) -> Result<Option<DriverRecord>, StoreError> {
        match self.read(&Layout::driver(run, n)).await {
            Err(StoreError::DamagedRecord { .. }) => Ok(Some(DriverRecord {
                format: FORMAT,
                owner: Owner::nobody(),
                writer: WriterId::from_random(0),
                reset_budgets: false,
                retried: Vec::new(),
                took_over: false,
                at_ms: 0,
            })),
            driver => driver,
        }
    }

    fn engine_gone(&self, owner: &Owner) -> bool {
        owner.machine == self.sys.machine.machine_id()
            && self.sys.machine.process_start_ticks(owner.process.pid) != Some(owner.process.start_ticks)
    }

    /// Returns the newest driver of a run and whether it lives, as far as this machine can tell.
    ///
    /// # Errors
    /// [`StoreError`] if the store did not answer.
    pub async fn driver_of(&self, run: &RunId) -> Result<Option<(u64, DriverRecord, Option<bool>)>, StoreError> {
        let highest = self.highest(&Layout::drivers(run)).await?;
        if highest == 0 {
            return Ok(None);
        }
        let Some(record) = self.driver(run, highest).await? else { return Ok(None) };
        let lives = if self.engine_gone(&record.owner) {
            Some(false)
        } else {
            self.owner_gone(&record.owner).map(|gone| !gone)
        };
        Ok(Some((highest, record, lives)))
    }

    /// Returns whether the process of `owner` is the newest driver of the run.
    pub(crate) async fn is_driver(&self, run: &RunId, owner: &Owner) -> Result<bool, StoreError> {
        Ok(self.driver_of(run).await?.is_some_and(|(_, DriverRecord { owner: there, .. }, _)| {
            (&there.machine, &there.boot, &there.process) == (&owner.machine, &owner.boot, &owner.process)
        }))
    }

    /// Returns an error if a newer driver has taken the run from driver `ours`.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] names the newer one.
    pub async fn still_driving(&self, run: &RunId, ours: u64) -> Result<(), StoreError> {
        match self.highest(&Layout::drivers(run)).await? {
            seen if seen > ours && !mutated(62) => Err(StoreError::Superseded { run: run.clone(), ours, seen }),
            _ => Ok(()),
        }
    }

    /// Gives a driver's sign of life.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not answer.
    pub async fn driver_alive(&self, run: &RunId, n: u64, counter: u64) -> Result<(), StoreError> {
        self.hint(&Layout::driver_alive(run, n), &AliveRecord::of(&self.writer, counter)).await
    }

    /// Gives an attempt's sign of life.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not answer.
    pub async fn attempt_alive(&self, slot: &SlotId, alive: &AliveRecord) -> Result<(), StoreError> {
        self.hint(&Layout::alive(slot), alive).await
    }

    /// Asks driver `n` of a run to stop.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not answer.
    pub async fn ask_to_stop(&self, run: &RunId, n: u64, now: bool) -> Result<(), StoreError> {
        // A hint, so that a second, harder request can replace the first.
        self.hint(&Layout::stop(run, n), &StopRecord { format: FORMAT, now }).await
    }

    /// Returns whether driver `n` was asked to stop, and whether at once.
    ///
    /// # Errors
    /// [`StoreError::Record`] if the record cannot be understood.
    pub async fn asked_to_stop(&self, run: &RunId, n: u64) -> Result<Option<bool>, StoreError> {
        Ok(self.hinted::<StopRecord>(&Layout::stop(run, n)).await?.map(|record| record.now))
    }

    /// Moves the names of a pipeline to the artifacts of a run that succeeded.
    ///
    /// Numbered by the order allotted at the run's start: a run that started earlier never wins, however late it ends.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store did not answer.
    pub async fn move_names(
        &self,
        pipeline: &PipelineName,
        order: u64,
        run: &RunId,
        artifacts: BTreeMap<String, (SlotId, StoredArtifact)>,
    ) -> Result<(), StoreError> {
        let order = if mutated(34) { self.highest(&Layout::all_names(pipeline)).await? + 1 } else { order };
        let record = NamesRecord { format: FORMAT, run: run.clone(), artifacts };
        // There already: the same run moved them before (its number is its own).
        let _moved_before = self.create(&Layout::names(pipeline, order), &record).await?;
        Ok(())
    }

    /// Returns what the names of the pipeline mean now.
    ///
    /// # Errors
    /// [`StoreError::Record`] if the record cannot be understood.
    pub async fn names(&self, pipeline: &PipelineName) -> Result<Option<NamesRecord>, StoreError> {
        let found = self.records(&Layout::all_names(pipeline), 1).await?;
        found.first().map(|(key, bytes)| decode(key, bytes)).transpose()
    }
}
