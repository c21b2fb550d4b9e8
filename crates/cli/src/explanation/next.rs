//! What a person can do about a step.

use prunella_healing::{Evidence, JitterSeed, Remedy, Spent, Traits, remedy};
use prunella_journal::{SkippedBy, StepState};
use prunella_store::records::End;

use super::Subject;
use crate::{
    condition::{Condition, StepCondition},
    present::short,
};

impl Subject<'_> {
    /// Returns what a person can do, the most useful first.
    pub(super) fn next(&self) -> Vec<String> {
        let (run, step) = (short(&self.run), &self.step);
        match self.condition {
            StepCondition::Done | StepCondition::Reused => {
                let outputs = self.plan.step(self.place).outputs.keys();
                outputs.map(|output| format!("prunella get {run} {step}.{output}")).take(1).collect()
            }
            StepCondition::Running | StepCondition::Healing => vec![format!("prunella logs {run} {step} --follow")],
            StepCondition::Failed => {
                let mut next: Vec<String> = self.hint().into_iter().collect();
                next.push(format!("prunella logs {run} {step}"));
                next.push(format!(
                    "then `prunella run` (a corrected file) or `prunella resume {run}` (the same again)"
                ));
                next
            }
            StepCondition::Blocked => match self.state.state(self.place) {
                StepState::Blocked { by } => vec![format!("prunella explain {run} {}", self.plan.id(*by))],
                _ => Vec::new(),
            },
            StepCondition::Dropped => Vec::new(),
            StepCondition::Skipped => match self.state.state(self.place) {
                StepState::Skipped { by: SkippedBy::Need(by) } => {
                    vec![format!("prunella explain {run} {}", self.plan.id(*by))]
                }
                _ => Vec::new(),
            },
            StepCondition::Waiting | StepCondition::Ready | StepCondition::Held | StepCondition::Interrupted => {
                match self.run_condition {
                    Condition::Running => vec![format!("prunella status {run}")],
                    _ => vec![format!("prunella resume {run}")],
                }
            }
        }
    }

    fn why(&self) -> &str {
        match self.state.state(self.place) {
            StepState::Failed { why, .. } => why,
            _ => "",
        }
    }

    /// Returns what healing knows to say about the last failure.
    fn hint(&self) -> Option<String> {
        let (tried, closed) = self.tried.iter().rev().find_map(|tried| match &tried.view.end {
            Some(end) => match &end.end {
                End::Closed(closed) => Some((tried, closed)),
                End::Committed(_) => None,
            },
            None => None,
        })?;
        let evidence: Evidence = serde_json::from_value(closed.evidence.clone()).unwrap_or_default();
        let spent: Spent = serde_json::from_value(closed.spent.clone()).unwrap_or_default();
        let spec = self.record.graph.pipeline.steps.get(&self.step.name)?;
        let seed = JitterSeed { run: &self.run, step: &self.step, attempt: tried.slot.epoch };
        match remedy(&spec.retry, &Traits::of(spec), closed.class, &evidence, &spent, &seed) {
            // Told with the reason, as a rule.
            Remedy::GiveUp { hint, .. } => Some(hint).filter(|hint| !self.why().contains(hint)),
            Remedy::Retry(_) | Remedy::Reproduce { .. } | Remedy::Wait { .. } | Remedy::None => None,
        }
    }
}
