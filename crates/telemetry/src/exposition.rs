//! The figures of a run in the text format of Prometheus.

use std::collections::BTreeMap;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, prometheus_text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, histogram::Histogram},
    registry::Registry,
};
use prunella_journal::{Recovery, RunMetrics, RunStatus};
use prunella_model::Span;

use crate::{
    Course,
    names::{self, Name},
};

/// Upper bounds of recoveries, in seconds.
const BOUNDS: [f64; 13] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// Returns the figures of these runs, at most one a pipeline, in the text format 0.0.4.
///
/// How many series there are depends on the number of pipelines and of classes only, never on steps, attempts or runs.
pub fn exposition(version: &str, courses: &[&Course]) -> String {
    let mut registry = Registry::default();
    let runs = courses.iter().map(|course| Run::of(course)).collect();
    registry.register_collector(Box::new(Runs { version: version.to_owned(), runs }));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).expect("a string takes all");
    text
}

/// The samples of one figure.
type Samples<T> = Vec<(Vec<(&'static str, String)>, T)>;

#[derive(Debug)]
struct Run {
    pipeline: String,
    course: Course,
    figures: RunMetrics,
}

impl Run {
    fn of(course: &Course) -> Self {
        let pipeline = course.pipeline.as_ref().map_or_else(String::new, ToString::to_string);
        Self { pipeline, course: course.clone(), figures: course.figures.finish() }
    }
}

#[derive(Debug)]
struct Runs {
    version: String,
    runs: Vec<Run>,
}

impl Runs {
    /// One sample a run.
    fn each<T>(&self, value: impl Fn(&Run) -> T) -> Samples<T> {
        self.runs.iter().map(|run| (vec![("pipeline", run.pipeline.clone())], value(run))).collect()
    }

    /// Samples of a run by the values of one more label.
    fn by<T>(&self, label: &'static str, values: impl Fn(&Run) -> Vec<(String, T)>) -> Samples<T> {
        let mut all = Vec::new();
        for run in &self.runs {
            for (value, sample) in values(run) {
                all.push((vec![("pipeline", run.pipeline.clone()), (label, value)], sample));
            }
        }
        all
    }
}

impl Collector for Runs {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> std::fmt::Result {
        let to = &mut to;
        gauges(to, names::BUILD, vec![(vec![("version", self.version.clone())], 1.0)])?;
        gauges(to, names::STATUS, self.by("status", statuses))?;
        let at = |ms: Option<u64>| ms.unwrap_or_default() as f64 / 1000.0;
        gauges(to, names::STARTED, self.each(|run| at(run.course.started_at_ms)))?;
        gauges(to, names::LAST_EVENT, self.each(|run| at(run.course.last_at_ms)))?;
        gauges(to, names::DRIVEN, self.each(|run| seconds(run.figures.wall)))?;
        counters(to, names::ENGINE_STARTS, self.each(|run| f64::from(run.figures.drivers)))?;
        gauges(to, names::STEPS, self.by("outcome", outcomes))?;
        gauges(to, names::RUNNING, self.each(|run| run.course.running.len() as f64))?;
        counters(to, names::ATTEMPTS, self.each(|run| f64::from(run.figures.attempts)))?;
        counters(to, names::COMMITS, self.each(|run| run.course.commits as f64))?;
        counters(to, names::INTERRUPTIONS, self.by("class", |run| by_class(&run.figures.interruptions)))?;
        counters(to, names::FAILURES, self.by("class", |run| by_class(&run.figures.failures)))?;
        self.recoveries(to)?;
        gauges(to, names::PARTS, self.by("part", parts))?;
        gauges(to, names::COMPUTE, self.each(|run| seconds(run.figures.compute)))?;
        gauges(to, names::LOST, self.by("reason", lost))?;
        gauges(to, names::BOUND, self.each(|run| seconds(run.figures.bound)))?;
        counters(to, names::CHECKPOINTS, self.each(|run| run.course.checkpoints as f64))?;
        counters(to, names::CHECKPOINT_BYTES, self.each(|run| run.course.checkpoint_bytes as f64))?;
        counters(to, names::HELD_UP, self.each(|run| seconds(run.course.held_up)))?;
        counters(to, names::CHECKPOINTS_SKIPPED, self.each(|run| run.course.checkpoints_skipped as f64))?;
        counters(to, names::RESTORES, self.each(|run| run.course.restores as f64))?;
        counters(to, names::RESTORING, self.each(|run| seconds(run.course.restoring)))?;
        counters(to, names::NOTICES, self.each(|run| run.course.notices as f64))?;
        counters(to, names::HINTS, self.each(|run| run.figures.hints.len() as f64))?;
        gauges(to, names::COMMITTED_BYTES, self.each(|run| run.figures.committed_bytes as f64))?;
        counters(to, names::DAMAGED, self.each(|run| f64::from(run.figures.damaged)))?;
        counters(to, names::DIFFERING, self.each(|run| f64::from(run.figures.corrupt)))?;
        let known = self.each(|run| run.course.coverage);
        gauges(to, names::LINEAGE, known.into_iter().filter_map(|(labels, share)| Some((labels, share?))).collect())
    }
}

impl Runs {
    fn recoveries(&self, to: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let Name { name, help, .. } = names::RECOVERIES;
        let mut family = to.encode_descriptor(name, without_dot(help), None, MetricType::Histogram)?;
        for run in &self.runs {
            let histogram = Histogram::new(BOUNDS);
            run.figures.recoveries().into_iter().for_each(|recovery| histogram.observe(seconds(recovery)));
            histogram.encode(family.encode_family(&[("pipeline", run.pipeline.as_str())])?)?;
        }
        Ok(())
    }
}

fn gauges(to: &mut DescriptorEncoder<'_>, name: Name, samples: Samples<f64>) -> std::fmt::Result {
    let mut family = to.encode_descriptor(name.name, without_dot(name.help), None, MetricType::Gauge)?;
    for (labels, value) in samples {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn counters(to: &mut DescriptorEncoder<'_>, name: Name, samples: Samples<f64>) -> std::fmt::Result {
    let mut family = to.encode_descriptor(name.name, without_dot(name.help), None, MetricType::Counter)?;
    for (labels, value) in samples {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn without_dot(help: &str) -> &str {
    help.trim_end_matches('.')
}

fn seconds(span: Span) -> f64 {
    span.as_millis() as f64 / 1000.0
}

fn statuses(run: &Run) -> Vec<(String, f64)> {
    let is = |status: Option<RunStatus>| f64::from(u8::from(run.course.ended == status));
    vec![
        ("open".to_owned(), is(None)),
        ("succeeded".to_owned(), is(Some(RunStatus::Succeeded))),
        ("failed".to_owned(), is(Some(RunStatus::Failed))),
        ("stopped".to_owned(), is(Some(RunStatus::Stopped))),
    ]
}

fn outcomes(run: &Run) -> Vec<(String, f64)> {
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

fn by_class(ends: &[prunella_journal::Interruption]) -> Vec<(String, f64)> {
    let mut by = BTreeMap::<_, f64>::new();
    ends.iter().for_each(|end| *by.entry(end.class).or_default() += 1.0);
    by.into_iter().map(|(class, n)| (class.to_string(), n)).collect()
}

fn lost(run: &Run) -> Vec<(String, f64)> {
    run.figures.lost_by.iter().map(|(reason, span)| (reason.to_string(), seconds(*span))).collect()
}

fn parts(run: &Run) -> Vec<(String, f64)> {
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
