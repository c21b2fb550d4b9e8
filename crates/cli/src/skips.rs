//! Why a step was skipped, in words.

use prunella_engine::Plan;
use prunella_journal::{Event, Observation, SkippedBy, Stamped, StepIndex};
use prunella_model::{Step, StepId};

/// Returns the text of a step's condition, on one line; empty if it has none.
pub fn expression(step: &Step) -> String {
    let words = step.when.as_ref().map(|when| when.expression.split_whitespace().collect::<Vec<_>>().join(" "));
    words.unwrap_or_default()
}

/// Returns why a step was skipped.
pub fn why_skipped(plan: &Plan, step: StepIndex, by: SkippedBy) -> String {
    match by {
        SkippedBy::Condition => format!("its condition does not hold: {}", expression(plan.step(step))),
        SkippedBy::Need(need) => format!("needs {}, which was skipped", plan.id(need)),
    }
}

/// How a condition was answered last.
pub struct Decided<'a> {
    /// Whether the step was to run.
    pub run: bool,
    /// What the answer came from.
    pub saw: &'a [Observation],
}

/// Returns the newest answer of a step's condition, if it was answered.
pub fn decided<'a>(events: &'a [Stamped], step: &StepId) -> Option<Decided<'a>> {
    events.iter().rev().find_map(|stamped| match &stamped.event {
        Event::StepDecided { step: id, run, saw } if id == step => Some(Decided { run: *run, saw }),
        _ => None,
    })
}

/// Returns what a condition saw, in one line.
pub fn seen(saw: &[Observation]) -> String {
    saw.iter().map(|seen| format!("{} = {}", seen.what, seen.value)).collect::<Vec<_>>().join(", ")
}
