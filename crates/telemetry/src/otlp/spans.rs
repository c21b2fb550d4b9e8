//! The spans of a run: run, step, attempt, phase. A fold of its events; a span comes out when it is over.

use std::collections::HashMap;

use prunella_healing::{Ending, Evidence};
use prunella_journal::{AttemptCourse, CameOut, Event, Moment, RunStatus, Stamped, Timeline};
use prunella_model::{Class, PipelineName, RunTrace, SlotId, SpanId, StepId, TraceParent};
use prunella_store::records;

use super::{
    say::{nanos, number, of_step, pair, seconds, text, texts},
    wire::{KeyValue, Link, Span, SpanEvent, Status},
};

/// How many events a span has at most; what comes then is counted. It is what other libraries take, too.
const MOST_EVENTS: usize = 128;

/// `SPAN_KIND_INTERNAL`.
const INTERNAL: i32 = 1;
const OK: i32 = 1;
const ERROR: i32 = 2;

/// The events of a span, no more than so many.
#[derive(Debug, Clone, Default)]
struct Events {
    kept: Vec<SpanEvent>,
    left_out: u32,
}

impl Events {
    fn add(&mut self, at: Moment, name: &str, attributes: Vec<KeyValue>) {
        if self.kept.len() < MOST_EVENTS {
            self.kept.push(SpanEvent { time_unix_nano: nanos(at), name: name.to_owned(), attributes });
        } else {
            self.left_out += 1;
        }
    }
}

/// A step that had an attempt.
#[derive(Debug)]
struct StepCourse {
    began: Moment,
    attempts: u64,
    /// The newest attempt that the step has open: its place in the time line.
    open: Option<Open>,
    events: Events,
}

#[derive(Debug)]
struct Open {
    place: usize,
    pid: Option<u32>,
    accelerators: Vec<String>,
    events: Events,
}

/// A run as it began.
#[derive(Debug)]
struct Run {
    trace: RunTrace,
    pipeline: PipelineName,
    began: Moment,
    attributes: Vec<KeyValue>,
}

/// The spans of a run.
#[derive(Debug)]
pub struct Spans {
    store: String,
    caller: Option<TraceParent>,
    run: Option<Run>,
    timeline: Timeline,
    steps: HashMap<StepId, StepCourse>,
    events: Events,
    reused: u64,
}

impl Spans {
    /// Returns the fold before the first event of a run of this store, called by that span if there is one.
    pub fn new(store: &str, caller: Option<TraceParent>) -> Self {
        Self {
            store: store.to_owned(),
            caller,
            run: None,
            timeline: Timeline::default(),
            steps: HashMap::new(),
            events: Events::default(),
            reused: 0,
        }
    }

    /// Returns the run's trace and pipeline, once it has begun.
    pub fn run(&self) -> Option<(&RunTrace, &PipelineName)> {
        self.run.as_ref().map(|run| (&run.trace, &run.pipeline))
    }

    /// Returns the span of what runs for a step now; the step's own if nothing does.
    pub fn at_work(&self, step: &StepId) -> Option<SpanId> {
        let trace = &self.run.as_ref()?.trace;
        let open = self.steps.get(step).and_then(|course| course.open.as_ref());
        let slot = open.map(|open| self.timeline.attempts()[open.place].slot);
        Some(slot.map_or_else(|| trace.step(step), |slot| trace.attempt(step, &slot)))
    }

    /// Takes the next event and returns where it is, and the spans that are over with it.
    ///
    /// `recorded` answers with what an attempt's record says of its time, if anybody knows.
    pub fn push(
        &mut self,
        stamped: &Stamped,
        recorded: impl FnOnce(&SlotId) -> Option<records::Timeline>,
    ) -> (Moment, Vec<Span>) {
        let now = self.timeline.push(stamped);
        (now, self.over(now, &stamped.event, recorded))
    }

