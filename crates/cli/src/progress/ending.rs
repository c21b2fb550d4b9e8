//! How a run came out: the last lines of the screen, and the last line for programs.

use std::path::PathBuf;

use prunella_engine::Outcome;
use prunella_healing::{Evidence, root_cause};
use prunella_journal::{RunMetrics, RunStatus, Stage, StepIndex, StepState};
use prunella_model::{Class, PortName, SlotId, Span, StepId};
use serde_json::json;

use super::{coverage::Coverage, model::word, text::line};
use crate::{
    present::{Tone, attempt, count, lasting, short},
    skips::why_skipped,
};

/// A step that was given up, and what is known about it.
#[derive(Debug, Clone)]
pub struct GivenUp {
    /// The step.
    pub step: StepId,
    /// The failure that ended it.
    pub class: Class,
    /// Why no further attempt was made.
    pub why: String,
    /// Its last attempt and what was seen of it.
    pub last: Option<(SlotId, Box<Evidence>)>,
    /// Where its files are.
    pub workspace: Option<PathBuf>,
}

/// The most failures that are shown in full.
const IN_FULL: usize = 3;

/// How a run came out, with its figures.
pub struct End<'a> {
    /// How.
    pub outcome: &'a Outcome,
    /// The figures of all its drivers.
    pub figures: &'a RunMetrics,
    /// Lineage.
    pub coverage: &'a Coverage,
    /// What was given up.
    pub given_up: &'a [GivenUp],
}

/// A line of the end, each part in its tone.
type Line = Vec<(Tone, String)>;

