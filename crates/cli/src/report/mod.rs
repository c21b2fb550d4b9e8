//! The report on one run or several: what interruptions cost, by the formulas of docs/metrics.md.

mod chart;
mod json;
mod lanes;
mod page;
mod parts;
mod plot;
mod scale;
mod text;
mod traces;
mod waste;

#[cfg(test)]
mod tests;

use prunella_engine::load_state;
use prunella_journal::{MetricsFold, RunMetrics, Stamped, Timeline};
use prunella_model::{PipelineName, RunId};
use prunella_store::{RunListed, Store};
use prunella_telemetry::{Course, exposition};

use crate::{
    condition::{self, Condition},
    error::CliError,
    progress::Coverage,
    resilience::Resilience,
};

pub use json::json;
pub use page::page;
pub use text::text;
use waste::{Sample, samples};

/// What is known of wrong artifacts: a journal alone does not tell whether the bytes are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Nobody has read the bytes.
    No,
    /// All bytes that the run's commits promise were read and hashed.
    Bytes {
        /// How many files there were.
        files: usize,
        /// How many artifacts are not what their commit says.
        wrong: usize,
    },
}

/// One run, as far as its journal tells.
#[derive(Debug)]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// Which run of its pipeline it is.
    pub order: u64,
    /// When it began, by the wall clock.
    pub started_at_ms: i64,
    /// How it is.
    pub condition: Condition,
    /// Its figures.
    pub figures: RunMetrics,
    /// Its lineage.
    pub coverage: Coverage,
    /// When what happened.
    pub timeline: Timeline,
    /// What Prometheus sees of it.
    pub course: Course,
    /// Waste over time.
    pub waste: Vec<Sample>,
    /// What is wrong with its journal, if anything is.
    pub damage: Option<String>,
    /// What is known of wrong artifacts.
    pub checked: Checked,
}

impl RunReport {
    /// Returns the report on a run; of a damaged journal what the sound part says.
    ///
    /// # Errors
    /// [`CliError`] if its graph cannot be read, or the store does not answer.
    pub async fn of(store: &Store, listed: &RunListed, checked: Checked) -> Result<Self, CliError> {
        let loaded = load_state(store, &listed.run).await?;
        let (_, condition) = condition::of(store, &listed.run, loaded.state.ended()).await?;
        let coverage = Coverage::of(&loaded.plan, &loaded.state);
        let known = Known { coverage, condition, damage: loaded.damage, checked };
        Ok(Self::from_events(listed, known, &loaded.events))
    }

    /// Returns the report on a run with these events.
    fn from_events(listed: &RunListed, known: Known, events: &[Stamped]) -> Self {
        let mut figures = MetricsFold::default();
        events.iter().for_each(|event| figures.push(event));
        let Known { coverage, condition, damage, checked } = known;
        let mut course = Course::of(events);
        course.covers(coverage.share());
        Self {
            run: listed.run.clone(),
            pipeline: listed.pipeline.clone(),
            order: listed.order,
            started_at_ms: listed.at_ms,
            condition,
            figures: figures.finish(),
            coverage,
            timeline: Timeline::of(events),
            course,
            waste: samples(events),
            damage,
            checked,
        }
    }

    /// Returns how many artifacts are known to be wrong; nothing if nobody has looked and nothing shows by itself.
    fn wrong(&self) -> Option<u64> {
        let differing = u64::from(self.figures.corrupt);
        match self.checked {
            Checked::Bytes { wrong, .. } => Some(differing + wrong as u64),
            Checked::No => None,
        }
    }
}

/// What is known of a run beside its events.
struct Known {
    coverage: Coverage,
    condition: Condition,
    damage: Option<String>,
    checked: Checked,
}

/// The report on some runs.
#[derive(Debug)]
pub struct Report {
    /// The runs, the newest first.
    pub runs: Vec<RunReport>,
    /// Runs that could not be read, and why.
    pub unread: Vec<(RunId, String)>,
    /// What an hour of the machine costs.
    pub price: Option<f64>,
}

impl Report {
    fn all(&self) -> Resilience {
        row_of(self.runs.iter())
    }

    /// Returns how many artifacts of all runs are known to be wrong; nothing if that is not known of each.
    fn wrong(&self) -> Option<u64> {
        self.runs.iter().map(RunReport::wrong).sum()
    }

    /// Returns the figures in the text format of Prometheus: of each pipeline, those of its newest run.
    pub fn figures(&self, version: &str) -> String {
        let mut newest: Vec<&Course> = Vec::new();
        for run in &self.runs {
            if newest.iter().all(|course| course.pipeline() != run.course.pipeline()) {
                newest.push(&run.course);
            }
        }
        exposition(version, &newest)
    }

    /// Returns what the machines cost while engines drove the runs, and how much of that was lost.
    fn spend<'a>(&self, runs: impl IntoIterator<Item = &'a RunReport>) -> Option<(f64, f64)> {
        let price = self.price?;
        let of = |run: &RunReport| {
            let spent = price * run.figures.wall.as_millis() as f64 / 3_600_000.0;
            (spent, spent * run.figures.waste())
        };
        Some(runs.into_iter().map(of).fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d)))
    }
}

fn row_of<'a>(runs: impl Iterator<Item = &'a RunReport>) -> Resilience {
    let mut row = Resilience::default();
    runs.for_each(|run| row.add(&run.figures, &run.coverage));
    row
}
