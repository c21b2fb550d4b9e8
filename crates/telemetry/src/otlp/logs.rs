//! What happened, as records for those who read logs: what an engine decided, and how attempts came out.

use prunella_healing::root_cause;
use prunella_journal::{Event, Moment, RunStatus, is_interruption};
use prunella_model::{Class, RunTrace, SlotId, Span, SpanId, StepId};

use super::{
    say::{any, nanos, number, of_step, pair, text},
    wire::{KeyValue, LogRecord},
};

/// How grave something is; the numbers are those of the protocol.
#[derive(Debug, Clone, Copy)]
enum Severity {
    Info = 9,
    Warn = 13,
    Error = 17,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// How long a text may be; what is longer is cut.
const LONGEST: usize = 8 * 1024;

struct Said<'a> {
    severity: Severity,
    name: &'static str,
    body: String,
    step: Option<&'a StepId>,
    slot: Option<&'a SlotId>,
    class: Option<Class>,
}

/// Returns the record of an event; most events are none.
///
/// What is said for every step of a pipeline (keyed, reused, blocked, skipped) is in the figures.
pub fn record(trace: &RunTrace, now: Moment, event: &Event) -> Option<LogRecord> {
    let said = said(event)?;
    let span = match (said.step, said.slot) {
        (Some(step), Some(slot)) => trace.attempt(step, slot),
        (Some(step), None) => trace.step(step),
        (None, _) => trace.run(),
    };
    let mut attributes = said.step.map(of_step).unwrap_or_default();
    attributes.extend(said.slot.map(|slot| pair("prunella.attempt", number(slot.epoch.0))));
    attributes.extend(said.class.map(|class| pair("prunella.class", text(class.as_str()))));
    let mut record = plain(trace, span, now, said.body, attributes);
    record.severity_number = said.severity as i32;
    record.severity_text = said.severity.word().to_owned();
    record.event_name = said.name.to_owned();
    Some(record)
}

/// Returns the record of a line that a step wrote, as it was kept: without the values of secrets.
pub fn line(trace: &RunTrace, span: SpanId, now: Moment, step: &StepId, stream: &str, line: &str) -> LogRecord {
    let mut attributes = of_step(step);
    attributes.push(pair("log.iostream", text(stream)));
    plain(trace, span, now, line.to_owned(), attributes)
}

fn plain(trace: &RunTrace, span: SpanId, now: Moment, mut body: String, attributes: Vec<KeyValue>) -> LogRecord {
    if body.len() > LONGEST {
        body.truncate(body.floor_char_boundary(LONGEST));
        body.push('…');
    }
    LogRecord {
        time_unix_nano: nanos(now),
        observed_time_unix_nano: nanos(now),
        body: Some(any(text(body))),
        attributes,
        flags: u32::from(trace.is_sampled()),
        trace_id: trace.id().as_bytes().to_vec(),
        span_id: span.as_bytes().to_vec(),
        ..LogRecord::default()
    }
}

fn of_run(severity: Severity, name: &'static str, body: String) -> Option<Said<'static>> {
    Some(Said { severity, name, body, step: None, slot: None, class: None })
}

fn with<'a>(class: &Class, said: Option<Said<'a>>) -> Option<Said<'a>> {
    said.map(|said| Said { class: Some(*class), ..said })
}

fn said(event: &Event) -> Option<Said<'_>> {
    use Severity::{Error, Info, Warn};
    let of =
        |severity, name, step, slot, body| Some(Said { severity, name, body, step: Some(step), slot, class: None });
    match event {
        Event::RunStarted { run, pipeline, .. } => {
            of_run(Info, "prunella.run.started", format!("run {run} of `{pipeline}` began"))
        }
        Event::DriverStarted { driver, engine, damaged, .. } => {
            let body = format!("an engine took the run (start {driver}, version {engine})");
            match damaged {
                None => of_run(Info, "prunella.engine.started", body),
                Some(damage) => {
                    of_run(Error, "prunella.engine.started", format!("{body}; its log is damaged: {damage}"))
                }
            }
        }
        Event::HintReceived { source, what } => of_run(Info, "prunella.hint", format!("hint from {source}: {what}")),
        Event::StopRequested { .. } => of_run(Info, "prunella.stop_requested", "the run was asked to stop".to_owned()),
        Event::RunEnded { status } => match status {
            RunStatus::Succeeded => of_run(Info, "prunella.run.ended", "the run succeeded".to_owned()),
            RunStatus::Stopped => of_run(Info, "prunella.run.ended", "the run stopped and can be resumed".to_owned()),
            RunStatus::Failed => {
                of_run(Error, "prunella.run.ended", "the run failed: a step or an effect was given up".to_owned())
            }
        },
        Event::AttemptEnded { step, slot, class, evidence, lost, .. } => {
            let severity = match class {
                Class::Stopped => Info,
                class if is_interruption(*class) => Warn,
                _ => Error,
            };
            let mut body = format!("{step}, attempt {}: {class}", slot.epoch);
            if *lost > Span::default() {
                body.push_str(&format!("; {:.1} s of compute time are lost", lost.as_millis() as f64 / 1000.0));
            }
            if *class == Class::Error {
                root_cause(&evidence.stderr_tail).iter().for_each(|cause| body.push_str(&format!("\n{cause}")));
            }
            with(class, of(severity, "prunella.attempt.ended", step, Some(slot), body))
        }
        Event::StepHealing { step, class, remedy, .. } => {
            with(class, of(Info, "prunella.step.healing", step, None, format!("{step}: {class} is healed: {remedy}")))
        }
        Event::StepFailed { step, class, why } => {
            with(class, of(Error, "prunella.step.failed", step, None, format!("{step} is given up: {class}: {why}")))
        }
        Event::StepCommitted { step, slot, .. } => {
            of(Info, "prunella.step.committed", step, Some(slot), format!("{step}, attempt {}: committed", slot.epoch))
        }
        Event::NoticeReceived { step, slot, source, .. } => {
            of(Warn, "prunella.notice", step, Some(slot), format!("{step}: notice from {source}"))
        }
        Event::CheckpointSkipped { step, slot, checkpoint, why } => {
            let body = format!("{step}: checkpoint {checkpoint} is not used: {why}");
            of(Warn, "prunella.checkpoint.skipped", step, Some(slot), body)
        }
        Event::SnapshotSkipped { step, slot, entry, why } => {
            of(Warn, "prunella.snapshot.skipped", step, Some(slot), format!("{step}: `{entry}` was not taken: {why}"))
        }
        Event::InputDamaged { step, producer, .. } => {
            let body = format!("{step}: what {producer} made is damaged, and is made again");
            of(Error, "prunella.input.damaged", step, None, body)
        }
        Event::CommitDamaged { step, .. } => of(
            Error,
            "prunella.commit.damaged",
            step,
            None,
            format!("{step}: its commit is damaged, and is made again"),
        ),
        Event::EffectFailed { step, target, why, .. } => {
            of(Warn, "prunella.effect.failed", step, None, format!("{step}: publishing to {target} failed: {why}"))
        }
        Event::EffectsGivenUp { step, why, .. } => {
            of(Error, "prunella.effects.given_up", step, None, format!("{step}: publishing is given up: {why}"))
        }
        _ => None,
    }
}