impl End<'_> {
    /// Returns the lines for people.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for given_up in self.given_up.iter().take(IN_FULL) {
            self.explain(given_up, &mut lines);
        }
        if self.given_up.len() > IN_FULL {
            let more = format!("  and {} more: `prunella status` lists them", self.given_up.len() - IN_FULL);
            lines.push(vec![(Tone::Plain, more)]);
        }
        self.skipped(&mut lines);
        let (tone, mark) = match self.outcome.status {
            RunStatus::Succeeded => (Tone::Good, "✓"),
            RunStatus::Failed => (Tone::Bad, "✗"),
            RunStatus::Stopped => (Tone::Busy, "■"),
        };
        lines.push(vec![(tone, mark.to_owned()), (Tone::Plain, format!(" {}", self.summary()))]);
        lines.push(vec![(Tone::Dim, format!("  next: {}", self.next().join("     ")))]);
        lines
    }

    /// Says which steps were skipped, so that one that was asked for is not missed.
    fn skipped(&self, lines: &mut Vec<Line>) {
        let (plan, state) = (&self.outcome.plan, &self.outcome.state);
        let skipped = state.count(Stage::Skipped) as usize;
        if skipped == 0 {
            return;
        }
        let each = plan.indices().filter_map(|step| match state.state(step) {
            StepState::Skipped { by } => Some((plan.id(step), why_skipped(plan, step, *by))),
            _ => None,
        });
        lines.extend(each.take(IN_FULL).map(|(step, why)| {
            vec![(Tone::Dim, format!("– {step}")), (Tone::Plain, format!(" skipped: {}", line(&why)))]
        }));
        if skipped > IN_FULL {
            let more = format!("  and {} more: `prunella status` lists them", skipped - IN_FULL);
            lines.push(vec![(Tone::Plain, more)]);
        }
    }

    fn summary(&self) -> String {
        let figures = self.figures;
        let wall = lasting(self.outcome.wall.as_millis());
        let mut parts = vec![match self.outcome.status {
            RunStatus::Succeeded if figures.attempts == 0 => format!("succeeded in {wall} · everything reused"),
            RunStatus::Succeeded => format!("succeeded in {wall}"),
            RunStatus::Failed => format!("failed after {wall}"),
            RunStatus::Stopped => format!("stopped after {wall}, resumable: `prunella run` goes on"),
        }];
        if figures.drivers > 1 {
            let starts = count(figures.drivers as usize, "start");
            parts.push(format!("{} in {starts} of the engine", lasting(figures.wall.as_millis())));
        }
        let blocked = figures.steps.blocked as usize;
        if blocked > 0 {
            parts.push(format!("{} not run", count(blocked, "step")));
        }
        if figures.steps.skipped > 0 {
            parts.push(format!("{} skipped", count(figures.steps.skipped as usize, "step")));
        }
        let (plan, state) = (&self.outcome.plan, &self.outcome.state);
        let at_end = state.topology().handlers().iter();
        let at_end = at_end.filter(|(step, _)| matches!(state.state(*step), StepState::Failed { .. }));
        // The run came out as it did all the same.
        parts.extend(at_end.map(|(step, _)| format!("{} failed", plan.id(*step))));
        parts.extend(healed(figures));
        let set_back = !figures.interruptions.is_empty() || !figures.failures.is_empty();
        if set_back {
            let (lost, compute) = (lasting(figures.lost.as_millis()), lasting(figures.compute.as_millis()));
            parts.push(format!("lost {lost} of {compute} ({:.1} %)", figures.waste() * 100.0));
        }
        if self.outcome.status == RunStatus::Succeeded && figures.attempts > 0 {
            if figures.damaged > 0 {
                parts.push(format!("{} damaged and made again", figures.damaged));
            }
            parts.push(format!("{} corrupt", figures.corrupt));
            if let Some(share) = self.coverage.share() {
                // Rounded down: only what is whole is called 100 %.
                let gaps: Vec<&str> = self.coverage.gaps.iter().map(String::as_str).take(3).collect();
                let why = if share < 1.0 { format!(" ({})", gaps.join(", ")) } else { String::new() };
                parts.push(format!("lineage {} %{why}", (share * 100.0).floor()));
            }
        }
        parts.join(" · ")
    }

    fn explain(&self, given_up: &GivenUp, lines: &mut Vec<Line>) {
        let name = match &given_up.last {
            Some((slot, _)) => attempt(&given_up.step, slot),
            None => given_up.step.to_string(),
        };
        lines.push(vec![
            (Tone::Bad, format!("✗ {name}")),
            (Tone::Plain, format!(" {}: {}", word(given_up.class), line(&given_up.why))),
        ]);
        if let Some((_, evidence)) = &given_up.last {
            let causes = root_cause(&evidence.stderr_tail);
            lines.extend(causes.iter().map(|cause| vec![(Tone::Plain, format!("    {}", line(cause)))]));
        }
        if let Some(workspace) = &given_up.workspace {
            lines.push(vec![(Tone::Dim, format!("    its files: {}", workspace.display()))]);
        }
    }

    fn next(&self) -> Vec<String> {
        let run = short(&self.outcome.run);
        match self.outcome.status {
            RunStatus::Succeeded => {
                let mut next = Vec::new();
                if let Some((step, output)) = self.result() {
                    let path = &self.outcome.plan.step(step).outputs[&output].path;
                    // Of a step that fans out it is a folder of all.
                    let all = self.outcome.plan.topology().is_group(step);
                    let base = if all { output.as_str() } else { path.base_name() };
                    next.push(format!("prunella get {}.{output} ./{base}", self.outcome.plan.id(step)));
                }
                if let Some(healed) = self.figures.interruptions.last().or(self.figures.failures.last()) {
                    next.push(format!("prunella explain {}", healed.step));
                    next.push(format!("prunella logs {}", attempt(&healed.step, &healed.slot)));
                }
                if next.is_empty() {
                    next.push("prunella status".to_owned());
                }
                next
            }
            RunStatus::Failed => {
                let mut next = vec![format!("prunella resume {run}")];
                if let Some(first) = self.given_up.first() {
                    next.push(format!("prunella explain {}", first.step));
                    if let Some((slot, _)) = &first.last {
                        next.push(format!("prunella logs {}", attempt(&first.step, slot)));
                    }
                }
                next
            }
            RunStatus::Stopped => vec![format!("prunella resume {run}"), "prunella status".to_owned()],
        }
    }

    /// The output to fetch first: of the last step in the file that nobody reads from; of one that fans out as a whole.
    fn result(&self) -> Option<(StepIndex, PortName)> {
        let (plan, state) = (&self.outcome.plan, &self.outcome.state);
        let skipped = |step: &StepIndex| matches!(state.state(*step), StepState::Skipped { .. });
        let last = (0..u32::try_from(plan.len()).unwrap_or(u32::MAX)).rev().map(StepIndex::new);
        let of_file = last.filter(|step| plan.id(*step).item.is_none());
        of_file
            .filter(|step| state.state(*step).artifacts().is_some())
            .filter(|step| plan.topology().consumers(*step).iter().all(skipped))
            .find_map(|step| Some((step, plan.step(step).outputs.keys().next()?.clone())))
    }

    /// Returns the last line for programs.
    pub fn json(&self, exit_code: u8) -> serde_json::Value {
        let figures = self.figures;
        let recoveries = figures.recoveries();
        let mut metrics = serde_json::to_value(figures).unwrap_or_default();
        metrics["waste"] = figures.waste().into();
        metrics["waste_bound"] = figures.waste_bound().into();
        for (name, value) in [
            ("mttr_ms", figures.mttr()),
            ("mttr_p50_ms", prunella_journal::percentile(&recoveries, 50)),
            ("mttr_p99_ms", prunella_journal::percentile(&recoveries, 99)),
            ("mttr_to_progress_ms", prunella_journal::mean(&figures.recoveries_to_mark())),
        ] {
            metrics[name] = value.map(Span::as_millis).into();
        }
        metrics["lineage"] = json!({
            "committed_bytes": self.coverage.committed_bytes,
            "complete_bytes": self.coverage.complete_bytes,
            "share": self.coverage.share(),
            "gaps": self.coverage.gaps,
        });
        let given_up: Vec<serde_json::Value> = self
            .given_up
            .iter()
            .map(|given_up| {
                json!({
                    "step": given_up.step,
                    "attempt": given_up.last.as_ref().map(|(slot, _)| slot.epoch),
                    "class": given_up.class,
                    "why": given_up.why,
                    "root_cause": given_up.last.as_ref().map(|(_, evidence)| root_cause(&evidence.stderr_tail)),
                    "workspace": given_up.workspace,
                })
            })
            .collect();
        json!({ "outcome": {
            "run": self.outcome.run,
            "pipeline": self.outcome.plan.graph().pipeline.name,
            "status": self.outcome.status,
            "exit_code": exit_code,
            "wall_ms": self.outcome.wall,
            "failed": given_up,
            "metrics": metrics,
        } })
    }
}

