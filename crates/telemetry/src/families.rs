//! The figures of runs as families of samples: what is exported, whatever the format.

use std::collections::BTreeMap;

use prunella_journal::{Interruption, Recovery, RunMetrics, RunStatus};
use prunella_model::Span;

use crate::{
    Course,
    names::{self, Name},
};

/// Upper bounds of recoveries, in seconds.
pub(crate) const BOUNDS: [f64; 13] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// A figure with its samples.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: Name,
    pub(crate) samples: Vec<Sample>,
}

/// The labels of a sample, and its value.
pub(crate) type Sample = (Labels, Value);
pub(crate) type Labels = Vec<(&'static str, String)>;

/// What a figure is.
#[derive(Debug)]
pub(crate) enum Value {
    /// A number.
    Number(f64),
    /// Numbers that are counted by [`BOUNDS`].
    Spread(Vec<f64>),
}

struct Run<'a> {
    pipeline: String,
    course: &'a Course,
    figures: RunMetrics,
}

impl<'a> Run<'a> {
    fn of(course: &'a Course) -> Self {
        let pipeline = course.pipeline.as_ref().map_or_else(String::new, ToString::to_string);
        Self { pipeline, course, figures: course.figures.finish() }
    }
}

/// Returns the figures of these runs, at most one a pipeline.
///
/// How many samples there are depends on the number of pipelines and of classes only, never on steps, attempts or runs.
pub(crate) fn families(version: &str, courses: &[&Course]) -> Vec<Family> {
    let runs: Vec<Run<'_>> = courses.iter().map(|course| Run::of(course)).collect();
    let at = |ms: Option<u64>| ms.unwrap_or_default() as f64 / 1000.0;
    let known = each(&runs, |run| run.course.coverage);
    vec![
        numbers(names::BUILD, vec![(vec![("version", version.to_owned())], 1.0)]),
        numbers(names::STATUS, by(&runs, "status", statuses)),
        numbers(names::STARTED, each(&runs, |run| at(run.course.started_at_ms))),
        numbers(names::LAST_EVENT, each(&runs, |run| at(run.course.last_at_ms))),
        numbers(names::DRIVEN, each(&runs, |run| seconds(run.figures.wall))),
        numbers(names::ENGINE_STARTS, each(&runs, |run| f64::from(run.figures.drivers))),
        numbers(names::STEPS, by(&runs, "outcome", outcomes)),
        numbers(names::RUNNING, each(&runs, |run| run.course.running.len() as f64)),
        numbers(names::ATTEMPTS, each(&runs, |run| f64::from(run.figures.attempts))),
        numbers(names::COMMITS, each(&runs, |run| run.course.commits as f64)),
        numbers(names::INTERRUPTIONS, by(&runs, "class", |run| by_class(&run.figures.interruptions))),
        numbers(names::FAILURES, by(&runs, "class", |run| by_class(&run.figures.failures))),
        recoveries(&runs),
        numbers(names::PARTS, by(&runs, "part", parts)),
        numbers(names::COMPUTE, each(&runs, |run| seconds(run.figures.compute))),
        numbers(names::LOST, by(&runs, "reason", lost)),
        numbers(names::BOUND, each(&runs, |run| seconds(run.figures.bound))),
        numbers(names::CHECKPOINTS, each(&runs, |run| run.course.checkpoints as f64)),
        numbers(names::CHECKPOINT_BYTES, each(&runs, |run| run.course.checkpoint_bytes as f64)),
        numbers(names::HELD_UP, each(&runs, |run| seconds(run.course.held_up))),
        numbers(names::CHECKPOINTS_SKIPPED, each(&runs, |run| run.course.checkpoints_skipped as f64)),
        numbers(names::RESTORES, each(&runs, |run| run.course.restores as f64)),
        numbers(names::RESTORING, each(&runs, |run| seconds(run.course.restoring))),
        numbers(names::NOTICES, each(&runs, |run| run.course.notices as f64)),
        numbers(names::HINTS, each(&runs, |run| run.figures.hints.len() as f64)),
        numbers(names::COMMITTED_BYTES, each(&runs, |run| run.figures.committed_bytes as f64)),
        numbers(names::DAMAGED, each(&runs, |run| f64::from(run.figures.damaged))),
        numbers(names::DIFFERING, each(&runs, |run| f64::from(run.figures.corrupt))),
        numbers(names::LINEAGE, known.into_iter().filter_map(|(labels, share)| Some((labels, share?))).collect()),
    ]
}