    fn over(
        &mut self,
        now: Moment,
        event: &Event,
        recorded: impl FnOnce(&SlotId) -> Option<records::Timeline>,
    ) -> Vec<Span> {
        match event {
            Event::RunStarted { run, pipeline, graph, .. } => {
                let trace = RunTrace::new(&self.store, run, self.caller);
                let attributes = vec![
                    pair("prunella.run", text(run.as_str())),
                    pair("prunella.pipeline", text(pipeline.as_str())),
                    pair("prunella.graph", text(graph.to_string())),
                ];
                self.run = Some(Run { trace, pipeline: pipeline.clone(), began: now, attributes });
            }
            Event::DriverStarted { driver, engine, .. } => {
                let attributes = vec![pair("prunella.start", number(*driver)), pair("prunella.version", text(engine))];
                self.events.add(now, "engine started", attributes);
            }
            Event::StopRequested { .. } => self.events.add(now, "stop requested", Vec::new()),
            Event::HintReceived { source, what } => {
                let attributes = vec![pair("prunella.source", text(source)), pair("prunella.what", text(what))];
                self.events.add(now, "hint", attributes);
            }
            Event::CommitDamaged { step, .. } => self.events.add(now, "commit damaged", of_step(step)),
            Event::EffectFailed { step, target, why, .. } => {
                let mut attributes = of_step(step);
                attributes.extend([pair("prunella.target", text(target)), pair("prunella.why", text(why))]);
                self.events.add(now, "effect failed", attributes);
            }
            Event::StepReused { step, .. } => {
                self.reused += 1;
                // It had attempts of its own before another's commit was there.
                if self.steps.contains_key(step) {
                    return self.step(step, now, OK, "", "reused");
                }
            }
            Event::RunEnded { status } => return self.ended(now, *status),
            Event::AttemptStarted { step, .. } => {
                let place = self.timeline.attempts().len().saturating_sub(1);
                let course = self.begun(step, now);
                course.attempts += 1;
                course.open = Some(Open { place, pid: None, accelerators: Vec::new(), events: Events::default() });
            }
            Event::AttemptEnded { step, slot, class, evidence, compute, lost, .. } => {
                let more = vec![
                    pair("prunella.compute_seconds", seconds(*compute)),
                    pair("prunella.lost_seconds", seconds(*lost)),
                ];
                return self.attempt(step, slot, Some((*class, evidence)), more, recorded);
            }
            Event::StepCommitted { step, slot, compute, .. } => {
                let more = vec![pair("prunella.compute_seconds", seconds(*compute))];
                let mut over = self.attempt(step, slot, None, more, recorded);
                over.extend(self.step(step, now, OK, "", "committed"));
                return over;
            }
            Event::StepFailed { step, class, why } => {
                let message = format!("{class}: {why}");
                return self.step(step, now, ERROR, &message, "failed");
            }
            Event::StepHealing { step, class, next, remedy } => {
                let attributes = vec![
                    pair("prunella.class", text(class.as_str())),
                    pair("prunella.remedy", text(remedy)),
                    pair("prunella.wait_seconds", seconds(next.delay)),
                ];
                self.begun(step, now).events.add(now, "healing", attributes);
            }
            Event::InputDamaged { step, producer, .. } => {
                let attributes = vec![pair("prunella.producer", text(producer.to_string()))];
                self.begun(step, now).events.add(now, "input damaged", attributes);
            }
            other => self.during(now, other),
        }
        Vec::new()
    }

    /// Takes what happens in an attempt that goes on.
    fn during(&mut self, now: Moment, event: &Event) {
        let open = event.step().and_then(|step| self.steps.get_mut(step)).and_then(|course| course.open.as_mut());
        let Some(open) = open else { return };
        let (name, attributes) = match event {
            Event::ProcessStarted { pid, accelerators, .. } => {
                (open.pid, open.accelerators) = (Some(*pid), accelerators.clone());
                return;
            }
            Event::StateRestored { checkpoint, took, .. } => {
                let took = pair("prunella.took_seconds", seconds(*took));
                ("checkpoint restored", vec![pair("prunella.checkpoint", text(checkpoint.to_string())), took])
            }
            Event::CheckpointDurable { checkpoint, size, took, .. } => (
                "checkpoint durable",
                vec![
                    pair("prunella.checkpoint", text(checkpoint.to_string())),
                    pair("prunella.size_bytes", number(size.0)),
                    pair("prunella.took_seconds", seconds(*took)),
                ],
            ),
            Event::CheckpointSkipped { checkpoint, why, .. } => (
                "checkpoint skipped",
                vec![pair("prunella.checkpoint", text(checkpoint.to_string())), pair("prunella.why", text(why))],
            ),
            Event::SnapshotSkipped { entry, why, .. } => {
                ("snapshot skipped", vec![pair("prunella.entry", text(entry)), pair("prunella.why", text(why))])
            }
            Event::NoticeReceived { source, grace, .. } => {
                let mut attributes = vec![pair("prunella.source", text(source))];
                attributes.extend(grace.map(|grace| pair("prunella.grace_seconds", seconds(grace))));
                ("notice", attributes)
            }
            _ => return,
        };
        open.events.add(now, name, attributes);
    }

