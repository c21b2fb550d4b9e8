//! One attempt of the step that is explained.

use prunella_healing::{Evidence, root_cause};
use prunella_model::{Class, SlotId, StepId};
use prunella_store::{
    SlotView,
    records::{End, Timeline},
};
use serde_json::{Value, json};

use crate::{
    evidence::in_words,
    history,
    present::{Paint, Tone, attempt, indented, lasting, moment, short},
};

/// One attempt: its records, and what else the journal knows.
pub(super) struct Tried<'a> {
    pub(super) slot: SlotId,
    pub(super) view: SlotView,
    pub(super) known: Option<history::Attempt<'a>>,
}

impl Tried<'_> {
    fn closed(&self) -> Option<(Class, Evidence)> {
        match &self.view.end.as_ref()?.end {
            End::Closed(closed) => {
                Some((closed.class, serde_json::from_value(closed.evidence.clone()).unwrap_or_default()))
            }
            End::Committed(_) => None,
        }
    }

    fn timeline(&self) -> Option<&Timeline> {
        Some(match &self.view.end.as_ref()?.end {
            End::Committed(committed) => &committed.timeline,
            End::Closed(closed) => &closed.timeline,
        })
    }

    pub(super) fn as_json(&self, step: &StepId) -> Value {
        let mut out = json!({
            "attempt": attempt(step, &self.slot),
            "epoch": self.slot.epoch.0,
            "key": self.slot.key.hex(),
            "run": self.view.start.as_ref().map(|start| &start.run),
            "started_at_ms": self.view.start.as_ref().map(|start| start.at_ms),
            "outcome": match (&self.view.end, self.closed()) {
                (None, _) if self.view.is_filled() => "lost",
                (None, _) => "open",
                (Some(_), None) => "committed",
                (Some(_), Some(_)) => "closed",
            },
            "timeline": self.timeline(),
            "damaged": self.view.damaged,
        });
        if let Some((class, evidence)) = self.closed() {
            out["class"] = class.as_str().into();
            out["seen"] = in_words(&evidence).into();
            out["root_cause"] = root_cause(&evidence.stderr_tail).into();
            out["evidence"] = json!(evidence);
        }
        if let Some((every, why)) = self.known.as_ref().and_then(|known| known.interval) {
            out["checkpoint_interval"] = json!({ "every_ms": every.as_millis(), "why": why });
        }
        if let Some(known) = self.known.as_ref().filter(|known| !known.accelerators.is_empty()) {
            out["accelerators"] = json!(known.accelerators);
        }
        if let Some(failure) = self.known.as_ref().and_then(|known| known.failure.as_ref()) {
            out["lost_ms"] = failure.lost.as_millis().into();
            out["healed_by"] = failure.healing.map(|(_, remedy)| remedy).into();
        }
        out
    }

    pub(super) fn text(&self, paint: Paint, step: &StepId, out: &mut String) {
        let name = attempt(step, &self.slot);
        let (when, by) = match &self.view.start {
            Some(start) => (moment(start.at_ms), format!(", run {}", short(&start.run))),
            None => ("at an unknown time".to_owned(), String::new()),
        };
        out.push_str(&format!("{}  started {when}{by}\n", paint.tone(Tone::Strong, &name)));
        let mut lines: Vec<String> = Vec::new();
        if let Some(known) = &self.known {
            if !known.accelerators.is_empty() {
                lines.push(format!("on accelerator {}", known.accelerators.join(", ")));
            }
            lines.extend(known.about_checkpoints());
        }
        let ran = self.timeline().map(|timeline| timeline.process_ms).filter(|ms| *ms > 0);
        let after = ran.map_or_else(String::new, |ms| format!(" after {}", lasting(ms)));
        match (&self.view.end, self.closed()) {
            (None, _) if self.view.is_filled() => {
                lines.push(paint.tone(Tone::Bad, "how it ended is lost: its record is damaged"));
            }
            (None, _) => lines.push("it has not ended".to_owned()),
            (Some(_), None) => lines.push(paint.tone(Tone::Good, &format!("committed{after}"))),
            (Some(_), Some((class, evidence))) => {
                lines.push(paint.tone(Tone::Bad, &format!("ended{after}: {class}")));
                lines.extend(in_words(&evidence).into_iter().map(|line| format!("  {line}")));
                lines.extend(root_cause(&evidence.stderr_tail).into_iter().map(|line| format!("  | {line}")));
            }
        }
        if self.view.damaged {
            lines.push("its bytes were found damaged later".to_owned());
        }
        if let Some(failure) = self.known.as_ref().and_then(|known| known.failure.as_ref()) {
            if failure.lost.as_millis() > 0 {
                lines.push(format!("lost {} of computing", lasting(failure.lost.as_millis())));
            }
            if let Some((next, remedy)) = &failure.healing {
                let delay = next.delay.as_millis();
                let wait = if delay > 0 { format!(" (a wait of {})", lasting(delay)) } else { String::new() };
                lines.push(format!("healed by: {remedy}{wait}"));
            }
        }
        out.push_str(&indented(&lines.join("\n"), "  "));
    }
}