fn numbers(name: Name, samples: Vec<(Labels, f64)>) -> Family {
    Family { name, samples: samples.into_iter().map(|(labels, value)| (labels, Value::Number(value))).collect() }
}

fn recoveries(runs: &[Run<'_>]) -> Family {
    let spread = |run: &Run<'_>| Value::Spread(run.figures.recoveries().into_iter().map(seconds).collect());
    Family { name: names::RECOVERIES, samples: each(runs, spread) }
}

/// One sample a run.
fn each<T>(runs: &[Run<'_>], value: impl Fn(&Run<'_>) -> T) -> Vec<(Labels, T)> {
    runs.iter().map(|run| (vec![("pipeline", run.pipeline.clone())], value(run))).collect()
}

/// Samples of a run by the values of one more label.
fn by<T>(runs: &[Run<'_>], label: &'static str, values: impl Fn(&Run<'_>) -> Vec<(String, T)>) -> Vec<(Labels, T)> {
    let of_run = |run: &Run<'_>| {
        let pipeline = run.pipeline.clone();
        values(run)
            .into_iter()
            .map(move |(value, sample)| (vec![("pipeline", pipeline.clone()), (label, value)], sample))
            .collect::<Vec<_>>()
    };
    runs.iter().flat_map(of_run).collect()
}

fn seconds(span: Span) -> f64 {
    span.as_millis() as f64 / 1000.0
}

fn statuses(run: &Run<'_>) -> Vec<(String, f64)> {
    let is = |status: Option<RunStatus>| f64::from(u8::from(run.course.ended == status));
    vec![
        ("open".to_owned(), is(None)),
        ("succeeded".to_owned(), is(Some(RunStatus::Succeeded))),
        ("failed".to_owned(), is(Some(RunStatus::Failed))),
        ("stopped".to_owned(), is(Some(RunStatus::Stopped))),
    ]
}

fn outcomes(run: &Run<'_>) -> Vec<(String, f64)> {
    let steps = run.figures.steps;
    [
        ("reused", steps.reused),
        ("run", steps.run),
        ("failed", steps.failed),
        ("blocked", steps.blocked),
        ("skipped", steps.skipped),
    ]
    .map(|(outcome, n)| (outcome.to_owned(), f64::from(n)))
    .to_vec()
}

fn by_class(ends: &[Interruption]) -> Vec<(String, f64)> {
    let mut by = BTreeMap::<_, f64>::new();
    ends.iter().for_each(|end| *by.entry(end.class).or_default() += 1.0);
    by.into_iter().map(|(class, n)| (class.to_string(), n)).collect()
}

fn lost(run: &Run<'_>) -> Vec<(String, f64)> {
    run.figures.lost_by.iter().map(|(reason, span)| (reason.to_string(), seconds(*span))).collect()
}

fn parts(run: &Run<'_>) -> Vec<(String, f64)> {
    let recoveries: Vec<&Recovery> =
        run.figures.interruptions.iter().filter_map(|interruption| interruption.recovery.as_ref()).collect();
    let part = |name: &str, of: fn(&Recovery) -> Span| {
        (name.to_owned(), recoveries.iter().map(|recovery| seconds(of(recovery))).sum())
    };
    vec![
        part("detect", |recovery| recovery.detect),
        part("decide", |recovery| recovery.decide),
        part("backoff", |recovery| recovery.backoff),
        part("capacity", |recovery| recovery.capacity),
        part("restore", |recovery| recovery.restore),
        part("replay", |recovery| recovery.replay.unwrap_or_default()),
    ]
}