    fn begun(&mut self, step: &StepId, now: Moment) -> &mut StepCourse {
        let new = || StepCourse { began: now, attempts: 0, open: None, events: Events::default() };
        self.steps.entry(step.clone()).or_insert_with(new)
    }

    /// Returns the run's span, unless it only stopped: whoever goes on with it ends it.
    fn ended(&mut self, now: Moment, status: RunStatus) -> Vec<Span> {
        let Some(run) = self.run.as_ref().filter(|_| status != RunStatus::Stopped) else { return Vec::new() };
        let attempts = self.timeline.attempts();
        let committed = attempts.iter().filter(|course| course.came_out == CameOut::Committed).count();
        let mut attributes = run.attributes.clone();
        attributes.extend([
            pair("prunella.starts", number(self.timeline.drivers().len() as u64)),
            pair("prunella.attempts", number(attempts.len() as u64)),
            pair("prunella.steps.committed", number(committed as u64)),
            pair("prunella.steps.reused", number(self.reused)),
        ]);
        let mut span = span(&run.trace, run.trace.run(), run.trace.parent(), (run.began, now));
        span.name = format!("run {}", run.pipeline);
        span.attributes = attributes;
        (span.events, span.dropped_events_count) = (self.events.kept.clone(), self.events.left_out);
        span.status = Some(match status {
            RunStatus::Failed => Status { code: ERROR, message: "a step or an effect was given up".to_owned() },
            RunStatus::Succeeded | RunStatus::Stopped => Status { code: OK, message: String::new() },
        });
        vec![span]
    }

    fn step(&mut self, step: &StepId, now: Moment, code: i32, message: &str, outcome: &str) -> Vec<Span> {
        let Some(trace) = self.run.as_ref().map(|run| run.trace.clone()) else { return Vec::new() };
        let course = self.begun(step, now);
        course.open = None;
        let mut span = span(&trace, trace.step(step), Some(trace.run()), (course.began, now));
        span.name = step.name.to_string();
        span.attributes = of_step(step);
        span.attributes.push(pair("prunella.outcome", text(outcome)));
        span.attributes.push(pair("prunella.attempts", number(course.attempts)));
        (span.events, span.dropped_events_count) = (course.events.kept.clone(), course.events.left_out);
        span.status = Some(Status { code, message: message.to_owned() });
        vec![span]
    }

