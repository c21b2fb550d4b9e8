//! Lineage coverage: of how many committed bytes the provenance is complete (docs/metrics.md).

use std::collections::BTreeSet;

use prunella_engine::Plan;
use prunella_journal::{RunState, StepIndex};
use prunella_model::Source;
use serde::Serialize;

/// How much of what a run committed can be walked back to pinned data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Coverage {
    /// Bytes of all outputs of steps that are done.
    pub committed_bytes: u64,
    /// Those whose closure of provenance is complete.
    pub complete_bytes: u64,
    /// Where the walk ends early.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub gaps: BTreeSet<String>,
}

impl Coverage {
    /// Returns the share that is complete; nothing if nothing was committed.
    pub fn share(&self) -> Option<f64> {
        (self.committed_bytes > 0).then(|| self.complete_bytes as f64 / self.committed_bytes as f64)
    }

    /// Returns the coverage of what is done.
    ///
    /// The walk ends at data that is not pinned, and at steps whose tools are the host's: known by platform only.
    pub fn of(plan: &Plan, state: &RunState) -> Self {
        let graph = plan.graph();
        let mut coverage = Self::default();
        let mut incomplete = vec![false; plan.len()];
        let mut stack: Vec<StepIndex> = Vec::new();
        for step in plan.indices() {
            let mut gap = graph.environment.is_none();
            if gap {
                coverage.gaps.insert("tools of the host".to_owned());
            }
            for source in plan.step(step).inputs.values() {
                if let Source::Data(name) = source
                    && graph.data.get(name).is_some_and(|pin| !pin.pinned)
                {
                    coverage.gaps.insert(format!("data.{name} not pinned"));
                    gap = true;
                }
            }
            if gap {
                incomplete[step.as_usize()] = true;
                stack.push(step);
            }
        }
        while let Some(step) = stack.pop() {
            for &consumer in plan.topology().consumers(step) {
                if !incomplete[consumer.as_usize()] && reads(plan, consumer, step) {
                    incomplete[consumer.as_usize()] = true;
                    stack.push(consumer);
                }
            }
        }
        for step in plan.indices() {
            let Some(done) = state.done(step) else { continue };
            let bytes: u64 = done.artifacts.iter().map(|(_, artifact)| artifact.size_bytes).sum();
            coverage.committed_bytes += bytes;
            if !incomplete[step.as_usize()] {
                coverage.complete_bytes += bytes;
            }
        }
        coverage
    }
}

/// Returns whether data goes from one step to the other; order alone carries no lineage.
fn reads(plan: &Plan, consumer: StepIndex, producer: StepIndex) -> bool {
    let name = &plan.id(producer).name;
    plan.step(consumer).inputs.values().any(|source| matches!(source, Source::Step { step, .. } if step == name))
}