fn healed(figures: &RunMetrics) -> Vec<String> {
    let mut parts = Vec::new();
    if !figures.hints.is_empty() {
        parts.push(format!("{} of the cloud", count(figures.hints.len(), "hint")));
    }
    let all = figures.interruptions.len();
    if all > 0 {
        let healed = figures.healed as usize;
        let which = match (healed, all) {
            (0, all) => format!("{}, none healed", count(all, "interruption")),
            (healed, all) if healed == all => format!("{} healed", count(all, "interruption")),
            (healed, all) => format!("{healed} of {all} interruptions healed"),
        };
        let recoveries = figures.recoveries();
        let time = match (figures.mttr(), recoveries.last()) {
            (Some(mean), Some(most)) if healed > 1 => {
                format!(" in {} on average, {} at most", lasting(mean.as_millis()), lasting(most.as_millis()))
            }
            (Some(mean), _) => format!(" in {}", lasting(mean.as_millis())),
            (None, _) => String::new(),
        };
        parts.push(format!("{which}{time}"));
    }
    let failures: Vec<_> = figures.failures.iter().filter(|failure| failure.class != Class::Stopped).collect();
    let again = failures.iter().filter(|failure| failure.recovery.is_some()).count();
    if again > 0 {
        parts.push(format!("{} tried again", count(again, "failure")));
    }
    parts
}