    fn attempt(
        &mut self,
        step: &StepId,
        slot: &SlotId,
        ended: Option<(Class, &Evidence)>,
        more: Vec<KeyValue>,
        recorded: impl FnOnce(&SlotId) -> Option<records::Timeline>,
    ) -> Vec<Span> {
        let Some(trace) = self.run.as_ref().map(|run| run.trace.clone()) else { return Vec::new() };
        let open = self.steps.get_mut(step).and_then(|course| course.open.take());
        let Some(open) = open.filter(|open| self.timeline.attempts()[open.place].slot == *slot) else {
            return Vec::new();
        };
        let course = &self.timeline.attempts()[open.place];
        let end = self.end_of(course);
        let mut span = span(&trace, trace.attempt(step, slot), Some(trace.step(step)), (course.started, end));
        span.name = format!("{} attempt", step.name);
        span.attributes = of_step(step);
        span.attributes.push(pair("prunella.attempt", number(slot.epoch.0)));
        span.attributes.push(pair("prunella.step_key", text(slot.key.hex())));
        span.attributes.extend(more);
        span.attributes.extend(open.pid.map(|pid| pair("process.pid", number(u64::from(pid)))));
        if !open.accelerators.is_empty() {
            span.attributes.push(pair("prunella.accelerators", texts(&open.accelerators)));
        }
        span.status = Some(match ended {
            None => Status { code: OK, message: String::new() },
            Some((class, evidence)) => {
                span.attributes.push(pair("prunella.class", text(class.as_str())));
                span.attributes.push(pair("error.type", text(class.as_str())));
                span.attributes.extend(ending(&evidence.ended));
                Status { code: ERROR, message: class.to_string() }
            }
        });
        if let Some((checkpoint, _)) = course.restored {
            span.attributes.push(pair("prunella.restored_from", text(checkpoint.to_string())));
            // Of another run's attempt the trace is not known here.
            let ours = self.timeline.attempts()[..open.place].iter().any(|earlier| earlier.slot == checkpoint.slot);
            span.links.extend(ours.then(|| Link {
                trace_id: trace.id().as_bytes().to_vec(),
                span_id: trace.attempt(step, &checkpoint.slot).as_bytes().to_vec(),
                attributes: vec![pair("prunella.checkpoint", text(checkpoint.to_string()))],
            }));
        }
        (span.events, span.dropped_events_count) = (open.events.kept, open.events.left_out);
        let record = recorded(slot);
        if let Some(record) = record.as_ref().filter(|record| record.process_ms > 0) {
            span.attributes
                .push(pair("prunella.cpu_seconds", seconds(prunella_model::Span::from_millis(record.cpu_ms))));
            span.attributes.push(pair("prunella.memory_peak_bytes", number(record.memory_peak_bytes)));
        }
        let mut all: Vec<Span> = phases(course, end, record.as_ref())
            .into_iter()
            .map(|(name, from, to)| {
                let mut phase =
                    self::span(&trace, trace.phase(step, slot, &name), Some(trace.attempt(step, slot)), (from, to));
                phase.attributes = of_step(step);
                phase.name = name;
                phase
            })
            .collect();
        all.push(span);
        all
    }

    /// Returns until when an attempt went on: nobody saw more of it than its own engine did.
    fn end_of(&self, course: &AttemptCourse) -> Moment {
        let taken_up = self.timeline.drivers().last().is_some_and(|driven| driven.from > course.started);
        let end = if taken_up { course.gone.or(course.ended) } else { course.ended };
        end.unwrap_or(course.started).max(course.started)
    }
}

fn span(trace: &RunTrace, id: SpanId, parent: Option<SpanId>, (from, to): (Moment, Moment)) -> Span {
    Span {
        trace_id: trace.id().as_bytes().to_vec(),
        span_id: id.as_bytes().to_vec(),
        parent_span_id: parent.map_or_else(Vec::new, |parent| parent.as_bytes().to_vec()),
        flags: u32::from(trace.is_sampled()),
        kind: INTERNAL,
        start_time_unix_nano: nanos(from),
        end_time_unix_nano: nanos(to.max(from)),
        ..Span::default()
    }
}

fn ending(ending: &Ending) -> Option<KeyValue> {
    match ending {
        Ending::Exited { code } => Some(pair("process.exit.code", super::wire::Value::Int(i64::from(*code)))),
        Ending::Signaled { signal, .. } => Some(pair("prunella.signal", super::wire::Value::Int(i64::from(*signal)))),
        Ending::SpawnFailed { .. } | Ending::SupervisorDied | Ending::NeverStarted => None,
    }
}

/// Returns the phases of an attempt with their times: as its record has them, else what the journal knows.
fn phases(course: &AttemptCourse, end: Moment, record: Option<&records::Timeline>) -> Vec<(String, Moment, Moment)> {
    let ms = prunella_model::Span::from_millis;
    let Some(record) = record.filter(|record| !record.phases.is_empty()) else {
        let gone = course.gone.unwrap_or(end).min(end);
        let ran = course.process.filter(|from| *from <= gone);
        return ran.map(|from| ("run".to_owned(), from, gone)).into_iter().collect();
    };
    let mut phases = Vec::with_capacity(record.phases.len());
    for (n, (name, at)) in record.phases.iter().enumerate() {
        let from = course.started.after(ms(*at)).min(end);
        let next = record.phases.get(n + 1).map_or(end, |(_, at)| course.started.after(ms(*at)));
        let process_gone = (name == "run" && record.ended_ms > 0).then(|| course.started.after(ms(record.ended_ms)));
        let to = process_gone.unwrap_or(next).min(next).min(end).max(from);
        phases.push((name.clone(), from, to));
    }
    phases
}

#[cfg(test)]
#[path = "spans_tests.rs"]
mod tests;
