//! What differs between two runs, for people.

use prunella_model::ByteSize;

use super::{
    Change, Comparison, Side, StepChange,
    side::{Entry, Made},
};
use crate::present::{Line, Paint, Tone, artifact, columns, count, lasting, short};

/// So many lines of a kind are shown; the others are counted.
const SHOWN: usize = 20;

/// Returns the comparison as text.
pub fn text(paint: Paint, old: &Side, new: &Side, found: &Comparison) -> String {
    let mut out = heading(paint, old, new);
    section(&mut out, paint, "params", &found.params, String::clone);
    section(&mut out, paint, "data", &found.data, artifact);
    section(&mut out, paint, "code", &found.code, entry);
    section(&mut out, paint, "environment", &found.environment, String::clone);
    for step in found.steps.iter().filter(|step| !step.same || !step.settings.is_empty()) {
        step_text(&mut out, paint, step);
    }
    let same: Vec<&str> = found.steps.iter().filter(|step| step.same).map(|step| step.step.as_str()).collect();
    if found.is_same() {
        out.push_str("the same: parameters, data, code, environment, keys, outcomes and outputs\n");
    } else if !same.is_empty() {
        let more = if same.len() > SHOWN { ", …" } else { "" };
        let names = same[..same.len().min(SHOWN)].join(", ");
        out.push_str(&format!("the same key and result: {} ({names}{more})\n", count(same.len(), "step")));
    }
    out
}

fn heading(paint: Paint, old: &Side, new: &Side) -> String {
    let line = |sign: &str, side: &Side| {
        Line(
            Tone::Plain,
            vec![
                sign.to_owned(),
                short(&side.run).to_owned(),
                format!("{} #{}", side.record.graph.pipeline.name, side.record.order),
                side.condition.as_str().to_owned(),
                format!("driven for {}", lasting(side.figures.wall.as_millis())),
            ],
        )
    };
    columns(paint, &[line("old", old), line("new", new)])
}

fn section<T>(out: &mut String, paint: Paint, title: &str, changes: &[Change<T>], show: impl Fn(&T) -> String) {
    if changes.is_empty() {
        return;
    }
    out.push_str(&format!("{}\n", paint.tone(Tone::Strong, title)));
    list(out, paint, "  ", changes, show);
}

fn list<T>(out: &mut String, paint: Paint, indent: &str, changes: &[Change<T>], show: impl Fn(&T) -> String) {
    let lines: Vec<Line> = changes
        .iter()
        .take(SHOWN)
        .map(|change| {
            let what = match (&change.old, &change.new) {
                (Some(old), Some(new)) => format!("{} → {}", show(old), show(new)),
                (Some(old), None) => format!("{} → gone", show(old)),
                (None, Some(new)) => format!("new: {}", show(new)),
                (None, None) => String::new(),
            };
            Line(Tone::Plain, vec![format!("{indent}{}", change.name), what])
        })
        .collect();
    out.push_str(&columns(paint, &lines));
    if changes.len() > SHOWN {
        out.push_str(&format!("{indent}… and {} more\n", changes.len() - SHOWN));
    }
}

fn entry(entry: &Entry) -> String {
    match entry {
        Entry::File { digest, size_bytes, executable } => {
            let executable = if *executable { " executable" } else { "" };
            format!("{} {}{executable}", ByteSize(*size_bytes), digest.short())
        }
        Entry::Link(target) => format!("link to {target}"),
    }
}

fn step_text(out: &mut String, paint: Paint, step: &StepChange) {
    let what = match (&step.old, &step.new) {
        (None, _) => "only in the new run".to_owned(),
        (_, None) => "only in the old run".to_owned(),
        (Some(old), Some(new)) if old.key == new.key && !step.outputs.is_empty() => {
            "the same key, other bytes: it is not reproducible".to_owned()
        }
        (Some(old), Some(new)) if old.key == new.key => "the same key".to_owned(),
        (Some(_), Some(_)) => "another key".to_owned(),
    };
    out.push_str(&format!("{}  {what}\n", paint.tone(Tone::Strong, &step.step)));
    let mut say = |label: &str, what: &str| out.push_str(&format!("  {label:8}  {what}\n"));
    step.why.iter().for_each(|why| say("why", why));
    if !step.settings.is_empty() {
        say("settings", &format!("{} (not in the key)", step.settings.join(", ")));
    }
    if let (Some(old), Some(new)) = (&step.old, &step.new) {
        if old.outcome() != new.outcome() {
            say("outcome", &format!("{} → {}", outcome(old), outcome(new)));
        }
        let (before, now) = (effort(old), effort(new));
        if before != now {
            say("effort", &format!("{before} → {now}"));
        }
    } else if let Some(only) = step.old.as_ref().or(step.new.as_ref()) {
        say("outcome", &outcome(only));
    }
    for output in &step.outputs {
        list(out, paint, "  ", std::slice::from_ref(&output.artifact), artifact);
        list(out, paint, "    ", &output.numbers, |number: &serde_json::Number| number.to_string());
        list(out, paint, "    ", &output.files, entry);
    }
}

fn outcome(made: &Made) -> String {
    let class = made.class.map(|class| format!(" ({class})"));
    format!("{}{}", made.outcome().0.as_str(), class.unwrap_or_default())
}

fn effort(made: &Made) -> String {
    match made.attempts {
        0 if made.epoch.is_some() => "reused".to_owned(),
        0 => "no attempt".to_owned(),
        n => format!("{}, {}", count(n as usize, "attempt"), lasting(made.compute.as_millis())),
    }
}
